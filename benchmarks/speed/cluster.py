"""Run searches on Dask's workers: the bytes that are sent, and workers that are killed.

All workers are on this machine. Everything is made up: images and dissimilarities are noise.

    python benchmarks/speed/cluster.py            # some minutes on 2 cores
    python benchmarks/speed/cluster.py --fast     # half a minute, writes nothing

Needs dask, distributed, and Ray for the last row.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
from _report import is_fast, write_report
from sklearn.model_selection import GridSearchCV
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

N_IMAGES, PIXELS, N_FOLDS = 48, 272, 4
N_EPOCHS = 150  # of each fit while workers are killed: the search takes some seconds
PATIENCE = 120  # seconds after which a search is taken to hang
SPAWN = multiprocessing.get_context("spawn")
COLUMNS = ("what", "asked", "measured", "met")
MEGABYTES = N_IMAGES * PIXELS**2 * 3 / 1e6
TEXT = f"""
A grid search over networks of one layer: {N_IMAGES} images, {MEGABYTES:.1f} MB, {N_FOLDS} folds,
workers of one thread, started by "spawn". *Bytes* are counted at the sockets of the workers. Data
and folds are scattered and `client.amm.stop()` is called, as the user guide says: else the last
copy of a fold may be lost with its worker, and the search ends in an error. A trial of a killed
worker (SIGKILL while its search runs, at a moment drawn at random) that takes more than {PATIENCE}
s counts as one that hangs. All results are compared with those of the same search without workers.
"""
Row = tuple[str, str, str, str]


class Tiny(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        """Activations, which are read."""
        return self.conv(x)


def main() -> None:
    fast = is_fast(__doc__)
    if importlib.util.find_spec("distributed") is None:
        print("distributed is not installed: nothing is measured.")
        return
    rows: list[Row] = []
    for part in (bytes_sent, killed_workers, ray_backend):
        for row in part(fast):
            print(*row, sep=" | ", flush=True)
            rows.append(row)
    if not fast:
        write_report("cluster", "A search on several machines", TEXT, COLUMNS, rows)


def row(what: str, asked: str, measured: str, met: bool) -> Row:
    return what, asked, measured, "yes" if met else "no"


def made_up() -> tuple[ImagePairs, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N_IMAGES, PIXELS, PIXELS, 3), dtype=np.uint8)
    pairs = ImagePairs(images)
    dissim = rng.random(len(pairs))
    return pairs, dissim, list(ImageKFold(N_FOLDS).split(pairs, dissim))


def make_search(splits: Any, n_epochs: int = 2) -> GridSearchCV:
    net = SiameseRDMRegressor(
        Tiny, "conv", weights=None, image_size=64, max_epochs=n_epochs, random_state=0
    )
    rates = {"lr": [1e-3, 2e-3, 3e-3]}
    return GridSearchCV(
        net, rates, cv=splits, scoring=rdm_spearman_scorer, refit=False, error_score="raise"
    )


def scores(search: GridSearchCV) -> np.ndarray:
    return np.array([search.cv_results_[f"split{i}_test_score"] for i in range(N_FOLDS)])


@contextlib.contextmanager
def workers(n_workers: int) -> Iterator[Any]:
    """A client of as many workers, each a process of its own."""
    import distributed

    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.amm.stop()  # it would drop copies of what is scattered, and a killed worker the last
        yield client


@contextlib.contextmanager
def on_dask(*scattered: Any) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tasks that hold arrays
        with joblib.parallel_config("dask", scatter=list(scattered)):
            yield


def count_received() -> None:
    """Count what this worker receives from now on."""
    from tornado.iostream import IOStream

    read = IOStream.read_from_fd

    def counted(self: Any, buffer: Any) -> Any:
        n_bytes = read(self, buffer)
        IOStream.n_received += n_bytes or 0
        return n_bytes

    IOStream.n_received, IOStream.read_from_fd = 0, counted


def received() -> int:
    from tornado.iostream import IOStream

    return int(IOStream.n_received)


def bytes_sent(fast: bool) -> list[Row]:
    pairs, dissim, splits = made_up()
    expected, rows = scores(make_search(splits).fit(pairs, dissim)), []
    for n_workers in (2,) if fast else (2, 4):
        with workers(n_workers) as client:
            client.run(count_received)
            with on_dask(pairs, dissim, *(a for split in splits for a in split)):
                found = scores(make_search(splits).fit(pairs, dissim))
            n_bytes = sum(client.run(received).values())
        same = np.array_equal(found, expected)
        rows.append(row(f"{n_workers} workers: scores", "equal", "equal" if same else "not", same))
        ratio = n_bytes / (n_workers * pairs.images.nbytes)
        told = f"{ratio:.2f} ({n_bytes / 1e6:.1f} MB)"
        what = f"{n_workers} workers: bytes received over workers x images"
        rows.append(row(what, "1.2", told, ratio <= 1.2))
    return rows


def killed_workers(fast: bool) -> list[Row]:
    n_trials = 1 if fast else 10
    pairs, dissim, splits = made_up()
    expected = scores(make_search(splits, N_EPOCHS).fit(pairs, dissim))
    seconds = [trial(seed, expected) for seed in range(n_trials)]
    ended = [s for s in seconds if s is not None]
    told = f"{len(ended)} of {n_trials}" + (f", in {max(ended):.0f} s or less" if ended else "")
    what = "one of 2 workers killed in mid-search: ends with equal scores"
    return [row(what, f"{n_trials} of {n_trials}", told, len(ended) == n_trials)]


def trial(seed: int, expected: np.ndarray) -> float | None:
    """Seconds of a search that loses a worker; None if it does not end, or otherwise."""
    start = time.monotonic()
    process = SPAWN.Process(target=search_and_kill, args=(seed, expected))
    process.start()
    process.join(PATIENCE)
    if process.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return time.monotonic() - start if process.exitcode == 0 else None


def search_and_kill(seed: int, expected: np.ndarray) -> None:
    """To be called in a process that may be killed with all that it has started."""
    os.setsid()
    pairs, dissim, splits = made_up()
    moment = np.random.default_rng(seed).uniform(0.2, 2)
    with workers(2) as client:
        victim = min(client.run(os.getpid).values())
        with on_dask(pairs, dissim, *(a for split in splits for a in split)):
            timer = threading.Timer(moment, os.kill, (victim, signal.SIGKILL))
            timer.start()
            found = scores(make_search(splits, N_EPOCHS).fit(pairs, dissim))
            is_late = timer.is_alive()
        timer.join()
    np.testing.assert_array_equal(found, expected)
    if is_late:
        raise SystemExit("the search was over before the worker was killed")


def ray_backend(fast: bool) -> list[Row]:  # noqa: ARG001
    if importlib.util.find_spec("ray") is None:
        return []
    import ray
    from ray.util.joblib import register_ray

    pairs, dissim, splits = made_up()
    expected = scores(make_search(splits).fit(pairs, dissim))
    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with joblib.parallel_config("ray", n_jobs=2):
        found = scores(make_search(splits).fit(pairs, dissim))
    ray.shutdown()
    same = np.array_equal(found, expected)
    return [row("2 workers of Ray: scores", "equal", "equal" if same else "not", same)]


if __name__ == "__main__":
    main()
