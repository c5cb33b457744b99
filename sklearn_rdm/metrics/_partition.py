"""What each of several models explains by itself, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import average, average_times
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm._pairs._unit_scale import to_unit_scale
from sklearn_rdm.metrics._checks import check_observed, check_tested, to_pairs, warn_undefined
from sklearn_rdm.metrics._measures import average_scores, rank_columns
from sklearn_rdm.metrics._names import name_models
from sklearn_rdm.metrics._results import InferenceResult

__all__ = ["rdm_partial_score", "rdm_variance_partition"]

MAX_MODELS = 8  # 255 parts
SCORINGS = ("pearson", "spearman")
NOTHING_LEFT = 1e-10  # of a vector's length, below which its residual is rounding


def rdm_partial_score(
    y_true: Any,
    y_pred: Any,
    *controls: Any,
    scoring: str = "spearman",
    folds: Sequence | None = None,
    subject_average: bool = True,
) -> float | np.ndarray:
    """Compute the partial correlation of predicted and measured dissimilarities.

    The correlation of what least squares with an intercept leave of both when the controls are
    taken out, ``corr(y_s - fit(y_s | controls), p - fit(p | controls))``; for Spearman's, of ranks.
    The score is the mean over subjects.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    *controls : array-likes of shape (n_pairs,)
        Predictions of other models, or any measure of the pairs, finite. Without any, the plain
        correlation.
    scoring : {"spearman", "pearson"}, default="spearman"
        Which correlation.
    folds : sequence of array-like of int, default=None
        Rows of the pairs of each test fold, ``[test for _, test in cv.split(pairs)]``, for
        predictions of models that were fitted fold by fold: the score is then the mean over folds,
        and pairs of no fold need no prediction. None: all pairs together.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,)
        Between -1 and 1. NaN, with an ``UndefinedMetricWarning``, if nothing is left of the
        prediction or of a subject.

    Raises
    ------
    ValueError
        If the shapes do not match or ``scoring`` is unknown.

    See Also
    --------
    rdm_variance_partition : The shares of several models at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm.metrics import rdm_partial_score, rdm_spearman_score
    >>> control, *own = np.random.default_rng(1).random((3, 190))
    >>> y_true, y_pred = (control + 0.3 * each for each in own)
    >>> round(rdm_spearman_score(y_true, y_pred), 2)
    0.92
    >>> round(rdm_partial_score(y_true, y_pred, control), 2)
    0.05
    """
    transform = _transform(scoring)
    data = _check_data(y_true, [y_pred, *controls], folds)
    scores = _by_fold(*data, 1, lambda y, x: _partial(transform(y), transform(x)))[0]
    warn_undefined(scores)
    return average_scores(scores, subject_average=subject_average, time_average=True)


def rdm_variance_partition(
    y_true: Any,
    *y_preds: Any,
    names: Sequence[str] | None = None,
    scoring: str = "spearman",
    folds: Sequence | None = None,
) -> InferenceResult:
    """Split the variance that several models explain into what is unique and what is shared.

    Commonality analysis [1]_. With ``R2(M)`` of least squares with an intercept on the predictions
    of the models ``M``, and ``G(A) = R2(all) - R2(all but A)``, what exactly the models ``A`` have
    in common is ``sum_{B in A} (-1)^(|A| - |B|) G(B)``; of one model that is its unique share. All
    shares add up to ``R2(all)``. Of ranks, for Spearman's.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's shares are means over time points.
    *y_preds : array-likes of shape (n_pairs,), or one dict of them
        Dissimilarities that 2 to 8 models predict, finite; a dict has their names as keys.
    names : sequence of str, default=None
        The models' names; None calls them "model 0", "model 1", ...
    scoring : {"spearman", "pearson"}, default="spearman"
        Whether ranks or values are explained.
    folds : sequence of array-like of int, default=None
        As in :func:`rdm_partial_score`: shares are then means over folds.

    Returns
    -------
    result : InferenceResult
        Prints as a table, one row a part and one of all models together, means over subjects;
        ``result.to_frame()`` is a DataFrame. ``names``; ``parts`` : list of tuples of names;
        ``shares`` : ndarray of shape (n_parts,); ``subject_shares`` : (n_parts, n_subjects);
        ``r2`` : float, of all models; ``subject_r2`` : (n_subjects,). NaN, with an
        ``UndefinedMetricWarning``, for a subject with constant values.

    Raises
    ------
    ValueError
        If there are fewer than 2 or more than 8 models, the shapes do not match or ``scoring`` is
        unknown.

    See Also
    --------
    rdm_partial_score : Signed, of one model.

    Notes
    -----
    R2 is that of the pairs that the weights were fitted to: it grows with every model, by about one
    over the number of pairs for noise, and small folds make it large. A shared part is negative
    where one model suppresses what another one gets wrong.

    References
    ----------
    .. [1] Nimon, K. & Oswald, F. L. Understanding the results of multiple linear regression. Organ.
       Res. Methods 16, 650-674 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm.metrics import rdm_variance_partition
    >>> shape, colour, noise = np.random.default_rng(0).random((3, 190))
    >>> models = {"shape": shape, "both": shape + colour}
    >>> rdm_variance_partition(shape + colour + noise, models, scoring="pearson")
           part  share
          shape  0.006
           both  0.388
    shape, both  0.329
            all  0.724
    """
    names, predictions = name_models(y_preds, names)
    if not 2 <= len(names) <= MAX_MODELS:
        raise ValueError(f"a partition takes 2 to {MAX_MODELS} models, got {len(names)}.")
    transform = _transform(scoring)
    data = _check_data(y_true, predictions, folds)
    subsets = list(_subsets(len(names)))
    explained = _by_fold(
        *data, len(subsets), lambda y, x: _explained(transform(y), transform(x), subsets)
    )
    shares = _commonalities(dict(zip(subsets, explained, strict=True)), subsets[-1])
    warn_undefined(explained[-1])
    shares, r2 = average_times(shares), average_times(explained)[-1]
    means = average(shares)
    parts = [tuple(names[model] for model in part) for part in subsets]
    records = [
        {"part": ", ".join(part), "share": float(share)}
        for part, share in zip(parts, means, strict=True)
    ]
    return InferenceResult(
        records=[*records, {"part": "all", "share": float(average(r2))}],
        names=names,
        parts=parts,
        shares=means,
        subject_shares=shares,
        r2=float(average(r2)),
        subject_r2=r2,
    )


def _transform(scoring: str) -> Callable[[np.ndarray], np.ndarray]:
    """What is correlated: unit-scaled, centred columns or their ranks."""
    check_option("scoring", scoring, SCORINGS)

    def transform(columns: np.ndarray) -> np.ndarray:
        columns = rank_columns(columns) if scoring == "spearman" else to_unit_scale(columns)
        centered = columns - columns.mean(axis=0)
        centered[:, np.ptp(columns, axis=0) == 0] = 0
        return centered

    return transform


def _check_data(
    y_true: Any, predictions: list, folds: Sequence | None
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Targets, predictions (n_pairs, n_models), which are finite within folds, and the folds."""
    _, y_true, predictions, folds = to_pairs(None, y_true, predictions, folds)
    observed = check_observed(y_true)
    return observed, *check_tested(predictions, folds, len(observed))


