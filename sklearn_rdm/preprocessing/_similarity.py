"""Similarities, such as correlations and ratings, as dissimilarities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import as_real, check_symmetric
from sklearn_rdm._pairs._options import check_option

__all__ = ["to_dissimilarity"]


def to_dissimilarity(similarity: Any, method: str = "one_minus") -> np.ndarray:
    """Turn similarity matrices into dissimilarity matrices.

    Parameters
    ----------
    similarity : array-like of shape (n_images, n_images) or (..., n_images, n_images)
        Symmetric; large for images that are alike. NaN is missing.
    method : {"one_minus", "max_minus", "kernel"}, default="one_minus"
        With ``s_ij`` the similarity of images ``i`` and ``j``:

        - "one_minus": ``1 - s_ij``, for correlations and cosines.
        - "max_minus": ``max(s) - s_ij``, with the largest value of each matrix, for ratings,
          counts and confusions.
        - "kernel": ``s_ii + s_jj - 2 s_ij``, for kernels and covariances: the squared distance.

    Returns
    -------
    dissimilarity : ndarray of float64, same shape
        The diagonal is 0.

    Raises
    ------
    TypeError, ValueError
        If the values are not real numbers, the matrices are not square or not symmetric, the method
        is unknown, or a value is above 1 where the method is "one_minus".

    See Also
    --------
    sklearn_rdm.ImagePairs.from_rdms : Takes the result.

    References
    ----------
    .. [1] Borg, I. & Groenen, P. J. F. Modern multidimensional scaling. 2nd ed., Springer (2005).

    Examples
    --------
    >>> from sklearn_rdm.preprocessing import to_dissimilarity
    >>> to_dissimilarity([[1.0, 0.25], [0.25, 1.0]])
    array([[0.  , 0.75],
           [0.75, 0.  ]])
    """
    similarity = as_real(similarity, "similarity")
    if similarity.ndim < 2 or similarity.shape[-1] != similarity.shape[-2]:
        raise ValueError(
            f"similarity must have shape (n_images, n_images) or (..., n_images, n_images), got "
            f"{similarity.shape}."
        )
    check_option("method", method, METHODS)
    check_symmetric(similarity, "similarity")
    dissimilarity = METHODS[method](similarity)
    n_images = similarity.shape[-1]
    dissimilarity[..., range(n_images), range(n_images)] = 0
    return dissimilarity


def _one_minus(similarity: np.ndarray) -> np.ndarray:
    if np.nanmax(similarity, initial=-np.inf) > 1 + 1e-6:
        raise ValueError(
            f"method='one_minus' is for correlations and cosines, at most 1, got "
            f"{np.nanmax(similarity):g}. Use 'max_minus' for ratings and counts, or 'kernel'."
        )
    return 1 - similarity


def _max_minus(similarity: np.ndarray) -> np.ndarray:
    return np.fmax.reduce(similarity, axis=(-2, -1), keepdims=True) - similarity


def _kernel(similarity: np.ndarray) -> np.ndarray:
    squares = np.diagonal(similarity, axis1=-2, axis2=-1)
    return squares[..., :, np.newaxis] + squares[..., np.newaxis, :] - 2 * similarity


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one_minus": _one_minus,
    "max_minus": _max_minus,
    "kernel": _kernel,
}
