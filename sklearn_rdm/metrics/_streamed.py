"""Scores of all pairs of many images, strip by strip.

Pearson, cosine and their whitened versions are sums over pairs and images, so that they are exact.
Of Spearman and rho_a, ranks are counted in 512 bins of about equal mass: within 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sklearn_rdm._pairs import ResponsePatterns
from sklearn_rdm.metrics._checks import warn_undefined
from sklearn_rdm.metrics._measures import MEASURES, Measure, average_scores
from sklearn_rdm.metrics._rank_bins import RankBins, mid_ranks
from sklearn_rdm.metrics._strips import (
    Checked,
    ScoreStrips,
    Strips,
    Upper,
    open_distances,
    open_patterns,
)

COLUMNS = 8  # subjects or time points that are counted at a time


def streamed_score(measure: Measure, estimator: Any, images: Any, y: ResponsePatterns) -> float:
    """Mean over subjects of a measure between predicted and measured dissimilarities."""
    y._check_images(images)
    predicted = Checked(open_distances(estimator, images))
    columns = [(subject, time) for subject in range(y.n_subjects) for time in range(y.n_times or 1)]
    parts = [columns[start : start + COLUMNS] for start in range(0, len(columns), COLUMNS)]
    strips = (ScoreStrips(predicted, open_patterns(y, part), len(y)) for part in parts)
    scores = np.concatenate([STREAMED[measure](each) for each in strips])
    scores = scores.reshape(y.n_subjects, y.n_times) if y.n_times else scores
    warn_undefined(scores)
    return float(average_scores(scores, subject_average=True, time_average=True))


def _product_moments(strips: Strips, *, centred: bool) -> np.ndarray:
    """Correlations, or cosines, (n_columns,)."""
    sums: np.ndarray | None = None
    for _, _, columns in strips:
        if sums is None:
            sums = np.zeros((len(columns), 6))
            # near the means, so that no digits are lost
            shifts = [(_mean(y), _mean(x)) if centred else (0.0, 0.0) for y, x in columns]
        for number, (y, x) in enumerate(columns):
            y, x = y - shifts[number][0], x - shifts[number][1]
            sums[number] += len(y), y.sum(), x.sum(), y @ y, x @ x, x @ y
    assert sums is not None
    n, y_sum, x_sum, yy, xx, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        if centred:
            yy, xx, xy = yy - y_sum**2 / n, xx - x_sum**2 / n, xy - x_sum * y_sum / n
        return _ratio(xy, xx, yy, n)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, n_pairs: np.ndarray) -> np.ndarray:
    """``xy / sqrt(xx yy)``, NaN where a side is constant or there are fewer than two pairs."""
    defined = (n_pairs > 1) & (xx > 0) & (yy > 0)
    scale = np.sqrt(np.where(defined, xx, 1)) * np.sqrt(np.where(defined, yy, 1))
    return np.where(defined, np.clip(xy / scale, -1, 1), np.nan)


def _whitened(strips: Strips, *, centred: bool) -> np.ndarray:
    """Products of the doubly centred matrices, by their row sums."""
    n = strips.n_images
    if not strips.is_complete:
        raise ValueError(
            f"whitened scores of {n} images need responses of each subject to all of them, and a "
            "subject has not seen all: leave out images or subjects, or use scoring='pearson'."
        )
    sums: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # of rows of x and y, of products
    for rows, upper, columns in strips:
        sums = sums or [(np.zeros(n), np.zeros(n), np.zeros(3)) for _ in columns]
        for (x_sums, y_sums, dots), (y, x) in zip(sums, columns, strict=True):
            dots += x @ x, y @ y, x @ y
            _add_row_sums(x_sums, upper, x, rows)
            _add_row_sums(y_sums, upper, y, rows)
    return np.array([_whiten(*each, n, centred) for each in sums])


def _add_row_sums(row_sums: np.ndarray, upper: Upper, values: np.ndarray, rows: slice) -> None:
    block = upper.put(values)
    row_sums[rows] += block.sum(axis=1)
    row_sums[rows.start :] += block.sum(axis=0)


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


def _rank_moments(strips: Strips) -> tuple[np.ndarray, ...]:
    """Sums of squares and products of centred ranks, and numbers of pairs, of each column."""
    sample = strips.sample()
    made = {id(values): RankBins(values) for column in sample for values in column}
    bins = [(made[id(y)], made[id(x)]) for y, x in sample]
    counts = [np.zeros((len(of_x), len(of_y))) for of_y, of_x in bins]
    for _, _, columns in strips:
        found: dict[int, np.ndarray] = {}  # columns may share an array, whose bins are then theirs
        for count, (of_y, of_x), (y, x) in zip(counts, bins, columns, strict=True):
            for values, of_values in ((y, of_y), (x, of_x)):
                if id(values) not in found:
                    found[id(values)] = of_values(values)
            cells = np.multiply(found[id(x)], len(of_y), dtype=np.intp)
            cells += found[id(y)]
            count += np.bincount(cells, minlength=count.size).reshape(count.shape)
    return tuple(np.array(moments) for moments in zip(*map(_moments, counts), strict=True))


def _moments(counts: np.ndarray) -> tuple[float, float, float, float]:
    of_x, of_y = counts.sum(axis=1), counts.sum(axis=0)
    x, y = mid_ranks(of_x), mid_ranks(of_y)
    return x @ counts @ y, x**2 @ of_x, y**2 @ of_y, counts.sum()


def _spearman(strips: Strips) -> np.ndarray:
    xy, xx, yy, n_pairs = _rank_moments(strips)
    return _ratio(xy, xx, yy, n_pairs)


def _rho_a(strips: Strips) -> np.ndarray:
    xy, _, _, n_pairs = _rank_moments(strips)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_pairs > 1, 12 * xy / (n_pairs**3 - n_pairs), np.nan)


STREAMED: dict[Measure, Callable[[Strips], np.ndarray]] = {
    MEASURES["cosine"]: partial(_product_moments, centred=False),
    MEASURES["pearson"]: partial(_product_moments, centred=True),
    MEASURES["rho_a"]: _rho_a,
    MEASURES["spearman"]: _spearman,
    MEASURES["whitened_cosine"]: partial(_whitened, centred=False),
    MEASURES["whitened_pearson"]: partial(_whitened, centred=True),
}
