"""Feature vectors of images, and the distances between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform

DENSE = 8  # a matrix product makes this many pairs in the time that gathering takes for one
LEARNING_METRICS = {
    "seuclidean": "PerImage(StandardScaler()) before metric='euclidean'",
    "mahalanobis": "PerImage(PCA(whiten=True)) before metric='euclidean'",
}


def flatten_images(images: np.ndarray, n_features: int) -> np.ndarray:
    """Return the images as rows, after checking that each holds the numbers seen in fit."""
    features = images.reshape(len(images), -1)
    if features.shape[1] != n_features:
        raise ValueError(
            f"images of shape {images.shape[1:]} have {features.shape[1]} features each, but this "
            f"estimator was fitted on images of {n_features} features."
        )
    return features


def check_metric(metric: Any) -> None:
    """Refuse what is not a distance of two feature vectors."""
    if isinstance(metric, str) and metric.lower() in LEARNING_METRICS:
        raise ValueError(
            f"metric={metric!r} reads a scale off the images it is given, so that a prediction "
            f"would depend on the images beside it. Use {LEARNING_METRICS[metric.lower()]}, which "
            "learns the scale from the training images."
        )
    try:
        pdist(np.eye(2), metric)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"metric={metric!r} is no distance: give 'correlation', 'cosine', 'euclidean', another "
            "name that scipy.spatial.distance.pdist knows, or a function of two vectors."
        ) from error


def pair_distances(features: np.ndarray, index: np.ndarray, metric: Any) -> np.ndarray:
    """Distances (n_pairs,) of the rows of features that ``index`` (n_pairs, 2) names."""
    used, local = np.unique(index, return_inverse=True)
    first, second = local.reshape(-1, 2).T
    if DENSE * len(index) >= len(used) ** 2:
        return square_distances(features[used], metric, rows=used)[first, second]
    vectors = _prepare(features[used], metric, used)
    distances = np.empty(len(index), dtype=vectors.dtype)
    by_first = np.argsort(first, kind="stable")
    starts = np.flatnonzero(np.diff(first[by_first])) + 1
    for block in np.split(by_first, starts):
        one, others = vectors[first[block[0]]], vectors[second[block]]
        if metric in ("correlation", "cosine"):
            distances[block] = (1 - others @ one).clip(0, 2)
        else:
            distances[block] = cdist(one[np.newaxis], others, metric)[0]
    return distances


def square_distances(
    features: np.ndarray, metric: Any, *, rows: np.ndarray | None = None
) -> np.ndarray:
    """Distances (n_images, n_images) of all rows of features; ``rows`` are named in errors."""
    vectors = _prepare(features, metric, np.arange(len(features)) if rows is None else rows)
    if metric not in ("correlation", "cosine"):
        return squareform(pdist(vectors, metric), checks=False)
    rdm = vectors @ vectors.T
    np.subtract(1, rdm, out=rdm)
    np.clip(rdm, 0, 2, out=rdm)
    np.fill_diagonal(rdm, 0)
    return rdm


def _prepare(features: np.ndarray, metric: Any, rows: np.ndarray) -> np.ndarray:
    """Features as the metric's inner loop wants them: float, of unit length for products."""
    if metric not in ("correlation", "cosine"):
        return features.astype(np.float64, copy=False)
    return normalise(features, rows, centre=metric == "correlation")


def normalise(features: np.ndarray, rows: np.ndarray, *, centre: bool) -> np.ndarray:
    """Give every row unit length, after subtracting its mean; ``rows`` are named in errors."""
    dtype = np.float32 if features.dtype == np.float32 else np.float64
    if centre:
        undefined = features.max(axis=1) == features.min(axis=1)
    else:
        undefined = ~features.any(axis=1)
    if undefined.any():
        raise ValueError(
            f"the {features.shape[1]} features of image {rows[undefined.argmax()]} are all "
            f"{features[undefined.argmax(), 0]}: it has no "
            f"{'correlation' if centre else 'direction to compare'} with other images. Leave the "
            "image out, or use another layer or metric='euclidean'."
        )
    features = features.astype(np.float64)
    if centre:
        features -= features.mean(axis=1, keepdims=True)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(dtype, copy=False)
