"""What users may call a layer, and what they mean by it."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

__all__ = ["LayerNames", "NamedLayer"]

Items = tuple[int | str, ...]
ITEM = re.compile(r"""^(.+)\[['"]?([^\[\]'"]+)['"]?\]$""")  # a layer and its item


@dataclass(frozen=True)
class NamedLayer:
    """One layer that is read: a node or a call by its name, and which item of its value."""

    name: str
    items: Items = ()

    def __str__(self) -> str:
        return self.name + "".join(f"[{item}]" for item in self.items)


@dataclass
class LayerNames:
    """Valid names of a network's layers.

    A module's name means what the module returns, as a hook sees it. A module that is called
    several times has its calls numbered: ``relu`` or ``relu_0`` is the first, ``relu_1`` the
    second.

    Parameters
    ----------
    backbone : str
        What the network is called in messages.
    known : mapping of str to str
        Names of nodes and calls of modules -> the name of what they return.
    aliases : mapping of str to str
        More names, of the papers.
    n_calls : mapping of str to int
        How often modules are called in one forward pass.
    with_items : collection of str
        Layers that return a dict or a ModelOutput, whose items have names.
    """

    backbone: str
    known: Mapping[str, str]
    aliases: Mapping[str, str]
    n_calls: Mapping[str, int] = field(default_factory=dict)
    with_items: Collection[str] = ()

    def read_out(self, name: str) -> NamedLayer:
        """Find the layer that a name means, and warn if it is called several times.

        Raises
        ------
        ValueError
            If there is no such layer. Valid names are listed, close ones are suggested.
        """
        path, items = self._split(name)
        self._warn_of_calls(path)
        return NamedLayer(self.known[self._first_call(path)], items)

    def path(self, name: str) -> str:
        """Path of the module, or name of the node, that is meant by a name to freeze up to."""
        return self._first_call(self._split(name)[0])

    def _split(self, name: str) -> tuple[str, Items]:
        """Split "block.0[1]" or "encoder.last_hidden_state" into the layer and its items."""
        if not isinstance(name, str):
            raise ValueError(self.unknown(name))
        path = self.aliases.get(name, name)
        items: list[int | str] = []
        while not self._is_known(path):
            match = ITEM.match(path)
            path, item = match.groups() if match else self._attribute(path, name)
            items.insert(0, int(item) if item.isdigit() else item)
        return path, tuple(items)

    def _attribute(self, path: str, name: str) -> tuple[str, str]:
        layer, _, item = path.rpartition(".")
        if not self._is_known(layer) or item.isdigit() or layer not in self.with_items:
            raise ValueError(self.unknown(name))
        return layer, item

    def _is_known(self, path: str) -> bool:
        return self._first_call(path) in self.known

    def _first_call(self, path: str) -> str:
        if path in self.known:
            return path
        first = path.removesuffix("_0")
        return first if self.n_calls.get(first, 1) > 1 else path

    def _warn_of_calls(self, path: str) -> None:
        n_calls = self.n_calls.get(path, 1)
        if n_calls > 1 and path not in self.aliases.values():
            warnings.warn(
                f"{self.backbone} calls its layer {path!r} {n_calls} times in one forward pass: "
                f"its first call is read. Say {path + '_0'!r} for that, or "
                f"{f'{path}_{n_calls - 1}'!r} for its last call.",
                stacklevel=2,
            )

    def unknown(self, name: str) -> str:
        """Message for a name that means no layer."""
        valid = list(dict.fromkeys([*self.aliases, *self.known]))
        close = difflib.get_close_matches(str(name), valid, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        return f"{self.backbone} has no layer {name!r}.{hint} Valid names: {', '.join(valid)}."
