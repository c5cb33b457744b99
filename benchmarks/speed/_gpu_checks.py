"""What is shown on a GPU beside the time of training: search, transform, memory, same bits.

Each function returns figures by name, and takes ``fast`` for its smallest size.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from typing import Any

import numpy as np
import torch
from _timing import seconds
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import FixedRSARegressor, ImagePairs, SiameseRDMRegressor
from sklearn_rdm._network import _accelerator
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold

SEARCHED = {"freeze_up_to": ["block4", "block7", "block10"], "lr": [1e-4, 3e-4, 1e-3]}
SEARCHED_FAST = {"freeze_up_to": ["features.0"], "lr": [1e-3]}


def simulate(n_images: int, pixels: int) -> tuple[ImagePairs, np.ndarray]:
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.integers(0, 256, (n_images, pixels, pixels, 3), dtype=np.uint8))
    return pairs, rng.random(len(pairs))


def small_network(device: str, fast: bool, **options: Any) -> SiameseRDMRegressor:
    layer, pixels = ("features.4", 32) if fast else ("block14", 224)
    backbone = "squeezenet1_1" if fast else "efficientnet_lite0"
    settings = {"weights": None, "image_size": pixels, "max_epochs": 1 if fast else 10}
    settings |= {"random_state": 0, "device": device} | options
    return SiameseRDMRegressor(backbone, layer, **settings)


def search(device: str, fast: bool) -> dict[str, Any]:
    """Seconds of 3 depths x 3 rates x 5 folds, for 1, 4 and 16 workers."""
    pairs, dissim = simulate(10 if fast else 92, 32 if fast else 224)
    grid, n_folds = (SEARCHED_FAST, 2) if fast else (SEARCHED, 5)
    found = {}
    for n_jobs in (1,) if fast else (1, 4, 16):
        searched = GridSearchCV(
            small_network(device, fast),
            grid,
            cv=ImageKFold(n_folds),
            scoring=rdm_spearman_scorer,
            n_jobs=n_jobs,
            error_score="raise",
        )
        found[f"seconds, n_jobs={n_jobs}"] = seconds(lambda: searched.fit(pairs, dissim))  # noqa: B023
        print(found, flush=True)
    return found


def transform(device: str, fast: bool) -> dict[str, Any]:
    """Images per second from an array to an RDM file, and of the bare forward pass."""
    n_images, pixels, backbone, layer = (
        (12, 32, "squeezenet1_1", "features.4") if fast else (50_000, 224, "resnet50", "avgpool")
    )
    few = np.random.default_rng(0).integers(0, 256, (min(n_images, 512), pixels, pixels, 3))
    few = few.astype(np.uint8)
    net = SiameseRDMRegressor(backbone, layer, weights=None, image_size=pixels, device=device)
    net.set_params(precision="bf16", random_state=0).initialize()
    module = net.module_.eval()
    inputs = net.module_.preprocessing(few[:64]).to(device)
    n_batches = -(-n_images // len(inputs))

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast(device, torch.bfloat16):
            for _ in range(min(n_batches, 100)):
                module.trunk(inputs)
        synchronise(device)

    forward()
    bare = min(n_batches, 100) * len(inputs) / seconds(forward)
    with tempfile.TemporaryDirectory() as folder:
        images = np.lib.format.open_memmap(
            f"{folder}/images.npy", "w+", np.uint8, (n_images, *few.shape[1:])
        )
        for start in range(0, n_images, len(few)):
            images[start : start + len(few)] = few[: n_images - start]
        taken = seconds(lambda: net.transform(images, out=f"{folder}/rdm.npy"))
    rate = n_images / taken
    return {
        "images per second": rate,
        "bare forward pass": bare,
        "share": rate / bare,
        "share of the product rate, host": product_share(200 if fast else 20_000),
    }


def product_share(n_images: int) -> float:
    """Time of the bare matrix product over that of the RDM, which is computed on the host."""
    features = np.random.default_rng(0).standard_normal((n_images, 2048), dtype=np.float32)
    regressor = FixedRSARegressor().fit(ImagePairs(features[:4]), np.arange(6.0))
    rdm = regressor.transform(features)
    centred = features - features.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(rdm[:9, :9], 1 - unit[:9] @ unit[:9].T, atol=1e-5)
    plain = min(seconds(lambda: features @ features.T) for _ in range(3))
    return plain / min(seconds(lambda: regressor.transform(features)) for _ in range(3))


def bits(device: str, fast: bool) -> dict[str, Any]:
    """Whether the same seed gives the same bits, what that costs, and a fit loaded on the CPU."""
    pairs, dissim = simulate(10 if fast else 92, 32 if fast else 224)
    nets, found = [], {}
    for deterministic in (False, False, True, True):
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        net = small_network(device, fast)
        found[f"seconds, deterministic={deterministic}"] = seconds(lambda: net.fit(pairs, dissim))  # noqa: B023
        nets.append(net)
    torch.use_deterministic_algorithms(False)
    predicted = [net.predict(pairs) for net in nets]
    file = io.BytesIO()
    nets[0].save_params(f_params=file)
    file.seek(0)
    on_cpu = clone(nets[0]).set_params(device="cpu").initialize()
    on_cpu.load_params(f_params=file)
    return found | {
        "same bits, default": bool(np.array_equal(*predicted[:2])),
        "same bits, deterministic": bool(np.array_equal(*predicted[2:])),
        "largest difference on the CPU": float(np.abs(on_cpu.predict(pairs) - predicted[0]).max()),
    }


def synchronisations(device: str, fast: bool) -> dict[str, Any]:
    """Warnings of PyTorch that the host waited for the GPU, within two more epochs of training."""
    pairs, dissim = simulate(10 if fast else 92, 32 if fast else 224)
    net = small_network(device, fast, max_epochs=1).fit(pairs, dissim)
    batches = -(-len(pairs.images) // net.batch_size)
    if device == "cpu":
        return {"synchronisations per epoch": 0, "mini-batches per epoch": batches}
    counts = []
    for n_epochs in (1, 3):
        net.set_params(max_epochs=n_epochs)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            net.partial_fit(pairs, dissim)
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(one.message) for one in caught))
    per_epoch = (counts[1] - counts[0]) / 2
    return {"synchronisations per epoch": per_epoch, "mini-batches per epoch": batches}


def gradients(device: str, fast: bool) -> dict[str, Any]:
    """Relative difference of the gradients of bfloat16 and float32, by layer; the largest ones."""
    pairs, _ = simulate(8 if fast else 32, 32 if fast else 224)
    by_precision = {}
    for precision in ("float32", "bf16"):
        net = small_network(device, fast).initialize()
        net.module_.train()
        inputs = net.module_.preprocessing(pairs.images).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            net.module_.trunk.to_trained(inputs)[0].float().square().mean().backward()
        by_precision[precision] = {
            name: one.grad.double()
            for name, one in net.module_.named_parameters()
            if one.grad is not None
        }
    exact, mixed = by_precision["float32"], by_precision["bf16"]
    differences = {n: float((mixed[n] - g).norm() / g.norm()) for n, g in exact.items() if g.any()}
    worst = sorted(differences, key=lambda name: -differences[name])[:5]
    return {"largest": {name: differences[name] for name in worst}}


def resident(device: str, fast: bool) -> dict[str, Any]:
    """Seconds of an epoch with the photographs on the GPU, and with those of the host."""
    pairs, dissim = simulate(8 if fast else 512, 32 if fast else 224)
    share, found = _accelerator.RESIDENT_SHARE, {}
    for name, allowed in (("on the GPU", share), ("on the host", 0.0)):
        _accelerator.RESIDENT_SHARE = allowed
        try:
            net = small_network(device, fast, freeze_up_to=None, max_epochs=1 if fast else 5)
            net.fit(pairs, dissim)
        finally:
            _accelerator.RESIDENT_SHARE = share
        found[f"seconds an epoch, {name}"] = float(np.median(net.history[:, "dur"]))
    return found


def memory(device: str, fast: bool) -> dict[str, Any]:
    """Two workers on one device, and a mini-batch that does not fit: what it says."""
    pairs, dissim = simulate(8 if fast else 92, 32 if fast else 224)
    searched = GridSearchCV(
        small_network(device, fast, max_epochs=1),
        {"lr": [1e-4]},
        cv=ImageKFold(2),
        scoring=rdm_spearman_scorer,
        n_jobs=2,
        error_score="raise",
    )
    found: dict[str, Any] = {"seconds, two workers": seconds(lambda: searched.fit(pairs, dissim))}
    if device == "cpu":
        return found
    free = torch.cuda.mem_get_info()[0]
    held = torch.empty(int(free * 0.97), dtype=torch.uint8, device=device)
    try:
        small_network(device, fast, batch_size=-1, max_epochs=1).fit(pairs, dissim)
        found["a mini-batch that does not fit"] = "fitted"
    except Exception as error:  # what is measured is what it says
        found["a mini-batch that does not fit"] = f"{type(error).__name__}: {str(error)[:300]}"
    del held
    return found


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device != "cpu":
        torch.cuda.synchronize()
