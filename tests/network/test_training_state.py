import pytest
import torch
from skorch.callbacks import Callback

from sklearn_rdm._network import _checkpoint
from tests.interrupted import N_EPOCHS, Cut, Switch, make_net
from tests.networks import make_pairs, same_bits


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "SHARE", float("inf"))
    Switch.cut_before, Switch.n_trained = None, 0


class Momentum(Callback):
    """Training depends on what it has seen; how it keeps that differs."""

    def on_train_begin(self, net, **kwargs):
        self.seen_ = self.begin()

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_.trunk.network.conv3.bias += 0.01 * self.add(net.history[-1, "train_loss"])


class Plain(Momentum):
    def begin(self):
        return {"losses": [], "best": None}

    def add(self, loss):
        self.seen_["losses"].append(loss)
        return sum(self.seen_["losses"])


class Own(Momentum):
    """Keeps an object of a class of its own, and says how."""

    def begin(self):
        return Seen()

    def add(self, loss):
        self.seen_.losses.append(loss)
        return sum(self.seen_.losses)

    def state_dict(self):
        return {"losses": self.seen_.losses}

    def load_state_dict(self, state):
        self.seen_.losses = state["losses"]


class Held(Momentum):
    """Keeps a module, which has a state_dict."""

    def begin(self):
        return torch.nn.Linear(1, 1).requires_grad_(False)

    def add(self, loss):
        self.seen_.weight += loss
        return self.seen_.weight.item()


class Silent(Momentum):
    def begin(self):
        return Seen()

    def add(self, loss):
        return loss


class Seen:
    def __init__(self):
        self.losses = []


def cut_and_resume(folder, callback):
    Switch.cut_before = 3
    with pytest.raises(Cut):
        make_net(folder, callbacks=[("seen", callback)]).fit(*make_pairs(12))
    Switch.cut_before, Switch.n_trained = None, 0
    resumed = make_net(folder, callbacks=[("seen", callback)]).fit(*make_pairs(12))
    assert Switch.n_trained == N_EPOCHS - 3
    return resumed


@pytest.mark.parametrize("callback", [Plain(), Own()])
def test_callbacks_of_users_go_on(tmp_path, callback):
    whole = make_net(callbacks=[("seen", callback)]).fit(*make_pairs(12))
    assert same_bits(whole, cut_and_resume(tmp_path, callback))
    again = make_net(tmp_path, callbacks=[("seen", callback)]).fit(*make_pairs(12))
    assert same_bits(whole, again)


def test_modules_that_callbacks_hold_go_on(tmp_path):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    whole = make_net(callbacks=[("seen", Held())]).fit(*make_pairs(12))
    torch.set_rng_state(before)
    assert same_bits(whole, cut_and_resume(tmp_path, Held()))


def test_what_a_callback_cannot_keep_is_warned_of_once(tmp_path):
    with pytest.warns(UserWarning, match="cannot hold seen_ of callback 'seen'") as caught:
        cut_and_resume(tmp_path, Silent())
    first_run = [w for w in caught if "cannot hold" in str(w.message)]
    assert len(first_run) == 2  # of two fits
    assert "give the callback methods state_dict and load_state_dict" in str(first_run[0].message)


class WithFunction(Own):
    """Its state holds what cannot be written, and what is made anew with the callback."""

    def state_dict(self):
        return {"losses": self.seen_.losses, "function": print}


class Late(Callback):
    """Makes a module only as an epoch ends: a training that goes on has none to fill."""

    def on_epoch_end(self, net, **kwargs):
        self.late_ = torch.nn.Linear(1, 1)


class Difference:
    """A criterion that is no module."""

    def __call__(self, y_pred, y_true):
        return (y_pred - y_true).square().mean()


def test_what_cannot_be_written_of_a_state_is_left_as_it_is_made(tmp_path):
    whole = make_net(callbacks=[("seen", WithFunction())]).fit(*make_pairs(12))
    assert same_bits(whole, cut_and_resume(tmp_path, WithFunction()))


def test_modules_that_a_callback_has_not_made_yet_are_not_filled(tmp_path):
    whole = make_net().fit(*make_pairs(12))
    assert same_bits(whole, cut_and_resume(tmp_path, Late()))


def test_a_criterion_that_is_no_module_goes_on(tmp_path):
    whole = make_net(criterion=Difference).fit(*make_pairs(12))
    Switch.cut_before, Switch.n_trained = 3, 0
    with pytest.raises(Cut):
        make_net(tmp_path, criterion=Difference).fit(*make_pairs(12))
    Switch.cut_before, Switch.n_trained = None, 0
    resumed = make_net(tmp_path, criterion=Difference).fit(*make_pairs(12))
    assert Switch.n_trained == N_EPOCHS - 3
    assert same_bits(whole, resumed)
