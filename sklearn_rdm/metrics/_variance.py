"""The variance of a score, from its replicates: published formulas and ours.

``S`` subjects, ``n`` images, ``a = S / (S - 1)``, ``b = n / (n - 1)``. All functions skip NaN.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm.metrics._resampling import Replicates


class Uncertainty(NamedTuple):
    """Variance of a number, and the degrees of freedom of its t statistic."""

    variance: float
    dof: float


def jackknife_uncertainty(replicates: Replicates, over: str) -> Uncertainty:
    """Variance of crossed subjects and images from their jackknives (see :func:`rdm_bootstrap`)."""
    subjects, n_subjects = _subjects(replicates.full)
    image_set, left_out = replicates.image_set, average(replicates.left_out)
    n_free = len(image_set) - image_set.max() - 1  # images less one a set
    if over == "subjects":
        return Uncertainty(subjects, n_subjects - 1)
    of_mean = float(left_out_variance(left_out, image_set))
    if over == "images":
        drawn = _bootstrap_variance(average(replicates.drawn), image_set)
        return Uncertainty(max(2 * of_mean - drawn, of_mean / 2), n_free)
    own = left_out_variance((replicates.left_out.T - left_out).T, image_set)
    rest = max(of_mean - np.nansum(own) / (n_subjects * (n_subjects - 1)), 0)
    spread = subjects**2 / (n_subjects - 1) + rest**2 / n_free
    dof = (subjects + rest) ** 2 / spread if spread else n_subjects - 1
    return Uncertainty(float(subjects + rest), float(dof))


def schuett2023_uncertainty(replicates: Replicates, over: str) -> Uncertainty:
    """Corrected variance of the bootstraps, as rsatoolbox computes it."""
    n_subjects, n_images = _subjects(replicates.full)[1], len(replicates.left_out)
    deviations = replicates.full - average(replicates.full)
    of_subjects = float(average(deviations**2)) / n_subjects
    if over == "subjects":
        return Uncertainty(n_subjects / (n_subjects - 1) * of_subjects, n_subjects - 1)
    means = average(replicates.drawn)
    of_images = float(_nan_variance(means))
    if over == "images":
        return Uncertainty(n_images / (n_images - 1) * of_images, n_images - 1)
    deviations = (replicates.drawn.T - means).T
    of_both = of_images + float(average(average(deviations**2))) / n_subjects
    variance = dual_variance(of_both, of_subjects, of_images, n_subjects, n_images)
    return Uncertainty(variance, min(n_subjects, n_images) - 1)


def t_test_uncertainty(replicates: Replicates, over: str) -> Uncertainty:
    """Variance of subjects' scores, or of the jackknife's pseudo-values of images."""
    subjects, n_subjects = _subjects(replicates.full)
    if over == "subjects":
        return Uncertainty(subjects, n_subjects - 1)
    left_out, image_set = average(replicates.left_out), replicates.image_set
    variance = float(left_out_variance(left_out, image_set))
    return Uncertainty(variance, len(left_out) - image_set.max() - 1)


def dual_variance(
    both: float, subjects: float, images: float, n_subjects: int, n_images: int
) -> float:
    """Combine the variances of three bootstraps: of both, of subjects alone, of images alone.

    ``V = a Vs + b Vi - a b (Vb - Vs - Vi)``, at least ``a Vs`` and ``b Vi``, then at most ``Vb``.
    """
    a, b = n_subjects / (n_subjects - 1), n_images / (n_images - 1)
    combined = a * subjects + b * images - a * b * (both - subjects - images)
    return float(min(max(combined, a * subjects, b * images), both))


def left_out_variance(left_out: np.ndarray, image_set: np.ndarray) -> np.ndarray:
    """Jackknife variance of values (n_images, ...): ``(n - 1) / n sum (x_i - mean)^2`` per set."""
    total = np.zeros(left_out.shape[1:])
    for number in range(image_set.max() + 1):
        members = left_out[image_set == number]
        total = total + (len(members) - 1) * members.var(axis=0)
    return total


def _bootstrap_variance(drawn: np.ndarray, image_set: np.ndarray) -> float:
    """Variance over draws of images, times ``n / (n - 1)`` (its mean over sets of images)."""
    sizes = np.bincount(image_set)
    return float(np.average(sizes / (sizes - 1), weights=sizes) * _nan_variance(drawn))


def _subjects(full: np.ndarray) -> tuple[float, int]:
    """Variance of the mean over subjects, and the number of those that have a score."""
    n_subjects = int(np.sum(~np.isnan(full)))
    if n_subjects < 2:
        return np.nan, n_subjects
    return float(np.nanvar(full, ddof=1) / n_subjects), n_subjects


def _nan_variance(values: np.ndarray) -> np.ndarray:
    """Variance over the first axis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanvar(values, axis=0, ddof=1)
