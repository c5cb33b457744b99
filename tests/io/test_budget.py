"""Small files that ask for much memory."""

import json
import os

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from sklearn_rdm.io import from_long_table, read_rdms
from sklearn_rdm.io._budget import AT_LEAST, TIMES, Budget, TooLarge, named

SIDE = 6_000  # 288 MB as float64


def save_npz(path):
    np.savez_compressed(path, rdms=np.zeros((SIDE, SIDE), np.uint8))


def save_mat(path):
    scipy.io.savemat(path, {"rdms": np.zeros((SIDE, SIDE), np.uint8)}, do_compression=True)


def save_hdf5(path):
    with h5py.File(path, "w") as file:  # no chunk of it is written
        file.create_dataset("dissimilarities", (SIDE, SIDE), np.float32, chunks=(100, 100))


def save_csv(path):
    path.write_text("," * SIDE + "\n" + "a\n" * SIDE)


def save_json(path):
    tasks = [{"rdm": [0.0], "stimuli": [{"name": f"{k}"}, {"name": f"b{k}"}]} for k in range(2000)]
    path.write_text(json.dumps({f"p{k}": {"tasks": [task]} for k, task in enumerate(tasks)}))


def save_npy(path):
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (SIDE, SIDE)}
        np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("x.npz", save_npz),
        ("x.npy", save_npy),
        ("x.mat", save_mat),
        ("hdf5.mat", save_hdf5),
        ("x.h5", save_hdf5),
        ("x.csv", save_csv),
        ("x.json", save_json),
    ],
)
def test_a_small_file_that_takes_much_memory_is_named_and_not_read(tmp_path, name, save):
    path = tmp_path / name
    save(path)
    assert path.stat().st_size < 500_000
    with pytest.raises(ValueError, match=rf"{name}' is not read.* MB of memory.*max_bytes="):
        read_rdms(path)


def test_a_long_table_of_many_images_is_named_and_not_read(tmp_path):
    names = [f"{k}" for k in range(6_000)]
    table = pd.DataFrame({"image_1": names[::2], "image_2": names[1::2], "dissimilarity": 1.0})
    table.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=r"x\.csv.*1 x 6000 images takes 288 MB.*max_bytes="):
        from_long_table(tmp_path / "x.csv")


def test_the_limit_can_be_raised_and_lowered(tmp_path):
    rdm = 1 - np.eye(100)
    np.savez_compressed(tmp_path / "x.npz", rdms=rdm)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.npz", max_bytes=80_000).rdms, rdm)
    with pytest.raises(ValueError, match="'rdms' takes 0 MB"):
        read_rdms(tmp_path / "x.npz", max_bytes=79_999)


def test_all_of_a_file_counts(tmp_path):
    (tmp_path / "x").write_bytes(bytes(10))
    budget = Budget(tmp_path / "x")
    budget.spend(AT_LEAST // 16, "first")
    budget.spend(AT_LEAST // 16, "second")
    with pytest.raises(TooLarge, match="third"):
        budget.spend(1, "third")
    os.truncate(tmp_path / "x", AT_LEAST)
    assert Budget(tmp_path / "x").limit == TIMES * AT_LEAST


@pytest.mark.parametrize(
    "error", [KeyError("a"), MemoryError(), RecursionError("deep"), OSError(5)]
)
def test_errors_of_any_type_become_one_that_names_the_file(tmp_path, error):
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match=r"x\.npz' cannot be read as a \.npz file"), named(path):
        raise error


def test_errors_that_name_the_file_or_another_stay(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match=r"^.*x\.npz is odd$"), named(path):
        raise ValueError(f"{path} is odd")
    with pytest.raises(FileNotFoundError, match="none"), named(path):
        open(tmp_path / "none")  # noqa: SIM115


def test_a_negative_size_is_named(tmp_path):
    (tmp_path / "x").write_bytes(bytes(10))
    with pytest.raises(ValueError, match="the array has -3 values"):
        Budget(tmp_path / "x").spend(-3, "the array")
