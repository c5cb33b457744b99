"""Fill, cut and close the disk under everything that writes, and count what survives.

A small file system in memory is used where it may be mounted, else a limit on the size of files.
Every fault must give an OSError that names the file; the file that was there before stays whole,
and nothing is left beside it.

    python benchmarks/reliability/disk.py            # two minutes
    python benchmarks/reliability/disk.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

SIDE = 300
LIMIT = 100_000  # bytes, less than any of the files takes
COLUMNS = ("fault", "writer", "faults", "one error that names the file", "old file whole",
           "nothing left beside it")  # fmt: skip
TEXT = """
Each writer replaces a file while the disk is full ({way}), while each call that takes space,
flushes or renames fails in turn, or after its process was killed at a random moment. *Memory map
cut short*: images or response patterns in a file that another program truncates during use. No
process ended by a signal that it was not sent.
"""

# --- what writes -------------------------------------------------------------------------------


def matrix(seed: int = 0) -> np.ndarray:
    rdm = np.random.default_rng(seed).random((SIDE, SIDE))
    rdm += rdm.T
    np.fill_diagonal(rdm, 0)
    return rdm


def rdm_writer(suffix: str) -> Callable[[Path], object]:
    from sklearn_rdm.io import write_rdms

    names = [f"{k}" for k in range(SIDE)] if suffix == ".csv" else None
    return lambda folder: write_rdms(folder / f"x{suffix}", matrix(), image_names=names)


def write_matrix_in_blocks(folder: Path) -> object:
    from sklearn_rdm._models._distances import write_unit_square_distances

    return write_unit_square_distances(matrix(), folder / "x.npy")


def write_images(folder: Path) -> object:
    from PIL import Image

    from sklearn_rdm import read_images

    source = Path(tempfile.gettempdir()) / f"sklearn_rdm_images_{os.getpid()}"
    source.mkdir(exist_ok=True)
    try:
        for k in range(3):
            Image.new("RGB", (9, 9), (k, k, k)).save(source / f"{k}.png")
        return read_images(source, size=SIDE, out=folder / "x.npy")
    finally:
        for path in source.iterdir():
            path.unlink()
        source.rmdir()


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "transform(out=)": ("x.npy", write_matrix_in_blocks),
    "read_images(out=)": ("x.npy", write_images),
    **{
        f"write_rdms {suffix}": (f"x{suffix}", lambda folder, s=suffix: rdm_writer(s)(folder))
        for suffix in (".npy", ".npz", ".mat", ".csv", ".h5", ".pkl")
    },
}

# --- faults, each in a process of its own ------------------------------------------------------


def fill(folder: Path, writer: str) -> None:
    """Write to a disk without space."""
    import resource

    if not os.path.ismount(folder):
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    report(folder, writer)


def break_write(folder: Path, writer: str, number: int) -> None:
    """Let one system call that takes a file further fail; there are a few in each writer."""
    calls = Counter[str]()

    def failing(function: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            calls["all"] += 1
            if calls["all"] == number:
                raise OSError(5, "Input/output error")
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "posix_fallocate"):
        if hasattr(os, name):
            setattr(os, name, failing(getattr(os, name)))
    report(folder, writer)


def report(folder: Path, writer: str) -> None:
    """Print whether one clear error came, or that the file was written."""
    name, write = WRITERS[writer]
    try:
        write(folder)
    except OSError as error:
        print(json.dumps({"named": name in str(error), "error": str(error)}))
    else:
        print(json.dumps({"named": None, "error": ""}))


def cut(folder: Path, reader: str) -> None:
    """Use an array in a file that another program cuts short."""
    from sklearn_rdm import ImagePairs, LayerActivations
    from sklearn_rdm._pairs._lazy_rows import read_rows

    path = folder / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
    images = np.load(path, mmap_mode="r")
    layer = LayerActivations("alexnet", "conv1", weights=None, image_size=64).fit(images)
    os.truncate(path, 50_000)
    uses = {
        "LayerActivations.transform": lambda: layer.transform(images),
        "ImagePairs": lambda: ImagePairs(images[3:]),
        "ResponsePatterns": lambda: read_rows(images, np.array([39]), 0),
    }
    try:
        uses[reader]()
    except OSError as error:
        print(json.dumps({"named": "images.npy" in str(error), "error": str(error)}))
    else:
        print(json.dumps({"named": None, "error": "was read"}))


def run(fault: str, folder: Path, what: str, number: int = 0) -> dict[str, object]:
    """Outcome of a fault in a process of its own; its end by a signal is none."""
    command = [sys.executable, __file__, "--child", fault, str(folder), what, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{fault}, {what}: code {done.returncode}\n{done.stderr[-2000:]}"
    return json.loads(done.stdout.splitlines()[-1])


# --- measurements ------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, str]]:
    """A folder on a full file system, or one in which files are limited; and in words."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
        try:
            mounted = subprocess.run(mount, capture_output=True).returncode == 0
        except OSError:
            mounted = False
        try:
            yield folder, "a file system of 128 kB" if mounted else f"files of at most {LIMIT} B"
        finally:
            if mounted:
                subprocess.run(["umount", str(folder)], check=True)


