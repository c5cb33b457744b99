"""Fit, predict and search many times in one process: memory, files and threads must stay as many.

python benchmarks/reliability/soak.py              # 500 fits, ten minutes
python benchmarks/reliability/soak.py --fits 150
python benchmarks/reliability/soak.py --fast       # seconds, writes nothing
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from sklearn.model_selection import GridSearchCV
from torch import Tensor, nn

from sklearn_rdm import FixedRSARegressor, ImagePairs, SiameseRDMRegressor
from sklearn_rdm.io import read_rdms, write_rdms
from sklearn_rdm.model_selection import ImageKFold

N_IMAGES, SIDE = 24, 32
MOST_GROWTH = 20  # MB from the end of the first fifth to the last fit
COLUMNS = ("fits", "memory after a fifth, MB", "memory at the end, MB", "growth a fit, kB",
           "open files more", "threads more")  # fmt: skip
TEXT = """
One process: `fit` of a small network, with and without a store of activations, `predict`,
`transform(out=)`, a search of fixed models, files written and read. *Growth*: of a line through the
memory after each fit, the first fifth left out. {seconds:.0f} s.
"""


class Network(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 5, stride=2)
        self.second = nn.Conv2d(16, 16, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Activations of the second layer."""
        return self.second(self.first(x).relu())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--fits", type=int, default=500)
    options = parser.parse_args(argv)
    n_fits = 10 if options.fast else options.fits
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        row = soak(n_fits, Path(folder))
    print(dict(zip(COLUMNS, row, strict=True)))
    assert row[2] - row[1] < MOST_GROWTH, f"memory grew by {row[2] - row[1]:.0f} MB"
    assert row[4] <= 0, f"{row[4]} files were left open"
    assert row[5] <= 0, f"{row[5]} threads were left running"
    if not options.fast:
        from _report import write_report

        text = TEXT.format(seconds=time.perf_counter() - start)
        write_report("soak", "Many fits in one process", text, COLUMNS, [row])


def soak(n_fits: int, folder: Path) -> list[float]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    points = rng.random((N_IMAGES, 4))
    rdm = np.linalg.norm(points[:, None] - points[None], axis=-1)
    pairs, dissim = ImagePairs.from_rdms(images, rdm)
    process, memory = psutil.Process(), []
    settled = n_fits // 5
    for number in range(n_fits):
        once(number, pairs, dissim, folder)
        gc.collect()
        memory.append(process.memory_info().rss / 1e6)
        if number == settled:
            files, threads = process.num_fds(), threading.active_count()
    growth = np.polyfit(range(settled, n_fits), memory[settled:], 1)[0] * 1e3
    more = process.num_fds() - files, threading.active_count() - threads
    return [n_fits, memory[settled], memory[-1], float(growth), *more]


def once(number: int, pairs: ImagePairs, dissim: np.ndarray, folder: Path) -> None:
    """One fit, and something else that takes memory or files."""
    net = SiameseRDMRegressor(
        Network,
        "second",
        weights=None,
        image_size=SIDE,
        freeze_up_to="first" if number % 2 else None,
        memory=str(folder / "memory") if number % 4 == 1 else None,
        max_epochs=2,
        random_state=number % 7,
    ).fit(pairs, dissim)
    assert np.isfinite(net.predict(pairs)).all()
    rdm = net.transform(pairs.images, out=folder / "rdm.npy")
    write_rdms(folder / "rdm.mat", rdm)
    np.testing.assert_array_equal(read_rdms(folder / "rdm.mat").rdms, rdm)
    if number % 5 == 0:
        features = ImagePairs(pairs.images.reshape(len(pairs.images), -1) / 255, pairs.index)
        search = GridSearchCV(
            FixedRSARegressor(), {"metric": ["correlation", "euclidean"]}, cv=ImageKFold(3)
        )
        search.fit(features, dissim)


if __name__ == "__main__":
    main()
