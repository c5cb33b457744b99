"""A model that predicts from one number an image."""

import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Averager(BaseEstimator, RegressorMixin):
    """Predicts from one-number images; counts its predictions in the file system."""

    def __init__(self, offset=0, folder=None):
        self.offset = offset
        self.folder = folder

    def fit(self, X, y):
        self.is_fitted_ = True
        return self

    def predict(self, X):
        if self.folder is not None:
            Path(self.folder, f"{time.monotonic_ns()}").touch()
        first, second = X.index.T
        return np.abs(X.images[first, 0] - X.images[second, 0] - self.offset)