def try_fault(fault: str, writer: str, folder: Path, numbers: Sequence[int]) -> list[object]:
    """One row: how many faults there were, and what they left."""
    name, write = WRITERS[writer]
    counts = Counter[str]()
    size = 0  # of the new file, which is there if only the folder could not be flushed after it
    if fault == "write fails":
        write(folder)
        size = (folder / name).stat().st_size
        (folder / name).unlink()
    for number in numbers:
        (folder / name).write_bytes(b"old")
        outcome = run(fault, folder, writer, number)
        if outcome["named"] is None:  # it has fewer calls than this
            (folder / name).unlink()
            break
        counts["faults"] += 1
        counts["named"] += bool(outcome["named"])
        is_old = (folder / name).read_bytes() == b"old"
        counts["whole"] += is_old or (folder / name).stat().st_size == size
        counts["clean"] += [path.name for path in folder.iterdir()] == [name]
        (folder / name).unlink()
    return [fault, writer, *(counts[key] for key in ("faults", "named", "whole", "clean"))]


def kill_writers(folder: Path, n_kills: int) -> list[object]:
    """Kill writers at any time: the old or the new file is there, and the next writer cleans up."""
    code = "import sys; from disk import WRITERS; from pathlib import Path\n"
    code += "print(1, flush=True)\nwhile True: WRITERS['write_rdms .npy'][1](Path(sys.argv[1]))"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    rng, counts = np.random.default_rng(0), Counter[str]()
    for _ in range(n_kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, env=environment
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            writer.wait(rng.uniform(0.5, 0.8))
        writer.kill()
        writer.wait()
        counts["whole"] += not (folder / "x.npy").exists() or (
            np.array_equal(np.load(folder / "x.npy"), matrix())
        )
        rdm_writer(".npy")(folder)
        counts["clean"] += [path.name for path in folder.iterdir()] == ["x.npy"]
    return ["killed", "write_rdms .npy", n_kills, "-", counts["whole"], counts["clean"]]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        fault, folder, what, number = options.child
        faults = {"disk full": fill, "memory map cut short": cut}
        if fault == "write fails":
            break_write(Path(folder), what, int(number))
        else:
            faults[fault](Path(folder), what)
        return
    rows = []
    writers = ["transform(out=)", "write_rdms .npz"] if options.fast else [*WRITERS]
    with small_disk() as (folder, way):
        rows += [try_fault("disk full", writer, folder, [0]) for writer in writers]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.fast:
            for writer in writers:
                rows.append(try_fault("write fails", writer, folder, range(1, 5)))
            uses = ("LayerActivations.transform", "ImagePairs", "ResponsePatterns")
            for use in uses:
                named = run("memory map cut short", folder, use)["named"] is True
                rows.append(["memory map cut short", use, 1, int(named), "-", "-"])
            (folder / "images.npy").unlink()
            rows.append(kill_writers(folder, 20))
    for row in rows:
        print(*row, sep="\t")
    for row in rows:
        assert row[2] >= 1, f"{row[:2]}: no fault was made"
        assert set(row[2:]) <= {row[2], "-"}, f"{row[:2]}: not every fault was survived: {row[2:]}"
    if not options.fast:
        from _report import write_report

        write_report("disk", "Faults of the disk", TEXT.format(way=way), COLUMNS, rows)


if __name__ == "__main__":
    main()
