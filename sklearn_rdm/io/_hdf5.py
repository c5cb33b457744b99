"""Items of HDF5 files, opened only if they lie in the file itself and fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm.io._budget import Budget

__all__ = ["open_item", "read_parts"]

DEEPEST = 20  # groups inside each other


def open_item(parent: Any, key: Any, budget: Budget) -> Any:
    """A group, or a dataset whose size is counted; an error if it lies in another file."""
    h5py = import_optional("h5py", "data")
    if isinstance(key, str) and isinstance(parent.get(key, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{key!r} is a link to another file; copy its data into this one")
    item = parent[key]
    if not isinstance(item, h5py.Dataset):
        budget.spend(0, "a group")
        return item
    if item.external or item.is_virtual:
        raise ValueError(f"{item.name!r} lies in another file; copy its data into this one")
    budget.spend(item.size or 0, f"{item.name!r}", item.dtype.itemsize)
    return item


def read_parts(path: Path, names: Sequence[str], budget: Budget) -> dict[str, Any]:
    """Some datasets and groups of a file as arrays and dicts.

    Attributes are not read: libhdf5 may loop for ever in damaged ones.
    """
    h5py = import_optional("h5py", "data")
    with h5py.File(path) as file:
        return {name: _read(file, _present(file, name), budget, 0) for name in names}


def _present(file: Any, name: str) -> str:
    """The name of what is there."""
    if name not in file:
        raise ValueError(
            f"it has no {name!r}, only {sorted(file)[:9]}: HDF5 files are read as rsatoolbox "
            "writes them. Save arrays of another one as .npz or .mat"
        )
    return name


def _read(parent: Any, name: str, budget: Budget, depth: int) -> Any:
    h5py = import_optional("h5py", "data")
    item = open_item(parent, name, budget)
    if depth > DEEPEST:
        raise ValueError(f"group {item.name!r} is nested more than {DEEPEST} deep")
    if isinstance(item, h5py.Group):
        return {key: _read(item, key, budget, depth + 1) for key in item}
    if item.shape is None:
        return None
    values = np.asarray(item.asstr()[()] if item.dtype.kind == "O" else item[()])
    return values.astype(str) if values.dtype.kind == "S" else values
