"""The chance level of a score: the same prediction with its images shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import as_numbers, average, check_symmetric
from sklearn_rdm._pairs._pair_index import image_sets
from sklearn_rdm._pairs._rounding import TIE
from sklearn_rdm.metrics._draws import average_folds, check_inputs, run_batches, score_folds
from sklearn_rdm.metrics._results import InferenceResult
from sklearn_rdm.metrics._scorers import columns_of

__all__ = ["rdm_permutation_test"]


def rdm_permutation_test(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    scoring: str | Callable = "spearman",
    folds: Sequence | None = None,
    n_permutations: int = 1000,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> InferenceResult:
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
        Which images each pair compares; or the images, if ``y_true`` is
        :class:`~sklearn_rdm.ResponsePatterns`.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points; give ``y_true[:, :, t]`` for one of them.
    y_pred : array-like of shape (n_pairs,) or (n_images, n_images)
        Predicted dissimilarities, finite. A matrix (a memory map is read where needed) of the
        images of ``ImagePairs`` or of response patterns says what is predicted for every pair that
        takes another's place. Give it for a random part of the pairs, ``patterns.to_pairs(images,
        n_pairs=10**5)``: without it, pairs count only if their place is in the part as well.
    scoring : str or scorer, default="spearman"
        A name of :func:`get_rdm_scorer`, or a scorer that it or :func:`make_rdm_scorer` made; one
        with a ``pattern_covariance`` raises an error.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, ``[test for _, test in cv.split(pairs)]``, to score
        each fold separately, as is right for predictions of models that were fitted fold by fold:
        the score is then the mean over folds, and pairs of no fold need no prediction. With
        response patterns, rows of the images. None: all pairs together.
    n_permutations : int, default=1000
        How many relabellings are drawn.
    random_state : int, RandomState instance or None, default=0
        Seed of the relabellings; the same for every ``n_jobs``. None draws others at each call.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : InferenceResult
        Prints as a small table; ``result.to_frame()`` is a DataFrame. ``score`` : float, of the
        prediction as it is; ``fold_scores`` : ndarray of shape (n_folds,); ``null_distribution`` :
        ndarray of shape (n_permutations,), NaN where too few pairs remain in a fold, which counts
        against the prediction; ``pvalue`` : float; ``expected_score`` : float, the mean of the
        null, which is not 0 for squared scores; ``n_pairs`` : ndarray of int, pairs behind each
        entry of the null. If a fold has no score, such as one of constant predictions, ``score`` is
        NaN and ``pvalue`` 1, with an ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, ``scoring`` is unknown, or no image set (of the same
        folds) has 3 images that may change places.

    See Also
    --------
    rdm_bootstrap : How far the score would vary with other images and subjects.
    sklearn_rdm.model_selection.cross_val_permutation_test : Fits anew for each shuffle.

    Notes
    -----
    ``pvalue`` is conditional on the models as they were fitted. The models of a cross-validation
    share training images, and the dissimilarities that one fold tests train the others, so that
    the scores of the folds depend on each other. Folds are shuffled independently of each other,
    which leaves this out: p is somewhat too small for cross-validated predictions.
    :func:`~sklearn_rdm.model_selection.cross_val_permutation_test` does not leave it out: it
    shuffles the images before the whole cross-validation and fits anew each time [2]_. For a model
    that was fitted to other data, or for one split, p holds.

    A model knows its training images, and held-out images must not take their places. Where
    ``test_pairs="any"`` pairs held-out images with all others, no pair of two training images is
    tested. So if some images of a fold (and image set) are paired with every other, and no two of
    the rest, two images or more, are paired, then the rest stay in place. Where an image is held
    out in one such fold and trained on in another, as in a k-fold cross-validation, it stays as
    well, and if all do, the test raises an error: give the folds of the same splitter with
    ``test_pairs="both"``, which predictions for "any" include. An incomplete design hides which
    images were trained on: always take folds of ``test_pairs="both"`` there.

    All pairs count alike: unlike scores and ``fit``, this takes no ``sample_weight``.

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
    index, observed, predicted, tests, images = check_inputs(pairs, y_true, [y_pred], folds)
    if np.ndim(y_pred) == 2:
        relabel = partial(_read, _check_rdm(y_pred), images, index)
    else:
        relabel = partial(_relabel, predicted[:, 0], index)
    score_all = columns_of(scoring, observed)
    sets = _members_of_folds(index, tests)
    if max(map(len, sets)) < 3:
        raise ValueError(
            "no three images are connected by pairs (of the same folds) and may change places: "
            "there is nothing to shuffle. A permutation test needs pairs that share images; images "
            "that a fold of test_pairs='any' was trained on stay in place, so give the folds of "
            "test_pairs='both'."
        )
    once = np.ones(index.max() + 1, dtype=int)
    fold_scores = average(score_folds(score_all, observed, predicted, index, tests, once))
    score = average_folds(fold_scores, ["y_pred"])[0]
    draw = partial(_score_permuted, score_all, observed, relabel, index, tests, sets)
    null, n_pairs = run_batches(draw, n_permutations, random_state, n_jobs, verbose).T
    n_reached = np.sum(~(null < score - TIE))
    row = {
        "score": float(score),
        "expected_score": float(average(null)),
        "pvalue": float((1 + n_reached) / (1 + n_permutations)),
    }
    return InferenceResult(
        records=[{**row, "n_permutations": n_permutations}],
        fold_scores=fold_scores[0],
        null_distribution=null,
        n_pairs=n_pairs.astype(int),
        **row,
    )


def _score_permuted(
    score_all: Callable,
    observed: np.ndarray,
    relabel: Callable[[np.ndarray, np.ndarray], np.ndarray],
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
        shuffled = relabel(fold, orders)
        scores.append(average(score_all(observed[fold], shuffled, index[fold])))
        n_pairs += np.sum(~np.isnan(shuffled), axis=0)
    return np.column_stack([np.mean(scores, axis=0), n_pairs])


def _relabel(
    predicted: np.ndarray, index: np.ndarray, fold: np.ndarray, orders: np.ndarray
) -> np.ndarray:
    """Predictions (n_pairs, n_draws) of the pairs that take each pair's place; NaN if unknown."""
    first, second = index[fold].T
    rdm = np.full((orders.shape[1],) * 2, np.nan)
    rdm[first, second] = rdm[second, first] = predicted[fold]
    return np.ascontiguousarray(rdm[orders[:, first], orders[:, second]].T)


