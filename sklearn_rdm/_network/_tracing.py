"""Trace a network to a graph whose edges are all that its operations pass on, and cut it."""

from __future__ import annotations

import importlib
import inspect
import math
import operator
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
import torchvision
from torch import fx, nn
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves
from torchvision.models.feature_extraction import NodePathTracer

from sklearn_rdm._network._hooks import Call, clone, pick

__all__ = [
    "Trace",
    "ancestors",
    "call_name",
    "defaults",
    "descendants",
    "last_cut",
    "left_as_it_was",
    "operations",
    "penultimate",
    "settings",
    "subgraph",
    "targets",
    "trace",
    "with_constants",
    "within",
]

# As in torchvision's feature extraction, whose node names are ours, but for containers: users read
# the convolution and the normalisation inside a Conv2dNormActivation.
LEAF_MODULES = [
    member
    for member in vars(torchvision.ops).values()
    if isinstance(member, type)
    and issubclass(member, nn.Module)
    and not issubclass(member, nn.Sequential)
]


@dataclass
class Trace:
    """Nodes of a network's graph by name, in the order of execution, and what modules returned."""

    nodes: dict[str, fx.Node]
    returned: dict[Call, Any]  # a node, or a tuple or dict of nodes

    @property
    def calls(self) -> dict[Call, fx.Node]:
        """Calls of modules that return the value of one node."""
        return {call: value for call, value in self.returned.items() if isinstance(value, fx.Node)}


class _Tracer(NodePathTracer):
    """torchvision's, but modules keep their own names, and what each of them returns is noted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returned: dict[Call, Any] = {}
        self._n_calls: dict[str, int] = {}
        self.paths: Collection[str] = ()  # of modules

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if not torch.is_grad_enabled():
            raise ValueError("layers are run without gradients, which a graph does not keep")
        return super().create_node(*args, **kwargs)

    def call_module(self, m: nn.Module, forward: Callable, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        call = path, self._n_calls.get(path, 0)
        self._n_calls[path] = call[1] + 1
        output = super().call_module(m, forward, args, kwargs)
        self.returned[call] = map_proxies(output)
        return output

    def _get_node_qualname(self, module_qualname: str, node: fx.Node) -> str:
        if node.op != "call_module":
            return super()._get_node_qualname(module_qualname, node)
        # torchvision takes the end of a module's name "ln_2" for the number of a call of "ln".
        call = module_qualname, self._n_calls[module_qualname] - 1
        return call_name(call, self.paths)


def call_name(call: Call, paths: Collection[str]) -> str:
    """Name a call: "conv" is the first one of a module, "conv_1" the second.

    Where a module has that path itself, it is meant by it, and the call is "conv__1".
    """
    path, number = call
    name = f"{path}_{number}" if number else path
    return f"{path}__{number}" if number and name in paths else name


def map_proxies(value: Any) -> Any:
    """Nodes in the place of proxies, in tuples, lists and dicts too."""
    if isinstance(value, fx.Proxy):
        return value.node
    if isinstance(value, Mapping):
        return {key: map_proxies(item) for key, item in value.items()}
    return tuple(map(map_proxies, value)) if isinstance(value, tuple | list) else None


def trace(network: nn.Module) -> Trace:
    """Follow a network's forward pass; raise whatever its code raises where that is impossible."""
    leaves, functions = _opaque_parts(network)
    tracer = _Tracer(
        autowrap_modules=(math, torchvision.ops),
        autowrap_functions=functions,
        leaf_modules=[*LEAF_MODULES, *leaves],
    )
    tracer.paths = {path for path, _ in network.named_modules()}
    with _patched_modules, left_as_it_was(network), torch.enable_grad():
        tracer.trace(network, concrete_args=defaults(network) or None)
    nodes = {name: node for node, name in tracer.node_to_qualname.items()}
    _pass_on_effects(tracer.graph, network)
    return Trace(nodes, tracer.returned)


