"""The twin network: images and pairs in, correlation distances out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sklearn_rdm._models._distances import check_noise_ratio
from sklearn_rdm._network._accelerator import is_host
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._batches import PairBatch
from sklearn_rdm._network._layouts import to_features
from sklearn_rdm._network._references import check_reference, is_auto, settle_reference
from sklearn_rdm._network._shards import SHARD_SIZE, map_in_threads, pad_to_shard, run_in_shards
from sklearn_rdm._network._trunk import Trunk, check_spatial_pooling

__all__ = ["Layers", "TwinNetwork", "normalise"]

Layers = str | Sequence[str] | None  # what is read out: one layer, or several as one

PRECISIONS = {None: None, "float32": None, "bf16": torch.bfloat16}
ROUNDING = 1e-6  # float32: centred activations below this share of their size are rounding noise
OF_OTHER, OF_BACKGROUND = 1, 2  # what TwinNetwork.settled says; a number can be saved as a weight
WEIGHT_RATE = 10  # an optimiser's step that suits a CNN's weights is small for those of layers


class TwinNetwork(nn.Module):
    """Two branches with shared weights: images and pairs in, correlation distances out.

    Built by :class:`SiameseRDMRegressor` from its own parameters.

    Parameters
    ----------
    backbone, layer, read_out, weights, freeze_up_to, freeze_from, image_size, \
