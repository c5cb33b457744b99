"""The ensemble: against its members fitted by hand, with networks, baselines and pipelines."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from torch import nn

from sklearn_rdm import (
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.preprocessing import PerImage

LAYERS = LayerWeightedRSARegressor([3, 5])
PIPELINE = make_pipeline(PerImage(StandardScaler()), LAYERS)


class TinyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=3)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x))


class Noise(BaseEstimator):
    """Predicts its own seed, or noise by it."""

    def __init__(self, offset=0.0, *, random_state=None):
        self.offset = offset
        self.random_state = random_state

    def fit(self, X, y):
        self.n_pairs_, self.y_ = len(X), y
        return self

    def predict(self, X):
        return self.offset + np.random.default_rng(self.random_state).normal(size=len(X))


def tiny_net(**params):
    defaults = {"layer": "conv", "image_size": 32, "max_epochs": 2, "batch_size": 4, "lr": 0.1}
    return SiameseRDMRegressor(TinyNetwork, **defaults | params)


@pytest.fixture(scope="module")
def photographs():
    data = make_rdm_regression(10, image_size=32, random_state=0)
    return ImagePairs.from_rdms(data.images, data.rdms)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return ImagePairs.from_rdms(rng.gamma(1.0, size=(15, 8)), rng.random((3, 105)))


def seeds(ensemble):
    return [member.random_state for member in ensemble.estimators_]


# By seed


def test_members_are_networks_that_differ_by_seed(photographs):
    pairs, y = photographs
    ensemble = EnsembleRDMRegressor(tiny_net(), n_estimators=3, random_state=0).fit(pairs, y)
    by_hand = [tiny_net(random_state=seed).fit(pairs, y) for seed in seeds(ensemble)]
    assert len(set(seeds(ensemble))) == 3
    predicted = [net.predict(pairs) for net in by_hand]
    assert not np.allclose(predicted[0], predicted[1])
    np.testing.assert_array_equal(ensemble.predict(pairs), np.mean(predicted, axis=0))
    rdms = [net.transform(pairs.images) for net in by_hand]
    np.testing.assert_array_equal(ensemble.transform(pairs.images), np.mean(rdms, axis=0))
    assert ensemble.score(pairs, y) == rdm_spearman_score(y, ensemble.predict(pairs))


def test_seeds_are_drawn_for_every_part_of_an_estimator(features):
    nested = make_pipeline(PerImage(StandardScaler()), Noise(random_state=7))
    ensemble = EnsembleRDMRegressor(nested, random_state=0).fit(*features)
    drawn = [member[-1].random_state for member in ensemble.estimators_]
    assert len(set(drawn)) == 5
    assert nested[-1].random_state == 7
    search = GridSearchCV(Noise(), {"offset": [0]}, cv=ImageKFold(3), scoring=lambda *_: 0.0)
    ensemble = EnsembleRDMRegressor(search, n_estimators=2, random_state=0).fit(*features)
    assert len({member.best_estimator_.random_state for member in ensemble.estimators_}) == 2


def test_random_state_means_what_it_means_in_scikit_learn(features):
    def fit(random_state):
        return EnsembleRDMRegressor(Noise(), random_state=random_state).fit(*features)

    assert seeds(fit(0)) == seeds(fit(0)) != seeds(fit(1))
    assert seeds(fit(np.random.RandomState(0))) == seeds(fit(0))
    assert seeds(fit(None)) != seeds(fit(None))
    assert seeds(fit(0).fit(*features)) == seeds(fit(0))


def test_the_mean_of_many_has_less_noise(features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(Noise(3.0), n_estimators=100, random_state=0).fit(pairs, y)
    prediction = ensemble.predict(pairs)
    assert prediction.std() < 0.2 < ensemble.estimators_[0].predict(pairs).std()
    assert abs(prediction.mean() - 3) < 0.1


# By fold


@pytest.mark.parametrize(
    "estimator", [FixedRSARegressor("euclidean"), LAYERS, PIPELINE], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize(
    "cv", [3, ImageShuffleSplit(2, test_size=4, random_state=0)], ids=["int", "splitter"]
)
def test_members_are_fitted_on_training_folds(estimator, cv, features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(estimator, cv=cv).fit(pairs, y)
    splits = list((ImageKFold(cv) if isinstance(cv, int) else cv).split(pairs))
    by_hand = [clone(estimator).fit(pairs[train], y[train]) for train, _ in splits]
    assert len(ensemble.estimators_) == len(splits)
    predicted = [member.predict(pairs) for member in by_hand]
    np.testing.assert_array_equal(ensemble.predict(pairs), np.mean(predicted, axis=0))
    rdm = ensemble.transform(pairs.images)
    np.testing.assert_allclose(pairs.to_rdms(ensemble.predict(pairs)), rdm, atol=1e-12)
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diagonal(rdm), 0)


def test_folds_can_be_given_as_rows(features):
    pairs, y = features
    splits = list(ImageKFold(3).split(pairs))
    given = EnsembleRDMRegressor(LAYERS, cv=splits).fit(pairs, y)
    made = EnsembleRDMRegressor(LAYERS, cv=3).fit(pairs, y)
    np.testing.assert_array_equal(given.predict(pairs), made.predict(pairs))


def test_members_on_folds_differ_by_seed_as_well(features):
    ensemble = EnsembleRDMRegressor(Noise(), cv=3, random_state=0).fit(*features)
    assert len(set(seeds(ensemble))) == 3
    assert {member.n_pairs_ for member in ensemble.estimators_} == {45}


# In scikit-learn


def test_any_number_of_jobs_gives_the_same_bits(photographs):
    ensemble = EnsembleRDMRegressor(tiny_net(), cv=3, random_state=0)
    one = ensemble.fit(*photographs)
    two = clone(ensemble).set_params(n_jobs=2).fit(*photographs)
    for first, second in zip(one.estimators_, two.estimators_, strict=True):
        states = first.module_.state_dict(), second.module_.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    np.testing.assert_array_equal(two.predict(photographs[0]), one.predict(photographs[0]))


def test_it_is_a_regressor_with_the_tags_of_its_members():
    for inner in (tiny_net(), FeatureReweightedRSARegressor(), FixedRSARegressor(), PIPELINE):
        ensemble = EnsembleRDMRegressor(inner)
        assert is_regressor(ensemble)
        assert get_tags(ensemble).input_tags == get_tags(inner).input_tags
        assert get_tags(ensemble).target_tags.required
    assert not get_tags(FixedRSARegressor()).target_tags.required


def test_parameters_of_the_estimator_are_reached_and_cloned(features):
    ensemble = EnsembleRDMRegressor(PIPELINE, cv=3)
    name = "estimator__layerweightedrsaregressor__fit_intercept"
    copy = clone(ensemble).set_params(**{name: True})
    assert copy.get_params()[name]
    assert not ensemble.get_params()[name]
    assert not hasattr(clone(copy.fit(*features)), "estimators_")
    grid = {"cv": [2, 3], name: [True, False]}
    search = GridSearchCV(ensemble, grid, cv=ImageKFold(4), error_score="raise").fit(*features)
    assert len(search.best_estimator_.estimators_) == search.best_params_["cv"]


def test_it_can_be_cross_validated_and_pickled(features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(FeatureReweightedRSARegressor(alphas=1), cv=2, random_state=0)
    scores = cross_val_score(ensemble, pairs, y, cv=ImageKFold(3), error_score="raise")
    assert np.isfinite(scores).all()
    ensemble.fit(pairs, y)
    again = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(again.predict(pairs), ensemble.predict(pairs))


def test_arrays_of_pairs_are_taken_as_well(features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(LAYERS, cv=3)
    as_array = clone(ensemble).fit(pairs.images[pairs.index], y)
    expected = ensemble.fit(pairs, y).predict(pairs)
    np.testing.assert_allclose(as_array.predict(pairs.images[pairs.index]), expected)


def test_transform_is_there_if_the_estimator_has_it(features):
    assert not hasattr(EnsembleRDMRegressor(Noise()), "transform")
    assert not hasattr(EnsembleRDMRegressor(Noise()).fit(*features), "transform")
    assert hasattr(EnsembleRDMRegressor(LAYERS), "transform")


# What it refuses


@pytest.mark.parametrize("n_estimators", [0, -1, 2.5, None])
def test_n_estimators_must_be_a_positive_int(features, n_estimators):
    with pytest.raises(ValueError, match="n_estimators must be a positive int"):
        EnsembleRDMRegressor(Noise(), n_estimators=n_estimators).fit(*features)


@pytest.mark.parametrize("estimator", [LAYERS, PIPELINE])
def test_equal_members_are_refused(features, estimator):
    with pytest.raises(ValueError, match="has no random_state.*Give cv"):
        EnsembleRDMRegressor(estimator).fit(*features)


def test_folds_of_pairs_are_refused(features):
    with pytest.raises(ValueError, match="holds out pairs, not images"):
        EnsembleRDMRegressor(LAYERS, cv=KFold(3)).fit(*features)


def test_input_is_checked_before_anything_is_fitted(features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(Noise(), random_state=0)
    with pytest.raises(ValueError, match="nothing to learn"):
        ensemble.fit(pairs, np.ones(len(pairs)))
    with pytest.raises(NotFittedError):
        ensemble.predict(pairs)
    fitted = ensemble.fit(pairs, y).estimators_
    with pytest.raises(ValueError, match="dissimilarities"):
        ensemble.fit(pairs, y[:-1])
    assert ensemble.estimators_ is fitted


def test_errors_of_a_member_reach_the_user_and_leave_the_ensemble(features):
    pairs, y = features
    ensemble = EnsembleRDMRegressor(LAYERS, cv=3).fit(pairs, y)
    fitted = ensemble.estimators_
    with pytest.raises(ValueError, match="features together, but images have 8"):
        ensemble.set_params(estimator__layers=[3, 4]).fit(pairs, y)
    assert ensemble.estimators_ is fitted
    with pytest.raises((TypeError, ValueError)):
        EnsembleRDMRegressor(Ridge(), cv=3).fit(pairs, y)
