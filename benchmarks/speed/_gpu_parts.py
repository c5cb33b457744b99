"""Every figure of training on a GPU, in parts; gpu.sh runs them all, with a limit for each.

A training step of VGG-16 against the same step by hand and the paper's loop, and its profile; an
epoch behind frozen layers and the paper's four models, against the loop as published, of which
some steps are timed and scaled; a search; the transform of many images; and what `_gpu_checks.py`
shows.

    python benchmarks/speed/_gpu_parts.py --part step --out FOLDER   # one part, to a JSON file
    python benchmarks/speed/_gpu_parts.py --collect --out FOLDER     # all of them in gpu.json
    python benchmarks/speed/_gpu_parts.py --fast                     # on the processor, tiny
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from _gpu_checks import (
    bits,
    gradients,
    memory,
    resident,
    search,
    synchronisations,
    synchronise,
    transform,
)
from _timing import seconds
from sklearn.base import clone
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sklearn_rdm import ImagePairs, SiameseRDMRegressor, make_agrawal2019

LAYER, N_MODULES = "pool5", 31  # the same in torchvision's VGG-16: features[:31]
BATCH_IMAGES, BATCH_PAIRS = 64, 16
N_STEPS = 30  # of the published loop
PAPER_IMAGES = (92, 118)
COMPILED = {
    "SiameseRDMRegressor(compile=True)": {},
    "SiameseRDMRegressor(compile=True), CUDA graphs": {"compile__mode": "reduce-overhead"},
}
SAME_CODE = ("paper_meg_late", "paper_fmri_evc", "paper_fmri_it")  # as the first model
PAPER_MODELS = ("meg_early", "meg_late", "fmri_evc", "fmri_it")
COLUMNS = (
    "loop",
    "images per second",
    "labelled pairs per second",
    "seconds",
    "ratio",
    "of the matrix product rate",
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="tiny sizes on the processor")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--out", type=Path, help="folder of the JSON files")
    parser.add_argument("--list", action="store_true", help="print the names of the parts")
    parser.add_argument("--collect", action="store_true", help="put all parts into gpu.json")
    options = parser.parse_args(argv)
    if options.list:
        print(*(part for part in PARTS if not options.fast or part not in SAME_CODE))
    elif options.collect:
        collect(options.out)
    elif options.fast or torch.cuda.is_available():
        for part in options.part:
            found = PARTS[part]("cpu" if options.fast else "cuda", options.fast)
            print(part, json.dumps(found, default=float), flush=True)
            held = claims(part, found)  # a claim that is not met is a figure too
            if options.out:
                write(options.out / f"part_{part}.json", {"figures": found, "claims": held})
            if not options.fast:
                assert all(held.values()), f"not met: {[c for c, met in held.items() if not met]}"
    else:
        print("skipped: torch.cuda finds no GPU on this machine")


def claims(part: str, found: Any) -> dict[str, bool]:
    """What must be true of the figures of a part, and whether it is."""
    if part == "step":
        ours, by_loop = found[1], float(found[-1]["labelled pairs per second"])
        return {
            "at most 1.05 times the step by hand": float(ours["ratio"]) <= 1.05,
            "100 times the pairs of the paper's loop": (
                float(ours["labelled pairs per second"]) >= 100 * by_loop
            ),
            "half of the matrix product rate, or the profile": (
                float(ours["of the matrix product rate"]) >= 0.5
            ),
        }
    if part == "frozen":
        return {"3,000 times the paper's loop": found["ratio"] >= 3000}
    if part == "search":
        return {"a search in 15 s": min(found.values()) < 15}
    if part == "transform":
        return {
            "0.9 of the bare forward pass": found["share"] >= 0.9,
            "0.7 of the matrix product rate": found["share of the product rate, host"] >= 0.7,
        }
    if part == "bits":
        return {"same bits in deterministic mode": found["same bits, deterministic"]}
    if part == "synchronisations":
        return {
            "the host waits for losses only": (
                found["synchronisations per epoch"] <= found["mini-batches per epoch"]
            )
        }
    return {}


def collect(folder: Path) -> None:
    """Write one file: the machine, and every part; those that gave nothing are None."""
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "processor",
        "torch": torch.__version__,
    }
    for part in PARTS:
        file = folder / f"part_{part}.json"
        found[part] = json.loads(file.read_text()) if file.exists() else None
    write(folder / "gpu.json", found)
    print(json.dumps(found, indent=1))


def write(file: Path, found: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1, default=float) + "\n")


def step(device: str, fast: bool) -> list[dict[str, Any]]:
    """A step of all layers of VGG-16: by hand, by ``fit``, compiled."""
    pixels, n_images, n_epochs, size = (
        (32, 8, 1, 256) if fast else (224, 8 * BATCH_IMAGES, 10, 8192)
    )
    shape = (n_images, pixels, pixels, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    rows = step_rows(images, device, n_epochs, matrix_product_rate(size, device), fast)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def profile(device: str, fast: bool) -> dict[str, Any]:
    """Where the time of an epoch of that step goes: shares of the slowest operations."""
    pixels, n_images = (32, 8) if fast else (224, 8 * BATCH_IMAGES)
    images = np.random.default_rng(0).integers(0, 256, (n_images, pixels, pixels, 3), np.uint8)
    pairs = ImagePairs(images)
    dissim = np.random.default_rng(0).random(len(pairs))
    net = network(pixels, device, max_epochs=1).fit(pairs, dissim)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device != "cpu":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiled:
        net.partial_fit(pairs, dissim)
    kind = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    taken = {event.key: float(getattr(event, kind)) for event in profiled.key_averages()}
    total = sum(taken.values())
    slowest = sorted(taken, key=lambda name: -taken[name])[:15]
    return {name[:80]: taken[name] / total for name in slowest}


def frozen(device: str, fast: bool) -> dict[str, Any]:
    """An epoch behind conv5_2 after the first one, beside the paper's loop."""
    n_images = (3, 3) if fast else PAPER_IMAGES
    run = PaperRun("fmri_it", n_images, device, max_epochs=2 if fast else 4, image_size=224)
    run.fit()
    epoch = float(np.median(run.net.history[1:, "dur"]))
    published = run.published_epoch(1 if fast else N_STEPS)
    return {"seconds an epoch": epoch, "published": published, "ratio": published / epoch}


