"""Time training on labelled pairs against the paper's loop, on the same network.

AlexNet, all layers up to conv4 trained, 224 pixels, 118 images. The alternative is the twin
network as published: random mini-batches of 16 pairs, two forward passes a pair, in plain PyTorch.
Ours forwards each image once and takes all 6,903 pairs from one product of the activations.

    python benchmarks/speed/training_speed.py            # two minutes on 2 cores
    python benchmarks/speed/training_speed.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from _report import is_fast, write_report
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor

LAYER, N_MODULES = "conv4", 9  # the same layer in torchvision's AlexNet: features[:9]
BATCH_PAIRS = 16
AT_LEAST = 50
COLUMNS = ("loop", "labelled pairs per second", "ratio")
TEXT = f"""
Training AlexNet (random weights) up to `{LAYER}`, 118 images of 224 x 224 pixels, all 6,903 pairs
labelled; median of 3 interleaved rounds. Before timing, both give the same distances of the same
pairs and the same gradients, to a relative 1e-3.
"""


def main() -> None:
    fast = is_fast(__doc__)
    n_images, pixels, rounds = (16, 64, 1) if fast else (118, 224, 3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8)
    pairs = ImagePairs(images, np.column_stack(np.triu_indices(n_images, 1)))
    dissim = rng.random(len(pairs))

    net = SiameseRDMRegressor(
        "alexnet", LAYER, weights=None, image_size=pixels, batch_size=-1, max_epochs=1, lr=1e-3
    )
    net.set_params(criterion=nn.MSELoss, optimizer=torch.optim.SGD, random_state=0).initialize()
    twin = torchvision.models.alexnet().features[:N_MODULES]
    inputs = net.module_.preprocessing(images)
    assert_equal(net, twin, pairs, inputs)

    def ours() -> int:
        net.partial_fit(pairs, dissim)
        return len(pairs)

    def published() -> int:
        n_steps = 2 if fast else 10
        optimizer = torch.optim.SGD(twin.parameters(), lr=1e-3)
        for _ in range(n_steps):
            chosen = rng.integers(len(pairs), size=BATCH_PAIRS)
            loss = (
                distances(twin, inputs, pairs.index[chosen]) - torch.tensor(dissim[chosen])
            ) ** 2
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        return n_steps * BATCH_PAIRS

    rates = np.array([[rate(ours), rate(published)] for _ in range(rounds + 1)][1:])
    fast_rate, slow_rate = np.median(rates, axis=0)
    ratio = float(np.median(rates[:, 0] / rates[:, 1]))
    rows = [
        ["the paper's, plain PyTorch", round(slow_rate), "1"],
        ["SiameseRDMRegressor", round(fast_rate), f"{ratio:.0f}"],
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        assert ratio >= AT_LEAST, f"{ratio:.1f} times is less than {AT_LEAST}"
        write_report("training_speed", "Training: pairs per second", TEXT, COLUMNS, rows)


def distances(twin: nn.Module, inputs: Tensor, index: np.ndarray) -> Tensor:
    """Two branches, two forward passes: 1 - Pearson's r of every pair."""
    first, second = (twin(inputs[side]).flatten(1) for side in index.T)
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    return 1 - nn.functional.cosine_similarity(first, second)


def assert_equal(
    net: SiameseRDMRegressor, twin: nn.Module, pairs: ImagePairs, inputs: Tensor
) -> None:
    """Give both loops the same weights, and compare distances and gradients of some pairs."""
    weights = net.module_.trunk.network.state_dict()
    twin.load_state_dict({k.removeprefix("features."): v.clone() for k, v in weights.items()})
    some = pairs[:: len(pairs) // 16]
    expected = distances(twin, inputs, some.index)
    dataset = net.get_dataset(some, np.zeros(len(some)))
    batch, _ = dataset.__getitems__(range(len(some)))
    predicted = net.module_(batch)
    np.testing.assert_allclose(predicted.detach(), expected.detach(), rtol=1e-3, atol=1e-6)
    expected.square().mean().backward()
    predicted.square().mean().backward()
    trained = dict(net.module_.trunk.network.named_parameters())
    for name, parameter in twin.named_parameters():
        gradient = trained[f"features.{name}"].grad
        error = (gradient - parameter.grad).norm() / parameter.grad.norm()
        assert error < 1e-3, f"gradient of {name} is {error:.1e} off"
    net.initialize()


def rate(train: Callable[[], int]) -> float:
    start = time.perf_counter()
    n_pairs = train()
    return n_pairs / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
