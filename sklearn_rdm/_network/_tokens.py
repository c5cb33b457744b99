"""Sequences of tokens: which axis counts them, and how many are no patches of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sklearn_rdm._network._hooks import Calls
from sklearn_rdm._network._layouts import Axes, Layout, find_layout

__all__ = ["Sequences", "see_sequences"]

# Names of parameters that networks put before the patches: timm, torchvision, transformers, CLIP.
CLASS_TOKENS = {"cls", "cls_token", "cls_tokens", "class_token", "class_tokens", "class_embedding"}
OTHER_TOKENS = {
    *("dist_token", "distillation_token"),
    *("reg_token", "reg_tokens", "register_token", "register_tokens", "registers"),
}
KNOWN, LIKELY, UNLIKELY = 2, 1, 0  # whether an axis counts tokens


@dataclass
class Sequences:
    """What one forward pass of two photographs shows of a network's tokens.

    Attributes
    ----------
    input_size : (height, width)
        Of the images in pixels.
    n_stated : int or None
        Tokens before those of the patches, by the network's own parameters.
    class_is_named, others_are_named : bool
        Whether it has a parameter named as a class token, or as registers and the like.
    n_places : set of int
        Places of all maps.
    channels : set of int
        Channels of layers that know theirs.
    constant : dict of int to list of bool
        By length: which tokens both images share, in the first sequence of that length. Those that
        have not yet seen the image are no patches.
    """

    input_size: tuple[int, int]
    n_stated: int | None = None
    class_is_named: bool = False
    others_are_named: bool = False
    n_places: set[int] = field(default_factory=set)
    channels: set[int] = field(default_factory=set)
    constant: dict[int, list[bool]] = field(default_factory=dict)

    def axes(self, value: object, module: nn.Module | None) -> Axes:
        """Axes of a layer's activations (n_images, ...), and the module that returned them."""
        if not isinstance(value, Tensor):
            return Axes(0)
        if value.ndim != 3:
            layout = find_layout(value.shape, self.input_size, module, self.constant)
            return Axes(value.ndim, layout)
        length = value.shape[1]
        n_prefix = self.n_prefix(length)
        return Axes(3, self._layout(value.shape, module), n_prefix, self._has_class(n_prefix))

    def n_prefix(self, length: int) -> int | None:
        """How many tokens of a sequence stand before those of the patches; None if unknown."""
        constant = self.constant.get(length, [])
        measured = constant.index(False) if False in constant else 0
        if any(constant[measured:]) and not all(constant):
            return None  # they stand elsewhere too
        for number in (measured, self.n_stated):
            if number is not None and self._are_places(length - number):
                return number
        return length if length == self.n_stated else None

    def _layout(self, shape: Sequence[int], module: nn.Module | None) -> Layout | None:
        """Whether the second axis counts tokens, and the third channels."""
        _, length, width = shape
        first, last = self._counts_tokens(length), self._counts_tokens(width)
        if first != last:
            return "tokens" if first > last else None
        if isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) == (width,):
            return "tokens"
        told_apart = width in self.channels and length not in self.channels
        return "tokens" if first and told_apart else None

    def _counts_tokens(self, length: int) -> int:
        number = self.n_prefix(length)
        if number is None:
            return UNLIKELY
        return KNOWN if length - number in self.n_places or number else LIKELY

    def _has_class(self, n_prefix: int | None) -> bool:
        return bool(n_prefix) and (
            self.class_is_named or (n_prefix == 1 and not self.others_are_named)
        )

    def _are_places(self, number: int) -> bool:
        """Whether patches of a map, or of the image, are so many."""
        if number in self.n_places:
            return True
        height, width = self.input_size
        sides = range(1, min(height, width) + 1)
        return number > 1 and any((height // s) * (width // s) == number for s in sides)


def see_sequences(network: nn.Module, calls: Calls, input_size: Sequence[int]) -> Sequences:
    """Look at what the modules of a network returned for two photographs.

    Parameters
    ----------
    network : Module
        As it was run.
    calls : Calls
        What its modules returned.
    input_size : (height, width)
        Of the photographs in pixels.
    """
    height, width = input_size
    seen = Sequences((height, width))
    _read_names(network, seen)
    values = [
        (network.get_submodule(path), leaf)
        for (path, _), value in calls.values.items()
        for leaf in tree_leaves(value)
        if isinstance(leaf, Tensor) and leaf.shape[:1] == (2,)
    ]
    for _, value in values:
        if value.ndim == 3 and value.shape[1] not in seen.constant:
            same = torch.eq(value[0], value[1]).all(dim=-1)
            seen.constant[value.shape[1]] = same.tolist()
    for module, value in values:
        _read_map(module, value, seen)
    return seen


def _read_names(network: nn.Module, seen: Sequences) -> None:
    """Count the tokens that are parameters."""
    number = 0
    for path, parameter in network.named_parameters():
        name = path.rpartition(".")[2]
        if name in CLASS_TOKENS | OTHER_TOKENS:
            number += parameter.shape[-2] if parameter.ndim > 1 else 1
            seen.class_is_named |= name in CLASS_TOKENS
            seen.others_are_named |= name in OTHER_TOKENS
    stated = getattr(network, "num_prefix_tokens", None)  # timm's
    seen.n_stated = stated if isinstance(stated, int) else number or None


def _read_map(module: nn.Module, value: Tensor, seen: Sequences) -> None:
    if isinstance(module, nn.LayerNorm):
        seen.channels.add(module.normalized_shape[-1])
    if isinstance(module, nn.Conv2d):
        seen.channels.add(module.out_channels)
    layout = find_layout(value.shape, seen.input_size, module, seen.constant)
    if value.ndim == 4 and layout is not None:
        sides = value.shape[2:] if layout == "channels_first" else value.shape[1:3]
        if sides.numel() > 1:
            seen.n_places.add(sides.numel())
