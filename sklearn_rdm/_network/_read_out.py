"""What is read of a network's layers: the features whose correlation predicts a dissimilarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sklearn_rdm._network._features import Pooling, to_features
from sklearn_rdm._network._layouts import Axes
from sklearn_rdm._pairs._rounding import FLOAT32_SHARE

__all__ = ["Layers", "ReadOut", "check_layers"]

Layers = str | Sequence[str] | None  # what is read out: one layer, or several as one

WEIGHT_RATE = 10  # an optimiser's step that suits a CNN's weights is small for those of layers


class ReadOut(nn.Module):
    """The activations of one layer, or of several weighted ones, as features to correlate.

    Several layers are each centred, scaled to equal mean squared length, multiplied by a learned
    non-negative weight, and concatenated.

    Parameters
    ----------
    layers : sequence of str
        Node names of the layers.
    n_features : sequence of int
        Features of each layer, after pooling.
    axes : sequence of Axes
        Which axes of each layer's activations are which.
    pooling : Pooling
        What is made of maps and tokens.

    Attributes
    ----------
    log_weight : Parameter of shape (n_layers,), or None
        Of several layers: logarithms, divided by 10, of their weights.
    scale : Tensor of shape (n_layers,), or None
        Of several layers: what their centred activations are multiplied by before the weights.
    noise : Tensor of shape ()
        Added to the squared length of the centred features.
    """

    def __init__(
        self,
        layers: Sequence[str],
        n_features: Sequence[int],
        axes: Sequence[Axes],
        pooling: Pooling,
    ) -> None:
        super().__init__()
        self.layers, self.axes, self.pooling = tuple(layers), tuple(axes), pooling
        self.n_features = sum(n_features)
        several = len(self.layers) > 1
        self.log_weight = nn.Parameter(torch.zeros(len(layers))) if several else None
        self.scale: Tensor | None
        self.register_buffer("scale", torch.ones(len(layers)) if several else None)
        self.noise: Tensor
        self.register_buffer("noise", torch.zeros(()))

    def forward(self, activations: Mapping[str, Tensor]) -> Tensor:
        """Features (n_images, n_features) of the activations of layers, given by name.

        Linear but for the layers' weights, so that references may be subtracted afterwards.
        """
        features = self._features(activations)
        if self.scale is None:
            return features[0]
        factors = self.scale * self.weights
        parts = zip(features, factors, strict=True)
        return torch.cat([factor * _centred(rows) for rows, factor in parts], dim=1)

    @property
    def name(self) -> str:
        """What the read-out is called in messages."""
        return " + ".join(self.layers)

    @property
    def weights(self) -> Tensor:
        """Weights of the layers, (n_layers,); 1 before training."""
        if self.log_weight is None:
            return torch.ones(len(self.layers))
        return torch.exp(WEIGHT_RATE * self.log_weight)

    def set_lengths(self, mean_squares: Tensor, noise_ratio: float) -> None:
        """Scale several layers to equal shares, and noise to the features.

        Parameters
        ----------
        mean_squares : Tensor of shape (n_layers,)
            Squared lengths of the centred activations of each layer, means over the training
            images before training.
        noise_ratio : float
            The noise over the mean squared length of the features.
        """
        if self.scale is not None:
            constant = (mean_squares == 0).nonzero().flatten().tolist()
            if constant:
                raise ValueError(
                    f"layer {self.layers[constant[0]]!r} is constant for all training images "
                    "before training: leave it out of the layers."
                )
            n_layers = len(self.layers)
            self.scale.copy_((n_layers * mean_squares).rsqrt())
            mean_squares = torch.full_like(mean_squares, 1 / n_layers)  # of the scaled activations
        self.noise.copy_(noise_ratio * mean_squares.sum())

    def correlations(self, features: Tensor) -> Tensor:
        """Correlations of all rows; NaN for rows that are constant up to rounding, without noise.

        Pearson's, as independent noise would attenuate it: ``noise`` is added to the squared
        lengths. The lengths of the centred rows come from their products, so that few operations,
        forward and backward, are as large as the features.
        """
        products, mean = _CentredProducts.apply(features)
        length = (products.diagonal() + self.noise).sqrt()
        uncentred = (length.detach().square() + features.shape[1] * mean.square()).sqrt()
        length = torch.where(length > FLOAT32_SHARE * uncentred, length, torch.nan)
        return products / (length[:, None] * length)

    def normalise(self, features: Tensor) -> Tensor:
        """Centre each row and scale it, so that products are the same as :meth:`correlations`.

        To length 1 without noise, less with it. Without, rows that are constant up to rounding
        become NaN.
        """
        centred = features - features.mean(dim=1, keepdim=True)
        length = torch.hypot(centred.norm(dim=1), self.noise.sqrt())
        varies = length > FLOAT32_SHARE * features.detach().norm(dim=1)
        return centred / torch.where(varies, length, torch.nan)[:, None]

    def _features(self, activations: Mapping[str, Tensor]) -> list[Tensor]:
        layers = zip(self.layers, self.axes, strict=True)
        return [to_features(activations[layer], axes, self.pooling) for layer, axes in layers]


def check_layers(layers: Layers) -> list[str | None]:
    """Return the layers of a read-out as a list."""
    if layers is None or isinstance(layers, str):
        return [layers]
    names = isinstance(layers, Sequence) and [isinstance(name, str) for name in layers]
    if not names or not all(names):
        raise ValueError(
            f"layer must be None, the name of a layer, or names of several, got {layers!r}."
        )
    return list(layers)


def _centred(rows: Tensor) -> Tensor:
    """Rows minus their means; zero where they are constant up to rounding."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    with torch.no_grad():
        varies = centred.norm(dim=1) > FLOAT32_SHARE * rows.norm(dim=1)
    return centred * varies[:, None]


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
