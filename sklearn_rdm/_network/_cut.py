"""A network cut by torch.fx, where its parts give the values of the network itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from sklearn_rdm._network._backbones import Backbone
from sklearn_rdm._network._hooks import Call, Calls, all_calls, install_hooks, pick_checked
from sklearn_rdm._network._input_sizes import taken_size
from sklearn_rdm._network._layer_names import LayerNames, NamedLayer
from sklearn_rdm._network._layouts import Axes
from sklearn_rdm._network._network_key import network_key
from sklearn_rdm._network._tokens import see_sequences
from sklearn_rdm._network._tracing import (
    Trace,
    ancestors,
    call_name,
    descendants,
    last_cut,
    operations,
    penultimate,
    subgraph,
    targets,
    trace,
    with_constants,
)

__all__ = [
    "CannotCutError",
    "CutNetwork",
    "Wanted",
    "check_alone",
    "run_twice",
    "same",
    "two_photographs",
]

ALONE = (
    "Give a backbone that sees each image by itself: statistics over a batch, as of batch "
    "normalisation with track_running_stats=False, must be fixed numbers."
)
ROUNDING = 1e-4  # of the largest value: what another order of float32 sums changes


_checked: dict[str, tuple[Axes, ...]] = {}  # axes of read-outs, by networks and layers


class CannotCutError(ValueError):
    """A network's graph does not compute what the network does."""


@dataclass(frozen=True)
class Wanted:
    """What a trunk is asked for: see its parameters."""

    layers: tuple[str | None, ...]
    n_trained: int
    freeze_up_to: str | None
    freeze_from: str | None


