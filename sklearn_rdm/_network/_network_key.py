"""What tells a network from others within a process: its code, its settings and its weights."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_rdm._network._description import KNOWN, describe, is_versioned

__all__ = ["hash_contents", "network_key"]

OF_TORCH = set(vars(nn.Module()))  # attributes in which weights, modules and hooks are kept


def hash_contents(
    contents: Iterable[tuple[Iterable[str], Mapping[str, Tensor]]], start: str = ""
) -> str:
    """Hash of lines of text, and of names and values of weights."""
    key = hashlib.sha256(start.encode())
    for lines, state in contents:
        key.update("\n".join(lines).encode())
        for name, value in state.items():
            key.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
            values = value.detach().cpu().contiguous().reshape(-1)
            key.update(values.view(torch.uint8).numpy().tobytes())
    return key.hexdigest()


def network_key(network: nn.Module, state: Mapping[str, Tensor], given: str) -> str | None:
    """A text that is another one for a network that computes anything else.

    Parameters
    ----------
    network : Module
        All modules, their attributes, and all code that they reach are looked at, but for that of
        packages, whose version does not change within a process.
    state : mapping of str to Tensor
        Those of its weights that matter.
    given : str
        What matters besides.

    Returns
    -------
    key : str or None
        None if the network has hooks, or if a part of it is told from others by its place in
        memory alone.
    """
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return None
    try:
        lines = [given, *_lines(network)]
    except (TypeError, ValueError, RecursionError):
        return None
    return hash_contents([(lines, state)])


def _lines(network: nn.Module) -> Iterator[str]:
    for path, module in network.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in OF_TORCH}
        yield f"{path} {type(module).__qualname__} {describe(own)}"
    seen: set[int] = set()
    for kind in dict.fromkeys(map(type, network.modules())):
        # A package's may be patched too.
        code = getattr(inspect.getattr_static(kind, "forward"), "__code__", None)
        yield f"{kind.__qualname__} {code and (code.co_code, code.co_names)}"
        yield from _reached(kind, seen)


def _reached(value: type | FunctionType, seen: set[int]) -> Iterator[str]:
    """Code of a class or function, and all that its names mean where it was written."""
    if id(value) in seen or is_versioned(value):
        return
    seen.add(id(value))
    if isinstance(value, type):
        for base in value.__mro__:
            for member in vars(base).values():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(function, FunctionType):
                    yield from _reached(function, seen)
    else:
        yield describe(value)
        named = inspect.getclosurevars(value)
        for name, meaning in {**named.globals, **named.nonlocals}.items():
            yield from _meaning(name, meaning, _names(value.__code__), seen)


def _meaning(name: str, value: Any, names: Iterable[str], seen: set[int]) -> Iterator[str]:
    if isinstance(value, type | FunctionType):
        yield from _reached(value, seen)
    elif not isinstance(value, ModuleType):
        yield f"{name} {describe(value)}"
    elif value.__name__.split(".")[0] not in KNOWN:
        for inner in names:
            if inner in vars(value):
                yield from _meaning(inner, vars(value)[inner], (), seen)


def _names(code: CodeType) -> list[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return sorted({*code.co_names, *(name for c in inner for name in _names(c))})
