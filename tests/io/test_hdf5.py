"""HDF5 files that reach into other files, or lead in circles."""

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import squareform

from sklearn_rdm.io import read_rdms, write_rdms
from sklearn_rdm.io._budget import Budget
from sklearn_rdm.io._hdf5 import read_parts

RDM = squareform(np.arange(6.0))


def elsewhere(file, way, secret):
    """A dataset whose numbers lie in another file."""
    if way == "external storage":
        file.create_dataset("dissimilarities", (1, 6), float, external=[(str(secret), 0, 48)])
    else:
        layout = h5py.VirtualLayout((1, 6), float)
        layout[:] = h5py.VirtualSource(str(secret), "dissimilarities", (1, 6))
        file.create_virtual_dataset("dissimilarities", layout)


@pytest.mark.parametrize("name", ["x.h5", "x.mat"])
@pytest.mark.parametrize("way", ["external storage", "virtual"])
def test_data_in_another_file_is_named_and_not_read(tmp_path, name, way):
    secret = tmp_path / "secret.h5"
    write_rdms(secret, RDM)
    with h5py.File(tmp_path / name, "w") as file:
        elsewhere(file, way, secret)
    with pytest.raises(ValueError, match=rf"{name}'.*dissimilarities' lies in another file"):
        read_rdms(tmp_path / name)


@pytest.mark.parametrize("name", ["x.h5", "x.mat"])
def test_a_group_that_holds_itself_is_named(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["dissimilarities"] = file["/"]
    with pytest.raises(ValueError, match=rf"{name}'.*nested more than 20 deep"):
        read_rdms(tmp_path / name)


def test_texts_of_both_kinds_name_images(tmp_path):
    write_rdms(tmp_path / "x.h5", RDM, image_names=["a", "b", "c", "d"])
    assert read_rdms(tmp_path / "x.h5").image_names == ["a", "b", "c", "d"]
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        names = file["pattern_descriptors"]
        del names["image"]
        names.create_dataset("image", data=["ä", "b", "c", "d"], dtype=h5py.string_dtype())
    assert read_rdms(tmp_path / "x.h5").image_names == ["ä", "b", "c", "d"]


def test_a_dataset_without_a_value_is_none(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["empty"], file["full"] = h5py.Empty(float), np.arange(3.0)
    parts = read_parts(tmp_path / "x.h5", ["empty", "full"], Budget(tmp_path / "x.h5"))
    assert parts["empty"] is None
    np.testing.assert_array_equal(parts["full"], [0, 1, 2])


def test_an_hdf5_file_of_another_kind_is_told(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["my_rdm"] = RDM
    with pytest.raises(ValueError, match=r"no 'dissimilarities', only \['my_rdm'\].*as rsatoolbox"):
        read_rdms(tmp_path / "x.h5")
