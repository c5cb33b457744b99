"""Dissimilarities as what each image adds by itself, and a rest for a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import CalibratedRDMRegressor, ImagePairs, LayerActivations, SiameseRDMRegressor
from sklearn_rdm.preprocessing import SubjectPooling

ALPHAS = np.logspace(0, 6, 13)


class ImageEffects(BaseEstimator):
    """Predict ``d_ij = a_i + a_j + rest_ij``, ``a`` by ridge regression, the rest by a network.

    Least squares give ``a`` and the rest of the training images. The ridge regression is on the
    features of the network's layer before training, its penalty by leaving out one image at a time;
    the network's predictions have the mean and spread of the rest in training.
    """

    def __init__(self, network: SiameseRDMRegressor, *, alone: bool = False) -> None:
        self.network = network
        self.alone = alone

    def fit(self, X: ImagePairs, y: np.ndarray) -> ImageEffects:
        target = SubjectPooling().fit_transform(y)
        features = self._features(X)
        is_of = np.zeros((len(X), len(features.images)))
        is_of[np.arange(len(X))[:, None], features.index] = 1
        effects = np.linalg.lstsq(is_of, target, rcond=None)[0]
        ridge = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
        self.ridge_ = ridge.fit(features.images, effects)
        if not self.alone:
            rest = target - is_of @ effects
            self.rest_ = CalibratedRDMRegressor(self.network).fit(X, rest)
        return self

    def predict(self, X: ImagePairs) -> np.ndarray:
        features = self._features(X)
        together = self.ridge_.predict(features.images)[features.index].sum(axis=1)
        return together if self.alone else together + self.rest_.predict(X)

    def _features(self, X: ImagePairs) -> Any:
        shared = ("backbone", "weights", "image_size", "spatial_pooling", "random_state", "memory")
        same = {name: getattr(self.network, name) for name in shared}
        return LayerActivations(layers=[self.network.layer], **same).fit_transform(X)
