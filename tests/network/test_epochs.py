"""What a user sees while a network trains, and is told if callbacks lack what they watch."""

import copy
import pickle
import random
import re
import warnings

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    Initializer,
    ProgressBar,
    Unfreezer,
)

from sklearn_rdm import LayerActivations, LayerEpochSearchCV, SiameseRDMRegressor
from sklearn_rdm.callbacks import EpochProgressBar
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.networks import TinyNetwork, make_pairs, same_bits, tiny_net

SPLIT = ImageShuffleSplit(1, test_size=4, random_state=0)


@pytest.fixture(scope="module")
def pairs_and_dissim():
    return make_pairs(16)


@pytest.mark.parametrize("batching", ["images", "pairs"])
@pytest.mark.parametrize("train_split", [None, SPLIT], ids=["all", "split"])
@pytest.mark.parametrize("batch_size", [4, -1])
def test_bar_of_skorch_has_the_right_total(
    pairs_and_dissim, capsys, batching, train_split, batch_size
):
    bar = ProgressBar(detect_notebook=False)
    options = {"batching": batching, "train_split": train_split, "batch_size": batch_size}
    net = tiny_net(callbacks=[bar], **options).fit(*pairs_and_dissim)
    n_batches = len(net.history[-1, "batches"])
    totals = set(re.findall(r"\d+/(\d+) \[", capsys.readouterr().err))
    assert totals == {str(n_batches)}
    assert bar.batches_per_epoch == "auto"
    assert same_bits(net, tiny_net(**options).fit(*pairs_and_dissim))


def test_one_bar_for_all_epochs(pairs_and_dissim, capsys):
    score = EpochScoring(rdm_spearman_scorer, name="rho", lower_is_better=False)
    bar = EpochProgressBar(["train_loss", "valid_loss", "rho", "no_entry"])
    net = tiny_net(max_epochs=3, train_split=SPLIT, callbacks=[score, bar])
    net.fit(*pairs_and_dissim)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "3/3" in last
    assert f"valid_loss={net.history[-1, 'valid_loss']:.3g}" in last
    assert "rho=" in last
    assert "no_entry" not in last


def test_bar_can_be_copied_while_it_is_shown(pairs_and_dissim, capsys):
    bar = EpochProgressBar()
    net = tiny_net(callbacks=[bar]).fit(*pairs_and_dissim)
    bar.on_train_begin(net)
    assert "_bar_" not in vars(copy.copy(bar)) | vars(pickle.loads(pickle.dumps(bar)))
    bar.on_train_end(net)


@pytest.mark.parametrize(
    "callback", [EarlyStopping(), Checkpoint(), EarlyStopping("valid_loss_best")]
)
def test_watching_a_validation_loss_that_there_is_not(pairs_and_dissim, callback):
    net = tiny_net(callbacks=[callback])
    with pytest.raises(ValueError, match=r"watches 'valid_loss.*give train_split=ImageShuffle"):
        net.fit(*pairs_and_dissim)
    assert not hasattr(net, "module_")


@pytest.mark.parametrize("monitor", ["train_loss", "train_loss_best"])
def test_watching_the_training_loss_needs_no_split(pairs_and_dissim, tmp_path, monitor):
    callback = Checkpoint(monitor=monitor, dirname=str(tmp_path))
    assert tiny_net(callbacks=[callback]).fit(*pairs_and_dissim).history[-1, "event_cp"]


def test_search_over_epochs_shows_its_best_score(pairs_and_dissim, capsys):
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), ["relu1", "relu3"], cv=2)
    search.param_grid = {"lr": [0.01, 0.1]}
    silent = search.fit(*pairs_and_dissim).best_score_
    assert capsys.readouterr() == ("", "")
    search.set_params(verbose=1).fit(*pairs_and_dissim)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "4/4" in last
    assert f"best {search.best_score_:.3f}" in last
    assert search.best_score_ == silent


@pytest.mark.parametrize("verbose", [0, 1])
def test_activations_are_counted(capsys, verbose):
    pairs, y = make_pairs(20)  # two shards after the first: one needs no bar
    net = tiny_net(verbose=verbose).fit(pairs, y)
    capsys.readouterr()
    features = LayerActivations(TinyNetwork, "relu1", image_size=48, verbose=verbose).fit(pairs)
    for call in (net.predict, net.transform, net.embed, features.transform):
        call(pairs)
        err = capsys.readouterr().err
        assert ("activations" in err) == bool(verbose)


class Interrupting(Callback):
    def on_batch_begin(self, net, **kwargs):  # noqa: ARG002
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_interrupted_training_is_told_and_keeps_the_weights_at_hand():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=4, callbacks=[Interrupting()])
    with pytest.warns(UserWarning, match="interrupted in epoch 2.*partial_fit"):
        net.fit(pairs, y)
    assert same_bits(net, tiny_net(max_epochs=1).fit(pairs, y))


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_is_no_interruption(patience):
    pairs, y = make_pairs(12)
    stopping = EarlyStopping("train_loss", patience=patience, threshold=1.0)
    net = tiny_net(max_epochs=9, callbacks=[stopping])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(pairs, y)
    assert len(net.history) == patience + 1
    complete = set(tiny_net(max_epochs=1).fit(pairs, y).history[-1])
    assert all(set(row) >= complete for row in net.history)
    assert same_bits(net, tiny_net(max_epochs=patience + 1).fit(pairs, y))


