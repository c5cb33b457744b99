"""Which axes of activations are space, channels and tokens, and how they become features."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from torch import Tensor, nn

__all__ = ["Layout", "find_layout", "to_features"]

Layout = Literal["channels_first", "channels_last", "tokens", "vector"]
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


def find_layout(
    shape: Sequence[int],
    input_size: Sequence[int],
    module: nn.Module | None = None,
    n_tokens: Collection[int] = (),
) -> Layout | None:
    """Find the layout of activations by what made them and by their shape.

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
    layout : {"channels_first", "channels_last", "tokens", "vector"} or None
        None where it cannot be told.
    """
    axes = tuple(shape)
    if len(axes) == 2:
        return "vector"
    if len(axes) == 3:
        return "tokens"
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


def to_features(
    activations: Tensor, layout: Layout | None, spatial_pooling: tuple[int, int] | None
) -> Tensor:
    """Average larger maps to a size and flatten them, one row per image.

    Parameters
    ----------
    activations : Tensor of shape (n_images, ...)
        Of one read-out.
    layout : {"channels_first", "channels_last", "tokens", "vector"} or None
        Which of its axes are which; None if that is unknown.
    spatial_pooling : (height, width) or None
        The size that maps are averaged to; smaller maps stay as they are. None keeps all places.

    Returns
    -------
    features : Tensor of float32, shape (n_images, n_features)
        Channel by channel for maps with channels first or averaged, else in the given order.

    Raises
    ------
    ValueError
        If activations are to be averaged over space and it is unknown which axes these are.
    """
    activations = activations.float()
    if spatial_pooling is None or layout == "vector":
        return activations.flatten(1)
    if layout not in ("channels_first", "channels_last"):
        raise ValueError(_no_map(activations, layout))
    if layout == "channels_last":
        activations = activations.movedim(-1, 1)
    (height, width), (most_high, most_wide) = activations.shape[2:], spatial_pooling
    size = min(height, most_high), min(width, most_wide)
    return nn.functional.adaptive_avg_pool2d(activations, size).flatten(1)


def _no_map(activations: Tensor, layout: Layout | None) -> str:
    shape = ("n_images", *activations.shape[1:])
    if layout == "tokens":
        return (
            f"spatial_pooling averages maps, but the layer's activations {shape} are tokens. Set "
            "spatial_pooling=None."
        )
    return (
        "spatial_pooling needs to know which axes are height and width, and for activations of "
        f"shape {shape} that could not be found out. Set spatial_pooling=None, or "
        "read the layer before or after it."
    )
