"""Fit and predict in every way that should not matter, and compare with one run of reference.

What is promised to the bit is asserted to the bit; the rest must agree to rounding.

    python benchmarks/reliability/determinism.py            # three minutes
    python benchmarks/reliability/determinism.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor

N_IMAGES, SIDE = 64, 48
ROUNDING = 1e-5  # of dissimilarities, which are between 0 and 2
COLUMNS = ("what differs", "weights", "predictions", "largest difference of predictions")
TEXT = f"""
`fit` of a small network to {N_IMAGES} images and `predict`, compared with the same call in one
thread without a store. *Bits*: equal to the last bit. *Rounding*: agree to {ROUNDING:g}.
"""
Outcome = tuple[list[np.ndarray], np.ndarray]  # weights, predictions


class Network(nn.Module):
    """Two convolutions and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 5, stride=2)
        self.drop = nn.Dropout(0.2)
        self.second = nn.Conv2d(16, 16, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Activations of the second layer."""
        return self.second(self.drop(self.first(x).relu()))


def make_pairs() -> tuple[ImagePairs, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    points = rng.random((N_IMAGES, 4))
    return ImagePairs.from_rdms(images, np.linalg.norm(points[:, None] - points[None], axis=-1))


def fitted(n_threads: int = 1, **options: Any) -> SiameseRDMRegressor:
    torch.set_num_threads(n_threads)
    net = SiameseRDMRegressor(
        Network,
        "second",
        weights=None,
        image_size=SIDE,
        freeze_up_to="first",
        batch_size=8,
        max_epochs=2,
        random_state=0,
        **options,
    )
    return net.fit(*make_pairs())


def outcome(net: SiameseRDMRegressor) -> Outcome:
    weights = [value.detach().numpy().copy() for value in net.module_.state_dict().values()]
    return weights, net.predict(make_pairs()[0])


def run(n_threads: int = 1, memory: str | None = None) -> Outcome:
    return outcome(fitted(n_threads, memory=memory))


def with_blas_threads(n_threads: int) -> Outcome:
    with threadpool_limits(n_threads):
        return run()


def in_a_new_process(way: str) -> Outcome:
    with multiprocessing.get_context(way).Pool(1) as pool:
        return pool.apply_async(run).get(timeout=300)


def by_joblib(n_workers: int) -> Outcome:
    return Parallel(n_workers, backend="loky")(delayed(run)() for _ in range(n_workers))[-1]


def beside_other_threads() -> Outcome:
    with ThreadPoolExecutor(3) as pool:
        return [*pool.map(lambda _: run(), range(3))][-1]


def with_a_store(n_runs: int) -> Outcome:
    with tempfile.TemporaryDirectory() as memory:
        return [run(memory=memory) for _ in range(n_runs)][-1]


def from_another_python() -> Outcome:
    """In a process that a script starts, with the threads that it chooses by itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "outcome.npz")
        subprocess.run([sys.executable, __file__, "--write", path], check=True, timeout=300)
        arrays = [*np.load(path).values()]
        return arrays[:-1], arrays[-1]


def one_pair_at_a_time() -> Outcome:
    net, (pairs, _) = fitted(), make_pairs()
    weights, _ = outcome(net)
    return weights, np.concatenate([net.predict(pairs[k : k + 1]) for k in range(len(pairs))])


def in_another_order() -> Outcome:
    net, (pairs, _) = fitted(), make_pairs()
    weights, _ = outcome(net)
    order = np.random.default_rng(0).permutation(len(pairs))
    predicted = np.empty(len(pairs), np.float32)
    predicted[order] = net.predict(pairs[order])
    return weights, predicted


def as_a_matrix() -> Outcome:
    net, (pairs, _) = fitted(), make_pairs()
    return outcome(net)[0], net.transform(pairs)[tuple(pairs.index.T)]


def in_memory_map() -> Outcome:
    net, (pairs, _) = fitted(), make_pairs()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", pairs.images)
        mapped = ImagePairs(np.load(f"{folder}/x.npy", mmap_mode="r"), pairs.index)
        return outcome(net)[0], net.predict(mapped)


def pickled() -> Outcome:
    import pickle

    return outcome(pickle.loads(pickle.dumps(fitted())))


# What differs: how it is run, and whether weights and predictions are promised to the bit
WAYS: dict[str, tuple[Callable[[], Outcome], bool, bool]] = {
    "a child by fork": (lambda: in_a_new_process("fork"), True, True),  # before threads are started
    "nothing: a second time": (run, True, True),
    "a store that is filled": (lambda: with_a_store(1), True, True),
    "a store that is read": (lambda: with_a_store(2), True, True),
    "2 threads of PyTorch": (lambda: run(2), True, True),
    "8 threads of PyTorch": (lambda: run(8), True, True),
    "4 threads of BLAS": (lambda: with_blas_threads(4), True, False),
    "three fits at once in threads": (beside_other_threads, True, True),
    "2 workers of loky": (
        lambda: by_joblib(2),
        True,
        False,
    ),  # joblib gives each fewer threads of BLAS
    "a child by spawn": (lambda: in_a_new_process("spawn"), True, True),
    "another Python process": (from_another_python, True, False),
    "pickled and back": (pickled, True, True),
    "images in a memory map": (in_memory_map, True, True),
    "pairs in another order": (in_another_order, True, False),
    "one pair at a time": (one_pair_at_a_time, True, False),
    "transform instead of predict": (as_a_matrix, True, False),
}
FAST = ("nothing: a second time", "a store that is read", "2 threads of PyTorch",
        "one pair at a time", "three fits at once in threads")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.write:
        weights, predicted = outcome(fitted(torch.get_num_threads()))
        np.savez(options.write, *weights, predicted)
        return
    found = {name: WAYS[name][0]() for name in (FAST if options.fast else WAYS)}
    reference = run()
    rows = [as_row(name, outcome_, reference) for name, outcome_ in found.items()]
    for row in rows:
        print(*row, sep="\t")
    for name, weights, predictions, difference in rows:
        _, same_weights, same_predictions = WAYS[name]
        assert weights == "bits" or not same_weights, f"{name}: weights differ"
        assert predictions == "bits" or not same_predictions, f"{name}: predictions differ"
        assert difference < ROUNDING, f"{name}: predictions differ by {difference:g}"
    others = outcome(fitted().set_params(random_state=1).fit(*make_pairs()))
    assert not equal(others, reference)[0], "another random_state gave the same weights"
    if not options.fast:
        from _report import write_report

        shown = [[*row[:3], f"{row[3]:.1e}"] for row in rows]
        write_report("determinism", "What gives the same numbers", TEXT, COLUMNS, shown)


def as_row(name: str, found: Outcome, reference: Outcome) -> list[Any]:
    same = ["bits" if is_same else "rounding" for is_same in equal(found, reference)]
    return [name, *same, float(np.abs(found[1] - reference[1]).max())]


def equal(found: Outcome, reference: Outcome) -> tuple[bool, bool]:
    both = zip(found[0], reference[0], strict=True)
    weights = all(np.array_equal(one, other) for one, other in both)
    return weights, np.array_equal(found[1], reference[1])


if __name__ == "__main__":
    main()
