"""What a user sees while a network trains, and is told if callbacks lack what they watch."""

import copy
import pickle
import re

import pytest
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, ProgressBar

from sklearn_rdm import LayerActivations, LayerEpochSearchCV
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
def test_activations_are_counted(pairs_and_dissim, capsys, verbose):
    pairs, y = pairs_and_dissim
    net = tiny_net(verbose=verbose).fit(pairs, y)
    capsys.readouterr()
    features = LayerActivations(TinyNetwork, "relu1", image_size=48, verbose=verbose).fit(pairs)
    for call in (net.predict, net.transform, net.embed, features.transform):
        call(pairs)
        err = capsys.readouterr().err
        assert ("activations" in err) == bool(verbose)
