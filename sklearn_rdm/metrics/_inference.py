"""Chance level, intervals and comparisons, with images and subjects as the random units.

Pairs are never shuffled or resampled by themselves: pairs that share an image depend on each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm._pairs._image_pairs import image_sets
from sklearn_rdm.metrics._metric_columns import columns_of
from sklearn_rdm.metrics._similarity import (
    MIN_PAIRS,
    check_folds,
    check_index,
    check_observed,
    check_predicted,
)

BATCH_SIZE = 32  # draws that share one seed and one task, whatever n_jobs is
ROUNDING = 1e-12  # a relabelling that changes nothing must count as a tie
UNITS = ("images", "subjects", "both")


def rdm_permutation_test(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    metric: str | Callable = "spearman",
    folds: Sequence | None = None,
    n_permutations: int = 1000,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Test a score against those of the same prediction with its images shuffled.

    The images of the prediction are relabelled at random, rows and columns of its RDM together,
    which keeps the dependence between pairs. Images move within their image set only (the
    connected parts of the pairs' graph), and of an incomplete design those pairs count that exist
    before and after. With ``folds``, images move only to places of images of the very same folds,
    and score and null are means over folds. Training images, which pairs of
    ``test_pairs="any"`` hold, stay in place: see Notes. ``pvalue = (1 + n(null >= score)) /
    (1 + n_permutations)``, one-sided.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
        Measured dissimilarities; NaN: this subject lacks this pair. Of time courses, each
        subject's score is its mean over time points; give ``y_true[:, :, t]`` for one of them.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite.
    metric : str or callable, default="spearman"
        A name of :func:`get_rdm_scorer`, or a score function of this module (or a
        ``functools.partial`` of one) that takes ``subject_average=False``. A function that has a
        parameter ``pairs`` is given the images of the pairs that it scores; one with a
        ``pattern_covariance`` is refused.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, ``[test for _, test in cv.split(pairs)]``, to score
        each fold by itself, as is right for predictions of models that were fitted fold by fold:
        the score is then the mean over folds, and pairs of no fold need no prediction. None: all
        pairs together.
    n_permutations : int, default=1000
        How many relabellings are drawn.
    random_state : int, RandomState instance or None, default=None
        Seed of the relabellings; the same for every ``n_jobs``.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : Bunch
        ``score`` : float, of the prediction as it is; ``fold_scores`` : ndarray of shape
        (n_folds,); ``null_distribution`` : ndarray of shape (n_permutations,), NaN where too few
        pairs remain in a fold, which counts against the prediction; ``pvalue`` : float;
        ``expected_score`` : float, the mean of the null, which is not 0 for squared scores;
        ``n_pairs`` : ndarray of int, pairs behind each entry of the null. If a fold has no score,
        such as one of constant predictions, ``score`` is NaN and ``pvalue`` 1, with an
        ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, the metric is unknown or a scorer, or no image set (of the same
        folds) has 3 images that may change places.

    See Also
    --------
    rdm_bootstrap : How far the score would vary with other images and subjects.
    sklearn.model_selection.permutation_test_score : Fits anew for each shuffle of samples.

    Notes
    -----
    ``pvalue`` is conditional on the models as they were fitted. The models of a cross-validation
    share training images, and the dissimilarities that one fold tests train the others, so that
    the scores of the folds depend on each other. Folds are shuffled independently of each other,
    which leaves this out: p is somewhat too small for cross-validated predictions. A test that
    holds shuffles the rows of the images before the whole cross-validation and fits anew each time
    [2]_; the user guide has a recipe under "Chance". For a model that was fitted to other data,
    or for one split, p holds.

    A model knows its training images, and held-out images must not take their places. Where
    ``test_pairs="any"`` pairs held-out images with all others, no pair of two training images is
    tested. So if some images of a fold (and image set) are paired with every other, and no two of
    the rest, two images or more, are paired, then the rest stay in place. Where an image is held
    out in one such fold and trained on in another, as in a k-fold cross-validation, it stays as
    well, and if all do, the test is refused: give the folds of the same splitter with
    ``test_pairs="both"``, which predictions for "any" include. An incomplete design hides which
    images were trained on: always take folds of ``test_pairs="both"`` there.

    References
    ----------
    .. [1] Kriegeskorte, N., Mur, M. & Bandettini, P. Representational similarity analysis.
       Front. Syst. Neurosci. 2, 4 (2008).
    .. [2] Ojala, M. & Garriga, G. C. Permutation tests for studying classifier performance. J.
       Mach. Learn. Res. 11, 1833-1863 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import rdm_permutation_test
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((10, 5))
    >>> pairs = np.column_stack(np.triu_indices(10, 1))
    >>> y_true = pdist(features + 0.3 * rng.standard_normal((10, 5)))
    >>> result = rdm_permutation_test(
    ...     pairs, y_true, pdist(features), n_permutations=99, random_state=0
    ... )
    >>> result.pvalue
    0.01
    """
    index, observed, predicted, tests = _check_inputs(pairs, y_true, [y_pred], folds)
    score_all = columns_of(metric, observed)
    sets = _members_of_folds(index, tests)
    if max(map(len, sets)) < 3:
        raise ValueError(
            "no three images are connected by pairs (of the same folds) and may change places: "
            "there is nothing to shuffle. A permutation test needs pairs that share images; images "
            "that a fold of test_pairs='any' was trained on stay in place, so give the folds of "
            "test_pairs='both'."
        )
    once = np.ones(index.max() + 1, dtype=int)
    fold_scores = average(_score_folds(score_all, observed, predicted, index, tests, once))
    score = _average_folds(fold_scores, ["y_pred"])[0]
    draw = partial(_score_permuted, score_all, observed, predicted[:, 0], index, tests, sets)
    null, n_pairs = _run_batches(draw, n_permutations, random_state, n_jobs, verbose).T
    n_reached = np.sum(~(null < score - ROUNDING))
    return Bunch(
        score=float(score),
        fold_scores=fold_scores[0],
        null_distribution=null,
        pvalue=float((1 + n_reached) / (1 + n_permutations)),
        expected_score=float(average(null)),
        n_pairs=n_pairs.astype(int),
    )


