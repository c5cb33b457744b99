"""The twin network: images and pairs in, correlation distances out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sklearn_rdm._accelerator import is_host
from sklearn_rdm._backbones import load_backbone
from sklearn_rdm._batches import PairBatch
from sklearn_rdm._features import check_noise_ratio
from sklearn_rdm._references import check_reference
from sklearn_rdm._shards import SHARD_SIZE, map_in_threads, pad_to_shard, run_in_shards
from sklearn_rdm._trunk import Trunk, as_features, check_spatial_pooling

__all__ = ["TwinNetwork", "normalise"]

PRECISIONS = {None: None, "float32": None, "bf16": torch.bfloat16}
ROUNDING = 1e-6  # float32: centred activations below this share of their size are rounding noise


class TwinNetwork(nn.Module):
    """Two branches with shared weights: images and pairs in, correlation distances out.

    Built by :class:`SiameseRDMRegressor` from its own parameters.

    Parameters
    ----------
    backbone, layer, read_out, weights, freeze_up_to, freeze_from, image_size, \
fully_convolutional, freeze_batch_norm, dropout, reference, spatial_pooling, noise_ratio, \
precision, random_state
        As in :class:`SiameseRDMRegressor`.
    candidates : sequence of str, default=()
        More layers whose activations are wanted beside those of ``layer`` and ``read_out``.

    Attributes
    ----------
    trunk : Trunk
        The network up to its last read-out: the trained layer, the one that predicts if it is
        another one, candidates.
    predicting : int
        Which of the trunk's layers predictions are read from.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    mean_image : Tensor of shape (1, 3, height, width) or None
        With ``reference="mean"``, the mean input over the training images.
    noise : Tensor of shape (n_layers,)
        What is added to the squared length of the centred activations, for each of the trunk's
        layers: ``noise_ratio`` times its mean over the training images before training.
    """

    def __init__(
        self,
        backbone: Any,
        layer: str | None = None,
        *,
        read_out: str | None = None,
        candidates: Sequence[str | None] = (),
        weights: Any = "DEFAULT",
        freeze_up_to: str | None = None,
        freeze_from: str | None = None,
        image_size: Any = None,
        fully_convolutional: bool = False,
        freeze_batch_norm: bool = True,
        dropout: bool = False,
        reference: Any = None,
        spatial_pooling: Any = None,
        noise_ratio: float = 0.0,
        precision: str | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {[*PRECISIONS]}, got {precision!r}.")
        check_reference(reference)
        self.noise_ratio = check_noise_ratio(noise_ratio)
        self.reference = reference
        self.dtype = PRECISIONS[precision]
        self.spatial_pooling = check_spatial_pooling(spatial_pooling)
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
            [layer, *([] if read_out is None else [read_out]), *candidates],
            freeze_up_to=freeze_up_to,
            freeze_from=freeze_from,
            freeze_batch_norm=freeze_batch_norm,
            dropout=dropout,
        )
        self.predicting = 0 if read_out is None else 1
        self.noise: Tensor
        self.register_buffer("noise", torch.zeros(len(self.trunk.layers)))
        learns_mean = isinstance(reference, str) and reference == "mean"
        self.mean_image: Tensor | None
        self.register_buffer(
            "mean_image", torch.zeros(1, 3, *self.preprocessing.size) if learns_mean else None
        )
        if not any(p.requires_grad for p in self.trunk.parameters()):
            raise ValueError(
                f"nothing is left to train: every layer up to {layer!r} is frozen by "
                f"freeze_up_to={freeze_up_to!r}, freeze_from={freeze_from!r}. Train a later "
                "layer, freeze less, or use FixedRSARegressor on LayerActivations."
            )

    def forward(self, batch: PairBatch) -> Tensor:
        """Predict the dissimilarities of the pairs of a batch, shape (n_pairs,).

        By the layer that is trained in training mode, by the one that predicts in evaluation mode.
        """
        first, second = batch.index.T
        noise = self.noise[0 if self.training else self.predicting]
        return 1 - correlations(self.activations(batch), noise)[first, second]

    def activations(self, batch: PairBatch) -> Tensor:
        """Activations of a batch minus those of its references: (n_images, n_features)."""
        # References run along: their activations change as the layers are trained.
        joint = self._run(batch.inputs)
        if batch.references is None:
            return joint
        n_images = len(batch.references)
        # A product, as the gradient of indexing is summed in any order on a GPU.
        one_hot = nn.functional.one_hot(batch.references, len(joint) - n_images)
        return joint[:n_images] - one_hot.to(joint) @ joint[n_images:]

    def normalise(self, activations: Tensor) -> Tensor:
        """Scale activations that predictions are made of, so that products are correlations."""
        return normalise(activations, self.noise[self.predicting])

    def read_out(self, inputs: Tensor) -> Tensor:
        """Activations that predictions are made of, of one shard given at the cut."""
        return self.read_outs(inputs)[self.predicting]

    def read_outs(self, inputs: Tensor) -> list[Tensor]:
        """Activations of all layers of the trunk, of one shard given at the cut."""
        with self._autocast(inputs):
            outputs = self.trunk.suffix(inputs)
        return [as_features(output, self.spatial_pooling) for output in outputs]

    def _layer(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return self.read_out(inputs)
        with self._autocast(inputs):
            output = self.trunk.to_first(inputs)
        return as_features(output, self.spatial_pooling)

    def _autocast(self, inputs: Tensor) -> Any:
        return torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype is not None)

    def _run(self, inputs: Tensor) -> Tensor:
        if not is_host(inputs.device) or not self.trunk.is_deterministic:
            return self._layer(inputs)
        if torch.is_grad_enabled():
            trained = [p for p in self.trunk.parameters() if p.requires_grad]
            return run_in_shards(self._layer, inputs, trained)
        return torch.cat(list(map_in_threads(self._run_padded, inputs.split(SHARD_SIZE))))

    def _run_padded(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self._layer(pad_to_shard(inputs))[: len(inputs)]


def correlations(activations: Tensor, noise: Tensor) -> Tensor:
    """Correlations of all rows; NaN for rows that are constant up to rounding, without noise.

    Pearson's, as independent noise would attenuate it: ``noise`` is added to the squared lengths.
    The lengths of the centred rows come from their products, so that few operations, forward and
    backward, are as large as the activations.
    """
    products, mean = _CentredProducts.apply(activations)
    length = (products.diagonal() + noise).sqrt()
    uncentred = (length.detach().square() + activations.shape[1] * mean.square()).sqrt()
    length = torch.where(length > ROUNDING * uncentred, length, torch.nan)
    return products / (length[:, None] * length)


class _CentredProducts(torch.autograd.Function):
    """Products of all rows, each centred, and the rows' means.

    The gradient is a mixture of the centred rows, ``(G + G') X``: its rows are centred as they
    are, so that one product is the whole backward pass.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        mean = rows.mean(dim=1)
        centred = rows - mean[:, None]
        ctx.save_for_backward(centred)
        ctx.mark_non_differentiable(mean)
        return centred @ centred.T, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        return (gradient + gradient.T) @ centred


def normalise(activations: Tensor, noise: Tensor) -> Tensor:
    """Centre each row and scale it, so that products are the same as :func:`correlations`.

    To length 1 without noise, less with it. Without, rows that are constant up to rounding become
    NaN.
    """
    centred = activations - activations.mean(dim=1, keepdim=True)
    length = torch.hypot(centred.norm(dim=1), noise.sqrt())
    varies = length > ROUNDING * activations.detach().norm(dim=1)
    return centred / torch.where(varies, length, torch.nan)[:, None]
