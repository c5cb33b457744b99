"""The twin network: images and pairs in, correlation distances out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from sklearn_rdm._models._distances import check_noise_ratio
from sklearn_rdm._network._accelerator import is_host
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._batches import PairBatch
from sklearn_rdm._network._features import check_pooling, to_features
from sklearn_rdm._network._processes import are_several_processes, run_in_processes
from sklearn_rdm._network._read_out import Layers, ReadOut, check_layers
from sklearn_rdm._network._references import (
    check_reference,
    is_auto,
    settle_reference,
    subtract,
)
from sklearn_rdm._network._shards import SHARD_SIZE, map_in_threads, pad_to_shard, run_in_shards
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._pairs._options import check_option

__all__ = ["TwinNetwork"]

PRECISIONS = {None: None, "float32": None, "bf16": torch.bfloat16}
OF_OTHER, OF_BACKGROUND = 1, 2  # what TwinNetwork.settled says; a number can be saved as a weight


class TwinNetwork(nn.Module):
    """Two branches with shared weights: images and pairs in, correlation distances out.

    Built by :class:`SiameseRDMRegressor` from its own parameters and those that it is given as
    ``module__...``.

    Parameters
    ----------
    backbone, layer, read_out, weights, freeze_up_to, freeze_from, image_size, reference, \
