"""Rows of lazy arrays against the same rows of an ndarray."""

import pickle

import numpy as np
import pytest

from sklearn_rdm._pairs._lazy_rows import Hdf5Rows, as_rows, is_in_memory, read_rows

ARRAY = np.random.default_rng(0).random((40, 3, 5)).astype(np.float32)


@pytest.fixture(params=["ndarray", "memmap", "hdf5", "zarr", "dask"])
def stored(request, tmp_path):
    if request.param == "memmap":
        np.save(tmp_path / "x.npy", ARRAY)
        return np.load(tmp_path / "x.npy", mmap_mode="r")
    if request.param == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["x"] = ARRAY
        return h5py.File(tmp_path / "x.h5", "r")["x"]
    if request.param == "zarr":
        return pytest.importorskip("zarr").array(ARRAY)
    if request.param == "dask":
        return pytest.importorskip("dask.array").from_array(ARRAY, chunks=7)
    return ARRAY


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("rows", [[0], [4, 1, 1, 3], [], range(5)], ids=str)
def test_rows_in_any_order(stored, axis, rows):
    rows = np.array(rows, dtype=np.intp)
    found = read_rows(as_rows(stored), rows, axis)
    assert type(found) is np.ndarray
    assert found.dtype == ARRAY.dtype
    np.testing.assert_array_equal(found, ARRAY.take(rows, axis=axis))


def test_rows_far_apart(stored):
    rows = np.array([39, 0, 39])
    np.testing.assert_array_equal(read_rows(as_rows(stored), rows, 0), ARRAY[rows])


def test_a_dataset_of_hdf5_is_opened_again_in_another_process(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = ARRAY
    with h5py.File(tmp_path / "x.h5", "r") as file:
        rows = as_rows(file["x"])
        assert as_rows(rows) is rows
        content = pickle.dumps(rows)
    again = pickle.loads(content)
    assert isinstance(again, Hdf5Rows)
    assert (again.shape, again.dtype) == (ARRAY.shape, ARRAY.dtype)
    np.testing.assert_array_equal(read_rows(again, np.array([7, 2]), 0), ARRAY[[7, 2]])


def test_masked_values_are_missing():
    masked = np.ma.masked_equal(np.arange(6).reshape(2, 3), 4)
    np.testing.assert_array_equal(as_rows(masked), [[0, 1, 2], [3, np.nan, 5]])


def test_what_is_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", ARRAY)
    assert is_in_memory(ARRAY)
    assert not is_in_memory(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert is_in_memory(as_rows([[1, 2], [3, 4]]))
