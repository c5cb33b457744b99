"""Subjects' dissimilarities on a common scale, learned from the pairs that they share."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from sklearn_rdm._pairs._unit_scale import exponents_of

LEAST_EVIDENCE = 0.2  # of the largest dissimilarity, as in rsatoolbox
TOLERANCE, MAX_STEPS = 1e-20, 10_000


def evidence(y: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Weight of each value, (n_pairs, n_subjects): large distances are judged more precisely."""
    return np.asarray((y / largest) ** 2).clip(LEAST_EVIDENCE**2)


def align(
    y: np.ndarray, largest: np.ndarray, learned: np.ndarray, of_pairs: np.ndarray | None = None
) -> np.ndarray:
    """Return the factor of each subject, (n_subjects,), NaN for one that is not learned.

    The factors bring each subject to the length that the weighted mean has on its pairs, and keep
    the total length of all values. With weights of pairs, lengths are sums of weighted squares.
    """
    known = y[:, learned]
    _check_connected(known, np.flatnonzero(learned))
    weights = np.where(np.isnan(known), 0, evidence(known, largest[learned]))
    factors = np.full(y.shape[1], np.nan)
    roots = 1 if of_pairs is None else np.sqrt(of_pairs)[:, np.newaxis]
    own, common = exponents_of(largest[learned]), exponents_of(largest[learned].max())
    values = np.nan_to_num(known)
    aligned = _iterate(np.ldexp(values, -own) * roots, weights, ~np.isnan(known))
    length = np.linalg.norm(np.ldexp(values, -common) * roots)
    factors[learned] = np.ldexp(aligned * length, common - own)
    return factors


def _iterate(y: np.ndarray, weights: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Factors with which all values have length 1."""
    lengths = np.linalg.norm(y, axis=0)
    mean = _unit_mean(y, present)
    for _ in range(MAX_STEPS):
        factors = np.sqrt(mean**2 @ present) / lengths
        last, mean = mean, _unit_mean(y * factors, weights)
        if ((mean - last) ** 2).sum() <= TOLERANCE:
            break
    return np.asarray(factors / np.linalg.norm(y * factors))


def _unit_mean(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1)
    mean = np.divide((y * weights).sum(axis=1), total, out=np.zeros(len(y)), where=total > 0)
    return np.asarray(mean / np.linalg.norm(mean))


def _check_connected(y: np.ndarray, columns: np.ndarray) -> None:
    there = (~np.isnan(y) & (y != 0)).astype(np.float64)
    n_sets, labels = connected_components(there.T @ there, directed=False)
    if n_sets > 1:
        apart = columns[labels == labels[-1]].tolist()
        raise ValueError(
            f"subjects {apart} (columns of y) share no pair with the other subjects, not even "
            "through others: their scales cannot be compared. Pool these sets separately, or use "
            "method 'zscore' or 'rank'."
        )
