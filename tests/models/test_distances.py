"""Distances of feature vectors: against scipy, by every route through blocks and few pairs."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm._models import _distances
from sklearn_rdm._models._distances import (
    check_metric,
    check_noise_ratio,
    mean_squared_length,
    normalise,
    pair_distances,
    square_distances,
    write_unit_square_distances,
)

METRICS = ["correlation", "cosine", "euclidean", "sqeuclidean", "cityblock"]


@pytest.fixture
def features():
    return np.random.default_rng(0).gamma(1.0, size=(23, 6))


@pytest.fixture(params=[5, 2048], ids=["many blocks", "one block"])
def block(request, monkeypatch):
    monkeypatch.setattr(_distances, "BLOCK", request.param)


def some_pairs(n_images, n_pairs):
    first, second = np.triu_indices(n_images, 1)
    rows = np.random.default_rng(1).permutation(len(first))[:n_pairs]
    return np.column_stack([second, first])[rows]  # either image may come first


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_pairs", [1, 20, 253])
def test_few_and_all_pairs_equal_scipy(features, block, metric, n_pairs):
    index = some_pairs(23, n_pairs)
    expected = squareform(pdist(features, metric))[tuple(index.T)]
    np.testing.assert_allclose(pair_distances(features, index, metric), expected, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_matrix_equals_scipy(features, metric):
    expected = squareform(pdist(features, metric))
    rdm = square_distances(features, metric)
    np.testing.assert_allclose(rdm, expected, atol=1e-12)
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diagonal(rdm), 0)


def test_a_matrix_written_by_strips_is_that_of_memory(features, block, tmp_path):
    unit = normalise(features, np.arange(23), centre=True)
    rdm = write_unit_square_distances(unit, tmp_path / "rdm.npy")
    np.testing.assert_allclose(rdm, squareform(pdist(features, "correlation")), atol=1e-12)
    np.testing.assert_array_equal(rdm, rdm.T)
    assert [path.name for path in tmp_path.iterdir()] == ["rdm.npy"]


@pytest.mark.parametrize("centre", [True, False])
def test_mean_squared_length_is_numpys(features, block, centre):
    rows = np.array([3, 4, 8, 22, 0, 1])
    chosen = features[rows] - centre * features[rows].mean(axis=1, keepdims=True)
    expected = (chosen**2).sum(axis=1).mean()
    assert mean_squared_length(features, rows, centre=centre) == pytest.approx(expected)


def test_noise_divides_by_a_longer_length(features):
    centred = features - features.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1) + 2.0)
    expected = 1 - (centred / length[:, None]) @ (centred / length[:, None]).T
    index = some_pairs(23, 100)
    found = pair_distances(features, index, "correlation", noise=2.0)
    np.testing.assert_allclose(found, expected[tuple(index.T)], atol=1e-12)


def test_float32_stays_float32_and_is_close_to_float64(features):
    index = some_pairs(23, 253)
    single = pair_distances(features.astype(np.float32), index, "correlation")
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, pair_distances(features, index, "correlation"), atol=1e-6)


def test_errors_name_the_image_by_its_own_number(features):
    features[7] = 2.0
    with pytest.raises(ValueError, match="image 7 are all 2.0: it has no correlation"):
        pair_distances(features, np.array([[3, 7]]), "correlation")
    features[7, 1] = np.nan
    for metric in METRICS:
        with pytest.raises(ValueError, match="image 7 holds NaN"):
            pair_distances(features, np.array([[3, 7]]), metric)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("mahal", "reads a scale off the images"),
        ("se", "reads a scale off the images"),
        ("cos", "write 'cosine'"),
        ("test_Correlation", "write 'correlation'"),
        ("pearson", "is no distance"),
        (3, "is no distance"),
    ],
)
def test_other_metrics_raise_an_error_that_says_what_to_give(metric, message):
    with pytest.raises(ValueError, match=message):
        check_metric(metric)


@pytest.mark.parametrize("noise_ratio", [-1, np.nan, np.inf, "1", None])
def test_noise_is_a_number_from_0_on(noise_ratio):
    with pytest.raises(ValueError, match="noise_ratio must be a number from 0"):
        check_noise_ratio(noise_ratio)


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e155, 1e300])
@pytest.mark.parametrize("metric", ["correlation", "cosine"])
def test_products_have_no_unit(metric, unit):
    # squares of such features overflow or vanish
    features = np.random.default_rng(0).random((6, 20))
    expected = squareform(pdist(features, metric))
    features[1:] *= unit  # each row is in a unit of its own
    np.testing.assert_allclose(square_distances(features, metric), expected, atol=1e-12)
    index = np.array([[0, 3], [2, 5]])
    found = pair_distances(features, index, metric)
    np.testing.assert_allclose(found, expected[tuple(index.T)], atol=1e-12)


@pytest.mark.parametrize("value", [1e-310, 1e-170, 3e-5, 1e155, 1e300])
def test_constant_features_of_any_size_raise(value):
    features = np.random.default_rng(0).random((3, 20)) * value
    features[1] = value
    with pytest.raises(ValueError, match="image 1 are all"):
        square_distances(features, "correlation")
