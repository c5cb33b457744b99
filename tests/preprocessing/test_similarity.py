import warnings

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm import ImagePairs
from sklearn_rdm.io import read_rdms
from sklearn_rdm.preprocessing import to_dissimilarity

PATTERNS = np.random.default_rng(0).normal(size=(6, 30))


def test_correlations_become_correlation_distances():
    expected = squareform(pdist(PATTERNS, "correlation"))
    np.testing.assert_allclose(to_dissimilarity(np.corrcoef(PATTERNS)), expected, atol=1e-12)


def test_kernels_become_squared_distances():
    expected = squareform(pdist(PATTERNS, "sqeuclidean"))
    found = to_dissimilarity(PATTERNS @ PATTERNS.T, method="kernel")
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_ratings_are_subtracted_from_the_largest_of_each_matrix():
    ratings = np.array([[[7.0, 2], [2, 7]], [[5, np.nan], [np.nan, 5]]])
    found = to_dissimilarity(ratings, method="max_minus")
    np.testing.assert_array_equal(found, [[[0, 5], [5, 0]], [[0, np.nan], [np.nan, 0]]])


@pytest.mark.parametrize(
    ("similarity", "method", "match"),
    [
        (np.eye(3)[:2], "one_minus", "got \\(2, 3\\)"),
        (np.eye(3), "two_minus", "method must be one of .*'two_minus'"),
        (7 * np.eye(3), "one_minus", "at most 1, got 7"),
        (np.triu(np.ones((3, 3))), "one_minus", "symmetric"),
    ],
)
def test_what_is_no_similarity_raises_an_error(similarity, method, match):
    with pytest.raises(ValueError, match=match):
        to_dissimilarity(similarity, method)


@pytest.mark.parametrize("scale", [1, 100])
def test_similarities_are_noticed(tmp_path, scale):
    similarity = scale * np.corrcoef(PATTERNS)
    with pytest.warns(UserWarning, match="look like similarities.*to_dissimilarity"):
        ImagePairs.from_rdms(PATTERNS, np.stack([similarity] * 2))
    np.save(tmp_path / "x.npy", similarity)
    with pytest.warns(UserWarning, match="look like similarities"):
        read_rdms(tmp_path / "x.npy")


@pytest.mark.parametrize("diagonal", [0, np.nan])
def test_dissimilarities_are_taken_without_a_word(diagonal):
    rdm = squareform(pdist(PATTERNS)) - 7  # some are below 0, as crossvalidated distances
    np.fill_diagonal(rdm, diagonal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, dissim = ImagePairs.from_rdms(PATTERNS, rdm)
        ImagePairs.from_rdms(PATTERNS, np.full((6, 6), 2.0) - np.eye(6))
    assert dissim.min() < 0
