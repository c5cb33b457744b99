"""Pairs and models that tests of splits share."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import make_scorer

from sklearn_rdm import ImagePairs


class DistanceRegressor(RegressorMixin, BaseEstimator):
    """Scaled distance of the images' features, remembering what it was trained on."""

    def __init__(self, power=1.0):
        self.power = power

    def fit(self, X, y, weight=None):
        assert weight is None or len(weight) == len(X)
        y = np.nanmean(y.reshape(len(y), -1), axis=1)
        distance = self._distance(X)
        self.images_seen_ = set(X.used_images.tolist())
        self.scale_ = distance @ y / (distance @ distance)
        return self

    def predict(self, X):
        return self.scale_ * self._distance(X)

    def _distance(self, X):
        features = X.images.reshape(len(X.images), -1)[X.index]
        return np.linalg.norm(features[:, 0] - features[:, 1], axis=1) ** self.power


def spearman(y_true, y_pred):
    columns = np.asarray(y_true).reshape(len(y_pred), -1).T
    return np.mean([spearmanr(column, y_pred, nan_policy="omit")[0] for column in columns])


SCORER = make_scorer(spearman)


def make_pairs(n_images=20, n_subjects=None, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n_images, 5))
    rdms = np.linalg.norm(images[:, None] - images[None], axis=2)
    if n_subjects is not None:
        rdms = np.stack([rdms + 0.3 * symmetric_noise(rng, n_images) for _ in range(n_subjects)])
    return ImagePairs.from_rdms(images, rdms, image_groups=groups)


def symmetric_noise(rng, n_images):
    noise = rng.normal(size=(n_images, n_images))
    return noise + noise.T


def two_sets(n_first=15, n_second=20, group=None):
    sets = [make_pairs(n, seed=n, groups=group and [group] * n) for n in (n_first, n_second)]
    pairs = ImagePairs.concatenate([pairs for pairs, _ in sets])
    return pairs, np.concatenate([dissim for _, dissim in sets])


GRID = {"power": [0.5, 1.0, 4.0]}


def make_timed_pairs(n_images, n_subjects):
    pairs, dissim = make_pairs(n_images, n_subjects=n_subjects)
    noise = np.random.default_rng(0).standard_normal((*dissim.shape, 3))
    return pairs, dissim[:, :, None] + 0.1 * noise


def as_lists(splits):
    return [(train.tolist(), test.tolist()) for train, test in splits]


def clone_with(cv, **changes):
    params = {k: v for k, v in vars(cv).items() if not k.startswith("_")}
    return type(cv)(**{**params, **changes})
