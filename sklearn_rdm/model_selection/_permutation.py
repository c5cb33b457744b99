"""The chance level of a cross-validated score: fitted anew with the images shuffled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sklearn_rdm._pairs._dissimilarities import average, with_subjects
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._pair_index import image_sets
from sklearn_rdm._pairs._rounding import TIE
from sklearn_rdm.metrics._draws import average_folds
from sklearn_rdm.metrics._results import InferenceResult
from sklearn_rdm.metrics._scorers import columns_of
from sklearn_rdm.model_selection._cv import check_pairs_and_cv

__all__ = ["cross_val_permutation_test"]


def cross_val_permutation_test(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    scoring: str | Callable = "spearman",
    n_permutations: int = 100,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> InferenceResult:
    """Test a cross-validated score by refitting to measurements whose images are shuffled.

    The images of the target are relabelled at random, all subjects alike and within their image
    set, before the whole cross-validation: the folds' models share training images, which only this
    takes into account [1]_. ``pvalue = (1 + n(null >= score)) / (1 + n_permutations)``, one-sided.
    It fits ``n_folds (1 + n_permutations)`` models.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Cloned for every fit.
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        The pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`. Each image set
        must have all its pairs, as a relabelled pair needs a measurement.
    y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Their dissimilarities; NaN where a subject has no value.
    cv : int, splitter or iterable of (train, test), default=None
        As in :func:`cross_val_rdm`; the same splits for every permutation.
    scoring : str or scorer, default="spearman"
        As in :func:`~sklearn_rdm.metrics.rdm_permutation_test`; the score is the mean over folds.
    n_permutations : int, default=100
        How many relabellings are drawn; p is at least ``1 / (1 + n_permutations)``.
    random_state : int, RandomState instance or None, default=0
        Seed of the relabellings; the same for every ``n_jobs``. None draws others at each call.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : InferenceResult
        Prints as a small table. ``score`` and ``pvalue`` : float; ``fold_scores`` : ndarray of
        shape (n_folds,); ``null_distribution`` : ndarray of shape (n_permutations,);
        ``expected_score`` : float, the mean of the null; ``n_fits`` : int.

    Raises
    ------
    ValueError
        If pairs are missing in an image set, or as :func:`cross_val_rdm`.

    See Also
    --------
    sklearn_rdm.metrics.rdm_permutation_test : Without refitting, in seconds; for a
        cross-validation its p is somewhat too small.

    Notes
    -----
    All pairs count alike: unlike scores and ``fit``, this takes no ``sample_weight``.

    References
    ----------
    .. [1] Ojala, M. & Garriga, G. C. Permutation tests for studying classifier performance. J.
       Mach. Learn. Res. 11, 1833-1863 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs, LayerWeightedRSARegressor
    >>> from sklearn_rdm.model_selection import ImageKFold, cross_val_permutation_test
    >>> rng = np.random.default_rng(0)
    >>> features = rng.random((16, 8))
    >>> rdm = np.square(features[:, None, :4] - features[:, :4]).sum(axis=-1)
    >>> pairs, dissim = ImagePairs.from_rdms(features, rdm)
    >>> model = LayerWeightedRSARegressor([4, 4], metric="sqeuclidean")
    >>> test = cross_val_permutation_test(
    ...     model, pairs, dissim, cv=ImageKFold(3), n_permutations=19, random_state=0
    ... )
    >>> test.pvalue, test.n_fits
    (0.05, 60)
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, got {n_permutations}.")
    pairs, y, splits = check_pairs_and_cv(X, y, cv)
    _check_complete(pairs)
    score = partial(_score_splits, estimator, pairs, splits, columns_of(scoring, with_subjects(y)))
    rng = check_random_state(random_state)
    orders = [_shuffle_images(pairs, rng) for _ in range(n_permutations)]
    fold_scores, *null = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(score)(y if order is None else _relabel(pairs, y, order))
        for order in (None, *orders)
    )
    value = float(average_folds(fold_scores[np.newaxis], ["the estimator"])[0])
    null_scores = np.mean(null, axis=1)
    pvalue = float((1 + np.sum(~(null_scores < value - TIE))) / (1 + n_permutations))
    expected = float(average(null_scores))
    row = {"score": value, "expected_score": expected, "pvalue": pvalue}
    return InferenceResult(
        records=[{**row, "n_permutations": n_permutations}],
        fold_scores=fold_scores,
        null_distribution=null_scores,
        n_fits=len(splits) * (1 + n_permutations),
        **row,
    )


def _check_complete(pairs: ImagePairs) -> None:
    """Refuse sets of images with missing pairs: a relabelled pair would have no measurement."""
    of_image = image_sets(pairs.index)
    sizes = np.bincount(of_image[of_image >= 0])
    n_pairs = np.bincount(of_image[pairs.index[:, 0]], minlength=len(sizes))
    missing = sizes * (sizes - 1) // 2 - n_pairs
    if missing.any():
        raise ValueError(
            f"image set {missing.argmax()} has no measurement of {missing.max()} of its pairs, so "
            "that its images cannot be relabelled: leave out images until all pairs of the others "
            "are measured, or use sklearn_rdm.metrics.rdm_permutation_test."
        )


def _shuffle_images(pairs: ImagePairs, rng: np.random.RandomState) -> np.ndarray:
    """Another image for each, of its set."""
    of_image = image_sets(pairs.index)
    order = np.arange(len(of_image))
    for number in range(of_image.max() + 1):
        members = np.flatnonzero(of_image == number)
        order[members] = rng.permutation(members)
    return order


def _relabel(pairs: ImagePairs, y: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Measurements of the pairs that take each pair's place."""
    first, second = pairs.index.T
    row = np.empty((len(order),) * 2, dtype=np.intp)
    row[first, second] = row[second, first] = np.arange(len(y))
    return y[row[order[first], order[second]]]


def _score_splits(
    estimator: Any, pairs: ImagePairs, splits: list, score: Callable, y: np.ndarray
) -> np.ndarray:
    """Score of each fold."""
    columns, scores = with_subjects(y), []
    for train, test in splits:
        predicted = clone(estimator).fit(pairs[train], y[train]).predict(pairs[test])
        each = score(columns[test], np.reshape(predicted, (-1, 1)), pairs.index[test])
        scores.append(float(average(each)[0]))
    return np.array(scores)
