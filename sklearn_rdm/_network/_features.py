"""From a layer's activations to features: places averaged, tokens chosen, all flattened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from sklearn_rdm._network._layouts import N_AXES, Axes
from sklearn_rdm._pairs._options import check_option

__all__ = ["Pooling", "check_pooling", "state_axes", "to_features"]

TOKENS = ("all", "cls", "mean")


@dataclass(frozen=True)
class Pooling:
    """What is made of maps and of tokens.

    Attributes
    ----------
    spatial : (height, width) or None
        The size that maps are averaged to; smaller maps stay as they are. None keeps all places.
    tokens : {"all", "cls", "mean"}
        Which tokens are kept: all, the class token, or the mean of those of the patches.
    """

    spatial: tuple[int, int] | None = None
    tokens: str = "all"


def check_pooling(spatial_pooling: Any, tokens: Any) -> Pooling:
    """Return both as they are used, or raise a ValueError."""
    check_option("tokens", tokens, TOKENS)
    if spatial_pooling is None:
        return Pooling(None, tokens)
    whole = isinstance(spatial_pooling, Integral)
    sides = [spatial_pooling] * 2 if whole else spatial_pooling
    whole = isinstance(sides, Sequence) and all(isinstance(side, Integral) for side in sides)
    if not whole or len(sides) != 2 or min(sides) < 1:
        raise ValueError(
            "spatial_pooling must be None, or the positive int or (height, width) that maps are "
            f"averaged to, got {spatial_pooling!r}."
        )
    return Pooling((int(sides[0]), int(sides[1])), tokens)


def state_axes(
    found: Sequence[Axes], layers: Sequence[str | None], layout: Any, n_prefix_tokens: Any
) -> tuple[Axes, ...]:
    """Put what the user says about the axes of layers in the place of what was found out.

    Parameters
    ----------
    found : sequence of Axes
        Of each layer.
    layers : sequence of str or None
        Their names as the user gave them.
    layout : str, dict of str to str, or None
        Of all layers whose number of axes fits, or of some layers by name.
    n_prefix_tokens : int or None
        Tokens before those of the patches, the first of them a class token.

    Raises
    ------
    ValueError
        If a layout is unknown, if it fits no layer, or if a layer is not read.
    """
    stated = _stated_layouts(found, layers, layout)
    if n_prefix_tokens is not None and (
        not isinstance(n_prefix_tokens, Integral) or n_prefix_tokens < 0
    ):
        raise ValueError(f"n_prefix_tokens must be None or an int >= 0, got {n_prefix_tokens!r}.")
    axes = [replace(a, layout=said or a.layout) for a, said in zip(found, stated, strict=True)]
    if n_prefix_tokens is None:
        return tuple(axes)
    number = int(n_prefix_tokens)
    return tuple(replace(a, n_prefix=number, has_class=number > 0) for a in axes)


def _stated_layouts(found: Sequence[Axes], layers: Sequence[str | None], layout: Any) -> list[Any]:
    if layout is None:
        return [None] * len(found)
    named = layout if isinstance(layout, Mapping) else dict.fromkeys(layers, layout)
    unknown = [name for name in named if name not in layers]
    if unknown:
        raise ValueError(f"layout names {unknown}, but the layers that are read are {[*layers]}.")
    wrong = [said for said in named.values() if said not in N_AXES]
    if wrong:
        raise ValueError(f"a layout must be one of {[*N_AXES]}, got {wrong[0]!r}.")
    stated = [named.get(name) for name in layers]
    fits = [said and N_AXES[said] == axes.n_axes for axes, said in zip(found, stated, strict=True)]
    if len([fit for fit in fits if fit]) < (len(named) if isinstance(layout, Mapping) else 1):
        number = [axes.n_axes for axes in found]
        raise ValueError(
            f"layout={layout!r} does not fit: activations of {[*layers]} have {number} axes, the "
            f"images' included. {', '.join(f'{name!r} has {n}' for name, n in N_AXES.items())}."
        )
    return [said if fit else None for said, fit in zip(stated, fits, strict=True)]


def to_features(activations: Tensor, axes: Axes, pooling: Pooling) -> Tensor:
    """Average maps, choose tokens, and flatten what is left, one row per image.

    Parameters
    ----------
    activations : Tensor of shape (n_images, ...)
        Of one read-out.
    axes : Axes
        Which of its axes are which.
    pooling : Pooling
        What is made of them.

    Returns
    -------
    features : Tensor of float32, shape (n_images, n_features)
        Channel by channel for maps with channels first or averaged, else in the given order.

    Raises
    ------
    ValueError
        If activations are to be averaged over axes that are not known, or are complex numbers.
    """
    if activations.is_complex():
        raise ValueError(
            f"the layer's activations of shape {('n_images', *activations.shape[1:])} are complex "
            "numbers, which have no Pearson correlation of their own. Read a layer behind it that "
            "makes them real."
        )
    activations = activations.float()
    if axes.layout == "tokens" and pooling.tokens != "all":
        return _of_tokens(activations, axes, pooling.tokens)
    if axes.layout in ("channels_first", "channels_last") and pooling.spatial is not None:
        return _of_map(activations, axes, pooling.spatial)
    if axes.layout == "vector" or pooling == Pooling():
        return activations.flatten(1)
    raise ValueError(_not_pooled(activations, axes, pooling))


def _of_map(activations: Tensor, axes: Axes, most: tuple[int, int]) -> Tensor:
    if axes.layout == "channels_last":
        activations = activations.movedim(-1, 1)
    height, width = activations.shape[2:]
    size = min(height, most[0]), min(width, most[1])
    return nn.functional.adaptive_avg_pool2d(activations, size).flatten(1)


def _of_tokens(activations: Tensor, axes: Axes, tokens: str) -> Tensor:
    length = activations.shape[1]
    if axes.n_prefix is None:
        raise ValueError(
            f"tokens={tokens!r} needs to know how many of the {length} tokens are no patches (a "
            "class token, registers), which could not be detected. State it as n_prefix_tokens "
            "(module__n_prefix_tokens of SiameseRDMRegressor), or set tokens='all'."
        )
    if tokens == "cls":
        if not axes.has_class:
            raise ValueError(
                f"tokens='cls' needs a class token before the patches, but of the {length} tokens "
                f"{axes.n_prefix} are before them, and none is known to be one. Set tokens='mean' "
                "or 'all', or state n_prefix_tokens if the first is a class token."
            )
        return activations[:, 0]
    if axes.n_prefix >= length:
        raise ValueError(
            f"tokens='mean' averages the tokens of patches, but all {length} tokens of this layer "
            "stand before these. Set tokens='cls' or 'all'."
        )
    return activations[:, axes.n_prefix :].mean(dim=1)


def _not_pooled(activations: Tensor, axes: Axes, pooling: Pooling) -> str:
    shape = ("n_images", *activations.shape[1:])
    if axes.layout == "tokens":
        return (
            f"spatial_pooling averages maps, but the layer's activations {shape} are tokens. Set "
            "spatial_pooling=None, and tokens='mean' for the mean of all patches."
        )
    if axes.layout is not None:
        return (
            f"tokens={pooling.tokens!r} reads tokens, but the layer's activations {shape} are a "
            "map. Set tokens='all', and spatial_pooling=1 for the mean of all places."
        )
    asked = "spatial_pooling" if pooling.spatial else f"tokens={pooling.tokens!r}"
    return (
        f"{asked} needs to know which axes are space or tokens and which channels, and for "
        f"activations of shape {shape} this could not be detected. State it as layout, one of "
        f"{[*N_AXES]} (module__layout of SiameseRDMRegressor), keep all (spatial_pooling=None, "
        "tokens='all'), or read the layer before or after it."
    )
