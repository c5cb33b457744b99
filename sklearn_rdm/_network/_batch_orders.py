"""Which samples each mini-batch has, drawn at random or in their order: torch's batch samplers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.random import RandomState

from sklearn_rdm._pairs._pair_index import (
    AllPairs,
    Index,
    blocks,
    group,
    has_pair,
    image_sets,
    used_images,
)

__all__ = [
    "ImageBatches",
    "OrderedBatches",
    "OrderedPatternBatches",
    "PairBatches",
    "PatternBatches",
]

PAIRS_AT_ONCE = 1 << 16  # in evaluation, where nothing is kept for a backward pass


class PairBatches:
    """Random mini-batches of pairs, as in the paper.

    Parameters
    ----------
    index : ndarray of shape (n_pairs, 2), or AllPairs
        The pairs; a batch is an array of row numbers of it.
    batch_size : int
        Pairs per batch.
    random_state : RandomState
        Orders the pairs anew each epoch.
    drop_last : bool, default=False
        Whether pairs that are left over wait for another epoch.
    """

    def __init__(
        self, index: Index, batch_size: int, random_state: RandomState, drop_last: bool = False
    ) -> None:
        self.n_pairs, self.batch_size, self.random_state = len(index), batch_size, random_state
        self.n_batches = self.n_pairs // batch_size if drop_last else -(-self.n_pairs // batch_size)
        if self.n_batches == 0:
            raise ValueError(
                f"{self.n_pairs} pairs do not fill a mini-batch of {batch_size}, and "
                "iterator_train__drop_last=True leaves out incomplete ones: set it to False, or "
                "set a smaller batch_size."
            )

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[np.ndarray]:
        order = self.random_state.permutation(self.n_pairs)
        for start in range(0, self.n_batches * self.batch_size, self.batch_size):
            yield order[start : start + self.batch_size]


class ImageBatches:
    """All pairs among mini-batches of images, each image once an epoch.

    Images that no chain of pairs connects (other image sets) never share a batch. Each set is cut
    into batches of near equal size; the pairs across batches wait for another epoch.

    Parameters
    ----------
    index, batch_size, random_state
        As in :class:`PairBatches`, but ``batch_size`` counts images.
    """

    sample = "pair"

    def __init__(self, index: Index, batch_size: int, random_state: RandomState) -> None:
        self.index, self.random_state = index, random_state
        in_set = image_sets(index)
        sets = [np.flatnonzero(in_set == s) for s in np.unique(in_set[used_images(index)])]
        self.sets = [(images, -(-len(images) // batch_size)) for images in sets]
        self.n_images, self.batch_size = len(in_set), batch_size

    def __len__(self) -> int:
        return sum(n_batches for _, n_batches in self.sets)

    def __iter__(self) -> Iterator[np.ndarray]:
        batches = self._pairs_of(self._cut())
        if not batches:
            raise ValueError(
                f"no measured {self.sample} has all its images in one mini-batch of "
                f"{self.batch_size} of the {self.n_images} images: use batching='{self.sample}s', "
                "or a larger batch_size."
            )
        for number in self.random_state.permutation(len(batches)):
            yield batches[number]

    def _cut(self) -> np.ndarray:
        """The batch of each image."""
        batch_of = np.empty(self.n_images, dtype=np.int32)
        n_before = 0
        for images, n_batches in self.sets:
            places = np.arange(len(images)) * n_batches // len(images)
            batch_of[self.random_state.permutation(images)] = n_before + places
            n_before += n_batches
        return batch_of

    def _pairs_of(self, batch_of: np.ndarray) -> list[np.ndarray]:
        """Rows of the pairs within each batch that has some."""
        if isinstance(self.index, AllPairs):
            cut = [self.index.rows_among(images) for images in group(batch_of)]
            return [pairs for pairs in cut if len(pairs)]
        inside = []
        for start, block in blocks(self.index):
            first, *others = batch_of[block].T
            together = reduce(np.logical_and, (first == other for other in others))
            inside.append(start + np.flatnonzero(together))
        rows = np.concatenate(inside)
        return [rows[pairs] for pairs in group(batch_of[self.index[rows, 0]])]


class PatternBatches(ImageBatches):
    """The same mini-batches as arrays of images, of whose pairs nothing is listed.

    Parameters
    ----------
    sets : list of ndarray
        The images of each set, as positions, ascending.
    seen : ndarray of bool, shape (n_subjects, n_images)
        Which of the images each subject has seen: one that saw two labels a pair.
    batch_size, random_state
        As in :class:`ImageBatches`.
    """

    def __init__(
        self, sets: list[np.ndarray], seen: np.ndarray, batch_size: int, random_state: RandomState
    ) -> None:
        self.seen, self.random_state = seen, random_state
        self.sets = [(images, -(-len(images) // batch_size)) for images in sets]
        self.n_images, self.batch_size = seen.shape[1], batch_size

    def _pairs_of(self, batch_of: np.ndarray) -> list[np.ndarray]:
        in_set = np.concatenate([images for images, _ in self.sets])
        in_set.sort()
        batches = [in_set[rows] for rows in group(batch_of[in_set])]
        return [images for images in batches if has_pair(self.seen[:, images])]


class OrderedPatternBatches:
    """Images in their order, cut so that the pairs among each part fit memory.

    Parameters
    ----------
    seen : ndarray of bool, shape (n_subjects, n_images)
        As in :class:`PatternBatches`.
    """

    def __init__(self, seen: np.ndarray) -> None:
        n_images, most = seen.shape[1], int(np.sqrt(2 * PAIRS_AT_ONCE))
        parts = np.array_split(np.arange(n_images), -(-n_images // most))
        self.batches = [part for part in parts if has_pair(seen[:, part])]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.batches)


class OrderedBatches:
    """All pairs once, in their order, in as few batches as memory allows.

    Parameters
    ----------
    index : ndarray of shape (n_pairs, 2), or AllPairs
        The pairs.
    """

    def __init__(self, index: Index) -> None:
        self.n_pairs = len(index)

    def __len__(self) -> int:
        return -(-self.n_pairs // PAIRS_AT_ONCE)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.n_pairs, PAIRS_AT_ONCE):
            yield np.arange(start, min(start + PAIRS_AT_ONCE, self.n_pairs))