def paper(model: str) -> Callable[[str, bool], dict[str, Any]]:
    """A whole run of one of the paper's models, and what its own loop would take."""

    def run_model(device: str, fast: bool) -> dict[str, Any]:
        n_images, options = ((3, 3), {"max_epochs": 1}) if fast else (PAPER_IMAGES, {})
        run = PaperRun(model, n_images, device, **options)
        taken = run.fit()
        published = run.net.max_epochs * run.published_epoch(1 if fast else N_STEPS)
        return {"seconds": taken, "published, projected": published, "ratio": published / taken}

    return run_model


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
    ways = {
        "by hand, plain PyTorch": plain,
        "SiameseRDMRegressor": np.median(net.history[:, "dur"]),
    }
    for name, options in COMPILED.items():
        options = {"compile__backend": "eager"} if fast else options  # noqa: PLW2901
        tuned = net.set_params(compile=True, **options).fit(pairs, dissim)
        ways[name] = np.median(tuned.history[:, "dur"])
    pairs_per_image = sum(map(n_pairs_of, inputs.split(BATCH_IMAGES))) / len(inputs)
    rates = {name: len(images) / each for name, each in ways.items()}
    rows = [
        [
            name,
            f"{rates[name]:.0f}",
            f"{rates[name] * pairs_per_image:.0f}",
            float(each),
            f"{each / plain:.2f}",
            f"{rates[name] * flops_per_image / product_rate:.2f}",
        ]
        for name, each in ways.items()
    ]
    per_second = by_hand.published_pairs_per_second(inputs, 1 if fast else N_STEPS)
    return [*rows, ["the paper's loop", "", f"{per_second:.0f}", "", "", ""]]


