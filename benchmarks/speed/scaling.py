"""Measure time and peak memory against the number of images, pairs, features and subjects.

Every point is measured in a fresh process; exponents are fitted to the three largest sizes of each
curve. Writes a figure beside the table.

    python benchmarks/speed/scaling.py            # five minutes on 2 cores
    python benchmarks/speed/scaling.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import psutil
from _report import RESULTS, is_fast, write_report
from larger_than_memory import measure

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    SiameseRDMRegressor,
)
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score

PIXELS = 64
FITTED = 3  # sizes, the largest
MEASURABLE = 4e6  # bytes: peaks below are the allocator's noise
COLUMNS = (
    "against",
    "what",
    "from - to",
    "seconds",
    "time grows as",
    "peak MB",
    "memory grows as",
    "why",
)
TEXT = f"""
![Time and peak memory against sizes](../results/scaling.svg)

One fresh process a point; *seconds* (the shortest of {{repeats}} calls) and *peak MB* (above what
the process held before the call) are those of the largest size. Exponents are fitted to the
{FITTED} largest sizes of a curve on logarithmic axes: n^2 is four times as long for twice the size;
a dash where peaks are too small to be told from noise. Networks are AlexNet (random weights),
{PIXELS} pixels, trained at `conv3`; an epoch over images takes mini-batches of 32 of them, an epoch
over pairs all images at once.
"""


def matrix_of_images(n_images: int) -> Callable[[], object]:
    return matrix(n_images, 1000)


def matrix_of_features(n_features: int) -> Callable[[], object]:
    return matrix(1000, n_features)


def matrix(n_images: int, n_features: int) -> Callable[[], object]:
    features = np.random.default_rng(0).standard_normal((n_images, n_features))
    model = FixedRSARegressor("correlation").fit(ImagePairs(features[:3]))
    return lambda: model.transform(features)


def epoch_of_images(n_images: int) -> Callable[[], object]:
    return epoch(np.column_stack(np.triu_indices(n_images, 1)), n_images, 32)


def epoch_of_pairs(n_pairs: int) -> Callable[[], object]:
    index = np.column_stack(np.triu_indices(128, 1))
    chosen = np.random.default_rng(0).permutation(len(index))[:n_pairs]
    return epoch(index[chosen], 128, -1)


def epoch(index: np.ndarray, n_images: int, batch_size: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, PIXELS, PIXELS, 3), dtype=np.uint8)
    net = SiameseRDMRegressor(
        "alexnet",
        "conv3",
        weights=None,
        image_size=PIXELS,
        batch_size=batch_size,
        max_epochs=1,
        lr=1e-3,
        random_state=0,
    )
    pairs, dissim = ImagePairs(images, index), rng.random(len(index))
    net.initialize()
    return lambda: net.partial_fit(pairs, dissim)


def score_of_pairs(n_pairs: int) -> Callable[[], object]:
    return score(n_pairs, 15)


def score_of_subjects(n_subjects: int) -> Callable[[], object]:
    return score(7000, n_subjects)


def score(n_pairs: int, n_subjects: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    dissim, predicted = rng.random((n_pairs, n_subjects)), rng.random(n_pairs)
    return lambda: rdm_spearman_score(dissim, predicted)


def ceiling_of_subjects(n_subjects: int) -> Callable[[], object]:
    dissim = np.random.default_rng(0).random((7000, n_subjects))
    return lambda: noise_ceiling(dissim, convention="algonauts2019")


def ridge_of_features(n_features: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.random((40, n_features)))  # 780 pairs
    dissim = rng.random(len(pairs))
    model = FeatureReweightedRSARegressor(random_state=0)
    return lambda: model.fit(pairs, dissim)


@dataclass(frozen=True)
class Curve:
    """One line of the figure."""

    against: str
    what: str
    prepare: Callable[[int], Callable[[], object]]
    smallest: int
    why: str
    n_sizes: int = 5

    def sizes(self, fast: bool) -> list[int]:
        """Double the smallest, again and again."""
        return [self.smallest * 2**i for i in range(2 if fast else self.n_sizes)]


CURVES = (
    Curve("images", "matrix, 1,000 features", matrix_of_images, 500, "one entry for each pair"),
    Curve("images", "training epoch, all pairs", epoch_of_images, 64, "each image is run once"),
    Curve("pairs", "training epoch, 128 images", epoch_of_pairs, 508, "pairs are looked up"),
    Curve("pairs", "score, 15 subjects", score_of_pairs, 10_000, "n log n: they are sorted"),
    Curve("features", "matrix, 1,000 images", matrix_of_features, 1000, "one matrix product"),
    Curve(
        "features",
        "feature-reweighted fit, 780 pairs",
        ridge_of_features,
        500,
        "beyond 780, the Gram matrix of the pairs is summed over features; its size is fixed",
    ),
    Curve("subjects", "score, 7,000 pairs", score_of_subjects, 8, "each is sorted once"),
    Curve(
        "subjects",
        "noise ceiling, 7,000 pairs",
        ceiling_of_subjects,
        8,
        "each against the mean of all others, averaged anew so that ties stay ties: n^2 in the end",
    ),
)


def main() -> None:
    fast = is_fast(__doc__)
    repeats = 1 if fast else 5
    found = {curve: measure_curve(curve, fast, repeats) for curve in CURVES}
    rows = [describe(curve, *found[curve]) for curve in CURVES]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        draw(found, RESULTS / "scaling.svg")
        text = TEXT.format(repeats=repeats)
        write_report("scaling", "Scaling", text, COLUMNS, rows)


def measure_curve(curve: Curve, fast: bool, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, and (seconds, bytes) at each."""
    sizes = curve.sizes(fast)
    if fast:
        points = [measure_point(curve, size, repeats) for size in sizes]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as fresh:
            points = [fresh.submit(measure_point, curve, n, repeats).result() for n in sizes]
    return np.array(sizes), np.array(points)


