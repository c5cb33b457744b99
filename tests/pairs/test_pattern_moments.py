"""Means and spreads in closed form against those of all pairs."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns
from sklearn_rdm._pairs import _pattern_moments, _patterns
from sklearn_rdm._pairs._pattern_moments import mean_and_scale


@pytest.mark.parametrize("widest", [3, 4096])
@pytest.mark.parametrize("block", [100, 2**22])
@pytest.mark.parametrize("n_times", [None, 3])
@pytest.mark.parametrize(
    "metric", ["correlation", "cosine", "euclidean", "mahalanobis", "crossnobis"]
)
def test_equals_those_of_all_pairs(metric, n_times, block, widest, monkeypatch):
    monkeypatch.setattr(_patterns, "BLOCK", block)
    monkeypatch.setattr(_pattern_moments, "WIDEST", widest)
    rng = np.random.default_rng(0)
    shape = (3, 40, 6) if metric == "crossnobis" else (40, 6)
    x = [rng.standard_normal((*shape, *[n_times] * bool(n_times))) for _ in range(3)]
    seen = np.ones((3, 40), dtype=bool)
    seen[1, :10] = seen[2, 5:20] = False
    noise = [np.diag(rng.random(6) + 1)] * 3 if metric == "mahalanobis" else None
    y = ResponsePatterns(x, metric, seen=seen, noise_precision=noise)[np.arange(39, -1, -1)]
    dissim = y.dissimilarities()
    dissim = dissim if dissim.ndim == 2 else dissim.mean(axis=2)
    for subject in range(3):
        expected = np.nanmean(dissim[:, subject]), np.nanstd(dissim[:, subject])
        np.testing.assert_allclose(mean_and_scale(y, subject), expected, rtol=1e-12)


def test_nearly_equal_patterns_keep_their_digits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20) + 1e-5 * rng.standard_normal((50, 20))
    z = x - x.mean(axis=1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    first, second = np.triu_indices(50, 1)
    exact = ((z[first] - z[second]) ** 2).sum(axis=1) / 2
    found = mean_and_scale(ResponsePatterns(x), 0)
    np.testing.assert_allclose(found, (exact.mean(), exact.std()), rtol=1e-8)


def test_one_image_has_no_spread():
    assert np.isnan(mean_and_scale(ResponsePatterns(np.eye(4))[:1], 0)).all()
