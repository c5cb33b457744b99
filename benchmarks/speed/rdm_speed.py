"""Time the correlation distances of 3,000 items against the other ways to compute them.

The same matrix, in float64, by rsatoolbox, scipy's pdist and numpy's corrcoef. Equality to 1e-10 is
asserted; the median of interleaved rounds is taken of each.

    python benchmarks/speed/rdm_speed.py  # five minutes on 2 cores
    python benchmarks/speed/rdm_speed.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from _report import is_fast, write_report
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm import FixedRSARegressor, ImagePairs

AT_LEAST = {"rsatoolbox calc_rdm": 40, "1 - numpy.corrcoef": 0.9}  # 1, but for noise
COLUMNS = ("by", "seconds", "ratio")
TEXT = """
The full matrix of `1 - Pearson r` of {n_items:,} items of {n_features:,} features each, float64,
median of {rounds} interleaved rounds; all give the same numbers to 1e-10. *Ratio*: how many times
as long as ours.
"""


def main() -> None:
    fast = is_fast(__doc__)
    n_items, n_features, rounds = (200, 300, 1) if fast else (3000, 4096, 11)
    features = np.random.default_rng(0).standard_normal((n_items, n_features))
    model = FixedRSARegressor("correlation").fit(ImagePairs(features[:3]))
    ways: dict[str, Callable[[], np.ndarray]] = {
        "FixedRSARegressor.transform": lambda: model.transform(features),
        "1 - numpy.corrcoef": lambda: 1 - np.corrcoef(features),
        "scipy pdist, squareform": lambda: squareform(pdist(features, "correlation")),
        "rsatoolbox calc_rdm": lambda: by_rsatoolbox(features),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for number in range(rounds):
        order = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]
        for name in order:  # each comes first in some round: what ran before fills the caches
            if len(seconds[name]) == 3 and seconds[name][0] > 5:
                continue  # more would not change its place
            start = time.perf_counter()
            results[name] = ways[name]()
            seconds[name].append(time.perf_counter() - start)
    ours, *others = (results[name] for name in ways)
    for other in others:
        np.testing.assert_allclose(ours, other, atol=1e-10)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    best = medians["FixedRSARegressor.transform"]
    rows = [(name, taken, taken / best) for name, taken in medians.items()]
    for row in rows:
        print(*row)
    if not fast:
        for name, at_least in AT_LEAST.items():
            ratio = medians[name] / best
            assert ratio >= at_least, f"{ratio:.2f} times as fast as {name}, not {at_least}"
        text = TEXT.format(n_items=n_items, n_features=n_features, rounds=rounds)
        write_report("rdm_speed", "Speed of matrices", text, COLUMNS, rows)


def by_rsatoolbox(features: np.ndarray) -> np.ndarray:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    return calc_rdm(Dataset(features), method="correlation").get_matrices()[0]


if __name__ == "__main__":
    main()
