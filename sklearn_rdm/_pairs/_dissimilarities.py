"""Dissimilarities of pairs as arrays: the layouts that users give, and what makes them fit to use.

Knows neither images nor pairs of them: one row per pair is all that these functions assume.
"""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Iterator, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from sklearn_rdm._pairs._rounding import SUM_EPSILONS

ROUNDING = SUM_EPSILONS * np.finfo(np.float64).eps  # of the size of numbers that should be equal
SYMMETRY_TOLERANCE = 1e-6  # of an entry, or of the matrix's median: float32 files pass
BLOCK = 2**18  # entries of a matrix that are looked at at once


def as_real(values: Any, name: str) -> np.ndarray:
    """Return real numbers as a float64 array, NaN where a value is masked or missing.

    The one door for what users give as dissimilarities, observed or predicted; see
    :func:`as_numbers`.
    """
    return as_numbers(values, name).astype(np.float64, copy=False)


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Return real numbers as an array of their own type, float64 if a value is missing.

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
    if isinstance(values, Mapping):
        raise TypeError(
            f"{name} must be real numbers, got a {type(values).__name__} of {[*values]}."
        )
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
            f"{name} must be real numbers, got an array of {array.dtype}. Convert text with "
            "numpy.asarray(values, float), and durations to seconds; complex numbers have no "
            "order, and dates no zero."
        )
    if np.ma.isMaskedArray(array):
        return np.ma.filled(array.astype(np.float64), np.nan)
    return array


def check_not_masked(values: Any, name: str) -> None:
    """Refuse masked entries of what cannot be missing."""
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name} must hold no masked entries, but {np.ma.count_masked(values)} are: leave "
            "these out first."
        )


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
        if not isinstance(value, Real | Decimal | np.bool_) or isinstance(value, np.timedelta64):
            raise TypeError(
                f"{name} must be real numbers, but entry {place.tolist()} is {reprlib.repr(value)} "
                f"({type(value).__name__}). Convert it to a number, or give NaN if it is missing."
            )
        numbers[tuple(place)] = float(value)
    return numbers


