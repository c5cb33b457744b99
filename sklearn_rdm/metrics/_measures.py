"""How alike two vectors of dissimilarities are: one number per subject, one rule for gaps.

Every measure is computed for all subjects and several predictions at once, on columns without
NaN; what is missing is sorted out before, in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, cg
from scipy.stats import kendalltau

from sklearn_rdm._pairs._dissimilarities import as_real, average
from sklearn_rdm._pairs._pair_index import renumber
from sklearn_rdm._pairs._unit_scale import to_unit_scale
from sklearn_rdm._pairs._weights import take_weights
from sklearn_rdm.metrics._checks import MIN_PAIRS
from sklearn_rdm.metrics._weighted import (
    weighted_cosine,
    weighted_pearson,
    weighted_rho_a,
    weighted_spearman,
)

SINGULAR = 1e-12  # smallest over largest variance of a contrast
CG_TOLERANCE = 1e-10  # relative residual: scores agree with a dense solve to 8 digits


@dataclass(frozen=True)
class Measure:
    """One way to compare dissimilarities; all that depends on it is read off here.

    Attributes
    ----------
    columns : callable
        From observed (n_pairs, n_subjects), predicted (n_pairs, n_predictions), the images of
        the pairs and their weights, above 0 or None, to (n_predictions, n_subjects).
    pooling : str
        How subjects are averaged for its noise ceiling.
    needs_pairs : bool
        Whether it must know which images each pair compares.
    in_draws : callable or None
        The same of weighted pairs, for many weightings at once; None if there is no fast way.
    zero_by_chance : bool
        Whether an unrelated prediction is expected to score 0.
    """

    columns: Callable[..., np.ndarray]
    pooling: str
    needs_pairs: bool = False
    in_draws: Callable[..., np.ndarray] | None = None
    zero_by_chance: bool = True


def get_measure(name: str) -> Measure:
    """Measure of a score's name, with or without the leading ``rdm_``."""
    try:
        return MEASURES[name.removeprefix("rdm_")]
    except (KeyError, AttributeError):
        raise ValueError(f"scoring must be one of {sorted(MEASURES)}, got {name!r}.") from None


