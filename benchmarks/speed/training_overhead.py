"""Time `fit` against a loop written by hand, with the same batches and the same cache.

What the conveniences cost: scikit-learn's and skorch's machinery around plain PyTorch. The loop
takes each image of a mini-batch once and all its pairs from one product, keeps what the frozen
layers make of every image, and trains on the batches that `fit` drew. Both start with building the
network. Their losses are asserted equal.

    python benchmarks/speed/training_overhead.py            # three minutes on 2 cores
    python benchmarks/speed/training_overhead.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from _report import is_fast, write_report
from _timing import seconds
from skorch.callbacks import Callback
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor

FROZEN = {"conv2": 4, "conv4": 9}  # how many modules of torchvision's AlexNet.features
LAYER, N_MODULES = "conv5", 11
AT_MOST = 1.25
N_ALIKE = 8
LR = 0.01
COLUMNS = ("AlexNet frozen up to", "loop", "seconds", "ratio")
TEXT = f"""
AlexNet (random weights) trained at `{LAYER}`, 118 images of 224 x 224 pixels, all 6,903 pairs
labelled, mini-batches of 32 images, 20 epochs; from building the network and resizing the images to
the last step. Median of 5 interleaved rounds. *By hand*: plain PyTorch with PyTorch's own threads,
each image of a mini-batch once, the frozen layers' activations kept, the same batches. The losses
of the first {N_ALIKE} steps are equal to a relative 1e-3, all to 0.05: PyTorch's threads sum in
another order, and single rectifiers at their kink make more of it from step to step. What `fit`
takes longer is the price of the same bits with any number of threads: convolutions of shards of 8
images, one thread each, are slower than PyTorch's threads on the whole mini-batch. All else
(loading, scikit-learn's and skorch's machinery) is made up for by fewer operations on the
activations.
"""


class Recorder(Callback):
    """Keep every mini-batch: its images, its pairs, its targets."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Forget earlier trainings."""
        self.batches_: list[tuple[np.ndarray, Tensor, Tensor]] = []

    def on_batch_begin(self, net: Any, batch: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep one."""
        of_pairs, target = batch
        self.batches_.append((of_pairs.images, of_pairs.index, target))


def main() -> None:
    fast = is_fast(__doc__)
    n_images, pixels, n_epochs, rounds = (12, 64, 2, 1) if fast else (118, 224, 20, 5)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8)
    pairs = ImagePairs(images)
    dissim = rng.random(len(pairs))
    rows = []
    for frozen in FROZEN:
        net = SiameseRDMRegressor(
            "alexnet",
            LAYER,
            weights=None,
            freeze_up_to=frozen,
            image_size=pixels,
            batch_size=32,
            criterion=nn.MSELoss,
            optimizer=torch.optim.SGD,
            lr=LR,
            max_epochs=n_epochs,
            random_state=0,
        )
        by_hand, ours, ratio = compare(net, pairs, dissim, rounds)
        rows += [
            [f"`{frozen}`", "by hand, plain PyTorch", by_hand, "1"],
            [f"`{frozen}`", "SiameseRDMRegressor.fit", ours, f"{ratio:.2f}"],
        ]
        assert fast or ratio <= AT_MOST, f"{ratio:.2f} times the time, more than {AT_MOST}"
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        title = "Training: overhead over a loop by hand"
        write_report("training_overhead", title, TEXT, COLUMNS, rows)


def compare(
    net: SiameseRDMRegressor, pairs: ImagePairs, dissim: np.ndarray, rounds: int
) -> tuple[float, float, float]:
    """Median seconds of both, and of their ratios, after checking that the losses agree."""
    recorder = Recorder()
    net.set_params(callbacks=[recorder]).fit(pairs, dissim)
    losses = [loss for epoch in net.history[:, "batches", :, "train_loss"] for loss in epoch]
    net.set_params(callbacks=None).initialize()
    preprocessing = net.module_.preprocessing
    weights = {k: v.clone() for k, v in net.module_.trunk.network.state_dict().items()}

    def by_hand() -> list[float]:
        inputs = preprocessing(pairs.images)
        return train_by_hand(weights, FROZEN[net.freeze_up_to], inputs, recorder.batches_)

    found = by_hand()
    np.testing.assert_allclose(found[:N_ALIKE], losses[:N_ALIKE], rtol=1e-3)
    np.testing.assert_allclose(found, losses, rtol=0.05)
    ways: list[Callable[[], Any]] = [by_hand, lambda: net.fit(pairs, dissim)]
    times = np.array([[seconds(way) for way in ways] for _ in range(rounds)])
    medians = np.median(times, axis=0)
    return float(medians[0]), float(medians[1]), float(np.median(times[:, 1] / times[:, 0]))


def train_by_hand(
    weights: dict[str, Tensor],
    n_frozen: int,
    inputs: Tensor,
    batches: list[tuple[np.ndarray, Tensor, Tensor]],
) -> list[float]:
    """Losses of all steps."""
    network = torchvision.models.alexnet().features[:N_MODULES]
    network.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
    frozen, trained = network[:n_frozen], network[n_frozen:]
    optimizer = torch.optim.SGD(trained.parameters(), lr=LR)
    with torch.no_grad():
        kept = torch.cat([frozen(some) for some in inputs.split(32)])
    losses = []
    for images, index, target in batches:
        features = trained(kept[images]).flatten(1)
        features = features - features.mean(dim=1, keepdim=True)
        features = features / features.norm(dim=1, keepdim=True)
        first, second = index.T
        predicted = 1 - (features @ features.T)[first, second]
        loss = nn.functional.mse_loss(predicted, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main()