def rdm_bootstrap(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    over: str = "both",
    metric: str | Callable = "spearman",
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
        Measured dissimilarities; NaN: this subject lacks this pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite.
    over : {"images", "subjects", "both"}, default="both"
        What is resampled, thus to which population the interval refers.
    metric : str or callable, default="spearman"
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
        If the shapes do not match, ``over`` or the metric is unknown, the metric is a scorer, or
        subjects are to be resampled and there is one only.

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
    sampling: dict[str, Any] = {"over": over, "metric": metric, "folds": folds}
    drawing: dict[str, Any] = {"random_state": random_state, "n_jobs": n_jobs, "verbose": verbose}
    fold_scores, samples = _bootstrap(pairs, y_true, [y_pred], n_resamples, **sampling, **drawing)
    return Bunch(
        score=float(_average_folds(fold_scores, ["y_pred"])[0]),
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
    metric: str | Callable = "spearman",
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
        Measured dissimilarities; NaN: this subject lacks this pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred, y_pred_other : array-like of shape (n_pairs,)
        Dissimilarities that the two models predict, finite.
    over : {"images", "subjects", "both"}, default="both"
        What is resampled, thus to which population the conclusion refers.
    metric : str or callable, default="spearman"
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
    sampling: dict[str, Any] = {"over": over, "metric": metric, "folds": folds}
    drawing: dict[str, Any] = {"random_state": random_state, "n_jobs": n_jobs, "verbose": verbose}
    predictions = [y_pred, y_pred_other]
    fold_scores, samples = _bootstrap(
        pairs, y_true, predictions, n_resamples, **sampling, **drawing
    )
    differences = samples[:, 0] - samples[:, 1]
    n_contrary = min(np.sum(~(differences > 0)), np.sum(~(differences < 0)))
    scores = _average_folds(fold_scores, ["y_pred", "y_pred_other"])
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
    metric: str | Callable,
    folds: Sequence | None,
    **drawing: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n_predictions, n_folds), and those of samples (n_resamples, n_predictions)."""
    if over not in UNITS:
        raise ValueError(f"over must be one of {UNITS}, got {over!r}.")
    index, observed, predicted, tests = _check_inputs(pairs, y_true, y_preds, folds)
    if over != "images" and observed.shape[1] < 2:
        raise ValueError(f"over={over!r} needs two or more subjects, got one: use over='images'.")
    score = partial(
        _score_folds,
        columns_of(metric, observed),
        observed,
        predicted,
        index,
        tests,
    )
    full = score(np.ones(index.max() + 1, dtype=int))
    fold_scores = average(full)
    draw = partial(_score_resampled, score, full, _members_of_sets(index), over)
    samples = _run_batches(draw, n_resamples, **drawing)
    samples[:, np.isnan(fold_scores).any(axis=1)] = np.nan
    return fold_scores, samples


def _average_folds(fold_scores: np.ndarray, names: list[str]) -> np.ndarray:
    """Mean of each prediction's folds: NaN, which is told, if one of them has no score."""
    for name, scores in zip(names, fold_scores, strict=True):
        undefined = np.flatnonzero(np.isnan(scores))
        if len(undefined):
            warnings.warn(
                f"{name} has no score (NaN), as it has none in {len(undefined)} of {len(scores)} "
                f"fold(s), first fold {undefined[0]}: constant predictions or dissimilarities, or "
                f"fewer than {MIN_PAIRS} pairs.",
                UndefinedMetricWarning,
                stacklevel=3,
            )
    return fold_scores.mean(axis=1)


def _score_permuted(
    score_all: Callable,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    folds: list[np.ndarray],
    sets: list[np.ndarray],
    seed: int,
    n_draws: int,
) -> np.ndarray:
    """Mean score over folds and number of pairs (n_draws, 2) of images in another order."""
    rng = np.random.RandomState(seed)
    orders = np.tile(np.arange(index.max() + 1), (n_draws, 1))
    for order in orders:
        for members in sets:
            order[members] = rng.permutation(members)
    scores, n_pairs = [], np.zeros(n_draws)
    for fold in folds:
        shuffled = _relabel(predicted[fold], index[fold], orders)
        scores.append(average(score_all(observed[fold], shuffled, index[fold])))
        n_pairs += np.sum(~np.isnan(shuffled), axis=0)
    return np.column_stack([np.mean(scores, axis=0), n_pairs])


def _relabel(predicted: np.ndarray, index: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Predictions (n_pairs, n_draws) of the pairs that take each pair's place; NaN if unknown."""
    first, second = index.T
    rdm = np.full((orders.shape[1],) * 2, np.nan)
    rdm[first, second] = rdm[second, first] = predicted
    return np.ascontiguousarray(rdm[orders[:, first], orders[:, second]].T)


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


def _score_folds(
    score_all: Callable,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    folds: list[np.ndarray],
    counts: np.ndarray,
) -> np.ndarray:
    """Scores (n_predictions, n_folds, n_subjects) of images that were drawn so many times."""
    scores = []
    for fold in folds:
        rows, copies = _repeat_pairs(index[fold], counts)
        scores.append(score_all(observed[fold][rows], predicted[fold][rows], copies))
    return np.stack(scores, axis=1)


def _repeat_pairs(index: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pairs of all copies of images, and the copies' own numbers."""
    n_first, n_second = counts[index].T
    n_copies = n_first * n_second
    rows = np.repeat(np.arange(len(index)), n_copies)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(n_copies) - n_copies, n_copies)
    within = np.column_stack(np.divmod(place, n_second[rows]))
    return rows, (np.cumsum(counts) - counts)[index[rows]] + within


def _run_batches(
    draw: Callable, n_draws: int, random_state: Any, n_jobs: int | None, verbose: int
) -> np.ndarray:
    if n_draws < 1:
        raise ValueError(f"at least one draw is needed, got {n_draws}.")
    sizes = [min(BATCH_SIZE, n_draws - start) for start in range(0, n_draws, BATCH_SIZE)]
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=len(sizes))
    batches = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(draw)(seed, size) for seed, size in zip(seeds, sizes, strict=True)
    )
    return np.concatenate(batches)


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


