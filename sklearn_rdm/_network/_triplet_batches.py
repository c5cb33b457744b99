"""Mini-batches of triplets in which each distinct image is present once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from skorch.dataset import Dataset
from torch import Tensor

from sklearn_rdm._network._batch_orders import ImageBatches
from sklearn_rdm._network._batches import NetworkInputs, PairBatch
from sklearn_rdm._pairs import ImageTriplets
from sklearn_rdm._pairs._pair_index import as_places, renumber
from sklearn_rdm._pairs._triplets import OTHERS

__all__ = ["OrderedTripletBatches", "TripletBatch", "TripletDataset", "TripletImageBatches"]


@dataclass(frozen=True)
class TripletBatch(PairBatch):
    """Distinct images and the pairs of their triplets, three after another of each triplet.

    Attributes
    ----------
    possible : tuple of bool
        Whether each of the three places can be the odd one out.
    """

    possible: tuple[bool, bool, bool] = (True, True, True)

    def __len__(self) -> int:
        return len(self.index) // 3


class TripletDataset(Dataset):
    """Triplets and choices over kept network inputs, read a whole batch at a time.

    Parameters
    ----------
    triplets : ImageTriplets
        Triplets of this dataset.
    choices : ndarray of int, shape (n_triplets,)
        Places of the odd one out.
    *inputs : array-likes
        Of the used images, as in :class:`NetworkInputs`.
    """

    def __init__(self, triplets: ImageTriplets, choices: np.ndarray, *inputs: Any) -> None:
        super().__init__(triplets, np.asarray(choices, dtype=np.int64), length=len(triplets))
        self.kept = NetworkInputs(triplets.used_images, *inputs)
        self.index = as_places(triplets.index, self.kept.images)
        self.possible = tuple(triplets.possible.tolist())
        self.weights: np.ndarray | None = None  # of the triplets, where they do not count alike

    def __getitem__(self, i: int) -> tuple[TripletBatch, Tensor]:
        return self.__getitems__([i])

    def __getitems__(self, positions: Any) -> tuple[TripletBatch, Tensor]:
        positions = np.asarray(positions)
        present, places = renumber(self.index[positions])
        index = places[:, OTHERS].reshape(-1, 2)
        weights = None if self.weights is None else torch.from_numpy(self.weights[positions])
        batch = TripletBatch(
            **vars(self.kept.batch(present, index, weights)), possible=self.possible
        )
        return batch, torch.from_numpy(self.y[positions])


class TripletImageBatches(ImageBatches):
    """All triplets among mini-batches of images, each image once an epoch.

    Images of all sets are mixed: a loss of choices compares nothing across triplets.

    Parameters
    ----------
    index : ndarray of shape (n_triplets, 3)
        The triplets, as places from 0 without a gap.
    batch_size : int
        Images per batch.
    random_state : RandomState
        Cuts the images anew each epoch.
    """

    sample = "triplet"

    def __init__(self, index: np.ndarray, batch_size: int, random_state: RandomState) -> None:
        images = np.unique(index)
        self.index, self.random_state, self.batch_size = index, random_state, batch_size
        self.sets = [(images, -(-len(images) // batch_size))]
        self.n_images = int(images[-1]) + 1


class OrderedTripletBatches:
    """All triplets once, in their order.

    Parameters
    ----------
    n_triplets : int
        How many there are.
    batch_size : int
        Triplets per batch.
    """

    def __init__(self, n_triplets: int, batch_size: int) -> None:
        self.starts = range(0, n_triplets, batch_size)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in self.starts:
            yield np.arange(start, min(start + self.starts.step, self.starts.stop))