def labelled_pairs(rdms: np.ndarray, n_images: int) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Dissimilarities (n_pairs, ...) of the pairs that have one, their index, how many have none.

    Of matrices or condensed vectors, with little more memory than the result; the index is None
    if all pairs have one.
    """
    square = _is_square(rdms, n_images)
    if square:
        check_symmetric(rdms)
        warn_of_similarity(rdms)
    rows = [_row_of_pairs(rdms, image, n_images, square) for image in range(n_images - 1)]
    for image, row in enumerate(rows):
        _check_row_not_infinite(row, image)
    known = np.concatenate([(~np.isnan(row)).any(axis=tuple(range(row.ndim - 1))) for row in rows])
    n_known = int(known.sum())
    if n_known == 0:
        raise ValueError("rdms hold no dissimilarity at all: every pair is NaN.")
    leading = rdms.shape[: rdms.ndim - 1 - square]
    dissim = np.empty((n_known, *leading))
    index = np.empty((n_known, 2), dtype=np.int32) if n_known < len(known) else None
    stop = n_read = 0
    for image, row in enumerate(rows):
        others = np.flatnonzero(known[n_read : n_read + row.shape[-1]])
        start, stop, n_read = stop, stop + len(others), n_read + row.shape[-1]
        dissim[start:stop] = np.moveaxis(row[..., others], -1, 0)
        if index is not None:
            index[start:stop, 0], index[start:stop, 1] = image, image + 1 + others
    return dissim, index, len(known) - n_known


def _is_square(rdms: np.ndarray, n_images: int) -> bool:
    """Whether these are matrices (..., n, n), not vectors; what is neither raises an error."""
    n_pairs = n_images * (n_images - 1) // 2
    if n_pairs == 0:
        raise ValueError(f"a dissimilarity needs 2 images, got {n_images}.")
    if rdms.shape[-2:] == (n_images, n_images) and rdms.ndim <= 4:
        return True
    if rdms.ndim not in (1, 2, 3) or rdms.shape[-1] != n_pairs:
        raise ValueError(
            f"for {n_images} images, rdms must have shape ({n_images}, {n_images}), (n_subjects, "
            f"{n_images}, {n_images}) or (n_subjects, n_times, {n_images}, {n_images}), or "
            f"condensed {n_pairs} in place of the last two axes, got {rdms.shape}."
            + _other_order(rdms.shape, n_images, n_pairs)
        )
    return False


def _other_order(shape: tuple[int, ...], n_images: int, n_pairs: int) -> str:
    """Advice on arrays whose first axes are the images or pairs, which should be the last."""
    if shape[:2] == (n_images, n_images):
        return " Its first two axes are the images: give numpy.moveaxis(rdms, (0, 1), (-2, -1))."
    if shape[:1] == (n_pairs,) and len(shape) == 2:
        return " Its first axis is the pairs: give rdms.T."
    return ""


def _row_of_pairs(rdms: np.ndarray, image: int, n_images: int, square: bool) -> np.ndarray:
    """View of the dissimilarities (..., n) of an image and all after it."""
    if square:
        return rdms[..., image, image + 1 :]
    start = image * (2 * n_images - image - 1) // 2
    return rdms[..., start : start + n_images - 1 - image]


def _check_row_not_infinite(row: np.ndarray, image: int) -> None:
    infinite = np.argwhere(np.isinf(row))
    if len(infinite):
        *place, other = (int(k) for k in infinite[0])
        entry = [*place, image, image + 1 + other]
        raise ValueError(f"rdms must be finite or NaN, but rdms{entry} is infinite.")


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
    unlabelled = np.isnan(with_times(y)).all(axis=(1, 2))
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
    courses = with_times(y)
    fits = ~learned | (varies(courses).any(axis=1) & varies(average(courses)))
    if not fits.all():
        constant = fits.argmin()
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
    return (~np.isnan(with_times(y))).any(axis=2).sum(axis=0)


def average(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN, without numpy's warning if nothing is."""
    if values.shape[-1] == 1:
        return values[..., 0]
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


def with_subjects(y: np.ndarray) -> np.ndarray:
    """View of y as (n_pairs, n_subjects[, n_times])."""
    return y[:, np.newaxis] if y.ndim == 1 else y


def with_times(y: np.ndarray) -> np.ndarray:
    """View of y as (n_pairs, n_subjects, n_times)."""
    return y.reshape(*y.shape, *[1] * (3 - y.ndim))


def varies(columns: np.ndarray) -> np.ndarray:
    """Whether the values of each column differ by more than rounding; NaN is left out."""
    high, low = np.fmax.reduce(columns) / 2, np.fmin.reduce(columns) / 2
    return np.asarray(high - low > ROUNDING * np.fmax(np.abs(high), np.abs(low)))


def level(columns: np.ndarray) -> np.ndarray:
    """Columns of which those are made equal that differ by rounding: it has no correlation."""
    flat = ~varies(columns)
    if not flat.any():
        return columns
    return np.where(flat & ~np.isnan(columns), np.fmin.reduce(columns), columns)


def check_symmetric(rdms: np.ndarray, source: str = "rdms", advice: str = "") -> None:
    """Refuse square matrices (..., n, n) that differ from their mirror images off the diagonal."""
    for place in np.ndindex(rdms.shape[:-2]):
        rdm = rdms[place]
        blocks = [*_blocks_of_rows(rdm)]
        if all(_mirrored(rdm, rows).all() for rows in blocks):
            continue
        typical = _typical_size(rdm)
        for rows in blocks:
            same = _mirrored(rdm, rows, typical)
            if not same.all():
                i, j = (int(k) for k in np.argwhere(~same)[0])
                i += rows.start
                raise ValueError(
                    f"{source} must be symmetric, but rdms{[*place, i, j]} = {rdm[i, j]} and "
                    f"rdms{[*place, j, i]} = {rdm[j, i]}.{_remedy(rdms.shape, rdm)}{advice}"
                )


