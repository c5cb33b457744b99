"""What a mini-batch holds, each distinct image once, and the data sets that make it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from skorch.dataset import Dataset
from torch import Tensor

from sklearn_rdm._models._distances import unit_pair_distances
from sklearn_rdm._network._accelerator import is_host, take
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._pair_index import as_places, renumber

__all__ = ["NetworkInputs", "PairBatch", "PairDataset", "PatternDataset", "ReadAhead"]

BATCHES_AHEAD = 2  # read while the network computes


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
