"""Reference images, whose activations are subtracted from those of the images that users give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_rdm._network._forward import Run, compute_rows
from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._pairs._image_pairs import ImagePairs, check_background
from sklearn_rdm._pairs._images import COLOURS, as_colour

__all__ = [
    "References",
    "check_reference",
    "find_references",
    "is_auto",
    "mean_of_images",
    "settle_reference",
    "subtract",
]

IMAGES_AT_ONCE = 8


@dataclass(frozen=True)
class References:
    """Reference images and which of them belongs to each image.

    Attributes
    ----------
    images : Tensor of shape (n_references, 3, height, width)
        Inputs of the network.
    of_image : ndarray of int, shape (n_images,)
        Row of ``images`` for each image of the array that pairs refer to.
    """

    images: Tensor
    of_image: np.ndarray

    def load(self, rows: np.ndarray) -> Tensor:
        """Inputs of the network of some references."""
        return self.images[rows]

    def values(self, run: Run, device: Any) -> Tensor:
        """Values (n_references, ...) that ``run`` makes of the references."""
        rows = np.arange(len(self.images))
        return torch.from_numpy(compute_rows(self.load, run, rows, device)).to(device)

    def subtracted(self, run: Run, values: Tensor) -> Run:
        """As ``run``, minus the value of each image's reference."""

        def run_and_subtract(inputs: Tensor, rows: np.ndarray) -> Tensor:
            which = torch.from_numpy(self.of_image[rows]).to(values.device)
            return subtract(run(inputs, rows), values, which)

        return run_and_subtract


def subtract(activations: Tensor, of_references: Tensor, which: Tensor) -> Tensor:
    """Activations minus those of each row's reference.

    Parameters
    ----------
    activations : Tensor of shape (n_images, n_features)
        Of images.
    of_references : Tensor of shape (n_references, n_features)
        Of references.
    which : Tensor of int64, shape (n_images,)
        The reference of each image.
    """
    # A product, as the gradient of indexing is summed in any order on a GPU.
    one_hot = nn.functional.one_hot(which, len(of_references))
    return activations - one_hot.to(activations) @ of_references


def check_reference(reference: Any) -> None:
    """Refuse what is no reference."""
    named = isinstance(reference, str) and reference in ("auto", "background", "mean")
    if reference is not None and not named and as_colour(reference) is None:
        raise ValueError(
            f"reference must be 'auto', 'background', 'mean', one of {[*COLOURS]}, (r, g, b) in "
            f"0..1, or None, got {reference!r}."
        )


def find_references(
    reference: Any,
    source: Any,
    n_images: int,
    preprocessing: Preprocessing,
    mean_image: Tensor | None,
    background: Any = None,
) -> References | None:
    """Return the references of the images of ``source``, pairs or images.

    Parameters
    ----------
    reference : str, (r, g, b) or None
        As in :class:`SiameseRDMRegressor`.
    source : ImagePairs or images
        Read for the background of its images.
    n_images : int
        Images of ``source``.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    mean_image : Tensor of shape (1, 3, height, width) or None
        Of the training images, for ``reference="mean"``.
    background : str, (r, g, b) or sequence of one of these per image, default=None
        Of the images of ``source``; None takes that of the pairs.
    """
    reference = settle_reference(reference, source)
    if reference is None:
        return None
    all_one = np.zeros(n_images, dtype=np.intp)
    if isinstance(reference, str) and reference == "mean":
        assert mean_image is not None
        return References(mean_image, all_one)
    if isinstance(reference, str) and reference == "background":
        colours, of_image = np.unique(
            _backgrounds(source, n_images, background), axis=0, return_inverse=True
        )
        return References(_blank_images(colours, preprocessing), of_image.reshape(-1))
    colour = np.array([as_colour(reference)])
    return References(_blank_images(colour, preprocessing), all_one)


def settle_reference(reference: Any, source: Any) -> Any:
    """Decide what "auto" means: the background of these images, none if they do not state it."""
    if is_auto(reference):
        stated = isinstance(source, ImagePairs) and source.background is not None
        return "background" if stated else None
    return reference


def is_auto(reference: Any) -> bool:
    """Whether images are to settle what is subtracted."""
    return isinstance(reference, str) and reference == "auto"


def mean_of_images(load: Callable[[np.ndarray], Tensor], rows: np.ndarray) -> Tensor:
    """Return the pixel-wise mean of network inputs, shape (1, 3, height, width)."""
    total = torch.zeros(())
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        total = total + load(rows[start : start + IMAGES_AT_ONCE]).double().sum(0, keepdim=True)
    return (total / len(rows)).float()


def _backgrounds(source: Any, n_images: int, given: Any) -> np.ndarray:
    background = check_background(given, n_images)
    if background is None and isinstance(source, ImagePairs):
        background = source.background
    if background is None:
        raise ValueError(
            "reference='background' (or 'auto', once fitted on images that state theirs) needs the "
            "background colour of every image: give ImagePairs(images, background='white') (or "
            "'grey', 'black', (r, g, b), one per image), or background='white' to the transform of "
            "a SiameseRDMRegressor (best_estimator_ of a fitted search), which takes files too, "
            "got "
            f"{source if isinstance(source, ImagePairs) else 'images without it'}."
        )
    return background


def _blank_images(colours: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    shape = (1, *preprocessing.size, 3)
    return torch.cat([preprocessing(np.broadcast_to(colour, shape)) for colour in colours])
