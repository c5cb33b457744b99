"""The average of different estimators: against numpy, calibrated, searched, and what it refuses."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sklearn_rdm import (
    CalibratedRDMRegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    VotingRDMRegressor,
)
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage

MEMBERS = [
    ("fixed", FixedRSARegressor("euclidean")),
    ("layers", LayerWeightedRSARegressor([3, 5])),
    ("pipeline", make_pipeline(PerImage(StandardScaler()), FixedRSARegressor())),
]


class WithoutTransform(BaseEstimator):
    def fit(self, X, y):
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return ImagePairs.from_rdms(rng.gamma(1.0, size=(12, 8)), rng.random((3, 66)))


@pytest.mark.parametrize("weights", [None, [1, 2, 3], [0.0, 0.5, 0.5]])
def test_it_is_the_weighted_mean_of_its_members_fitted_by_hand(features, weights):
    pairs, y = features
    voting = VotingRDMRegressor(MEMBERS, weights=weights).fit(pairs, y)
    members = [clone(member).fit(pairs, y) for _, member in MEMBERS]
    share = np.ones(3) if weights is None else np.asarray(weights, float)
    share = share / share.sum()
    expected = sum(w * each.predict(pairs) for w, each in zip(share, members, strict=True))
    np.testing.assert_allclose(voting.predict(pairs), expected, rtol=1e-12)
    expected = sum(w * each.transform(pairs.images) for w, each in zip(share, members, strict=True))
    np.testing.assert_allclose(voting.transform(pairs.images), expected, rtol=1e-12)
    assert voting.score(pairs, y) == rdm_spearman_score(y, voting.predict(pairs))
    assert voting.named_estimators_["layers"] is voting.estimators_[1]


def test_calibrated_members_count_alike_whatever_their_unit(features):
    pairs, y = features

    class Scaled(FixedRSARegressor):
        def predict(self, X):
            return 1000 * super().predict(X)

    other = LayerWeightedRSARegressor([3, 5])
    plain, scaled = (
        VotingRDMRegressor(
            [("a", CalibratedRDMRegressor(fixed)), ("b", CalibratedRDMRegressor(other))]
        )
        .fit(pairs, y)
        .predict(pairs)
        for fixed in (FixedRSARegressor(), Scaled())
    )
    np.testing.assert_allclose(scaled, plain, rtol=1e-9)


def test_one_worker_or_two(features):
    pairs, y = features
    one, two = (VotingRDMRegressor(MEMBERS, n_jobs=n).fit(pairs, y) for n in (1, 2))
    np.testing.assert_array_equal(one.predict(pairs), two.predict(pairs))


def test_members_and_weights_are_searched(features):
    pairs, y = features
    grid = {
        "fixed__metric": ["correlation", "euclidean"],
        "weights": [None, [1, 0, 0]],
        "layers": [FixedRSARegressor("cosine"), LayerWeightedRSARegressor([3, 5])],
    }
    search = GridSearchCV(VotingRDMRegressor(MEMBERS), grid, cv=ImageKFold(3)).fit(pairs, y)
    best = clone(VotingRDMRegressor(MEMBERS)).set_params(**search.best_params_)
    scores = cross_val_score(best, pairs, y, cv=ImageKFold(3))
    assert search.best_score_ == pytest.approx(scores.mean())
    assert len(search.cv_results_["params"]) == 8


def test_members_that_are_fitted_already_are_kept(features):
    pairs, y = features
    member = LayerWeightedRSARegressor([3, 5]).fit(pairs, y)
    voting = VotingRDMRegressor([("a", FrozenEstimator(member))]).fit(pairs, 1 - y)
    np.testing.assert_array_equal(voting.predict(pairs), member.predict(pairs))


def test_pickled_it_predicts_the_same(features):
    pairs, y = features
    voting = VotingRDMRegressor(MEMBERS).fit(pairs, y)
    again = pickle.loads(pickle.dumps(voting))
    np.testing.assert_array_equal(again.predict(pairs), voting.predict(pairs))


def test_transform_is_there_if_all_members_have_it(features):
    some = VotingRDMRegressor([*MEMBERS, ("mean", WithoutTransform())])
    assert not hasattr(some, "transform")
    assert not hasattr(some.fit(*features), "transform")
    assert hasattr(VotingRDMRegressor(MEMBERS), "transform")


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        ([], "at least one"),
        ([MEMBERS[0], MEMBERS[0]], "not unique"),
        ([("a__b", FixedRSARegressor())], "__"),
        ([FixedRSARegressor()], r"list of \(name, estimator\)"),
        ([("weights", FixedRSARegressor())], "conflict"),
    ],
)
def test_names_are_checked(features, estimators, message):
    with pytest.raises(ValueError, match=message):
        VotingRDMRegressor(estimators).fit(*features)


@pytest.mark.parametrize("weights", [[1, 2], [1, -1, 1], [0, 0, 0], [1, np.nan, 1], 3])
def test_weights_are_checked(features, weights):
    with pytest.raises(ValueError, match="weights must be 3 numbers of at least 0"):
        VotingRDMRegressor(MEMBERS, weights=weights).fit(*features)


def test_errors_of_a_member_reach_the_user_and_leave_the_ensemble(features):
    pairs, y = features
    voting = VotingRDMRegressor(MEMBERS)
    with pytest.raises(NotFittedError):
        voting.predict(pairs)
    fitted = voting.fit(pairs, y).estimators_
    with pytest.raises(ValueError, match="features together, but images have 8"):
        voting.set_params(layers__layers=[3, 4]).fit(pairs, y)
    assert voting.estimators_ is fitted


def test_without_estimators_there_are_tags_but_no_fit(features):
    voting = VotingRDMRegressor([])
    assert get_tags(voting).target_tags.required
    with pytest.raises(ValueError, match="estimators must hold at least one"):
        voting.fit(*features)
