"""Cut a network at its read-out layers, freeze its ends, and run the two parts one by one."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.feature_extraction import NodePathTracer

from sklearn_rdm._backbones import Backbone, load_weights

__all__ = ["Trunk"]

# As in torchvision's feature extraction, whose node names are ours.
LEAF_MODULES = [
    member
    for member in vars(torchvision.ops).values()
    if isinstance(member, type) and issubclass(member, nn.Module)
]


class Trunk(nn.Module):
    """A network from its input to its read-out layers, with frozen ends.

    ``prefix`` runs the layers that are frozen from the input on, up to the last place where one
    tensor holds all that the rest needs; its result can be kept. ``suffix`` runs from there to the
    read-outs. Layers behind the last read-out are removed.

    Parameters
    ----------
    backbone : Backbone
        Its network is taken over, not copied.
    layers : sequence of str
        Read-out layers: node names as in torchvision's feature extraction, module names (their
        last node), aliases of the backbone, or None for the input of its last trained layer.
    freeze_up_to, freeze_from : str, default=None
        First and last layers whose parameters and statistics never change, both inclusive.
    freeze_batch_norm : bool, default=True
        Whether batch statistics stay fixed in trained layers too; scale and shift are trained.
    dropout : bool, default=False
        Whether dropout and stochastic depth of trained layers are active in training mode.

    Attributes
    ----------
    layers : tuple of str
        Node names of the read-outs.
    cut : str
        Node whose value ``prefix`` returns.
    """

    _prefix: fx.GraphModule
    _suffix: fx.GraphModule

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[str | None],
        *,
        freeze_up_to: str | None = None,
        freeze_from: str | None = None,
        freeze_batch_norm: bool = True,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        self.network = backbone.network
        self.freeze_batch_norm = freeze_batch_norm
        self.dropout = dropout
        nodes = _trace(self.network)
        known = set(self.network.state_dict())
        names = _LayerNames(backbone.name, list(nodes), backbone.aliases)
        self.layers = tuple(
            names.last_node(layer) if layer else _penultimate(nodes, self.network)
            for layer in layers
        )
        frozen = _frozen_nodes(names, freeze_up_to, freeze_from)
        self.cut = _last_cut(nodes, self.layers, frozen)
        self._remove_unneeded(nodes)
        if backbone.state_dict is not None:
            load_weights(self.network, backbone.state_dict, known)
        self._freeze([nodes[name] for name in frozen])
        self._compile()
        self.train(False)

    def prefix(self, images: Tensor) -> Tensor:
        """From preprocessed images (n, 3, height, width) to the value of the node ``cut``."""
        with torch.no_grad():
            return self._prefix(images)[0]

    def suffix(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """From the value of ``cut`` to the activations of each read-out layer."""
        return self._suffix(inputs)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.suffix(self.prefix(images))

    @property
    def has_prefix(self) -> bool:
        """Whether any layer comes before the cut."""
        return self.cut != self._input_name

    @property
    def is_deterministic(self) -> bool:
        """Whether training computes every image by itself, without chance or batch statistics."""
        return self.freeze_batch_norm and not self.dropout

    def key(self, part: Literal["prefix", "whole"]) -> str:
        """Hash of all that the result of this part depends on, besides the image."""
        key = hashlib.sha256(torch.__version__.encode())
        for graph in [self._prefix] if part == "prefix" else [self._prefix, self._suffix]:
            key.update(graph.code.encode())
            for name, value in graph.state_dict().items():
                key.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
                key.update(value.detach().cpu().contiguous().numpy().tobytes())
        return key.hexdigest()

    def train(self, mode: bool = True) -> Trunk:
        """Switch what may change in training; frozen layers and statistics never do."""
        self.training = mode
        for name, module in self.network.named_modules():
            changes = not self.freeze_batch_norm if isinstance(module, _BatchNorm) else self.dropout
            module.training = mode and changes and name not in self._frozen_modules
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Trunk:
        super()._apply(fn, recurse)
        self._compile()  # buffers were replaced, the graphs still hold the old ones
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Graphs share the network's layers and are traced anew; a copy of them would not.
        state = self.__dict__.copy()
        del state["_prefix"], state["_suffix"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._compile()
        self.train(self.training)

    def _remove_unneeded(self, nodes: dict[str, fx.Node]) -> None:
        needed = _ancestors([nodes[name] for name in self.layers])
        targets = [str(n.target) for n in needed if n.op in ("call_module", "get_attr")]
        targets += [name for name, node in nodes.items() if node in needed]

        def prune(module: nn.Module, path: str) -> None:
            for name, child in module.named_children():
                child_path = f"{path}{name}"
                if child_path in targets:
                    continue
                if any(_within(target, child_path) for target in targets):
                    prune(child, f"{child_path}.")
                else:
                    setattr(module, name, _Removed())

        prune(self.network, "")

    def _freeze(self, frozen: list[fx.Node]) -> None:
        targets = [str(n.target) for n in frozen if n.op in ("call_module", "get_attr")]
        self._frozen_modules = {
            name
            for name, _ in self.network.named_modules()
            if name and any(_within(name, t) or _within(t, name) for t in targets)
        }
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not any(_within(name, target) for target in targets))

    def _compile(self) -> None:
        nodes = _trace(self.network)
        self._input_name = next(iter(nodes))
        cut = nodes[self.cut]
        prefix = _subgraph(nodes, None, [cut])
        suffix = _subgraph(nodes, cut, [nodes[name] for name in self.layers])
        # Not registered as submodules: they hold the same layers as self.network.
        self.__dict__["_prefix"] = fx.GraphModule(self.network, prefix)
        self.__dict__["_suffix"] = fx.GraphModule(self.network, suffix)


class _Removed(nn.Module):
    """Stands where a layer behind the read-out was, so that the network's own code still runs."""

    def forward(self, inputs: Any, *_: Any, **__: Any) -> Any:
        return inputs