def _by_fold(
    observed: np.ndarray,
    columns: np.ndarray,
    folds: list[np.ndarray],
    n_values: int,
    function: Callable,
) -> np.ndarray:
    """Means over folds of the values (n_values, n_subjects[, n_times]) of a function of both."""
    found = [_by_subject(observed[rows], columns[rows], n_values, function) for rows in folds]
    return np.mean(found, axis=0)


def _by_subject(
    observed: np.ndarray, columns: np.ndarray, n_values: int, function: Callable
) -> np.ndarray:
    """Values (n_values, n_subjects[, n_times]) of a function of what each subject has."""
    labels = observed.reshape(len(observed), math.prod(observed.shape[1:]))
    values = np.full((labels.shape[1], n_values), np.nan)
    for row, label in zip(values, labels.T, strict=True):
        known = ~np.isnan(label)
        if known.sum() > 1:
            row[:] = function(label[known, np.newaxis], columns[known])
    return values.T.reshape(n_values, *observed.shape[1:])


def _partial(observed: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Correlation of the first column with what is observed, without the others."""
    both, controls = np.hstack([observed, columns[:, :1]]), columns[:, 1:]
    left = both
    if controls.size:
        left = both - controls @ np.linalg.lstsq(controls, both, rcond=None)[0]
    lengths = np.linalg.norm(left, axis=0)
    if (lengths <= NOTHING_LEFT * np.linalg.norm(both, axis=0)).any():
        return np.array([np.nan])
    return np.clip([left[:, 0] @ left[:, 1] / lengths.prod()], -1, 1)


def _explained(observed: np.ndarray, columns: np.ndarray, subsets: list) -> np.ndarray:
    """R2 of each subset of the columns; NaN if what is observed is constant."""
    total = np.sum(observed**2)
    if total == 0:
        return np.full(len(subsets), np.nan)
    r2 = []
    for subset in subsets:
        chosen = columns[:, subset]
        fitted = chosen @ np.linalg.lstsq(chosen, observed, rcond=None)[0]
        r2.append(1 - np.sum((observed - fitted) ** 2) / total)
    return np.array(r2)


def _subsets(n_models: int, of: tuple[int, ...] | None = None) -> Iterator[tuple[int, ...]]:
    """All subsets but the empty one, small ones first."""
    members = range(n_models) if of is None else of
    for size in range(1, len(members) + 1):
        yield from combinations(members, size)


def _commonalities(explained: dict[tuple, np.ndarray], every: tuple[int, ...]) -> np.ndarray:
    """What each subset of models has in common that no other one has."""
    explained = {(): np.zeros_like(explained[every]), **explained}

    def lost_without(part: tuple[int, ...]) -> np.ndarray:
        rest = tuple(model for model in every if model not in part)
        return explained[every] - explained[rest]

    return np.array(
        [
            sum(
                (-1) ** (len(part) - len(smaller)) * lost_without(smaller)
                for smaller in _subsets(0, of=part)
            )
            for part in _subsets(len(every))
        ]
    )
