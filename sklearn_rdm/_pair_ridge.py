"""Ridge regression on per-feature dissimilarities of pairs of images.

One row per pair, one column per feature, columns standardised over the pairs. The matrix is never
held as a whole: its Gram matrices come from the features of the images, or from blocks. One
decomposition, of the smaller Gram matrix, serves every penalty and every target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import brentq
from sklearn.linear_model import Ridge

from sklearn_rdm._pairs import image_sets

BLOCK = 2**22  # numbers of the pairs x features matrix that are held at a time: 32 MB
CLOSED_FORM = 8  # images of the smallest complete set for which the closed form pays
CONSTANT = 1e-10  # a column whose variance is below this share of its mean square is constant
POSITIVE_TOLERANCE = 1e-9  # of the largest gradient, where the non-negative solver stops


@dataclass
class RidgePath:
    """Solutions for every penalty and target: ``columns @ coef - offset + target_mean``."""

    coef: np.ndarray  # (n_features, n_penalties, n_targets), for columns in their own units
    offset: np.ndarray  # (n_penalties, n_targets)
    target_mean: np.ndarray  # (n_targets,)


@dataclass
class _Standardised:
    """The decomposition ``U S V'`` of the standardised columns, for targets ``y``."""

    squares: np.ndarray  # diagonal of S**2, without rounding errors
    rotated: np.ndarray  # U' y, (rank, n_targets)
    expand: Callable[[np.ndarray], np.ndarray]  # q -> V S q
    mean: np.ndarray
    inverse_scale: np.ndarray  # 0 for constant columns


def pair_columns(features: np.ndarray, index: np.ndarray, metric: str) -> np.ndarray:
    """Per-feature dissimilarities (n_pairs, n_features)."""
    first, second = features[index[:, 0]], features[index[:, 1]]
    return -first * second if metric == "dot" else (first - second) ** 2


def pair_sums(features: np.ndarray, index: np.ndarray, coef: np.ndarray, metric: str) -> np.ndarray:
    """Weighted sums (n_pairs, n_weightings) of the columns; coef is (n_features, n_weightings)."""
    sums = np.zeros((len(index), coef.shape[1]))
    for block in _blocks(features.shape[1], len(index)):
        sums += pair_columns(features[:, block], index, metric) @ coef[block]
    return sums


def square_sums(features: np.ndarray, coef: np.ndarray, metric: str) -> np.ndarray:
    """Weighted sums of the columns of all pairs, (n_images, n_images); the diagonal is undefined.

    ``sum_f w_f (x_if - x_jf)^2 = q_i + q_j - 2 sum_f w_f x_if x_jf``, ``q_i = sum_f w_f x_if^2``.
    """
    if metric == "sqeuclidean":
        features = features - features.mean(axis=0)
    products = (features * coef) @ features.T
    products = (products + products.T) / 2  # symmetric to the last bit
    if metric == "dot":
        return -products
    squares = np.diagonal(products)
    return squares + squares[:, np.newaxis] - 2 * products


def fit_path(
    features: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    alphas: np.ndarray,
    *,
    metric: str,
    penalty: str,
) -> RidgePath:
    """Fit every target (n_pairs, n_targets) with every penalty, each on the pairs it has.

    ``alphas`` (n_penalties, n_targets or 1) are fractions if ``penalty`` is "fractional". A target
    with fewer than two pairs gets zero weights.
    """
    alphas = np.broadcast_to(alphas, (len(alphas), y.shape[1]))
    path = RidgePath(
        np.zeros((features.shape[1], *alphas.shape)), np.zeros(alphas.shape), np.zeros(y.shape[1])
    )
    masks, group = np.unique(~np.isnan(y), axis=1, return_inverse=True)
    for number, present in enumerate(masks.T):
        if present.sum() < 2:
            continue
        targets = np.flatnonzero(group.ravel() == number)
        known = y[np.ix_(present, targets)]
        path.target_mean[targets] = known.mean(axis=0)
        columns = _decompose(features, index[present], known - known.mean(axis=0), metric)
        coef = _SOLVERS[penalty](columns, alphas[:, targets]) * columns.inverse_scale[:, None, None]
        path.coef[:, :, targets] = coef
        path.offset[:, targets] = np.tensordot(columns.mean, coef, 1)
    return path


