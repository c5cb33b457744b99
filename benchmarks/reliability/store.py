"""Damage a store of activations in every way, and compare what is predicted with the right numbers.

Whatever its files hold, `transform` must give the bits of a run without a store, mend what is
damaged, and say so once.

    python benchmarks/reliability/store.py            # a minute
    python benchmarks/reliability/store.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _report import is_fast, write_report
from torch import Tensor, nn

from sklearn_rdm import LayerActivations
from sklearn_rdm._network import _store

N_IMAGES, SIDE, PAGE = 40, 32, 4096
FILES = ("activations.float32", "records", "shape.json", "probe.npy")
COLUMNS = ("damage", "trials", "right numbers", "said so", "right again without a word")
TEXT = f"""
A store of the activations of {N_IMAGES} images, damaged between two runs. *Said so*: trials with a
warning. A record that is lost costs the computation of its image: right without a word.
"""


class Network(nn.Module):
    """Two convolutions; ``factor`` stands for what a later version of its code would compute."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 3, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        """Activations; those of the first layer depend on the version of the code."""
        return self.second(self.first(x * self.factor).relu())


def activations(memory: Path | None) -> LayerActivations:
    return LayerActivations(
        Network, "second", weights=None, image_size=SIDE, memory=memory, random_state=0
    )


def zero_page(rng: np.random.Generator, folder: Path) -> None:
    path = folder / "activations.float32"
    overwrite(path, int(rng.integers(path.stat().st_size - PAGE)) // PAGE * PAGE, bytes(PAGE))


def flip_bit(rng: np.random.Generator, folder: Path) -> None:
    path = folder / str(rng.choice(["activations.float32", "records"]))
    place = int(rng.integers(path.stat().st_size))
    overwrite(path, place, bytes([path.read_bytes()[place] ^ 1 << int(rng.integers(8))]))


def cut(rng: np.random.Generator, folder: Path) -> None:
    path = folder / str(rng.choice(FILES))
    os.truncate(path, int(rng.integers(path.stat().st_size)))


def remove(rng: np.random.Generator, folder: Path) -> None:
    (folder / str(rng.choice(FILES))).unlink()


def other_shape(rng: np.random.Generator, folder: Path) -> None:
    shape = [int(rng.integers(1, 10_000)) for _ in range(rng.integers(1, 4))]
    (folder / "shape.json").write_text(str(shape))


def scramble(rng: np.random.Generator, folder: Path) -> None:
    path = folder / str(rng.choice(["records", "shape.json", "probe.npy"]))
    path.write_bytes(rng.bytes(path.stat().st_size))


def swap_rows(_: np.random.Generator, folder: Path) -> None:
    path = folder / "activations.float32"
    content = path.read_bytes()
    size = len(content) // N_IMAGES
    path.write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])


def folder_for_a_file(_: np.random.Generator, folder: Path) -> None:
    (folder / "records").unlink()
    (folder / "records").mkdir()


def overwrite(path: Path, place: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(content)


# By damage: how it is made, and whether it must be said every time
DAMAGES: dict[str, tuple[Callable, bool]] = {
    "a page of zeros": (zero_page, True),
    "a flipped bit": (flip_bit, False),
    "a file cut short": (cut, False),
    "a file removed": (remove, False),
    "two rows swapped": (swap_rows, True),
    "another shape": (other_shape, False),
    "a scrambled file": (scramble, False),
    "a folder in the place of a file": (folder_for_a_file, True),
}


def forget() -> None:
    """As a new process: nothing of a store has been looked at."""
    _store._seen.clear()
    _store._current.clear()


def run(memory: Path | None, images: np.ndarray) -> tuple[np.ndarray, bool]:
    """Activations, and whether a warning came."""
    forget()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return activations(memory).fit_transform(images), bool(caught)


def try_damage(name: str, images: np.ndarray, expected: np.ndarray, n_trials: int) -> list[object]:
    damage, must_be_said = DAMAGES[name]
    right = said = again = 0
    with tempfile.TemporaryDirectory() as whole:
        run(Path(whole), images)
        for trial in range(n_trials):
            with tempfile.TemporaryDirectory() as copy:
                memory = Path(copy) / "memory"
                shutil.copytree(whole, memory)
                (folder,) = (memory / "sklearn_rdm").iterdir()
                damage(np.random.default_rng(trial), folder)
                found, warned = run(memory, images)
                right += np.array_equal(found, expected)
                said += warned
                found, warned = run(memory, images)
                again += np.array_equal(found, expected) and (not warned or folder_stays(folder))
    assert not must_be_said or said == n_trials, f"{name}: said {said} of {n_trials} times"
    return [name, n_trials, right, said, again]


def folder_stays(folder: Path) -> bool:
    """A folder in the place of a file is the user's: it is named each time, and left alone."""
    return (folder / "records").is_dir()


def try_other_code(images: np.ndarray) -> list[object]:
    """The store of an earlier version of the network's code must not be used."""
    with tempfile.TemporaryDirectory() as memory:
        run(Path(memory), images)
        Network.factor = 1.01
        try:
            expected, _ = run(None, images)
            found, warned = run(Path(memory), images)
            again, warned_again = run(Path(memory), images)
        finally:
            Network.factor = 1.0
    right = np.array_equal(found, expected)
    mended = np.array_equal(again, expected) and not warned_again
    return ["another version of the code", 1, int(right), int(warned), int(mended)]


def main() -> None:
    fast = is_fast(__doc__)
    images = np.random.default_rng(0).integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    expected, _ = run(None, images)
    n_trials = 2 if fast else 60
    rows = [try_damage(name, images, expected, n_trials) for name in DAMAGES]
    rows.append(try_other_code(images))
    for row in rows:
        print(*row, sep="\t")
    for name, n_trials, right, _, again in rows:
        assert right == n_trials, f"{name}: wrong numbers in {n_trials - right} of {n_trials}"
        assert again == n_trials, f"{name}: not mended in {n_trials - again} of {n_trials}"
    if not fast:
        write_report("store", "Damaged stores of activations", TEXT, COLUMNS, rows)


if __name__ == "__main__":
    main()
