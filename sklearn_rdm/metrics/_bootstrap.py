"""Intervals and comparisons of scores, with images and subjects as the random units."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import Bunch

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm.metrics._draws import (
    average_folds,
    check_inputs,
    members_of_sets,
    run_batches,
    score_folds,
)
from sklearn_rdm.metrics._scorers import columns_of

__all__ = ["compare_rdm_scores", "rdm_bootstrap"]

UNITS = ("images", "subjects", "both")


def rdm_bootstrap(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    over: str = "both",
    scoring: str | Callable = "spearman",
    folds: Sequence | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Estimate the interval of a score by resampling images, subjects or both.

    Images are drawn with replacement within their image set (the connected parts of the pairs'
    graph); a pair whose images were drawn ``a`` and ``b`` times counts ``a b`` times, and pairs of
    an image with its own copy are dropped. Resampling both is conservative: measurement noise then
    counts more than once [1]_.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite.
    over : {"images", "subjects", "both"}, default="both"
        What is resampled, thus to which population the interval refers.
    scoring : str or scorer, default="spearman"
        As in :func:`rdm_permutation_test`. A noise ceiling is that of the images drawn and of all
        the subjects, each once.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, ``[test for _, test in cv.split(pairs)]``, to score
        each fold by itself: the score is then the mean over folds, and pairs of no fold need no
        prediction. None: all pairs together.
    n_resamples : int, default=1000
        How many samples are drawn.
    confidence_level : float, default=0.95
        Between 0 and 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples; the same for every ``n_jobs``.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : Bunch
        ``score`` : float, of the data as they are; ``fold_scores`` : ndarray of shape (n_folds,);
        ``confidence_interval`` : (low, high); ``standard_error`` : float;
        ``bootstrap_distribution`` : ndarray of shape (n_resamples,), NaN where a sample has too few
        distinct images, which the interval leaves out with an ``UndefinedMetricWarning``; a fold
        that has too few is left out of its sample. If a fold has no score as it is, such as one of
        constant predictions, score, interval and distribution are NaN, with the same warning.

    Raises
    ------
    ValueError
        If the shapes do not match, ``over`` or ``scoring`` is unknown, or subjects are to be
        resampled and there is one only.

    See Also
    --------
    compare_rdm_scores : The interval of the difference of two models, on the same samples.

    Notes
    -----
    The percentiles of few subjects lie too close together: with fewer than about fifteen, intervals
    over subjects (``over="subjects"`` or "both") are too narrow. Take a t interval of the subjects'
    own scores instead, from a score function with ``subject_average=False`` and
    :func:`scipy.stats.ttest_1samp`; the user guide has an example under "Chance".

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import rdm_bootstrap
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 5))
    >>> pairs = np.column_stack(np.triu_indices(20, 1))
    >>> y_true = pdist(features + rng.standard_normal((20, 5)))
    >>> result = rdm_bootstrap(
    ...     pairs, y_true, pdist(features), over="images", n_resamples=100, random_state=0
    ... )
    >>> low, high = result.confidence_interval
    >>> bool(low < result.score < high)
    True
    """
    sampling: dict[str, Any] = {"over": over, "scoring": scoring, "folds": folds}
    drawing: dict[str, Any] = {"random_state": random_state, "n_jobs": n_jobs, "verbose": verbose}
    fold_scores, samples = _bootstrap(pairs, y_true, [y_pred], n_resamples, **sampling, **drawing)
    return Bunch(
        score=float(average_folds(fold_scores, ["y_pred"])[0]),
        fold_scores=fold_scores[0],
        **_summarize(samples[:, 0], confidence_level),
    )