class _LayerNames:
    """What users may call a layer -> the nodes that they mean."""

    def __init__(self, backbone: str, nodes: list[str], aliases: dict[str, str]) -> None:
        self.backbone, self.nodes, self.aliases = backbone, nodes, aliases

    def last_node(self, name: str) -> str:
        return self._nodes_of(name)[-1]

    def first_node(self, name: str) -> str:
        return self._nodes_of(name)[0]

    def _nodes_of(self, name: str) -> list[str]:
        path = self.aliases.get(name, name)
        if path in self.nodes:
            return [path]
        inside = [node for node in self.nodes if node.startswith(f"{path}.")]
        if not inside:
            raise ValueError(self._unknown(name))
        return inside

    def _unknown(self, name: str) -> str:
        modules = dict.fromkeys(re.sub(r"\.[^.]*$", "", node) for node in self.nodes)
        valid = list(dict.fromkeys([*self.aliases, *modules, *self.nodes]))
        close = difflib.get_close_matches(str(name), valid, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        return f"{self.backbone} has no layer {name!r}.{hint} Valid names: {', '.join(valid)}."


def _trace(network: nn.Module) -> dict[str, fx.Node]:
    """Nodes by torchvision's names, in the order of execution."""
    tracer = NodePathTracer(autowrap_modules=(math, torchvision.ops), leaf_modules=LEAF_MODULES)
    try:
        tracer.trace(network)
    except Exception as error:  # fx raises whatever the network's code raises on proxies
        raise ValueError(
            f"{type(network).__name__} cannot be cut at a layer: its forward pass depends on the "
            f"data in a way that torch.fx cannot follow ({error})."
        ) from error
    return {name: node for node, name in tracer.node_to_qualname.items()}


def _penultimate(nodes: dict[str, fx.Node], network: nn.Module) -> str:
    """Name the node whose values enter the last layer with parameters."""
    names = {node: name for name, node in nodes.items()}
    for node in reversed(nodes.values()):
        inputs = [n for n in node.all_input_nodes if n.op != "get_attr"]
        if inputs and _has_parameters(node, network):
            return names[_skip_reshaping(inputs[0], network)]
    raise ValueError(f"{type(network).__name__} has no layer with parameters.")


def _has_parameters(node: fx.Node, network: nn.Module) -> bool:
    if node.op == "call_module":
        return any(True for _ in network.get_submodule(str(node.target)).parameters())
    return any(n.op == "get_attr" for n in node.all_input_nodes)


def _skip_reshaping(node: fx.Node, network: nn.Module) -> fx.Node:
    """Go back over what leaves the values of an image as they are."""
    while (
        node.target in ("view", "flatten", "reshape", torch.flatten)
        or node.op == "call_module"
        and isinstance(network.get_submodule(str(node.target)), nn.Dropout | nn.Flatten)
    ):
        node = node.all_input_nodes[0]
    return node


def _frozen_nodes(
    names: _LayerNames, freeze_up_to: str | None, freeze_from: str | None
) -> list[str]:
    frozen: list[str] = []
    if freeze_up_to is not None:
        frozen += names.nodes[: names.nodes.index(names.last_node(freeze_up_to)) + 1]
    if freeze_from is not None:
        frozen += names.nodes[names.nodes.index(names.first_node(freeze_from)) :]
    return frozen


def _last_cut(nodes: dict[str, fx.Node], layers: Sequence[str], frozen: list[str]) -> str:
    """The last node of the frozen prefix from whose value alone all read-outs can be computed."""
    order = list(nodes)
    n_prefix = next((i for i, name in enumerate(order) if name not in frozen), len(order))
    outputs = [nodes[name] for name in layers]
    for name in reversed(order[:n_prefix]):
        if nodes[order[0]] not in _ancestors(outputs, until=nodes[name]):
            return name
    return order[0]


def _ancestors(outputs: list[fx.Node], until: fx.Node | None = None) -> set[fx.Node]:
    """All nodes that ``outputs`` are computed from, not looking behind ``until``."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node is not until]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n in node.all_input_nodes if n is not until]
    return found


def _subgraph(nodes: dict[str, fx.Node], start: fx.Node | None, outputs: list[fx.Node]) -> fx.Graph:
    """A graph from the value of ``start`` (None: the network's input) to a tuple of outputs."""
    graph = fx.Graph()
    start = start or next(iter(nodes.values()))
    copies = {start: graph.placeholder("inputs")}
    needed = _ancestors(outputs, until=start)
    for node in start.graph.nodes:  # some constants have no name
        if node in needed and node is not start:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in outputs))
    return graph


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
