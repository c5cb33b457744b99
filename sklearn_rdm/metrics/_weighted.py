"""Scores of many draws of images at once: pairs are weighted, neither repeated nor sorted per draw.

A pair whose images were drawn ``a`` and ``b`` times counts ``a b`` times. Every function takes
observed (n_pairs, n_subjects), predicted (n_pairs, n_predictions) and weights (n_pairs, n_draws),
without NaN, and returns (n_draws, n_predictions, n_subjects).
"""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-13  # share of a sum of squares below which a variance is none


def weighted_cosine(observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cosine similarity, uncentred."""
    columns = np.hstack([predicted, observed])
    squares = (columns**2).T @ weights
    return _divide(_sums(predicted, observed, weights), squares, predicted.shape[1])


def weighted_pearson(
    observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Pearson correlation."""
    columns = np.hstack([predicted, observed])
    columns = columns - columns.mean(axis=0)  # so that the differences below lose no digits
    n_models = predicted.shape[1]
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = columns.T @ weights / total
    squares = (columns**2).T @ weights
    variances = squares - total * means**2
    variances[variances <= ROUNDING * squares] = 0
    products = _sums(columns[:, :n_models], columns[:, n_models:], weights)
    products -= np.einsum("b,mb,sb->bms", total, means[:n_models], means[n_models:])
    return _divide(products, variances, n_models)


def weighted_spearman(
    observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Pearson correlation of average ranks."""
    products, squares = _rank_products(observed, predicted, weights)
    return _divide(products, squares, predicted.shape[1])


def weighted_rho_a(observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank correlation over random orders of ties."""
    products, _ = _rank_products(observed, predicted, weights)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 12 * products / (total**3 - total)[:, np.newaxis, np.newaxis]


def weighted_ranks(column: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks less their mean, (n_pairs, n_draws), of one column in each draw."""
    order = column.argsort()
    starts = np.flatnonzero(np.diff(column[order], prepend=-np.inf))
    ends = np.append(starts[1:], len(column))
    below = np.zeros((len(column) + 1, weights.shape[1]))
    np.cumsum(weights[order], axis=0, out=below[1:])
    of_value = (below[starts] + below[ends] - below[-1]) / 2  # rank - (total + 1) / 2
    value = np.empty(len(column), dtype=np.intp)
    value[order] = np.repeat(np.arange(len(starts)), ends - starts)
    return of_value[value]


def _rank_products(
    observed: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products (n_draws, n_predictions, n_subjects) and of squares (columns, n_draws)."""
    ranks = np.array([weighted_ranks(column, weights) for column in predicted.T])
    squares = [np.einsum("pb,pb,pb->b", rank, rank, weights) for rank in ranks]
    products = np.empty((weights.shape[1], predicted.shape[1], observed.shape[1]))
    for subject, column in enumerate(observed.T):
        rank = weighted_ranks(column, weights)
        weighted = rank * weights
        squares.append(np.einsum("pb,pb->b", rank, weighted))
        for model, other in enumerate(ranks):
            products[:, model, subject] = np.einsum("pb,pb->b", other, weighted)
    return products, np.array(squares)


def _sums(predicted: np.ndarray, observed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums of products, (n_draws, n_predictions, n_subjects)."""
    return np.stack([weights.T @ (column[:, np.newaxis] * observed) for column in predicted.T], 1)


def _divide(products: np.ndarray, squares: np.ndarray, n_models: int) -> np.ndarray:
    norms = np.sqrt(squares.T)
    norms = norms[:, :n_models, np.newaxis] * norms[:, np.newaxis, n_models:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.where(norms > 0, products / norms, np.nan), -1, 1)
