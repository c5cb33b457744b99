import sys
import warnings

import h5py
import numpy as np
import pytest
import scipy.io
from scipy.spatial.distance import squareform

from sklearn_rdm.io import (
    read_rdms,
    to_long_table,
    to_rsatoolbox,
    write_rdms,
)
from sklearn_rdm.io._mat import as_square, read_mat

NAMES = ["cat", "dog", "a longer name", "Überraschung"]


def save_v73(path, **arrays):
    """As MATLAB does: a header of 512 bytes, then HDF5 with axes in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".MAT"])
def test_written_matrices_and_names_are_read_back_equal(tmp_path, rdms, suffix):
    path = tmp_path / f"rdms{suffix}"
    write_rdms(path, rdms, image_names=NAMES, subjects=["s1", "s2", "s10"])
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, rdms)
    assert data.image_names == NAMES
    assert data.subjects == ["s1", "s2", "s10"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_files_without_names(tmp_path, rdms, suffix):
    for given, expected in [(rdms, rdms), (rdms[0], rdms[0]), (squareform(rdms[0]), rdms[0])]:
        write_rdms(tmp_path / f"rdms{suffix}", given)
        data = read_rdms(tmp_path / f"rdms{suffix}")
        np.testing.assert_array_equal(data.rdms, expected)
        assert data.image_names is None
        assert data.subjects is None


@pytest.mark.parametrize("save", [save_v73, lambda path, **x: scipy.io.savemat(path, x)])
def test_matlab_files_of_both_kinds_and_all_shapes(tmp_path, rdms, save):
    condensed = rdms[:, *np.triu_indices(4, 1)]
    timed = np.stack([rdms, rdms + 1], axis=1)
    arrays = {
        "subjects_first": (rdms, rdms),
        "subjects_last": (rdms.transpose(1, 2, 0), rdms),
        "timed": (timed, timed),
        "condensed": (condensed, rdms),
        "row": (condensed[:1], rdms[0]),
        "column": (condensed[:1].T, rdms[0]),
    }
    save(tmp_path / "x.mat", **{name: given for name, (given, _) in arrays.items()})
    for name, (_, expected) in arrays.items():
        read = read_rdms(tmp_path / "x.mat", variable=name).rdms
        np.testing.assert_array_equal(
            np.where(np.eye(4, dtype=bool), 0, read), np.where(np.eye(4, dtype=bool), 0, expected)
        )
    with pytest.raises(ValueError, match=r"no array 'rdms', only \['column'.*variable="):
        read_rdms(tmp_path / "x.mat")


def test_text_in_v73_files_is_left_out(tmp_path, rdms):
    save_v73(tmp_path / "x.mat", rdms=rdms)
    with h5py.File(tmp_path / "x.mat", "r+") as file:
        file["name"] = np.array([[72], [105]], dtype=np.uint16)
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("struct")
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, rdms)


@pytest.mark.parametrize("save", [save_v73, lambda path, **x: scipy.io.savemat(path, x)])
def test_truncated_matlab_file_is_named(tmp_path, rdms, save):
    save(tmp_path / "x.mat", rdms=rdms)
    whole = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.mat' cannot be read as a MATLAB file"):
        read_rdms(tmp_path / "x.mat")


def test_an_hdf5_file_that_links_to_another_is_named(tmp_path, rdms):
    write_rdms(tmp_path / "a.h5", rdms, image_names=list("abcd"))
    for name in ("x.h5", "x.mat"):
        with h5py.File(tmp_path / name, "w") as file:
            file["dissimilarities"] = h5py.ExternalLink(str(tmp_path / "a.h5"), "dissimilarities")
        with pytest.raises(ValueError, match=r"x\..* link to another file"):
            read_rdms(tmp_path / name)


@pytest.mark.parametrize(
    ("package", "call", "extra"),
    [
        ("h5py", lambda path: read_rdms(path), "data"),
        ("pandas", lambda path: to_long_table(np.zeros((3, 3))), "pandas"),
        ("rsatoolbox.rdm", lambda path: to_rsatoolbox(np.zeros((3, 3))), "rsatoolbox"),
    ],
)
def test_missing_package_names_its_extra(monkeypatch, tmp_path, rdms, package, call, extra):
    save_v73(tmp_path / "x.mat", rdms=rdms)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'sklearn-rdm\[{extra}\]'"):
        call(tmp_path / "x.mat")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (3, 1), (1, 1)])
def test_time_courses_are_written_and_read(tmp_path, rdms, suffix, shape):
    timed = np.stack([rdms, 2 * rdms], axis=1)[: shape[0], : shape[1]]
    names = {} if suffix == ".npy" else {"subjects": ["a", "b", "c"][: shape[0]]}
    write_rdms(tmp_path / f"rdms{suffix}", timed, **names)
    data = read_rdms(tmp_path / f"rdms{suffix}")
    np.testing.assert_array_equal(data.rdms, timed)
    assert data.subjects == names.get("subjects")


def test_as_many_subjects_last_as_images_are_not_taken_for_subjects_first(tmp_path):
    rdms = np.array([squareform(np.random.default_rng(k).random(10)) for k in range(5)])
    scipy.io.savemat(tmp_path / "x.mat", {"rdms": rdms.T})
    with pytest.raises(ValueError, match=r"symmetric.*if the first two are, transpose: rdms\.T"):
        read_rdms(tmp_path / "x.mat")
    write_rdms(tmp_path / "x.mat", rdms.T.T)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, rdms)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".csv"])
def test_a_missing_file_is_missing_and_not_broken(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        read_rdms(tmp_path / f"none{suffix}")


def save_nested_v73(path):
    """A struct and a cell array that hold nothing in one place, and text of HDF5's own kind."""
    with h5py.File(path, "w", userblock_size=512) as file:
        empty = file.create_dataset("#refs#/empty", data=np.zeros(2, np.uint64))
        empty.attrs["MATLAB_empty"] = 1
        matrix = file.create_dataset("#refs#/matrix", data=1 - np.eye(3))
        file["cells"] = np.array([[matrix.ref], [empty.ref]], dtype=h5py.ref_dtype)
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["struct/value"] = np.array([[2.0]])
        file["struct/nothing"] = np.zeros(2, np.uint64)
        file["struct/nothing"].attrs["MATLAB_empty"] = 1
        file["struct"].attrs["MATLAB_class"] = np.bytes_("struct")
        file["nothing"] = np.zeros(2, np.uint64)
        file["nothing"].attrs["MATLAB_empty"] = 1
        file["words"] = "not MATLAB's"


