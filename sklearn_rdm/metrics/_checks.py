"""What is checked of observed and predicted dissimilarities before they are compared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._dissimilarities import as_real, count_images, level, with_subjects
from sklearn_rdm._pairs._image_pairs import pairs_within
from sklearn_rdm._pairs._weights import check_samples_are_pairs

MIN_PAIRS = 2
FROM_MATRICES = " Make pairs of matrices: pairs, dissim = ImagePairs.from_rdms(images, rdms)."


def to_pairs(
    pairs: Any,
    y_true: Any,
    y_preds: Sequence,
    folds: Sequence | None = None,
    sample_weight: Any = None,
) -> tuple[Any, Any, list, Sequence | None]:
    """The same by pairs, if they are images, response patterns, matrices and rows of images.

    Predictions may be matrices (n_images, n_images) where the images of the pairs are known.
    """
    if hasattr(y_true, "to_pairs"):
        check_samples_are_pairs(y_true, sample_weight)
        n_images = len(y_true)
        pairs, y_true = y_true.to_pairs(np.zeros((n_images, 1)) if pairs is None else pairs)
        if folds is not None:
            folds = [pairs_within(pairs.index, rows) for rows in check_folds(folds, n_images)]
    if not isinstance(pairs, ImagePairs):
        return pairs, y_true, list(y_preds), folds
    return pairs, y_true, [_values_of(y_pred, pairs) for y_pred in y_preds], folds


def _values_of(y_pred: Any, pairs: ImagePairs) -> np.ndarray:
    """Predictions of the pairs, which a matrix of all their images holds."""
    y_pred = y_pred if isinstance(y_pred, np.ndarray) else as_real(y_pred, "y_pred")
    is_matrix = y_pred.shape == (len(pairs.images),) * 2
    return as_real(y_pred[tuple(pairs.index.T)] if is_matrix else y_pred, "y_pred")


def check_observed(y_true: Any) -> np.ndarray:
    """Float64 (n_pairs, n_subjects[, n_times]) of measurements; NaN allowed, infinity not."""
    y_true = as_real(y_true, "y_true")
    if y_true.ndim not in (1, 2, 3) or y_true.size == 0:
        raise ValueError(
            "y_true must have shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, "
            f"n_times) and hold at least one pair, got {y_true.shape}.{FROM_MATRICES}"
        )
    _check_not_matrices(y_true)
    if np.isinf(y_true).any():
        pair = np.isinf(y_true).reshape(len(y_true), -1).any(axis=1).argmax()
        raise ValueError(f"y_true of pair {pair} is infinite.")
    return level(with_subjects(y_true))


def _check_not_matrices(y_true: np.ndarray) -> None:
    """Refuse square matrices, whose rows would be taken for pairs or subjects without a word."""
    if y_true.ndim < 2 or y_true.shape[-1] != y_true.shape[-2] or y_true.shape[-1] < 3:
        return
    diagonal, mirrored = np.diagonal(y_true, axis1=-2, axis2=-1), y_true.swapaxes(-1, -2)
    if (np.nan_to_num(diagonal) == 0).all() and np.allclose(y_true, mirrored, equal_nan=True):
        raise ValueError(
            f"y_true must have one row per pair, got {y_true.shape}, which are square matrices: "
            f"symmetric, with a diagonal of 0 or NaN.{FROM_MATRICES}"
        )


def check_time_average(time_average: bool, has_times: bool) -> None:
    """Refuse to keep time points apart where there are none."""
    if not time_average and not has_times:
        raise ValueError(
            "time_average=False needs y_true of shape (n_pairs, n_subjects, n_times), got no time "
            "axis. For one subject: y_true[:, np.newaxis, :]."
        )


def check_predicted(y_pred: Any, n_pairs: int) -> np.ndarray:
    """Float64 (n_pairs,) of finite predictions."""
    y_pred = as_real(y_pred, "y_pred")
    if y_pred.shape != (n_pairs,):
        raise ValueError(
            f"y_pred must have shape ({n_pairs},), one dissimilarity per pair of y_true, got "
            f"{y_pred.shape}.{FROM_MATRICES if y_pred.ndim > 1 else ''}"
        )
    finite = np.isfinite(y_pred)
    if not finite.all():
        raise ValueError(
            f"y_pred of pair {finite.argmin()} is {y_pred[finite.argmin()]}: the model diverged, "
            "or did not predict this pair. Score only finite predictions; those of a "
            "cross-validation fold by fold (folds=, where it is taken)."
        )
    return level(y_pred)


def index_of_pairs(pairs: Any, n_pairs: int) -> np.ndarray:
    """Image rows (n_pairs, 2) of ImagePairs, of an index, or of a complete set (None)."""
    if pairs is None:
        n_images = count_images(n_pairs)
        if n_images is None:
            raise ValueError(
                f"{n_pairs} pairs are not all pairs of some images: give pairs=, an ImagePairs or "
                "an (n_pairs, 2) array of image numbers."
            )
        return np.column_stack(np.triu_indices(n_images, 1))
    if not isinstance(pairs, ImagePairs):
        index = np.asarray(pairs)
        n_images = int(index.max(initial=0)) + 1 if index.dtype.kind in "ui" else 1
        pairs = ImagePairs(np.zeros((n_images, 1)), pairs)
    if len(pairs) != n_pairs:
        raise ValueError(f"got {len(pairs)} pairs for {n_pairs} dissimilarities.")
    return pairs.index


def check_folds(folds: Sequence, n_pairs: int) -> list[np.ndarray]:
    """Rows of the pairs of each fold, as given by an image-wise splitter."""
    tests = [np.asarray(rows) for rows in folds]
    for number, rows in enumerate(tests):
        if rows.dtype.kind not in "ui" or rows.ndim != 1 or len(rows) == 0:
            raise ValueError(
                f"fold {number} must be a list of row numbers of pairs, got {rows.dtype} of shape "
                f"{rows.shape}. Give [test for _, test in cv.split(pairs)]."
            )
        if rows.min() < 0 or rows.max() >= n_pairs:
            raise ValueError(f"fold {number} has rows outside 0 to {n_pairs - 1}.")
    if not tests:
        raise ValueError("folds is empty: give the test rows of one fold or more, or None.")
    return tests


def check_tested(
    y_preds: Sequence, folds: Sequence | None, n_pairs: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Predictions (n_pairs, n_predictions), 0 for pairs in no fold, and the rows of each fold."""
    tests = [np.arange(n_pairs)] if folds is None else check_folds(folds, n_pairs)
    untested = np.isin(np.arange(n_pairs), np.concatenate(tests), invert=True)
    given = [as_real(y, "y_pred") for y in y_preds]
    columns = [np.where(untested, 0, y) if y.shape == (n_pairs,) else y for y in given]
    return np.column_stack([check_predicted(y, n_pairs) for y in columns]), tests


def nobody_to_agree_with(n_subjects: int) -> ValueError:
    """The error where no two subjects share the pairs that a noise ceiling needs."""
    return ValueError(
        f"a noise ceiling needs two or more subjects with {MIN_PAIRS} or more pairs in common, and "
        f"no two of these {n_subjects} have them: with nobody to agree with, it would be 1 "
        "whatever the noise. Give subjects that were measured with the same images."
    )


def warn_undefined(scores: np.ndarray) -> None:
    """Tell which subjects, and at which time points, have no score."""
    undefined = np.argwhere(np.isnan(scores))
    if len(undefined):
        what, first = "subject(s)", f"subject {undefined[0][0]}"
        if scores.ndim == 2:
            what, first = "subjects' time points", f"{first} at time point {undefined[0][1]}"
        warnings.warn(
            f"the score is not defined (NaN) for {len(undefined)} of {scores.size} {what}, first "
            f"{first}: fewer than {MIN_PAIRS} pairs, or constant dissimilarities or predictions. "
            "A mean leaves them out.",
            UndefinedMetricWarning,
            stacklevel=4,
        )
