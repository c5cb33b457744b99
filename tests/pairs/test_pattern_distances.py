"""Distances as squared distances of signed features, against loops over pairs."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from sklearn_rdm._pairs._pattern_distances import (
    BLOCK,
    METRICS,
    Features,
    distances_between,
    pair_distances,
    signed_features,
    square_distances,
)

N_RUNS, N_IMAGES, N_CHANNELS = 3, 9, 6


@pytest.fixture(params=METRICS)
def metric(request):
    return request.param


@pytest.fixture(scope="module")
def patterns():
    return np.random.default_rng(0).standard_normal((N_RUNS, N_IMAGES, N_CHANNELS)) + 2


@pytest.fixture(scope="module")
def whitener():
    values = np.random.default_rng(1).random((N_CHANNELS, N_CHANNELS)) + np.eye(N_CHANNELS)
    return np.linalg.cholesky(values @ values.T)


def plain(patterns, metric, whitener):
    """From the definition, pair by pair."""
    mean, precision = patterns.mean(axis=0), whitener @ whitener.T
    if metric in ("correlation", "cosine"):
        return cdist(mean, mean, metric)
    precision = np.eye(N_CHANNELS) if metric == "euclidean" else precision
    found = np.zeros((N_IMAGES, N_IMAGES))
    for i, j in np.ndindex(found.shape):
        differences = patterns[:, i] - patterns[:, j]
        if metric == "crossnobis":
            couples = [(r, q) for r in range(N_RUNS) for q in range(N_RUNS) if r != q]
        else:
            differences, couples = differences.mean(axis=0)[np.newaxis], [(0, 0)]
        products = [differences[r] @ precision @ differences[q] for r, q in couples]
        found[i, j] = np.mean(products) / N_CHANNELS
    return found


def make_features(patterns, metric, whitener):
    return signed_features(
        patterns, metric, whitener if metric in ("mahalanobis", "crossnobis") else None
    )


def test_all_pairs(patterns, metric, whitener):
    features = make_features(patterns, metric, whitener)
    found, expected = square_distances(features), plain(patterns, metric, whitener)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(np.diag(found), 0)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("n_pairs", [1, 60])
@pytest.mark.parametrize("block", [BLOCK, 20])
def test_some_pairs(patterns, metric, whitener, n_pairs, block, monkeypatch):
    monkeypatch.setattr("sklearn_rdm._pairs._pattern_distances.BLOCK", block)
    monkeypatch.setattr("sklearn_rdm._pairs._pattern_distances.DENSE", 1e-3)
    features = make_features(patterns, metric, whitener)
    index = np.random.default_rng(2).integers(0, N_IMAGES, (n_pairs, 2))
    expected = plain(patterns, metric, whitener)[tuple(index.T)]
    np.testing.assert_allclose(pair_distances(features, index), expected, atol=1e-12)


def test_rows_against_columns(patterns, metric, whitener):
    features = make_features(patterns, metric, whitener)
    found = distances_between(features, slice(2, 5), np.array([8, 0, 3]))
    expected = plain(patterns, metric, whitener)[2:5][:, [8, 0, 3]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_only_crossnobis_has_columns_that_are_subtracted(patterns, metric, whitener):
    plus, minus = make_features(patterns, metric, whitener).sides
    assert plus.shape == (N_IMAGES, N_CHANNELS)
    assert minus.shape == (N_IMAGES, N_CHANNELS * (N_RUNS - 1) * (metric == "crossnobis"))


def test_squared_distances_are_not_negative_but_crossnobis_may_be():
    almost_equal = Features(np.full((4, 3), 0.1) + 1e-9 * np.eye(4, 3), 3)
    assert square_distances(almost_equal).min() == 0
    noise = np.random.default_rng(0).standard_normal((2, 30, 4))
    assert square_distances(signed_features(noise, "crossnobis", None)).min() < 0


@pytest.mark.parametrize(("metric", "pattern"), [("correlation", 0.1), ("cosine", 0.0)])
def test_a_pattern_without_a_direction_is_nan(metric, pattern):
    x = np.random.default_rng(0).random((1, 3, 5))
    x[0, 1] = pattern
    values = signed_features(x, metric, None).values
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), [False, True, False])
    np.testing.assert_allclose(np.sum(values[[0, 2]] ** 2, axis=1), 0.5)
