"""What is wrong with response patterns is named, with what to do."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns

X = np.random.default_rng(1).standard_normal((4, 5, 6))
CONSTANT = np.vstack([X[0], np.full(6, 0.1)])
PARTIAL = np.where(np.arange(6) == 2, np.nan, X[0])


@pytest.mark.parametrize(
    ("patterns", "options", "message"),
    [
        (X[0], {"metric": "poisson"}, "metric must be one of"),
        ([], {}, "got none"),
        (X[0, 0], {}, "do not fit layout"),
        (X, {"layout": "image channel"}, "do not fit layout"),
        ([X[0], X[1, :4]], {}, "subject 1 has 4 images and subject 0 has 5"),
        ([X[0], X], {}, "subject 1 must have the axes"),
        (X[:0, 0], {}, "none of them empty"),
        (CONSTANT, {}, "image 5 of subject 0 is the same in all channels"),
        (CONSTANT * [[1]] * 5 + [[0]], {"metric": "cosine", "seen": [True]}, "seen must hold"),
        (np.zeros((3, 4)), {"metric": "cosine"}, "image 0 of subject 0 is 0 in all channels"),
        (PARTIAL, {}, "image 0 of subject 0 is NaN in some channels"),
        (np.where(np.eye(5, 6) > 0, np.inf, X[0]), {}, "image 0 of subject 0 is infinite"),
        (X[0], {"metric": "crossnobis"}, "subject 0 has 1: give patterns of"),
        (X[0], {"metric": "mahalanobis"}, "needs one of"),
        (X[0], {"noise_precision": np.eye(6)}, "takes no noise"),
        (X, {"metric": "crossnobis", "noise_precision": np.eye(5)}, r"shape \(6, 6\)"),
        (X, {"metric": "crossnobis", "noise_covariance": np.ones((6, 6))}, "positive definite"),
        (X, {"metric": "crossnobis", "noise_precision": X[0, :6, :6]}, r"shape \(6, 6\)"),
        (X, {"metric": "crossnobis", "noise_residuals": X[0, :2]}, "3 observations or more"),
        ([X], {"metric": "crossnobis", "noise_precision": [np.eye(6)] * 2}, "one array per subj"),
    ],
)
def test_what_is_wrong_is_named(patterns, options, message):
    with pytest.raises(ValueError, match=message):
        ResponsePatterns(patterns, **options)


def test_only_real_numbers():
    for array in (X[0] * 1j, X[0].astype(str), X[0] > 0):
        with pytest.raises(TypeError, match="must be real numbers"):
            ResponsePatterns(array)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([[0, 5]], ValueError, r"pair 0 is \[0, 5\], but there are 5 images"),
        ([[1, 1]], ValueError, "pair 0 joins image 1 with itself"),
        ([[-1, 0]], ValueError, r"pair 0 is \[-1, 0\]"),
        ([[0.0, 1.0]], TypeError, "index must hold integers"),
        ([0, 1], ValueError, r"index must have shape \(n_pairs, 2\)"),
    ],
)
def test_wrong_pairs_are_refused(index, error, message):
    with pytest.raises(error, match=message):
        ResponsePatterns(X[0]).dissimilarities(index)