def _read(
    rdm: np.ndarray, images: np.ndarray, index: np.ndarray, fold: np.ndarray, orders: np.ndarray
) -> np.ndarray:
    """The same, of a matrix that holds what is predicted for any pair."""
    first, second = index[fold].T
    places = images[orders]
    values = rdm[places[:, first], places[:, second]].astype(np.float64)
    if np.isinf(values).any():
        raise ValueError("y_pred is infinite for some pairs: the model diverged.")
    return np.ascontiguousarray(values.T)


def _check_rdm(y_pred: Any) -> np.ndarray:
    rdm = as_numbers(y_pred, "y_pred")
    check_symmetric(rdm, "y_pred")
    return rdm


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
    n_images, (first, second) = len(image_set), index.T.astype(np.int64)
    pairs = np.unique(np.minimum(first, second) * n_images + np.maximum(first, second))
    n_others = np.bincount(np.concatenate(np.divmod(pairs, n_images)), minlength=n_images)
    size = np.bincount(image_set[image_set >= 0])[image_set]
    rest = (image_set >= 0) & (n_others < size - 1)
    joined = image_set[first[rest[first] & rest[second]]]
    n_rest = np.bincount(image_set[rest], minlength=len(image_set))
    stays = rest & ~np.isin(image_set, joined) & (n_rest[image_set] > 1)
    return np.flatnonzero(stays)
