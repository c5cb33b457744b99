"""How often choices are predicted, and how often they could be."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import make_scorer

from sklearn_rdm._pairs._dissimilarities import as_real
from sklearn_rdm._pairs._triplets import check_choices
from sklearn_rdm._pairs._weights import check_weights

__all__ = ["choice_accuracy_ceiling", "choice_accuracy_score", "choice_accuracy_scorer"]


def choice_accuracy_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """Compute the share of triplets whose odd one out is predicted.

    Parameters
    ----------
    y_true : array-like of int, shape (n_triplets,)
        Place of the odd one out that was chosen.
    y_pred : array-like of int, shape (n_triplets,)
        The predicted place; -1, a tie, counts as wrong.
    sample_weight : array-like of shape (n_triplets,), default=None
        How much each triplet counts, 0 or more. None: all alike.

    Returns
    -------
    accuracy : float
        From 0 to 1; chance is 1/3, or 1/2 where the first image is a reference.

    Raises
    ------
    TypeError, ValueError
        If the shapes differ, there is no triplet, or a choice is missing or no number.

    See Also
    --------
    choice_accuracy_ceiling : How often one person's choice predicts another's.

    References
    ----------
    .. [1] M. N. Hebart, C. Y. Zheng, F. Pereira, C. I. Baker (2020). "Revealing the
       multidimensional mental representations of natural objects underlying human similarity
       judgements". Nature Human Behaviour 4:1173-1185.

    Examples
    --------
    >>> from sklearn_rdm.metrics import choice_accuracy_score
    >>> choice_accuracy_score([0, 2, 1, 1], [0, 2, 1, -1])
    0.75
    """
    y_true, y_pred = as_real(y_true, "choices"), as_real(y_pred, "predicted choices")
    if y_true.ndim != 1 or y_true.shape != y_pred.shape or y_true.size == 0:
        raise ValueError(
            "choices must be two one-dimensional arrays of equal length, one or more, got shapes "
            f"{y_true.shape} and {y_pred.shape}."
        )
    missing = np.isnan(y_true) | np.isnan(y_pred)
    if missing.any():
        raise ValueError(
            f"the choice of triplet {missing.argmax()} is missing: leave such triplets out."
        )
    weights = check_weights(sample_weight, len(y_true))
    return float(np.average(y_true == y_pred, weights=weights))


choice_accuracy_scorer = make_scorer(choice_accuracy_score)


def choice_accuracy_ceiling(triplets: Any, choices: Any) -> tuple[float, float]:
    """Compute bounds of the accuracy that the best model reaches, from triplets that repeat.

    Of trials with the same three images, the upper bound is the share of the most frequent choice,
    the lower one how often the most frequent choice of the *other* trials is a trial's choice
    (``1 / m`` where it is one of ``m`` that are equally frequent). Means over trials.

    Parameters
    ----------
    triplets : ImageTriplets
        Trials, in any order of their images; of ``anchored`` ones the reference is told apart.
    choices : array-like of int, shape (n_triplets,)
        Place of the odd one out in each.

    Returns
    -------
    lower, upper : float
        From 0 to 1.

    Raises
    ------
    ValueError
        If no three images were judged twice.

    See Also
    --------
    choice_accuracy_score : The accuracy of a model.

    Notes
    -----
    The upper bound is too high for few repeats: by .06 for 5 and .01 for 25 at the noise of
    THINGS [1]_. The lower one is too low. Published ceilings of THINGS are near 0.68.

    References
    ----------
    .. [1] M. N. Hebart, et al. (2023). "THINGS-data, a multimodal collection of large-scale
       datasets for investigating object representations in human brain and behavior". eLife
       12:e82580.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImageTriplets
    >>> from sklearn_rdm.metrics import choice_accuracy_ceiling
    >>> triplets = ImageTriplets(np.eye(3), [[0, 1, 2]] * 4)
    >>> choice_accuracy_ceiling(triplets, [2, 2, 2, 0])
    (0.75, 0.75)
    """
    counts, own = _count_choices(triplets, check_choices(triplets, choices))
    repeated = counts.sum(axis=1) > 1
    if not repeated.any():
        raise ValueError(
            "no three images were judged twice: a ceiling needs repeated triplets. Give those of a "
            "repeated set, or take a published ceiling."
        )
    counts, own = counts[repeated], own[repeated]
    upper = counts.max(axis=1) / counts.sum(axis=1)
    others = counts - np.eye(3)[own]
    most = others == others.max(axis=1, keepdims=True)
    lower = most[np.arange(len(own)), own] / most.sum(axis=1)
    return float(lower.mean()), float(upper.mean())


def _count_choices(triplets: Any, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each trial, choices of each image over all trials of its images; place of its own."""
    order = np.argsort(triplets.index, axis=1)
    if triplets.anchored:
        order = np.column_stack([np.zeros(len(order), int), triplets.index[:, 1:].argsort(1) + 1])
    _, number = np.unique(
        np.take_along_axis(triplets.index, order, axis=1), axis=0, return_inverse=True
    )
    number = number.ravel()
    own = (order == choices[:, np.newaxis]).argmax(axis=1)
    counts = np.zeros((number.max() + 1, 3))
    np.add.at(counts, (number, own), 1)
    return counts[number], own
