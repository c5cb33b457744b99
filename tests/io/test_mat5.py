"""Every element of a MATLAB file is checked before scipy's compiled code sees it."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from sklearn_rdm.io import read_rdms
from sklearn_rdm.io._budget import Budget
from sklearn_rdm.io._mat5 import checked_mat

OF_SCIPY = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
# No matrices of numbers; "matstring": strings of MATLAB, which scipy reads from 1.18
LEFT_OUT = {"sparse", "sp_log", "parabola", "nCf", "sqr", "testfunc", "matstring"}


def files_of_scipy():
    if not OF_SCIPY.is_dir():
        return []
    return sorted(p for p in OF_SCIPY.glob("*.mat") if b"HDF" not in p.read_bytes()[:520])


def load(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scipy.io.loadmat(io.BytesIO(content))


@pytest.mark.parametrize("path", files_of_scipy(), ids=lambda p: p.stem)
def test_what_scipy_reads_is_taken_and_what_it_refuses_is_not(path):
    whole = path.read_bytes()
    try:
        expected = load(whole)
    except Exception:
        with pytest.raises((ValueError, zlib.error)):
            load(checked_mat(whole, Budget(path)))
        return
    read = load(checked_mat(whole, Budget(path)))
    assert {k for k in expected if not any(part in k for part in LEFT_OUT)} <= set(read)
    assert repr(read) == repr({key: expected[key] for key in read})


@pytest.fixture
def path(tmp_path):
    structs = np.zeros((1, 2), dtype=[("RDM", "O"), ("name", "O")])
    structs[:] = [[(np.ones((3, 3)), "a"), (np.ones((3, 3)), "b")]]
    scipy.io.savemat(tmp_path / "x.mat", {"RDMs": structs})
    return tmp_path / "x.mat"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [0, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x000E000E])
def test_no_number_in_a_file_ends_the_process(path, number):
    whole = path.read_bytes()
    for place in range(0, len(whole) - 4, 4):
        damaged = bytearray(whole)
        struct.pack_into("<I", damaged, place, number)
        path.write_bytes(damaged)
        unnamed = None
        try:
            assert read_rdms(path).rdms.shape[-1] == 3
        except ValueError as error:
            unnamed = None if "x.mat" in str(error) else error
        assert unnamed is None


def test_every_truncation_is_an_error_that_names_the_file(path):
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"x\.mat'.*copy or export it again"):
            read_rdms(path)


def test_a_negative_size_in_a_v4_file_is_no_endless_loop(tmp_path):
    header = struct.pack("<5i", 0, -3, 3, 0, 2)
    (tmp_path / "x.mat").write_bytes(header + b"a\0" + bytes(72))
    with pytest.raises(ValueError, match=r"x\.mat.*header of a variable is damaged"):
        read_rdms(tmp_path / "x.mat")
    scipy.io.savemat(tmp_path / "x.mat", {"rdms": 1 - np.eye(3)}, format="4")
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, 1 - np.eye(3))


def test_cells_nested_without_end_are_named(tmp_path):
    cell = np.ones((3, 3))
    for _ in range(60):
        inner, cell = cell, np.empty((1, 1), dtype=object)
        cell[0, 0] = inner
    scipy.io.savemat(tmp_path / "x.mat", {"RDMs": cell})
    with pytest.raises(ValueError, match=r"x\.mat.*nested more than 50 deep"):
        read_rdms(tmp_path / "x.mat")


def test_a_compressed_variable_that_states_another_size_is_named(path):
    whole = path.read_bytes()
    unpacked = bytearray(whole[128:])
    struct.pack_into("<I", unpacked, 4, len(unpacked) - 8 + 16)
    packed = zlib.compress(bytes(unpacked))
    path.write_bytes(whole[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match=r"x\.mat.* a variable of \d+ bytes states \d+"):
        read_rdms(path)


def test_a_v4_file_that_ends_within_a_header_is_named(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"rdms": 1 - np.eye(3)}, format="4")
    with open(tmp_path / "x.mat", "ab") as file:
        file.write(bytes(12))
    with pytest.raises(ValueError, match=r"x\.mat.* ends within the header of a variable"):
        read_rdms(tmp_path / "x.mat")
