"""Time a fit with the C library's memory kept by the process, and given back again and again.

glibc gives large blocks back to the system as soon as they are free, and the activations of a
mini-batch are such blocks: the next one asks for the same memory again, page by page. Environment
variables of glibc keep it. EfficientNet-Lite0, blocks 5 to 7 trained, 118 images.

    python benchmarks/allocator_speed.py            # three minutes on 2 slow cores
    python benchmarks/allocator_speed.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

KEEP = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
COLUMNS = ("memory", "seconds", "page faults", "peak memory, MB")
TEXT = """
One `fit` of 5 epochs, EfficientNet-Lite0 (ImageNet weights) trained from `block5` to `block7`, 118
images of 224 x 224 pixels, in a process of its own, time without imports; medians of 3 interleaved
rounds. *kept*: with MALLOC_MMAP_THRESHOLD_=4294967296, MALLOC_TRIM_THRESHOLD_=4294967296 and
MALLOC_TOP_PAD_=268435456. Both give the same bits. *Page faults*: how often the process asked the
system for memory without reading a file, in thousands.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--one", action="store_true", help="one measurement, printed as JSON")
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(options.fast)))
        return
    rounds = 1 if options.fast else 3
    found = [[in_new_process(keep, options.fast) for keep in ({}, KEEP)] for _ in range(rounds)]
    digests = {one["digest"] for pair in found for one in pair}
    assert len(digests) == 1, "the allocator changed the numbers"
    medians = [
        [float(np.median([one[name] for one in way])) for name in ("seconds", "faults", "peak")]
        for way in zip(*found, strict=True)
    ]
    rows = [
        [name, f"{seconds:.1f}", f"{faults / 1000:.0f}", f"{peak:.0f}"]
        for name, (seconds, faults, peak) in zip(("given back", "kept"), medians, strict=True)
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not options.fast:
        from _report import write_report

        assert medians[1][0] < medians[0][0], "keeping memory did not save time"
        write_report("allocator_speed", "Memory that is kept", TEXT, COLUMNS, rows)


def in_new_process(variables: dict[str, str], fast: bool) -> dict:
    """Measure where the C library reads these variables at its start."""
    command = [sys.executable, __file__, "--one", *(["--fast"] if fast else [])]
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        command, env=others | variables, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(fast: bool) -> dict:
    """Fit once in this process: seconds, page faults, peak memory in MB, digest of predictions."""
    from sklearn_rdm import ImagePairs, SiameseRDMRegressor

    rng = np.random.default_rng(0)
    n_images, pixels, backbone = (
        (12, 64, "squeezenet1_1") if fast else (118, 224, "efficientnet_lite0")
    )
    images = rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8)
    pairs = ImagePairs(images, np.column_stack(np.triu_indices(n_images, 1)))
    settings = {"layer": "features.3", "weights": None} if fast else {"layer": "block7"}
    frozen = "features.0" if fast else "block4"
    net = SiameseRDMRegressor(
        backbone, **settings, freeze_up_to=frozen, image_size=pixels, max_epochs=5, random_state=0
    )
    before, start = faults(), time.perf_counter()
    net.fit(pairs, rng.random(len(pairs)))
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "faults": faults() - before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "digest": hashlib.sha256(net.predict(pairs).tobytes()).hexdigest(),
    }


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    main()
