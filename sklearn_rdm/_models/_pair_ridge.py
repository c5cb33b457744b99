"""Ridge regression on per-feature dissimilarities of pairs of images.

One row per pair, one column per feature, columns standardised over the pairs. Pairs may have
weights ``w``: means and sums are weighted, which is ridge on rows times ``sqrt(w)``. The matrix is
never held as a whole: its Gram matrices come from the features of the images, or from blocks. The
smaller Gram matrix, made tridiagonal once, serves every penalty and every target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk

from sklearn_rdm._models._tridiagonal import Tridiagonal, shrinking_penalties
from sklearn_rdm._pairs._pair_index import image_sets, renumber
from sklearn_rdm._pairs._weights import take_weights

BLOCK = 2**21  # numbers of the pairs x features matrix that are held at a time: 16 MB
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
class _System:
    """Ridge on standardised columns ``D`` for targets ``y``: ``(K + alpha) u = b``.

    By features ``K = D'D`` and ``b = D'y``, and ``u`` are the weights; by pairs ``K = DD'`` and
    ``b = y``, and ``D'u`` are. ``gram`` holds the upper triangle of ``K``.
    """

    gram: np.ndarray
    target: np.ndarray  # b, (size, n_targets)
    by_pairs: bool
    weigh: Callable[[np.ndarray], np.ndarray]  # u -> weights of the standardised columns
    predict: Callable[[np.ndarray], np.ndarray]  # u -> weighted sums, for other pairs
    inverse_scale: np.ndarray  # 0 for constant columns
    mean: np.ndarray


def pair_columns(features: np.ndarray, index: np.ndarray, metric: str) -> np.ndarray:
    """Per-feature dissimilarities (n_pairs, n_features)."""
    columns, others = features[index[:, 0]], features[index[:, 1]]
    if metric == "dot":
        columns *= others
        return np.negative(columns, out=columns)
    columns -= others
    return np.square(columns, out=columns)


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
    weights: np.ndarray | None = None,
) -> RidgePath:
    """Fit every target (n_pairs, n_targets) with every penalty, each on the pairs it has.

    ``alphas`` (n_penalties, n_targets or 1) are fractions if ``penalty`` is "fractional". A target
    with fewer than two pairs gets zero weights.
    """
    alphas = np.broadcast_to(alphas, (len(alphas), y.shape[1]))
    path = RidgePath(
        np.zeros((features.shape[1], *alphas.shape)), np.zeros(alphas.shape), np.zeros(y.shape[1])
    )
    for present, targets in _groups(y):
        known = y[np.ix_(present, targets)]
        of_pairs = take_weights(weights, present)
        path.target_mean[targets] = np.average(known, axis=0, weights=of_pairs)
        system = _make_system(features, index[present], known, of_pairs, metric, index[:0])
        standardised = _fit_weights(system, alphas[:, targets], penalty)
        coef = standardised * system.inverse_scale[:, np.newaxis, np.newaxis]
        path.coef[:, :, targets] = coef
        path.offset[:, targets] = np.tensordot(system.mean, coef, 1)
    return path


def predict_path(
    features: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    alphas: np.ndarray,
    test_index: np.ndarray,
    *,
    metric: str,
    penalty: str,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Predict other pairs, (n_test_pairs, n_penalties, n_targets), relative to the target mean.

    As from ``fit_path``, whose weights are not needed for it where pairs are fewer than features.
    """
    if penalty == "nonnegative":
        options = {"metric": metric, "penalty": penalty}
        path = fit_path(features, index, y, alphas, weights=weights, **options)
        sums = pair_sums(features, test_index, path.coef.reshape(len(path.coef), -1), metric)
        return sums.reshape(len(sums), *path.offset.shape) - path.offset
    alphas = np.broadcast_to(alphas, (len(alphas), y.shape[1]))
    predicted = np.zeros((len(test_index), *alphas.shape))
    for present, targets in _groups(y):
        known = y[np.ix_(present, targets)]
        of_pairs = take_weights(weights, present)
        system = _make_system(features, index[present], known, of_pairs, metric, test_index)
        solutions = _shrink(system, alphas[:, targets], penalty)
        predicted[:, :, targets] = _columnwise(system.predict, solutions)
    return predicted


