"""How well any model could score, given how much subjects disagree; and scores relative to it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sklearn_rdm._pairs import ResponsePatterns
from sklearn_rdm._pairs._dissimilarities import average, count_images
from sklearn_rdm._pairs._unit_scale import to_unit_scale
from sklearn_rdm._pairs._weights import (
    check_samples_are_pairs,
    check_weights,
    keep_weighted,
    take_weights,
)
from sklearn_rdm.metrics._checks import (
    MIN_PAIRS,
    check_folds,
    check_observed,
    check_time_average,
    index_of_pairs,
    nobody_to_agree_with,
    warn_undefined,
)
from sklearn_rdm.metrics._conventions import NoiseCeilingConvention, get_convention
from sklearn_rdm.metrics._measures import (
    average_scores,
    rank_weighted,
    score_columns,
)
from sklearn_rdm.metrics._streamed import STREAMED
from sklearn_rdm.metrics._streamed_ceiling import streamed_bounds
from sklearn_rdm.metrics._strips import is_large

MANY_SUBJECTS = 100


def noise_ceiling(
    y: Any,
    *,
    convention: str | NoiseCeilingConvention = "rsatoolbox",
    scoring: str | None = None,
    sample_weight: Any = None,
    pairs: Any = None,
    folds: Sequence | None = None,
    time_average: bool = True,
) -> tuple[float | np.ndarray, float | np.ndarray]:
    """Compute the bounds of the score that the best possible model reaches on these subjects.

    ``upper = mean_s f(y_s, pool(all subjects))`` and
    ``lower = mean_s f(y_s, pool(all subjects but s))``, with the score ``f`` (or its square) and
    the pooling of the convention. Of time courses, subjects are pooled at each time point, and
    ``f`` is the mean over time points (or its square: average, then square, as in the challenge);
    a model that predicts one RDM for all time points will rarely reach that. Conventions:

    =============  ================  ========  =======  ===============  ==================
    convention     scoring           pooling   squared  normalises with  several targets
    =============  ================  ========  =======  ===============  ==================
    algonauts2019  spearman          mean      yes      upper            ratio of means [1]_
    net2brain      spearman          mean      yes      lower            mean of ratios [2]_
    brain-score    spearman          mean      no       upper            mean of ratios [3]_
    rsatoolbox     any               auto      no       lower            mean of ratios [4]_
    =============  ================  ========  =======  ===============  ==================

    Parameters
    ----------
    y : array-like of shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times), or \
