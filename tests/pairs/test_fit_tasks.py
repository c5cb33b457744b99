"""scikit-learn's callbacks: handed to our estimators without a warning, told of every epoch."""

import ast
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerEpochSearchCV,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.model_selection import ImageKFold, SubjectHoldOutRDMRegressor
from tests.networks import TinyNetwork, make_pairs, tiny_net

callback = pytest.importorskip("sklearn.callback")
ROOT = Path(__file__).parents[2]

WITHOUT_CALLBACKS = """
import sys

import numpy as np
import sklearn.linear_model, sklearn.model_selection, sklearn.pipeline

sys.modules["sklearn.callback"] = None  # as in scikit-learn 1.8 and older
from sklearn_rdm import EnsembleRDMRegressor, ImagePairs, LayerWeightedRSARegressor
from sklearn_rdm._pairs._fit_tasks import FitTaskMixin

pairs, y = ImagePairs(np.random.default_rng(0).random((8, 4))), np.arange(28.0)
assert FitTaskMixin.__mro__ == (FitTaskMixin, object)
model = EnsembleRDMRegressor(LayerWeightedRSARegressor([2, 2]), cv=2).fit(pairs, y)
print(repr(model.predict(pairs).tolist()))
"""


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


def test_older_versions_fit_the_same_without_callbacks():
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_CALLBACKS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    pairs, y = ImagePairs(np.random.default_rng(0).random((8, 4))), np.arange(28.0)
    model = EnsembleRDMRegressor(LayerWeightedRSARegressor([2, 2]), cv=2).fit(pairs, y)
    assert model.predict(pairs).tolist() == ast.literal_eval(ran.stdout)
