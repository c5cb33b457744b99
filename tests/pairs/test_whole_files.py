import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sklearn_rdm
from sklearn_rdm import read_images
from sklearn_rdm._pairs import _whole_files
from sklearn_rdm._pairs._lazy_rows import read_rows
from sklearn_rdm._pairs._whole_files import check_not_cut, map_new, map_new_npy, whole_file

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits, signals and links of POSIX")


def run(code, *arguments):
    """Run code in a process of its own, whose end by a signal would be seen."""
    environment = {**os.environ, "PYTHONPATH": str(Path(sklearn_rdm.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


FULL = """
import resource, sys, tempfile
import numpy as np
from pathlib import Path
from sklearn_rdm import read_images
from sklearn_rdm._models._distances import write_unit_square_distances
from sklearn_rdm._network import _forward
from sklearn_rdm.io import write_rdms

folder, rdm = Path(sys.argv[1]), np.random.default_rng(0).random((300, 300))
rdm += rdm.T
out = folder / "out"
tempfile.tempdir = str(out)
_forward.MEMORY_BUDGET = 1000
before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
for write in (
    lambda: write_unit_square_distances(rdm, out / "x.npy"),
    lambda: read_images(folder / "images", size=200, out=out / "x.npy"),
    lambda: _forward.allocate((300, 300)),
    lambda: write_rdms(out / "x.npy", rdm),
    lambda: write_rdms(out / "x.npz", rdm),
    lambda: write_rdms(out / "x.mat", rdm),
    lambda: write_rdms(out / "x.h5", rdm),
    lambda: write_rdms(out / "x.pkl", rdm),
    lambda: write_rdms(out / "x.csv", rdm, image_names=range(300)),
):
    try:
        write()
        print("written")
    except OSError as error:
        print(error.filename, "|", error, "|", *out.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
"""


@POSIX
def test_a_full_disk_is_an_error_that_names_file_and_size_and_leaves_nothing(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()
    for k in range(3):
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / f"{k}.png")
    done = run(FULL, tmp_path)
    assert done.returncode == 0, done.stderr  # and no SIGBUS
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    for line in lines:
        name, message, left = (part.strip() for part in line.split("|"))
        assert Path(name).parent == tmp_path / "out"
        assert name in message
        assert " MB " in message
        assert left == ""
    assert "0.7 MB are needed" in lines[0]  # all of it is asked for before anything is written
    assert "0.4 MB are needed" in lines[1]
    assert "TMPDIR" in lines[2]


@POSIX
def test_space_is_taken_also_where_the_file_system_cannot_at_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    mapped = map_new_npy(tmp_path / "x.npy", np.float64, (300, 1000), "x")
    assert os.stat(tmp_path / "x.npy").st_blocks * 512 >= mapped.nbytes
    mapped[:] = 3
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.full((300, 1000), 3.0))


def test_space_is_taken_where_the_system_has_no_call_for_it(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    mapped = map_new(str(tmp_path / "x"), np.float32, (700, 500))
    assert (tmp_path / "x").stat().st_size == mapped.nbytes == 1_400_000
    np.testing.assert_array_equal(mapped, np.zeros((700, 500), np.float32))


@POSIX
def test_what_a_running_process_writes_is_left_alone(tmp_path):
    theirs = tmp_path / f"x.npy.{_whole_files.HOST}-{os.getppid()}-00000000.partial"
    theirs.touch()
    with whole_file(tmp_path / "x.npy") as partial:
        partial.touch()
    assert theirs.exists()


@POSIX
def test_what_a_process_of_another_user_writes_is_left_alone(tmp_path, monkeypatch):
    theirs = tmp_path / f"x.npy.{_whole_files.HOST}-{os.getppid()}-00000000.partial"
    theirs.touch()

    def forbid(process, signal):
        assert (process, signal) == (os.getppid(), 0)
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "kill", forbid)
    with whole_file(tmp_path / "x.npy") as partial:
        partial.touch()
    assert theirs.exists()


@POSIX
def test_space_is_taken_before_anything_is_written(tmp_path):
    mapped = map_new(str(tmp_path / "x"), np.float32, (1000, 500))
    assert mapped.shape == (1000, 500)
    assert os.stat(tmp_path / "x").st_blocks * 512 >= 2_000_000


KILLED = """
import os, sys
from sklearn_rdm._pairs._whole_files import whole_file
with whole_file(sys.argv[1]) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


@POSIX
def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    assert run(KILLED, tmp_path / "x.npy").returncode == -9
    assert run(KILLED, tmp_path / "[x.npy").returncode == -9
    (left,) = tmp_path.glob("x.npy.*.partial")
    others = [
        tmp_path / "x.npy.mine.partial",
        tmp_path / left.name.replace(_whole_files.HOST, "0" * 8),  # may still run elsewhere
        next(tmp_path.glob("[[]x.npy.*.partial")),
    ]
    for other in others:
        other.touch()
    with whole_file(tmp_path / "x.npy") as first, whole_file(tmp_path / "x.npy") as second:
        assert not left.exists()
        first.write_text("1")
        second.write_text("2")
        with whole_file(tmp_path / "x.npy") as third:
            third.write_text("3")
        assert first.exists()
        assert second.exists()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "x.npy", *others])


@POSIX
def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "x.txt", tmp_path / "x.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert list((tmp_path / "there").iterdir()) == [real]


def test_a_folder_that_is_missing_is_named_without_what_is_written_meanwhile(tmp_path):
    out = tmp_path / "no" / "x.npy"
    with pytest.raises(FileNotFoundError) as caught, whole_file(out) as partial:
        partial.write_text("x")
    assert caught.value.filename == str(out)


def test_errors_about_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), whole_file(tmp_path / "x"):
        (tmp_path / "other").read_text()
    assert list(tmp_path.iterdir()) == []


CUT = """
import os, sys
import numpy as np
from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations
from sklearn_rdm._pairs._images import image_digests

path = sys.argv[1]
np.save(path, np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
images = np.load(path, mmap_mode="r")
pairs = ImagePairs(images)
features = LayerActivations("alexnet", "conv1", weights=None, image_size=64).fit(images)
os.truncate(path, 50_000)
for use in (
    lambda: features.transform(images),
    lambda: features.transform(pairs),
    lambda: image_digests(images),
    lambda: ImagePairs(images[5:]),
    lambda: ImagePairs(np.asarray(images)),
):
    try:
        use()
        print("read")
    except OSError as error:
        print(error)
"""


@POSIX
def test_a_memory_map_that_is_cut_short_is_an_error_and_no_signal(tmp_path):
    done = run(CUT, tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    expected = "x.npy was cut short while it was in use, to 50000 of 491648 bytes"
    assert [expected in line for line in done.stdout.splitlines()] == [True] * 5


def test_a_memory_map_that_is_whole_is_read_from_any_offset(tmp_path):
    values = np.arange(30_000.0).reshape(3000, 10)
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    later = np.memmap(tmp_path / "x.npy", float, "r", offset=128 + 80 * 2000, shape=(1000, 10))
    for array, expected in [(mapped, values), (mapped[7:], values[7:]), (later, values[2000:])]:
        check_not_cut(array)
        np.testing.assert_array_equal(read_rows(array, np.array([5, 2]), 0), expected[[5, 2]])
    check_not_cut(values)
    os.unlink(tmp_path / "x.npy")  # what was unlinked is whole
    check_not_cut(mapped)


def test_images_written_are_those_read(tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(3):
        Image.new("RGB", (8, 6), (k, 0, 9)).save(tmp_path / "images" / f"{k}.png")
    written = read_images(tmp_path / "images", out=tmp_path / "x.npy")
    assert isinstance(written, np.memmap)
    np.testing.assert_array_equal(written, read_images(tmp_path / "images"))
