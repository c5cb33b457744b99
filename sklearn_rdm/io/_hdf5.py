"""Items of HDF5 files, opened only if they lie in the file itself and fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm.io._budget import Budget

__all__ = ["check_hdf5", "open_item"]

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


def check_hdf5(path: Path, budget: Budget) -> None:
    """Raise an error if the file reaches into other files, or takes too much memory."""
    h5py = import_optional("h5py", "data")

    def check(group: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError(f"group {group.name!r} is nested more than {DEEPEST} deep")
        for key in group:
            item = open_item(group, key, budget)
            if isinstance(item, h5py.Group):
                check(item, depth + 1)

    with h5py.File(path) as file:
        check(file, 0)
