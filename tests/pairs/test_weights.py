"""Weights of pairs are checked once, and pairs of weight 0 are as if they were not there."""

import numpy as np
import pytest

from sklearn_rdm import ImagePairs
from sklearn_rdm._pairs._weights import (
    check_samples_are_pairs,
    check_weighted_pairs,
    check_weights,
    keep_weighted,
    take_weights,
)

PAIRS = ImagePairs(np.arange(4.0)[:, None])
Y = np.linspace(0.1, 0.6, 6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"must have shape \(6,\), one weight per pair for all subjects, got \(5,\)"),
        (np.ones((6, 2)), r"got \(6, 2\)"),
        ([1, 1, -0.5, 1, 1, 1], "that of pair 2 is -0.5"),
        ([1, np.nan, 1, 1, 1, 1], "that of pair 1 is nan"),
        ([1, 1, 1, np.inf, 1, 1], "that of pair 3 is inf"),
        (np.zeros(6), "is 0 for all pairs"),
        (np.array([1j] * 6), "sample_weight"),
    ],
)
def test_wrong_weights_raise_an_error_that_says_which(weights, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_weights(weights, 6)


def test_no_weights_are_none():
    assert check_weights(None, 6) is None
    assert take_weights(None, [0, 1]) is None


def test_pairs_of_weight_0_are_left_out():
    weights = np.array([1, 0, 2, 1, 0, 1])
    pairs, y, kept = check_weighted_pairs(PAIRS, Y, weights)
    np.testing.assert_array_equal(pairs.index, PAIRS.index[weights > 0])
    np.testing.assert_array_equal(y, Y[weights > 0])
    np.testing.assert_array_equal(kept, weights[weights > 0])
    pairs, y, kept = check_weighted_pairs(PAIRS, Y, weights, keep_rows=True)
    np.testing.assert_array_equal(pairs.index, PAIRS.index)
    np.testing.assert_array_equal(kept, weights)


def test_arrays_follow_their_weights():
    weights = np.array([0, 1, 1, 0, 1, 1])
    index, nothing, kept = keep_weighted(weights, PAIRS.index, None)
    np.testing.assert_array_equal(index, PAIRS.index[[1, 2, 4, 5]])
    assert nothing is None
    np.testing.assert_array_equal(kept, np.ones(4))
    same, none = keep_weighted(None, Y)
    assert same is Y
    assert none is None
    np.testing.assert_array_equal(take_weights(weights, [1, 3]), [1, 0])


def test_images_as_samples_have_no_weights_of_pairs():
    class Patterns:
        def to_pairs(self, images):
            raise AssertionError

    check_samples_are_pairs(Patterns(), None)
    with pytest.raises(ValueError, match="Give pairs and dissimilarities"):
        check_samples_are_pairs(Patterns(), np.ones(6))