def test_what_is_empty_in_v73_files_is_what_scipy_makes_of_older_ones(tmp_path):
    save_nested_v73(tmp_path / "new.mat")
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = 1 - np.eye(3), np.zeros((0, 0))
    struct = {"value": 2.0, "nothing": np.zeros((0, 0))}
    scipy.io.savemat(tmp_path / "old.mat", {"cells": cells, "struct": struct})
    new, old = (read_mat(tmp_path / name) for name in ("new.mat", "old.mat"))
    assert new.keys() == old.keys() == {"cells", "struct"}
    for ours, theirs in zip(new["cells"].ravel(), old["cells"].ravel(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for field in struct:
        np.testing.assert_array_equal(new["struct"][field].item(), old["struct"][field].item())


def test_one_number_is_no_matrix():
    with pytest.raises(ValueError, match="x must hold matrices, got one number"):
        as_square(3.0, "x")


@pytest.mark.parametrize("shape", [(10, 3), (15, 6)])
def test_columns_of_subjects_are_told_from_rows(shape):
    vectors = np.random.default_rng(0).random(shape)
    with pytest.warns(UserWarning, match=rf"holds {shape[1]} subjects and the pairs of"):
        as_square(vectors, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_square(vectors.T, "x")
        as_square(vectors[:5], "x")


def test_vectors_of_the_matlab_toolbox_are_one_row_of_pairs_by_subjects():
    vectors = np.random.default_rng(0).random((3, 10))
    expected = np.array([squareform(vector) for vector in vectors])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(as_square(vectors.T[np.newaxis], "x"), expected)
    for shape in ((1, 10, 4), (1, 15, 1)):
        assert len(as_square(np.ones(shape), "x")) == shape[2]
    for shape in ((1, 3, 10), (2, 10, 3), (1, 11, 3)):
        with pytest.raises(ValueError, match=r"x must have shape \(n, n\)"):
            as_square(np.ones(shape), "x")