def measure_point(curve: Curve, size: int, repeats: int) -> tuple[float, float]:
    """Shortest seconds of some calls, and the peak of the first above what was held before."""
    curve.prepare(curve.smallest)()  # what only a first call does
    call = curve.prepare(size)
    held = psutil.Process().memory_info().rss
    peak, first = measure(call, every=0.001)
    seconds = [first, *(measure(call)[1] for _ in range(repeats - 1))]
    return min(seconds), max(peak - held, 0.0)


def describe(curve: Curve, sizes: np.ndarray, points: np.ndarray) -> list[str]:
    seconds, peaks = points.T
    by_noise = (peaks[-FITTED:] < MEASURABLE).any()
    return [
        curve.against,
        curve.what,
        f"{sizes[0]:,} - {sizes[-1]:,}",
        f"{seconds[-1]:.3g}",
        f"n^{exponent(sizes, seconds):.2f}",
        f"{peaks[-1] / 1e6:.0f}",
        "-" if by_noise else f"n^{exponent(sizes, peaks):.2f}",
        curve.why,
    ]


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
    """Slope of the upper end on logarithmic axes."""
    return float(np.polyfit(np.log(sizes[-FITTED:]), np.log(values[-FITTED:]), 1)[0])


def draw(found: dict[Curve, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": path.name, "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    groups = [(name, list(curves)) for name, curves in groupby(CURVES, lambda c: c.against)]
    figure, axes = plt.subplots(2, len(groups), figsize=(13, 6), layout="constrained")
    for (against, curves), (above, below) in zip(groups, axes.T, strict=True):
        for curve in curves:
            sizes, points = found[curve]
            above.loglog(sizes, points[:, 0], "o-", label=curve.what)
            below.loglog(sizes, np.maximum(points[:, 1], MEASURABLE / 4) / 1e6, "o-")
        above.margins(y=0.4)  # room for the legend
        above.legend(fontsize="small", loc="upper left")
        above.set_title(f"number of {against}")
        below.set_xlabel(against)
        for panel in (above, below):
            panel.minorticks_off()
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MB")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
