"""Squared correlations as a fraction of the noise ceiling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm._pairs._dissimilarities import average, average_times
from sklearn_rdm._pairs._weights import check_weights, keep_weighted
from sklearn_rdm.metrics._checks import (
    check_predicted,
    check_time_average,
    index_of_pairs,
    to_pairs,
    warn_undefined,
)
from sklearn_rdm.metrics._conventions import NoiseCeilingConvention, get_convention
from sklearn_rdm.metrics._measures import group_columns, score_columns
from sklearn_rdm.metrics._noise_ceiling import (
    check_subjects,
    keep_shared_pairs,
    mean_ceiling,
    score_bound,
)

__all__ = ["noise_normalized_r2_score", "normalized_r2_columns"]


def noise_normalized_r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    convention: str | NoiseCeilingConvention = "algonauts2019",
    scoring: str | None = None,
    sample_weight: Any = None,
    pairs: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute the squared correlation with subjects as a fraction of these pairs' noise ceiling.

    ``R2 = mean_s f(y_s, p)**2`` over ``ceiling``, that bound of :func:`noise_ceiling` with which
    the convention normalises, computed on the very pairs that are scored. Of time courses, ``f`` is
    the mean over time points, which is then squared: ``mean_s (mean_t f(y_st, p))**2`` [1]_. For
    several targets ``k``, the challenge's ``mean_k R2_k / mean_k ceiling_k``, or the mean of ratios
    if the convention says so.

    Parameters
    ----------
    y_true : ndarray of shape (n_pairs, n_subjects[, n_times]), ResponsePatterns, or list of such
        Measured dissimilarities of two or more subjects; a list for several targets, such as the
        two MEG windows of the challenge. NaN: this subject has no value for the pair, which is then
        left out for this subject only. A pair that one subject alone has is left out: it has no
        ceiling.
    y_pred : array-like of shape (n_pairs,), or list of such
        Predicted dissimilarities, finite; one vector per target. With response patterns also
        (n_images, n_images).
    convention : str or NoiseCeilingConvention, default="algonauts2019"
        As in :func:`noise_ceiling`; it must be one that squares.
    scoring : str, default=None
        Score to use in place of the convention's, a name of :func:`get_rdm_scorer`.
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, in the score and in its ceiling; the same for several targets.
        None: all alike.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares; only the whitened scores need it. The ready scorer
        passes the pairs that it scores.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        False takes every time point as a target of its own, with its own ceiling.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        0 or more, 1 at the ceiling, no percentage. Squares have no sign and a positive chance
        level: :func:`rdm_permutation_test` gives the score that is expected of an unrelated RDM.
        NaN, with an ``UndefinedMetricWarning``, if predictions are constant or the ceiling is 0
        or not defined.

    Raises
    ------
    ValueError
        If there is one subject only, or no two subjects have two pairs in common (at no time
        point); if the convention does not square, the numbers of targets, or of what is not
        averaged, differ, or ``time_average`` is False and there is no time axis.

    See Also
    --------
    rdm_spearman_score : The one to prefer for choosing models: signed, and not below chance.

    References
    ----------
    .. [1] Cichy, R. M. et al. The Algonauts Project: a platform for communication between the
       sciences of biological and artificial intelligence. arXiv:1905.05675 (2019).

    Examples
    --------
    >>> from sklearn_rdm.metrics import noise_normalized_r2_score
    >>> y_true = [[1, 2, 1], [2, 1, 2], [3, 3, 4], [5, 4, 3]]
    >>> round(noise_normalized_r2_score(y_true, [1, 2, 4, 3]), 3)
    0.877
    """
    choices = get_convention(convention, scoring)
    squares, ceilings = [], []
    for given_pairs, observed, predicted in _targets(pairs, y_true, y_pred, sample_weight):
        check_time_average(time_average, observed.ndim == 3)
        index = index_of_pairs(given_pairs, len(observed)) if choices.needs_pairs else None
        weights = check_weights(sample_weight, len(observed))
        given = keep_weighted(weights, observed, predicted[:, np.newaxis], index)
        observed, columns, index, weights = given
        scores, ceiling = _scores_and_ceiling(
            choices, observed, columns, index, weights, time_average
        )
        warn_undefined(scores[0])
        square = (average_times(scores) if time_average else scores)[0] ** 2
        squares.append(average(square.T) if subject_average else square)
        ceilings.append(ceiling)
    if len({np.shape(square) for square in squares}) != 1:
        raise ValueError(
            "subject_average=False needs the same subjects in every target, time_average=False "
            "the same time points."
        )
    _warn_no_ceiling(ceilings)
    if choices.aggregation == "ratio_of_means":
        normalized = _fraction(np.mean(squares, axis=0), np.mean(ceilings, axis=0))
    else:
        normalized = np.mean([_fraction(*each) for each in zip(squares, ceilings, strict=True)], 0)
    return float(normalized) if np.ndim(normalized) == 0 else normalized


