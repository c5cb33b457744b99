"""The sizes of images that a network takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["taken_size"]

# Sides that networks are made for, in pixels; tried if a network doesn't state its own.
USUAL = [16, 24, 28, 32, 48, 56, 64, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 336, 384]


def taken_size(network: nn.Module, refused: Sequence[int]) -> tuple[int, int] | None:
    """Find a size that a network runs at, once it could not take another one.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    refused : (height, width)
        What it could not take, in pixels.

    Returns
    -------
    size : (height, width) or None
        The one that the network states, else the usual one nearest to ``refused``; None if the
        network runs at none of them.
    """
    nearest = sorted(USUAL, key=lambda side: abs(side - max(refused)))
    sizes = [*_stated(network), *((side, side) for side in nearest)]
    return next((size for size in dict.fromkeys(sizes) if _runs(network, size)), None)


def _stated(network: nn.Module) -> Iterator[tuple[int, int]]:
    """Sizes in the attributes of timm's, torchvision's and transformers' networks."""
    for module in network.modules():
        for name in ("img_size", "image_size"):
            for holder in (module, getattr(module, "config", None)):
                yield from _as_size(getattr(holder, name, None))
        config = getattr(module, "pretrained_cfg", None) or {}
        yield from _as_size(config.get("input_size", (0,))[1:])


def _as_size(stated: Any) -> Iterator[tuple[int, int]]:
    sides = [stated] * 2 if isinstance(stated, int) else stated
    if isinstance(sides, list | tuple) and len(sides) == 2 and all(map(_is_side, sides)):
        yield sides[0], sides[1]


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and side > 0


def _runs(network: nn.Module, size: tuple[int, int]) -> bool:
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, *size))
    except Exception:  # whatever the network's code raises
        return False
    return True
