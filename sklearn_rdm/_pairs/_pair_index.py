"""Which two images each pair compares: explicit, or all pairs of some images without an array.

Everything here takes either, in time and memory linear in the pairs, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils.random import sample_without_replacement

from sklearn_rdm._pairs._dissimilarities import check_not_masked

BLOCK = 2**20  # pairs that are looked at at once: some 10 MB


class AllPairs:
    """The index of all pairs of images, upper triangle row by row, computed where it is read.

    Parameters
    ----------
    n_images : int
        Number of images, 2 or more.
    """

    def __init__(self, n_images: int) -> None:
        if n_images < 2:
            raise ValueError(f"a pair needs 2 images, got {n_images}.")
        self.n_images = n_images

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_images * (self.n_images - 1) // 2, 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Images of some pairs, (n_rows, 2), selected as rows of an array are."""
        rows = as_positions(rows, len(self))
        n = self.n_images
        # The last start <= row: the root of a quadratic, which is exact below 10^7 images.
        first = n - 2 - ((np.sqrt(4.0 * n * (n - 1) - 7 - 8.0 * rows) - 1) / 2).astype(np.int64)
        second = rows - self._start(first) + first + 1
        return np.stack([first, second], axis=1).astype(np.int32)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        index = np.empty(self.shape, dtype=np.int32)
        every, stop = np.arange(self.n_images, dtype=np.int32), 0
        for image in range(self.n_images - 1):
            start, stop = stop, stop + self.n_images - 1 - image
            index[start:stop, 0], index[start:stop, 1] = image, every[image + 1 :]
        return index if dtype is None else index.astype(dtype)

    def draw(self, n_pairs: int, random_state: Any) -> np.ndarray:
        """Index of a random part of the pairs, each as likely and once, in their order."""
        rows = sample_without_replacement(len(self), n_pairs, random_state=random_state)
        return self[np.sort(rows)]

    def rows_among(self, images: np.ndarray) -> np.ndarray:
        """Rows of the pairs of two of these images (ascending), ascending."""
        images = np.asarray(images, dtype=np.int64)
        rows, stop = np.empty(len(images) * (len(images) - 1) // 2, dtype=np.int64), 0
        offsets = self._start(images) - images - 1
        for place, offset in enumerate(offsets[:-1], start=1):
            start, stop = stop, stop + len(images) - place
            rows[start:stop] = offset + images[place:]
        return rows

    def _start(self, image: Any) -> Any:
        """Row of the first pair that begins with an image."""
        return image * (2 * self.n_images - image - 1) // 2


Index = np.ndarray | AllPairs


def as_positions(key: Any, length: int) -> np.ndarray:
    """Numbers from 0 of what a slice, row numbers or a mask select among ``length`` rows."""
    if isinstance(key, slice):
        return np.arange(*key.indices(length))
    key = np.asarray(key)
    if key.dtype == bool:
        if len(key) != length:
            raise IndexError(f"a mask of {len(key)} rows does not fit {length} pairs.")
        return np.flatnonzero(key)
    if key.dtype.kind not in "ui":
        raise IndexError(f"rows are selected by whole numbers, bools or a slice, got {key.dtype}.")
    outside = (key < -length) | (key >= length)
    if outside.any():
        raise IndexError(f"row {key[outside.argmax()]} is out of range for {length} pairs.")
    return np.where(key < 0, key + length, key)


def check_index(index: Any, n_images: int) -> np.ndarray:
    """Return an index as int32, after checking that it names two different images a pair."""
    check_not_masked(index, "index")
    index = np.asarray(index)
    if index.ndim != 2 or index.shape[1] != 2 or len(index) == 0:
        raise ValueError(
            f"index must have shape (n_pairs, 2), n_pairs > 0, got {index.shape}. Of matrices, "
            "ImagePairs.from_rdms(images, rdms) makes pairs."
        )
    if index.dtype.kind not in "ui":
        raise TypeError(f"index must hold integers, row numbers of images, got {index.dtype}.")
    for start, block in blocks(index):
        outside = ((block < 0) | (block >= n_images)).any(axis=1)
        if outside.any():
            pair = outside.argmax()
            raise ValueError(
                f"pair {start + pair} is {block[pair].tolist()}, but there are {n_images} images: "
                f"rows must be from 0 to {n_images - 1}."
            )
        same = block[:, 0] == block[:, 1]
        if same.any():
            raise ValueError(
                f"pair {start + same.argmax()} joins image {block[same.argmax(), 0]} with itself: "
                "its dissimilarity is 0 by definition. Leave such pairs out."
            )
    return index.astype(np.int32)


def blocks(index: Index) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, pairs) of successive blocks."""
    for start in range(0, len(index), BLOCK):
        yield start, index[start : start + BLOCK]


def used_images(index: Index) -> np.ndarray:
    """Images that occur in a pair, or a triplet, ascending."""
    if isinstance(index, AllPairs):
        return np.arange(index.n_images)
    is_used = np.zeros(int(index.max(initial=-1)) + 1, dtype=bool)
    for column in index.T:
        is_used[column] = True
    return np.flatnonzero(is_used)


def as_places(index: Index, images: np.ndarray) -> Index:
    """The index with images replaced by their places among ``images``, which are all used ones."""
    if len(images) == 0 or images[-1] + 1 == len(images):
        return index
    place = np.zeros(images[-1] + 1, dtype=np.int32)
    place[images] = np.arange(len(images))
    return place[index]


def renumber(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images of pairs, or of triplets, ascending, and the index of their places among these."""
    images, places = np.unique(index, return_inverse=True)
    return images, places.reshape(index.shape)  # numpy before 2 flattens them


