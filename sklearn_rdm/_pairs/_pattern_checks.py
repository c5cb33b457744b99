"""What is checked of response patterns: their axes, what was seen, and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_rdm._pairs._pattern_distances import Features

LAYOUTS = ("image channel", "image channel time", "run image channel", "run image channel time")


def check_layout(layout: str | None, metric: str, patterns: Sequence[Any]) -> str:
    if not patterns:
        raise ValueError("patterns must be an array or a list of one array per subject, got none.")
    n_axes = len(patterns[0].shape)
    if layout is None:
        three = "run image channel" if metric == "crossnobis" else "image channel time"
        layout = {2: "image channel", 3: three, 4: "run image channel time"}.get(n_axes)
    if layout not in LAYOUTS or len(layout.split()) != n_axes:
        shape = tuple(patterns[0].shape)
        raise ValueError(
            f"patterns of shape {shape} do not fit layout={layout!r}: it names each axis, one of "
            f"{[*LAYOUTS]}."
        )
    return layout


def check_shapes(patterns: Sequence[Any], layout: str, metric: str) -> int:
    """Refuse arrays that do not fit the layout or one another; return the number of images."""
    axes = layout.split()
    for subject, array in enumerate(patterns):
        if array.dtype.kind not in "uif":
            raise TypeError(
                f"patterns of subject {subject} must be real numbers, got {array.dtype}."
            )
        if len(array.shape) != len(axes) or 0 in array.shape:
            raise ValueError(
                f"patterns of subject {subject} must have the axes {layout!r}, none of them empty, "
                f"got the shape {tuple(array.shape)}."
            )
        for axis in {"image", "time"} & {*axes}:
            sizes = [int(p.shape[axes.index(axis)]) for p in (patterns[0], array)]
            if len({*sizes}) > 1:
                raise ValueError(
                    f"subject {subject} has {sizes[1]} {axis}s and subject 0 has {sizes[0]}: give "
                    f"the same {axis}s for all, and a row of NaN for an image not seen."
                )
        n_runs = int(array.shape[0]) if axes[0] == "run" else 1
        if metric == "crossnobis" and n_runs < 2:
            raise ValueError(
                f"crossnobis compares runs, and subject {subject} has {n_runs}: give patterns of "
                "shape (n_runs, n_images, n_channels) with 2 runs or more, or use 'mahalanobis'."
            )
    return int(patterns[0].shape[axes.index("image")])


def check_seen(seen: Any, n_subjects: int, n_images: int) -> np.ndarray | None:
    if seen is None:
        return None
    seen = np.asarray(seen)
    if seen.dtype != bool or seen.shape not in {(n_subjects, n_images), (n_images,)}:
        raise ValueError(
            f"seen must hold True or False for each subject and image, shape ({n_subjects}, "
            f"{n_images}), got {seen.dtype} of shape {seen.shape}."
        )
    return np.broadcast_to(seen, (n_subjects, n_images))


def check_gaps(x: np.ndarray, rows: np.ndarray, subject: int, metric: str) -> np.ndarray:
    """Whether each image was seen; refuse infinity, and rows or runs that are NaN in part."""
    missing = np.isnan(x)
    whole = missing.all(axis=(2, 3))
    partial = (missing.any(axis=(2, 3)) & ~whole).any(axis=0)
    if partial.any():
        raise ValueError(
            f"the pattern of image {rows[partial.argmax()]} of subject {subject} is NaN in some "
            "channels or time points: leave these channels out for all images, or make the whole "
            "row NaN."
        )
    infinite = np.isinf(x).any(axis=(0, 2, 3))
    if infinite.any():
        raise ValueError(
            f"the pattern of image {rows[infinite.argmax()]} of subject {subject} is infinite."
        )
    unbalanced = whole.any(axis=0) & ~whole.all(axis=0)
    if metric == "crossnobis" and unbalanced.any():
        image = unbalanced.argmax()
        raise ValueError(
            f"image {rows[image]} of subject {subject} has no pattern in run "
            f"{whole[:, image].argmax()}: crossnobis needs every image in every run. Leave the "
            "image or the run out."
        )
    return ~whole.all(axis=0)


def check_directions(
    courses: Sequence[Features], rows: np.ndarray, subject: int, metric: str
) -> None:
    for features in courses:
        undefined = np.isnan(features.values[:, 0])
        if undefined.any():
            what, other = {
                "correlation": ("the same in all channels", "no correlation"),
                "cosine": ("0 in all channels", "no direction"),
            }[metric]
            raise ValueError(
                f"the pattern of image {rows[undefined.argmax()]} of subject {subject} is {what}: "
                f"it has {other}. Make its row NaN, or use metric='euclidean'."
            )
