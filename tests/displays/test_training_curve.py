import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Checkpoint, EarlyStopping

from sklearn_rdm import FixedRSARegressor, TrainingCurveDisplay
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from tests.networks import make_pairs, tiny_net


@pytest.fixture(scope="module")
def pairs_and_dissim():
    return make_pairs(12)


def test_draws_the_history(pairs_and_dissim):
    pairs, y = pairs_and_dissim
    net = tiny_net(max_epochs=3, train_split=ImageShuffleSplit(1, test_size=4, random_state=0))
    display = TrainingCurveDisplay.from_estimator(net.fit(pairs, y))
    assert [line.get_label() for line in display.lines_] == ["training", "validation"]
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), net.history[:, "train_loss"])
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), net.history[:, "valid_loss"])
    assert display.mark_ is None


def test_epochs_are_whole_numbers():
    for n_epochs in (1, 2, 30):
        ax = TrainingCurveDisplay({"training": np.ones(n_epochs)}).plot().ax_
        ticks = ax.get_xticks()
        assert len(ticks) > 0
        np.testing.assert_array_equal(ticks, np.round(ticks))


def test_search_shows_its_last_training(pairs_and_dissim):
    pairs, y = pairs_and_dissim
    search = GridSearchCV(tiny_net(max_epochs=2), {"lr": [0.1]}, cv=ImageKFold(2)).fit(pairs, y)
    display = TrainingCurveDisplay.from_estimator(search)
    losses = search.best_estimator_.history[:, "train_loss"]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), losses)


@pytest.mark.parametrize("kind", ["early stopping", "checkpoint"])
def test_marks_the_epoch_whose_weights_were_kept(pairs_and_dissim, tmp_path, kind):
    pairs, y = pairs_and_dissim
    callback = {
        "early stopping": EarlyStopping(patience=10, load_best=True),
        "checkpoint": Checkpoint(dirname=str(tmp_path), load_best=True),
    }[kind]
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    net = tiny_net(max_epochs=4, train_split=split, callbacks=[callback], lr=10.0).fit(pairs, y)
    display = TrainingCurveDisplay.from_estimator(net)
    best = 1 + int(np.argmin(net.history[:, "valid_loss"]))
    assert display.chosen == best
    assert display.mark_.get_xdata()[0] == best


def test_other_curves_are_drawn_by_name(pairs_and_dissim):
    pairs, y = pairs_and_dissim
    net = tiny_net(max_epochs=2).fit(pairs, y)
    display = TrainingCurveDisplay.from_estimator(net, curves=["dur"])
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), net.history[:, "dur"])
    with pytest.raises(ValueError, match=r"history_ has no \['rho'\]"):
        TrainingCurveDisplay.from_estimator(net, curves=["rho"])


def test_without_history_raises(pairs_and_dissim):
    with pytest.raises(ValueError, match="FixedRSARegressor has no history"):
        TrainingCurveDisplay.from_estimator(FixedRSARegressor().fit(*pairs_and_dissim))


@pytest.mark.parametrize("curves", [{}, {"a": [1, 2], "b": [1]}, {"a": []}])
def test_uneven_curves_raise(curves):
    with pytest.raises(ValueError, match="one value per epoch"):
        TrainingCurveDisplay(curves).plot()
