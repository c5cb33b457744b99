"""The twin network: images and pairs in, correlation distances out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_rdm._activations import reference_image
from sklearn_rdm._backbones import load_backbone
from sklearn_rdm._batches import PairBatch
from sklearn_rdm._shards import (
    SHARD_SIZE,
    map_in_threads,
    pad_to_shard,
    run_in_shards,
    shard_threads,
)
from sklearn_rdm._trunk import Trunk

__all__ = ["TwinNetwork", "normalise"]

PRECISIONS = {None: None, "float32": None, "bf16": torch.bfloat16}
ROUNDING = 1e-6  # float32: centred activations below this share of their size are rounding noise


class TwinNetwork(nn.Module):
    """Two branches with shared weights: images and pairs in, correlation distances out.

    Built by :class:`SiameseRDMRegressor` from its own parameters.

    Parameters
    ----------
    backbone, layer, weights, freeze_up_to, freeze_from, image_size, fully_convolutional, \
freeze_batch_norm, dropout, reference, precision, random_state
        As in :class:`SiameseRDMRegressor`.

    Attributes
    ----------
    trunk : Trunk
        The network up to the read-out layer; its ``network`` has torchvision's weight names.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    """

    def __init__(
        self,
        backbone: Any,
        layer: str | None = None,
        *,
        weights: Any = "DEFAULT",
        freeze_up_to: str | None = None,
        freeze_from: str | None = None,
        image_size: Any = None,
        fully_convolutional: bool = False,
        freeze_batch_norm: bool = True,
        dropout: bool = False,
        reference: Any = None,
        precision: str | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {[*PRECISIONS]}, got {precision!r}.")
        self.dtype = PRECISIONS[precision]
        loaded = load_backbone(
            backbone,
            weights,
            image_size=image_size,
            fully_convolutional=fully_convolutional,
            random_state=random_state,
        )
        self.preprocessing = loaded.preprocessing
        self.trunk = Trunk(
            loaded,
            [layer],
            freeze_up_to=freeze_up_to,
            freeze_from=freeze_from,
            freeze_batch_norm=freeze_batch_norm,
            dropout=dropout,
        )
        blank, inputs = reference_image(reference, self.preprocessing), None
        if blank is not None:
            with shard_threads():
                inputs = self.trunk.prefix(pad_to_shard(blank))[:1]
        self.reference_inputs: Tensor | None
        self.register_buffer("reference_inputs", inputs)  # saved with the weights it depends on
        if not any(p.requires_grad for p in self.trunk.parameters()):
            raise ValueError(
                f"nothing is left to train: every layer up to the read-out {layer!r} is frozen by "
                f"freeze_up_to={freeze_up_to!r}, freeze_from={freeze_from!r}. Read out a later "
                "layer, freeze less, or use FixedRSARegressor on LayerActivations."
            )

    def forward(self, batch: PairBatch) -> Tensor:
        """Predict the dissimilarities of the pairs of a batch, shape (n_pairs,)."""
        features = normalise(self.activations(batch.inputs))
        first, second = batch.index.T
        return 1 - (features @ features.T)[first, second]

    def activations(self, inputs: Tensor) -> Tensor:
        """Read-out of images given at the cut, minus the reference's: (n_images, n_features)."""
        if self.reference_inputs is None:
            return self._run(inputs)
        # The reference runs along: its activations change as the layers are trained.
        joint = self._run(torch.cat([inputs, self.reference_inputs]))
        return joint[:-1] - joint[-1]

    def _run(self, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu" or not self.trunk.is_deterministic:
            return self.read_out(inputs)
        if torch.is_grad_enabled():
            trained = [p for p in self.trunk.parameters() if p.requires_grad]
            return run_in_shards(self.read_out, inputs, trained)
        return torch.cat(list(map_in_threads(self._read_out_padded, inputs.split(SHARD_SIZE))))

    def reference_activations(self) -> Tensor | float:
        """Read-out of the reference, to be subtracted from that of every image."""
        if self.reference_inputs is None:
            return 0.0
        return self._read_out_padded(self.reference_inputs)

    def read_out(self, inputs: Tensor) -> Tensor:
        """Run the layers behind the cut on one shard."""
        with torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype is not None):
            (activations,) = self.trunk.suffix(inputs)
        return activations.flatten(1).float()

    def read_out_images(self, images: Tensor) -> Tensor:
        """Run the whole network on one shard of preprocessed images."""
        return self.read_out(self.trunk.prefix(images))

    def _read_out_padded(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.read_out(pad_to_shard(inputs))[: len(inputs)]


def normalise(activations: Tensor) -> Tensor:
    """Centre each row and scale it to length 1, so that products are Pearson correlations.

    Rows that are constant up to rounding become NaN.
    """
    centred = activations - activations.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    size = activations.norm(dim=1, keepdim=True)
    return centred / torch.where(length > ROUNDING * size, length, torch.nan)
