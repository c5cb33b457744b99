"""Pooling from patterns against pooling of all their pairs."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns
from sklearn_rdm.preprocessing import SubjectPooling, _pattern_pooling
from sklearn_rdm.preprocessing._pattern_pooling import pool_patterns, target_of_patterns

POOLINGS = [
    "zscore",
    "mean",
    "rank",
    SubjectPooling("align"),
    SubjectPooling(subject_weight="reliability"),
    SubjectPooling(rescale=False, subject_weight=[1, 2, 0]),
]


def make_patterns(n_images=40, n_times=None):
    rng = np.random.default_rng(0)
    seen = np.ones((3, n_images), dtype=bool)
    seen[1, :10] = seen[2, 5:20] = False
    shape = (n_images, 6, *[n_times] * bool(n_times))
    shared = rng.random(shape)
    return ResponsePatterns([shared + rng.random(shape) for _ in range(3)], seen=seen)


def expected_pooling(pooling, y):
    dissim = y.dissimilarities()
    dissim = dissim[~np.isnan(dissim.reshape(len(dissim), -1)).all(axis=1)]
    return (SubjectPooling(pooling) if isinstance(pooling, str) else pooling).fit(dissim)


@pytest.mark.parametrize("n_times", [None, 2])
@pytest.mark.parametrize("all_pairs", [0, 2**22])
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_targets_are_those_of_all_pairs(pooling, all_pairs, n_times, monkeypatch):
    monkeypatch.setattr(_pattern_pooling, "ALL_PAIRS", all_pairs)
    y = make_patterns(n_times=n_times)
    index = np.array([[0, 1], [3, 39], [20, 25], [0, 7]])
    found = target_of_patterns(pool_patterns(pooling, y), y, index)
    expected = expected_pooling(pooling, y).transform(y.dissimilarities(index))
    learned_of_sample = all_pairs == 0 and pooling not in ("zscore", "mean", POOLINGS[-1])
    tolerance = {"atol": 0.01} if learned_of_sample else {"rtol": 1e-11}
    np.testing.assert_allclose(found, expected, **tolerance)


def test_a_subject_with_one_image_is_left_out(monkeypatch):
    y = make_patterns()
    y.seen = y.seen.copy()
    y.seen[1, 11:] = False
    for all_pairs in (0, 2**22):
        monkeypatch.setattr(_pattern_pooling, "ALL_PAIRS", all_pairs)
        with pytest.warns(UserWarning, match=r"subjects \[1\] .* fewer than two"):
            pooling = pool_patterns("zscore", y)
        np.testing.assert_array_equal(np.isnan(pooling.mean_), [False, True, False])
        np.testing.assert_array_equal(pooling.weights_, [1, 0, 1])


@pytest.mark.parametrize("all_pairs", [0, 2**22])
def test_what_cannot_be_pooled(all_pairs, monkeypatch):
    monkeypatch.setattr(_pattern_pooling, "ALL_PAIRS", all_pairs)
    x = np.random.default_rng(0).standard_normal((4, 5))
    apart = np.eye(2, 4, dtype=bool)
    with pytest.raises(ValueError, match="no subject has seen two"):
        pool_patterns("zscore", ResponsePatterns([x, x], seen=apart))
    with pytest.raises(ValueError, match="are equal"):
        pool_patterns("zscore", ResponsePatterns(np.eye(4)))
    with pytest.raises(ValueError, match="method must be"):
        pool_patterns("median", ResponsePatterns(x))