def _decompose(
    features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str
) -> _Standardised:
    decompose = _by_features if features.shape[1] <= len(index) else _by_pairs
    return decompose(features, index, y, metric)


def _by_features(
    features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str
) -> _Standardised:
    """Through the Gram matrix of the columns."""
    gram, sums, cross = _moments(features, index, y, metric)
    mean = sums / len(index)
    mean_square = np.diagonal(gram) / len(index)
    inverse_scale = _inverse_scale(mean_square - mean**2, mean_square)
    gram -= len(index) * np.outer(mean, mean)
    gram *= inverse_scale * inverse_scale[:, np.newaxis]
    cross = (cross - np.outer(mean, y.sum(axis=0))) * inverse_scale[:, np.newaxis]
    squares, vectors = _eigh(gram)
    singular = np.sqrt(squares)[:, np.newaxis]
    return _Standardised(
        squares,
        vectors.T @ cross / singular,
        lambda weights: vectors @ (singular * weights),
        mean,
        inverse_scale,
    )


def _by_pairs(features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str) -> _Standardised:
    """Through the Gram matrix of the pairs."""
    mean, inverse_scale = np.empty((2, features.shape[1]))
    blocks = _blocks(features.shape[1], len(index))
    gram = np.zeros((len(index), len(index)))
    for block in blocks:
        columns = pair_columns(features[:, block], index, metric)
        mean[block] = columns.mean(axis=0)
        inverse_scale[block] = _inverse_scale(columns.var(axis=0), (columns**2).mean(axis=0))
        columns = (columns - mean[block]) * inverse_scale[block]
        gram += columns @ columns.T
    squares, vectors = _eigh(gram)

    def expand(weights: np.ndarray) -> np.ndarray:
        by_pair = vectors @ weights
        expanded = np.empty((features.shape[1], by_pair.shape[1]))
        for block in blocks:
            columns = pair_columns(features[:, block], index, metric) - mean[block]
            expanded[block] = (columns * inverse_scale[block]).T @ by_pair
        return expanded

    return _Standardised(squares, vectors.T @ y, expand, mean, inverse_scale)


