"""Feature vectors of images, and the distances between them."""

from __future__ import annotations

import math
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform

from sklearn_rdm._pairs._pair_index import group, renumber
from sklearn_rdm._pairs._rounding import FLOAT32_SHARE
from sklearn_rdm._pairs._whole_files import map_new_npy, whole_file
from sklearn_rdm.metrics._strips import Distances

DENSE = 8  # a matrix product makes this many pairs in the time that gathering takes for one
SAFE = (1e-140, 1e140)  # lengths of rows whose squares neither overflow nor vanish
BLOCK = 2048  # images; a block of a matrix and its two strips of features fit the cache
PRODUCTS = ("correlation", "cosine")  # one minus the product of two vectors of unit length
LEARNING_METRICS = {
    "seuclidean": "PerImage(StandardScaler()) before metric='euclidean'",
    "mahalanobis": "PerImage(PCA(whiten=True)) before metric='euclidean'",
}
SHORT_NAMES = {  # scipy's, of the metrics that are treated differently here
    "co": "correlation",
    "cos": "cosine",
    "s": "seuclidean",
    "se": "seuclidean",
    "mah": "mahalanobis",
    "mahal": "mahalanobis",
}


def check_metric(metric: Any) -> None:
    """Refuse what is not a distance of two feature vectors."""
    name = _whole_name(metric) if isinstance(metric, str) else None
    if name in LEARNING_METRICS:
        raise ValueError(
            f"metric={metric!r} reads a scale off the images it is given, so that a prediction "
            f"would depend on the images beside it. Use {LEARNING_METRICS[name]}, which learns "
            "the scale from the training images."
        )
    if name in PRODUCTS and metric != name:
        raise ValueError(f"metric={metric!r} is another spelling of scipy's: write {name!r}.")
    try:
        pdist(np.eye(2), metric)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"metric={metric!r} is no distance: give 'correlation', 'cosine', 'euclidean', another "
            "name that scipy.spatial.distance.pdist knows, or a function of two vectors."
        ) from error


def _whole_name(metric: str) -> str:
    """Name of a metric that scipy knows by other spellings as well, in small letters."""
    name = metric.lower().removeprefix("test_")
    return SHORT_NAMES.get(name, name)


def check_noise_ratio(noise_ratio: Any, metric: Any = "correlation") -> float:
    """Refuse what is no ratio of two variances, and noise where it attenuates nothing."""
    if not isinstance(noise_ratio, Real) or not 0 <= float(noise_ratio) < math.inf:
        raise ValueError(
            "noise_ratio must be a number from 0 (no noise) on: the variance of the noise over "
            f"that of the training images' activations, got {noise_ratio!r}."
        )
    if noise_ratio and metric not in PRODUCTS:
        raise ValueError(
            f"noise_ratio={noise_ratio!r} needs a metric that noise attenuates, one of "
            f"{[*PRODUCTS]}, got metric={metric!r}. Give noise_ratio=0."
        )
    return float(noise_ratio)


def mean_squared_length(features: np.ndarray, rows: np.ndarray, *, centre: bool) -> float:
    """Mean over these rows of the sum of squares, after subtracting a row's mean if asked."""
    total = 0.0
    for start in range(0, len(rows), BLOCK):
        of_block = rows[start : start + BLOCK]
        block = np.asarray(features[of_block], dtype=np.float64)
        check_finite(block, of_block)
        if centre:
            block = block - block.mean(axis=1, keepdims=True)
        total += float(np.einsum("ij,ij->", block, block))
    return total / len(rows)


def pair_distances(
    features: np.ndarray, index: np.ndarray, metric: Any, noise: float = 0.0
) -> np.ndarray:
    """Distances (n_pairs,) of the rows of features that ``index`` (n_pairs, 2) names."""
    used, local = renumber(index)
    vectors = _prepare(features[used], metric, used, noise)
    if metric in PRODUCTS:
        return unit_pair_distances(vectors, local)
    first, second = local.T
    if DENSE * len(index) >= len(used) ** 2:
        return squareform(pdist(vectors, metric), checks=False)[first, second]
    distances = np.empty(len(index))
    for pairs in group(first):
        one, others = vectors[first[pairs[:1]]], vectors[second[pairs]]
        distances[pairs] = cdist(one, others, metric)[0]
    return distances


def square_distances(features: np.ndarray, metric: Any, noise: float = 0.0) -> np.ndarray:
    """Distances (n_images, n_images) of all rows of features."""
    vectors = _prepare(features, metric, np.arange(len(features)), noise)
    if metric in PRODUCTS:
        return unit_square_distances(vectors)
    return squareform(pdist(vectors, metric), checks=False)


def open_distances(features: np.ndarray, metric: Any, noise: float = 0.0) -> Distances:
    """A function of some rows of features and others, to the distances between them."""
    vectors = _prepare(features, metric, np.arange(len(features)), noise)
    if metric in PRODUCTS:
        return partial(unit_distances, vectors)
    return lambda rows, columns: cdist(vectors[rows], vectors[columns], metric)


def unit_distances(vectors: np.ndarray, rows: Any, columns: Any) -> np.ndarray:
    """One minus the products of some rows of unit length with others, 0 to 2."""
    block = vectors[rows] @ vectors[columns].T
    np.subtract(1, block, out=block)
    return np.clip(block, 0, 2, out=block)


