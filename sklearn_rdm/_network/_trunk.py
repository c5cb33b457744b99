"""Cut a network at its read-out layers, freeze its ends, and run the two parts one by one."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.feature_extraction import NodePathTracer

from sklearn_rdm._network._accelerator import put_channels_last
from sklearn_rdm._network._backbones import Backbone, load_weights

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
    read-outs, ``to_trained`` to the first of them only: layers that these do not need are never
    trained. Layers behind the last read-out are removed.

    Parameters
    ----------
    backbone : Backbone
        Its network is taken over, not copied.
    layers : sequence of str
        Read-out layers: node names as in torchvision's feature extraction, module names (their
        last node), aliases of the backbone, or None for the input of its last trained layer.
    n_trained : int, default=1
        How many of them, from the first on, are trained to predict.
    freeze_up_to, freeze_from : str, default=None
        First and last layers whose parameters and statistics never change, both inclusive.
    freeze_batch_norm : bool, default=True
        Whether batch statistics stay fixed in trained layers too; scale and shift are trained.
    dropout : bool, default=False
        Whether dropout and stochastic depth of trained layers are active in training mode, where
        they are modules (EfficientNet-Lite calls its stochastic depth as a function: it stays off).

    Attributes
    ----------
    layers : tuple of str
        Node names of the read-outs.
    cut : str
        Node whose value ``prefix`` returns.
    has_prefix : bool
        Whether any layer comes before the cut.
    """

    _prefix: fx.GraphModule
    _suffix: fx.GraphModule
    _to_trained: fx.GraphModule

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
    ) -> None:
        super().__init__()
        self.network = backbone.network
        self.freeze_batch_norm = freeze_batch_norm
        self.dropout = dropout
        nodes = _trace(self.network)
        known = set(self.network.state_dict())
        names = _LayerNames(backbone.name, nodes, backbone.aliases)
        self.layers = tuple(
            names.last_node(layer) if layer else _penultimate(nodes, self.network)
            for layer in layers
        )
        self.n_trained = n_trained
        trained = _ancestors([nodes[layer] for layer in self.layers[:n_trained]])
        frozen = _frozen_nodes(names, freeze_up_to, freeze_from)
        frozen += [name for name in names.nodes if nodes[name] not in trained]
        self.cut = _last_cut(nodes, names.nodes, self.layers, frozen)
        self.has_prefix = self.cut != next(iter(nodes))
        self._remove_unneeded(nodes)
        if backbone.state_dict is not None:
            load_weights(self.network, backbone.state_dict, known)
        self._freeze(_with_constants([nodes[name] for name in frozen], names.nodes, nodes))
        outputs = [nodes[name] for name in self.layers]
        self._bind(
            _subgraph(nodes, None, [nodes[self.cut]]),
            _subgraph(nodes, nodes[self.cut], outputs),
            _subgraph(nodes, nodes[self.cut], outputs[:n_trained]),
        )
        self.train(False)

    def prefix(self, images: Tensor) -> Tensor:
        """From preprocessed images (n, 3, height, width) to the value of the node ``cut``."""
        with torch.no_grad():
            return self._prefix(images)[0]

    def suffix(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """From the value of ``cut`` to the activations of each read-out layer."""
        return self._checked(self._suffix(inputs), len(inputs))

    def to_trained(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """From the value of ``cut`` to the activations of the first ``n_trained`` layers."""
        return self._checked(self._to_trained(inputs), len(inputs))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.suffix(self.prefix(images))

    @property
    def is_deterministic(self) -> bool:
        """Whether training computes every image by itself, without chance or batch statistics."""
        return self.freeze_batch_norm and not self.dropout

    def key(self, part: Literal["prefix", "whole"]) -> str:
        """Hash of all that the result of this part depends on, besides the image."""
        key = hashlib.sha256(torch.__version__.encode())
        for graph in [self._prefix] if part == "prefix" else [self._prefix, self._suffix]:
            key.update("\n".join(_operations(graph)).encode())
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
        put_channels_last(self.network)
        # Buffers were replaced, the graphs still hold the old ones.
        self._bind(self._prefix.graph, self._suffix.graph, self._to_trained.graph)
        return self

    def _bind(self, prefix: fx.Graph, suffix: fx.Graph, to_trained: fx.Graph) -> None:
        # Not registered as submodules: they hold the same layers as self.network, also in a copy.
        self.__dict__["_prefix"] = fx.GraphModule(self.network, prefix)
        self.__dict__["_suffix"] = fx.GraphModule(self.network, suffix)
        self.__dict__["_to_trained"] = fx.GraphModule(self.network, to_trained)

    def _checked(self, outputs: tuple[Tensor, ...], n_images: int) -> tuple[Tensor, ...]:
        """Outputs of all read-outs or of the first of them, if each has one row per image."""
        for layer, output in zip(self.layers, outputs, strict=False):
            _check_one_per_image(layer, output, n_images)
        return outputs

    def _remove_unneeded(self, nodes: dict[str, fx.Node]) -> None:
        needed = _targets(_ancestors([nodes[name] for name in self.layers]))

        def prune(module: nn.Module, path: str) -> None:
            own = {**module._parameters, **module._buffers, **module._modules}
            for name in [name for name, part in own.items() if part is not None]:
                inside = f"{path}{name}"
                if not any(_within(target, inside) for target in needed):
                    delattr(module, name)
                elif name in module._modules and inside not in needed:
                    prune(module.get_submodule(name), f"{inside}.")

        prune(self.network, "")

    def _freeze(self, frozen: set[fx.Node]) -> None:
        targets = _targets(frozen)
        self._frozen_modules = {
            name
            for name, _ in self.network.named_modules()
            if name and any(_within(name, t) or _within(t, name) for t in targets)
        }
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not any(_within(name, target) for target in targets))


class _LayerNames:
    """What users may call a layer -> the nodes that they mean."""

    def __init__(self, backbone: str, nodes: dict[str, fx.Node], aliases: dict[str, str]) -> None:
        self.backbone, self.aliases = backbone, aliases
        shown = _descendants(next(iter(nodes.values())))
        self.nodes = [name for name, node in nodes.items() if node in shown]

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
    leaves, functions = _opaque_parts(network)
    tracer = NodePathTracer(
        autowrap_modules=(math, torchvision.ops),
        autowrap_functions=functions,
        leaf_modules=[*LEAF_MODULES, *leaves],
    )
    try:
        tracer.trace(network)
    except Exception as error:  # fx raises whatever the network's code raises on proxies
        raise ValueError(
            f"{type(network).__name__} cannot be cut at a layer: its forward pass depends on the "
            f"data in a way that torch.fx cannot follow ({error})."
        ) from error
    return {name: node for node, name in tracer.node_to_qualname.items()}


def _opaque_parts(network: nn.Module) -> tuple[Sequence[type], tuple[Callable, ...]]:
    """Modules and functions that timm says torch.fx cannot follow: kept whole."""
    if not any(type(module).__module__.startswith("timm.") for module in network.modules()):
        return (), ()
    layers = importlib.import_module("timm.layers")  # which has been imported: it made the network
    return layers.get_notrace_modules(), tuple(layers.get_notrace_functions())


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


def _with_constants(
    layers: list[fx.Node], of_image: list[str], nodes: dict[str, fx.Node]
) -> set[fx.Node]:
    """Add the weights, and what is computed from weights alone, that layers are given."""
    inputs = [node for layer in layers for node in layer.all_input_nodes]
    return {*layers, *_ancestors(inputs, behind={nodes[name] for name in of_image})}


def _last_cut(
    nodes: dict[str, fx.Node], order: list[str], layers: Sequence[str], frozen: list[str]
) -> str:
    """The last node of the frozen prefix from whose value alone all read-outs can be computed."""
    n_prefix = next((i for i, name in enumerate(order) if name not in frozen), len(order))
    outputs = [nodes[name] for name in layers]
    for name in reversed(order[:n_prefix]):
        node = nodes[name]
        if _is_tensor(node) and nodes[order[0]] not in _ancestors(outputs, behind={node}):
            return name
    return order[0]


def _is_tensor(node: fx.Node) -> bool:
    """Whether the users of a node take its value as a whole, not item by item."""
    items = [user.args[1] for user in node.users if user.target is operator.getitem]
    return not any(isinstance(item, int) for item in items)


def _ancestors(outputs: list[fx.Node], behind: Collection[fx.Node] = ()) -> set[fx.Node]:
    """All nodes that ``outputs`` are computed from, not looking at or behind some."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node not in behind]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n in node.all_input_nodes if n not in behind]
    return found


def _descendants(node: fx.Node) -> set[fx.Node]:
    """The node and all nodes that are computed from it."""
    found = {node}
    for later in node.graph.nodes:  # in the order of execution
        if not found.isdisjoint(later.all_input_nodes):
            found.add(later)
    return found


def _subgraph(nodes: dict[str, fx.Node], start: fx.Node | None, outputs: list[fx.Node]) -> fx.Graph:
    """A graph from the value of ``start`` (None: the network's input) to a tuple of outputs."""
    graph = fx.Graph()
    start = start or next(iter(nodes.values()))
    copies = {start: graph.placeholder("inputs")}
    needed = _ancestors(outputs, behind={start})
    results = {}
    for node in start.graph.nodes:  # some constants have no name
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        if node in outputs:
            # What follows may work in place, as most activation functions do.
            goes_on = not needed.isdisjoint(node.users)
            results[node] = graph.call_method("clone", (copies[node],)) if goes_on else copies[node]
    graph.output(tuple(results[node] for node in outputs))
    return graph


def _operations(graph: fx.GraphModule) -> Iterator[str]:
    """All operations with their settings, the same for a copy, which names its nodes anew."""
    number = {node: i for i, node in enumerate(graph.graph.nodes)}
    for node in number:
        target = getattr(node.target, "__qualname__", node.target)
        arguments = map_arg((node.args, node.kwargs), lambda n: f"%{number[n]}")
        yield f"{node.op} {target} {arguments}"
        if node.op == "call_module":
            yield from map(_settings, graph.get_submodule(str(node.target)).modules())


def _settings(module: nn.Module) -> str:
    """Class and settings, such as a stride, of a layer; not whether it is being trained."""
    settings = {
        name: getattr(value, "__qualname__", value)
        for name, value in vars(module).items()
        if name != "training"
        and (callable(value) or isinstance(value, str | int | float | tuple | list))
    }
    return f"{type(module).__qualname__} {settings}"


def _targets(nodes: Collection[fx.Node]) -> set[str]:
    """Paths of the modules and tensors that nodes use."""
    return {str(node.target) for node in nodes if node.op in ("call_module", "get_attr")}


def _check_one_per_image(layer: str, output: Any, n_images: int) -> None:
    if not isinstance(output, Tensor) or output.shape[:1] != (n_images,):
        raise ValueError(
            f"layer {layer!r} has no activations of its own for each image: its value is "
            f"{_describe(output)} for {n_images} images. Read out the layer before or after it."
        )


def _describe(value: Any) -> str:
    return f"a tensor {[*value.shape]}" if isinstance(value, Tensor) else type(value).__name__


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
