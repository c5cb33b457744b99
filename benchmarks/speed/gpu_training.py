"""Time training of VGG-16 on a GPU: a step against the same step by hand, the paper's MEG-late run.

A step of all layers at 224 pixels in bfloat16, with and without `torch.compile`, against a loop by
hand with the same mixed precision, memory layout, mini-batches and loss; as a part of the rate at
which this GPU multiplies matrices. Then the paper's model of late MEG from start to end, 13 epochs
of 11,089 pairs, against the loop as published, of which some steps are timed and scaled. Last, a
grid search whose two workers share the GPU.

    python benchmarks/speed/gpu_training.py            # ten minutes on a GPU; without one, says so
    python benchmarks/speed/gpu_training.py --fast     # seconds on the processor, writes nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from _timing import seconds
from sklearn.model_selection import GridSearchCV
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sklearn_rdm import ImagePairs, SiameseRDMRegressor, make_agrawal2019
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

LAYER, N_MODULES = "pool5", 31  # the same in torchvision's VGG-16: features[:31]
BATCH_IMAGES, BATCH_PAIRS = 64, 16
N_STEPS = 30  # of the published loop
AT_MOST = 1.15
COLUMNS = ("what", "loop", "images per second", "seconds", "ratio", "of the matrix product rate")
TEXT = """
{device}. *Step*: VGG-16 (random weights), all layers up to `{layer}`, 224 px, bfloat16 autocast,
{batch} images and all their pairs; median epoch of {n_epochs}. *By hand*: the same step with
everything on the GPU from the start, weights and images channels last. *Of the matrix product
rate*: floating-point operations of the step's convolutions over those of a {size} x {size}
bfloat16 product in the same time. *meg_late*: `make_agrawal2019("meg_late")` on 92 + 118 images,
13 epochs over mini-batches of all images of a set, from photographs to weights; the published loop
takes {pairs} random pairs a step and two forward passes a pair, in float32, {n_steps} steps timed
and scaled. *Search*: two workers on one GPU, that all fits finish.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    fast = parser.parse_args(argv).fast
    if not fast and not torch.cuda.is_available():
        print("skipped: torch.cuda finds no GPU on this machine")
        return
    rng = np.random.default_rng(0)
    device, pixels, n_images, n_epochs = (
        ("cpu", 32, 8, 1) if fast else ("cuda", 224, 8 * BATCH_IMAGES, 20)
    )
    images = rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8)
    size = 256 if fast else 8192
    rows = step_rows(images, device, n_epochs, matrix_product_rate(size, device), fast)
    if fast:  # VGG-16 at 224 px takes minutes here
        rows += paper_rows("meg_early", (3, 3), device, 1, max_epochs=1)
        rows += search_rows(images[:6], device, [1e-4])
    else:
        rows += paper_rows("meg_late", (92, 118), device, N_STEPS)
        rows += search_rows(images[:200], device, [1e-4, 1e-3])
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        from _report import write_report

        text = TEXT.format(
            device=torch.cuda.get_device_name(),
            layer=LAYER,
            batch=BATCH_IMAGES,
            n_epochs=n_epochs,
            size=size,
            pairs=BATCH_PAIRS,
            n_steps=N_STEPS,
        )
        ratio = float(rows[1][4])
        assert ratio <= AT_MOST, f"{ratio:.2f} times the time by hand, more than {AT_MOST}"
        write_report("gpu_training", "Training on a GPU", text, COLUMNS, rows)


def network(pixels: int, device: str, **options: Any) -> SiameseRDMRegressor:
    """All layers of VGG-16 in bfloat16."""
    return SiameseRDMRegressor(
        "vgg16",
        LAYER,
        weights=None,
        image_size=pixels,
        batch_size=BATCH_IMAGES,
        criterion=nn.MSELoss,
        optimizer=torch.optim.SGD,
        lr=1e-4,
        precision="bf16",
        device=device,
        random_state=0,
        **options,
    )


def step_rows(
    images: np.ndarray, device: str, n_epochs: int, product_rate: float, fast: bool
) -> list[list[Any]]:
    """Images per second of an epoch by hand, by ``fit``, and by ``fit`` with compilation."""
    pairs = ImagePairs(images)
    dissim = np.random.default_rng(0).random(len(pairs))
    net = network(images.shape[1], device, max_epochs=n_epochs).fit(pairs, dissim)
    inputs = net.module_.preprocessing(images).to(device)
    by_hand = ByHand(net, device)
    first = by_hand.loss(inputs[:BATCH_IMAGES])
    batch = ImagePairs(images[:BATCH_IMAGES])
    loaded, _ = net.get_dataset(batch, np.zeros(len(batch))).__getitems__(range(len(batch)))
    expected = net.module_(loaded.to(device))
    np.testing.assert_allclose(first.item(), expected.square().mean().item(), rtol=2e-2)
    plain = np.median([by_hand.epoch(inputs) for _ in range(n_epochs)])
    flops_per_image = by_hand.flops(inputs[:BATCH_IMAGES]) / len(inputs[:BATCH_IMAGES])
    compiled = {"compile__backend": "eager"} if fast else {}
    ways = {
        "by hand, plain PyTorch": plain,
        "SiameseRDMRegressor": np.median(net.history[:, "dur"]),
        "SiameseRDMRegressor(compile=True)": np.median(
            net.set_params(compile=True, **compiled).fit(pairs, dissim).history[:, "dur"]
        ),
    }
    rates = {name: len(images) / each for name, each in ways.items()}
    return [
        [
            "step",
            name,
            f"{rates[name]:.0f}",
            float(each),
            f"{each / plain:.2f}",
            f"{rates[name] * flops_per_image / product_rate:.2f}",
        ]
        for name, each in ways.items()
    ]


