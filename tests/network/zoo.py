"""Networks of all families, and what must hold for each: values, gradients and axes are its own."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from skorch.callbacks import Callback
from torch import Tensor, nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._features import Pooling, to_features
from sklearn_rdm._network._hooked import HookedNetwork
from sklearn_rdm._network._layouts import Axes
from sklearn_rdm._network._trunk import Trunk

SIZES = (32, 64, 96, 128, 160, 192, 224, 240, 256)  # pixels; the smallest that a network takes
DEPTHS = (0.25, 0.5, 0.75, 1.0)
TINY = ("test_", "atto", "femto", "pico", "nano", "xxs", "tiny", "mini", "_ti", "xxt", "_xs", "_t")
TINY += ("small", "_s", "b0", "000", "18", "16", "11", "050", "lite")

Make = Callable[[int], nn.Module]  # from a size in pixels to a network for it


class Recurrent(nn.Module):
    """One convolution that is called four times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 8, 5, 4), nn.Conv2d(8, 8, 3, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        state = x = self.stem(x)
        for _ in range(4):
            state = self.act(self.again(state) + x)
        return self.head(state.mean((2, 3)))


class Area(nn.Module):
    """A cortical area: a block that is run several times, with a norm of its own each time."""

    def __init__(self, n_in: int, n_out: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.enter = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.conv1 = nn.Conv2d(n_out, 2 * n_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(2 * n_out, n_out, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for _ in range(times))
        self.act, self.output = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.enter(x), 2)
        for time in range(self.times):
            x = self.act(self.norms[time](self.conv2(self.act(self.conv1(x)))) + x)
        return self.output(x)


class Areas(nn.Sequential):
    """V1, V2, V4 and IT, recurrent."""

    def __init__(self) -> None:
        super().__init__()
        self.V1, self.V2 = Area(3, 8, 1), Area(8, 12, 2)
        self.V4, self.IT = Area(12, 16, 4), Area(16, 24, 2)
        self.decoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def recurrent_networks() -> dict[str, Make]:
    return {"recurrent": lambda size: Recurrent(), "recurrent areas": lambda size: Areas()}


def torchvision_networks() -> dict[str, Make]:
    """All classification networks."""

    def make(name: str, size: int) -> nn.Module:
        options: dict[str, Any] = {}
        if name in ("googlenet", "inception_v3"):
            options = {"init_weights": False}
        elif name.startswith("vit_"):
            options = {"image_size": size}
        elif name.startswith("maxvit_"):
            options = {"input_size": (size, size)}
        return torchvision.models.get_model(name, weights=None, **options)

    names = torchvision.models.list_models(module=torchvision.models)
    return {name: partial(make, name) for name in names}


def timm_network(name: str) -> Make:
    import timm

    def make(size: int) -> nn.Module:
        fixed = timm.get_pretrained_cfg(name).fixed_input_size
        return timm.create_model(name, **({"img_size": size} if fixed else {}))

    return make


def timm_networks() -> dict[str, Make]:
    """A small network of each family, that is, of each of timm's files."""
    import timm

    def by_size(name: str) -> tuple[int, int]:
        found = [i for i, word in enumerate(TINY) if word in name]
        return (found[0] if found else len(TINY), len(name))

    chosen: dict[str, Make] = {}
    for family in timm.list_modules():
        names = sorted(timm.list_models(module=family), key=by_size)
        if names:
            chosen[f"timm/{names[0]}"] = timm_network(names[0])
    return chosen


def transformers_networks() -> dict[str, Make]:
    """ViT, CLIP's vision tower, DINOv2 and ResNet."""
    import transformers

    def transformer(name: str, options: dict[str, Any], size: int) -> nn.Module:
        config = getattr(transformers, f"{name}Config")(
            **{"image_size": size, "hidden_size": 32, "num_hidden_layers": 4},
            **{"num_attention_heads": 2, "patch_size": 16} | options,
        )
        return getattr(transformers, f"{name}Model")(config)

    def resnet(size: int) -> nn.Module:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic"
        )
        return transformers.ResNetModel(config)

    with_mlp = {"intermediate_size": 64}
    return {
        "transformers ViT": partial(transformer, "ViT", with_mlp),
        "transformers CLIP": partial(transformer, "CLIPVision", with_mlp),
        "transformers DINOv2": partial(transformer, "Dinov2", {}),
        "transformers ResNet": resnet,
    }


@dataclass
class Outcome:
    """What was found for one network."""

    name: str
    size: int
    way: str  # "cut" or "hooks"
    n_layers: int
    largest_difference: float  # of read-outs, over the largest value of the layer
    largest_gradient_difference: float
    gradient_rounding: float  # of the plain twin, by single precision
    n_axes_right: int  # of read-outs whose axes a second size tells
    n_axes_told: int
    n_axes_unknown: int  # what the library refuses to pool


def examine(name: str, make: Make) -> Outcome:
    """Compare one network with itself, untouched."""
    size, network = _smallest(make)
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    factory = partial(copy.deepcopy, network)
    inputs = load_backbone(factory, image_size=size).preprocessing(images)
    seen = hooked(copy.deepcopy(network), inputs[:2])
    layers = _at_depths(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trunk = Trunk(load_backbone(factory, image_size=size), layers)
        with torch.no_grad():
            values = trunk(inputs[:2])
        differences = [
            float((ours - seen[layer]).abs().max() / seen[layer].abs().max())
            for layer, ours in zip(layers, values, strict=True)
        ]
        axes = list(_axes(make, size, layers, values, trunk.axes))
        way = "hooks" if isinstance(trunk._way, HookedNetwork) else "cut"
        del trunk, values, seen  # networks of half a billion weights need the memory
        gradient, rounding = _gradient_difference(network, layers[2], images, inputs)
    return Outcome(
        name=name,
        size=size,
        way=way,
        n_layers=len(layers),
        largest_difference=max(differences),
        largest_gradient_difference=gradient,
        gradient_rounding=rounding,
        n_axes_right=axes.count("right"),
        n_axes_told=axes.count("right") + axes.count("wrong"),
        n_axes_unknown=axes.count("unknown"),
    )


def _smallest(make: Make) -> tuple[int, nn.Module]:
    """The network for the smallest size at which it runs and gives the same twice."""
    for size in SIZES:
        torch.manual_seed(0)
        try:
            network = make(size)
            _settle(network, size)
            if len(hooked(copy.deepcopy(network), torch.randn(2, 3, size, size))) >= 4:
                return size, network
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ZeroDivisionError):
            continue
    raise ValueError(f"none of {SIZES} pixels works")


def _settle(network: nn.Module, size: int) -> None:
    """Take the statistics of some images, without which activations of random weights vanish."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train().momentum = None
    with torch.no_grad():
        network(torch.randn(16, 3, size, size))
    network.eval()


def hooked(network: nn.Module, inputs: Tensor, *, trained: bool = False) -> dict[str, Tensor]:
    """What modules of an untouched network return, call by call: tensors of one row an image."""
    seen: dict[str, Tensor] = {}
    n_calls: dict[str, int] = {}

    def hook(path: str, _: Any, __: Any, out: Any) -> None:
        number = n_calls[path] = n_calls.get(path, -1) + 1
        if not isinstance(out, Tensor) or out.ndim < 2 or len(out) != len(inputs):
            return
        if trained or (out[0].numel() > 3 and not torch.equal(out[0], out[1])):
            seen[f"{path}_{number}" if number else path] = out.clone()

    handles = [
        module.register_forward_hook(partial(hook, path))
        for path, module in network.named_modules()
        if path
    ]
    with torch.set_grad_enabled(trained):
        network(inputs)
    for handle in handles:
        handle.remove()
    return seen


def _at_depths(seen: dict[str, Tensor]) -> list[str]:
    names = list(seen)
    return list(dict.fromkeys(names[round(depth * (len(names) - 1))] for depth in DEPTHS))


class Gradients(Callback):
    """Keeps the gradients of the first step."""

    def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:
        self.found_ = {name: p.grad.clone() for name, p in named_parameters if p.grad is not None}


def _gradient_difference(
    network: nn.Module, layer: str, images: np.ndarray, inputs: Tensor
) -> tuple[float, float]:
    """Largest relative difference of one step's gradients from those of a plain twin.

    Beside it the same of the plain twin itself from its gradients in double precision: what
    rounding does; NaN if the network does not run in double precision.
    """
    pairs = ImagePairs(images)
    target = np.linspace(0.2, 1.2, len(pairs)).astype(np.float32)
    gradients = Gradients()
    net = SiameseRDMRegressor(
        partial(copy.deepcopy, network),
        layer,
        image_size=inputs.shape[-1],
        criterion=nn.MSELoss,
        optimizer=torch.optim.SGD,
        lr=0.0,
        batch_size=-1,
        max_epochs=1,
        callbacks=[("gradients", gradients)],
    )
    net.fit(pairs, target)
    found = {name.removeprefix("trunk.network."): g for name, g in gradients.found_.items()}
    del net, gradients
    plain = _twin_gradients(network, layer, pairs, inputs, target, torch.float32)
    difference = _relative(found, plain)
    del found
    try:
        exact = _twin_gradients(network, layer, pairs, inputs, target, torch.float64)
    except RuntimeError:  # code that asks for single precision
        return difference, math.nan
    return difference, _relative(plain, exact)


def _twin_gradients(
    network: nn.Module,
    layer: str,
    pairs: ImagePairs,
    inputs: Tensor,
    target: np.ndarray,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Gradients of the squared error of two branches of the untouched network."""
    twin = copy.deepcopy(network).eval().to(dtype)
    sides = [inputs[side].to(dtype) for side in pairs.index.T]
    rows = [hooked(twin, side, trained=True)[layer].flatten(1).to(dtype) for side in sides]
    centred = [each - each.mean(dim=1, keepdim=True) for each in rows]
    first, second = (each / each.norm(dim=1, keepdim=True) for each in centred)
    predicted = 1 - (first * second).sum(dim=1)
    nn.functional.mse_loss(predicted, torch.from_numpy(target).to(dtype)).backward()
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def _relative(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest difference of a parameter, over its length, or a hundredth of the longest one's."""
    largest = max(float(grad.norm()) for grad in expected.values())
    zero = torch.zeros(())
    return max(
        float((found.get(name, zero) - grad).norm()) / max(float(grad.norm()), 0.01 * largest)
        for name, grad in expected.items()
    )


def _axes(
    make: Make, size: int, layers: list[str], values: tuple[Tensor, ...], axes: tuple[Axes, ...]
) -> Iterator[str]:
    """Whether maps are pooled over the axes that change with the size of the images."""
    larger = _shapes(make, size, layers)
    for layer, value, found in zip(layers, values, axes, strict=True):
        if value.ndim != 4 or value.shape[1:].numel() in value.shape[1:]:
            continue
        if found.layout is None:
            yield "unknown"
            continue
        shape = larger.get(layer)
        changed = [] if shape is None else [i for i in (1, 2, 3) if value.shape[i] != shape[i]]
        if len(changed) == 2:
            pooled = to_features(value, found, Pooling((1, 1)))
            same = pooled.shape == value.mean(changed).shape
            yield "right" if same and torch.allclose(pooled, value.mean(changed)) else "wrong"


def _shapes(make: Make, size: int, layers: list[str]) -> dict[str, torch.Size]:
    """Shapes of layers for larger images, by a network made for these; none if it refuses them."""
    for more in (size + 32, 2 * size):
        try:
            torch.manual_seed(0)
            seen = hooked(make(more).eval(), torch.randn(2, 3, more, more))
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
            continue
        return {layer: seen[layer].shape for layer in layers if layer in seen}
    return {}