def _moments(
    features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum over pairs: the products of columns, of columns, and of columns times targets."""
    complete, rest = _complete_sets(index)
    parts = [_complete_moments(features, index[rows], y[rows], metric) for rows in complete]
    parts += [
        _listed_moments(features, index[rest[block]], y[rest[block]], metric)
        for block in _blocks(len(rest), features.shape[1])
    ]
    gram, sums, cross = parts[0]
    for more_gram, more_sums, more_cross in parts[1:]:
        gram += more_gram
        sums += more_sums
        cross += more_cross
    return gram, sums, cross


def _complete_moments(
    features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the moments of all pairs of a set of images, from the features of the images.

    With ``u = z ** 2`` and sums over images: products ``-z_i z_j`` have the moments
    ``((Z'Z)**2 - U'U) / 2``; squared differences, after centring the features over images,
    ``n U'U + s s' + 2 (Z'Z)**2`` with ``s = sum u``.
    """
    used, local = np.unique(index, return_inverse=True)
    first, second = local.reshape(-1, 2).T
    vectors = features[used]
    if metric == "sqeuclidean":
        vectors = vectors - vectors.mean(axis=0)
    squares = vectors**2
    products = np.empty((vectors.shape[1], y.shape[1]))
    ends = np.zeros((len(used), y.shape[1]))
    for target, values in enumerate(y.T):
        square = np.zeros((len(used), len(used)))
        square[first, second] = square[second, first] = values
        products[:, target] = ((square @ vectors) * vectors).sum(axis=0)
        ends[:, target] = square.sum(axis=1)
    gram, total = (vectors.T @ vectors) ** 2, squares.sum(axis=0)
    if metric == "dot":
        sums = (total - vectors.sum(axis=0) ** 2) / 2
        return (gram - squares.T @ squares) / 2, sums, -products / 2
    gram = len(used) * (squares.T @ squares) + np.outer(total, total) + 2 * gram
    return gram, len(used) * total, squares.T @ ends - products


def _listed_moments(
    features: np.ndarray, index: np.ndarray, y: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = pair_columns(features, index, metric)
    return columns.T @ columns, columns.sum(axis=0), columns.T @ y


def _complete_sets(index: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of each set of images that has all of its pairs once, and all other rows."""
    image_set = image_sets(index)
    sizes = np.bincount(image_set)
    pair_set = image_set[index[:, 0]]
    distinct = np.unique(np.sort(index, axis=1), axis=0)
    expected = sizes * (sizes - 1) // 2
    complete = (
        (sizes >= CLOSED_FORM)
        & (np.bincount(pair_set, minlength=len(sizes)) == expected)
        & (np.bincount(image_set[distinct[:, 0]], minlength=len(sizes)) == expected)
    )
    sets = [np.flatnonzero(pair_set == number) for number in np.flatnonzero(complete)]
    return sets, np.flatnonzero(~complete[pair_set])


def _inverse_scale(variance: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    varies = variance > CONSTANT * mean_square
    return np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)


def _eigh(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues above rounding error, and their vectors."""
    values, vectors = eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
    kept = values > len(values) * np.finfo(float).eps * values[-1]
    return values[kept], vectors[:, kept]


def _blocks(length: int, width: int) -> list[slice]:
    """Slices of a length, so that each times the width stays within the block size."""
    step = max(1, BLOCK // width)
    return [slice(start, start + step) for start in range(0, length, step)]


def _solve_ridge(columns: _Standardised, alphas: np.ndarray) -> np.ndarray:
    weights = columns.rotated[:, np.newaxis] / (columns.squares[:, np.newaxis, np.newaxis] + alphas)
    flat = columns.expand(weights.reshape(len(weights), alphas.size))
    return flat.reshape(-1, *alphas.shape)


def _solve_fractional(columns: _Standardised, fractions: np.ndarray) -> np.ndarray:
    return _solve_ridge(columns, fractions_to_alphas(columns.squares, columns.rotated, fractions))


def fractions_to_alphas(
    squares: np.ndarray, rotated: np.ndarray, fractions: np.ndarray
) -> np.ndarray:
    """Return the penalties that shrink the norm of the weights to these fractions of its maximum.

    Each singular value ``s`` shrinks its share by ``s**2 / (s**2 + alpha)``, so that the smallest
    and the largest bracket alpha.
    """
    alphas = np.zeros(fractions.shape)
    for target in range(fractions.shape[1]):
        full = rotated[:, target] ** 2 / squares
        for row in np.flatnonzero(fractions[:, target] < 1) if full.any() else ():
            fraction = fractions[row, target]

            def excess(log_alpha: float, full=full, fraction=fraction) -> float:
                shrunk = full * (squares / (squares + np.exp(log_alpha))) ** 2
                return np.sqrt(shrunk.sum() / full.sum()) - fraction

            low, high = np.log(squares.min() * 0.9), np.log(squares.max() * 1.1)
            odds = np.log(1 / fraction - 1)
            alphas[row, target] = np.exp(brentq(excess, low + odds, high + odds))
    return alphas


def _solve_nonnegative(columns: _Standardised, alphas: np.ndarray) -> np.ndarray:
    """Solve by scikit-learn, on ``S V'`` in place of the pairs; scaled so that tolerances fit."""
    coef = np.zeros((len(columns.mean), *alphas.shape))
    if len(columns.squares) == 0:
        return coef
    largest = columns.squares.max()
    design = columns.expand(np.eye(len(columns.squares))).T / np.sqrt(largest)
    for row, target in np.ndindex(alphas.shape):
        rotated = columns.rotated[:, target]
        norm = np.linalg.norm(rotated)
        ridge = Ridge(
            alphas[row, target] / largest,
            fit_intercept=False,
            positive=True,
            solver="lbfgs",
            tol=POSITIVE_TOLERANCE,
        )
        if norm > 0:
            ridge.fit(design, rotated / norm)
            coef[:, row, target] = ridge.coef_ * norm / np.sqrt(largest)
    return coef


_SOLVERS = {
    "ridge": _solve_ridge,
    "fractional": _solve_fractional,
    "nonnegative": _solve_nonnegative,
}