def n_pairs_of(inputs: Tensor) -> int:
    return len(inputs) * (len(inputs) - 1) // 2


class ByHand:
    """The same training step without this package."""

    def __init__(self, net: SiameseRDMRegressor, device: str) -> None:
        self.device = device
        self.features = torchvision.models.vgg16().features[:N_MODULES]
        weights = net.module_.trunk.network.state_dict()
        self.features.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
        self.features.to(device=device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.features.parameters(), lr=1e-4, fused=device != "cpu")

    def published_pairs_per_second(self, inputs: Tensor, n_steps: int) -> float:
        """Of random pairs with two forward passes each, as the paper's loop has them."""
        rng = np.random.default_rng(1)

        def steps() -> None:
            for _ in range(n_steps):
                sides = (inputs[rng.integers(len(inputs), size=BATCH_PAIRS)] for _ in range(2))
                with torch.autocast(self.device, torch.bfloat16):
                    rows = [self.features(side) for side in sides]
                distances = 1 - nn.functional.cosine_similarity(*map(centred, rows))
                self.optimizer.zero_grad()
                distances.square().mean().backward()
                self.optimizer.step()
            synchronise(self.device)

        steps()
        return n_steps * BATCH_PAIRS / seconds(steps)

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


class PaperRun:
    """One of the paper's models on random images: the library's run, and the published loop."""

    def __init__(self, model: str, n_images: Sequence[int], device: str, **options: Any) -> None:
        rng = np.random.default_rng(0)
        sets = [rng.integers(0, 256, (n, 224, 224, 3), dtype=np.uint8) for n in n_images]
        self.pairs = ImagePairs.concatenate([ImagePairs(images) for images in sets])
        self.dissim, self.device = rng.random(len(self.pairs)), device
        self.net = make_agrawal2019(model, weights=None, random_state=0, **options)
        self.net.set_params(device=device, precision="bf16", batching="images", batch_size=-1)

    def fit(self) -> float:
        """Seconds from photographs to weights."""
        return seconds(lambda: self.net.fit(self.pairs, self.dissim))

    def published_epoch(self, n_steps: int) -> float:
        """Seconds of an epoch of random pairs with two forward passes each, scaled."""
        rng = np.random.default_rng(1)
        net = clone(self.net).initialize()
        twin = net.module_.trunk.float()
        inputs = net.module_.preprocessing(self.pairs.images).to(self.device)
        trained = [one for one in twin.parameters() if one.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=1e-4)

        def steps() -> None:
            for _ in range(n_steps):
                chosen = rng.integers(len(self.pairs), size=BATCH_PAIRS)
                first, second = (
                    centred(twin.to_trained(twin.prefix(inputs[side]))[0])
                    for side in self.pairs.index[chosen].T
                )
                distances = 1 - nn.functional.cosine_similarity(first, second)
                optimizer.zero_grad()
                distances.square().mean().backward()
                optimizer.step()
            synchronise(self.device)

        steps()
        return seconds(steps) * len(self.pairs) / (n_steps * BATCH_PAIRS)


def centred(activations: Tensor) -> Tensor:
    """Activations minus each image's mean."""
    features = activations.float().flatten(1)
    return features - features.mean(dim=1, keepdim=True)


PARTS: dict[str, Callable[[str, bool], Any]] = {
    "step": step,
    "profile": profile,
    "frozen": frozen,
    "search": search,
    "transform": transform,
    "bits": bits,
    "synchronisations": synchronisations,
    "gradients": gradients,
    "resident": resident,
    "memory": memory,
    **{f"paper_{model}": paper(model) for model in PAPER_MODELS},
}


if __name__ == "__main__":
    main()
