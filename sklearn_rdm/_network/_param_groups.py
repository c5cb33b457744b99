"""Learning rates and other options by layer: names of layers -> names of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

from torch import nn

from sklearn_rdm._network._trunk import Trunk

__all__ = ["check_group_options", "expand_param_groups"]

Group = tuple[str, dict[str, Any]]


def expand_param_groups(module: nn.Module, trunk: Trunk, groups: Sequence[Group]) -> list[Group]:
    """Replace patterns of layers by the names of their parameters, as skorch takes them.

    Parameters
    ----------
    module : Module
        The whole module, whose parameters' names skorch compares.
    trunk : Trunk
        The part of it whose layers have names.
    groups : sequence of (pattern, options)
        Patterns of layers' names ("conv1", "layer3*") or of parameters' full names.

    Returns
    -------
    groups : list of (name of a parameter, options)

    Raises
    ------
    ValueError
        If it is no such sequence, or a pattern matches no parameter.
    """
    if not (isinstance(groups, Sequence) and all(map(_is_group, groups))):
        raise ValueError(
            "optimizer__param_groups must be a list of patterns of layers with their options, such "
            f"as [('conv1', {{'lr': 0.001}})], got {groups!r}."
        )
    names = {id(p): name for name, p in module.named_parameters()}
    own = {name: names[id(p)] for name, p in trunk.network.named_parameters()}
    return [
        (name, options)
        for pattern, options in groups
        for name in _matches(pattern, [*names.values()], own, trunk)
    ]


def check_group_options(optimizer: Any, groups: Sequence[Group]) -> None:
    """Raise a ValueError for options that an optimizer would not notice."""
    known = signature(optimizer).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for pattern, options in groups:
        unknown = sorted(set(options) - set(known))
        if unknown:
            name = getattr(optimizer, "__name__", optimizer)
            raise ValueError(
                f"optimizer__param_groups: {name} has no option {unknown[0]!r}, as given for "
                f"{pattern!r}. Known: {', '.join([*known][1:])}."
            )


def _is_group(group: Any) -> bool:
    is_pair = isinstance(group, tuple | list) and len(group) == 2
    return is_pair and isinstance(group[0], str) and isinstance(group[1], Mapping)


def _matches(pattern: str, names: list[str], own: dict[str, str], trunk: Trunk) -> list[str]:
    found = {name for name in names if fnmatchcase(name, pattern)}
    aliased = [path for alias, path in trunk.aliases.items() if fnmatchcase(alias, pattern)]
    for name, full in own.items():
        layers = [name[: match.start()] for match in re.finditer(r"\.", name)]
        if fnmatchcase(name, pattern) or any(
            fnmatchcase(layer, pattern) or layer in aliased for layer in layers
        ):
            found.add(full)
    if not found:
        known = dict.fromkeys([*trunk.aliases, *(name.rpartition(".")[0] for name in own)])
        raise ValueError(
            f"optimizer__param_groups: the pattern {pattern!r} matches no layer that has "
            f"parameters. Layers: {', '.join(filter(None, known))}."
        )
    return [name for name in names if name in found]
