"""Read activations of an untouched network by hooks, and stop it once all have arrived."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

__all__ = [
    "Call",
    "Calls",
    "all_calls",
    "clone",
    "describe_value",
    "holds_tensors",
    "install_hooks",
    "pick",
    "pick_checked",
    "read_calls",
]

Call = tuple[str, int]  # path of a module, and which of its calls in one forward pass, from 0


@dataclass
class Calls:
    """What modules returned in one forward pass, call by call, in the order of their end."""

    wanted: Collection[Call] | None = None  # None: all of them
    stops: bool = True  # once all that is wanted is there
    values: dict[Call, Any] = field(default_factory=dict)
    starts: dict[Call, int] = field(default_factory=dict)  # when calls began, in steps
    ends: dict[Call, int] = field(default_factory=dict)
    number: dict[str, int] = field(default_factory=dict)
    open: list[Call] = field(default_factory=list)
    error: Exception | None = None

    def begin(self, path: str) -> None:
        call = path, self.number.get(path, 0)
        self.number[path] = call[1] + 1
        self.starts[call] = len(self.starts) + len(self.ends)
        self.open.append(call)

    def end(self, path: str, output: Any) -> None:
        call = self.open.pop()
        while call[0] != path:  # one that ended by an exception which the network caught
            call = self.open.pop()
        self.ends[call] = len(self.starts) + len(self.ends)
        if self.wanted is None or call in self.wanted:
            # At once: what follows may work in place, as most activation functions do.
            self.values[call] = clone(output)
        if self.stops and self.wanted is not None and len(self.values) == len(self.wanted):
            raise _Arrived


# One per call of the network: shards run in threads, and a network's own threads see none.
_calls: ContextVar[Calls | None] = ContextVar("_calls", default=None)


class _Arrived(BaseException):
    """All that was wanted is there; no ``except Exception`` of a network catches it."""


class _Begin:
    """A hook that tells of a call's begin; it can be copied and pickled with its network."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *_: Any) -> None:
        calls = _calls.get()
        if calls is not None:
            calls.begin(self.path)


class _End(_Begin):
    def __call__(self, *given: Any) -> None:
        calls = _calls.get()
        if calls is not None:
            calls.end(self.path, given[-1])


def install_hooks(network: nn.Module) -> Callable[[], None]:
    """Hook all modules; nothing happens but within this module's functions. Return the removal."""
    handles = []
    for path, module in network.named_modules():
        if path:
            handles.append(module.register_forward_pre_hook(_Begin(path)))
            handles.append(module.register_forward_hook(_End(path)))

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove


@contextmanager
def _reading(calls: Calls) -> Iterator[None]:
    token = _calls.set(calls)
    try:
        yield
    except _Arrived:
        pass
    finally:
        _calls.reset(token)


def read_calls(
    network: nn.Module, inputs: Tensor, wanted: Collection[Call], *, stops: bool = True
) -> Mapping[Call, Any]:
    """Run a network with hooks until these calls have returned, or to its end; their values."""
    calls = Calls(frozenset(wanted), stops)
    with _reading(calls):
        network(inputs)
    return calls.values


def all_calls(network: nn.Module, inputs: Tensor, until: Call | None = None) -> Calls:
    """Run a network with hooks, to its end or up to one call; all that its modules returned.

    An error behind the calls that are needed does no harm: it is kept in ``error``.
    """
    calls = _Until(until)
    with torch.no_grad(), _reading(calls):
        try:
            calls.values["", 0] = network(inputs)
        except Exception as error:
            calls.error = error
    return calls


class _Until(Calls):
    def __init__(self, until: Call | None) -> None:
        super().__init__()
        self.until = until

    def end(self, path: str, output: Any) -> None:
        super().end(path, output)
        if self.until in self.values:
            raise _Arrived


def clone(value: Any) -> Any:
    """Copy a tensor, or all tensors of a tuple, dict or dataclass."""
    return tree_map(_clone_leaf, value)


def _clone_leaf(value: Any) -> Any:
    """Copy what torch takes for one leaf, which may be a dict of another class."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        copied: Any = copy(value)
        copied.update({name: clone(item) for name, item in value.items()})
    elif is_dataclass(value) and not isinstance(value, type):
        copied = copy(value)
        vars(copied).update({name: clone(item) for name, item in vars(value).items()})
    else:
        return value
    return copied


def pick(value: Any, items: tuple[int | str, ...]) -> Any:
    """Take an item of a tuple, dict or ModelOutput by name or number, and an item of that ..."""
    for item in items:
        if isinstance(item, str) and not isinstance(value, Mapping):
            value = getattr(value, item)
        else:
            value = value[item]
    return value


def pick_checked(value: Any, items: tuple[int | str, ...], layer: str) -> Any:
    """The same, with an error that lists the items that there are."""
    try:
        return pick(value, items)
    except (LookupError, AttributeError, TypeError) as error:
        given = "".join(f"[{item}]" for item in items)
        raise ValueError(
            f"layer {layer!r} has no item {given}: its value is {describe_value(value, layer)}."
        ) from error


def describe_value(value: Any, layer: str) -> str:
    """What a layer returned, and how its items are called."""
    if isinstance(value, Tensor):
        return f"a tensor {[*value.shape]}"
    kind = f"of type {type(value).__name__}"
    if not holds_tensors(value):
        return kind
    keys = value if isinstance(value, Mapping) else range(len(value))
    return f"{kind}, with the items {', '.join(repr(f'{layer}[{key}]') for key in keys)}"


def holds_tensors(value: Any) -> bool:
    """Whether it is a tuple or dict of tensors, which are read by name or number."""
    is_container = isinstance(value, Mapping | list | tuple)
    return is_container and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
