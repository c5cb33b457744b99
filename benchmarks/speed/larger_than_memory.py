"""Write the matrix of 20,000 images to disk, within 2 GB of memory.

A network reads its images from a memory map and writes 2 x 10^8 distances to a file. Its time is
compared with the forward pass and the matrix product alone, in the same process; the distances are
compared with numpy's for some images.

    python benchmarks/speed/larger_than_memory.py            # ten minutes on 2 cores
    python benchmarks/speed/larger_than_memory.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from _report import is_fast, write_report

from sklearn_rdm import SiameseRDMRegressor

PIXELS = 64
AT_MOST_BYTES, AT_MOST_RATIO = 2e9, 1.3
COLUMNS = ("images", "peak memory of the process, MB", "seconds", "ratio to forward + product")
TEXT = f"""
AlexNet (random weights) to `conv5`, {PIXELS} pixels: `transform(images, out="rdm.npy")`, images
in a memory map of the file system. *Peak*: the highest resident set of the whole process, with
PyTorch and the pages of all mapped files. *Ratio*: to the same forward pass in plain PyTorch and
`1 - F @ F.T` in float32.
"""


def main() -> None:
    fast = is_fast(__doc__)
    n_images = 300 if fast else 20_000
    net = SiameseRDMRegressor(
        "alexnet", "conv5", weights=None, image_size=PIXELS, random_state=0
    ).initialize()
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder) / "images.npy", n_images)
        out = Path(folder) / "rdm.npy"
        net.transform(images[:32])
        peak, seconds = measure(lambda: net.transform(images, out=out))
        rdm = np.load(out, mmap_mode="r")
        some = np.random.default_rng(0).integers(0, n_images, 40)
        expected = 1 - np.corrcoef(net.embed(images[some]).astype(float))
        np.testing.assert_allclose(rdm[np.ix_(some, some)], expected, atol=1e-5)
        del rdm
        _, plain = measure(lambda: forward_and_product(net, images))
    row = (n_images, peak / 1e6, seconds, seconds / plain)
    print(*row)
    if not fast:
        assert peak < AT_MOST_BYTES, peak
        assert seconds / plain < AT_MOST_RATIO, seconds / plain
        write_report("larger_than_memory", "Larger than memory", TEXT, COLUMNS, [row])


def make_images(path: Path, n_images: int) -> np.ndarray:
    shape = (n_images, PIXELS, PIXELS, 3)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    rng = np.random.default_rng(0)
    for start in range(0, n_images, 1000):
        block = images[start : start + 1000]
        block[...] = rng.integers(0, 256, block.shape, dtype=np.uint8)
    images.flush()
    del images
    return np.load(path, mmap_mode="r")


def forward_and_product(net: SiameseRDMRegressor, images: np.ndarray) -> np.ndarray:
    """What cannot be avoided, with everything in memory."""
    features = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            inputs = net.module_.preprocessing(images[start : start + 64])
            features.append(net.module_.trunk(inputs)[0].flatten(1))
        unit = torch.cat(features)
        unit -= unit.mean(dim=1, keepdim=True)
        unit /= unit.norm(dim=1, keepdim=True)
        return (1 - unit @ unit.T).numpy()


def measure(function: Callable[[], object], *, every: float = 0.02) -> tuple[float, float]:
    """Peak resident bytes and seconds of a call."""
    process, done, peak = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(every):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        function()
        return float(peak[0]), time.perf_counter() - start
    finally:
        done.set()
        watcher.join()


if __name__ == "__main__":
    main()