def _remedy(shape: tuple[int, ...], rdm: np.ndarray) -> str:
    """Advice on a matrix of an array of this shape that is not symmetric."""
    if len(shape) > 2 and shape[0] == shape[1] and shape[-2] == shape[-1]:
        return " The last two axes are read as images: if the first two are, transpose: rdms.T."
    below = np.tri(len(rdm), k=-1, dtype=bool)
    for empty, full in ((below, "triu(rdm, 1)"), (below.T, "tril(rdm, -1)")):
        if not np.nan_to_num(rdm[empty]).any():
            return f" One triangle is empty: give numpy.{full} + numpy.{full}.T."
    return " If both were measured, give their mean: (rdm + rdm.T) / 2."


def _mirrored(rdm: np.ndarray, rows: slice, typical: float | None = None) -> np.ndarray:
    """Whether entries of some rows equal their mirror images (but for rounding, given a size)."""
    block, mirrored = rdm[rows].astype(np.float64), rdm[:, rows].T.astype(np.float64)
    same = (block == mirrored) | (np.isnan(block) & np.isnan(mirrored))
    np.fill_diagonal(same[:, rows], True)
    if typical is not None and not same.all():
        with np.errstate(over="ignore", invalid="ignore"):
            # Of the larger of the two, so that no large entry hides what is wrong elsewhere;
            # rounding of a matrix that was computed adds a little of its typical size.
            largest = np.maximum(np.abs(block), np.abs(mirrored))
            same |= np.abs(block - mirrored) <= SYMMETRY_TOLERANCE * np.fmax(largest, typical)
    return same


def _typical_size(rdm: np.ndarray) -> float:
    """Median magnitude of the entries off the diagonal that are finite."""
    upper = np.empty(len(rdm) * (len(rdm) - 1) // 2)
    stop = 0
    for image in range(len(rdm) - 1):
        start, stop = stop, stop + len(rdm) - 1 - image
        np.abs(rdm[image, image + 1 :], out=upper[start:stop], dtype=np.float64)
    finite = np.isfinite(upper)
    upper = upper if finite.all() else upper[finite]
    return float(np.median(upper, overwrite_input=True)) if len(upper) else 0.0


def _blocks_of_rows(rdm: np.ndarray) -> Iterator[slice]:
    step = max(BLOCK // len(rdm), 1)
    for start in range(0, len(rdm), step):
        yield slice(start, min(start + step, len(rdm)))


def warn_of_similarity(rdms: np.ndarray, source: str = "rdms") -> None:
    """Warn if square matrices (..., n, n) look like similarities, or like negative distances."""
    alike = (_looks_like_similarity(rdms[place]) for place in np.ndindex(rdms.shape[:-2]))
    # All of them: a crossvalidated distance of images that do not differ is often below 0.
    low, high = (most.reduce(rdms, axis=None, initial=0) for most in (np.fmin, np.fmax))
    if any(alike) or low < 0 >= high:
        warnings.warn(
            f"{source} look like similarities: images have their largest values with themselves. "
            "A dissimilarity is 0 there, and large for images that differ. Convert them with "
            "sklearn_rdm.preprocessing.to_dissimilarity.",
            UserWarning,
            stacklevel=3,
        )


def _looks_like_similarity(rdm: np.ndarray) -> bool:
    """Whether no pair is above the larger value that its images have with themselves.

    So it is of correlations, affinities, covariances and kernels.
    """
    diagonal, some_smaller = np.diagonal(rdm).astype(np.float64), False
    for rows in _blocks_of_rows(rdm):
        others = rdm[rows].astype(np.float64)
        np.fill_diagonal(others[:, rows], np.nan)
        known = ~np.isnan(others)
        largest = np.maximum(diagonal[rows, np.newaxis], diagonal)[known]
        if not ((largest > 0) & (others[known] <= (1 + SYMMETRY_TOLERANCE) * largest)).all():
            return False
        some_smaller |= bool((others[known] < largest).any())
    return some_smaller