def score_columns(
    measure: Measure,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: Any = None,
    weights: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Scores (n_predictions, n_subjects[, n_times]) of columns that may lack pairs (NaN)."""
    labels = to_unit_scale(observed.reshape(len(observed), math.prod(observed.shape[1:])))
    predicted = to_unit_scale(predicted)
    scores = np.full((predicted.shape[1], labels.shape[1]), np.nan)
    for has_prediction, predictions in group_columns(predicted):
        for has_label, columns in group_columns(labels):
            rows = np.flatnonzero(has_prediction & has_label)
            if len(rows) >= MIN_PAIRS:
                scores[np.ix_(predictions, columns)] = measure.columns(
                    labels[np.ix_(rows, columns)],
                    predicted[np.ix_(rows, predictions)],
                    None if index is None else index[rows],
                    take_weights(weights, rows),
                    **options,
                )
    return scores.reshape(len(scores), *observed.shape[1:])


def score_draws(
    measure: Measure, observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Scores (n_draws, n_predictions, n_subjects[, n_times]) of weighted pairs (n_pairs, n_draws).

    ``observed`` may be NaN where a subject has no value, ``predicted`` may not.
    """
    assert measure.in_draws is not None
    labels = to_unit_scale(observed.reshape(len(observed), math.prod(observed.shape[1:])))
    predicted = to_unit_scale(predicted)
    scores = np.full((weights.shape[1], predicted.shape[1], labels.shape[1]), np.nan)
    for has_label, columns in group_columns(labels):
        rows = np.flatnonzero(has_label)
        if len(rows) >= MIN_PAIRS:
            chosen = labels[np.ix_(rows, columns)], predicted[rows], weights[rows]
            of_rows = measure.in_draws(*chosen)
            of_rows[weights[rows].sum(axis=0) < MIN_PAIRS] = np.nan
            scores[..., columns] = of_rows
    return scores.reshape(*scores.shape[:2], *observed.shape[1:])


def average_scores(
    scores: np.ndarray, *, subject_average: bool, time_average: bool
) -> float | np.ndarray:
    """Mean of scores (n_subjects[, n_times]): over the time points first, then the subjects."""
    if scores.ndim == 2 and time_average:
        scores = average(scores)
    if subject_average:
        scores = average(scores.T)
    return float(scores) if scores.ndim == 0 else scores


def group_columns(columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Group columns by the rows that they have: yield (which rows, which columns)."""
    present = ~np.isnan(columns)
    if present.all():
        yield present[:, 0], np.arange(columns.shape[1])
        return
    groups: dict[bytes, list[int]] = {}
    for column, mask in enumerate(present.T):
        groups.setdefault(mask.tobytes(), []).append(column)
    for same in groups.values():
        yield present[:, same[0]], np.array(same)


def rank_columns(columns: np.ndarray) -> np.ndarray:
    """Average ranks of every column without NaN.

    Equal to ``scipy.stats.rankdata(columns, axis=0)``; three times as fast, as numpy's unstable
    sort is vectorised and scipy's stable one is not.
    """
    ranks = np.empty(columns.shape)
    for column, values in enumerate(np.ascontiguousarray(columns.T)):
        order = values.argsort()
        starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
        ends = np.append(starts[1:], len(values))
        ranks[order, column] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def rank_weighted(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of what is below each value of every column, and half of what is equal to it.

    If weights are numbers of repeats, the average ranks of the repeated columns less a half.
    """
    ranks = np.empty(columns.shape)
    for column, values in enumerate(columns.T):
        order = values.argsort()
        sums = np.concatenate([[0.0], weights[order].cumsum()])
        starts = np.searchsorted(values[order], values, side="left")
        ends = np.searchsorted(values[order], values, side="right")
        ranks[:, column] = (sums[starts] + sums[ends]) / 2
    return ranks


def _rank(columns: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return rank_columns(columns) if weights is None else rank_weighted(columns, weights)


def _center(columns: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    centered = columns - np.average(columns, axis=0, weights=weights)
    centered[:, (columns == columns[0]).all(axis=0)] = 0  # exactly, however the mean was rounded
    return centered


def _cosine(
    observed: np.ndarray, predicted: np.ndarray, _index: Any = None, weights: Any = None
) -> np.ndarray:
    if weights is not None:
        roots = np.sqrt(weights)[:, np.newaxis]
        observed, predicted = observed * roots, predicted * roots
    norms = np.outer(_norms(predicted, predicted), _norms(observed, observed))
    return _divide(predicted.T @ observed, norms)


def _norms(columns: np.ndarray, whitened: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->j", columns, whitened))


def _divide(products: np.ndarray, norms: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.clip(products / norms, -1, 1)


def _pearson(
    observed: np.ndarray, predicted: np.ndarray, _index: Any = None, weights: Any = None
) -> np.ndarray:
    return _cosine(_center(observed, weights), _center(predicted, weights), None, weights)


def _spearman(
    observed: np.ndarray, predicted: np.ndarray, _index: Any = None, weights: Any = None
) -> np.ndarray:
    return _pearson(_rank(observed, weights), _rank(predicted, weights), None, weights)


def _rho_a(
    observed: np.ndarray, predicted: np.ndarray, _index: Any = None, weights: Any = None
) -> np.ndarray:
    observed, predicted = _repeat(observed, weights), _repeat(predicted, weights)
    n_pairs = float(len(observed))
    products = _center(rank_columns(predicted)).T @ _center(rank_columns(observed))
    return 12 * products / (n_pairs**3 - n_pairs)


def _kendall_tau_a(
    observed: np.ndarray, predicted: np.ndarray, _index: Any = None, weights: Any = None
) -> np.ndarray:
    observed, predicted = _repeat(observed, weights), _repeat(predicted, weights)
    n_couples = len(observed) * (len(observed) - 1) / 2
    untied_observed = n_couples - np.array([_count_ties(column) for column in observed.T])
    untied_predicted = n_couples - np.array([_count_ties(column) for column in predicted.T])
    # scipy has tau-b only, which is this difference over the root of both untied counts.
    tau_b = np.array([[kendalltau(x, y).statistic for y in observed.T] for x in predicted.T])
    differences = np.nan_to_num(tau_b * np.sqrt(np.outer(untied_predicted, untied_observed)))
    return np.rint(differences) / n_couples


def _repeat(columns: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Rows repeated as often as they count, which has to be a whole number of times."""
    if weights is None:
        return columns
    counts = weights.astype(np.intp)
    if (counts != weights).any():
        raise ValueError(
            "rho-a and Kendall's tau-a count comparisons of pairs: sample_weight must hold whole "
            f"numbers for them, such as numbers of trials, got {weights[counts != weights][0]}. "
            "Use Spearman's correlation for other weights."
        )
    return columns.repeat(counts, axis=0)


def _count_ties(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * (counts - 1) // 2).sum())


def _whitened_cosine(
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    weights: Any = None,
    covariance: Any = None,
) -> np.ndarray:
    columns = np.hstack([observed, predicted])
    whitened = _unmix_pairs(columns, index, weights, covariance)
    norms = _norms(columns, whitened)
    n_subjects = observed.shape[1]
    products = predicted.T @ whitened[:, :n_subjects]
    return _divide(products, np.outer(norms[n_subjects:], norms[:n_subjects]))


def _whitened_pearson(
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    weights: Any = None,
    covariance: Any = None,
) -> np.ndarray:
    centered = _center(observed, weights), _center(predicted, weights)
    return _whitened_cosine(*centered, index, weights, covariance)


def _unmix_pairs(
    columns: np.ndarray, index: np.ndarray, weights: np.ndarray | None, covariance: Any
) -> np.ndarray:
    """Solve ``V z = column``; V, as large as n_pairs squared, is never formed."""
    images, rows = renumber(index)
    if covariance is not None and weights is not None:
        raise ValueError(
            "whitened scores take sample_weight or pattern_covariance, not both: give one of them."
        )
    if covariance is not None:
        return _unmix_covariance(columns, rows, covariance[np.ix_(images, images)])
    # For independent images V = B B' + 2 / W, B = 1 where a pair has an image, W its weight, as
    # repeats share what is due to the images: Woodbury's identity.
    n_pairs = len(rows)
    entries = (np.ones(2 * n_pairs), (np.repeat(np.arange(n_pairs), 2), rows.ravel()))
    incidence = sparse.csr_array(entries, shape=(n_pairs, len(images)))
    counts = np.ones(n_pairs) if weights is None else weights
    weighted = incidence.T * counts
    inner = 2 * np.eye(len(images)) + (weighted @ incidence).toarray()
    rest = columns - incidence @ linalg.solve(inner, weighted @ columns, assume_a="pos")
    return counts[:, np.newaxis] * rest / 2


def _unmix_covariance(columns: np.ndarray, rows: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    noise = _PairNoise(rows, covariance)
    shape = (len(rows), len(rows))
    mixing = LinearOperator(shape, matvec=noise.mix, dtype=np.float64)
    guess = LinearOperator(shape, matvec=noise.unmix_complete, dtype=np.float64)
    solutions = [cg(mixing, column, rtol=CG_TOLERANCE, M=guess) for column in columns.T]
    if any(failed for _, failed in solutions):
        raise ValueError(
            "whitening does not converge: pattern_covariance is nearly singular. Shrink it, for "
            "example with sklearn.covariance.ledoit_wolf."
        )
    return np.column_stack([solution for solution, _ in solutions])


class _PairNoise:
    """The covariance of the noise of pairs, without a matrix of all pairs of pairs."""

    def __init__(self, rows: np.ndarray, covariance: np.ndarray) -> None:
        n_images = len(covariance)
        self.first, self.second = rows.T
        self.covariance = covariance
        self.centering = np.eye(n_images) - 1 / n_images
        self.precision = self._invert()

    def _invert(self) -> np.ndarray:
        variances, components = linalg.eigh(self.centering @ self.covariance @ self.centering)
        # One is 0, that of the mean image, which no pair measures.
        if variances[1] <= SINGULAR * variances[-1]:
            raise ValueError(
                "pattern_covariance is singular between the images of these pairs, or has a "
                "negative eigenvalue. Shrink it, for example with sklearn.covariance.ledoit_wolf."
            )
        return components[:, 1:] / variances[1:] @ components[:, 1:].T

    def _symmetric(self, weights: np.ndarray) -> np.ndarray:
        places = (self.first, self.second)
        half = sparse.coo_array((weights.ravel(), places), shape=self.covariance.shape).toarray()
        return half + half.T

    def mix(self, weights: np.ndarray) -> np.ndarray:
        # (V w)_q = sum_p (c_q' S c_p)^2 w_p = c_q' S (sum_p w_p c_p c_p') S c_q
        laplacian = -self._symmetric(weights)
        np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
        mixed = self.covariance @ laplacian @ self.covariance
        diagonal = np.diag(mixed)
        return diagonal[self.first] + diagonal[self.second] - 2 * mixed[self.first, self.second]

    def unmix_complete(self, distances: np.ndarray) -> np.ndarray:
        """The exact inverse of ``mix`` if no pair is missing, else a good first guess."""
        gram = self.centering @ self._symmetric(distances) @ self.centering
        return (self.precision @ gram @ self.precision)[self.first, self.second] / 2


def check_covariance(covariance: Any, index: np.ndarray) -> np.ndarray | None:
    if covariance is None:
        return None
    covariance = as_real(covariance, "pattern_covariance")
    if covariance.ndim == 1:
        covariance = np.diag(covariance)
    n_images = index.max() + 1
    if covariance.shape != (len(covariance), len(covariance)) or len(covariance) < n_images:
        raise ValueError(
            f"pattern_covariance must be ({n_images}, {n_images}) or ({n_images},), one row per "
            f"image of pairs, got {covariance.shape}."
        )
    rounding = 1e-8 * np.abs(covariance).max()
    symmetric = np.allclose(covariance, covariance.T, atol=rounding)
    if not (np.isfinite(covariance).all() and symmetric):
        raise ValueError("pattern_covariance must be finite and symmetric.")
    return covariance


MEASURES = {
    "cosine": Measure(_cosine, pooling="rms", in_draws=weighted_cosine, zero_by_chance=False),
    "kendall_tau_a": Measure(_kendall_tau_a, pooling="rank"),
    "pearson": Measure(_pearson, pooling="zscore", in_draws=weighted_pearson),
    "rho_a": Measure(_rho_a, pooling="rank", in_draws=weighted_rho_a),
    "spearman": Measure(_spearman, pooling="rank", in_draws=weighted_spearman),
    "whitened_cosine": Measure(
        _whitened_cosine, pooling="rms", needs_pairs=True, zero_by_chance=False
    ),
    "whitened_pearson": Measure(_whitened_pearson, pooling="zscore", needs_pairs=True),
}