def normalized_r2_columns(
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    *,
    convention: str | NoiseCeilingConvention = "algonauts2019",
    scoring: str | None = None,
) -> np.ndarray:
    """Scores (n_predictions, n_subjects) of predictions that may be NaN."""
    choices = get_convention(convention, scoring)
    observed = keep_shared_pairs(observed)
    scores = np.full((predicted.shape[1], observed.shape[1]), np.nan)
    for has_prediction, predictions in group_columns(predicted):
        rows = np.flatnonzero(has_prediction)
        if len(rows):
            columns = predicted[np.ix_(rows, predictions)]
            each, ceiling = _scores_and_ceiling(choices, observed[rows], columns, index[rows], None)
            scores[predictions] = _fraction(average_times(each) ** 2, ceiling)
    return scores


def _targets(
    pairs: Any, y_true: Any, y_pred: Any, sample_weight: Any
) -> list[tuple[Any, np.ndarray, np.ndarray]]:
    """Pairs, measurements and predictions of each target."""
    is_list = isinstance(y_true, list | tuple) and len(y_true) > 0
    if not is_list or not all(map(_is_target, y_true)):
        y_true, y_pred = [y_true], [y_pred]
    if len(y_true) != len(y_pred):
        raise ValueError(f"got {len(y_true)} targets and {len(y_pred)} predictions.")
    targets = []
    for measured, prediction in zip(y_true, y_pred, strict=True):
        of_target, measured, (prediction,), _ = to_pairs(
            pairs, measured, [prediction], None, sample_weight
        )
        observed = check_subjects(measured)
        targets.append((of_target, observed, check_predicted(prediction, len(observed))))
    return targets


def _is_target(each: Any) -> bool:
    """Whether it is a whole target, no row of one."""
    return hasattr(each, "to_pairs") or np.ndim(each) in (2, 3)


def _scores_and_ceiling(
    choices: NoiseCeilingConvention,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: Any,
    weights: np.ndarray | None,
    time_average: bool = True,
) -> tuple[np.ndarray, Any]:
    """Scores (n_predictions, n_subjects[, n_times]), not squared, and the ceiling of squares."""
    if not choices.squared:
        raise ValueError(
            "a normalised r2 needs a convention that squares ('algonauts2019', 'net2brain'). For "
            "another one: dataclasses.replace(your_convention, squared=True)."
        )
    bound = score_bound(choices.bound, observed, choices, index, weights)
    scores = score_columns(choices.measure, observed, predicted, index, weights)
    return scores, mean_ceiling(bound, choices, time_average)


def _warn_no_ceiling(ceilings: list[Any]) -> None:
    """Tell that there is nothing to normalise with."""
    if not (np.asarray(ceilings) > 0).all():
        warnings.warn(
            "the noise ceiling is 0 or not defined (no two subjects have enough pairs in common, "
            "or their dissimilarities are constant): the normalised score is NaN.",
            UndefinedMetricWarning,
            stacklevel=3,
        )


def _fraction(squares: np.ndarray, ceiling: Any) -> np.ndarray:
    return squares / np.where(ceiling > 0, ceiling, np.nan)
