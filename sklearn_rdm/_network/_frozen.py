"""What frozen layers make of images: computed once, kept in memory or in a store on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sklearn_rdm._network._accelerator import is_host, take
from sklearn_rdm._network._forward import MEMORY_BUDGET, Photographs, Run, compute_rows
from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._network._shards import pad_to_shard
from sklearn_rdm._network._store import ActivationStore, has_location
from sklearn_rdm._network._trunk import Trunk

__all__ = ["Decoded", "Kept", "keep_frozen", "keep_rows", "store_key"]

PROBE_SHAPE = (1, 96, 128, 3)  # a photograph of noise


@dataclass(frozen=True)
class Kept:
    """Values of images that are looked up instead of computed.

    Attributes
    ----------
    values : array-like
        To be indexed by arrays of places.
    images : ndarray of int, shape (n_images,)
        Numbers of the images, sorted.
    places : ndarray of int, shape (n_images,)
        Where in ``values`` they are.
    """

    values: Any
    images: np.ndarray
    places: np.ndarray

    def load(self, rows: np.ndarray) -> Tensor:
        """Values of the images of these numbers."""
        return take(self.values, self.places[np.searchsorted(self.images, rows)])


def keep_frozen(
    trunk: Trunk, photographs: Photographs, rows: np.ndarray, *, memory: Any = None, device: Any
) -> Kept:
    """Compute what the frozen prefix makes of some images, once.

    Parameters
    ----------
    trunk : Trunk
        The cut network.
    photographs, rows : Photographs and sorted ndarray of int
        Images, and which of them are needed.
    memory : str, path or joblib.Memory, default=None
        Where the result is kept and looked up first, if any layer is frozen.
    device : str
        Where the network is.

    Returns
    -------
    kept : Kept
        Inputs of ``trunk.suffix``.
    """

    def run(inputs: Tensor, _: np.ndarray) -> Tensor:
        return trunk.prefix(inputs)

    if trunk.has_prefix and has_location(memory):
        key = store_key(trunk, "prefix", photographs.preprocessing, device)
        return keep_rows(run, photographs, rows, memory=memory, key=key, device=device)
    n_bytes = 12 * len(rows) * np.prod(photographs.preprocessing.size)
    if not trunk.has_prefix and (photographs.are_lazy or n_bytes > MEMORY_BUDGET):
        # Decoding again is cheaper than reading floats from disk.
        return Kept(Decoded(photographs), rows, rows)
    values = compute_rows(photographs.load, run, rows, device)
    return Kept(values, rows, np.arange(len(rows)))


def keep_rows(
    run: Run,
    photographs: Photographs,
    rows: np.ndarray,
    *,
    memory: Any,
    key: str,
    device: Any,
) -> Kept:
    """Values of some images, looked up in the store of a memory, and computed where missing.

    Parameters
    ----------
    run : callable
        Makes values of photographs.
    photographs, rows, memory, device
        As in :func:`keep_frozen`.
    key : str
        What the values depend on besides the images.
    """
    probe = photographs.preprocessing

    def compute_probe() -> np.ndarray:
        return compute_rows(lambda _: _probe_input(probe), run, np.zeros(1, np.intp), device)[0]

    def compute(some: Any) -> np.ndarray:
        return compute_rows(photographs.load, run, np.asarray(some), device)

    store = ActivationStore(memory, key, compute_probe)
    values, places = store.rows(rows.tolist(), photographs.digests(rows), compute)
    return Kept(values, rows, places)


def store_key(trunk: Trunk, part: Literal["prefix", "whole"], settings: Any, device: Any) -> str:
    """What the values of a part of a network depend on besides the images."""
    where = "" if is_host(device) else torch.device(device).type  # a GPU rounds otherwise
    return f"{trunk.key(part)}{settings}{where}"


def _probe_input(preprocessing: Preprocessing) -> Tensor:
    noise = np.random.RandomState(0).randint(0, 256, PROBE_SHAPE).astype(np.uint8)
    return pad_to_shard(preprocessing(noise))


class Decoded:
    """Network inputs made of photographs each time they are asked for."""

    def __init__(self, photographs: Photographs) -> None:
        self.photographs = photographs

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.photographs.load(rows).numpy()
