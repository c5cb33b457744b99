"""Weights of pairs reach the estimator that is wrapped, whatever wraps it, or raise an error."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_rdm._pairs._routing import RoutedFitMixin

WEIGHTS = np.arange(3.0)


class Weighted(BaseEstimator):
    def fit(self, X, y, sample_weight=None):
        return self


class Plain(BaseEstimator):
    def fit(self, X, y):
        return self


class Wrapper(RoutedFitMixin, BaseEstimator):
    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y, sample_weight=None):
        return self


def test_without_weights_nothing_is_handed_on():
    assert Wrapper(Plain())._fit_params(None) == {}


def test_an_estimator_that_takes_weights_gets_them():
    assert Wrapper(Weighted())._fit_params(WEIGHTS) == {"sample_weight": WEIGHTS}


def test_the_last_step_of_a_pipeline_gets_them():
    pipeline = make_pipeline(FunctionTransformer(), Weighted())
    assert Wrapper(pipeline)._fit_params(WEIGHTS) == {"weighted__sample_weight": WEIGHTS}


def test_an_estimator_without_weights_raises_an_error():
    with pytest.raises(ValueError, match=r"fit of Plain\(\) takes none. Leave it out"):
        Wrapper(Plain())._fit_params(WEIGHTS)


def test_routing_asks_the_estimator():
    with config_context(enable_metadata_routing=True):
        asking = Wrapper(Weighted().set_fit_request(sample_weight=True))
        asking.set_fit_request(sample_weight=True)
        assert asking._fit_params(WEIGHTS) == {"sample_weight": WEIGHTS}
        ignoring = Wrapper(Weighted().set_fit_request(sample_weight=False))
        assert ignoring._fit_params(WEIGHTS) == {}
