"""Measure training and scoring on response patterns of up to 20,000 images, against explicit pairs.

Everything is made up: noise images, and responses of two subjects in 200 channels.

    python benchmarks/speed/response_patterns.py            # some minutes on 1 core
    python benchmarks/speed/response_patterns.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from _report import is_fast, write_report
from _timing import seconds
from larger_than_memory import measure
from sklearn.model_selection import KFold, cross_val_score
from torch import Tensor, nn

from sklearn_rdm import FixedRSARegressor, ImagePairs, ResponsePatterns, SiameseRDMRegressor
from sklearn_rdm.metrics import noise_ceiling, rdm_pearson_scorer, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

PIXELS, N_SUBJECTS, N_CHANNELS = 16, 2, 200
COLUMNS = ("what", "asked", "measured", "met")
TEXT = f"""
Training: a convolutional network of one layer, {PIXELS} pixels, mini-batches of 64 images,
{N_SUBJECTS} subjects with {N_CHANNELS} channels; *peak* is the resident memory of a fresh process
above images, responses and network, less the activations that are kept. *Explicit pairs* are
`patterns.to_pairs(images)` and a fit to them; the forward pass, measured alone, is taken off.
The *product* of crossnobis is `X @ X.T` of the runs side by side in float64: what no exact way can
leave out. Scores: 512 features, five folds; the products are `F @ F.T` of the features and of each
subject's patterns for the images of a fold. Noise ceilings: *peak* is the memory of a fresh
process above the patterns. Images: AlexNet (random weights) trained whole on
64 pixels.
"""
Row = tuple[str, str, str, str]


class Tiny(nn.Module):
    """One convolution, so that all else counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=4)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.relu(self.conv(x))


def main() -> None:
    fast = is_fast(__doc__)
    rows: list[Row] = []
    parts = (epochs, explicit_pairs, matrices, crossnobis, cross_validation, ceilings, lazy_images)
    for part in parts:
        for row in part(fast):
            print(*row, sep=" | ", flush=True)
            rows.append(row)
    if not fast:
        write_report("response_patterns", "Response patterns", TEXT, COLUMNS, rows)


def made_up(n_images: int) -> tuple[np.ndarray, ResponsePatterns]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, PIXELS, PIXELS, 3), dtype=np.uint8)
    shape = (n_images, N_CHANNELS)
    return images, ResponsePatterns([rng.standard_normal(shape) for _ in range(N_SUBJECTS)])


def tiny_net(n_epochs: int = 1) -> SiameseRDMRegressor:
    return SiameseRDMRegressor(
        Tiny,
        "relu",
        weights=None,
        image_size=PIXELS,
        batch_size=64,
        max_epochs=n_epochs,
        random_state=0,
    ).initialize()


def row(what: str, asked: str, measured: str, met: bool) -> Row:
    return what, asked, measured, "yes" if met else "no"


def peak_and_seconds(call: Callable[[], Any]) -> tuple[float, float]:
    gc.collect()
    held = psutil.Process().memory_info().rss
    peak, took = measure(call, every=0.002)
    return max(peak - held, 0.0), took


def measure_fit(n_images: int, explicit: bool) -> tuple[float, float, float]:
    """Peak bytes beyond what was held and the activations kept, seconds of a fit, and of its runs.

    To be called in a fresh process: memory that was freed before would not count.
    """
    tiny_net().fit(*made_up(100))
    images, patterns = made_up(n_images)
    net, forward = tiny_net(), seconds(lambda: tiny_net().embed(images))
    gc.collect()
    if explicit:
        found = peak_and_seconds(lambda: net.partial_fit(*patterns.to_pairs(images)))
    else:
        found = peak_and_seconds(lambda: net.partial_fit(images, patterns))
    return found[0] - 4 * images.size, found[1], forward


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> tuple[float, ...]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(function, *arguments).result()


def run_fresh(fast: bool, function: Callable[..., Any], *arguments: Any) -> tuple[float, ...]:
    return function(*arguments) if fast else in_fresh_process(function, *arguments)


