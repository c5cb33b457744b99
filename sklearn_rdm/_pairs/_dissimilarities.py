"""Dissimilarities of pairs as arrays: the layouts that users give, and what makes them fit to use.

Knows neither images nor pairs of them: one row per pair is all that these functions assume.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

SYMMETRY_TOLERANCE = 1e-6  # of the largest absolute dissimilarity: float32 files pass


def unmask(rdms: Any) -> np.ndarray:
    """Return matrices as an array, NaN where a masked array has none."""
    if np.ma.isMaskedArray(rdms):
        rdms = np.ma.filled(rdms.astype(float), np.nan)
    return np.asarray(rdms)


def condense(rdms: np.ndarray, n_images: int) -> np.ndarray:
    """Upper triangles, ([n_subjects, [n_times,]] n_pairs), of checked matrices or vectors."""
    n_pairs = n_images * (n_images - 1) // 2
    if n_pairs == 0:
        raise ValueError(f"a dissimilarity needs 2 images, got {n_images}.")
    if rdms.dtype.kind not in "uif":
        raise TypeError(f"rdms must be numbers, got {rdms.dtype}.")
    if rdms.ndim >= 2 and rdms.shape[-2:] == (n_images, n_images) and rdms.ndim <= 4:
        rdms = rdms.astype(np.float64)
        check_symmetric(rdms)
        condensed = rdms[(..., *np.triu_indices(n_images, 1))]
    elif rdms.ndim in (1, 2, 3) and rdms.shape[-1] == n_pairs:
        condensed = rdms.astype(np.float64)
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

    A pair may be NaN for some subjects and times, not for all; a subject may lack all of these
    pairs; infinity is refused.
    """
    if y is None:
        raise ValueError("dissimilarities are required: fit(pairs, dissim), got None.")
    y = np.asarray(y, dtype=np.float64)
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
    finite = np.abs(off_diagonal[np.isfinite(off_diagonal)])
    tolerance = SYMMETRY_TOLERANCE * finite.max(initial=0)
    same = np.isclose(off_diagonal, mirrored, rtol=0, atol=tolerance, equal_nan=True)
    if not same.all():
        *place, i, j = (int(k) for k in np.argwhere(~same)[0])
        raise ValueError(
            f"{source} must be symmetric, but rdms{[*place, i, j]} = {rdms[(*place, i, j)]} and "
            f"rdms{[*place, j, i]} = {rdms[(*place, j, i)]}.{advice}"
        )