class InterruptedInScoring(Callback):
    def on_epoch_end(self, net, **kwargs):  # noqa: ARG002
        self.score()

    def score(self):
        raise KeyboardInterrupt  # as Ctrl-C while something is computed


def test_an_interrupt_within_a_callback_is_told():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=3, callbacks=[InterruptedInScoring()])
    with pytest.warns(UserWarning, match="interrupted in epoch 1"):
        net.fit(pairs, y)


@pytest.mark.parametrize("memory", [False, True])
def test_a_kept_layer_that_is_unfrozen_raises_an_error(tmp_path, memory):
    pairs, y = make_pairs()
    net = SiameseRDMRegressor(
        "alexnet",
        "conv3",
        weights=None,
        image_size=64,
        freeze_up_to="conv1",
        max_epochs=3,
        memory=str(tmp_path) if memory else None,
        callbacks=[Unfreezer("*features.0.*", at=2)],
        random_state=0,
    )
    with pytest.raises(ValueError, match="features.0.* requires a gradient.* freeze_up_to"):
        net.fit(pairs, y)
    net.set_params(callbacks=None).fit(pairs, y)
    for parameter in net.module_.trunk.network.features[0].parameters():
        parameter.requires_grad_(True)
    with pytest.raises(ValueError, match="requires a gradient"):
        net.partial_fit(pairs, y)


@pytest.mark.parametrize("at", [1, 2])
def test_weights_whose_activations_are_kept_may_not_be_changed(at):
    pairs, y = make_pairs()
    changing = Initializer("*conv1.weight", torch.nn.init.zeros_, at=at)
    with pytest.raises(ValueError, match="weights of frozen layers have been changed .*'conv2'"):
        tiny_net(freeze_up_to="conv2", max_epochs=3, callbacks=[changing]).fit(pairs, y)
    tiny_net(freeze_up_to="bn1", max_epochs=3, callbacks=[Initializer("*conv2*", at=at)]).fit(
        pairs, y
    )


def test_callbacks_that_freeze_everything_raise_an_error():
    pairs, y = make_pairs()
    with pytest.raises(ValueError, match="callbacks have frozen every layer"):
        tiny_net(callbacks=[Freezer("*")]).fit(pairs, y)


def test_layers_behind_the_frozen_ones_may_be_unfrozen():
    pairs, y = make_pairs()
    options = {"weights": None, "image_size": 64, "max_epochs": 3, "lr": 0.01, "random_state": 0}
    frozen = [Freezer("*features.6.*"), Unfreezer("*features.6.*", at=3)]
    net = SiameseRDMRegressor(
        "alexnet", "conv4", freeze_up_to="conv2", callbacks=frozen, **options
    ).fit(pairs, y)
    fresh = SiameseRDMRegressor("alexnet", "conv4", freeze_up_to="conv2", **options).initialize()
    moved = net.module_.trunk.network.features[6].weight
    assert not torch.equal(moved, fresh.module_.trunk.network.features[6].weight)


@pytest.mark.parametrize("params", [{}, {"module__dropout": True}, {"batching": "pairs"}])
def test_global_random_numbers_are_untouched(params):
    pairs, y = make_pairs(9)
    split = ImageShuffleSplit(1, test_size=3, random_state=0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    net = (
        tiny_net(train_split=split, reference="grey", **params).fit(pairs, y).partial_fit(pairs, y)
    )
    net.predict(pairs), net.transform(pairs), net.embed(pairs)
    assert torch.equal(torch.get_rng_state(), torch_state)
    for now, before in zip(np.random.get_state(), numpy_state, strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(now, before)
    assert random.getstate() == python_state


@pytest.mark.parametrize(
    "params",
    [
        {"batching": "pairs"},
        {"batching": "images"},
        {"module__dropout": True},
        {"optimizer__momentum": 0.9},
    ],
)
def test_partial_fits_are_one_longer_fit(params):
    pairs, y = make_pairs(13)
    longer = tiny_net(max_epochs=3, **params).fit(pairs, y)
    parts = tiny_net(**params).partial_fit(pairs, y)
    parts.partial_fit(pairs, y).partial_fit(pairs, y)
    assert same_bits(parts, longer)
    assert len(parts.history) == 3
    warm = tiny_net(warm_start=True, **params)
    assert same_bits(warm.fit(pairs, y).fit(pairs, y).fit(pairs, y), longer)
    cold = tiny_net(**params)
    assert same_bits(cold.fit(pairs, y), cold.fit(pairs, y))


def test_epochs_of_one_fit():
    pairs, y = make_pairs()
    assert len(tiny_net(max_epochs=5).fit(pairs, y, epochs=2).history) == 2


def test_interrupted_training_keeps_what_was_learned(pairs_and_dissim):
    pairs, y = pairs_and_dissim

    class Interrupt(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    net = tiny_net(max_epochs=9, callbacks=[Interrupt()]).fit(pairs, y)
    assert same_bits(net, tiny_net(max_epochs=2).fit(pairs, y))
