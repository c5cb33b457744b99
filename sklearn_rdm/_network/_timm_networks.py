"""Networks of timm, by their names there, fed as timm feeds them."""

from __future__ import annotations

import difflib
import importlib
import math
from typing import Any

from torch import nn
from torchvision.transforms import InterpolationMode

from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._pairs._extras import import_optional

__all__ = ["PREFIX", "create_timm", "is_timms", "timm_hint", "timm_preprocessing"]

PREFIX = "timm/"  # as on the Hugging Face hub


def is_timms(network: nn.Module) -> bool:
    """Whether timm made a network, which then knows how it is fed."""
    return type(network).__module__.startswith("timm.") and hasattr(network, "pretrained_cfg")


def create_timm(name: str, weights: Any, size: tuple[int, int] | None) -> nn.Module:
    """Make a network of timm.

    Parameters
    ----------
    name : str
        As "timm/resnet18.a1_in1k" or, for timm's default weights, "timm/resnet18".
    weights : {"DEFAULT", None}
        The weights of the name, or random ones.
    size : (height, width) or None
        Of the images in pixels. Networks that are made for one size are made for this one, as
        timm does it: position embeddings are interpolated.

    Raises
    ------
    ImportError
        If timm is not installed.
    ValueError
        If it knows no such network or weights.
    OSError
        If the weights cannot be downloaded.
    """
    timm, architecture = import_optional("timm", "timm"), name.removeprefix(PREFIX)
    _check_name(timm, architecture, weights)
    config = timm.get_pretrained_cfg(architecture)
    sized = {"img_size": size} if size and config and config.fixed_input_size else {}
    if weights is None:
        return timm.create_model(architecture, pretrained=False, **sized)
    try:
        return timm.create_model(architecture, pretrained=True, **sized)
    except Exception as error:  # each of the hub's clients raises its own
        raise OSError(
            f"the weights of {name} could not be downloaded from Hugging Face ({error}). Give "
            "weights= a file that you have, or weights=None for random weights."
        ) from error


def _check_name(timm: Any, name: str, weights: Any) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(repr(PREFIX + name) for name in close)}?"
        raise ValueError(
            f"timm has no network {architecture!r}.{hint if close else ''} timm.list_models() "
            "lists all."
        )
    if weights not in ("DEFAULT", None):
        raise ValueError(
            f"weights={weights!r} is not known for {PREFIX + name!r}: the end of its name says "
            "which weights, as in 'timm/resnet18.a1_in1k'. Give 'DEFAULT', a file, or None for "
            "random weights."
        )
    known = timm.list_models(f"{architecture}.*", pretrained=True)
    known = [each for each in known if each.partition(".")[0] == architecture]
    if (tag and name not in known) or (weights is not None and not known):
        listed = ", ".join(repr(PREFIX + each) for each in known) or "none: set weights=None"
        raise ValueError(f"timm has no weights {PREFIX + name!r}. It has {listed}.")


def timm_hint(name: str) -> str:
    """How to write a name that only timm knows; empty for all others."""
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        return ""
    return f"It is a network of timm: write {PREFIX + name!r}. " if timm.is_model(name) else ""


def timm_preprocessing(network: nn.Module, size: tuple[int, int] | None) -> Preprocessing:
    """How timm feeds a network; with a size of one's own, the whole image at this size.

    Raises
    ------
    ValueError
        If timm pads the images.
    """
    resolve = importlib.import_module("timm.data").resolve_model_data_config
    made_for = getattr(getattr(network, "patch_embed", None), "img_size", None)
    config = resolve(network, args={"input_size": (3, *made_for)} if made_for else None)
    options = {
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "interpolation": InterpolationMode(config["interpolation"]),
    }
    if size is not None:
        return Preprocessing(size, **options)
    height, width = config["input_size"][1:]
    sides = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    if config["crop_mode"] == "squash":
        return Preprocessing((height, width), sides, **options)
    if config["crop_mode"] != "center" or sides[0] != sides[1]:
        raise ValueError(
            f"{type(network).__name__} asks for images that are padded (crop mode "
            f"{config['crop_mode']!r}). Set image_size={(height, width)}, which resizes them whole."
        )
    return Preprocessing((height, width), sides[:1], **options)
