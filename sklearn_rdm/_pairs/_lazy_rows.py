"""Rows of arrays that may live on disk: ndarray, memmap, HDF5 dataset, zarr and Dask arrays.

Each library selects rows in its own way. Nothing here reads more than the rows asked for, or the
shortest span that holds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import as_numbers
from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._whole_files import check_not_cut

DENSE = 4  # a span this many times longer than the rows in it is read faster than single rows


class Hdf5Rows:
    """An HDF5 dataset that can be pickled: the file is opened again in each process."""

    def __init__(self, dataset: Any) -> None:
        self.file, self.name = dataset.file.filename, dataset.name
        self._dataset = dataset

    @property
    def dataset(self) -> Any:
        if self._dataset is None:
            h5py = import_optional("h5py", "data")
            self._dataset = h5py.File(self.file, "r")[self.name]
        return self._dataset

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dataset.shape

    @property
    def dtype(self) -> np.dtype:
        return self.dataset.dtype


def as_rows(array: Any) -> Any:
    """Return an array as it is if its rows can be read, else as an ndarray."""
    if isinstance(array, Hdf5Rows):
        return array
    if type(array).__module__.split(".")[0] == "h5py":
        return Hdf5Rows(array)
    if isinstance(array, np.ndarray):
        is_plain = array.dtype != object and not np.ma.isMaskedArray(array)
    else:
        is_plain = _is_lazy(array)
    return array if is_plain else as_numbers(array, "patterns")


def is_in_memory(array: Any) -> bool:
    """Whether reading all of it costs no disk."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def read_rows(array: Any, rows: np.ndarray, axis: int) -> np.ndarray:
    """Rows of one axis as an ndarray, in the order given; a row may occur twice."""
    if isinstance(array, np.ndarray):
        check_not_cut(array)
        return np.asarray(array[_along(axis, rows)])
    unique, places = np.unique(rows, return_inverse=True)
    if len(unique) == 0:
        return np.empty((*array.shape[:axis], 0, *array.shape[axis + 1 :]), dtype=array.dtype)
    first, last = int(unique[0]), int(unique[-1]) + 1
    if last - first <= DENSE * len(unique):
        return _select(array, axis, slice(first, last))[_along(axis, rows - first)]
    return _select(array, axis, unique)[_along(axis, places)]


def _select(array: Any, axis: int, key: Any) -> np.ndarray:
    """Rows by a slice, or by ascending distinct row numbers."""
    if isinstance(array, Hdf5Rows):
        return _select_hdf5(array.dataset, axis, key)
    if hasattr(array, "oindex") and not isinstance(key, slice):  # zarr
        return np.asarray(array.oindex[_along(axis, key)])
    return np.asarray(array[_along(axis, key)])


def _select_hdf5(dataset: Any, axis: int, key: Any) -> np.ndarray:
    if isinstance(key, slice):
        return dataset[_along(axis, key)]
    # h5py takes forty times as long to select a list of rows of a dataset in chunks.
    return np.stack([dataset[_along(axis, int(row))] for row in key], axis=axis)


def _along(axis: int, key: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * axis, key)


def _is_lazy(array: Any) -> bool:
    """Whether it has numpy's way of selecting rows, as zarr, Dask and xarray have."""
    is_typed = isinstance(getattr(array, "dtype", None), np.dtype)
    return is_typed and hasattr(array, "__getitem__") and len(getattr(array, "shape", ())) > 1
