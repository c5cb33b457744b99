"""A model and measurements that tests of fitting anew share."""

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_rdm import ImagePairs, LayerWeightedRSARegressor

MODEL = LayerWeightedRSARegressor([4, 4], metric="sqeuclidean")


def simulate(n_images=18, n_subjects=3, related=True, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.random((n_images, 8))
    source = features[:, :4] if related else rng.random((n_images, 4))
    seen = source + 0.2 * rng.random((n_subjects, n_images, 4))
    rdms = np.square(seen[:, :, None] - seen[:, None]).sum(axis=-1)
    return *ImagePairs.from_rdms(features, rdms), rdms


class Constant(BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.ones(len(X))