fully_convolutional, freeze_batch_norm, dropout, reference, spatial_pooling, noise_ratio, \
precision, random_state
        As in :class:`SiameseRDMRegressor`.
    candidates : sequence, default=()
        More read-outs that are wanted beside ``layer`` and ``read_out``, given as these.

    Attributes
    ----------
    trunk : Trunk
        The network up to its last layer that is read.
    reference : str, (r, g, b) or None
        As given; "auto" is what the training images made of it, once they have.
    is_settled : bool
        Whether training images have settled what is learned of them before training: what "auto"
        means, the mean image, and lengths. Kept with the weights.
    read_outs : tuple of tuple of int
        Which of the trunk's layers each read-out is made of: first the trained one, then the one
        that predicts if it is another one, then candidates.
    predicting : int
        Which of the read-outs predictions are made of.
    log_weight : Parameter of shape (n_trained,), or None
        If several layers are trained: logarithms, divided by 10, of their weights.
    scale : Tensor of shape (n_trained,), or None
        What centred activations of each of them are multiplied by before their weight.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    mean_image : Tensor of shape (1, 3, height, width) or None
        With ``reference="mean"``, the mean input over the training images.
    noise : Tensor of shape (n_read_outs,)
        What is added to the squared length of the centred activations, for each read-out:
        ``noise_ratio`` times its mean over the training images before training.
    """

    def __init__(
        self,
        backbone: Any,
        layer: Layers = None,
        *,
        read_out: Layers = None,
        candidates: Sequence[Layers] = (),
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
        self._given_reference = reference
        self.settled: Tensor
        self.register_buffer("settled", torch.zeros((), dtype=torch.int8))
        self.dtype = PRECISIONS[precision]
        self.spatial_pooling = check_spatial_pooling(spatial_pooling)
        trained = check_layers(layer)
        others = [] if read_out is None else [read_out]
        layers, self.read_outs = _place_read_outs(trained, [*others, *candidates])
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
            layers,
            n_trained=len(trained),
            freeze_up_to=freeze_up_to,
            freeze_from=freeze_from,
            freeze_batch_norm=freeze_batch_norm,
            dropout=dropout,
        )
        _check_distinct(layer, self.trunk.layers[: len(trained)])
        self.predicting = len(others)
        self.noise: Tensor
        self.register_buffer("noise", torch.zeros(len(self.read_outs)))
        several = len(trained) > 1
        self.log_weight = nn.Parameter(torch.zeros(len(trained))) if several else None
        self.scale: Tensor | None
        self.register_buffer("scale", torch.ones(len(trained)) if several else None)
        learns_mean = isinstance(reference, str) and reference == "mean"
        self.mean_image: Tensor | None
        self.register_buffer(
            "mean_image", torch.zeros(1, 3, *self.preprocessing.size) if learns_mean else None
        )
        if not self.trained_parameters():
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

    def trained_parameters(self) -> list[nn.Parameter]:
        """All parameters that training changes."""
        return [p for p in self.parameters() if p.requires_grad]

    def set_lengths(self, mean_squares: Tensor) -> None:
        """Scale layers that are joined to equal shares, and noise to the activations.

        Parameters
        ----------
        mean_squares : Tensor of shape (n_layers,)
            Squared lengths of the centred activations of each of the trunk's layers, means over
            the training images before training.
        """
        lengths = mean_squares.clone()
        if self.scale is not None:
            n_trained = len(self.scale)
            constant = (lengths[:n_trained] == 0).nonzero().flatten().tolist()
            if constant:
                raise ValueError(
                    f"layer {self.trunk.layers[constant[0]]!r} is constant for all training images "
                    "before training: leave it out of the layers."
                )
            self.scale.copy_((n_trained * lengths[:n_trained]).rsqrt())
            lengths[:n_trained] = 1 / n_trained  # of the scaled activations
        of_read_outs = [lengths[[*places]].sum() for places in self.read_outs]
        self.noise.copy_(self.noise_ratio * torch.stack(of_read_outs))

    @property
    def reference(self) -> Any:
        if not self.is_settled or not is_auto(self._given_reference):
            return self._given_reference
        return "background" if int(self.settled) == OF_BACKGROUND else None

    @property
    def is_settled(self) -> bool:
        return bool(self.settled)

    def settle(self, source: Any) -> None:
        """Keep what "auto" means for these training images, and that all is learned of them."""
        of_background = is_auto(self._given_reference) and settle_reference("auto", source)
        self.settled.fill_(OF_BACKGROUND if of_background else OF_OTHER)

    @property
    def layer_weights(self) -> Tensor:
        """Weights of the layers that are trained together, (n_trained,); 1 before training."""
        if self.log_weight is None:
            return torch.ones(self.trunk.n_trained)
        return torch.exp(WEIGHT_RATE * self.log_weight)

    @property
    def names(self) -> list[str]:
        """What each read-out is called in messages."""
        layers = self.trunk.layers
        return [" + ".join(layers[place] for place in places) for places in self.read_outs]

    def normalise(self, activations: Tensor) -> Tensor:
        """Scale activations that predictions are made of, so that products are correlations."""
        return normalise(activations, self.noise[self.predicting])

    def read_out(self, inputs: Tensor) -> Tensor:
        """Activations that predictions are made of, of one shard given at the cut."""
        return self._join(self.layer_features(inputs), self.predicting)

    def all_read_outs(self, inputs: Tensor) -> list[Tensor]:
        """Activations of all read-outs, of one shard given at the cut."""
        features = self.layer_features(inputs)
        return [self._join(features, number) for number in range(len(self.read_outs))]

    def layer_features(self, inputs: Tensor) -> list[Tensor]:
        """Activations of each of the trunk's layers, of one shard given at the cut."""
        with self._autocast(inputs):
            outputs = self.trunk.suffix(inputs)
        return self._as_features(outputs)

    def _trained_features(self, inputs: Tensor) -> Tensor:
        with self._autocast(inputs):
            outputs = self.trunk.to_trained(inputs)
        return self._join(self._as_features(outputs), 0)

    def _as_features(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        layouts = self.trunk.layouts  # of all layers; outputs may be of the first of them
        return [
            to_features(output, layout, self.spatial_pooling)
            for output, layout in zip(outputs, layouts, strict=False)
        ]

    def _join(self, features: Sequence[Tensor], number: int) -> Tensor:
        """One read-out's activations: several layers side by side, centred and weighed.

        Linear but for the weights, so that references may be subtracted afterwards.
        """
        places = self.read_outs[number]
        if len(places) == 1:
            return features[places[0]]
        assert self.scale is not None
        factors = self.scale * self.layer_weights
        parts = zip(places, factors, strict=True)
        return torch.cat([factor * _centred(features[place]) for place, factor in parts], dim=1)

    def _read(self, inputs: Tensor) -> Tensor:
        return self._trained_features(inputs) if self.training else self.read_out(inputs)

    def _autocast(self, inputs: Tensor) -> Any:
        return torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype is not None)

    def _run(self, inputs: Tensor) -> Tensor:
        if not is_host(inputs.device) or not self.trunk.is_deterministic:
            return self._read(inputs)
        if torch.is_grad_enabled():
            return run_in_shards(self._read, inputs, self.trained_parameters())
        return torch.cat(list(map_in_threads(self._run_padded, inputs.split(SHARD_SIZE))))

    def _run_padded(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self._read(pad_to_shard(inputs))[: len(inputs)]


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


def _place_read_outs(
    trained: list[str | None], others: Sequence[Layers]
) -> tuple[list[str | None], tuple[tuple[int, ...], ...]]:
    """All layers in the trunk's order, and the places in it of each read-out's layers."""
    layers, first = list(trained), tuple(range(len(trained)))
    read_outs = [first]
    for other in others:
        wanted = check_layers(other)
        if len(wanted) == 1:
            read_outs.append((len(layers),))
            layers += wanted
        elif wanted == trained:
            read_outs.append(first)
        else:
            raise ValueError(
                f"only the layers that are trained together, {trained} here, are read out "
                f"together: their weights are learned. Got {wanted}."
            )
    return layers, tuple(read_outs)


def _check_distinct(given: Layers, nodes: tuple[str, ...]) -> None:
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"layer names a layer twice: {given!r} are {[*nodes]}.")


def _centred(rows: Tensor) -> Tensor:
    """Rows minus their means; zero where they are constant up to rounding."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    with torch.no_grad():
        varies = centred.norm(dim=1) > ROUNDING * rows.norm(dim=1)
    return centred * varies[:, None]


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