def measure_matrices(n_images: int) -> tuple[float, float, float]:
    """Peak of ``from_rdms`` over its input, seconds of a first split, peak bytes of an epoch.

    Bytes of the epoch are those beyond the images and pairs, and the activations kept.
    """
    images, patterns = made_up(n_images)
    tiny_net().fit(images[:100], patterns[:100])
    rdm = patterns.to_rdms()[0]
    found: list[Any] = []
    above, _ = peak_and_seconds(lambda: found.extend(ImagePairs.from_rdms(images, rdm)))
    pairs, dissim = found
    split = seconds(lambda: next(ImageKFold(5).split(pairs, dissim)))
    net = tiny_net()
    epoch, _ = peak_and_seconds(lambda: net.partial_fit(pairs, dissim))
    return 1 + above / rdm.nbytes, split, epoch - 4 * images.size


def epochs(fast: bool) -> list[Row]:
    sizes = np.array([100, 200] if fast else [2500, 5000, 10_000, 20_000])
    found = [run_fresh(fast, measure_fit, int(n_images), False) for n_images in sizes]
    peaks, times, _ = np.array(found).T
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    told = ", ".join(f"{t:.1f}" for t in times)
    megabytes = peaks[-1] / 1e6
    return [
        row(
            f"one epoch, {sizes[0]:,} to {sizes[-1]:,} images: time grows as",
            "n^1.1 at most",
            f"n^{slope:.2f} ({told} s)",
            slope <= 1.1,
        ),
        row(f"peak of {sizes[-1]:,} images", "500 MB", f"{megabytes:.0f} MB", megabytes < 500),
    ]


def explicit_pairs(fast: bool) -> list[Row]:
    n_images = 100 if fast else 5000
    theirs, ours = (run_fresh(fast, measure_fit, n_images, explicit) for explicit in (True, False))
    what = f"{n_images:,} images, explicit pairs over patterns"
    memory = theirs[0] / max(ours[0], 1e6)
    time = (theirs[1] - theirs[2]) / (ours[1] - ours[2])
    megabytes = f"{memory:.1f} ({theirs[0] / 1e6:.0f} MB, {ours[0] / 1e6:.0f} MB)"
    took = f"{time:.1f} ({theirs[1] - theirs[2]:.1f} s, {ours[1] - ours[2]:.1f} s)"
    return [
        row(f"{what}: memory", "10", megabytes, memory >= 10),
        row(f"{what}: time beyond the forward pass", "10", took, time >= 10),
    ]


def matrices(fast: bool) -> list[Row]:
    n_images = 100 if fast else 5000
    size, split, epoch = run_fresh(fast, measure_matrices, n_images)
    what, megabytes = f"explicit pairs of {n_images:,} images", epoch / 1e6
    return [
        row(f"{what}: peak of from_rdms over its input", "2", f"{size:.2f}", size <= 2),
        row(f"{what}: first split of ImageKFold", "1 s", f"{split:.2f} s", split < 1),
        row(f"{what}: peak of an epoch", "300 MB", f"{megabytes:.0f} MB", megabytes < 300),
    ]


def crossnobis(fast: bool) -> list[Row]:
    """Against both of rsatoolbox's functions; the second needs 30 GB for 2,000 images."""
    sizes = (60, 60) if fast else (2000, 500)
    functions = ("calc_rdm", "calc_rdm_unbalanced")
    return [crossnobis_over(*each) for each in zip(functions, sizes, strict=True)]


def crossnobis_over(function: str, n_images: int, n_channels: int = 500, n_runs: int = 4) -> Row:
    import rsatoolbox

    x = np.random.default_rng(0).standard_normal((n_runs, n_images, n_channels))
    data = rsatoolbox.data.Dataset(
        x.reshape(-1, n_channels),
        obs_descriptors={  # floats: rsatoolbox makes arrays of NaN of their type
            "image": np.tile(np.arange(float(n_images)), n_runs),
            "run": np.repeat(np.arange(float(n_runs)), n_images),
        },
    )
    found: dict[str, Any] = {}

    def theirs() -> None:
        options = {"method": "crossnobis", "descriptor": "image", "cv_descriptor": "run"}
        found["theirs"] = getattr(rsatoolbox.rdm, function)(data, **options)

    def ours() -> None:
        found["ours"] = ResponsePatterns(x, "crossnobis").to_rdms()

    def product() -> None:
        found["gram"] = flat @ flat.T

    flat = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(n_images, -1)
    ours()
    took = [min(seconds(call) for _ in range(3)) for call in (ours, theirs, product)]
    np.testing.assert_allclose(found["ours"], found["theirs"].get_matrices(), atol=1e-9)
    ratio = took[1] / took[0]
    shape = f"{n_images:,} images x {n_channels} channels x {n_runs} runs"
    what = f"crossnobis, {shape}: rsatoolbox's {function} over ours"
    told = f"{ratio:.1f} ({took[1]:.2f} s, {took[0]:.3f} s; the product {took[2]:.3f} s), equal"
    return row(what, "20", told, ratio >= 20)


