import contextlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import squareform

from sklearn_rdm import read_images
from sklearn_rdm._models._distances import unit_square_distances, write_unit_square_distances
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm.io import (
    read_rdms,
    write_rdms,
)


def write_matrix(folder, out):
    rdm = squareform(np.arange(300 * 299 / 2))
    write_rdms(out, rdm)
    return read_rdms(out).rdms, rdm


def write_images(folder, out):
    return read_images(folder / "images", out=out), read_images(folder / "images")


def write_distances(folder, out):
    vectors = np.random.default_rng(0).random((2100, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return write_unit_square_distances(vectors, out), unit_square_distances(vectors)


@pytest.mark.parametrize("write", [write_matrix, write_images, write_distances])
def test_two_threads_write_one_file_whole(tmp_path, write):
    (tmp_path / "images").mkdir()
    for k in range(30):
        Image.new("RGB", (40, 40), (k, k, k)).save(tmp_path / "images" / f"{k:02d}.png")
    (tmp_path / "out").mkdir()
    out, start = tmp_path / "out" / "x.npy", Barrier(4)

    def run(_):
        start.wait()
        return write(tmp_path, out)

    with ThreadPoolExecutor(4) as pool:
        for written, expected in pool.map(run, range(4)):
            np.testing.assert_allclose(written, expected, atol=1e-12)
    assert [path.name for path in out.parent.iterdir()] == ["x.npy"]


def test_two_writers_have_their_own_files_and_leave_none_after_an_error(tmp_path):
    path = tmp_path / "x.txt"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path}
        first.write_text("first")
        second.write_text("second")
        assert not path.exists()
    assert path.read_text() == "first"
    with contextlib.suppress(KeyError), whole_file(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
