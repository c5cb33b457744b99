"""Time the import of sklearn_rdm beyond that of torch, torchvision and scikit-learn.

Fresh interpreters import those three, then sklearn_rdm; only the latter is timed. What else it
brings in (skorch, more of scikit-learn) counts as its own.

    python benchmarks/speed/import_time.py            # half a minute
    python benchmarks/speed/import_time.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

AT_MOST = 0.3  # seconds
COLUMNS = ("what is imported", "seconds")
TEXT = """
Median of {rounds} fresh interpreters, files in the system's cache. About half of the time of
sklearn_rdm is one pass of Python's garbage collector over the objects that PyTorch made before,
which any import of this size sets off: without it the rest is in the last row.
"""
CODE = """
import gc, time
start = time.perf_counter()
import torch, torchvision, sklearn
middle = time.perf_counter()
{before}
import sklearn_rdm
print(middle - start, time.perf_counter() - middle)
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    fast = parser.parse_args(argv).fast
    rounds = 1 if fast else 7
    times = np.array([[*seconds(""), seconds("gc.disable()")[1]] for _ in range(rounds + 1)][1:])
    others, ours, uncollected = map(float, np.median(times, axis=0))
    rows = [
        ["torch, torchvision, sklearn", others],
        ["then sklearn_rdm", ours],
        ["then sklearn_rdm, garbage collector off", uncollected],
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        from _report import write_report

        assert ours <= AT_MOST, f"{ours:.2f} s is more than {AT_MOST}"
        text = TEXT.format(rounds=rounds)
        write_report("import_time", "Import time", text, COLUMNS, rows)


def seconds(before: str) -> tuple[float, float]:
    """Seconds of the imports of a fresh interpreter: of the others, of ours."""
    command = [sys.executable, "-c", CODE.format(before=before)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    others, ours = map(float, done.stdout.split())
    return others, ours


if __name__ == "__main__":
    main()