spatial_pooling, tokens, noise_ratio, precision, random_state
        As in :class:`SiameseRDMRegressor`.
    candidates : sequence, default=()
        More read-outs that are wanted beside ``layer`` and ``read_out``, given as these.
    fully_convolutional : bool, default=False
        AlexNet and VGG only. False pools the last convolutional map to the size that the fully
        connected layers were made for (torchvision's way); True lets these slide over larger maps
        (the paper's toolbox): an image of 300 x 300 pixels gives VGG's fc7 a map of 3 x 3.
    layout : {"channels_first", "channels_last", "tokens", "vector"}, dict or None, default=None
        Which axes of activations are which, for all layers with this number of axes or for layers
        by name, where this cannot be detected: ``(n_images, n_channels, height, width)``,
        ``(n_images, height, width, n_channels)``, ``(n_images, n_tokens, n_channels)``,
        ``(n_images, n_features)``.
    n_prefix_tokens : int, default=None
        How many tokens stand before those of the patches, the first of them a class token. None
        detects it.
    freeze_batch_norm : bool, default=True
        Whether the statistics of batch normalisation stay as pretrained also in trained layers.
        With False, a prediction in training depends on the other images of the batch.
    dropout : bool, default=False
        Whether dropout and stochastic depth of trained layers are active in training, where these
        are modules (EfficientNet-Lite's drop-connect is a function and stays off).

    Attributes
    ----------
    trunk : Trunk
        The network up to its last layer that is read.
    read_outs : ModuleList of ReadOut
        First the one that is trained, then the one that predicts if it is another one, then
        candidates.
    reference : str, (r, g, b) or None
        As given; "auto" is what the training images made of it, once they have.
    is_settled : bool
        Whether training images have settled what is learned of them before training: what "auto"
        means, the mean image, and lengths. Kept with the weights.
    preprocessing : Preprocessing
        From photographs to the input of the network.
    mean_image : Tensor of shape (1, 3, height, width) or None
        With ``reference="mean"``, the mean input over the training images.
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
        tokens: str = "all",
        layout: Any = None,
        n_prefix_tokens: int | None = None,
        noise_ratio: float = 0.0,
        precision: str | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        self._keep_settings(precision, noise_ratio, reference)
        self._pooling = check_pooling(spatial_pooling, tokens)
        predicting = layer if read_out is None else read_out
        self._want_read_outs(layer, [predicting, *candidates])
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
            self._wanted_layers,
            n_trained=len(set(self._wanted[0])),
            freeze_up_to=freeze_up_to,
            freeze_from=freeze_from,
            freeze_batch_norm=freeze_batch_norm,
            dropout=dropout,
            layout=layout,
            n_prefix_tokens=n_prefix_tokens,
        )
        self._add_read_outs()
        _check_distinct(layer, self.trained.layers)
        self._predicting = self._wanted.index(tuple(check_layers(predicting)))
        self._add_what_is_settled()
        self._check_is_trained(layer, freeze_up_to, freeze_from)

    def _keep_settings(self, precision: str | None, noise_ratio: float, reference: Any) -> None:
        check_option("precision", precision, PRECISIONS)
        check_reference(reference)
        self.dtype = PRECISIONS[precision]
        self.noise_ratio = check_noise_ratio(noise_ratio)
        self._given_reference = reference

    def _want_read_outs(self, layer: Layers, others: Sequence[Layers]) -> None:
        """Layers of each read-out, as they were named, and all of these layers once."""
        self._wanted = _distinct_read_outs(check_layers(layer), others)
        self._wanted_layers = list(dict.fromkeys(name for names in self._wanted for name in names))

    def _add_read_outs(self) -> None:
        blank = torch.zeros(1, 3, *self.preprocessing.size)
        with torch.enable_grad():
            outputs = self.trunk(blank)
        self._has_gradient = any(value.requires_grad for value in outputs[: self.trunk.n_trained])
        node = dict(zip(self._wanted_layers, self.trunk.layers, strict=True))
        self.layer_sizes = [features.shape[1] for features in self._layer_features(outputs)]
        size = dict(zip(self.trunk.layers, self.layer_sizes, strict=True))
        axes = dict(zip(self.trunk.layers, self.trunk.axes, strict=True))
        self.read_outs = nn.ModuleList()
        for names in self._wanted:
            nodes = [node[name] for name in names]
            sizes = [size[n] for n in nodes]
            self.read_outs.append(ReadOut(nodes, sizes, [axes[n] for n in nodes], self._pooling))

    def _check_is_trained(self, layer: Layers, freeze_up_to: Any, freeze_from: Any) -> None:
        if not self.trained_parameters():
            raise ValueError(
                f"nothing is left to train: every layer up to {layer!r} is frozen by "
                f"freeze_up_to={freeze_up_to!r}, freeze_from={freeze_from!r}, or requires no "
                "gradient as the backbone is made. Train a later layer, freeze less, or use "
                "FixedRSARegressor on LayerActivations."
            )
        if any(p.requires_grad for p in self.trunk.parameters()) and not self._has_gradient:
            raise ValueError(
                f"layer {layer!r} cannot be trained: the backbone computes it without gradients, "
                "by torch.no_grad or detach. Train another layer, or use FixedRSARegressor on "
                "LayerActivations."
            )

    def _add_what_is_settled(self) -> None:
        self.settled: Tensor
        self.register_buffer("settled", torch.zeros((), dtype=torch.int8))
        reference = self._given_reference
        learns_mean = isinstance(reference, str) and reference == "mean"
        self.mean_image: Tensor | None
        self.register_buffer(
            "mean_image", torch.zeros(1, 3, *self.preprocessing.size) if learns_mean else None
        )

    def forward(self, batch: PairBatch) -> Tensor:
        """Predict the dissimilarities of the pairs of a batch, shape (n_pairs,).

        By the read-out that is trained in training mode, by the one that predicts in evaluation
        mode.
        """
        first, second = batch.index.T
        return 1 - self.read_out.correlations(self.features(batch))[first, second]

    @property
    def all_read_outs(self) -> list[ReadOut]:
        """The read-outs as they are."""
        return [cast(ReadOut, read_out) for read_out in self.read_outs]

    @property
    def trained(self) -> ReadOut:
        """The read-out whose predictions the loss compares."""
        return self.all_read_outs[0]

    @property
    def predicting(self) -> ReadOut:
        """The read-out that predictions are made of."""
        return self.all_read_outs[self._predicting]

    @property
    def read_out(self) -> ReadOut:
        """The read-out of the present mode, training or evaluation."""
        return self.trained if self.training else self.predicting

    def read_out_of(self, layers: Layers) -> ReadOut:
        """The read-out of these layers, named as when the network was built."""
        return self.all_read_outs[self._wanted.index(tuple(check_layers(layers)))]

    def take_over(self, other: TwinNetwork, read_out: Layers) -> None:
        """Take what another network of the same kind has learned, for one of its read-outs."""
        self.trained.load_state_dict(other.trained.state_dict())
        self.predicting.load_state_dict(other.read_out_of(read_out).state_dict())
        read_out_states = {f"read_outs.{name}" for name in self.read_outs.state_dict()}
        state = other.state_dict()
        rest = [name for name in self.state_dict() if name not in read_out_states]
        self.load_state_dict({name: state[name] for name in rest}, strict=False)

    def features(self, batch: PairBatch) -> Tensor:
        """Features of a batch minus those of its references: (n_images, n_features)."""
        # References run along: their activations change as the layers are trained.
        joint = self._run(batch.inputs)
        if batch.references is None:
            return joint
        n_images = len(batch.references)
        return subtract(joint[:n_images], joint[n_images:], batch.references)

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
        of_layer = dict(zip(self.trunk.layers, mean_squares, strict=True))
        for read_out in self.all_read_outs:
            lengths = torch.stack([of_layer[layer] for layer in read_out.layers])
            read_out.set_lengths(lengths, self.noise_ratio)

    @property
    def learns_lengths(self) -> bool:
        """Whether lengths of activations are learned before training."""
        return bool(self.noise_ratio) or any(r.scale is not None for r in self.all_read_outs)

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

    def take_settled(self, other: TwinNetwork) -> None:
        """Take what training images have settled for a network of the same kind, no more."""
        mine, theirs = (
            [*network.buffers(recurse=False), *network.read_outs.buffers()]
            for network in (self, other)
        )
        for buffer, settled in zip(mine, theirs, strict=True):
            buffer.copy_(settled)

    def predicted_features(self, inputs: Tensor) -> Tensor:
        """Features of the read-out that predicts, of one shard given at the cut."""
        return self.predicting(self._activations(inputs))

    def all_features(self, inputs: Tensor) -> Tensor:
        """Features of all read-outs side by side, of one shard given at the cut."""
        activations = self._activations(inputs)
        return torch.cat([read_out(activations) for read_out in self.all_read_outs], dim=1)

    def layer_features(self, inputs: Tensor) -> Tensor:
        """Features of each of the trunk's layers side by side, of one shard given at the cut."""
        with self._autocast(inputs):
            outputs = self.trunk.suffix(inputs)
        return torch.cat(self._layer_features(outputs), dim=1)

    def _layer_features(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        layers = zip(outputs, self.trunk.axes, strict=True)
        return [to_features(output, axes, self._pooling) for output, axes in layers]

    def _activations(self, inputs: Tensor) -> dict[str, Tensor]:
        with self._autocast(inputs):
            outputs = self.trunk.suffix(inputs)
        return self._named(outputs)

    def trained_features(self, inputs: Tensor) -> Tensor:
        """Features of the read-out that is trained, of one shard given at the cut."""
        with self._autocast(inputs):
            outputs = self.trunk.to_trained(inputs)
        return self.trained(self._named(outputs))

    def _named(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.trunk.layers, outputs, strict=False))

    def _read(self, inputs: Tensor) -> Tensor:
        return self.trained_features(inputs) if self.training else self.predicted_features(inputs)

    def _autocast(self, inputs: Tensor) -> Any:
        return torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype is not None)

    def _run(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled() and are_several_processes():
            return run_in_processes(self._read, inputs, self.trained_parameters())
        if not is_host(inputs.device) or not self.trunk.is_deterministic:
            return self._read(inputs)
        if torch.is_grad_enabled():
            return run_in_shards(self._read, inputs, self.trained_parameters())
        return torch.cat(list(map_in_threads(self._run_padded, inputs.split(SHARD_SIZE))))

    def _run_padded(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self._read(pad_to_shard(inputs))[: len(inputs)]


def _distinct_read_outs(
    trained: list[str | None], others: Sequence[Layers]
) -> list[tuple[str | None, ...]]:
    """The layers of each read-out: first the trained one, then the others, each once."""
    read_outs = [tuple(trained)]
    for other in others:
        wanted = check_layers(other)
        if len(wanted) > 1 and wanted != trained:
            raise ValueError(
                f"only the layers that are trained together, {trained} here, are read out "
                f"together: their weights are learned. Got {wanted}."
            )
        read_outs.append(tuple(wanted))
    return list(dict.fromkeys(read_outs))


def _check_distinct(given: Layers, nodes: tuple[str, ...]) -> None:
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"layer names a layer twice: {given!r} are {[*nodes]}.")
