"""Dissimilarities of pairs as arrays: the layouts that users give, and what makes them fit to use.

Knows neither images nor pairs of them: one row per pair is all that these functions assume.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np

SYMMETRY_TOLERANCE = 1e-6  # of an entry, or of the matrix's median: float32 files pass


def as_real(values: Any, name: str) -> np.ndarray:
    """Return real numbers as a float64 array, NaN where a value is masked or missing.

    The one door for what users give as dissimilarities, observed or predicted.

    Parameters
    ----------
    values : array-like
        Numbers. Masked entries, None and pandas' NA are missing.
    name : str
        What they are called in messages.

    Raises
    ------
    TypeError
        If they are no real numbers: dates, complex numbers, text.
    ValueError
        If they make no rectangular array.
    """
    if values is None:
        raise TypeError(f"{name} must be real numbers, got None.")
    if isinstance(values, list | tuple) and _holds_masked(values):
        values = [as_real(value, name) for value in values]
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = values if np.ma.isMaskedArray(values) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}.") from error
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array, name)
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{name} must be real numbers, got an array of {array.dtype}. Convert them to "
            "dissimilarities first: a complex number has no order, a date no zero."
        )
    if np.ma.isMaskedArray(array):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return array.astype(np.float64, copy=False)


def _holds_masked(values: Any) -> bool:
    """Whether a masked array, or the masked scalar, lies anywhere in nested lists."""
    if isinstance(values, list | tuple):
        return any(map(_holds_masked, values))
    return np.ma.isMaskedArray(values)  # np.ma.masked is one


def _numbers_of_objects(array: np.ndarray, name: str) -> np.ndarray:
    mask = np.ma.getmaskarray(array)
    numbers = np.full(array.shape, np.nan)
    for place in np.argwhere(~mask):
        value = np.ma.getdata(array)[tuple(place)]
        if value is None or type(value).__name__ == "NAType" or value is np.ma.masked:
            continue
        if not isinstance(value, Real | np.bool_) or isinstance(value, np.timedelta64):
            raise TypeError(
                f"{name} must be real numbers, but entry {place.tolist()} is {value!r} "
                f"({type(value).__name__})."
            )
        numbers[tuple(place)] = float(value)
    return numbers


def condense(rdms: np.ndarray, n_images: int) -> np.ndarray:
    """Upper triangles, ([n_subjects, [n_times,]] n_pairs), of checked matrices or vectors."""
    n_pairs = n_images * (n_images - 1) // 2
    if n_pairs == 0:
        raise ValueError(f"a dissimilarity needs 2 images, got {n_images}.")
    if rdms.ndim >= 2 and rdms.shape[-2:] == (n_images, n_images) and rdms.ndim <= 4:
        check_symmetric(rdms)
        warn_of_similarity(rdms)
        condensed = rdms[(..., *np.triu_indices(n_images, 1))]
    elif rdms.ndim in (1, 2, 3) and rdms.shape[-1] == n_pairs:
        condensed = rdms
    else:
        raise ValueError(
            f"for {n_images} images, rdms must have shape ({n_images}, {n_images}), (n_subjects, "
            f"{n_images}, {n_images}) or (n_subjects, n_times, {n_images}, {n_images}), or "
            f"condensed {n_pairs} in place of the last two axes, got {rdms.shape}."
        )
    check_not_infinite(condensed)
    return condensed


def check_not_infinite(condensed: np.ndarray, source: str = "rdms") -> None:
    """Refuse infinity in upper triangles (..., n_pairs), naming its entry in the square matrix."""
    infinite = np.argwhere(np.isinf(condensed))
    if len(infinite):
        *place, pair = (int(k) for k in infinite[0])
        n_images = count_images(condensed.shape[-1]) or 0
        i, j = (int(side[pair]) for side in np.triu_indices(n_images, 1))
        raise ValueError(f"{source} must be finite or NaN, but rdms{[*place, i, j]} is infinite.")


def check_dissimilarities(y: Any, n_pairs: int) -> np.ndarray:
    """Return y as float64 (n_pairs[, n_subjects[, n_times]]), every pair labelled.

    A pair may be NaN for some subjects and times, not for all; a subject may have none of these
    pairs; infinity raises an error.
    """
    if y is None:
        raise ValueError("dissimilarities are required: fit(pairs, dissim), got None.")
    y = as_real(y, "dissimilarities")
    if y.ndim not in (1, 2, 3) or len(y) != n_pairs or y.size == 0:
        raise ValueError(
            f"dissimilarities must have shape ({n_pairs},), ({n_pairs}, n_subjects) or ({n_pairs}, "
            f"n_subjects, n_times), one row per pair, got {y.shape}. ImagePairs.from_rdms makes "
            "them from square matrices."
        )
    infinite = np.argwhere(np.isinf(y)).tolist()
    if infinite:
        raise ValueError(f"dissimilarity y{infinite[0]} of pair {infinite[0][0]} is infinite.")
    unlabelled = np.isnan(_with_times(y)).all(axis=(1, 2))
    if unlabelled.any():
        raise ValueError(
            f"{unlabelled.sum()} of {n_pairs} pairs have no dissimilarity (NaN), the first is pair "
            f"{unlabelled.argmax()}. Leave them out: ImagePairs.from_rdms does, or "
            "pairs[keep], dissim[keep]."
        )
    return y


def check_varying(y: np.ndarray) -> None:
    """Refuse a subject's dissimilarities that are all equal at every time, or on average.

    Subjects with fewer than two pairs are passed over, unless there is no other.
    """
    learned = can_be_learned(y)
    if not learned.any():
        raise ValueError(
            f"no subject has two of these {len(y)} pairs: there is nothing to learn. Give more "
            "pairs, or folds that leave more of them."
        )
    courses = _with_times(y)
    varies = ~learned | (_varies(courses).any(axis=1) & _varies(average(courses)))
    if not varies.all():
        constant = varies.argmin()
        which = "" if y.ndim == 1 else f" of subject {constant}"
        where = f" ({np.fmin.reduce(courses)[constant, 0]})"
        if y.ndim == 3:
            where = " at every time point, or on average over the time points"
        other = "" if y.ndim == 1 else ", or leave this subject out"
        raise ValueError(
            f"all dissimilarities{which} are equal{where}: there is nothing to learn. Give "
            f"measured, varying dissimilarities{other}."
        )


def can_be_learned(y: np.ndarray) -> np.ndarray:
    """Whether each subject has the two pairs that it takes to vary, (n_subjects,)."""
    return count_pairs(y) > 1


def count_pairs(y: np.ndarray) -> np.ndarray:
    """Pairs that each subject has at one time point or more, (n_subjects,)."""
    return (~np.isnan(_with_times(y))).any(axis=2).sum(axis=0)


def average(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN, without numpy's warning if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=-1)


def average_times(y: np.ndarray) -> np.ndarray:
    """Mean over the third axis, time, where there is one."""
    return average(y) if y.ndim == 3 else y


def count_images(n_pairs: int) -> int | None:
    """Return the number of images that make this many pairs, all of them, or None."""
    n_images = round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    return n_images if n_images > 1 and n_images * (n_images - 1) // 2 == n_pairs else None


def _with_times(y: np.ndarray) -> np.ndarray:
    """View of y as (n_pairs, n_subjects, n_times)."""
    return y.reshape(*y.shape, *[1] * (3 - y.ndim))


def _varies(columns: np.ndarray) -> np.ndarray:
    return np.fmax.reduce(columns) > np.fmin.reduce(columns)


def check_symmetric(rdms: np.ndarray, source: str = "rdms", advice: str = "") -> None:
    """Refuse square matrices (..., n, n) that differ from their mirror images off the diagonal."""
    off_diagonal = np.where(np.eye(rdms.shape[-1], dtype=bool), 0, rdms)
    mirrored = np.swapaxes(off_diagonal, -1, -2)
    with np.errstate(over="ignore", invalid="ignore"):
        # Of the larger of the two, so that no large entry hides what is wrong elsewhere; rounding
        # of a matrix that was computed adds a little of its typical size.
        largest = np.maximum(np.abs(off_diagonal), np.abs(mirrored))
        tolerance = SYMMETRY_TOLERANCE * np.fmax(largest, _typical_size(off_diagonal))
        same = np.abs(off_diagonal - mirrored) <= tolerance
    same |= (off_diagonal == mirrored) | (np.isnan(off_diagonal) & np.isnan(mirrored))
    if not same.all():
        *place, i, j = (int(k) for k in np.argwhere(~same)[0])
        raise ValueError(
            f"{source} must be symmetric, but rdms{[*place, i, j]} = {rdms[(*place, i, j)]} and "
            f"rdms{[*place, j, i]} = {rdms[(*place, j, i)]}.{advice}"
        )


def _typical_size(off_diagonal: np.ndarray) -> np.ndarray:
    """Median magnitude of the entries of each matrix, (..., 1, 1)."""
    n_images = off_diagonal.shape[-1]
    upper = np.abs(off_diagonal[(..., *np.triu_indices(n_images, 1))])
    upper = np.where(np.isfinite(upper), upper, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nan_to_num(np.nanmedian(upper, axis=-1))[..., np.newaxis, np.newaxis]


def warn_of_similarity(rdms: np.ndarray, source: str = "rdms") -> None:
    """Warn if square matrices (..., n, n) look like similarities: the diagonal is largest."""
    n_images = rdms.shape[-1]
    diagonal = np.diagonal(rdms, axis1=-2, axis2=-1)
    others = rdms[..., ~np.eye(n_images, dtype=bool)].reshape(*rdms.shape[:-1], n_images - 1)
    largest = np.fmax.reduce(others, axis=-1)
    of_image = (diagonal > 0) & (diagonal >= largest)
    if of_image.all(axis=-1).any() and bool((np.fmin.reduce(others, axis=-1) < diagonal).any()):
        warnings.warn(
            f"{source} look like similarities: the value of every image with itself is the largest "
            "of its row. A dissimilarity is 0 there, and large for images that differ. Convert "
            "them with sklearn_rdm.preprocessing.to_dissimilarity.",
            UserWarning,
            stacklevel=3,
        )
