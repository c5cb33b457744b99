"""Both bounds of the noise ceiling of many images, strip by strip.

Subjects are pooled on each strip by scales, or ranks, that a first pass has counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_rdm._pairs import ResponsePatterns
from sklearn_rdm.metrics._checks import MIN_PAIRS, nobody_to_agree_with
from sklearn_rdm.metrics._measures import Measure
from sklearn_rdm.metrics._rank_bins import RankBins
from sklearn_rdm.metrics._streamed import STREAMED
from sklearn_rdm.metrics._strips import (
    Column,
    Observed,
    Strip,
    Upper,
    open_patterns,
    rows_of_strips,
)

FINE = 2**14  # bins of the ranks that are pooled
SAMPLE = 512  # images, whose pairs tell where bins begin

Rescale = Callable[[np.ndarray], np.ndarray]  # (n_subjects, n_pairs), NaN where one has no value


def streamed_bounds(
    measure: Measure, pooling: str, y: ResponsePatterns
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper scores (n_subjects[, n_times]) of each subject, not squared.

    As ``score_bound`` gives them of all pairs that two or more subjects have.
    """
    y = y[_shared_images(y)]
    subjects, n_times = range(y.n_subjects), y.n_times or 1
    opened = open_patterns(y, [(s, time) for time in range(n_times) for s in subjects])
    at_times = [opened[time * len(subjects) :][: len(subjects)] for time in range(n_times)]
    bounds = np.stack([_bounds(measure, pooling, at, len(y)) for at in at_times], axis=-1)
    lower, upper = bounds if y.n_times else bounds[..., 0]
    return lower, upper


def _shared_images(y: ResponsePatterns) -> np.ndarray:
    """Images that two or more subjects have seen, as a mask; some two must share three of them."""
    seen = y._seen_images()
    in_common = seen.astype(float) @ seen.T
    np.fill_diagonal(in_common, 0)
    if y.n_subjects < 2 or in_common.max() * (in_common.max() - 1) / 2 < MIN_PAIRS:
        raise nobody_to_agree_with(y.n_subjects)
    return seen.sum(axis=0) > 1


def _bounds(measure: Measure, pooling: str, observed: list[Observed], n_images: int) -> np.ndarray:
    """Scores (2, n_subjects) at one time point: against the others, and against all."""
    shared = _Shared(observed, n_images)
    strips = CeilingStrips(shared, RESCALE[pooling](shared))
    return STREAMED[measure](strips).reshape(2, -1)


