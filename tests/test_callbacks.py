"""Averaged weights: against the mean of the weights written out, and undone where a fit fails."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.callbacks import WeightAveraging
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.model_selection import ImageKFold


class TinyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, stride=2)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(6)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x))))


class Recorder(Callback):
    """Keeps the weights at the end of every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.epochs_ = []

    def on_epoch_end(self, net, **kwargs):
        self.epochs_.append(weights(net))


class Failing(Callback):
    """Fails when training ends, or at the end of an epoch."""

    def __init__(self, at="on_train_end"):
        self.at = at

    def on_train_end(self, net, **kwargs):
        self.fail("on_train_end")

    def on_epoch_end(self, net, **kwargs):
        self.fail("on_epoch_end")

    def fail(self, at):
        if at == self.at:
            raise RuntimeError("failed as asked")


def weights(net):
    state = net.module_.state_dict().items()
    return {name: value.clone() for name, value in state if name != "settled"}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def tiny_net(*callbacks, **params):
    defaults = {"layer": "bn2", "image_size": 32, "max_epochs": 4, "batch_size": 4, "lr": 0.1}
    defaults |= {"callbacks": list(callbacks), "random_state": 0}
    return SiameseRDMRegressor(TinyNetwork, **defaults | params)


@pytest.fixture(scope="module")
def problem():
    data = make_rdm_regression(9, image_size=32, random_state=0)
    return ImagePairs.from_rdms(data.images, data.rdms)


@pytest.mark.parametrize("freeze_batch_norm", [True, False])
@pytest.mark.parametrize(("n_epochs", "averaged"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_weights_are_the_mean_of_the_last_epochs(problem, n_epochs, averaged, freeze_batch_norm):
    recorder = Recorder()
    net = tiny_net(WeightAveraging(n_epochs), recorder, module__freeze_batch_norm=freeze_batch_norm)
    net.fit(*problem)
    for name, value in weights(net).items():
        epochs = torch.stack([epoch[name] for epoch in recorder.epochs_[-averaged:]])
        expected = epochs[-1] if name.endswith("tracked") else epochs.double().mean(0)
        torch.testing.assert_close(value.double(), expected.double(), rtol=1e-6, atol=1e-7)
    statistics = recorder.epochs_[0]["trunk.network.bn2.running_mean"]
    assert statistics.any() != freeze_batch_norm


def test_training_that_stops_early_is_averaged_over_its_last_epochs(problem):
    recorder = Recorder()
    stopping = EarlyStopping("train_loss", patience=3, threshold=1.0)  # of which nothing is better
    net = tiny_net(stopping, WeightAveraging(2), recorder, max_epochs=20).fit(*problem)
    assert len(recorder.epochs_) == 4
    name = "trunk.network.conv2.weight"
    expected = torch.stack([epoch[name] for epoch in recorder.epochs_[-2:]]).mean(0)
    torch.testing.assert_close(weights(net)[name], expected)


def test_training_itself_is_not_changed(problem):
    alone = tiny_net().fit(*problem)
    averaging = tiny_net(WeightAveraging(1)).fit(*problem)
    assert_same_bits(weights(averaging), weights(alone))
    longer = tiny_net(WeightAveraging(3)).fit(*problem)
    assert longer.history_[:, "train_loss"] == alone.history_[:, "train_loss"]
    assert (longer.predict(problem[0]) != alone.predict(problem[0])).any()


def test_frozen_layers_keep_their_bits(problem):
    before = weights(tiny_net(freeze_up_to="bn1").initialize())
    after = weights(tiny_net(WeightAveraging(3), freeze_up_to="bn1").fit(*problem))
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    trained = {f"trunk.network.{name}" for name in ("conv2.weight", "bn2.weight", "bn2.bias")}
    assert {name for name in before if ".conv1." in name or ".bn1." in name} <= unchanged
    assert unchanged & trained == set()


def test_same_bits_again_and_on_any_number_of_threads(problem):
    first = weights(tiny_net(WeightAveraging(3)).fit(*problem))
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(n_threads, 2))
        assert_same_bits(weights(tiny_net(WeightAveraging(3)).fit(*problem)), first)
    finally:
        torch.set_num_threads(n_threads)


def test_partial_fit_averages_its_own_epochs_from_the_average_on(problem):
    recorder = Recorder()
    net = tiny_net(WeightAveraging(2), recorder, lr=0.0).fit(*problem)
    before = weights(net)
    assert_same_bits(weights(net.partial_fit(*problem)), before)
    net.set_params(lr=0.1, max_epochs=1).partial_fit(*problem)
    assert len(recorder.epochs_) == 1
    assert_same_bits(weights(net), recorder.epochs_[0])


@pytest.mark.parametrize("at", ["on_train_end", "on_epoch_end"])
def test_a_training_that_fails_leaves_the_weights_as_they_were(problem, at):
    failing = Failing(at=None)
    net = tiny_net(WeightAveraging(2), failing).fit(*problem)
    before = weights(net)
    failing.at = at
    for fit in (net.partial_fit, net.fit):
        with pytest.raises(RuntimeError, match="failed as asked"):
            fit(*problem)
        assert_same_bits(weights(net), before)
    failing.at = None
    once_more = tiny_net(WeightAveraging(2)).fit(*problem)
    assert_same_bits(weights(net.fit(*problem)), weights(once_more))


@pytest.mark.parametrize("n_epochs", [0, -1, 2.5, None, "5"])
def test_n_epochs_must_be_a_positive_int(problem, n_epochs):
    with pytest.raises(ValueError, match="n_epochs must be a positive int"):
        tiny_net(WeightAveraging(n_epochs)).fit(*problem)


def test_no_epochs_leave_the_weights(problem):
    net = tiny_net(WeightAveraging(2), max_epochs=0)
    assert_same_bits(weights(net.fit(*problem)), weights(tiny_net().initialize()))


def test_a_fitted_net_carries_no_copies_of_its_weights(problem):
    averaged = len(pickle.dumps(tiny_net(WeightAveraging(4)).fit(*problem)))
    alone = len(pickle.dumps(tiny_net().fit(*problem)))
    assert averaged < alone + 1000


def test_it_is_cloned_and_searched_as_a_parameter(problem):
    net = tiny_net(("averaging", WeightAveraging(2)))
    copy = clone(net)
    assert copy.get_params()["callbacks"][0][1] is not net.callbacks[0][1]
    grid = {"callbacks__averaging__n_epochs": [1, 4]}
    search = GridSearchCV(net, grid, cv=ImageKFold(3), error_score="raise").fit(*problem)
    one, four = search.cv_results_["mean_test_score"]
    assert np.isfinite([one, four]).all()
    best = search.best_params_["callbacks__averaging__n_epochs"]
    expected = tiny_net(WeightAveraging(best)).fit(*problem)
    assert_same_bits(weights(search.best_estimator_), weights(expected))