ResponsePatterns
        Measured dissimilarities of two or more subjects, on any scale. NaN: this subject has no
        value for the pair; pools are made of the subjects that have it, and a pair that one subject
        alone has is left out of both bounds, as it would agree with itself.
    convention : str or NoiseCeilingConvention, default="rsatoolbox"
        A name of the table, or choices of your own. The default fits the signed scores, such as
        :func:`rdm_spearman_score`; compare squared ones with a convention that squares.
    scoring : str, default=None
        Score to use in place of the convention's, a name of :func:`get_rdm_scorer`.
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, as in the score: give both the same. None: all alike.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares; only the whitened scores need it. None: all pairs of
        the images, upper triangle row by row. Not used with response patterns.
    folds : sequence of array-like of int, default=None
        Rows of ``y`` of each test fold, ``[test for _, test in cv.split(pairs)]`` (of response
        patterns, ``cv.split(images)``): the bounds are
        then means over folds, to be compared with a mean over folds of scores. Pairs of no fold
        are not read. None: all pairs together.
    time_average : bool, default=True
        False takes every time point of ``y`` as a target of its own.

    Returns
    -------
    lower, upper : float, or ndarray of shape (n_times,)
        In the units of the score, squared if the convention squares; arrays if
        ``time_average`` is False. A subject, or a time point, without a score is left out of the
        mean, with an ``UndefinedMetricWarning``; so is a time point at which no two subjects have
        two pairs in common.

    Raises
    ------
    ValueError
        If there is one subject only, or no two subjects have two pairs in common (at no time
        point); if the convention or the score is unknown, ``time_average`` is False and ``y``
        has no time axis, or ``y`` holds square matrices.

    Warns
    -----
    UserWarning
        If rows of ``y`` look like subjects, and columns like pairs.

    See Also
    --------
    noise_normalized_r2_score : Score of a model as a fraction of the ceiling of the same pairs.

    Notes
    -----
    Response patterns of some thousand images and more are compared strip by strip, so that memory
    does not grow with the number of pairs. Pearson, cosine and whitened bounds are exact; for
    Spearman and rho_a, ranks are counted in 512 bins, within 1e-5. Kendall's tau-a needs all
    pairs, or a random part: ``noise_ceiling(patterns.to_pairs(images, n_pairs=10**5)[1])``.

    References
    ----------
    .. [1] Cichy, R. M. et al. The Algonauts Project: a platform for communication between the
       sciences of biological and artificial intelligence. arXiv:1905.05675 (2019).
    .. [2] Bersch, D. et al. Net2Brain: a toolbox to compare artificial vision models with human
       brain responses. arXiv:2208.09677 (2022). The choices are those of version 1.3.1.
    .. [3] Schrimpf, M. et al. Integrative benchmarking to advance neurally mechanistic models of
       human intelligence. Neuron 108, 413-423 (2020). The choices are those of the code,
       ``brainscore_vision/metrics/rsa_ceiling``, that returns the upper bound and keeps the lower
       as an attribute; another version of that file returns the lower.
    .. [4] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014).

    Examples
    --------
    >>> from sklearn_rdm.metrics import noise_ceiling
    >>> y = [[1, 2, 1], [2, 1, 2], [3, 3, 4], [5, 4, 3]]
    >>> lower, upper = noise_ceiling(y)
    >>> round(lower, 3), round(upper, 3)
    (0.79, 0.867)
    >>> lower, upper = noise_ceiling(y, convention="algonauts2019")
    >>> round(lower, 3), round(upper, 3)
    (0.661, 0.76)
    """
    choices = get_convention(convention, scoring)
    if isinstance(y, ResponsePatterns):
        check_samples_are_pairs(y, sample_weight)
        check_time_average(time_average, bool(y.n_times))
        parts = [y] if folds is None else [y[rows] for rows in check_folds(folds, len(y))]
        return _mean_bounds([_ceilings_of_images(part, choices, time_average) for part in parts])
    observed = check_observed(y)
    _warn_of_rows(observed)
    check_time_average(time_average, observed.ndim == 3)
    index = index_of_pairs(pairs, len(observed)) if choices.needs_pairs else None
    weights = check_weights(sample_weight, len(observed))
    if folds is None:
        return _ceilings(observed, index, weights, choices, time_average)
    by_fold = [
        _ceilings(
            observed[rows],
            None if index is None else index[rows],
            take_weights(weights, rows),
            choices,
            time_average,
        )
        for rows in check_folds(folds, len(observed))
    ]
    return _mean_bounds(by_fold)


def _warn_of_rows(observed: np.ndarray) -> None:
    """Warn where rows look like subjects, as in rsatoolbox: no prediction shows that here."""
    n_pairs, n_subjects = observed.shape[:2]
    if n_subjects > max(n_pairs, MANY_SUBJECTS) and (n_images := count_images(n_subjects)):
        warnings.warn(
            f"y has {n_pairs} rows, taken as pairs, and {n_subjects} columns, taken as subjects. "
            f"If rows are subjects and columns the pairs of {n_images} images, give y.T.",
            UserWarning,
            stacklevel=3,
        )


def check_subjects(y: Any) -> np.ndarray:
    """Float64 (n_pairs, n_subjects[, n_times]) of the pairs that two or more subjects have."""
    observed = check_observed(y)
    if observed.shape[1] < 2:
        raise ValueError(
            "a noise ceiling needs two or more subjects, got one: with nobody to agree with, it "
            "would be 1 whatever the noise. Give y of shape (n_pairs, n_subjects) or (n_pairs, "
            "n_subjects, n_times)."
        )
    shared = keep_shared_pairs(observed)
    if np.isnan(shared).all():
        raise nobody_to_agree_with(observed.shape[1])
    return shared


def keep_shared_pairs(observed: np.ndarray) -> np.ndarray:
    """NaN where one subject alone has the pair, and at time points of which none has a ceiling."""
    present = ~np.isnan(observed)
    by_time = present.reshape(*present.shape[:2], -1).transpose(2, 1, 0).astype(float)
    in_common = by_time @ by_time.transpose(0, 2, 1)  # (n_times, n_subjects, n_subjects)
    in_common[:, *np.diag_indices(observed.shape[1])] = 0
    has_ceiling = (in_common >= MIN_PAIRS).any(axis=(1, 2))
    if observed.ndim == 2:
        has_ceiling = has_ceiling[0]
    return np.where((present.sum(axis=1, keepdims=True) > 1) & has_ceiling, observed, np.nan)


def _ceilings(
    y: np.ndarray,
    index: Any,
    weights: np.ndarray | None,
    choices: NoiseCeilingConvention,
    time_average: bool,
) -> tuple[Any, Any]:
    """Both bounds of these pairs."""
    y, index, weights = keep_weighted(weights, y, index)
    observed = check_subjects(y)
    lower, upper = (score_bound(bound, observed, choices, index, weights) for bound in BOUNDS)
    warn_undefined(lower + upper)
    return mean_ceiling(lower, choices, time_average), mean_ceiling(upper, choices, time_average)


def _ceilings_of_images(
    y: ResponsePatterns, choices: NoiseCeilingConvention, time_average: bool
) -> tuple[Any, Any]:
    """Both bounds of all pairs of images; of many, strip by strip."""
    if not (is_large(y) and choices.measure in STREAMED):
        pairs, dissim = y.to_pairs(np.zeros((len(y), 1)))
        return _ceilings(dissim, pairs.index, None, choices, time_average)
    lower, upper = streamed_bounds(choices.measure, choices.resolved_pooling, y)
    warn_undefined(lower + upper)
    return mean_ceiling(lower, choices, time_average), mean_ceiling(upper, choices, time_average)


def _mean_bounds(by_fold: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Means over folds."""
    lower, upper = (np.mean(bounds, axis=0) for bounds in zip(*by_fold, strict=True))
    return (lower, upper) if np.ndim(lower) else (float(lower), float(upper))


