"""Which axes of activations are space, channels and tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

__all__ = ["N_AXES", "Axes", "Layout", "find_layout"]

Layout = Literal["channels_first", "channels_last", "tokens", "vector"]
N_AXES = {"channels_first": 4, "channels_last": 4, "tokens": 3, "vector": 2}
ROUNDED_SIDES = 1.5  # places that the rounding of several strides adds to or takes from a side
CHANNELS_LAST_MODULES = (nn.Linear, nn.LayerNorm)
CHANNELS_FIRST_MODULES = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.LocalResponseNorm,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)


@dataclass(frozen=True)
class Axes:
    """Which axes of a layer's activations are which.

    Attributes
    ----------
    n_axes : int
        Of the activations of some images, the images' axis included; 0 for what is no tensor.
    layout : {"channels_first", "channels_last", "tokens", "vector"} or None
        None where it is unknown.
    n_prefix : int or None
        Of tokens: how many stand before those of the patches; None where that is unknown.
    has_class : bool
        Of tokens: whether the first of them is a class token.
    """

    n_axes: int
    layout: Layout | None = None
    n_prefix: int | None = None
    has_class: bool = False


def find_layout(
    shape: Sequence[int],
    input_size: Sequence[int],
    module: nn.Module | None = None,
    n_tokens: Collection[int] = (),
) -> Layout | None:
    """Find the layout of maps and vectors by what made them and by their shape.

    Three axes may be tokens: :class:`~sklearn_rdm._network._tokens.Sequences` looks at these.

    Parameters
    ----------
    shape : tuple of int
        Of the activations of some images, the images' axis first.
    input_size : (height, width)
        Of the images in pixels: a map has their aspect.
    module : Module or None
        The module that returned the activations.
    n_tokens : collection of int
        Lengths of the network's token sequences: a map with two such axes is one of attention.

    Returns
    -------
    layout : {"channels_first", "channels_last", "vector"} or None
        None where it cannot be told.
    """
    axes = tuple(shape)
    if len(axes) == 2:
        return "vector"
    if len(axes) != 4:
        return None
    if isinstance(module, CHANNELS_FIRST_MODULES):
        return "channels_first"
    first = _is_map(axes[2:], input_size) and not (
        axes[2] == axes[3] and axes[2] > 1 and axes[2] in n_tokens
    )
    last = _is_map(axes[1:3], input_size)
    if first and last:
        return "channels_last" if isinstance(module, CHANNELS_LAST_MODULES) else None
    return "channels_first" if first else "channels_last" if last else None


def _is_map(axes: Sequence[int], input_size: Sequence[int]) -> bool:
    """Whether two axes may be the height and width of a map: with the images' aspect."""
    (height, width), (most_high, most_wide) = axes, input_size
    if height > most_high or width > most_wide:
        return False
    # A map's sides are the image's over one stride, rounded up or down more than once.
    stride = max(most_high / height, most_wide / width)
    return (
        abs(height - most_high / stride) <= ROUNDED_SIDES
        and abs(width - most_wide / stride) <= ROUNDED_SIDES
        and (most_high != most_wide or height == width)
    )
