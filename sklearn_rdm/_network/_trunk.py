"""Cut a network at its read-out layers, freeze its ends, and run the two parts one by one."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_rdm._network._accelerator import put_channels_last
from sklearn_rdm._network._backbones import Backbone
from sklearn_rdm._network._cut import CannotCutError, CutNetwork, Wanted, two_photographs
from sklearn_rdm._network._features import state_axes
from sklearn_rdm._network._hooked import HookedNetwork
from sklearn_rdm._network._hooks import describe_value, holds_tensors
from sklearn_rdm._network._layout_probe import probed_axes
from sklearn_rdm._network._network_key import hash_contents
from sklearn_rdm._network._tracing import defaults, within
from sklearn_rdm._network._weight_files import load_fitting, load_weights

__all__ = ["Trunk"]


class Trunk(nn.Module):
    """A network from its input to its read-out layers, with frozen ends.

    ``prefix`` runs the layers that are frozen from the input on, up to the last place where one
    tensor holds all that the rest needs; its result can be kept. ``suffix`` runs from there to the
    read-outs, ``to_trained`` to the first of them only: layers that these do not need are never
    trained. Layers behind the last read-out are removed.

    Parameters
    ----------
    backbone : Backbone
        Its network is taken over, not copied.
    layers : sequence of str
        Read-out layers: node names as in torchvision's feature extraction, module names (what
        the module returns), aliases of the backbone, or None for the input of its last trained
        layer.
    n_trained : int, default=1
        How many of them, from the first on, are trained to predict.
    freeze_up_to, freeze_from : str, default=None
        First and last layers whose parameters and statistics never change, both inclusive.
    freeze_batch_norm : bool, default=True
        Whether batch statistics stay fixed in trained layers too; scale and shift are trained.
    dropout : bool, default=False
        Whether dropout and stochastic depth of trained layers are active in training mode, where
        they are modules (EfficientNet-Lite calls its stochastic depth as a function: it stays off).
    layout, n_prefix_tokens
        What the user says about the read-outs' axes, see :func:`state_axes`.

    Warns
    -----
    UserWarning
        If the network cannot be cut, and is read by hooks instead; if a layer is called several
        times and its name does not say which call is meant.

    Attributes
    ----------
    layers : tuple of str
        Node names of the read-outs.
    cut : str
        Node whose value ``prefix`` returns.
    has_prefix : bool
        Whether any layer comes before the cut.
    axes : tuple of Axes
        Which axes of each read-out are which.
    """

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[str | None],
        *,
        n_trained: int = 1,
        freeze_up_to: str | None = None,
        freeze_from: str | None = None,
        freeze_batch_norm: bool = True,
        dropout: bool = False,
        layout: Any = None,
        n_prefix_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.network = backbone.network
        self.aliases = backbone.aliases
        self._remake = backbone.remake
        self._kept_versions: list[int] | None = None
        self.freeze_batch_norm = freeze_batch_norm
        self.dropout = dropout
        self.n_trained = n_trained
        known = set(self.network.state_dict())
        if backbone.state_dict is not None:
            load_fitting(self.network, backbone.state_dict)
        wanted = Wanted(tuple(layers), n_trained, freeze_up_to, freeze_from)
        self._way = _way_to_run(backbone, wanted)
        self.layers = self._way.layers
        self.cut = self._way.cut
        self.has_prefix = self._way.has_prefix
        axes = self._way.axes
        if layout is None:
            axes = probed_axes(self._read, axes, backbone.preprocessing.size)
        self.axes = state_axes(axes, layers, layout, n_prefix_tokens)
        self._remove_unneeded()
        if backbone.state_dict is not None:
            load_weights(self.network, backbone.state_dict, known)
        self._freeze()
        self._way.bind(self.network)
        self.train(False)

    def prefix(self, images: Tensor) -> Tensor:
        """From preprocessed images (n, 3, height, width) to the value of the node ``cut``."""
        with torch.no_grad():
            return self._way.prefix(images)

    def suffix(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """From the value of ``cut`` to the activations of each read-out layer."""
        return self._checked(self._way.suffix(inputs), inputs.shape[0])

    def to_trained(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """From the value of ``cut`` to the activations of the first ``n_trained`` layers."""
        return self._checked(self._way.to_trained(inputs), inputs.shape[0])

    def traceable(self, images: Tensor) -> tuple[Tensor, ...]:
        """As the trunk itself, but torch.export can follow it; gradients are not cut off."""
        return self._checked(self._way.traceable(images), images.shape[0])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.suffix(self.prefix(images))

    @property
    def is_deterministic(self) -> bool:
        """Whether training computes every image by itself, without chance or batch statistics."""
        return self.freeze_batch_norm and not self.dropout

    def key(self, part: Literal["prefix", "whole"]) -> str:
        """Hash of all that the result of this part depends on, besides the image."""
        return hash_contents(self._way.contents(part), torch.__version__)

    def train(self, mode: bool = True) -> Trunk:
        """Switch what may change in training; frozen layers and statistics never do."""
        self.training = mode
        for name, module in self.network.named_modules():
            changes = not self.freeze_batch_norm if isinstance(module, _BatchNorm) else self.dropout
            module.training = mode and changes and name not in self._frozen_modules
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Trunk:
        super()._apply(fn, recurse)
        put_channels_last(self.network)
        # Buffers were replaced, the graphs still hold the old ones.
        self._way.bind(self.network)
        return self

    def _read(self, images: Tensor) -> tuple[Any, ...]:
        return self._way.suffix(self._way.prefix(images))

    def _checked(self, outputs: tuple[Tensor, ...], n_images: int) -> tuple[Tensor, ...]:
        """Outputs of all read-outs or of the first of them, if each has one row per image."""
        for layer, output in zip(self.layers, outputs, strict=False):
            _check_one_per_image(layer, output, n_images)
        return outputs

    def export_network(self) -> nn.Module:
        """Return the whole network as a plain module of its own class, with the tuned weights.

        It is built as the backbone was; layers after the read-out are as pretrained. Its state
        dict loads into any network of its kind with ``strict=True``.

        Raises
        ------
        ValueError
            If a weights file has no weights of a layer after the read-out.
        """
        assert self._remake is not None
        made = self._remake()
        if made.state_dict is not None:
            load_weights(made.network, made.state_dict, set())
        made.network.load_state_dict(self.network.state_dict(), strict=False)
        return made.network.eval()

    def check_frozen(self) -> None:
        """Raise a ValueError if a layer whose activations are kept changes, or would be trained.

        That is so if its parameters require gradients, because a callback or a user unfroze them.
        """
        if self._kept_versions not in (None, self._versions()):
            raise ValueError(
                "weights of frozen layers have been changed in training, by a callback. "
                f"Activations up to {self.cut!r} are computed only once, before. Change weights "
                "of layers after freeze_up_to only."
            )
        thawed = [name for name, p in self._way.kept_parameters() if p.requires_grad]
        if thawed:
            raise ValueError(
                f"{thawed[0]!r} requires a gradient, but its layer was frozen when the network was "
                f"built. Activations up to {self.cut!r} are computed only once, so that it would "
                "not be trained. Unfreeze it by net.set_params(freeze_up_to=...) and continue with "
                "partial_fit; callbacks may freeze and unfreeze layers after freeze_up_to."
            )

    def note_kept(self) -> None:
        """Remember that activations of the prefix are kept, made with the present weights."""
        self._kept_versions = self._versions()

    def _versions(self) -> list[int]:
        """How often each weight of the prefix was changed in place."""
        return [p._version for _, p in self._way.kept_parameters()]

    def _remove_unneeded(self) -> None:
        needed = self._way.needed
        if needed is None:
            return

        def prune(module: nn.Module, path: str) -> None:
            own = {**module._parameters, **module._buffers, **module._modules}
            for name in [name for name, part in own.items() if part is not None]:
                inside = f"{path}{name}"
                if not any(within(target, inside) for target in needed):
                    delattr(module, name)
                elif name in module._modules and inside not in needed:
                    prune(module.get_submodule(name), f"{inside}.")

        prune(self.network, "")

    def _freeze(self) -> None:
        frozen, unneeded = self._way.frozen, self._way.unneeded
        self._frozen_modules = {
            name
            for name, _ in self.network.named_modules()
            if name and any(within(name, t) or within(t, name) for t in frozen | unneeded)
        }
        for parameter, names in _names_of_parameters(self.network):
            if _is_one_in(names, frozen) or all(_is_one_in([name], unneeded) for name in names):
                parameter.requires_grad_(False)


def _way_to_run(backbone: Backbone, wanted: Wanted) -> CutNetwork | HookedNetwork:
    """Cut a network where that gives its own values, else read it whole by hooks."""
    _check_readable(backbone)
    photographs = two_photographs(backbone.preprocessing.size)
    try:
        return CutNetwork(backbone, wanted, photographs)
    except CannotCutError as reason:
        way = HookedNetwork(backbone, wanted, photographs)
        warnings.warn(
            f"{backbone.name} cannot be cut at a layer ({reason}). It is run from its input to the "
            "last layer that is needed, and read by hooks: all values are right, but freeze_up_to "
            "saves no time in training.",
            stacklevel=4,
        )
        return way


def _check_readable(backbone: Backbone) -> None:
    """Raise a ValueError if nothing can be read of a network, whatever the layer."""
    defaults(backbone.network)  # or an error
    if any(isinstance(module, torch.jit.ScriptModule) for module in backbone.network.modules()):
        raise ValueError(
            f"{backbone.name} has parts that torch.jit has compiled, whose layers cannot be read: "
            "give the network that it was made of."
        )
    if any(t.is_meta for t in backbone.network.state_dict().values()):
        raise ValueError(
            f"{backbone.name} has no weights, as it was built on the device 'meta': build it on "
            "the processor."
        )


def _names_of_parameters(network: nn.Module) -> Iterable[tuple[nn.Parameter, list[str]]]:
    """All parameters, each with its names: layers may share one."""
    found: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            found.setdefault(id(parameter), (parameter, []))[1].append(name)
    return found.values()


def _is_one_in(names: Sequence[str], targets: Collection[str]) -> bool:
    return any(within(name, target) for name in names for target in targets)


def _check_one_per_image(layer: str, output: Any, n_images: int) -> None:
    if not isinstance(output, Tensor) or output.shape[:1] != (n_images,):
        other = "one of these" if holds_tensors(output) else "the layer before or after it"
        raise ValueError(
            f"layer {layer!r} has no activations of its own for each image: of {n_images} images "
            f"its value is {describe_value(output, layer)}. Read out {other}."
        )
