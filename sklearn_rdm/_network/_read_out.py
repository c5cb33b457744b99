"""Read layers of a twin network out, for many images, shard by shard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_rdm._models._distances import unit_pair_distances
from sklearn_rdm._network._accelerator import take
from sklearn_rdm._network._activations import check_image_source, compute_rows, load_photographs
from sklearn_rdm._network._references import find_references
from sklearn_rdm._network._shards import SHARD_SIZE, pad_to_shard
from sklearn_rdm._network._twin_network import TwinNetwork, normalise
from sklearn_rdm._pairs._image_pairs import ImagePairs

__all__ = [
    "image_features",
    "kept_features",
    "mean_squared_lengths",
    "predict_layers",
    "reference_inputs",
]


def image_features(
    module: TwinNetwork,
    source: Any,
    rows: np.ndarray | None = None,
    *,
    finish: Callable[[Tensor], Tensor] | None = None,
    device: Any = "cpu",
) -> np.ndarray:
    """Run the whole network on photographs: (n_images, n_features) of the predicting layer.

    Parameters
    ----------
    module : TwinNetwork
        The network, which is put into evaluation mode.
    source : ImagePairs, images, paths or a folder
        Of pairs, the array of their images.
    rows : ndarray of int, default=None
        Which images; None takes all.
    finish : callable, default=None
        What is done with the features of a shard, after the references' were subtracted.
    device : str
        Where the network is.
    """
    images = source.images if isinstance(source, ImagePairs) else check_image_source(source)
    rows = np.arange(len(images)) if rows is None else rows
    load = load_photographs(images, module.preprocessing)

    def run(photographs: Tensor) -> Tensor:
        return module.read_out(module.trunk.prefix(photographs))

    references, of_image = reference_inputs(module, source, len(images), device)
    of_row = None if of_image is None else of_image[rows]
    subtracted = _at_read_out(module, references, module.read_out, device)
    return compute_rows(
        run, load, rows, device, subtracted=subtracted, subtracted_of=of_row, finish=finish
    )


def kept_features(
    module: TwinNetwork,
    pairs: ImagePairs,
    kept: tuple[Any, np.ndarray],
    *,
    read: Callable[[Tensor], Tensor] | None = None,
    finish: Callable[[Tensor], Tensor] | None = None,
    device: Any = "cpu",
) -> np.ndarray:
    """As :func:`image_features` for ``pairs.used_images``, from what frozen layers made of them.

    Parameters
    ----------
    kept : (inputs, places)
        As :func:`sklearn_rdm._network._activations.keep_frozen` returns them.
    read : callable, default=None
        What is read of a shard at the cut; None for the predicting layer.
    """
    inputs, places = kept
    references, of_image = reference_inputs(module, pairs, len(pairs.images), device)
    of_row = None if of_image is None else of_image[pairs.used_images]

    read = read or module.read_out
    subtracted = _at_read_out(module, references, read, device)
    return compute_rows(
        read,
        partial(take, inputs),
        places,
        device,
        subtracted=subtracted,
        subtracted_of=of_row,
        finish=finish,
    )


def predict_layers(
    module: TwinNetwork, pairs: ImagePairs, kept: tuple[Any, np.ndarray], device: Any = "cpu"
) -> np.ndarray:
    """Correlation distances by all read-outs, (n_read_outs, n_pairs), in one pass.

    Those of images with constant activations are NaN.
    """
    read, split = _side_by_side(module.all_read_outs)

    def finish(features: Tensor) -> Tensor:
        parts = zip(split(features), module.noise, strict=True)
        return torch.cat([normalise(part, noise) for part, noise in parts], dim=1)

    features = kept_features(module, pairs, kept, read=read, finish=finish, device=device)
    index = np.searchsorted(pairs.used_images, pairs.index)
    parts = split(torch.from_numpy(features))
    return np.stack([unit_pair_distances(part.numpy(), index) for part in parts])


def mean_squared_lengths(
    module: TwinNetwork, pairs: ImagePairs, kept: tuple[Any, np.ndarray], device: Any = "cpu"
) -> np.ndarray:
    """Squared lengths of the centred activations of all the trunk's layers, (n_layers,).

    Means over ``pairs.used_images``.
    """
    read, split = _side_by_side(module.layer_features)

    def finish(features: Tensor) -> Tensor:
        return torch.stack(
            [layer.var(dim=1, correction=0) * layer.shape[1] for layer in split(features)], dim=1
        )

    lengths = kept_features(module, pairs, kept, read=read, finish=finish, device=device)
    return lengths.mean(axis=0)


def _side_by_side(
    read_parts: Callable[[Tensor], list[Tensor]],
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Any]]:
    """Read all parts as one row per image, and a function that parts the row."""
    sizes: list[int] = []

    def read(inputs: Tensor) -> Tensor:
        parts = read_parts(inputs)
        sizes[:] = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    return read, lambda features: features.split(sizes, dim=1)


def reference_inputs(
    module: TwinNetwork, source: Any, n_images: int, device: Any = "cpu"
) -> tuple[Tensor | None, np.ndarray | None]:
    """References of ``source`` at the network's cut, and which of them each image has."""
    found = find_references(
        module.reference, source, n_images, module.preprocessing, module.mean_image
    )
    if found is None:
        return None, None
    shards = found.images.split(SHARD_SIZE)
    return torch.cat([_at_cut(module, shard, device).cpu() for shard in shards]), found.of_image


def _at_cut(module: TwinNetwork, images: Tensor, device: Any) -> Tensor:
    return module.trunk.prefix(pad_to_shard(images).to(device))[: len(images)]


def _at_read_out(
    module: TwinNetwork, inputs: Tensor | None, read: Callable[[Tensor], Tensor], device: Any
) -> Tensor | None:
    """What is read of references, given at the cut, in evaluation mode."""
    module.eval()
    if inputs is None:
        return None
    values = compute_rows(read, lambda some: inputs[some], np.arange(len(inputs)), device)
    return torch.from_numpy(values).to(device)