class ByHand:
    """The same training step without this package."""

    def __init__(self, net: SiameseRDMRegressor, device: str) -> None:
        self.device = device
        self.features = torchvision.models.vgg16().features[:N_MODULES]
        weights = net.module_.trunk.network.state_dict()
        self.features.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
        self.features.to(device=device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.features.parameters(), lr=1e-4)

    def loss(self, inputs: Tensor) -> Tensor:
        """Mean square of the distances of all pairs."""
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16):
            activations = self.features(inputs)
        features = activations.float().flatten(1)
        features = nn.functional.normalize(features - features.mean(dim=1, keepdim=True))
        first, second = torch.triu_indices(len(inputs), len(inputs), 1, device=inputs.device)
        return (1 - (features @ features.T)[first, second]).square().mean()

    def step(self, inputs: Tensor) -> None:
        """Train on one mini-batch."""
        loss = self.loss(inputs)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # as a training log needs it

    def epoch(self, inputs: Tensor) -> float:
        """Seconds of all mini-batches."""
        return seconds(lambda: [self.step(some) for some in inputs.split(BATCH_IMAGES)])

    def flops(self, inputs: Tensor) -> int:
        """Floating-point operations of a step."""
        with FlopCounterMode(display=False) as counter:
            self.step(inputs)
        return counter.get_total_flops()


def matrix_product_rate(size: int, device: str) -> float:
    """Floating-point operations per second of a bfloat16 matrix product."""
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)

    def multiply() -> None:
        for _ in range(10):
            matrix @ matrix
        synchronise(device)

    multiply()
    return 10 * 2 * size**3 / min(seconds(multiply) for _ in range(5))


def paper_rows(
    model: str, n_images: Sequence[int], device: str, n_steps: int, **options: Any
) -> list[list[Any]]:
    """Seconds of a run of the paper: its own loop, scaled, and ours."""
    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 256, (n, 224, 224, 3), dtype=np.uint8) for n in n_images]
    pairs = ImagePairs.concatenate([ImagePairs(images) for images in sets])
    dissim = rng.random(len(pairs))
    net = make_agrawal2019(model, weights=None, random_state=0, **options)
    net.set_params(device=device, precision="bf16", batching="images", batch_size=-1)
    ours = seconds(lambda: net.fit(pairs, dissim))
    twin = net.initialize().module_.trunk.float()
    inputs = net.module_.preprocessing(pairs.images).to(device)
    optimizer = torch.optim.SGD(twin.parameters(), lr=1e-4)

    def published() -> None:
        for _ in range(n_steps):
            chosen = rng.integers(len(pairs), size=BATCH_PAIRS)
            first, second = (
                centred(twin.to_trained(inputs[side])[0]) for side in pairs.index[chosen].T
            )
            distances = 1 - nn.functional.cosine_similarity(first, second)
            optimizer.zero_grad()
            distances.square().mean().backward()
            optimizer.step()
        synchronise(device)

    published()
    scale = net.max_epochs * len(pairs) / (n_steps * BATCH_PAIRS)
    slow = seconds(published) * scale
    return [
        [model, "the paper's, plain PyTorch", "-", slow, "1", "-"],
        [model, "make_agrawal2019", "-", ours, f"{slow / ours:.0f}", "-"],
    ]


def search_rows(images: np.ndarray, device: str, rates: list[float]) -> list[list[Any]]:
    """Seconds of a search with two workers on the device."""
    pairs = ImagePairs(images)
    dissim = np.random.default_rng(0).random(len(pairs))
    search = GridSearchCV(
        network(images.shape[1], device, max_epochs=2),
        {"lr": rates},
        cv=ImageKFold(2),
        scoring=rdm_spearman_scorer,
        n_jobs=2,
        error_score="raise",
    )
    taken = seconds(lambda: search.fit(pairs, dissim))
    return [["search", f"two workers, {2 * len(rates) + 1} fits", "-", taken, "-", "-"]]


def centred(activations: Tensor) -> Tensor:
    """Activations minus each image's mean."""
    features = activations.flatten(1)
    return features - features.mean(dim=1, keepdim=True)


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
