"""The interval of a cross-validated score: fitted anew to each bootstrap sample."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sklearn_rdm._pairs._dissimilarities import (
    average,
    check_dissimilarities,
    varies,
    with_subjects,
)
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs, of_pairs
from sklearn_rdm.metrics._draws import repeat_pairs
from sklearn_rdm.metrics._results import InferenceResult
from sklearn_rdm.metrics._scorers import columns_of
from sklearn_rdm.metrics._variance import dual_variance

__all__ = ["cross_val_bootstrap"]

MIN_IMAGES = 3  # that a fold tests


def cross_val_bootstrap(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    n_folds: int = 3,
    n_assignments: int = 2,
    scoring: str | Callable = "spearman",
    n_resamples: int = 200,
    confidence_level: float = 0.95,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> InferenceResult:
    """Estimate the interval of a cross-validated score by refitting to bootstrap samples.

    The published dual bootstrap [1]_: three bootstraps, over images and subjects, over subjects and
    over images, on the same draws, and a cross-validation over images within each sample. Copies of
    an image are in one fold; a pair of copies is left out. Every sample is cross-validated with
    several assignments of images to folds, whose variance is taken out: ``V = (c var(mean over
    assignments) - mean over assignments of var) / (c - 1)``. The three variances are combined as by
    ``method="schuett2023"`` of :func:`~sklearn_rdm.metrics.rdm_bootstrap`. It fits ``3 n_folds
    n_assignments (1 + n_resamples)`` models, or a third for one subject.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Cloned for every fit. A pair whose images were drawn several times is given several times.
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        The pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
    y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Their dissimilarities; NaN where a subject has no value.
    n_folds : int, default=3
        Folds of images, 2 or more; each needs three distinct images.
    n_assignments : int, default=2
        Assignments of images to folds for each sample, 2 or more.
    scoring : str or scorer, default="spearman"
        As in :func:`~sklearn_rdm.metrics.rdm_permutation_test`; the score is the mean over folds.
    n_resamples : int, default=200
        How many samples are drawn.
    confidence_level : float, default=0.95
        Between 0 and 1.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples; the same for every ``n_jobs``. None draws others at each call.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : InferenceResult
        Prints as a small table. ``score`` : float, of the data, mean over assignments;
        ``confidence_interval`` : (low, high), NaN with an ``UndefinedMetricWarning`` if there are
        too few samples to tell their variance; ``standard_error`` and ``dof`` : float;
        ``bootstrap_scores`` : ndarray of shape (n_resamples, n_assignments, 3), over both, subjects
        and images, NaN where a sample has too few distinct images; ``n_fits`` : int, with those
        that samples of too few images spared.

    Raises
    ------
    ValueError
        If a number is too small, there are too few images for the folds, or fewer than two samples
        have enough distinct images.

    See Also
    --------
    sklearn_rdm.metrics.rdm_bootstrap : For predictions as they are, in a second.

    Notes
    -----
    The interval is conservative, as is that of ``method="schuett2023"``.

    All pairs count alike: unlike scores and ``fit``, this takes no ``sample_weight``.

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs, LayerWeightedRSARegressor
    >>> from sklearn_rdm.model_selection import cross_val_bootstrap
    >>> rng = np.random.default_rng(0)
    >>> features = rng.random((24, 8))
    >>> seen = features[:, :4] + 0.3 * rng.random((4, 24, 4))
    >>> rdms = np.square(seen[:, :, None] - seen[:, None]).sum(axis=-1)
    >>> pairs, dissim = ImagePairs.from_rdms(features, rdms)
    >>> model = LayerWeightedRSARegressor([4, 4], metric="sqeuclidean")
    >>> result = cross_val_bootstrap(
    ...     model, pairs, dissim, n_folds=2, n_resamples=30, random_state=0
    ... )
    >>> low, high = result.confidence_interval
    >>> bool(low < result.score < high)
    True
    """
    _check_numbers(n_folds, n_assignments, n_resamples, confidence_level)
    X, y = of_pairs(X, y)
    pairs = as_pairs(X)
    columns = with_subjects(check_dissimilarities(y, len(pairs)))
    images, n_subjects = pairs.used_images, columns.shape[1]
    if len(images) < MIN_IMAGES * n_folds:
        raise ValueError(
            f"{len(images)} images are too few for {n_folds} folds: each needs {MIN_IMAGES}."
        )
    score = partial(
        _score_sample,
        estimator,
        pairs,
        columns,
        columns_of(scoring, columns),
        n_folds,
        n_assignments,
    )
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_resamples + 1)
    full, *samples = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(score)(seed, drawn=number > 0) for number, seed in enumerate(seeds)
    )
    scores = np.array(samples)  # samples, assignments, (both, subjects, images)
    known = ~np.isnan(scores).any(axis=(1, 2))
    if known.sum() < 2:
        raise ValueError(
            f"{known.sum()} of {n_resamples} samples have {MIN_IMAGES * n_folds} distinct images "
            f"and a score in each of {n_folds} folds: take fewer folds. Constant predictions have "
            "no score."
        )
    n_fits = n_folds * n_assignments * (1 + full.shape[1] * known.sum())
    interval = _interval(full, scores[known], n_subjects, len(images), confidence_level)
    return InferenceResult(**interval, bootstrap_scores=scores, n_fits=int(n_fits))


def _check_numbers(
    n_folds: int, n_assignments: int, n_resamples: int, confidence_level: float
) -> None:
    for name, number in {"n_folds": n_folds, "n_assignments": n_assignments}.items():
        if number < 2:
            raise ValueError(f"{name} must be at least 2, got {number}.")
    if n_resamples < 2 or not 0 < confidence_level < 1:
        raise ValueError(
            "n_resamples must be at least 2 and confidence_level between 0 and 1, got "
            f"{n_resamples} and {confidence_level}."
        )


def _interval(
    full: np.ndarray,
    scores: np.ndarray,
    n_subjects: int,
    n_images: int,
    confidence_level: float,
) -> dict[str, Any]:
    """The score of the data and its interval, from the scores of samples."""
    value = float(np.mean(full[:, 0]))
    variance, dof = _combine(scores, n_subjects, n_images)
    error = float(np.sqrt(variance))
    half = error * float(stats.t.isf((1 - confidence_level) / 2, dof))
    row = {"score": value, "standard_error": error, "low": value - half, "high": value + half}
    return {
        "records": [{"over": "images" if n_subjects == 1 else "both", **row, "dof": float(dof)}],
        "score": value,
        "standard_error": error,
        "confidence_interval": (value - half, value + half),
        "dof": float(dof),
    }


def without_assignments(scores: np.ndarray) -> np.ndarray:
    """Variance over samples (n_samples, n_assignments, ...) if all assignments were averaged."""
    n_assignments = scores.shape[1]
    of_mean = scores.mean(axis=1).var(axis=0, ddof=1)
    of_each = scores.var(axis=0, ddof=1).mean(axis=0)
    return (n_assignments * of_mean - of_each) / (n_assignments - 1)


def _combine(scores: np.ndarray, n_subjects: int, n_images: int) -> tuple[float, int]:
    both, subjects, images = np.maximum(without_assignments(scores), 0)
    if n_subjects == 1:
        variance, dof = float(n_images / (n_images - 1) * images), n_images - 1
    else:
        both = max(both, subjects, images)  # as it is, but for the noise of few samples
        variance = dual_variance(both, subjects, images, n_subjects, n_images)
        dof = min(n_subjects, n_images) - 1
    if variance > 0:
        return variance, dof
    warnings.warn(
        f"there is no interval (NaN): the score varies less between the {len(scores)} samples than "
        "between assignments of images to folds. Take more n_resamples or n_assignments.",
        UndefinedMetricWarning,
        stacklevel=3,
    )
    return np.nan, dof


def _score_sample(
    estimator: Any,
    pairs: ImagePairs,
    columns: np.ndarray,
    score: Callable,
    n_folds: int,
    n_assignments: int,
    seed: int,
    drawn: bool,
) -> np.ndarray:
    """Scores (n_assignments, 3) of one sample, over both, subjects and images; NaN if too few."""
    rng = np.random.RandomState(seed)
    images, n_subjects = pairs.used_images, columns.shape[1]
    once, subjects = np.zeros(len(pairs.images), dtype=int), np.arange(n_subjects)
    once[images] = 1
    kinds: list[tuple[Any, Any]] = [(once, subjects)]
    if drawn:
        counts = np.bincount(rng.choice(images, len(images)), minlength=len(once))
        chosen = rng.choice(n_subjects, n_subjects)
        if np.sum(counts > 0) < MIN_IMAGES * n_folds:
            return np.full((n_assignments, 3), np.nan)
        kinds = [(counts, chosen), (once, chosen), (counts, subjects)]
        kinds = kinds if n_subjects > 1 else kinds[2:]
    validate = partial(_cross_validate, estimator, pairs, columns, score)
    scores = [
        [validate(who, _assign(counts, n_folds, rng), counts) for counts, who in kinds]
        for _ in range(n_assignments)
    ]
    return np.broadcast_to(scores, (n_assignments, 3))


def _fit(estimator: Any, pairs: ImagePairs, y: np.ndarray) -> Any:
    """The estimator fitted to subjects whose values vary and the pairs that these have.

    Of subjects that saw some images only, those that are drawn may lack pairs, or have copies of
    one alone. None if fewer than three images are left.
    """
    y = np.where(varies(y), y, np.nan)
    known = ~np.isnan(y).all(axis=tuple(range(1, y.ndim)))
    pairs, y = pairs[known], y[known]
    return clone(estimator).fit(pairs, y) if len(pairs.used_images) >= MIN_IMAGES else None


def _assign(counts: np.ndarray, n_folds: int, rng: np.random.RandomState) -> np.ndarray:
    """Fold of each image that was drawn, of sizes that differ by one; -1 of others."""
    present = np.flatnonzero(counts)
    folds = np.full(len(counts), -1)
    folds[rng.permutation(present)] = np.arange(len(present)) % n_folds
    return folds


def _cross_validate(
    estimator: Any,
    pairs: ImagePairs,
    columns: np.ndarray,
    score: Callable,
    subjects: np.ndarray,
    folds: np.ndarray,
    counts: np.ndarray,
) -> float:
    """Mean score over folds of subjects that were drawn, and of images, so many times."""
    columns = columns[:, subjects]
    first, second = folds[pairs.index].T
    scores = []
    for fold in range(folds.max() + 1):
        train = np.flatnonzero((first >= 0) & (second >= 0) & (first != fold) & (second != fold))
        test = np.flatnonzero((first == fold) & (second == fold))
        rows, _ = repeat_pairs(pairs.index[train], counts)
        model = _fit(estimator, pairs[train[rows]], columns[train[rows]])
        if model is None:
            return np.nan
        predicted = np.reshape(model.predict(pairs[test]), (-1, 1))
        rows, copies = repeat_pairs(pairs.index[test], counts)
        scores.append(average(score(columns[test][rows], predicted[rows], copies))[0])
    return float(np.mean(scores))
