"""Read features of photographs out of a twin network, minus those of their references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_rdm._models._distances import unit_pair_distances
from sklearn_rdm._network._forward import Photographs, Run, compute_rows
from sklearn_rdm._network._frozen import Kept, keep_frozen
from sklearn_rdm._network._references import References, find_references
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._pairs import ImagePairs

__all__ = ["ImageReader", "open_images"]

Read = Callable[[Tensor], Tensor]  # from values at the network's cut to features


@dataclass(frozen=True)
class ImageReader:
    """A twin network, and the images that are read with it.

    Attributes
    ----------
    module : TwinNetwork
        The network.
    photographs : Photographs
        All images.
    references : References or None
        Their references.
    kept : Kept or None
        What frozen layers made of the images that are read, if it was kept.
    device : str
        Where the network is.
    """

    module: TwinNetwork
    photographs: Photographs
    references: References | None
    kept: Kept | None
    device: Any

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Features (n_rows, n_features) of the read-out that predicts."""
        return self._compute(rows, self.module.predicted_features)

    def unit_features(self, rows: np.ndarray) -> np.ndarray:
        """The same, so that products are correlations; NaN for images without variance."""
        return self._compute(rows, self.module.predicted_features, self.module.predicting.normalise)

    def trained_unit_features(self, rows: np.ndarray) -> np.ndarray:
        """The same, of the read-out that is trained."""
        return self._compute(rows, self.module.trained_features, self.module.trained.normalise)

    def predict_all(self, pairs: ImagePairs) -> np.ndarray:
        """Correlation distances by all read-outs, (n_read_outs, n_pairs), in one pass.

        Those of images with constant activations are NaN.
        """
        read_outs = self.module.all_read_outs
        sizes = [read_out.n_features for read_out in read_outs]

        def normalise(features: Tensor) -> Tensor:
            parts = zip(read_outs, features.split(sizes, dim=1), strict=True)
            return torch.cat([read_out.normalise(part) for read_out, part in parts], dim=1)

        used = pairs.used_images
        features = self._compute(used, self.module.all_features, normalise)
        index = np.searchsorted(used, pairs.index)
        parts = torch.from_numpy(features).split(sizes, dim=1)
        return np.stack([unit_pair_distances(part.numpy(), index) for part in parts])

    def mean_squared_lengths(self, rows: np.ndarray) -> Tensor:
        """Squared lengths of the centred activations of all layers, (n_layers,): their means."""
        sizes = self.module.layer_sizes

        def squared_lengths(features: Tensor) -> Tensor:
            layers = features.split(sizes, dim=1)
            return torch.stack([f.var(dim=1, correction=0) * f.shape[1] for f in layers], dim=1)

        lengths = self._compute(rows, self.module.layer_features, squared_lengths)
        return torch.from_numpy(lengths.mean(axis=0))

    def references_at_cut(self, rows: np.ndarray) -> tuple[Tensor | None, np.ndarray | None]:
        """References at the network's cut, to be trained with, and which of them each row has."""
        if self.references is None:
            return None, None
        prefix = self.module.trunk.prefix
        values = self.references.values(lambda inputs, _: prefix(inputs), self.device)
        return values, self.references.of_image[rows]

    def _compute(self, rows: np.ndarray, read: Read, finish: Read | None = None) -> np.ndarray:
        """``finish(read(image) - read(reference))`` of some images."""
        self.module.eval()
        prefix = self.module.trunk.prefix

        def read_photographs(inputs: Tensor, _: np.ndarray) -> Tensor:
            return read(prefix(inputs))

        def read_kept(inputs: Tensor, _: np.ndarray) -> Tensor:
            return read(inputs)

        load = self.photographs.load if self.kept is None else self.kept.load
        run: Run = read_photographs if self.kept is None else read_kept
        if self.references is not None:
            values = self.references.values(read_photographs, self.device)
            run = self.references.subtracted(run, values)
        if finish is None:
            return compute_rows(load, run, rows, self.device)
        return compute_rows(load, lambda *shard: finish(run(*shard)), rows, self.device)


def open_images(
    module: TwinNetwork,
    source: Any,
    rows: np.ndarray | None = None,
    *,
    keep: bool = True,
    memory: Any = None,
    device: Any = "cpu",
    background: Any = None,
) -> ImageReader:
    """Find what is needed to read images: their references, and what frozen layers made of them.

    Parameters
    ----------
    module : TwinNetwork
        The network.
    source : ImagePairs, images, paths or a folder
        Of pairs, the array of their images.
    rows : sorted ndarray of int, default=None
        Which images are read; None for all.
    keep : bool, default=True
        Whether what frozen layers make of the images is kept: worth it if they are read more than
        once, or if there is a memory.
    memory : str, path or joblib.Memory, default=None
        Where it is kept and looked up first.
    device : str, default="cpu"
        Where the network is.
    background : str, (r, g, b) or sequence of one of these per image, default=None
        Colour behind the images; None takes that of the pairs.
    """
    photographs = Photographs(source, module.preprocessing)
    references = find_references(
        module.reference,
        source,
        len(photographs),
        module.preprocessing,
        module.mean_image,
        background,
    )
    rows = np.arange(len(photographs)) if rows is None else rows
    kept = None
    if keep:
        kept = keep_frozen(module.trunk, photographs, rows, memory=memory, device=device)
    return ImageReader(module, photographs, references, kept, device)