@contextmanager
def left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Undo what a forward pass on proxies leaves in a network, such as encodings that it caches."""
    before = [(module, dict(vars(module))) for module in network.modules()]
    contents = [
        (value, value.copy())
        for _, attributes in before
        for value in attributes.values()
        if isinstance(value, list | dict | set)
    ]
    try:
        yield
    finally:
        for module, attributes in before:
            added = {name: v for name, v in vars(module).items() if name not in attributes}
            for name in (name for name, value in added.items() if _holds_proxies(value)):
                del vars(module)[name]  # others are constants that torch.fx keeps there
            vars(module).update(attributes)
        for value, content in contents:
            value.clear()
            value.extend(content) if isinstance(value, list) else value.update(content)


def _holds_proxies(value: Any) -> bool:
    return any(isinstance(leaf, fx.Proxy) for leaf in tree_leaves(value))


class _PatchedModules:
    """Puts back, in a forked child, what torch.fx patches while another thread traces.

    That thread does not live on in the child, where all modules would be called by its tracer.
    """

    NAMES = ("__call__", "__getattr__")

    def __init__(self) -> None:
        self._thread = 0  # that traces
        self._before: dict[str, Any] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_in_child)

    def __enter__(self) -> None:
        self._before = {name: vars(nn.Module)[name] for name in self.NAMES}
        self._thread = get_ident()

    def __exit__(self, *_: Any) -> None:
        self._thread = 0

    def _begin_in_child(self) -> None:
        if self._thread not in (0, get_ident()):
            for name, value in self._before.items():
                setattr(nn.Module, name, value)
            self._thread = 0


_patched_modules = _PatchedModules()


def defaults(network: nn.Module) -> dict[str, Any]:
    """Defaults of all that a network takes besides the images.

    Raises
    ------
    ValueError
        If it takes no images, or something without a default besides.
    """
    kinds = inspect.Parameter
    taken = [
        parameter
        for parameter in inspect.signature(network.forward).parameters.values()
        if parameter.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    needed = [p.name for p in taken[1:] if p.default is kinds.empty]
    if needed:
        raise ValueError(
            f"{type(network).__name__} needs more than one input: {', '.join(needed)} besides "
            f"{taken[0].name!r}. A backbone's forward takes the images (n, 3, height, width); "
            "give all else a default, for example by a module that wraps the network."
        )
    return {p.name: p.default for p in taken[1:]}


def _pass_on_effects(graph: fx.Graph, network: nn.Module) -> None:
    """Let later users of a value that is changed in place use the operation that changed it.

    Edges then say what is computed from what. Changes of views, and augmented assignments to
    values that have two names, stay unseen: the check against the network itself finds these.
    """
    place = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        changed = node.all_input_nodes[0] if _works_in_place(node, network) else None
        if changed is not None:
            changed.replace_all_uses_with(
                node, delete_user_cb=lambda user, node=node: place[user] > place[node]
            )


def _works_in_place(node: fx.Node, network: nn.Module) -> bool:
    """Whether an operation changes its first input and returns it."""
    if not node.all_input_nodes or not node.args:
        return False
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_method", "call_function"):
        return False
    name = getattr(node.target, "__name__", str(node.target))
    by_name = name.endswith("_") and not name.startswith("_") and name != "requires_grad_"
    return by_name or node.kwargs.get("inplace") is True


def _opaque_parts(network: nn.Module) -> tuple[Sequence[type], tuple[Callable, ...]]:
    """Modules and functions that timm says torch.fx cannot follow: kept whole."""
    if not any(type(module).__module__.startswith("timm.") for module in network.modules()):
        return (), ()
    layers = importlib.import_module("timm.layers")  # which has been imported: it made the network
    return layers.get_notrace_modules(), tuple(layers.get_notrace_functions())


def penultimate(nodes: dict[str, fx.Node], network: nn.Module) -> str:
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


def with_constants(
    layers: list[fx.Node], of_image: list[str], nodes: dict[str, fx.Node]
) -> set[fx.Node]:
    """Add the weights, and what is computed from weights alone, that layers are given."""
    inputs = [node for layer in layers for node in layer.all_input_nodes]
    return {*layers, *ancestors(inputs, behind={nodes[name] for name in of_image})}


def last_cut(
    nodes: dict[str, fx.Node],
    order: list[str],
    outputs: list[fx.Node],
    frozen: Collection[str],
) -> str:
    """The last node of the frozen prefix from whose value alone all read-outs can be computed."""
    n_prefix = next((i for i, name in enumerate(order) if name not in frozen), len(order))
    for name in reversed(order[:n_prefix]):
        node = nodes[name]
        if _is_tensor(node) and nodes[order[0]] not in ancestors(outputs, behind={node}):
            return name
    return order[0]


def _is_tensor(node: fx.Node) -> bool:
    """Whether the users of a node take its value as a whole, not item by item."""
    items = [user.args[1] for user in node.users if user.target is operator.getitem]
    return not any(isinstance(item, int) for item in items)


def ancestors(outputs: list[fx.Node], behind: Collection[fx.Node] = ()) -> set[fx.Node]:
    """All nodes that ``outputs`` are computed from, not looking at or behind some."""
    found: set[fx.Node] = set()
    waiting = [node for node in outputs if node not in behind]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n in node.all_input_nodes if n not in behind]
    return found


def descendants(node: fx.Node) -> set[fx.Node]:
    """The node and all nodes that are computed from it."""
    found = {node}
    for later in node.graph.nodes:  # in the order of execution
        if not found.isdisjoint(later.all_input_nodes):
            found.add(later)
    return found


def subgraph(
    nodes: dict[str, fx.Node],
    start: fx.Node | None,
    outputs: list[fx.Node],
    items: Sequence[tuple[int | str, ...]] = (),
) -> fx.Graph:
    """A graph from the value of ``start`` (None: the network's input) to a tuple of outputs.

    ``items`` say what is taken of each output that is a tuple or a dict.
    """
    graph = fx.Graph()
    start = start or next(iter(nodes.values()))
    copies = {start: graph.placeholder("inputs")}
    needed = ancestors(outputs, behind={start})
    results = {}
    for node in start.graph.nodes:  # some constants have no name
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
        if node in outputs:
            # What follows may work in place, as most activation functions do.
            goes_on = not needed.isdisjoint(node.users)
            copied = graph.call_function(clone, (copies[node],)) if goes_on else copies[node]
            results[node] = copied
    graph.output(
        tuple(
            graph.call_function(pick, (results[node], item)) if item else results[node]
            for node, item in zip(outputs, items or [()] * len(outputs), strict=True)
        )
    )
    return graph


def operations(graph: fx.GraphModule) -> Iterator[str]:
    """All operations with their settings, the same for a copy, which names its nodes anew."""
    number = {node: i for i, node in enumerate(graph.graph.nodes)}
    for node in number:
        target = getattr(node.target, "__qualname__", node.target)
        arguments = map_arg((node.args, node.kwargs), lambda n: f"%{number[n]}")
        yield f"{node.op} {target} {arguments}"
        if node.op == "call_module":
            yield from map(settings, graph.get_submodule(str(node.target)).modules())


def settings(module: nn.Module) -> str:
    """Class and settings, such as a stride, of a layer; not whether it is being trained."""
    named = {
        name: getattr(value, "__qualname__", value)
        for name, value in vars(module).items()
        if name != "training"
        and (callable(value) or isinstance(value, str | int | float | tuple | list))
    }
    return f"{type(module).__qualname__} {named}"


def targets(nodes: Collection[fx.Node]) -> set[str]:
    """Paths of the modules and tensors that nodes use."""
    return {str(node.target) for node in nodes if node.op in ("call_module", "get_attr")}


def within(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
