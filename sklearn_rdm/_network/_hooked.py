"""A network that is run as it is, and read by hooks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import CodeType
from typing import Any

from torch import Tensor, nn

from sklearn_rdm._network._backbones import Backbone
from sklearn_rdm._network._cut import Wanted, check_alone, run_twice
from sklearn_rdm._network._hooks import Call, Calls, install_hooks, pick, pick_checked, read_calls
from sklearn_rdm._network._layer_names import LayerNames
from sklearn_rdm._network._tokens import see_sequences
from sklearn_rdm._network._tracing import call_name, settings

__all__ = ["HookedNetwork"]


class HookedNetwork:
    """The untouched network, stopped once all layers that are needed have been seen.

    It offers what :class:`CutNetwork` does. Nothing is kept: its prefix is the input.
    """

    cut, has_prefix, needed = "input", False, None

    def __init__(self, backbone: Backbone, wanted: Wanted, photographs: Tensor) -> None:
        network = self._network = backbone.network
        calls = run_twice(network, photographs, None, backbone.name)
        paths = dict(network.named_modules())
        by_name = {call_name(call, paths): call for call in calls.values if call[0]}
        names = _names(backbone, calls, by_name)
        if None in wanted.layers:
            raise ValueError(
                f"{backbone.name} cannot be cut, so that its last layer is not known: name the "
                f"layer. Valid names: {', '.join(by_name)}."
            )
        read_outs = [names.read_out(str(layer)) for layer in wanted.layers]
        self.layers = tuple(map(str, read_outs))
        self._wanted = [(by_name[read_out.name], read_out.items) for read_out in read_outs]
        self._n_trained = wanted.n_trained
        self.frozen, self.unneeded = _frozen(network, calls, self._wanted, wanted, names, by_name)
        install_hooks(network)
        sequences = see_sequences(network, calls, photographs.shape[-2:])
        self.axes = tuple(
            sequences.axes(
                pick_checked(calls.values[call], items, call_name(call, paths)),
                paths[call[0]],
            )
            for call, items in self._wanted
        )
        check_alone(self.suffix, photographs, self.layers)

    def prefix(self, images: Tensor) -> Tensor:
        return images

    def suffix(self, inputs: Tensor) -> tuple[Any, ...]:
        return self._run(inputs, len(self._wanted))

    def to_trained(self, inputs: Tensor) -> tuple[Any, ...]:
        return self._run(inputs, self._n_trained)

    def traceable(self, images: Tensor) -> tuple[Any, ...]:
        """All read-outs; torch.export cannot follow a network that is stopped halfway."""
        return self._run(images, len(self._wanted), stops=False)

    def _run(self, inputs: Tensor, n_layers: int, *, stops: bool = True) -> tuple[Any, ...]:
        wanted = self._wanted[:n_layers]
        calls = [call for call, _ in wanted]
        # A copy: the network may work in place on its input.
        values = read_calls(self._network, inputs.clone(), calls, stops=stops)
        for layer, call in zip(self.layers, calls, strict=False):
            if call not in values:
                raise ValueError(
                    f"the network did not call its layer {layer!r} for all images, so that some "
                    "have no activations: read out a layer that every image passes through."
                )
        return tuple(pick(values[call], items) for call, items in wanted)

    def bind(self, network: nn.Module) -> None:
        self._network = network

    def contents(self, part: str) -> Iterator[tuple[Iterator[str], Mapping[str, Tensor]]]:
        """Code, settings and weights of the whole network, or nothing before the input."""
        if part == "whole":
            yield self._lines(), self._network.state_dict()

    def kept_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(())

    def _lines(self) -> Iterator[str]:
        yield repr(self._wanted)
        for path, module in self._network.named_modules():
            yield f"{path} {settings(module)}"
        for kind in {type(module): None for module in self._network.modules()}:
            code = getattr(kind.forward, "__code__", None)
            yield f"{kind.__qualname__} {code and _text(code)}"


def _text(code: CodeType) -> str:
    """What a function computes: its instructions, the names that it uses, and its constants."""
    constants = [
        _text(c)
        if isinstance(c, CodeType)
        else sorted(map(repr, c))
        if isinstance(c, frozenset)
        else repr(c)
        for c in code.co_consts
    ]
    return f"{code.co_code!r} {code.co_names} {constants}"


def _names(backbone: Backbone, calls: Calls, by_name: Mapping[str, Call]) -> LayerNames:
    known = {name: name for name in by_name}
    with_items = {n for n, call in by_name.items() if isinstance(calls.values[call], Mapping)}
    return LayerNames(backbone.name, known, backbone.aliases, calls.number, with_items)


def _frozen(
    network: nn.Module,
    calls: Calls,
    read: list[tuple[Call, Any]],
    wanted: Wanted,
    names: LayerNames,
    by_name: Mapping[str, Call],
) -> tuple[set[str], set[str]]:
    """Paths of parameters and modules that never change: those asked for, and those not needed."""
    end = max(calls.ends[call] for call, _ in read[: wanted.n_trained])
    first = _first_uses(network, calls)
    unneeded = {path for path, start in first.items() if start > end}
    frozen: set[str] = set()
    if wanted.freeze_up_to is not None:
        limit = calls.ends[by_name[names.path(wanted.freeze_up_to)]]
        frozen |= {path for path, start in first.items() if start < limit}
    if wanted.freeze_from is not None:
        limit = calls.starts[by_name[names.path(wanted.freeze_from)]]
        # Also a module that is called before it as well: its weights are used by frozen calls.
        frozen |= {path for (path, _), start in calls.starts.items() if limit <= start <= end}
        frozen |= {path for path, start in first.items() if limit <= start <= end}
    return _own_parts(network, frozen), _own_parts(network, unneeded)


def _first_uses(network: nn.Module, calls: Calls) -> dict[str, int]:
    """When each module's own parameters are first used, in steps.

    As it is called. Those of a module that is not over yet, such as position embeddings of the
    whole network, count as used before its layers, and so do those of its parts that are never
    called, such as the output projection of torch's attention.
    """
    first = {"": -1}
    for path, _ in network.named_modules():  # what holds others comes before these
        if path:
            around = first[path.rpartition(".")[0]]
            first[path] = calls.starts.get((path, 0), around)
    return first


def _own_parts(network: nn.Module, paths: Collection[str]) -> set[str]:
    """Modules without children as a whole, of others their own parameters only."""
    parts: set[str] = set()
    for path, module in network.named_modules():
        if path in paths and path and not list(module.children()):
            parts.add(path)
        elif path in paths:
            own = [name for name, _ in module.named_parameters(recurse=False)]
            parts |= {f"{path}.{name}" if path else name for name in own}
    return parts
