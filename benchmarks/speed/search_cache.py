"""Time a search over freezing depths against the same search that forwards frozen layers anew.

EfficientNet-Lite0 with ImageNet weights; 3 freezing depths in the later half of the network x 3
learning rates x 5 folds, 10 epochs each. With `memory=`, every image goes once through the layers
that a depth freezes, in the whole search, with 1 and with 2 workers: counted. The alternative is
the same estimator with its cache taken away; it is timed on one fold of five, and scaled.

    python benchmarks/speed/search_cache.py            # ten minutes on 2 cores
    python benchmarks/speed/search_cache.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _report import is_fast, write_report
from sklearn.model_selection import GridSearchCV
from torch import Tensor

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

LAYER, DEPTHS, RATES = "block15", ["block12", "block13", "block14"], [0.003, 0.01, 0.03]
AT_LEAST = 4
COLUMNS = ("search", "seconds", "ratio", "forward passes of frozen layers, per image and depth")
TEXT = """
EfficientNet-Lite0 (ImageNet weights), 224 px, trained at `{layer}`, frozen up to each of {depths},
learning rates {rates}, {n_splits} image-wise folds of {n_images} simulated images, {n_epochs}
epochs, without the final fit. *Forwarded anew*: the same estimator, but its frozen layers run for
every mini-batch, as in a loop that has no cache; measured on the first fold and multiplied by
{n_splits}. The scores of that fold agree to {tolerance:g}, the scores of 1 and 2 workers are the
same bits.
"""
TOLERANCE = 2e-3  # of Spearman's correlation: rounding errors grow over the steps


class CountingTrunk(Trunk):
    """Writes down which images run through its frozen layers."""

    log: str

    def prefix(self, images: Tensor) -> Tensor:
        """Log and run."""
        rows = [hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in images]
        with open(self.log, "a") as file:
            file.writelines(f"{self.cut} {row}\n" for row in dict.fromkeys(rows))  # but padding
        return super().prefix(images)


class UncachedTrunk(Trunk):
    """Leaves nothing to keep: its frozen layers run with the trained ones, without gradients."""

    def prefix(self, images: Tensor) -> Tensor:
        """Return the network's input."""
        return images

    def suffix(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Run all layers."""
        return super().suffix(super().prefix(inputs))

    def to_trained(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Run all layers up to the first read-out."""
        return super().to_trained(super().prefix(inputs))


class Counting(TwinNetwork):
    """The network, with a log of what runs through its frozen layers."""

    def __init__(self, *args: Any, log: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.trunk.__class__, self.trunk.log = CountingTrunk, log


class Uncached(TwinNetwork):
    """The network without a prefix whose result could be kept."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.trunk.__class__, self.trunk.has_prefix = UncachedTrunk, False


def main() -> None:
    fast = is_fast(__doc__)
    n_images, pixels, n_epochs, n_splits = (12, 64, 2, 3) if fast else (48, 224, 10, 5)
    grid = {"freeze_up_to": DEPTHS[1:] if fast else DEPTHS, "lr": RATES[:1] if fast else RATES}
    data = make_rdm_regression(n_images=n_images, image_size=pixels, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    folds = list(ImageKFold(n_splits, shuffle=True, random_state=0).split(pairs))
    net = SiameseRDMRegressor(
        "efficientnet_lite0", LAYER, image_size=pixels, max_epochs=n_epochs, random_state=0
    )
    n_forwards = n_images * len(grid["freeze_up_to"])  # once per image and depth
    kept, seconds = {}, {}
    for n_jobs in (1, 2):
        with tempfile.TemporaryDirectory() as memory:
            log = Path(memory) / "log"
            net.set_params(module=Counting, module__log=str(log), memory=memory)
            kept[n_jobs], seconds[n_jobs] = search(net, grid, folds, pairs, dissim, n_jobs)
            forwarded = Counter(log.read_text().splitlines())
        n_depths = len(grid["freeze_up_to"])  # each has a probe, which every process looks at
        assert len(forwarded) == n_forwards + n_depths, f"{len(forwarded)} images"
        n_repeated = sum(count > 1 for count in forwarded.values())
        assert n_repeated <= n_depths, f"{n_repeated} images were forwarded again"
    np.testing.assert_array_equal(kept[1], kept[2])

    plain = SiameseRDMRegressor(
        "efficientnet_lite0", LAYER, image_size=pixels, max_epochs=n_epochs, random_state=0
    ).set_params(module=Uncached)
    anew, of_one_fold = search(plain, grid, folds[:1], pairs, dissim, 1)
    np.testing.assert_allclose(kept[1][:, :1], anew, rtol=0, atol=TOLERANCE)
    slow = of_one_fold * n_splits
    n_anew = (n_epochs * (n_splits - 1) + 1) * len(grid["lr"])
    rows = [
        ["frozen layers forwarded anew, `n_jobs=1`", slow, "1", str(n_anew)],
        *(
            [f"`memory=`, `n_jobs={n_jobs}`", taken, f"{slow / taken:.1f}", "1"]
            for n_jobs, taken in seconds.items()
        ),
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        assert slow / seconds[1] >= AT_LEAST, f"{slow / seconds[1]:.1f} times, not {AT_LEAST}"
        text = TEXT.format(
            layer=LAYER,
            depths=", ".join(f"`{depth}`" for depth in DEPTHS),
            rates=", ".join(map(str, RATES)),
            n_splits=n_splits,
            n_images=n_images,
            n_epochs=n_epochs,
            tolerance=TOLERANCE,
        )
        write_report("search_cache", "Search over freezing depths", text, COLUMNS, rows)


def search(
    net: SiameseRDMRegressor,
    grid: dict[str, list],
    folds: list[tuple[np.ndarray, np.ndarray]],
    pairs: ImagePairs,
    dissim: np.ndarray,
    n_jobs: int,
) -> tuple[np.ndarray, float]:
    """Scores of every candidate in every fold, and seconds."""
    searched = GridSearchCV(
        net,
        grid,
        cv=folds,
        scoring=rdm_spearman_scorer,
        refit=False,
        n_jobs=n_jobs,
        error_score="raise",
    )
    start = time.perf_counter()
    results = searched.fit(pairs, dissim).cv_results_
    taken = time.perf_counter() - start
    return np.column_stack([results[f"split{i}_test_score"] for i in range(len(folds))]), taken


if __name__ == "__main__":
    main()
