"""Files of weights: read without running code, and loaded into a network, which may be cut."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_rdm._pairs._extras import import_optional

__all__ = ["WEIGHT_SUFFIXES", "is_file", "load_fitting", "load_weights", "read_state_dict"]

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")


def is_file(weights: Any) -> bool:
    """Whether weights are those of a file, and not a name that a package has for its own."""
    if isinstance(weights, os.PathLike):
        return True
    return isinstance(weights, str) and weights.endswith(WEIGHT_SUFFIXES)


def read_state_dict(path: Any) -> dict[str, Tensor]:
    """Read a ``.pth`` (no pickled code is run) or ``.safetensors`` file of named tensors."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {str(path)!r}.")
    if path.suffix == ".safetensors":
        read: Callable[[Path], Any] = import_optional("safetensors.torch", "safetensors").load_file
    else:
        read = partial(torch.load, map_location="cpu", weights_only=True)
    try:
        state = read(path)
    except Exception as error:  # both raise whatever the bytes lead them to
        raise ValueError(
            f"{str(path)!r} cannot be read as a file of weights (a state dict of tensors): {error}"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise ValueError(f"{str(path)!r} holds no state dict: names and tensors are expected.")
    # DataParallel's prefix; the names that torchvision's own files of DenseNets still have
    names = (re.sub(r"(denselayer\d+\.\w+)\.(\d)\.", r"\1\2.", key) for key in state)
    return dict(zip((name.removeprefix("module.") for name in names), state.values(), strict=True))


def load_weights(network: nn.Module, state_dict: Mapping[str, Tensor], known: set[str]) -> None:
    """Load the weights that ``network`` has; ``known`` names those of layers that were cut off."""
    own = network.state_dict()
    fitting = {key: _fit(value, own[key]) for key, value in state_dict.items() if key in own}
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


def load_fitting(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load all weights that fit, so that the network can be run before it is cut."""
    own = network.state_dict()
    fitting = {key: _fit(value, own[key]) for key, value in state_dict.items() if key in own}
    fitting = {key: value for key, value in fitting.items() if value.shape == own[key].shape}
    network.load_state_dict(fitting, strict=False)


def _fit(value: Tensor, own: Tensor) -> Tensor:
    """Reshape fc weights to those of the convolution that fully_convolutional makes of them."""
    is_fc = value.ndim == 2 and own.ndim == 4 and value[:1].numel() == own[:1].numel()
    return value.reshape(-1, *own.shape[1:]) if is_fc else value


def _list_some(title: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{title}: {', '.join(names[:3])}{more}. "
