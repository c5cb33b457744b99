"""Choices of the odd one out as a dissimilarity matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_rdm._pairs._triplets import check_choices
from sklearn_rdm._pairs._weights import check_weights

__all__ = ["choices_to_rdm"]


def choices_to_rdm(
    triplets: Any, choices: Any, *, sample_weight: Any = None, return_counts: bool = False
) -> Any:
    """Turn many choices of the odd one out into a dissimilarity matrix.

    ``1 - A_ij``, where ``A_ij`` is the share of the triplets with images ``i`` and ``j`` in which
    the third image was the odd one out [1]_. For a reference with two alternatives, the pair of
    the alternatives is not judged.

    Parameters
    ----------
    triplets : ImageTriplets
        The triplets that were judged.
    choices : array-like of int, shape (n_triplets,)
        Place of the odd one out in each.
    sample_weight : array-like of shape (n_triplets,), default=None
        How much each triplet counts, 0 or more. None: all alike.
    return_counts : bool, default=False
        Whether to return the numbers of judgements too, such as for weights of the pairs.

    Returns
    -------
    rdm : ndarray of shape (n_images, n_images)
        0 to 1, symmetric, zero diagonal; NaN for images that were never judged together, which
        :meth:`ImagePairs.from_rdms` leaves out.
    counts : ndarray of shape (n_images, n_images)
        Number, or weight, of the judgements of each pair; only if ``return_counts``.

    Raises
    ------
    TypeError, ValueError
        If ``triplets`` is not an ImageTriplets, or a choice is not a place in its triplet.

    See Also
    --------
    OddOneOutAlignment : Predicts choices among new images from features.

    Notes
    -----
    With ``c`` judgements of a pair an entry has a standard error of ``sqrt(A (1 - A) / c)``:
    about 0.17 for the 8 that THINGS has on average.

    References
    ----------
    .. [1] M. N. Hebart, C. Y. Zheng, F. Pereira, C. I. Baker (2020). "Revealing the
       multidimensional mental representations of natural objects underlying human similarity
       judgements". Nature Human Behaviour 4:1173-1185.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImageTriplets
    >>> from sklearn_rdm.preprocessing import choices_to_rdm
    >>> triplets = ImageTriplets(np.eye(3), [[0, 1, 2]] * 4)
    >>> choices_to_rdm(triplets, [2, 2, 2, 0])
    array([[0.  , 0.25, 1.  ],
           [0.25, 0.  , 0.75],
           [1.  , 0.75, 0.  ]])
    """
    choices = check_choices(triplets, choices)
    weights = check_weights(sample_weight, len(choices))
    weights = np.ones(len(choices)) if weights is None else weights
    together, counts = np.zeros((2, len(triplets.images), len(triplets.images)))
    for place in np.flatnonzero(triplets.possible):
        first, second = triplets.pair_index[:, place].T
        np.add.at(counts, (first, second), weights)
        np.add.at(together, (first, second), weights * (choices == place))
    together, counts = together + together.T, counts + counts.T
    rdm = 1 - np.divide(together, counts, out=np.full_like(counts, np.nan), where=counts > 0)
    np.fill_diagonal(rdm, 0)
    return (rdm, counts) if return_counts else rdm