class CutNetwork:
    """Three graphs of a network: its frozen prefix, the rest, and the rest of what is trained."""

    def __init__(self, backbone: Backbone, wanted: Wanted, photographs: Tensor) -> None:
        network = backbone.network
        self._trace(network)
        self._read(backbone, wanted)
        nodes = self._traced.nodes
        trained = ancestors(self._outputs[: wanted.n_trained])
        frozen = self._frozen_nodes(wanted, trained)
        self.cut = last_cut(nodes, self._order, self._outputs, frozen)
        self.has_prefix = self.cut != self._order[0]
        self.needed = targets(ancestors(self._outputs))
        self.frozen, self.unneeded = self._frozen_targets(frozen, trained)
        items = [read_out.items for read_out in self._read_outs]
        start, n_trained = nodes[self.cut], wanted.n_trained
        self._graphs: tuple[fx.Graph, ...] = (
            subgraph(nodes, None, [start]),
            subgraph(nodes, start, self._outputs, items),
            subgraph(nodes, start, self._outputs[:n_trained], items[:n_trained]),
        )
        self.bind(network)
        self.axes = self._checked_axes(backbone, wanted, photographs)
        del self._traced, self._outputs, self._order, self._read_outs

    def prefix(self, images: Tensor) -> Tensor:
        return self._modules[0](images)[0]

    def suffix(self, inputs: Tensor) -> tuple[Any, ...]:
        return self._modules[1](inputs)

    def to_trained(self, inputs: Tensor) -> tuple[Any, ...]:
        return self._modules[2](inputs)

    def traceable(self, images: Tensor) -> tuple[Any, ...]:
        """All read-outs, in operations that torch.export can follow."""
        return self.suffix(self.prefix(images))

    def bind(self, network: nn.Module) -> None:
        """Run the layers that the network has now."""
        self._modules = tuple(fx.GraphModule(network, graph) for graph in self._graphs)
        self._graphs = tuple(module.graph for module in self._modules)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_graphs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._graphs = tuple(module.graph for module in self._modules)

    def contents(self, part: str) -> Iterator[tuple[Iterator[str], Mapping[str, Tensor]]]:
        """Operations and weights of a part."""
        for module in self._modules[: 1 if part == "prefix" else 2]:
            yield operations(module), module.state_dict()

    def kept_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of layers whose results are kept."""
        return self._modules[0].named_parameters()

    def _trace(self, network: nn.Module) -> None:
        try:
            self._traced = trace(network)
        except Exception as error:  # fx raises whatever the network's code raises on proxies
            raise CannotCutError(
                "its forward pass depends on the data in a way that torch.fx cannot follow"
            ) from error
        shown = descendants(next(iter(self._traced.nodes.values())))
        self._order = [name for name, node in self._traced.nodes.items() if node in shown]

    def _read(self, backbone: Backbone, wanted: Wanted) -> None:
        self._names = _names(backbone, self._traced, self._order)
        nodes = self._traced.nodes
        try:
            self._read_outs = [
                self._names.read_out(layer)
                if layer
                else NamedLayer(penultimate(nodes, backbone.network))
                for layer in wanted.layers
            ]
        except ValueError as error:
            paths = dict(backbone.network.named_modules())
            given = [layer for layer in wanted.layers if layer]  # "block[0]", "block.hidden"
            modules = [p for n in given for p in (n.partition("[")[0], n.rpartition(".")[0])]
            if any(path in paths and path not in self._names.known for path in modules):
                raise CannotCutError("torch.fx does not see all layers that are read") from error
            raise
        self.layers = tuple(map(str, self._read_outs))
        self._outputs = [nodes[read_out.name] for read_out in self._read_outs]

    def _node_calls(self) -> dict[fx.Node, Call]:
        return {
            node: call
            for call, node in self._traced.calls.items()
            if node.op == "call_module" and node.target == call[0]
        }

    def _until(self) -> Call | None:
        """The first call of a module by whose end all read-outs are there."""
        calls = self._node_calls()
        nodes = [self._traced.nodes[name] for name in self._order]
        last = [node for node in nodes if node in self._outputs][-1]
        following = descendants(last)
        return next((calls[node] for node in nodes if node in following and node in calls), None)

    def _frozen_nodes(self, wanted: Wanted, trained: set[fx.Node]) -> set[str]:
        order, nodes = self._order, self._traced.nodes
        frozen: set[str] = set()
        if wanted.freeze_up_to is not None:
            frozen |= {*order[: order.index(self._inside(wanted.freeze_up_to)[-1]) + 1]}
        if wanted.freeze_from is not None:
            frozen |= {*order[order.index(self._inside(wanted.freeze_from)[0]) :]}
        # A module that is called again behind the read-out is trained where it is needed.
        shared = targets([node for node in trained if node not in {nodes[n] for n in frozen}])
        unneeded = [n for n in order if nodes[n] not in trained]
        return frozen | {n for n in unneeded if not targets([nodes[n]]) & shared}

    def _frozen_targets(self, frozen: set[str], trained: set[fx.Node]) -> tuple[set[str], set[str]]:
        """Modules and tensors that frozen nodes use: those asked for, and those not needed."""
        nodes = self._traced.nodes
        needed = {name for name in self._order if nodes[name] in trained}

        def used_by(names: set[str]) -> set[str]:
            return targets(with_constants([nodes[name] for name in names], self._order, nodes))

        return used_by(frozen & needed), used_by(frozen - needed) - used_by(needed - frozen)

    def _inside(self, name: str) -> list[str]:
        """Nodes of a layer, in the order of execution."""
        path = self._names.aliases.get(name, name)  # also of a module that returns a tuple
        inside = [node for node in self._order if node.startswith(f"{path}.")]
        if inside:
            return inside
        path = self._names.path(name)
        return [path if path in self._order else self._names.known[path]]

    def _checked_axes(
        self, backbone: Backbone, wanted: Wanted, photographs: Tensor
    ) -> tuple[Axes, ...]:
        """Axes of each read-out, once the values are known to be those of the network.

        Fits of a search build the same network again and again: it is looked at once a process.
        """
        network, given = backbone.network, f"{wanted}{[*photographs.shape]}{backbone.aliases}"
        key = network_key(
            network, self._modules[1].state_dict() | self._modules[0].state_dict(), given
        )
        if key is None or key not in _checked:
            eager = run_twice(network, photographs, self._until(), backbone.name)
            axes = self._check(network, eager, photographs)
            if key is None:
                return axes
            _checked[key] = axes
        return _checked[key]

    def _check(self, network: nn.Module, eager: Calls, images: Tensor) -> tuple[Axes, ...]:
        """Compare with the untouched network; find the axes of each read-out."""
        calls = {n: call for n, call in self._node_calls().items() if call in eager.values}
        output = next(iter(reversed(self._outputs[0].graph.nodes))).all_input_nodes[:1]
        whole = (
            output if ("", 0) in eager.values and isinstance(eager.values["", 0], Tensor) else []
        )
        compared = [*calls, *self._outputs, *whole]
        graph = fx.GraphModule(network, subgraph(self._traced.nodes, None, compared))
        given = images.clone()
        try:
            with torch.no_grad():
                values = graph(given)
                parts = self.suffix(self.prefix(given))
        except Exception as error:  # whatever its operations raise
            raise CannotCutError("torch.fx makes of it what cannot be run") from error
        if not torch.equal(given, images):
            raise CannotCutError("it works in place on its input")
        seen = [*(eager.values[call] for call in calls.values()), *parts]
        seen += [eager.values["", 0]] if whole else []
        items = [()] * len(calls) + [r.items for r in self._read_outs] + [()] * len(whole)
        for value, item, right, node in zip(values, items, seen, compared, strict=True):
            if not same(pick_checked(value, item, str(node)), right):
                raise CannotCutError(
                    "torch.fx does not see all that its code does: "
                    f"{node.target} would be computed otherwise"
                )
        check_alone(lambda x: self.suffix(self.prefix(x)), images, self.layers)
        sequences = see_sequences(network, eager, images.shape[-2:])
        return tuple(
            sequences.axes(value, self._maker(network, node))
            for node, value in zip(self._outputs, parts, strict=True)
        )

    def _maker(self, network: nn.Module, node: fx.Node) -> nn.Module | None:
        return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _names(backbone: Backbone, traced: Trace, order: Sequence[str]) -> LayerNames:
    name_of = {node: name for name, node in traced.nodes.items()}
    paths = dict(backbone.network.named_modules())
    known = {
        call_name(call, paths): name_of[node]
        for call, node in traced.calls.items()
        if name_of.get(node) in set(order)
    }
    n_calls: dict[str, int] = {}
    for path, _ in traced.returned:
        n_calls[path] = n_calls.get(path, 0) + 1
    # A module's name means what a hook sees, also where torch.fx names a function so.
    return LayerNames(backbone.name, {n: n for n in order} | known, backbone.aliases, n_calls)


def two_photographs(size: tuple[int, int]) -> Tensor:
    """Two different inputs of a network, (2, 3, height, width), the same ones every time."""
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def run_twice(network: nn.Module, images: Tensor, until: Call | None, name: str) -> Calls:
    """Run the untouched network with hooks, twice.

    Raises
    ------
    ValueError
        If it cannot take images of this size, or is random in evaluation mode.
    """
    remove = install_hooks(network)
    try:
        # Copies: a network may work in place on its input.
        calls, again = (all_calls(network, images.clone(), until) for _ in range(2))
    finally:
        remove()
    if calls.error is not None and (until is None or until not in calls.values):
        raise ValueError(_wrong_size(network, images, name, calls.error)) from calls.error
    paths = dict(network.named_modules())
    for call, value in calls.values.items():
        if not same(value, again.values.get(call)):
            raise ValueError(
                f"{name} is random in evaluation mode: its layer {call_name(call, paths)!r} gave "
                "two values for the same images. Give a backbone without random operations."
            )
    return calls


def check_alone(
    read: Callable[[Tensor], Sequence[Any]], images: Tensor, layers: Sequence[str]
) -> None:
    """Raise a ValueError if what is read of an image depends on the other images of its batch.

    Parameters
    ----------
    read : callable
        Makes the activations of all read-outs from images (n, 3, height, width).
    images : Tensor of shape (2, 3, height, width)
        Are read together and one by one.
    layers : sequence of str
        What the read-outs are called.
    """
    with torch.no_grad():
        together = read(images.clone())
        try:
            alone = [read(image[None].clone()) for image in images]
        except (RuntimeError, ValueError) as error:  # of batch statistics of a single value
            raise ValueError(f"the network takes no single image ({error}). {ALONE}") from error
    for layer, value, *ones in zip(layers, together, *alone, strict=True):
        shapes = [getattr(rows, "shape", ())[:1] for rows in (value, *ones)]
        if shapes == [(2,), (1,), (1,)] and not same(value, torch.cat(ones)):
            raise ValueError(
                f"layer {layer!r} gives an image other activations among other images. {ALONE}"
            )


def same(value: Any, other: Any) -> bool:
    """Whether all tensors of two values are equal but for rounding."""
    ours, theirs = tree_leaves(value), tree_leaves(other)
    return len(ours) == len(theirs) and all(map(_close, ours, theirs))


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return isinstance(a, Tensor) == isinstance(b, Tensor)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if torch.equal(a, b):
        return True
    if not (a.is_floating_point() or a.is_complex()):
        return False
    finite = b[torch.isfinite(b)].abs()
    largest = float(finite.max()) if len(finite) else 0.0
    rounding = max(ROUNDING, 8 * torch.finfo(b.dtype).eps)
    return torch.allclose(a, b, rtol=0, atol=rounding * largest, equal_nan=True)


def _wrong_size(network: nn.Module, images: Tensor, name: str, error: Exception) -> str:
    given = tuple(images.shape[2:])
    message = f"{name} cannot take images of {given[0]} x {given[1]} pixels ({error}). "
    size = taken_size(network, given)
    if size is None:
        return message + "It runs at no usual size either: its forward pass must take (n, 3, h, w)."
    return message + f"It takes {size[0]} x {size[1]} pixels: set image_size={size}."
