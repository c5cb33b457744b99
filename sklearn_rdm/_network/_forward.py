"""Run photographs through a network, shard by shard."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_rdm._network._accelerator import BATCH_SIZE, is_host
from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._network._shards import SHARD_SIZE, map_in_threads, pad_to_shard
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._images import (
    are_paths,
    check_images,
    image_digests,
    list_images,
    read_image,
)
from sklearn_rdm._pairs._lazy_images import as_lazy
from sklearn_rdm._pairs._progress import counted
from sklearn_rdm._pairs._whole_files import check_not_cut, map_new

__all__ = ["MEMORY_BUDGET", "Load", "Photographs", "Run", "allocate", "compute_rows"]

MEMORY_BUDGET = 2 << 30  # bytes of one array of activations; a larger one goes to a temporary file

Load = Callable[[np.ndarray], Tensor]  # from rows to inputs of a network
Run = Callable[[Tensor, np.ndarray], Tensor]  # from inputs, and the rows they are of, to values


class Photographs:
    """Images of an array, or in files, as inputs of a network.

    Parameters
    ----------
    source : ImagePairs, array-like of shape (n_images, height, width, 3), paths or a folder
        Of pairs, the array of their images.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    """

    def __init__(self, source: Any, preprocessing: Preprocessing) -> None:
        self.images = _images_of(source)
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.images)

    @property
    def are_lazy(self) -> bool:
        """Whether they are never to be held whole."""
        return getattr(self.images, "is_lazy", False)

    def load(self, rows: np.ndarray) -> Tensor:
        """Inputs (n_rows, 3, height, width) of a network."""
        if are_paths(self.images):  # of any size each
            return torch.cat([self.preprocessing(self._photograph(i)[None]) for i in rows])
        check_not_cut(self.images)
        return self.preprocessing(np.asarray(self.images[rows]), len(self.images))

    def digests(self, rows: np.ndarray) -> list[bytes]:
        """What tells images apart by their content."""
        return [d.tobytes() for d in image_digests(self._photograph(row) for row in rows)]

    def _photograph(self, row: int) -> np.ndarray:
        return read_image(self.images[row]) if are_paths(self.images) else self.images[row]


def _images_of(source: Any) -> Any:
    """An image array, or a list of the paths of image files."""
    if isinstance(source, ImagePairs):
        return source.images
    return list_images(source) if are_paths(source) else check_images(as_lazy(source))


def compute_rows(load: Load, run: Run, rows: np.ndarray, device: Any = "cpu") -> np.ndarray:
    """Stack ``run(load(shard), shard)`` over shards of ``rows``, without gradients, as float32.

    Parameters
    ----------
    load : callable
        Makes inputs of some rows.
    run : callable
        Makes values (n_rows, ...) of these inputs and rows.
    rows : ndarray of int
        What to load.
    device : str, default="cpu"
        Where ``run`` wants its inputs.
    """
    size = SHARD_SIZE if is_host(device) else BATCH_SIZE
    starts = range(0, len(rows), size)

    def load_padded(start: int) -> Tensor:
        return pad_to_shard(load(rows[start : start + size]))

    def run_padded(start: int, inputs: Tensor) -> np.ndarray:
        shard = rows[start : start + size]
        padded = pad_to_shard(torch.from_numpy(shard)).numpy()
        with torch.no_grad():
            values = run(inputs.to(device, non_blocking=True), padded).float()
        return values[: len(shard)].cpu().numpy()

    first = run_padded(0, load_padded(0))
    out = allocate((len(rows), *first.shape[1:]))
    out[: len(first)] = first

    def load_and_fill(start: int) -> None:
        out[start : start + size] = run_padded(start, load_padded(start))

    n_more = len(starts) - 1
    if is_host(device):
        for _ in counted(
            map_in_threads(load_and_fill, starts[1:]), total=n_more, desc="activations"
        ):
            pass
    else:  # one forward pass at a time, while threads decode what follows
        loaded = zip(starts[1:], map_in_threads(load_padded, starts[1:]), strict=True)
        for start, inputs in counted(loaded, total=n_more, desc="activations"):
            out[start : start + size] = run_padded(start, inputs)
    return out


def allocate(shape: Sequence[int]) -> np.ndarray:
    """Empty float32 array, in a temporary file if it exceeds the budget."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= MEMORY_BUDGET:
        return np.empty(shape, dtype=np.float32)
    handle, path = tempfile.mkstemp(prefix="sklearn_rdm_")
    os.close(handle)
    try:
        array = map_new(path, np.float32, shape, "Let TMPDIR name a folder on a larger disk")
    except OSError:
        os.unlink(path)
        raise
    weakref.finalize(array, os.unlink, path)  # until then worker processes can map it by its name
    return array
