"""All pairs of many images, strip by strip, so that nothing of size n^2 is held.

A strip holds some images, with one another and with all images after them: each pair is in one
strip. What is compared on it are columns ``(y, x)``: values of the pairs that a subject has, and
what they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._pair_index import AllPairs
from sklearn_rdm._pairs._pattern_distances import Features, distances_between

ALL_PAIRS = 2**24  # numbers: scores of so few are computed from all of them
BLOCK = 2**21  # pairs of a strip
SAMPLE = 256  # images, whose pairs tell how values are distributed

Distances = Callable[[Any, Any], np.ndarray]  # of some images (rows) to others (columns)
Column = tuple[np.ndarray, np.ndarray]  # y, x


def is_large(y: Any) -> bool:
    """Whether these are responses to so many images that their pairs are streamed."""
    if not isinstance(y, ResponsePatterns):
        return False
    n_columns = y.n_subjects * (y.n_times or 1) + 1
    return len(AllPairs(max(len(y), 2))) * n_columns > ALL_PAIRS


class Upper(NamedTuple):
    """Where the pairs of a strip are in its block (n_rows, n_columns), from the diagonal on."""

    n_rows: int
    n_columns: int

    def take(self, block: np.ndarray) -> np.ndarray:
        """Values of the pairs: those of two rows first."""
        n_later = self.n_columns - self.n_rows
        values = np.empty(self._n_own + self.n_rows * n_later)
        values[: self._n_own] = block[:, : self.n_rows][self._above]
        values[self._n_own :].reshape(self.n_rows, n_later)[:] = block[:, self.n_rows :]
        return values

    def put(self, values: np.ndarray) -> np.ndarray:
        """Return a block with these values, and 0 where there is no pair."""
        block = np.zeros(self)
        block[:, : self.n_rows][self._above] = values[: self._n_own]
        block[:, self.n_rows :] = values[self._n_own :].reshape(
            self.n_rows, self.n_columns - self.n_rows
        )
        return block

    @property
    def _n_own(self) -> int:
        return self.n_rows * (self.n_rows - 1) // 2

    @property
    def _above(self) -> np.ndarray:
        return np.triu(np.ones((self.n_rows, self.n_rows), dtype=bool), 1)


class Strip(NamedTuple):
    """Some images, where their pairs are in the block, and the columns of these."""

    rows: slice
    upper: Upper
    columns: list[Column]


class Strips(Protocol):
    """What scores read, as often as they need."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        ...

    def __iter__(self) -> Iterator[Strip]:
        """Yield all strips, with the same columns."""
        ...

    def sample(self) -> list[Column]:
        """Values of each column, y and x, on a random part of the pairs, each by itself."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether each column has all pairs."""
        ...


@dataclass(frozen=True)
class Observed:
    """Measured dissimilarities of one subject at one time, of the images that it has seen."""

    images: np.ndarray
    features: Features

    def __call__(self, rows: Any, columns: Any) -> np.ndarray:
        """Distances between the images that it has seen, counted among these."""
        return distances_between(self.features, rows, columns)

    def within(self, images: np.ndarray) -> np.ndarray:
        """Distances of all pairs of these images (ascending), which it has seen."""
        places = np.searchsorted(self.images, images)
        return self(places, places)[np.triu_indices(len(images), 1)]

    def of_strip(self, rows: slice) -> tuple[Upper, np.ndarray, np.ndarray]:
        """Where its pairs of a strip are among those that it has seen, their values, the images.

        Images are counted from the first row on.
        """
        first, last = np.searchsorted(self.images, [rows.start, rows.stop])
        upper = Upper(int(last - first), len(self.images) - int(first))
        values = upper.take(self(slice(first, last), slice(first, None)))
        return upper, values, self.images[first:] - rows.start


def open_patterns(y: ResponsePatterns, columns: Sequence[tuple[int, int]]) -> list[Observed]:
    """Dissimilarities of subjects at time points; features are centred, which saves digits."""
    opened = {subject: y._courses(subject) for subject, _ in columns}
    observed = []
    for subject, time in columns:
        images, courses = opened[subject]
        values = courses[time].values
        if len(values):
            values = values - values.mean(axis=0)
        observed.append(Observed(images, Features(values, courses[time].n_plus)))
    return observed


def rows_of_strips(n_images: int, n_columns: int = 1) -> Iterator[slice]:
    """Images of each strip, of which so many numbers per pair fill a block."""
    step = max(BLOCK // (n_columns * n_images), 1)
    for start in range(0, n_images - 1, step):
        yield slice(start, min(start + step, n_images))


def random_images(images: np.ndarray, n_images: int = SAMPLE) -> np.ndarray:
    """Some of these images, ascending; the same each time."""
    return np.sort(np.random.RandomState(0).permutation(images)[:n_images])


@dataclass(frozen=True)
class ScoreStrips:
    """A prediction beside the measurements of subjects (or of their time points)."""

    predicted: Distances
    observed: Sequence[Observed]
    n_images: int

    def __iter__(self) -> Iterator[Strip]:
        """Yield strips, of which complete columns share their ``x``."""
        for rows in rows_of_strips(self.n_images):
            block = self.predicted(rows, slice(rows.start, self.n_images))
            upper = Upper(*block.shape)
            every = upper.take(block) if any(map(self._has_all, self.observed)) else None
            columns: list[Column] = []
            for column in self.observed:
                of_column, y, images = column.of_strip(rows)
                x = every
                if x is None or not self._has_all(column):
                    x = of_column.take(block[np.ix_(images[: of_column.n_rows], images)])
                columns.append((y, x))
            yield Strip(rows, upper, columns)

    def sample(self) -> list[Column]:
        """Measured values of images that the subject has seen, predicted ones of any."""
        images = random_images(np.arange(self.n_images))
        x = self.predicted(images, images)[np.triu_indices(len(images), 1)]
        return [(column.within(random_images(column.images)), x) for column in self.observed]

    @property
    def is_complete(self) -> bool:
        """Whether all subjects have seen all images."""
        return all(map(self._has_all, self.observed))

    def _has_all(self, column: Observed) -> bool:
        return len(column.images) == self.n_images


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


class Checked:
    """Predictions that must be finite, as float64."""

    def __init__(self, distances: Distances) -> None:
        self.distances = distances

    def __call__(self, rows: Any, columns: Any) -> np.ndarray:
        """Predictions of some images (rows) to others (columns)."""
        block = np.asarray(self.distances(rows, columns), dtype=np.float64)
        if not np.isfinite(block).all():
            raise ValueError("predictions are NaN or infinite: the model diverged.")
        return block
