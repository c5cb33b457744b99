"""Mini-batches of pairs in which each distinct image is present once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from skorch.dataset import Dataset
from torch import Tensor

from sklearn_rdm._models._distances import unit_pair_distances
from sklearn_rdm._network._accelerator import is_host, take
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._pair_index import (
    AllPairs,
    Index,
    as_places,
    blocks,
    group,
    has_pair,
    image_sets,
    renumber,
    used_images,
)

__all__ = [
    "ImageBatches",
    "OrderedBatches",
    "OrderedPatternBatches",
    "PairBatch",
    "PairBatches",
    "PairDataset",
    "PatternBatches",
    "PatternDataset",
    "ReadAhead",
]

BATCHES_AHEAD = 2  # read while the network computes
PAIRS_AT_ONCE = 1 << 16  # in evaluation, where nothing is kept for a backward pass


@dataclass(frozen=True)
class PairBatch:
    """Distinct images and the pairs among them.

    Attributes
    ----------
    inputs : Tensor of shape (n_images, ...)
        Values at the network's cut, one row per distinct image, then one per reference.
    index : Tensor of int64, shape (n_pairs, 2)
        Rows of ``inputs``.
    images : ndarray of shape (n_images,)
        The same images as rows of the ``ImagePairs`` they come from, for messages.
    references : Tensor of int64, shape (n_images,), or None
        The reference of each image, counted from the first of them.
    weights: Tensor of shape (n_pairs,), or None
        How much each pair counts in the loss; None: all alike.
    untrained: Tensor of shape (n_pairs,), or None
        Dissimilarities by the untrained network, if training is to stay near them.
    """

    inputs: Tensor
    index: Tensor
    images: np.ndarray
    references: Tensor | None = None
    weights: Tensor | None = None
    untrained: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: Any) -> PairBatch:
        """Copy to a device, without waiting where the memory is pinned."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PairBatch:
        """Put the tensors where a GPU can fetch them (called by DataLoader)."""
        return self._with_tensors(
            lambda tensor: tensor.pin_memory() if is_host(tensor.device) else tensor
        )

    def _with_tensors(self, function: Callable[[Tensor], Tensor]) -> PairBatch:
        return replace(
            self,
            inputs=function(self.inputs),
            index=function(self.index),
            references=None if self.references is None else function(self.references),
            weights=None if self.weights is None else function(self.weights),
            untrained=None if self.untrained is None else function(self.untrained),
        )


class NetworkInputs:
    """Kept network inputs of images and of their references, looked up for mini-batches.

    Parameters
    ----------
    images : ndarray of int, shape (n_used_images,)
        Rows of the ``ImagePairs``, ascending.
    inputs : array-like or Tensor
        Network inputs, to be indexed by arrays of places; a tensor may be on a GPU.
    places : ndarray of shape (n_used_images,)
        Where in ``inputs`` these images are.
    references : array-like of shape (n_references, ...), default=None
        Network inputs of the reference images, on the same device.
    reference_of : ndarray of shape (n_used_images,), default=None
        The reference of each of the images.

    Attributes
    ----------
    untrained : ndarray of shape (n_used_images, n_features), or None
        Features by the untrained network, whose products are correlations.
    """

    untrained: np.ndarray | None = None

    def __init__(
        self,
        images: np.ndarray,
        inputs: Any,
        places: np.ndarray,
        references: Any = None,
        reference_of: np.ndarray | None = None,
    ) -> None:
        self.images, self.inputs, self.places = images, inputs, places
        self.references, self.reference_of = references, reference_of

    def batch(
        self, present: np.ndarray, index: np.ndarray, weights: Tensor | None = None
    ) -> PairBatch:
        """Some of the images, by position, and pairs of these."""
        inputs, references, untrained = take(self.inputs, self.places[present]), None, None
        if self.references is not None and self.reference_of is not None:
            used, reference_of = np.unique(self.reference_of[present], return_inverse=True)
            inputs = torch.cat([inputs, take(self.references, used)])
            references = torch.from_numpy(reference_of.reshape(-1))
        if self.untrained is not None:
            untrained = torch.from_numpy(unit_pair_distances(self.untrained[present], index))
        images, pairs = self.images[present], torch.from_numpy(index)
        return PairBatch(inputs, pairs, images, references, weights, untrained)


class PairDataset(Dataset):
    """Labelled pairs over kept network inputs, read a whole batch at a time.

    Parameters
    ----------
    pairs : ImagePairs
        Pairs of this dataset.
    target : ndarray of shape (n_pairs,)
        Pooled dissimilarities.
    *inputs : array-likes
        Of the used images, as in :class:`NetworkInputs`.
    """

    def __init__(self, pairs: ImagePairs, target: np.ndarray, *inputs: Any) -> None:
        super().__init__(pairs, np.asarray(target, dtype=np.float32), length=len(pairs))
        self.kept = NetworkInputs(pairs.used_images, *inputs)
        self.index = as_places(pairs._index, self.kept.images)
        self.weights: np.ndarray | None = None  # of the pairs, where they do not count alike

    def __getitem__(self, i: int) -> tuple[PairBatch, Tensor]:
        return self.__getitems__([i])

    def __getitems__(self, positions: Any) -> tuple[PairBatch, Tensor]:
        positions = np.asarray(positions)
        present, index = renumber(self.index[positions])
        weights = None if self.weights is None else torch.from_numpy(self.weights[positions])
        batch = self.kept.batch(present, index, weights)
        return batch, torch.from_numpy(self.y[positions])


class PatternDataset(Dataset):
    """Images with measured responses; a batch is some images and all labelled pairs among them.

    Parameters
    ----------
    pairs : ImagePairs
        All pairs of the images, for the images.
    patterns : ResponsePatterns
        Responses to the used images.
    seen : ndarray of bool, shape (n_subjects, n_used_images)
        Which of them each subject has seen.
    target : callable
        ``target(patterns, index)`` makes pooled targets of pairs, NaN where there is none.
    images : ndarray of int, shape (n_used_images,)
        Rows of ``pairs.images``.
    *inputs : array-likes
        Of the used images, as in :class:`NetworkInputs`.
    """

    def __init__(
        self,
        pairs: ImagePairs,
        patterns: Any,
        seen: np.ndarray,
        target: Any,
        images: np.ndarray,
        *inputs: Any,
    ) -> None:
        super().__init__(pairs, patterns, length=len(images))
        self.seen, self.target = seen, target
        self.kept = NetworkInputs(images, *inputs)

    def __getitem__(self, i: int) -> tuple[PairBatch, Tensor]:
        return self.__getitems__([i])

    def __getitems__(self, positions: Any) -> tuple[PairBatch, Tensor]:
        present = np.sort(np.asarray(positions))
        if len(present) < 2:
            raise ValueError("one image makes no pair: take two or more of the dataset.")
        index = np.column_stack(np.triu_indices(len(present), 1))
        target = self.target(self.y[present], index)
        known = ~np.isnan(target)
        paired, index = renumber(index[known])
        batch = self.kept.batch(present[paired], index)
        return batch, torch.from_numpy(target[known].astype(np.float32))


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


class ReadAhead:
    """Mini-batches that a thread reads while the network computes on those before.

    Parameters
    ----------
    loader : iterable
        Gives the mini-batches.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        # A new thread would begin with OpenMP's own number of threads.
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as reader:
            coming = deque(reader.submit(next, batches, None) for _ in range(BATCHES_AHEAD))
            while (batch := coming.popleft().result()) is not None:
                coming.append(reader.submit(next, batches, None))
                yield batch
