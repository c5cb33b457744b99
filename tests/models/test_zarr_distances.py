"""The matrix of a Dask array of images, block by block, against the one in memory."""

import time

import numpy as np
import pytest

from sklearn_rdm._models import _zarr_distances
from sklearn_rdm._models._zarr_distances import write_zarr_distances
from tests.networks import make_data, tiny_net

da = pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")

N_IMAGES = 11


@pytest.fixture(scope="module")
def net():
    return tiny_net(reference=None).initialize()


@pytest.fixture
def images():
    return make_data(N_IMAGES).images


@pytest.mark.parametrize("chunks", [(4, -1, -1, -1), (3, 20, 48, 1), (N_IMAGES, -1, -1, -1)])
def test_blocks_of_a_dask_array_give_the_matrix(net, images, tmp_path, chunks):
    rdm = net.transform(da.from_array(images, chunks=chunks), out=tmp_path / "rdm.zarr")
    assert rdm.shape == (N_IMAGES, N_IMAGES)
    assert rdm.chunks == (min(chunks[0], N_IMAGES),) * 2
    values = rdm[:]
    np.testing.assert_allclose(values, net.transform(images), atol=1e-6)
    np.testing.assert_array_equal(values, values.T)
    np.testing.assert_array_equal(np.diag(values), 0)
    assert values[np.triu_indices(N_IMAGES, 1)].min() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["rdm.zarr"]


def test_images_in_memory_are_written_in_blocks_too(net, images, tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_rdm._models._zarr_distances.BLOCK", 4)
    rdm = net.transform(images, out=str(tmp_path / "rdm.zarr"))
    assert rdm.chunks == (4, 4)
    np.testing.assert_allclose(rdm[:], net.transform(images), atol=1e-6)


def test_backgrounds_go_along_with_their_images(images, tmp_path):
    net = tiny_net(reference="background").initialize()
    background = ["white", "grey", "black"] * 3 + ["white", "grey"]
    lazy = da.from_array(images, chunks=(4, -1, -1, -1))
    rdm = net.transform(lazy, out=tmp_path / "rdm.zarr", background=background)
    expected = net.transform(images, background=background)
    np.testing.assert_allclose(rdm[:], expected, atol=1e-6)
    other = net.transform(lazy, out=tmp_path / "other.zarr", background="white")
    assert np.abs(other[:] - expected).max() > 1e-3


def test_blocks_at_work_end_before_a_failed_array_is_removed(tmp_path, monkeypatch):
    def features(images, background=None):
        if images[0, 0] == 1:
            time.sleep(0.1)
            raise ValueError("a failure")
        return images

    def write_slowly(path, *block):
        time.sleep(0.4)
        (path / "chunk").mkdir(parents=True)

    monkeypatch.setattr(_zarr_distances, "_write_block", write_slowly)
    images = np.repeat(np.arange(2.0), 2)[:, None] * np.ones(3)
    lazy = da.from_array(images, chunks=(2, -1))
    with pytest.raises(ValueError, match="images 2 to 3, counted from 2: a failure"):
        write_zarr_distances(features, lazy, tmp_path / "rdm.zarr")
    time.sleep(0.6)
    assert not any(tmp_path.iterdir())


def test_nothing_is_written_over_and_nothing_left_behind(net, images, tmp_path):
    out = tmp_path / "rdm.zarr"
    net.transform(images, out=out)
    with pytest.raises(FileExistsError, match="delete it, or give another name"):
        net.transform(images, out=out)
    broken = images / 255
    broken[5] *= 300
    lazy = da.from_array(broken, chunks=(4, -1, -1, -1))
    with pytest.raises(ValueError, match="images 4 to 7, counted from 4: float images must be"):
        net.transform(lazy, out=tmp_path / "broken.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["rdm.zarr"]
