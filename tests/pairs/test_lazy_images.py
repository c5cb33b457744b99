"""Images on disk: the same numbers, and no more than the rows that are asked for."""

import pickle

import h5py
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils import _safe_indexing

from sklearn_rdm import FixedRSARegressor, ImagePairs, LazyImages, ResponsePatterns
from sklearn_rdm._pairs._lazy_images import as_lazy


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)


@pytest.fixture(params=["hdf5", "zarr", "dask", "memmap", "files"])
def source(request, array, tmp_path):
    if request.param == "hdf5":
        file = h5py.File(tmp_path / "images.hdf5", "w")
        return file.create_dataset("imgBrick", data=array)
    if request.param == "zarr":
        return pytest.importorskip("zarr").array(array, chunks=(2, 6, 5, 3))
    if request.param == "dask":
        return pytest.importorskip("dask.array").from_array(array, chunks=(2, 6, 5, 3))
    if request.param == "memmap":
        np.save(tmp_path / "images.npy", array)
        return np.load(tmp_path / "images.npy", mmap_mode="r")
    paths = [tmp_path / f"{row}.png" for row in range(len(array))]
    for path, image in zip(paths, array, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_rows_are_those_of_the_array(source, array):
    images = LazyImages(source)
    assert (len(images), images.shape, images.dtype, images.ndim) == (9, (9, 6, 5, 3), np.uint8, 4)
    np.testing.assert_array_equal(np.asarray(images), array)
    np.testing.assert_array_equal(images[4], array[4])
    for key in (slice(1, 7, 2), [5, 0, 5], array[:, 0, 0, 0] > 100):
        subset = images[key]
        assert isinstance(subset, LazyImages)
        np.testing.assert_array_equal(np.asarray(subset), array[key])
    np.testing.assert_array_equal(np.asarray(_safe_indexing(images[2:], [3, 1])), array[[5, 3]])
    np.testing.assert_array_equal(images[:2].reshape(2, -1), array[:2].reshape(2, -1))
    assert "9 images of shape (6, 5, 3), uint8" in repr(images)
    assert "read when needed" in repr(images)


def test_they_travel_to_other_processes(source, array):
    if isinstance(source, h5py.Dataset):
        pytest.skip("a file that is open for writing cannot be opened again")
    copy = pickle.loads(pickle.dumps(LazyImages(source)[3:]))
    np.testing.assert_array_equal(np.asarray(copy), array[3:])


def test_an_hdf5_file_is_opened_again(array, tmp_path):
    with h5py.File(tmp_path / "images.hdf5", "w") as file:
        file["imgBrick"] = array
    images = LazyImages(h5py.File(tmp_path / "images.hdf5", "r")["imgBrick"])
    copy = pickle.loads(pickle.dumps(images[[7, 2]]))
    np.testing.assert_array_equal(np.asarray(copy), array[[7, 2]])
    assert len(pickle.dumps(images)) < 2000


def test_pairs_hold_them_unread(source, array, monkeypatch):
    pairs = ImagePairs(LazyImages(source))
    assert repr(pairs).endswith("(9, 6, 5, 3), read when needed)")
    monkeypatch.setattr(LazyImages, "_read", None)
    assert pairs[3:5].images is pairs.images
    assert as_lazy(pairs.images) is pairs.images


def test_folds_are_lazy(source, array):
    patterns = ResponsePatterns(np.random.default_rng(0).random((9, 7)))
    scores = [
        cross_val_score(FixedRSARegressor(), images, patterns, cv=KFold(3))
        for images in (LazyImages(source), array)
    ]
    np.testing.assert_array_equal(*scores)


def test_datasets_become_lazy_by_themselves(array, tmp_path):
    with h5py.File(tmp_path / "images.hdf5", "w") as file:
        dataset = file.create_dataset("imgBrick", data=array)
        assert isinstance(ImagePairs(dataset).images, LazyImages)
        assert isinstance(ImagePairs.from_rdms(dataset, np.ones((9, 9)))[0].images, LazyImages)


def test_files_are_resized_and_a_wrong_one_is_named(tmp_path):
    for name, size in (("a.png", (8, 6)), ("b.png", (8, 7))):
        Image.new("RGB", size).save(tmp_path / name)
    assert np.asarray(LazyImages(tmp_path, size=4)).shape == (2, 4, 4, 3)
    images = LazyImages(tmp_path)
    with pytest.raises(ValueError, match=r"b.png' is \(7, 8\) pixels, .*a.png' is \(6, 8\)"):
        np.asarray(images)


@pytest.mark.parametrize("wrong", [3, None, {"a": 1}, np.zeros(4), np.array([["a", "b"]])])
def test_what_holds_no_images_is_refused(wrong):
    with pytest.raises(TypeError, match="source must be an HDF5 dataset"):
        LazyImages(wrong)


def test_keys_of_pixels_are_refused(array):
    with pytest.raises(TypeError, match="selected by image alone"):
        LazyImages(array)[:, 0]
    with pytest.raises(ValueError, match="size is for image files"):
        LazyImages(array, size=3)


def test_only_row_numbers_are_in_memory(source, array):
    lazy = LazyImages(source)
    assert lazy.nbytes == lazy.rows.nbytes < array.nbytes
    assert lazy[2:5].nbytes == 3 * lazy.rows.itemsize


def test_an_array_whose_rows_cannot_be_read_one_by_one_is_refused(array):
    class Whole:
        shape, dtype = array.shape, array.dtype

        def __array__(self, dtype=None, copy=None):
            return array

    with pytest.raises(TypeError, match="a Whole cannot be read row by row"):
        LazyImages(Whole())
