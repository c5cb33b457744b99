"""Kill trainings at random moments and while they write, and finish them by the same call.

A process trains with a checkpoint and is killed; another one makes the same call. What it ends
with, weights, optimizer, random numbers and history, must have the bits of a training that nobody
disturbed. Killed are processes that were forked before anything was computed.

    python benchmarks/reliability/kill.py            # three minutes
    python benchmarks/reliability/kill.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from _report import is_fast, write_report
from torch import nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm._network import _checkpoint
from sklearn_rdm._network._state_file import read_header
from sklearn_rdm.datasets import make_rdm_regression

FORK = multiprocessing.get_context("fork")
PATIENCE = 100  # seconds
COLUMNS = ("killed", "kills", "with the bits of an undisturbed fit", "epochs kept at the kill")
TEXT = """
A network of 0.7 million trained weights (9 MB of state with its optimizer), {n_epochs} epochs, the
state written after each. *While writing*: a file that was half written lay beside the checkpoint
after the kill. *SIGTERM*: as queues send it; the process writes the epoch that it is in, and ends
by the signal. Compared are weights, state of the optimizer, random numbers, losses and predictions.
"""


class Network(nn.Module):
    """Few images a second would hide the writing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, stride=4)
        self.conv2 = nn.Conv2d(64, 256, 3)
        self.conv3 = nn.Conv2d(256, 256, 3)
        self.head = nn.Conv2d(256, 8, 1)

    def forward(self, x: Any) -> Any:
        """Classify images."""
        x = self.conv3(self.conv2(self.conv1(x).relu()).relu()).relu()
        return self.head(x).mean((2, 3))


def main() -> None:
    fast = is_fast(__doc__)
    n_epochs, n_random, n_writing, n_asked = (8, 2, 2, 1) if fast else (24, 10, 10, 5)
    _checkpoint.SHARE = float("inf")  # every epoch, however long it takes to write
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        trial = partial(try_one, Path(folder), n_epochs)
        expected, seconds = undisturbed(Path(folder), n_epochs)

        def at_random(_: Path) -> None:
            time.sleep(rng.uniform(0, seconds))

        def after_first(kept: Path) -> None:
            wait_for(kept, "*.training")
            time.sleep(rng.uniform(0, seconds / 2))

        writing = partial(while_writing, n_epochs=n_epochs)
        kinds: list[tuple[str, int, Callable[[], tuple[bytes, int] | None]]] = [
            ("SIGKILL at a random time", n_random, partial(trial, signal.SIGKILL, at_random)),
            ("SIGKILL while writing", n_writing, partial(trial, signal.SIGKILL, writing)),
            ("SIGTERM", n_asked, partial(trial, signal.SIGTERM, after_first)),
        ]
        rows = []
        for name, n_kills, kill in kinds:
            found = [repeat(kill) for _ in range(n_kills)]
            same = sum(result == expected for result, _ in found)
            kept = [epoch for _, epoch in found]
            rows.append([name, n_kills, f"{same} of {n_kills}", f"{min(kept)} to {max(kept)}"])
            print(dict(zip(COLUMNS, rows[-1], strict=True)))
            assert same == n_kills, f"{name}: {n_kills - same} fits ended with other bits"
    if not fast:
        text = TEXT.format(n_epochs=n_epochs)
        write_report("kill", "Killed trainings", text, COLUMNS, rows)


def train(kept: Path | None, n_epochs: int, result: Path) -> None:
    """Fit, and write down what it ended with."""
    data = make_rdm_regression(n_images=12, image_size=64, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    net = SiameseRDMRegressor(
        Network, "conv3", image_size=64, max_epochs=n_epochs, random_state=0, checkpoint=kept
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(pairs, dissim)
    weights = [value.numpy().tobytes() for value in net.module_.state_dict().values()]
    losses = net.history_[:, "train_loss"]
    others = repr((net.optimizer_.state_dict(), net.rng_.get_state(), losses))
    content = [*weights, others.encode(), net.predict(pairs).tobytes()]
    result.write_bytes(sha256(pickle.dumps(content)).digest())


def undisturbed(folder: Path, n_epochs: int) -> tuple[bytes, float]:
    """The result of a fit without a checkpoint, and the seconds of one with it."""
    result = folder / "undisturbed"
    finish(None, n_epochs, result)
    expected, start = result.read_bytes(), time.monotonic()
    finish(folder / "timed", n_epochs, result)
    assert result.read_bytes() == expected, "a checkpoint changes the result"
    return expected, time.monotonic() - start


def try_one(
    folder: Path, n_epochs: int, by: signal.Signals, wait: Callable[[Path], None]
) -> tuple[bytes, int] | None:
    """Kill a fit and make the same call again; None if the fit was faster than the kill."""
    kept = Path(tempfile.mkdtemp(dir=folder))
    process = FORK.Process(target=train, args=(kept, n_epochs, kept / "result"))
    process.start()
    wait(kept)
    os.kill(process.pid, by)
    process.join(PATIENCE)
    left = list(kept.glob("*.partial"))
    is_missed = getattr(wait, "func", None) is while_writing and not left
    if process.exitcode != -by or is_missed:
        process.kill()
        return None
    unfinished = list(kept.glob("*.training"))
    epoch = read_header(unfinished[0])["epoch"] if unfinished else 0
    finish(kept, n_epochs, kept / "result")
    return (kept / "result").read_bytes(), epoch


def repeat(kill: Callable[[], tuple[bytes, int] | None]) -> tuple[bytes, int]:
    """Try until a process was killed when it should be."""
    for _ in range(20):
        found = kill()
        if found is not None:
            return found
    raise AssertionError("no process could be killed in time")


def finish(kept: Path | None, n_epochs: int, result: Path) -> None:
    """Fit in a process that nobody kills."""
    process = FORK.Process(target=train, args=(kept, n_epochs, result))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0, f"a fit ended with status {process.exitcode}"


def while_writing(kept: Path, n_epochs: int) -> None:
    """Wait until some epoch, any but the last one, is being written."""
    wait_for(kept, "*.training.*.partial", random.randrange(1, n_epochs))


def wait_for(kept: Path, pattern: str, n_files: int = 1) -> None:
    """Wait until as many files of this pattern have been there."""
    seen: set[Path] = set()
    end = time.monotonic() + PATIENCE
    while len(seen) < n_files and time.monotonic() < end:
        seen.update(kept.glob(pattern))
        time.sleep(0.0003)


if __name__ == "__main__":
    main()