def unit_square_distances(vectors: np.ndarray) -> np.ndarray:
    """One minus the products of all rows of unit length: symmetric, 0 to 2, zero diagonal."""
    rdm = vectors @ vectors.T  # numpy computes one triangle and mirrors it
    np.subtract(1, rdm, out=rdm)
    np.clip(rdm, 0, 2, out=rdm)
    np.fill_diagonal(rdm, 0)
    return rdm


def write_unit_square_distances(vectors: np.ndarray, out: Any) -> np.ndarray:
    """As :func:`unit_square_distances`, in a ``.npy`` file that appears when it is whole."""
    open_memmap = np.lib.format.open_memmap
    with whole_file(out) as partial:
        map_new_npy(partial, vectors.dtype, (len(vectors), len(vectors)), out)
        for start in range(0, len(vectors), BLOCK):
            # Mapped anew for each strip: what was written counts as memory until it is unmapped.
            _fill_strip(open_memmap(partial, "r+"), vectors, start)
    return np.load(out, mmap_mode="r")


def _fill_strip(rdm: np.ndarray, vectors: np.ndarray, start: int) -> None:
    """Rows of a block from the diagonal on, and the columns that mirror them."""
    rows = slice(start, start + BLOCK)
    for other in range(start, len(vectors), BLOCK):
        columns = slice(other, other + BLOCK)
        block = np.subtract(1, vectors[rows] @ vectors[columns].T, out=rdm[rows, columns])
        np.clip(block, 0, 2, out=block)
        if other == start:
            np.fill_diagonal(block, 0)
        else:
            rdm[columns, rows] = block.T


def unit_pair_distances(vectors: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One minus the products of some pairs of rows of unit length, 0 to 2."""
    distances = np.empty(len(index), dtype=vectors.dtype)
    tiles = index // BLOCK
    tile_numbers = tiles[:, 0] * (tiles.max(initial=0) + 1) + tiles[:, 1]
    for pairs in group(tile_numbers):
        start, other = tiles[pairs[0]] * BLOCK
        first, second = index[pairs].T
        if DENSE * len(pairs) >= len(np.unique(first)) * len(np.unique(second)):
            products = vectors[start : start + BLOCK] @ vectors[other : other + BLOCK].T
            distances[pairs] = 1 - products[first - start, second - other]
        else:
            distances[pairs] = 1 - _products(vectors, first, second)
    return distances.clip(0, 2)


def _products(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    products = np.empty(len(first), dtype=vectors.dtype)
    for pairs in group(first):
        products[pairs] = vectors[second[pairs]] @ vectors[first[pairs[0]]]
    return products


def _prepare(features: np.ndarray, metric: Any, rows: np.ndarray, noise: float) -> np.ndarray:
    """Features as the metric's inner loop wants them: float, of unit length for products."""
    if metric not in PRODUCTS:
        check_finite(features, rows)
        return features.astype(np.float64, copy=False)
    return normalise(features, rows, centre=metric == "correlation", noise=noise)


def check_finite(features: np.ndarray, rows: np.ndarray) -> None:
    """Refuse NaN and infinity, which memory maps may still hold; ``rows`` are named in errors."""
    if features.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        sums = features.sum(axis=1, dtype=np.float64)  # needs no array as large as the features
    for suspected in np.flatnonzero(~np.isfinite(sums)):  # a sum of large numbers may overflow
        if not np.isfinite(features[suspected]).all():
            raise ValueError(
                f"image {rows[suspected]} holds NaN or infinity. Leave the image out, or correct "
                "its features."
            )


def normalise(
    features: np.ndarray, rows: np.ndarray, *, centre: bool, noise: float = 0.0
) -> np.ndarray:
    """Give every row unit length, after subtracting its mean; ``rows`` are named in errors.

    Noise is added to squared lengths: rows become shorter than 1, and may be constant.
    """
    check_finite(features, rows)
    dtype = np.float32 if features.dtype == np.float32 else np.float64
    mean = features.mean(axis=1, keepdims=True, dtype=np.float64) if centre else 0.0
    unit = np.subtract(features, mean, dtype=np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", unit, unit) + noise)[:, None]
    extreme = ~((length[:, 0] > SAFE[0]) & (length[:, 0] < SAFE[1]))
    suspected = np.flatnonzero(extreme | (length[:, 0] <= FLOAT32_SHARE * np.abs(features[:, 0])))
    if extreme.any():
        unit[extreme], length[extreme] = _in_own_unit(features[extreme], centre, noise)
    undefined = np.zeros(len(features), dtype=bool)
    undefined[suspected] = np.ptp(features[suspected], axis=1) == 0
    if undefined.any() and not noise:
        raise ValueError(
            f"the {features.shape[1]} features of image {rows[undefined.argmax()]} are all "
            f"{features[undefined.argmax(), 0]}: it has no "
            f"{'correlation' if centre else 'direction to compare'} with other images. Leave the "
            "image out, or use another layer or metric='euclidean'."
        )
    unit /= length
    return unit.astype(dtype, copy=False)


def _in_own_unit(features: np.ndarray, centre: bool, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their lengths, (n_images, 1), times a power of two each: no square overflows."""
    exponents = np.frexp(np.abs(features, dtype=np.float64).max(axis=1, keepdims=True))[1]
    rows = np.ldexp(features.astype(np.float64), -exponents)
    rows -= rows.mean(axis=1, keepdims=True) if centre else 0.0
    squares = np.einsum("ij,ij->i", rows, rows)[:, None]
    return rows, np.sqrt(squares + np.ldexp(noise, -2 * exponents))
