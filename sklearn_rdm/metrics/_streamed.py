"""Scores of all pairs of many images, block by block: nothing of size n^2 is held.

Pearson, cosine and their whitened versions are sums over pairs and images, so that they are exact.
Of Spearman and rho_a, ranks are counted in 1,024 bins of about equal mass: within 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._pair_index import AllPairs
from sklearn_rdm._pairs._pattern_distances import Features, distances_between
from sklearn_rdm.metrics._checks import warn_undefined
from sklearn_rdm.metrics._measures import MEASURES, Measure, average_scores

ALL_PAIRS = 2**24  # numbers: scores of so few are computed from all of them
BLOCK = 2**21  # pairs of a block
N_BINS = 1024  # of the ranks of either side
COLUMNS = 8  # subjects or time points that are counted at a time
SAMPLE = 512  # images, whose pairs place the bins

Distances = Callable[[Any, Any], np.ndarray]  # of some images (rows) to others (columns)


def is_large(y: Any) -> bool:
    """Whether these are responses to so many images that their pairs are streamed."""
    if not isinstance(y, ResponsePatterns):
        return False
    n_columns = y.n_subjects * (y.n_times or 1) + 1
    return len(AllPairs(max(len(y), 2))) * n_columns > ALL_PAIRS


def streamed_score(measure: Measure, estimator: Any, images: Any, y: ResponsePatterns) -> float:
    """Mean over subjects of a measure between predicted and measured dissimilarities."""
    y._check_images(images)
    predicted = _Checked(open_distances(estimator, images))
    columns = [(subject, time) for subject in range(y.n_subjects) for time in range(y.n_times or 1)]
    scores = np.concatenate(
        [
            STREAMED[measure](predicted, _observed(y, columns[start : start + COLUMNS]), len(y))
            for start in range(0, len(columns), COLUMNS)
        ]
    )
    scores = scores.reshape(y.n_subjects, y.n_times) if y.n_times else scores
    warn_undefined(scores)
    return float(average_scores(scores, subject_average=True, time_average=True))


def open_distances(estimator: Any, images: Any) -> Distances:
    """Predicted dissimilarities between any of the images, by a fitted estimator.

    Estimators that compute features of images do so once; the others predict block by block.
    """
    if hasattr(estimator, "best_estimator_"):
        return open_distances(estimator.best_estimator_, images)
    if hasattr(estimator, "steps"):
        pairs: Any = images if isinstance(images, ImagePairs) else ImagePairs(images)
        for _, step in estimator.steps[:-1]:
            pairs = pairs if step in (None, "passthrough") else step.transform(pairs)
        return open_distances(estimator.steps[-1][1], pairs)
    images = images.images if isinstance(images, ImagePairs) else images
    if hasattr(estimator, "_open_distances"):
        return estimator._open_distances(images)
    return _Predicted(estimator, images)


class _Predicted:
    """What ``predict`` says of blocks of pairs."""

    def __init__(self, estimator: Any, images: Any) -> None:
        self.estimator, self.images = estimator, images

    def __call__(self, rows: Any, columns: Any) -> np.ndarray:
        every = np.arange(len(self.images))
        first, second = np.meshgrid(every[rows], every[columns], indexing="ij")
        wanted = first < second
        distances = np.zeros(first.shape)
        if wanted.any():
            index = np.column_stack([first[wanted], second[wanted]])
            distances[wanted] = self.estimator.predict(ImagePairs(self.images, index))
        return distances


class _Checked:
    """Predictions that must be finite, as float64."""

    def __init__(self, distances: Distances) -> None:
        self.distances = distances

    def __call__(self, rows: Any, columns: Any) -> np.ndarray:
        block = np.asarray(self.distances(rows, columns), dtype=np.float64)
        if not np.isfinite(block).all():
            raise ValueError("predictions are NaN or infinite: the model diverged.")
        return block


@dataclass(frozen=True)
class _Observed:
    """Measured dissimilarities of one subject at one time, of the images that it has seen."""

    images: np.ndarray
    features: Features

    def __call__(self, rows: Any, columns: Any) -> np.ndarray:
        return distances_between(self.features, rows, columns)


def _observed(y: ResponsePatterns, columns: Sequence[tuple[int, int]]) -> list[_Observed]:
    opened = {subject: y._courses(subject) for subject, _ in columns}
    observed = []
    for subject, time in columns:
        images, courses = opened[subject]
        values = courses[time].values
        centred = Features(values - values.mean(axis=0), courses[time].n_plus)
        observed.append(_Observed(images, centred))
    return observed


def _strips(
    predicted: Distances, observed: Sequence[_Observed], n_images: int
) -> Iterator[tuple[slice, np.ndarray, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """Yield rows, predictions (from the first row on), and what each column has of them.

    The last are: a mask of the block, the measured values there, and the predicted ones; pairs
    occur once.
    """
    step = max(BLOCK // n_images, 1)
    for start in range(0, n_images - 1, step):
        rows, rest = slice(start, min(start + step, n_images)), slice(start, n_images)
        block = predicted(rows, rest)
        above = np.arange(block.shape[1]) > np.arange(len(block))[:, np.newaxis]
        yield rows, block, [_values(column, start, block, above) for column in observed]


def _values(
    column: _Observed, start: int, block: np.ndarray, above: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, last = np.searchsorted(column.images, [start, start + len(block)])
    n_seen = len(column.images)
    places = column.images[first:] - start  # in the block, of the images that were seen
    measured = column(slice(first, last), slice(first, n_seen))
    if n_seen - first == block.shape[1]:  # all of them
        return above, measured[above], block[above]
    inner = np.ix_(places[: last - first], places)
    later = above[inner]
    mask = np.zeros_like(above)
    mask[inner] = later
    return mask, measured[later], block[mask]


def _product_moments(
    predicted: Distances, observed: Sequence[_Observed], n_images: int, centred: bool
) -> np.ndarray:
    """Correlations, or cosines, (n_columns,)."""
    sums = np.zeros((len(observed), 6))
    shifts: list[tuple[float, float]] = []
    for _, _, columns in _strips(predicted, observed, n_images):
        if not shifts:  # near the means, so that no digits are lost
            shifts = [(_mean(y), _mean(x)) if centred else (0.0, 0.0) for _, y, x in columns]
        for number, (_, y, x) in enumerate(columns):
            y, x = y - shifts[number][0], x - shifts[number][1]
            sums[number] += len(y), y.sum(), x.sum(), y @ y, x @ x, x @ y
    n, y_sum, x_sum, yy, xx, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        if centred:
            yy, xx, xy = yy - y_sum**2 / n, xx - x_sum**2 / n, xy - x_sum * y_sum / n
        return _ratio(xy, xx, yy, sums[:, 0])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, n_pairs: np.ndarray) -> np.ndarray:
    """``xy / sqrt(xx yy)``, NaN where a side is constant or there are fewer than two pairs."""
    defined = (n_pairs > 1) & (xx > 0) & (yy > 0)
    scale = np.sqrt(np.where(defined, xx, 1)) * np.sqrt(np.where(defined, yy, 1))
    return np.where(defined, np.clip(xy / scale, -1, 1), np.nan)


def _pearson(predicted: Distances, observed: Sequence[_Observed], n_images: int) -> np.ndarray:
    return _product_moments(predicted, observed, n_images, True)


def _cosine(predicted: Distances, observed: Sequence[_Observed], n_images: int) -> np.ndarray:
    return _product_moments(predicted, observed, n_images, False)


def _whitened(
    predicted: Distances, observed: Sequence[_Observed], n_images: int, centred: bool
) -> np.ndarray:
    """Products of the doubly centred matrices, by their row sums."""
    n, n_columns = n_images, len(observed)
    for column in observed:
        if len(column.images) < n:
            raise ValueError(
                f"whitened scores of {n} images need responses of each subject to all of them, "
                f"and a subject has seen {len(column.images)}: score these, or use "
                "scoring='pearson'."
            )
    row_sums, dots = np.zeros((n_columns + 1, n)), np.zeros((n_columns, 3))
    for rows, block, columns in _strips(predicted, observed, n):
        for number, (mask, y, x) in enumerate(columns):
            dots[number] += x @ x, y @ y, x @ y
            full = np.zeros(block.shape)
            full[mask] = y
            _add_row_sums(row_sums[number + 1], full, rows)
        _add_row_sums(row_sums[0], np.where(mask, block, 0), rows)
    return np.array(
        [_whiten(row_sums[0], row_sums[c + 1], dots[c], n, centred) for c in range(n_columns)]
    )


def _add_row_sums(row_sums: np.ndarray, upper: np.ndarray, rows: slice) -> None:
    row_sums[rows] += upper.sum(axis=1)
    row_sums[rows.start :] += upper.sum(axis=0)


def _whiten(
    x_sums: np.ndarray, y_sums: np.ndarray, dots: np.ndarray, n: int, centred: bool
) -> float:
    sums = ((x_sums, x_sums), (y_sums, y_sums), (x_sums, y_sums))
    traces = np.array([x_sums.sum(), y_sums.sum()]) / (2 * n)
    products = []
    for dot, (a, b), (i, j) in zip(dots, sums, ((0, 0), (1, 1), (0, 1)), strict=True):
        product = (2 * dot - 2 * (a @ b) / n + a.sum() * b.sum() / n**2) / 4
        products.append(product - traces[i] * traces[j] / (n - 1) if centred else product)
    xx, yy, xy = (np.array([p]) for p in products)
    return float(_ratio(xy, xx, yy, np.array([n]))[0])


def _whitened_cosine(predicted: Distances, observed: Sequence[_Observed], n: int) -> np.ndarray:
    return _whitened(predicted, observed, n, False)


def _whitened_pearson(predicted: Distances, observed: Sequence[_Observed], n: int) -> np.ndarray:
    return _whitened(predicted, observed, n, True)


def _rank_moments(
    predicted: Distances, observed: Sequence[_Observed], n_images: int
) -> tuple[np.ndarray, ...]:
    """Sums of squares and products of centred ranks, and numbers of pairs, of each column."""
    images = np.sort(np.random.RandomState(0).permutation(n_images)[:SAMPLE])
    x_edges = _edges(predicted(images, images)[np.triu_indices(len(images), 1)])
    y_edges = [_edges(_sampled(column)) for column in observed]
    counts = [np.zeros((len(x_edges) + 1) * (len(edges) + 1)) for edges in y_edges]
    for _, block, columns in _strips(predicted, observed, n_images):
        x_bins = np.searchsorted(x_edges, block, side="right")
        for count, edges, (mask, y, _) in zip(counts, y_edges, columns, strict=True):
            bins = x_bins[mask] * (len(edges) + 1) + np.searchsorted(edges, y, side="right")
            count += np.bincount(bins, minlength=len(count))
    tables = (count.reshape(len(x_edges) + 1, -1) for count in counts)
    return tuple(np.array(moments) for moments in zip(*map(_moments, tables), strict=True))


def _moments(counts: np.ndarray) -> tuple[float, float, float, float]:
    of_x, of_y, n_pairs = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    x, y = (np.cumsum(c) - c / 2 - n_pairs / 2 for c in (of_x, of_y))  # centred mid-ranks
    return x @ counts @ y, x**2 @ of_x, y**2 @ of_y, n_pairs


def _edges(sample: np.ndarray) -> np.ndarray:
    """Where bins of equal mass begin, or halfway between values where these are few."""
    values = np.unique(sample)
    if len(values) <= N_BINS:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(sample, np.arange(1, N_BINS) / N_BINS))


def _sampled(column: _Observed) -> np.ndarray:
    places = np.sort(np.random.RandomState(0).permutation(len(column.images))[:SAMPLE])
    return column(places, places)[np.triu_indices(len(places), 1)]


def _spearman(predicted: Distances, observed: Sequence[_Observed], n_images: int) -> np.ndarray:
    xy, xx, yy, n_pairs = _rank_moments(predicted, observed, n_images)
    return _ratio(xy, xx, yy, n_pairs)


def _rho_a(predicted: Distances, observed: Sequence[_Observed], n_images: int) -> np.ndarray:
    xy, _, _, n_pairs = _rank_moments(predicted, observed, n_images)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_pairs > 1, 12 * xy / (n_pairs**3 - n_pairs), np.nan)


STREAMED = {
    MEASURES["cosine"]: _cosine,
    MEASURES["pearson"]: _pearson,
    MEASURES["rho_a"]: _rho_a,
    MEASURES["spearman"]: _spearman,
    MEASURES["whitened_cosine"]: _whitened_cosine,
    MEASURES["whitened_pearson"]: _whitened_pearson,
}
