"""Pooling from patterns against pooling of all their pairs."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns
from sklearn_rdm._pairs import _patterns
from sklearn_rdm._pairs._pattern_moments import mean_and_scale
from sklearn_rdm.preprocessing import SubjectPooling
from sklearn_rdm.preprocessing._pattern_pooling import PatternPooling


def make(metric, n_times=None):
    rng = np.random.default_rng(0)
    shape = (3, 40, 6) if metric == "crossnobis" else (40, 6)
    x = [rng.standard_normal((*shape, *[n_times] * bool(n_times))) for _ in range(3)]
    seen = np.ones((3, 40), dtype=bool)
    seen[1, :10] = seen[2, 5:20] = False
    noise = [np.diag(rng.random(6) + 1)] * 3 if metric == "mahalanobis" else None
    return ResponsePatterns(x, metric, seen=seen, noise_precision=noise)


@pytest.mark.parametrize("block", [100, 2**22])
@pytest.mark.parametrize("n_times", [None, 3])
@pytest.mark.parametrize(
    "metric", ["correlation", "cosine", "euclidean", "mahalanobis", "crossnobis"]
)
def test_equals_subject_pooling_of_all_pairs(metric, n_times, block, monkeypatch):
    monkeypatch.setattr(_patterns, "BLOCK", block)
    y = make(metric, n_times)[np.arange(39, -1, -1)]
    dissim = y.dissimilarities()
    dissim = dissim[~np.isnan(dissim.reshape(len(dissim), -1)).all(axis=1)]
    expected = SubjectPooling().fit(dissim)
    pooling = PatternPooling().fit(y)
    np.testing.assert_allclose(pooling.mean_, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(pooling.scale_, expected.scale_, rtol=1e-12)
    index = np.array([[0, 1], [3, 39], [20, 25]])
    for method in ("zscore", "mean"):
        np.testing.assert_allclose(
            PatternPooling(method).fit(y).target(y, index),
            SubjectPooling(method).fit(dissim).transform(y.dissimilarities(index)),
            rtol=1e-11,
        )


def test_nearly_equal_patterns_keep_their_digits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20) + 1e-5 * rng.standard_normal((50, 20))
    y = ResponsePatterns(x)
    difference = np.array([[np.subtract(*z) for z in [(a, b)]][0] for a in _z(x) for b in _z(x)])
    exact = (difference**2).sum(axis=1).reshape(50, 50)[np.triu_indices(50, 1)] / 2
    np.testing.assert_allclose(mean_and_scale(y, 0), (exact.mean(), exact.std()), rtol=1e-8)


def _z(x):
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_what_cannot_be_pooled():
    x = np.random.default_rng(0).standard_normal((4, 5))
    with pytest.raises(ValueError, match="nothing to learn"):
        PatternPooling().fit(ResponsePatterns(x)[:2])
    with pytest.raises(ValueError, match="no subject has seen two"):
        PatternPooling().fit(ResponsePatterns(x)[:1])
    fitted = PatternPooling().fit(ResponsePatterns(x))
    with pytest.raises(ValueError, match="fitted on 1 subjects, got 2"):
        fitted.target(ResponsePatterns([x, x]), [[0, 1]])
    with pytest.raises(ValueError, match="method must be"):
        PatternPooling("rank").fit(ResponsePatterns(x))
