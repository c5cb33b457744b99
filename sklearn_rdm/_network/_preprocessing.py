"""From photographs to the input of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

__all__ = ["Preprocessing", "check_photographs"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """From an array of photographs to the input of a network.

    The whole image is resized to ``size``; with ``resized``, as the weights of most networks ask,
    its shorter side (one number), or both sides (two), are resized to that and a centre of ``size``
    is cropped.
    """

    size: tuple[int, int] = (224, 224)
    resized: tuple[int, ...] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: InterpolationMode = InterpolationMode.BILINEAR

    def __call__(self, images: np.ndarray, n_images: int | None = None) -> Tensor:
        """Return (n, 3, *size) float32 for (n, height, width, 3) uint8 or float in 0..1.

        They may be some of ``n_images`` that the user gave.
        """
        check_photographs(images, n_images)
        channels_first = np.array(np.asarray(images).transpose(0, 3, 1, 2), order="C")
        pixels = torch.from_numpy(channels_first)
        return self.prepare(pixels.float() if pixels.is_floating_point() else pixels)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Return (n, 3, *size) float32 for (n, 3, height, width) uint8 or float32 in 0..1."""
        return F.normalize(self.fitted(pixels), list(self.mean), list(self.std))

    def fitted(self, pixels: Tensor) -> Tensor:
        """The same in 0..1: of the network's size, but not yet minus the mean."""
        resized = F.resize(
            pixels, list(self.resized or self.size), self.interpolation, antialias=True
        )
        cropped = F.center_crop(resized, list(self.size)) if self.resized else resized
        return F.convert_image_dtype(cropped)


def check_photographs(images: np.ndarray, n_images: int | None = None) -> None:
    """Refuse what no network of photographs can see; these may be some of ``n_images``."""
    if images.ndim != 4 or images.shape[-1] != 3:
        shape = (n_images or len(images), *images.shape[1:])
        raise ValueError(
            "a network needs RGB images of shape (n_images, height, width, 3), got "
            f"{shape}. Repeat a grey channel three times; move a leading channel axis last."
        )
    if images.dtype.kind == "f":
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise ValueError(
                f"float images must be in 0..1, got {low:g}..{high:g}: divide by 255 or give uint8."
            )
    elif images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 or float in 0..1, got {images.dtype}: convert them."
        )