def compare_rdm_scores(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    y_pred_other: Any,
    *,
    over: str = "both",
    scoring: str | Callable = "spearman",
    folds: Sequence | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Compare the scores of two models on the same pairs.

    Both models are scored on each of the samples of :func:`rdm_bootstrap`, so that what images and
    subjects have in common cancels; a fold or a subject that has no score of one model in a sample
    is left out for both. ``pvalue = 2 (1 + min(n(d <= 0), n(d >= 0))) / (1 + n)``, at
    most 1, over the ``n`` differences ``d``.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred, y_pred_other : array-like of shape (n_pairs,)
        Dissimilarities that the two models predict, finite.
    over : {"images", "subjects", "both"}, default="both"
        What is resampled, thus to which population the conclusion refers.
    scoring : str or scorer, default="spearman"
        As in :func:`rdm_permutation_test`.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, to score each fold by itself, as in
        :func:`rdm_bootstrap`; right for predictions of models that were fitted fold by fold.
    n_resamples : int, default=1000
        How many samples are drawn.
    confidence_level : float, default=0.95
        Between 0 and 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples; the same for every ``n_jobs``.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : Bunch
        ``difference`` : float, first less second; ``scores`` : the two scores;
        ``confidence_interval``, ``standard_error`` and ``bootstrap_distribution`` of the
        difference, as in :func:`rdm_bootstrap`; ``pvalue`` : float, two-sided;
        ``fold_differences`` : ndarray of shape (n_folds,). A model without a score in some fold
        has no score, and the difference is NaN and ``pvalue`` 1, with an
        ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        As :func:`rdm_bootstrap`.

    See Also
    --------
    rdm_permutation_test : Whether one model predicts anything at all.

    Notes
    -----
    The percentiles of few subjects lie too close together: with fewer than about fifteen, intervals
    over subjects (``over="subjects"`` or "both") are too narrow and p is too small. Take a t-test
    over the subjects' own scores instead, from a score function with ``subject_average=False`` and
    :func:`scipy.stats.ttest_rel`; the user guide has an example under "Chance".

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import compare_rdm_scores
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 5))
    >>> pairs = np.column_stack(np.triu_indices(20, 1))
    >>> result = compare_rdm_scores(
    ...     pairs, pdist(features), pdist(features[:, :4]), pdist(features[:, :1]),
    ...     over="images", n_resamples=99, random_state=0,
    ... )
    >>> result.pvalue
    0.02
    """
    sampling: dict[str, Any] = {"over": over, "scoring": scoring, "folds": folds}
    drawing: dict[str, Any] = {"random_state": random_state, "n_jobs": n_jobs, "verbose": verbose}
    predictions = [y_pred, y_pred_other]
    fold_scores, samples = _bootstrap(
        pairs, y_true, predictions, n_resamples, **sampling, **drawing
    )
    differences = samples[:, 0] - samples[:, 1]
    n_contrary = min(np.sum(~(differences > 0)), np.sum(~(differences < 0)))
    scores = average_folds(fold_scores, ["y_pred", "y_pred_other"])
    return Bunch(
        difference=float(scores[0] - scores[1]),
        scores=scores,
        pvalue=float(min(1, 2 * (1 + n_contrary) / (1 + n_resamples))),
        fold_differences=fold_scores[0] - fold_scores[1],
        **_summarize(differences, confidence_level),
    )


def _bootstrap(
    pairs: Any,
    y_true: Any,
    y_preds: list,
    n_resamples: int,
    *,
    over: str,
    scoring: str | Callable,
    folds: Sequence | None,
    **drawing: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n_predictions, n_folds), and those of samples (n_resamples, n_predictions)."""
    if over not in UNITS:
        raise ValueError(f"over must be one of {UNITS}, got {over!r}.")
    index, observed, predicted, tests = check_inputs(pairs, y_true, y_preds, folds)
    if over != "images" and observed.shape[1] < 2:
        raise ValueError(f"over={over!r} needs two or more subjects, got one: use over='images'.")
    score = partial(
        score_folds,
        columns_of(scoring, observed),
        observed,
        predicted,
        index,
        tests,
    )
    full = score(np.ones(index.max() + 1, dtype=int))
    fold_scores = average(full)
    draw = partial(_score_resampled, score, full, members_of_sets(index), over)
    samples = run_batches(draw, n_resamples, **drawing)
    samples[:, np.isnan(fold_scores).any(axis=1)] = np.nan
    return fold_scores, samples


def _score_resampled(
    score: Callable,
    full: np.ndarray,
    sets: list[np.ndarray],
    over: str,
    seed: int,
    n_draws: int,
) -> np.ndarray:
    rng = np.random.RandomState(seed)
    n_subjects = full.shape[-1]
    subjects: Any = np.arange(n_subjects)
    samples = []
    for _ in range(n_draws):
        scores = full
        if over != "subjects":
            drawn = np.concatenate([rng.choice(members, len(members)) for members in sets])
            scores = score(np.bincount(drawn, minlength=len(drawn)))
            scores = np.where(np.isnan(scores).any(axis=0), np.nan, scores)
        if over != "images":
            subjects = rng.choice(n_subjects, n_subjects)
        samples.append(average(average(scores[..., subjects])))
    return np.array(samples)


def _summarize(samples: np.ndarray, confidence_level: float) -> dict[str, Any]:
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level must be between 0 and 1, got {confidence_level}.")
    defined = samples[~np.isnan(samples)]
    if len(defined) < len(samples):
        warnings.warn(
            f"{len(samples) - len(defined)} of {len(samples)} samples have no score and are left "
            "out of the interval: too few distinct images, or constant predictions or "
            "dissimilarities.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
    return {
        "confidence_interval": (float(low), float(high)),
        "standard_error": float(np.std(defined, ddof=1)) if len(defined) > 1 else np.nan,
        "bootstrap_distribution": samples,
    }
