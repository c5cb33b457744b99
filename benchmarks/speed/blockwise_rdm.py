"""Write the matrix of a Dask array of images block by block, against a plan on paper (Linux).

Everything is made up: noise images, and a network of one layer. The plan's constants (seconds of a
forward pass, rate of products and of writing) are measured with one worker and 2,000 images; the
plan of 20,000 images is then compared with a run, and those of more images are written down.

    python benchmarks/speed/blockwise_rdm.py            # some minutes on 2 cores
    python benchmarks/speed/blockwise_rdm.py --fast     # half a minute, writes nothing

Needs dask, distributed and zarr.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _report import is_fast, write_report
from _timing import seconds

PIXELS, BLOCK = 32, 1000
COLUMNS = ("images", "features", "workers", "memory of all workers", "traffic", "written", "time")
TEXT = f"""
`net.transform(images, out="rdm.zarr")` of a Dask array in blocks of b images. With n images of P
bytes, f features, w workers, a forward pass of s seconds per image, and blocks of the matrix
computed and written at v bytes a second by one worker:

- memory of all workers: 4 w n f + 12 w b^2 bytes (every worker may come to hold all features, and
  a few blocks), and the images that wait: n P of an array that the client sends, as here, w b P of
  one that workers read;
- traffic: (w - 1) 4 n f bytes between workers, and n P bytes of images from where they are,
  more if a worker takes over images that another has received;
- written: 4 n^2 bytes;
- time: n s / w + 4 n^2 / (v w) seconds.

*Measured* is a run of workers of one thread on one machine, {PIXELS} pixels, b = {BLOCK}: memory is
how far their resident sets rose, traffic what they received at their sockets (images, which the
client sends, included). The others are the formulas, with s and v as measured with one worker and
2,000 images; the last two with 1,000 features, 20 ms per image, and v less in proportion.
"""


class Costs(NamedTuple):
    """What one worker does: seconds per image, and bytes of the matrix per second."""

    forward: float
    rate: float


def main() -> None:
    fast = is_fast(__doc__)
    if not all(map(importlib.util.find_spec, ("distributed", "zarr"))):
        print("distributed and zarr are not installed: nothing is measured.")
        return
    n_images, n_workers = (600, 2) if fast else (20_000, 2)
    costs, n_features = measure_costs(200 if fast else 2000)
    rows = [
        measured_row(n_images, n_workers, n_features),
        planned_row(n_images, n_workers, n_features, costs, "the same by the plan"),
    ]
    larger = Costs(0.02, costs.rate * n_features / 1000)
    rows += [planned_row(n, w, 1000, larger) for n, w in ((100_000, 20), (1_000_000, 100))]
    for row in rows:
        print(*row, sep=" | ", flush=True)
    if not fast:
        write_report("blockwise_rdm", "A matrix in blocks", TEXT, COLUMNS, rows)


def make_net() -> Any:
    from response_patterns import Tiny

    from sklearn_rdm import SiameseRDMRegressor

    net = SiameseRDMRegressor(Tiny, "relu", weights=None, image_size=PIXELS, random_state=0)
    return net.initialize()


def made_up(n_images: int) -> Any:
    import dask.array as da

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, PIXELS, PIXELS, 3), dtype=np.uint8)
    return da.from_array(images, chunks=(BLOCK, -1, -1, -1))


def measure_costs(n_images: int) -> tuple[Costs, int]:
    """The constants of the plan, of one worker, and how many features there are."""
    from cluster import workers

    net, images = make_net(), made_up(n_images)
    with tempfile.TemporaryDirectory() as folder, workers(1):
        net.transform(images[:10], out=Path(folder) / "warm.zarr")
        took = seconds(lambda: net.transform(images, out=Path(folder) / "rdm.zarr"))
    features: list[np.ndarray] = []
    forward = seconds(lambda: features.append(net.embed(images.compute()))) / n_images
    rate = 4 * n_images**2 / max(took - n_images * forward, 1e-3)
    return Costs(forward, rate), features[0].shape[1]


def measured_row(n_images: int, n_workers: int, n_features: int) -> tuple[str, ...]:
    from cluster import count_received, received, workers

    net, images = make_net(), made_up(n_images)
    with tempfile.TemporaryDirectory() as folder, workers(n_workers) as client:
        net.transform(images[: 2 * BLOCK], out=Path(folder) / "warm.zarr")
        client.run(count_received)
        before = sum(client.run(forget_peak).values())
        start = time.perf_counter()
        rdm = net.transform(images, out=Path(folder) / "rdm.zarr")
        took = time.perf_counter() - start
        memory = sum(client.run(peak_memory).values()) - before
        traffic = sum(client.run(received).values())
        check(net, images, rdm)
    of_features = f"{traffic / 1e6:.0f} MB ({images.nbytes / 1e6:.0f} MB of images)"
    return cells("measured", n_images, n_workers, n_features, memory, of_features, took)


def forget_peak() -> int:
    """Resident bytes of this process, from which its peak counts from now on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """The highest resident bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def check(net: Any, images: Any, rdm: Any) -> None:
    some = np.sort(np.random.default_rng(0).choice(len(images), 40, replace=False))
    expected = net.transform(images[some].compute())
    np.testing.assert_allclose(rdm.oindex[some, some], expected, atol=1e-5)


def planned_row(
    n_images: int, n_workers: int, n_features: int, costs: Costs, name: str = "plan"
) -> tuple[str, ...]:
    memory = n_workers * 4 * (n_images * n_features + 3 * BLOCK**2)
    memory += 3 * PIXELS**2 * (n_images if name.startswith("the same") else n_workers * BLOCK)
    traffic = f"{(n_workers - 1) * 4 * n_images * n_features / 1e6:,.0f} MB + images"
    took = (n_images * costs.forward + 4 * n_images**2 / costs.rate) / n_workers
    return cells(name, n_images, n_workers, n_features, memory, traffic, took)


def cells(
    name: str, n_images: int, n_workers: int, n_features: int, memory: float, traffic: str, s: float
) -> tuple[str, ...]:
    written = f"{4 * n_images**2 / 1e9:,.1f} GB"
    time_ = f"{s:.0f} s" if s < 3600 else f"{s / 3600:.1f} h"
    what = f"{n_images:,} ({name})"
    return what, str(n_features), str(n_workers), f"{memory / 1e6:,.0f} MB", traffic, written, time_


if __name__ == "__main__":
    main()