def cross_validation(fast: bool) -> list[Row]:
    n_images = 200 if fast else 20_000
    features = np.random.default_rng(1).standard_normal((n_images, 512))
    patterns = made_up(n_images)[1]
    fold = n_images // 5

    def products() -> None:
        for _ in range(5):
            for x in (features, *patterns.patterns):
                x[:fold] @ x[:fold].T

    plain, rows = seconds(products), []
    for name, scorer in (("Pearson", rdm_pearson_scorer), ("Spearman", rdm_spearman_scorer)):
        peak, took = peak_and_seconds(
            lambda scoring=scorer: cross_val_score(
                FixedRSARegressor(), features, patterns, cv=KFold(5), scoring=scoring
            )
        )
        what = f"FixedRSARegressor, {n_images:,} images x 512 features, 5 folds, {name}"
        rows.append(row(f"{what}: peak", "2 GB", f"{peak / 1e9:.2f} GB", peak < 2e9))
        told = f"{took / plain:.1f} ({took:.1f} s, {plain:.1f} s)"
        rows.append(row(f"{what}: time over products", "2", told, took <= 2 * plain))
    return rows


def measure_ceiling(n_images: int, scoring: str) -> tuple[float, float]:
    """Peak bytes of a noise ceiling beyond the patterns, in a fresh process, and seconds."""
    rng = np.random.default_rng(0)
    shape = (n_images, 512)
    noise_ceiling(ResponsePatterns([rng.standard_normal((30, 5)) for _ in range(2)]))
    patterns = ResponsePatterns([rng.standard_normal(shape) for _ in range(N_SUBJECTS)])
    return peak_and_seconds(lambda: noise_ceiling(patterns, scoring=scoring))


def ceilings(fast: bool) -> list[Row]:
    n_images, rows = 200 if fast else 20_000, []
    for scoring in ("pearson", "spearman"):
        peak, took = run_fresh(fast, measure_ceiling, n_images, scoring)
        what = f"noise ceiling, {n_images:,} images x 512 channels x {N_SUBJECTS} subjects"
        told = f"{peak / 1e9:.2f} GB ({took:.0f} s)"
        rows.append(row(f"{what}, {scoring.title()}: peak", "2 GB", told, peak < 2e9))
    return rows


def lazy_images(fast: bool) -> list[Row]:
    n_images, pixels = (24, 64) if fast else (1000, 64)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8)
    patterns = ResponsePatterns(rng.standard_normal((n_images, 50)))

    def epoch(source: Any) -> float:
        options = {"weights": None, "image_size": pixels, "max_epochs": 1, "random_state": 0}
        net = SiameseRDMRegressor("alexnet", "conv5", **options).initialize()
        return seconds(lambda: net.partial_fit(source, patterns))

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        with h5py.File(Path(folder) / "images.hdf5", "w") as file:
            dataset = file.create_dataset("imgBrick", data=images, chunks=(1, pixels, pixels, 3))
            mapped = np.load(Path(folder) / "images.npy", mmap_mode="r")
            epoch(mapped[:24] if fast else mapped)
            times = [(epoch(mapped), epoch(dataset)) for _ in range(1 if fast else 3)]
    plain, lazy = np.min(times, axis=0)
    told = f"{lazy / plain:.2f} ({lazy:.1f} s, {plain:.1f} s)"
    what = f"an epoch of AlexNet, {n_images:,} images: HDF5 over memory map"
    return [row(what, "1.2", told, lazy <= 1.2 * plain)]


if __name__ == "__main__":
    main()