def _check_inputs(
    pairs: Any, y_true: Any, y_preds: list, folds: Sequence | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Image numbers from 0 on, targets, predictions and folds of the pairs that are in a fold."""
    observed = check_observed(y_true)
    n_pairs = len(observed)
    index = check_index(pairs, n_pairs)
    tests = [np.arange(n_pairs)] if folds is None else check_folds(folds, n_pairs)
    tested = np.unique(np.concatenate(tests))
    predicted = []
    untested = np.isin(np.arange(n_pairs), tested, invert=True)
    for y_pred in y_preds:
        if np.shape(y_pred) == (n_pairs,):
            y_pred = np.where(untested, 0, y_pred)
        predicted.append(check_predicted(y_pred, n_pairs)[tested])
    numbers = np.unique(index[tested], return_inverse=True)[1].reshape(-1, 2)
    places = [np.searchsorted(tested, rows) for rows in tests]
    return numbers, observed[tested], np.column_stack(predicted), places


def _members_of_sets(index: np.ndarray) -> list[np.ndarray]:
    """Rows of the images of each set, which permuting and resampling never mix."""
    image_set = image_sets(index)
    return [np.flatnonzero(image_set == number) for number in range(image_set.max() + 1)]


def _members_of_folds(index: np.ndarray, folds: list[np.ndarray]) -> list[np.ndarray]:
    """Rows of the images that may change places: of one image set of the very same folds."""
    places = np.full((index.max() + 1, len(folds)), -1)
    for number, fold in enumerate(folds):
        images = np.unique(index[fold])
        places[images, number] = image_sets(index[fold])[images]
        trained = _training_images(index[fold], places[:, number])
        places[trained, number] = len(places) + trained  # each by itself
    cell = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(cell == number) for number in range(cell.max() + 1)]


def _training_images(index: np.ndarray, image_set: np.ndarray) -> np.ndarray:
    """Images of a fold that no pair joins, in a set whose other images are paired with all."""
    tested = np.zeros((len(image_set),) * 2, dtype=bool)
    first, second = index.T
    tested[first, second] = tested[second, first] = True
    size = np.bincount(image_set[image_set >= 0])[image_set]
    rest = (image_set >= 0) & (tested.sum(axis=1) < size - 1)
    joined = image_set[first[rest[first] & rest[second]]]
    n_rest = np.bincount(image_set[rest], minlength=len(image_set))
    stays = rest & ~np.isin(image_set, joined) & (n_rest[image_set] > 1)
    return np.flatnonzero(stays)