def mean_ceiling(scores: np.ndarray, choices: NoiseCeilingConvention, time_average: bool) -> Any:
    """Mean over subjects of scores (n_subjects[, n_times]): over time, squared, over subjects."""
    if time_average and scores.ndim == 2:
        scores = average(scores)
    squares = scores**2 if choices.squared else scores
    return average_scores(squares, subject_average=True, time_average=False)


def score_bound(
    bound: str,
    observed: np.ndarray,
    choices: NoiseCeilingConvention,
    index: Any,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Scores (n_subjects[, n_times]), not squared, with subjects pooled at each time point."""
    # Not over time: the challenge's published ceilings of late MEG are above those of the same
    # data averaged over time, where pooling over time as well would put them below.
    score = BOUNDS[bound]
    if observed.ndim == 2:
        return score(observed, choices, index, weights)
    return np.column_stack([score(y, choices, index, weights) for y in np.moveaxis(observed, 2, 0)])


def _score_upper(
    observed: np.ndarray, choices: NoiseCeilingConvention, index: Any, weights: np.ndarray | None
) -> np.ndarray:
    pooled = average(_rescale(observed, choices.resolved_pooling, weights))[:, np.newaxis]
    return score_columns(choices.measure, observed, pooled, index, weights)[0]


def _score_lower(
    observed: np.ndarray, choices: NoiseCeilingConvention, index: Any, weights: np.ndarray | None
) -> np.ndarray:
    scores = np.empty(observed.shape[1])
    for subject, others in enumerate(pool_others(observed, choices.resolved_pooling, weights)):
        left_out = observed[:, [subject]]
        scores[subject] = score_columns(choices.measure, left_out, others, index, weights)[0, 0]
    return scores


def pool_others(
    observed: np.ndarray, pooling: str, weights: np.ndarray | None = None
) -> list[np.ndarray]:
    """For each subject, the mean (n_pairs, 1) of the others; NaN for a pair that none has."""
    rescaled = _rescale(observed, pooling, weights)
    return [
        average(np.delete(rescaled, subject, axis=1))[:, np.newaxis]
        for subject in range(observed.shape[1])
    ]


def _rescale(observed: np.ndarray, pooling: str, weights: np.ndarray | None) -> np.ndarray:
    if pooling == "rank":
        # Stretched, as subjects that have fewer pairs would have lower ranks; by 1 exactly if all
        # have as many: rounding would undo ties of the mean.
        ranks, totals = _rank_from_below(observed, weights)
        return ranks * (totals.max() / np.where(totals > 0, totals, 1))
    if pooling == "mean":
        return observed
    observed = to_unit_scale(observed)
    if pooling == "zscore":
        observed = observed - _average_pairs(observed, weights)
    scales = np.sqrt(_average_pairs(observed**2, weights))
    return observed / np.where(scales > 0, scales, 1)


def _rank_from_below(
    observed: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Number, or weight, of the pairs below each one and of half of those equal; of all pairs."""
    present = ~np.isnan(observed)
    if weights is None:
        return rankdata(observed, axis=0, nan_policy="omit") - 0.5, present.sum(axis=0)
    ranks = np.full(observed.shape, np.nan)
    for subject, rows in enumerate(present.T):
        column = observed[rows][:, [subject]]
        ranks[rows, subject] = rank_weighted(column, weights[rows])[:, 0]
    return ranks, weights @ present


def _average_pairs(columns: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Mean of each column over the pairs that it has."""
    if weights is None:
        return average(columns.T)
    total = weights @ ~np.isnan(columns)
    return weights @ np.nan_to_num(columns) / np.where(total > 0, total, np.nan)


BOUNDS = {"lower": _score_lower, "upper": _score_upper}
