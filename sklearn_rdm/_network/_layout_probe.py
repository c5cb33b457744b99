"""Which axes of a map are space, found by images of other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sklearn_rdm._network._layouts import N_AXES, Axes, Layout

__all__ = ["probed_axes"]

# Larger sides that a network which takes more than one is likely to take.
LARGER: tuple[Callable[[int], int], ...] = (lambda side: side + 32, lambda side: 2 * side)


def probed_axes(
    read: Callable[[Tensor], Sequence[Any]], axes: Sequence[Axes], size: tuple[int, int]
) -> tuple[Axes, ...]:
    """Find the layout of maps whose shape and maker do not tell it.

    The axis that changes with the images' height alone is the map's height, and so for the width.
    An attention map changes along both axes with either of them, and stays unknown.

    Parameters
    ----------
    read : callable
        Makes the activations of all read-outs from images (n, 3, height, width).
    axes : sequence of Axes
        What is known of each read-out.
    size : (height, width)
        Of the images that the network is made for, in pixels.

    Returns
    -------
    axes : tuple of Axes
        The same, with the layouts that were found.
    """
    for larger in LARGER:
        if any(map(_is_unknown, axes)):
            found = _layouts(read, size, larger) or [None] * len(axes)
            axes = [
                replace(a, layout=layout) if _is_unknown(a) else a
                for a, layout in zip(axes, found, strict=True)
            ]
    return tuple(axes)


def _is_unknown(axes: Axes) -> bool:
    return axes.n_axes == N_AXES["channels_first"] and axes.layout is None


def _layouts(
    read: Callable[[Tensor], Sequence[Any]], size: tuple[int, int], larger: Callable[[int], int]
) -> list[Layout | None] | None:
    """Layouts of all read-outs; None if the network takes no larger images."""
    height, width = size
    sizes = size, (larger(height), width), (height, larger(width))
    try:
        with torch.no_grad():
            values = [read(torch.zeros(2, 3, *images)) for images in sizes]
    except Exception:  # whatever the network's code raises
        return None
    shapes = ([getattr(value, "shape", ()) for value in of_layers] for of_layers in values)
    return [_layout(*of_layer) for of_layer in zip(*shapes, strict=True)]


def _layout(given: Sequence[int], taller: Sequence[int], wider: Sequence[int]) -> Layout | None:
    changed = _changed(given, taller), _changed(given, wider)
    if changed == ([2], [3]):
        return "channels_first"
    return "channels_last" if changed == ([1], [2]) else None


def _changed(shape: Sequence[int], other: Sequence[int]) -> list[int]:
    if len(shape) != len(other):
        return []
    return [axis for axis, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