def _groups(y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs that are present, and the targets that have just these; those with two or more."""
    missing = np.isnan(y)
    if not missing.any() and len(y) > 1:
        yield np.ones(len(y), dtype=bool), np.arange(y.shape[1])
        return
    masks, group = np.unique(~missing, axis=1, return_inverse=True)
    for number, present in enumerate(masks.T):
        if present.sum() > 1:
            yield present, np.flatnonzero(group.ravel() == number)


def _make_system(
    features: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    metric: str,
    test_index: np.ndarray,
) -> _System:
    make = _by_features if features.shape[1] <= len(index) else _by_pairs
    centred = y - np.average(y, axis=0, weights=weights)
    return make(features, index, centred, weights, metric, test_index)


def _by_features(
    features: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    metric: str,
    test_index: np.ndarray,
) -> _System:
    complete, rest = _complete_sets(index) if weights is None else ([], np.arange(len(index)))
    weights = np.ones(len(index)) if weights is None else weights
    total = weights.sum()
    listed = [rest[block] for block in _blocks(len(rest), features.shape[1])]
    sums = [_complete_sums(features[part.images], metric) for part in complete]
    sums += [
        _listed_sums(pair_columns(features, index[rows], metric), weights[rows]) for rows in listed
    ]
    mean, mean_square = np.sum(sums, axis=0) / total
    inverse_scale = _inverse_scale(mean_square - mean**2, mean_square)

    scaled = features * np.sqrt(inverse_scale)  # scales the columns by inverse_scale
    scaled_mean = mean * inverse_scale
    gram = np.multiply.outer(-total * scaled_mean, scaled_mean).T
    cross = -np.outer(scaled_mean, weights @ y)
    for part in complete:
        gram = _add_complete_gram(gram, scaled[part.images], metric)
        cross += _complete_cross(scaled[part.images], part.ends, y[part.rows], metric)
    for rows in listed:
        roots = np.sqrt(weights[rows])[:, np.newaxis]
        columns = pair_columns(scaled, index[rows], metric)
        columns *= roots
        gram = _add_gram(gram, 1, columns)
        cross += columns.T @ (y[rows] * roots)

    def predict(weights: np.ndarray) -> np.ndarray:
        coef = weights * inverse_scale[:, np.newaxis]
        return pair_sums(features, test_index, coef, metric) - mean @ coef

    return _System(gram.T, cross, False, lambda weights: weights, predict, inverse_scale, mean)


def _by_pairs(
    features: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    metric: str,
    test_index: np.ndarray,
) -> _System:
    weights = np.ones(len(index)) if weights is None else weights
    roots = np.sqrt(weights)[:, np.newaxis]
    mean, inverse_scale = np.empty((2, features.shape[1]))
    blocks = _blocks(features.shape[1], len(index))
    gram = np.zeros((len(index), len(index)), order="F")
    across = np.zeros((len(test_index), len(index)))
    for block in blocks:
        columns = pair_columns(features[:, block], index, metric)
        mean[block] = weights @ columns / weights.sum()
        columns -= mean[block]
        columns *= roots
        variance = np.einsum("pf,pf->f", columns, columns) / weights.sum()
        inverse_scale[block] = _inverse_scale(variance, variance + mean[block] ** 2)
        columns *= inverse_scale[block]
        gram = dsyrk(1, columns.T, beta=1, c=gram, trans=1, lower=1, overwrite_c=1)
        others = pair_columns(features[:, block], test_index, metric) - mean[block]
        across += (others * inverse_scale[block]) @ columns.T

    def weigh(by_pair: np.ndarray) -> np.ndarray:
        of_columns = np.empty((features.shape[1], by_pair.shape[1]))
        for block in blocks:
            columns = (pair_columns(features[:, block], index, metric) - mean[block]) * roots
            of_columns[block] = (columns * inverse_scale[block]).T @ by_pair
        return of_columns

    return _System(gram.T, y * roots, True, weigh, lambda u: across @ u, inverse_scale, mean)


def _add_gram(gram: np.ndarray, factor: float, rows: np.ndarray) -> np.ndarray:
    """Add ``factor * rows' rows`` to the lower triangle of a matrix in Fortran's order."""
    return dsyrk(factor, rows.T, beta=1, c=gram, lower=1, overwrite_c=1)


def _listed_sums(columns: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum over pairs of the columns, and of their squares."""
    return weights @ columns, np.einsum("p,pf,pf->f", weights, columns, columns)


def _complete_sums(vectors: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """As ``_listed_sums`` of all pairs of some images, from the features of the images."""
    if metric == "sqeuclidean":
        vectors = vectors - vectors.mean(axis=0)
    squares = vectors**2
    total, fourth = squares.sum(axis=0), np.einsum("if,if->f", squares, squares)
    if metric == "dot":
        return (total - vectors.sum(axis=0) ** 2) / 2, (total**2 - fourth) / 2
    return len(vectors) * total, 3 * total**2 + len(vectors) * fourth


def _add_complete_gram(gram: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Add the products of columns, summed over all pairs of some images with these features.

    With ``u = z ** 2``, columns ``-z_i z_j`` have the products ``((Z'Z)**2 - U'U) / 2``; squared
    differences, after centring the features over images, ``2 (Z'Z)**2 + n U'U + s s'`` with
    ``s = sum u``.
    """
    if metric == "sqeuclidean":
        vectors = vectors - vectors.mean(axis=0)
    squares = vectors**2
    products = dsyrk(np.sqrt(0.5 if metric == "dot" else 2), vectors.T, lower=1)
    products *= products
    gram += products
    if metric == "dot":
        return _add_gram(gram, -0.5, squares)
    gram = _add_gram(gram, len(vectors), squares)
    return _add_gram(gram, 1, squares.sum(axis=0, keepdims=True))


def _complete_cross(
    vectors: np.ndarray, ends: np.ndarray, y: np.ndarray, metric: str
) -> np.ndarray:
    """Columns times targets, summed over all pairs (rows of ``ends``) of some images."""
    first, second = ends.T
    products = np.empty((vectors.shape[1], y.shape[1]))
    by_image = np.zeros((len(vectors), y.shape[1]))
    for target, values in enumerate(y.T):
        square = np.zeros((len(vectors), len(vectors)))
        square[first, second] = square[second, first] = values
        products[:, target] = np.einsum("if,if->f", square @ vectors, vectors)
        by_image[:, target] = square.sum(axis=1)
    return -products / 2 if metric == "dot" else (vectors**2).T @ by_image - products


@dataclass
class _CompleteSet:
    """Images of which every pair is given once."""

    rows: np.ndarray  # of the pairs
    images: np.ndarray
    ends: np.ndarray  # places among the images of both ends of the pairs, (n_pairs, 2)


def _complete_sets(index: np.ndarray) -> tuple[list[_CompleteSet], np.ndarray]:
    """Each set of images that has all of its pairs once, and the rows of all other pairs."""
    image_set = image_sets(index)
    sizes = np.bincount(image_set)
    pair_set = image_set[index[:, 0]]
    low, high = np.sort(index, axis=1).T
    distinct = np.unique(low * len(image_set) + high) // len(image_set)
    expected = sizes * (sizes - 1) // 2
    complete = (
        (sizes >= CLOSED_FORM)
        & (np.bincount(pair_set, minlength=len(sizes)) == expected)
        & (np.bincount(image_set[distinct], minlength=len(sizes)) == expected)
    )
    sets = []
    for number in np.flatnonzero(complete):
        rows = np.flatnonzero(pair_set == number)
        sets.append(_CompleteSet(rows, *renumber(index[rows])))
    return sets, np.flatnonzero(~complete[pair_set])


def _inverse_scale(variance: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    varies = variance > CONSTANT * mean_square
    return np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)


def _blocks(length: int, width: int) -> list[slice]:
    """Slices of a length, so that each times the width stays within the block size."""
    step = max(1, BLOCK // width)
    return [slice(start, start + step) for start in range(0, length, step)]


def _columnwise(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    """Apply a function of matrices to an array of more axes, which stay."""
    result = function(array.reshape(len(array), -1))
    return result.reshape(len(result), *array.shape[1:])


def _fit_weights(system: _System, alphas: np.ndarray, penalty: str) -> np.ndarray:
    """Weights (n_features, n_penalties, n_targets) of the standardised columns."""
    if penalty == "nonnegative":
        return _solve_nonnegative(system, alphas)
    return _columnwise(system.weigh, _shrink(system, alphas, penalty))


def _shrink(system: _System, alphas: np.ndarray, penalty: str) -> np.ndarray:
    """Solutions (size, n_penalties, n_targets); ``alphas`` may be fractions."""
    matrix = Tridiagonal(system.gram)
    rotated = matrix.rotate(system.target)
    solutions = np.empty((len(rotated), *alphas.shape))
    for target, vector in enumerate(rotated.T):
        penalties = alphas[:, target]
        if penalty == "fractional":
            penalties = shrinking_penalties(matrix, vector, penalties, of_rows=system.by_pairs)
        for row, alpha in enumerate(penalties):
            solutions[:, row, target] = matrix.solve(alpha, vector)
    return _columnwise(matrix.restore, solutions)


def _solve_nonnegative(system: _System, alphas: np.ndarray) -> np.ndarray:
    """Solve by scikit-learn, on ``S V'`` in place of the pairs; scaled so that tolerances fit."""
    from sklearn.linear_model import Ridge  # slow to import

    coef = np.zeros((len(system.mean), *alphas.shape))
    values, vectors = eigh(system.gram, lower=False, check_finite=False, driver="evd")
    kept = values > len(values) * np.finfo(float).eps * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    if len(values) == 0:
        return coef
    largest = values[-1]
    scaled = vectors if system.by_pairs else vectors * np.sqrt(values)
    design = system.weigh(scaled).T / np.sqrt(largest)
    rotated = vectors.T @ system.target
    if not system.by_pairs:
        rotated /= np.sqrt(values)[:, np.newaxis]
    for row, target in np.ndindex(alphas.shape):
        norm = np.linalg.norm(rotated[:, target])
        ridge = Ridge(
            alphas[row, target] / largest,
            fit_intercept=False,
            positive=True,
            solver="lbfgs",
            tol=POSITIVE_TOLERANCE,
        )
        if norm > 0:
            ridge.fit(design, rotated[:, target] / norm)
            coef[:, row, target] = ridge.coef_ * norm / np.sqrt(largest)
    return coef
