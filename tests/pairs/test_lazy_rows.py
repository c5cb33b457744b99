"""Rows of arrays on disk, against the same rows in memory."""

import pickle

import h5py
import numpy as np
import pandas as pd
import pytest

from sklearn_rdm._pairs._lazy_rows import Hdf5Rows, as_rows, is_in_memory, read_rows

SHAPE = (40, 30, 5)
ROWS = {"dense": [3, 1, 2], "sparse": [29, 0, 14], "twice": [7, 7, 0], "one": [5], "none": []}


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).random(SHAPE)


@pytest.fixture(params=["memory", "memmap", "hdf5", "hdf5 in chunks", "zarr", "dask"])
def array(request, values, tmp_path):
    if request.param == "memmap":
        np.save(tmp_path / "values.npy", values)
        yield np.load(tmp_path / "values.npy", mmap_mode="r")
    elif request.param.startswith("hdf5"):
        chunks = (2, 1, 5) if "chunks" in request.param else None
        with h5py.File(tmp_path / "values.hdf5", "w") as file:
            yield file.create_dataset("values", data=values, chunks=chunks)
    elif request.param == "zarr":
        zarr = pytest.importorskip("zarr")
        stored = zarr.open(tmp_path / "values.zarr", mode="w", shape=SHAPE, dtype="float64")
        stored[:] = values
        yield stored
    elif request.param == "dask":
        yield pytest.importorskip("dask.array").from_array(values, chunks=(7, 4, 5))
    else:
        yield values


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_are_those_asked_for_in_their_order(array, values, axis, name):
    rows = np.array(ROWS[name], dtype=np.intp)
    found = read_rows(as_rows(array), rows, axis)
    assert isinstance(found, np.ndarray)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, np.take(values, rows, axis))


def test_what_is_in_memory(array, values):
    assert is_in_memory(as_rows(array)) == (array is values)


def test_a_dataset_is_opened_anew_where_it_is_unpickled(values, tmp_path):
    with h5py.File(tmp_path / "values.hdf5", "w") as file:
        file["values"] = values
    with h5py.File(tmp_path / "values.hdf5") as file:
        stored = pickle.dumps(as_rows(file["values"]))
    rows = pickle.loads(stored)
    assert isinstance(rows, Hdf5Rows)
    np.testing.assert_array_equal(read_rows(rows, np.array([2]), 0), values[[2]])
    assert rows.shape == SHAPE
    rows.dataset.file.close()


def test_lists_and_masked_arrays_become_arrays():
    np.testing.assert_array_equal(as_rows([[1, 2], [3, 4]]), [[1, 2], [3, 4]])
    masked = np.ma.masked_equal(np.array([[1, 2], [3, 4]]), 3)
    np.testing.assert_array_equal(as_rows(masked), [[1, 2], [np.nan, 4]])


def test_rows_of_a_dataset_stay_what_they_are(values, tmp_path):
    with h5py.File(tmp_path / "values.hdf5", "w") as file:
        rows = as_rows(file.create_dataset("values", data=values))
        assert isinstance(rows, Hdf5Rows)
        assert as_rows(rows) is rows


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: pd.DataFrame(x).astype("Float64"),
        lambda x: pd.DataFrame(x).astype(object).where(~np.isnan(x), None),
        lambda x: np.ma.masked_invalid(x),
        lambda x: x.astype(object),
        lambda x: x.tolist(),
    ],
)
def test_what_tables_hold_is_numbers_and_what_is_missing_nan(convert):
    x = np.arange(12.0).reshape(4, 3)
    x[1] = np.nan
    found = as_rows(convert(x))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, x)
