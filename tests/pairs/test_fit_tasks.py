"""scikit-learn's callbacks: handed to our estimators without a warning, told of every epoch."""

import warnings

import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    LayerActivations,
    LayerEpochSearchCV,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.model_selection import ImageKFold, SubjectHoldOutRDMRegressor
from tests.networks import TinyNetwork, make_pairs, tiny_net

callback = pytest.importorskip("sklearn.callback")


class Log:
    """Tasks that begin and end, and how deep."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.n_set_up, self.stop_after = [], [], 0, stop_after

    def setup(self, estimator, context):
        self.n_set_up += 1

    def teardown(self, estimator, context):
        self.n_set_up -= 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.estimator_name, context.task_name))
        epochs = [name for name in self.ended if name[1] == "epoch"]
        return self.stop_after is not None and len(epochs) >= self.stop_after


@pytest.fixture(scope="module")
def pairs_and_dissim():
    return make_pairs(12)


def test_epochs_are_tasks(pairs_and_dissim):
    log = Log()
    net = tiny_net(max_epochs=3).set_callbacks(log).fit(*pairs_and_dissim)
    assert log.begun == [(type(net).__name__, "fit")] + [(type(net).__name__, "epoch")] * 3
    assert log.ended == log.begun[1:] + log.begun[:1]
    assert log.n_set_up == 0
    assert len(net.history) == 3


def test_a_callback_ends_training(pairs_and_dissim):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = tiny_net(max_epochs=5).set_callbacks(Log(stop_after=2)).fit(*pairs_and_dissim)
    assert len(net.history) == 2


def test_torn_down_after_an_error(pairs_and_dissim):
    log, (pairs, y) = Log(), pairs_and_dissim
    net = tiny_net(layer="no_layer").set_callbacks(log)
    with pytest.raises(ValueError, match="no layer"):
        net.fit(pairs, y)
    assert log.n_set_up == 0
    assert net.set_params(layer="relu3").fit(pairs, y).predict(pairs).shape == y.shape[:1]


@pytest.mark.parametrize(
    "model",
    [
        tiny_net(),
        make_pipeline(LayerActivations(TinyNetwork, "relu1", image_size=48), FixedRSARegressor()),
        make_pipeline(
            LayerActivations(TinyNetwork, "relu1", image_size=48), LinearTwinRSARegressor()
        ),
    ],
    ids=["network", "fixed", "linear twin"],
)
def test_searches_hand_callbacks_on(pairs_and_dissim, capsys, model):
    pytest.importorskip("rich")
    log = Log()
    search = GridSearchCV(model, {}, cv=ImageKFold(2))
    search.set_callbacks(log, callback.ProgressBar(max_propagation_depth=None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.fit(*pairs_and_dissim)
    assert log.n_set_up == 0
    assert sorted(log.begun) == sorted(log.ended)
    assert (type(model).__name__, "fit") in log.begun
    assert "GridSearchCV" in capsys.readouterr().out


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedRDMRegressor(FixedRSARegressor()),
        EnsembleRDMRegressor(LinearTwinRSARegressor(), cv=2),
        FeatureReweightedRSARegressor(),
        FixedRSARegressor(),
        LayerEpochSearchCV(tiny_net(), ["relu1"], cv=2),
        LayerWeightedRSARegressor(),
        LinearTwinRSARegressor(),
        SubjectHoldOutRDMRegressor(FixedRSARegressor(), [0]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_every_fit_is_one_task(pairs_and_dissim, estimator):
    log = Log()
    estimator.set_callbacks(log).fit(*pairs_and_dissim)
    assert log.begun == log.ended == [(type(estimator).__name__, "fit")]
    assert log.n_set_up == 0
