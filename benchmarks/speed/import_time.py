"""Time the import of sklearn_rdm beyond that of torch, torchvision and scikit-learn.

Fresh interpreters import those three, then every public name of sklearn_rdm, which loads a name
when it is first used; only the latter is timed. What else it brings in (skorch, more of
scikit-learn) counts as its own. Scores and splitters, which need no PyTorch, are timed alone.

    python benchmarks/speed/import_time.py            # half a minute
    python benchmarks/speed/import_time.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from _report import is_fast, write_report

AT_MOST = 0.3  # seconds
COLUMNS = ("what is imported", "seconds")
TEXT = """
Median of {rounds} fresh interpreters, files in the system's cache. A part of the time of
sklearn_rdm is a pass of Python's garbage collector over the objects that PyTorch made before,
which any import of this size sets off: the third row is without it. The last row has nothing
imported before.
"""
CODE = """
import gc, time
start = time.perf_counter()
import {first}
middle = time.perf_counter()
{before}
{ours}
print(middle - start, time.perf_counter() - middle)
"""
OTHERS = "torch, torchvision, sklearn"
EVERYTHING = "from sklearn_rdm import *"
SCORES = "import sklearn_rdm.metrics, sklearn_rdm.model_selection"


def main() -> None:
    fast = is_fast(__doc__)
    rounds = 1 if fast else 7
    others, ours = median_seconds(rounds, OTHERS, EVERYTHING)
    _, uncollected = median_seconds(rounds, OTHERS, EVERYTHING, before="gc.disable()")
    _, scores = median_seconds(rounds, "time", SCORES)
    rows = [
        [OTHERS, others],
        ["then every name of sklearn_rdm", ours],
        ["then every name of sklearn_rdm, garbage collector off", uncollected],
        ["sklearn_rdm.metrics and sklearn_rdm.model_selection alone", scores],
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        assert ours <= AT_MOST, f"{ours:.2f} s is more than {AT_MOST}"
        text = TEXT.format(rounds=rounds)
        write_report("import_time", "Import time", text, COLUMNS, rows)


def median_seconds(rounds: int, first: str, ours: str, before: str = "") -> list[float]:
    """Seconds of the imports of fresh interpreters: of the first ones, of ours."""
    code = CODE.format(first=first, before=before, ours=ours)
    times = []
    for _ in range(rounds + 1):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        times.append([float(part) for part in done.stdout.split()])
    return np.median(times[1:], axis=0).tolist()


if __name__ == "__main__":
    main()
