"""Every distance of patterns as one form: squared distances of signed features.

``D_ij = |a_i - a_j|^2 - |b_i - b_j|^2``, where ``a`` are the first ``n_plus`` columns of the
features and ``b`` the others. Only crossnobis has ``b``: what runs disagree on is subtracted. One
form means one way to compute a pair, a matrix, a mean over all pairs and a correlation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import helmert

METRICS = ("correlation", "cosine", "crossnobis", "euclidean", "mahalanobis")
CONSTANT = 1e-12  # of a pattern's length: what rounding leaves of equal numbers
DENSE = 8  # pairs are a product of matrices if they are more than this part of all
BLOCK = 2**22  # numbers in a block of differences: 32 MB


class Features(NamedTuple):
    """Signed features of images, (n_images, n_features)."""

    values: np.ndarray
    n_plus: int

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.values[:, : self.n_plus], self.values[:, self.n_plus :]

    @property
    def signs(self) -> np.ndarray:
        """1 for the columns that are added, -1 for those that are subtracted."""
        return np.where(np.arange(self.values.shape[1]) < self.n_plus, 1.0, -1.0)


def signed_features(x: np.ndarray, metric: str, whitener: np.ndarray | None) -> Features:
    """Features of patterns (n_runs, n_images, n_channels) whose form is the distance.

    A pattern without a direction, for "correlation" and "cosine", becomes NaN.
    """
    n_runs, n_images, n_channels = x.shape
    if metric in ("correlation", "cosine"):
        return Features(_directions(x.mean(axis=0), metric) / np.sqrt(2), n_channels)
    x = (x if whitener is None else x @ whitener) / np.sqrt(n_channels)
    if metric != "crossnobis":
        return Features(x.mean(axis=0), n_channels)
    # Rotated across runs, the first is what they share: sum over runs / sqrt(n_runs).
    rotated = np.tensordot(helmert(n_runs, full=True), x, axes=1)
    scale = 1 / np.sqrt([n_runs, *[n_runs * (n_runs - 1)] * (n_runs - 1)])
    rotated *= scale[:, np.newaxis, np.newaxis]
    values = rotated.transpose(1, 0, 2).reshape(n_images, n_runs * n_channels)
    return Features(values, n_channels)


def pair_distances(features: Features, index: np.ndarray) -> np.ndarray:
    """Distance of each pair of rows, (n_pairs,)."""
    n_images = len(features.values)
    if DENSE * len(index) > n_images**2:
        return square_distances(features)[index[:, 0], index[:, 1]]
    distances = np.empty(len(index))
    step = max(BLOCK // features.values.shape[1], 1)
    for start in range(0, len(index), step):
        first, second = index[start : start + step].T
        differences = [side[first] - side[second] for side in features.sides]
        plus, minus = (np.einsum("ij,ij->i", d, d) for d in differences)
        distances[start : start + step] = plus - minus
    return distances


def square_distances(features: Features) -> np.ndarray:
    """Distances of all pairs of rows, (n_images, n_images), zero diagonal."""
    # Distances are the same after centring, but lose fewer digits.
    plus, minus = (side - side.mean(axis=0) for side in features.sides)
    gram = plus @ plus.T
    if minus.shape[1]:
        gram -= minus @ minus.T
    lengths = np.diag(gram).copy()
    for row, length in zip(gram, lengths, strict=True):  # in cache, and both triangles round alike
        row *= -2
        row += lengths + length
    if not minus.shape[1]:
        np.maximum(gram, 0, out=gram)
    np.fill_diagonal(gram, 0)
    return gram


def distances_between(features: Features, rows: Any, columns: Any) -> np.ndarray:
    """Distances of each of some images to each of others; features had better be centred."""
    first, second = features.values[rows], features.values[columns]
    signed = first * features.signs if features.n_plus < first.shape[1] else first
    gram = signed @ second.T
    gram *= -2
    gram += np.einsum("ij,ij->i", signed, first)[:, np.newaxis]
    gram += np.einsum("ij,ij->i", second * features.signs, second)
    return gram if features.n_plus < first.shape[1] else np.maximum(gram, 0, out=gram)


def _directions(x: np.ndarray, metric: str) -> np.ndarray:
    """Rows of unit length, less their mean for "correlation"; NaN where there is none."""
    size = np.linalg.norm(x, axis=1)
    if metric == "correlation":
        x = x - x.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x, axis=1)
    length[length <= CONSTANT * size] = np.nan
    return x / length[:, np.newaxis]
