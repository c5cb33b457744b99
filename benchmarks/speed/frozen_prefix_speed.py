"""Time an epoch of VGG-16 with frozen layers against the paper's loop, on the same network.

Frozen up to conv5_2, 224 pixels, 210 images in two sets (92 and 118), 11,089 pairs. The alternative
is the twin network as published: random mini-batches of 16 pairs, two forward passes a pair, in
plain PyTorch, the frozen layers under no_grad. An epoch of it takes an hour, so that a few steps
are timed and scaled. Ours reads the frozen layers' activations from `memory` after the first pass.

    python benchmarks/speed/frozen_prefix_speed.py            # three minutes on 2 cores
    python benchmarks/speed/frozen_prefix_speed.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from _report import is_fast, write_report
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor

FROZEN = "conv5_2"
N_FROZEN = 27  # the same layers in torchvision's VGG-16: features[:27]
LAYERS = ("pool5", "fc7")  # trained at
AT_LEAST = 1000
BATCH_PAIRS = 16
COLUMNS = ("trained at", "loop", "seconds per epoch", "ratio")
TEXT = f"""
VGG-16 (random weights) frozen up to `{FROZEN}`; 92 and 118 images of 224 x 224 pixels, all 11,089
pairs within the two sets are labelled. Median of 3 interleaved rounds. At `fc7` 121 million weights
are trained, at `pool5` 2.4 million: the two steps of an epoch then mostly move weights and their
gradients through memory, which the published loop does 693 times, hidden behind its forward passes.
The paper's loop takes {BATCH_PAIRS} random pairs a step, its frozen layers under `no_grad`: 3 of
its 693 steps are timed each round, and scaled. Ours takes every pair once an epoch as well, in one
step for each set; the first epoch computes and stores what the frozen layers make of every image,
all others look it up (which is included). Before timing, ours gives the distances and gradients
that the published loop gives in float64, to a relative 1e-3.
"""


def main() -> None:
    fast = is_fast(__doc__)
    rows = []
    for layer in LAYERS:
        slow, first_pass, quick, ratio = compare(layer, fast)
        rows += [
            [f"`{layer}`", "the paper's, plain PyTorch, frozen layers under `no_grad`", slow, "1"],
            [
                f"`{layer}`",
                "SiameseRDMRegressor, first epoch",
                first_pass,
                f"{slow / first_pass:.0f}",
            ],
            [f"`{layer}`", "SiameseRDMRegressor, later epochs", quick, f"{ratio:.0f}"],
        ]
        for row in rows[-3:]:
            print(dict(zip(COLUMNS, row, strict=True)), flush=True)
        assert fast or ratio >= AT_LEAST, f"{ratio:.0f} times is less than {AT_LEAST}"
    if not fast:
        title = "Training with frozen layers: time of an epoch"
        write_report("frozen_prefix_speed", title, TEXT, COLUMNS, rows)


def compare(layer: str, fast: bool) -> tuple[float, float, float, float]:
    """Seconds of the paper's epoch, of our first and later ones, and the ratio to the latter."""
    n_images, pixels, rounds, n_steps = ((5, 6), 32, 1, 1) if fast else ((92, 118), 224, 3, 3)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (n, pixels, pixels, 3), dtype=np.uint8) for n in n_images]
    pairs = ImagePairs.concatenate([ImagePairs(some) for some in images])
    dissim = rng.random(len(pairs))
    with tempfile.TemporaryDirectory() as memory:
        net = SiameseRDMRegressor(
            "vgg16",
            layer,
            weights=None,
            freeze_up_to=FROZEN,
            image_size=pixels,
            batch_size=-1,
            criterion=nn.MSELoss,
            optimizer=torch.optim.SGD,
            max_epochs=1,
            lr=1e-3,
            memory=memory,
            random_state=0,
        ).initialize()
        twin = torchvision.models.vgg16().eval()
        frozen, trained = twin.features[:N_FROZEN], [twin.features[N_FROZEN:]]
        if layer == "fc7":
            trained += [twin.avgpool, nn.Flatten(), twin.classifier[:4]]
        trained = nn.Sequential(*trained)
        inputs = net.module_.preprocessing(pairs.images)

        def distances(index: np.ndarray) -> Tensor:
            """Two branches, two forward passes: 1 - Pearson's r of every pair."""
            images = inputs.to(next(twin.parameters()).dtype)
            first, second = (branch(frozen, trained, images[side]) for side in index.T)
            return 1 - nn.functional.cosine_similarity(first, second)

        def ours() -> float:
            net.partial_fit(pairs, dissim)
            return 1

        def published() -> float:
            optimizer = torch.optim.SGD(trained.parameters(), lr=1e-3)
            for _ in range(n_steps):
                chosen = rng.integers(len(pairs), size=BATCH_PAIRS)
                loss = (distances(pairs.index[chosen]) - torch.tensor(dissim[chosen])) ** 2
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
            return n_steps * BATCH_PAIRS / len(pairs)

        first_pass = seconds_per_epoch(ours)
        assert_equal(net, twin, pairs, distances)
        times = np.array(
            [[seconds_per_epoch(published), seconds_per_epoch(ours)] for _ in range(rounds + 1)][1:]
        )
    slow, quick = map(float, np.median(times, axis=0))
    return slow, first_pass, quick, float(np.median(times[:, 0] / times[:, 1]))


def branch(frozen: nn.Module, trained: nn.Module, images: Tensor) -> Tensor:
    """Centred activations of some images."""
    with torch.no_grad():
        activations = frozen(images)
    features = trained(activations).flatten(1)
    return features - features.mean(dim=1, keepdim=True)


def assert_equal(
    net: SiameseRDMRegressor,
    twin: nn.Module,
    pairs: ImagePairs,
    distances: Callable[[np.ndarray], Tensor],
) -> None:
    """Give both loops the same weights, and compare distances and gradients of some pairs.

    The published loop runs in float64: torch rounds its float32 convolutions by more than 1e-3.
    """
    weights = net.module_.trunk.network.state_dict()
    twin.load_state_dict({k: v.clone() for k, v in weights.items()}, strict=False)
    twin.double()
    some = pairs[:: len(pairs) // 16]
    expected = distances(some.index)
    batch, _ = net.get_dataset(some, np.zeros(len(some))).__getitems__(range(len(some)))
    predicted = net.module_(batch)
    np.testing.assert_allclose(predicted.detach(), expected.detach(), rtol=1e-3, atol=1e-6)
    net.module_.zero_grad()
    expected.square().mean().backward()
    predicted.square().mean().backward()
    ours = dict(net.module_.trunk.network.named_parameters())
    compared = [(name, p) for name, p in twin.named_parameters() if p.grad is not None]
    assert compared, "the alternative has no gradient"
    for name, parameter in compared:
        error = (ours[name].grad - parameter.grad).norm() / parameter.grad.norm()
        assert error < 1e-3, f"gradient of {name} is {error:.1e} off"
    twin.zero_grad(set_to_none=True)
    twin.float()


def seconds_per_epoch(train: Callable[[], float]) -> float:
    """``train`` returns what part of an epoch it took."""
    start = time.perf_counter()
    part = train()
    return (time.perf_counter() - start) / part


if __name__ == "__main__":
    main()
