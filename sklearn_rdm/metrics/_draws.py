"""What permutation tests and bootstraps share: their input, their folds, and draws in parallel.

Pairs are never shuffled or resampled by themselves: pairs that share an image depend on each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import delayed

from sklearn_rdm._pairs._pair_index import image_sets, renumber
from sklearn_rdm._pairs._progress import collect
from sklearn_rdm.metrics._checks import (
    MIN_PAIRS,
    check_observed,
    check_tested,
    index_of_pairs,
    to_pairs,
)

BATCH_SIZE = 32  # draws that share one seed and one task, whatever n_jobs is


class Inputs(NamedTuple):
    """What is known of the pairs that are in a fold.

    Attributes
    ----------
    pairs : ndarray of shape (n_pairs, 2)
        The images of each pair, numbered from 0 on.
    observed : ndarray of shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
        Measured dissimilarities.
    predicted : ndarray of shape (n_pairs, n_predictions)
        Predicted ones.
    folds : list of ndarray
        Rows of the pairs of each fold.
    images : ndarray
        The number that each image has in what was given.
    """

    pairs: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    folds: list[np.ndarray]
    images: np.ndarray


def check_inputs(
    pairs: Any, y_true: Any, y_preds: Sequence, folds: Sequence | None = None
) -> Inputs:
    """Check pairs, measurements and predictions, and leave out the pairs that are in no fold."""
    pairs, y_true, y_preds, folds = to_pairs(pairs, y_true, y_preds, folds)
    observed = check_observed(y_true)
    index = index_of_pairs(pairs, len(observed))
    predicted, tests = check_tested(y_preds, folds, len(observed))
    tested = np.unique(np.concatenate(tests))
    images, places = renumber(index[tested])
    rows_of_folds = [np.searchsorted(tested, rows) for rows in tests]
    return Inputs(places, observed[tested], predicted[tested], rows_of_folds, images)


def members_of_sets(index: np.ndarray) -> list[np.ndarray]:
    """Rows of the images of each set, which permuting and resampling never mix."""
    image_set = image_sets(index)
    return [np.flatnonzero(image_set == number) for number in range(image_set.max() + 1)]


def average_folds(fold_scores: np.ndarray, names: list[str]) -> np.ndarray:
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


def score_folds(
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
        rows, copies = repeat_pairs(index[fold], counts)
        scores.append(score_all(observed[fold][rows], predicted[fold][rows], copies))
    return np.stack(scores, axis=1)


def repeat_pairs(index: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the pairs of all copies of images, and the copies' own numbers."""
    n_first, n_second = counts[index].T
    n_copies = n_first * n_second
    rows = np.repeat(np.arange(len(index)), n_copies)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(n_copies) - n_copies, n_copies)
    within = np.column_stack(np.divmod(place, n_second[rows]))
    return rows, (np.cumsum(counts) - counts)[index[rows]] + within


def run_batches(
    draw: Callable, n_draws: int, random_state: Any, n_jobs: int | None, verbose: int
) -> np.ndarray:
    if n_draws < 1:
        raise ValueError(f"at least one draw is needed, got {n_draws}.")
    sizes = [min(BATCH_SIZE, n_draws - start) for start in range(0, n_draws, BATCH_SIZE)]
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=len(sizes))
    calls = (delayed(draw)(seed, size) for seed, size in zip(seeds, sizes, strict=True))
    batches = collect(calls, total=len(sizes), verbose=verbose, desc="draws", n_jobs=n_jobs)
    return np.concatenate(batches)
