"""The average of members: against numpy, and a transform only if all of them have one."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from sklearn_rdm import FixedRSARegressor, ImagePairs
from sklearn_rdm._models._member_average import MemberAverageMixin

IMAGES = np.random.default_rng(0).random((6, 4))
METRICS = ("correlation", "euclidean", "cityblock")


class WithoutTransform:
    """Predicts the same of all pairs."""

    def predict(self, X):
        return np.full(len(X), 2.0)


class Average(MemberAverageMixin, BaseEstimator):
    """Of members that are fitted already, or not yet."""

    def __init__(self, members, fitted):
        self.members = members
        if fitted:
            self.estimators_ = members

    @property
    def _members(self):
        return self.members

    def fit(self, X, y):
        raise NotImplementedError


def members():
    pairs = ImagePairs(IMAGES)
    return [FixedRSARegressor(metric).fit(pairs, np.arange(15.0)) for metric in METRICS]


def test_pairs_and_matrices_are_averaged():
    pairs, fitted = ImagePairs(IMAGES), members()
    average = Average(fitted, fitted=True)
    expected = sum(member.predict(pairs) for member in fitted) / 3
    np.testing.assert_allclose(average.predict(pairs), expected, rtol=1e-12)
    np.testing.assert_allclose(average.predict(IMAGES[pairs.index]), expected, rtol=1e-12)
    np.testing.assert_allclose(average.transform(IMAGES), pairs.to_rdms(expected), rtol=1e-12)


@pytest.mark.parametrize("fitted", [False, True])
def test_there_is_a_transform_if_all_members_have_one(fitted):
    assert hasattr(Average(members(), fitted), "transform")
    assert not hasattr(Average([*members(), WithoutTransform()], fitted), "transform")


def test_unfitted_it_says_so():
    average = Average(members(), fitted=False)
    for predict in (average.predict, average.transform):
        with pytest.raises(NotFittedError):
            predict(ImagePairs(IMAGES))