@dataclass(frozen=True)
class _Shared:
    """Values of all subjects on each strip, of the pairs that two or more of them have."""

    observed: list[Observed]
    n_images: int

    def __iter__(self) -> Iterator[tuple[slice, Upper, np.ndarray]]:
        """Yield rows, where the pairs are in the block, and values (n_subjects, n_pairs)."""
        for rows in rows_of_strips(self.n_images, len(self.observed)):
            upper = Upper(rows.stop - rows.start, self.n_images - rows.start)
            values = [self._of_subject(column, rows, upper) for column in self.observed]
            yield rows, upper, _keep_shared(np.stack(values))

    def sample(self) -> np.ndarray:
        """Values (n_subjects, n_pairs) of some images of each subject."""
        n_each = SAMPLE if self.is_complete else max(SAMPLE // len(self.observed), SAMPLE // 8)
        order = np.random.RandomState(0).permutation(self.n_images)
        chosen = [order[np.isin(order, each.images)][:n_each] for each in self.observed]
        images = np.unique(np.concatenate(chosen))
        values = np.full((len(self.observed), len(images) * (len(images) - 1) // 2), np.nan)
        first, second = np.triu_indices(len(images), 1)
        for row, column in zip(values, self.observed, strict=True):
            known = np.isin(images, column.images)
            row[known[first] & known[second]] = column.within(images[known])
        return _keep_shared(values)

    @property
    def is_complete(self) -> bool:
        """Whether all subjects have seen all images."""
        return all(len(column.images) == self.n_images for column in self.observed)

    def _of_subject(self, column: Observed, rows: slice, upper: Upper) -> np.ndarray:
        of_column, values, images = column.of_strip(rows)
        if len(column.images) == self.n_images:
            return values
        block = np.full(upper, np.nan)
        block[np.ix_(images[: of_column.n_rows], images)] = of_column.put(values)
        return upper.take(block)


def _keep_shared(values: np.ndarray) -> np.ndarray:
    """NaN where one subject alone has the pair."""
    missing = np.isnan(values)
    if missing.any():
        values[:, (~missing).sum(axis=0) < 2] = np.nan
    return values


@dataclass(frozen=True)
class CeilingStrips:
    """Each subject beside the others, then each beside all of them."""

    shared: _Shared
    rescale: Rescale

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.shared.n_images

    def __iter__(self) -> Iterator[Strip]:
        """Yield strips."""
        for rows, upper, values in self.shared:
            yield Strip(rows, upper, self._columns(values))

    def sample(self) -> list[Column]:
        """Both sides of each column on a random part of the pairs."""
        return self._columns(self.shared.sample())

    @property
    def is_complete(self) -> bool:
        """Whether all subjects have seen all images."""
        return self.shared.is_complete

    def _columns(self, values: np.ndarray) -> list[Column]:
        scaled = self.rescale(values)
        others = [_mean(np.delete(scaled, subject, axis=0)) for subject in range(len(values))]
        pools = [*others, *[_mean(scaled)] * len(values)]
        if not np.isnan(values).any():
            return list(zip([*values, *values], pools, strict=True))
        known = [~np.isnan(column) for column in values]
        return [
            (y[rows], pool[rows])
            for y, rows, pool in zip([*values, *values], [*known, *known], pools, strict=True)
        ]


def _mean(scaled: np.ndarray) -> np.ndarray:
    """Mean over the subjects that have the pair."""
    mean = scaled.mean(axis=0)
    if np.isnan(mean).any():
        known = ~np.isnan(scaled)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, scaled, 0).sum(axis=0) / known.sum(axis=0)
    return mean


def _plain(shared: _Shared) -> Rescale:  # noqa: ARG001
    return lambda values: values


def _by_z_score(shared: _Shared) -> Rescale:
    n_pairs, mean, squares = _count(shared)
    scale = _positive(np.sqrt(squares / np.maximum(n_pairs, 1)))
    return lambda values: (values - mean[:, np.newaxis]) / scale[:, np.newaxis]


def _by_root_mean_square(shared: _Shared) -> Rescale:
    n_pairs, mean, squares = _count(shared)
    scale = _positive(np.sqrt(mean**2 + squares / np.maximum(n_pairs, 1)))
    return lambda values: values / scale[:, np.newaxis]


def _positive(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1)


def _count(shared: _Shared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of values of each subject, their mean, and the sum of squares around it.

    Strips are joined as by Chan, Golub and LeVeque, which loses no digits.
    """
    n_pairs, mean, squares = np.zeros((3, len(shared.observed)))
    for _, _, values in shared:
        for subject, row in enumerate(values):
            row = row[~np.isnan(row)]
            if len(row):
                here, total = row.mean(), n_pairs[subject] + len(row)
                step = here - mean[subject]
                squares[subject] += np.sum((row - here) ** 2)
                squares[subject] += step**2 * n_pairs[subject] * len(row) / total
                mean[subject] += step * len(row) / total
                n_pairs[subject] = total
    return n_pairs, mean, squares


def _by_rank(shared: _Shared) -> Rescale:
    """Number of the subject's pairs that are below a value, and of half of those in its bin.

    Stretched to the most pairs that a subject has: by 1 exactly if all have as many, as rounding
    would undo ties of the mean.
    """
    bins = [RankBins(row[~np.isnan(row)], FINE) for row in shared.sample()]
    counts = [np.zeros(len(each)) for each in bins]
    for _, _, values in shared:
        for count, of_subject, row in zip(counts, bins, values, strict=True):
            count += np.bincount(of_subject(row[~np.isnan(row)]), minlength=len(count))
    most = max(count.sum() for count in counts)
    ranks = [(np.cumsum(c) - c / 2) * (most / c.sum() if c.any() else 1) for c in counts]

    def rescale(values: np.ndarray) -> np.ndarray:
        ranked = np.full(values.shape, np.nan)
        for row, each, of_subject, rank in zip(ranked, values, bins, ranks, strict=True):
            known = ~np.isnan(each)
            row[known] = rank[of_subject(each[known])]
        return ranked

    return rescale


RESCALE: dict[str, Callable[[Any], Rescale]] = {
    "mean": _plain,
    "rank": _by_rank,
    "rms": _by_root_mean_square,
    "zscore": _by_z_score,
}
