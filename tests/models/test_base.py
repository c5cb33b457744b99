"""What all regressors of pairs share: the score, the warning of leaks, tags of what is wrapped."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from sklearn_rdm import FixedRSARegressor, ImagePairs
from sklearn_rdm._models._base import RDMMetaRegressor
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageLeakWarning


class Wrapper(RDMMetaRegressor):
    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self._training_pairs_ = TrainingPairs(X)
        self.fitted_ = self.estimator.fit(X, y)
        return self

    def predict(self, X):
        return self.fitted_.predict(X)


class Random(BaseEstimator):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = tags.input_tags.allow_nan = True
        return tags


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return ImagePairs.from_rdms(rng.random((8, 5)), rng.random((3, 28)))


def test_score_is_the_mean_over_subjects(problem):
    pairs, y = problem
    model = Wrapper(FixedRSARegressor()).fit(pairs, y)
    expected = np.mean([rdm_spearman_score(column, model.predict(pairs)) for column in y.T])
    assert model.score(pairs, y) == pytest.approx(expected)


def test_score_warns_of_pairs_of_training_images(problem):
    pairs, y = problem
    half = np.arange(14)
    model = Wrapper(FixedRSARegressor()).fit(pairs[half], y[half])
    with pytest.warns(ImageLeakWarning):
        model.score(pairs, y)


def test_tags_are_those_of_the_wrapped_estimator(problem):
    tags = get_tags(Wrapper(Random()))
    assert tags.non_deterministic
    assert tags.input_tags.allow_nan
    assert tags.target_tags.required
    assert not get_tags(Wrapper(FixedRSARegressor())).non_deterministic


def test_predict_must_be_written():
    with pytest.raises(TypeError, match="predict"):
        RDMMetaRegressor()