def image_sets(index: Index) -> np.ndarray:
    """Number the sets of images that chains of pairs connect: one number for each image row.

    Triplets, (n, 3), connect all three of their images.
    """
    if isinstance(index, AllPairs):
        return np.zeros(index.n_images, dtype=np.int32)
    number = np.arange(int(index.max()) + 1, dtype=np.int32)
    for _, block in blocks(index):
        if number[-1] == 0 and not number.any():
            break
        couples = block if block.shape[1] == 2 else np.concatenate([block[:, :2], block[:, 1:]])
        first, second = number[couples].T
        apart = first != second
        if apart.any():  # sets that this block joins
            edges = (np.ones(apart.sum(), bool), (first[apart], second[apart]))
            n_sets = int(number.max()) + 1
            graph = coo_array(edges, shape=(n_sets, n_sets))
            number = connected_components(graph, directed=False)[1][number]
    return number


def rows_within(index: Index, images: np.ndarray) -> np.ndarray:
    """Rows of the pairs of two of these images."""
    if isinstance(index, AllPairs):
        return index.rows_among(np.sort(images))
    return _rows_where(index, images, np.logical_and)


def rows_touching(index: Index, images: np.ndarray) -> np.ndarray:
    """Rows of the pairs with one of these images, or two."""
    if isinstance(index, AllPairs):
        touching = np.ones(len(index), dtype=bool)
        others = np.setdiff1d(np.arange(index.n_images), images)
        touching[index.rows_among(others)] = False
        return np.flatnonzero(touching)
    return _rows_where(index, images, np.logical_or)


def count_within(index: Index, images: np.ndarray) -> int:
    """How many pairs are of two of these images."""
    if isinstance(index, AllPairs):
        return len(images) * (len(images) - 1) // 2
    return sum(int(found.sum()) for found in _masks(index, images, np.logical_and))


def count_touching(index: Index, images: np.ndarray) -> int:
    """How many pairs have one of these images, or two."""
    if isinstance(index, AllPairs):
        n_others = index.n_images - len(images)
        return len(index) - n_others * (n_others - 1) // 2
    return sum(int(found.sum()) for found in _masks(index, images, np.logical_or))


def _rows_where(index: np.ndarray, images: np.ndarray, join: Any) -> np.ndarray:
    found = [np.empty(0, dtype=np.intp)]
    for number, mask in enumerate(_masks(index, images, join)):
        found.append(np.flatnonzero(mask) + number * BLOCK)
    return np.concatenate(found)


def _masks(index: np.ndarray, images: np.ndarray, join: Any) -> Iterator[np.ndarray]:
    is_one = np.zeros(int(max(index.max(initial=0), images.max(initial=0))) + 1, dtype=bool)
    is_one[images] = True
    for _, block in blocks(index):
        yield reduce(join, (is_one[column] for column in block.T))


def has_pair(seen: np.ndarray) -> bool:
    """Whether a subject has seen two of these images."""
    return bool((seen.sum(axis=1) > 1).any())


def sets_of_seen(seen: np.ndarray) -> list[np.ndarray]:
    """Images of each set that chains of pairs seen by a subject connect, those in no pair left out.

    Parameters
    ----------
    seen : ndarray of bool, shape (n_subjects, n_images)
        Which images each subject has seen.
    """
    n_images = seen.shape[1]
    number = np.arange(n_images)
    for images in map(np.flatnonzero, seen):
        if len(images):
            joined = np.isin(number, number[images])
            number[joined] = number[joined].min()
    return [images for images in group(number) if len(images) > 1]


def group(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of equal labels, ascending, in the order of the labels."""
    if not len(labels):
        return []
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
