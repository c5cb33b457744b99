"""What a command is given is tried on noise before anything long starts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

import sklearn_rdm

__all__ = ["check_candidates", "check_layers", "check_names", "check_output"]

# Names of layers must fit each other, so all their combinations are tried
TOGETHER = ("backbone", "layer", "read_out", "freeze_up_to", "freeze_from")
OPTIONS = ("backbone", "layer", "weights", "random_state", "device")  # of the command line itself
# What torch, skorch and downloads raise for a network that cannot be had has no common type
FAULTS = (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def check_candidates(
    network: Any, fixed: Mapping[str, Any], search: Mapping[str, Any], background: Any
) -> None:
    """Train the network with every candidate, for no epoch.

    Raises
    ------
    ValueError
        If a value or a candidate is none: it is named.
    """
    for name, values in [*((name, [value]) for name, value in fixed.items()), *search.items()]:
        _check_name(name)
        for value in values:
            _check_number(name, value)
    pairs, dissim = _noise(background)
    untried = clone(network).set_params(memory=None, checkpoint=None)
    for candidate in _candidates(search):
        with _naming(candidate):
            clone(untried).set_params(**candidate).fit(pairs, dissim, epochs=0)


def check_layers(activations: Any, background: Any) -> None:
    """Read out the layers once.

    Raises
    ------
    ValueError
        If the network or a layer cannot be had.
    """
    with _naming({}):
        clone(activations).fit_transform(_noise(background)[0])


def check_names(fixed: Any, search: Any) -> None:
    """Raise an error if a parameter is said twice; both are mappings, or pairs of names and values.

    Raises
    ------
    ValueError
        It is named, with what to do.
    """
    names = [name for given in (fixed, search) for name, _ in _pairs(given)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"{twice[0]} is given more than once by --set and --search: give it once, with all its "
            f"candidates, as in --search {twice[0]}=A,B."
        )
    for name, _ in _pairs(fixed):
        if name in OPTIONS:
            option = name.replace("_", "-")
            raise ValueError(f"{name} cannot be given by --set: give it as --{option}.")
        if name in ("memory", "checkpoint"):
            raise ValueError(f"{name} cannot be given: it is a folder within that of --out.")


def _pairs(given: Any) -> list[tuple[str, Any]]:
    return list(given.items() if isinstance(given, Mapping) else given)


def check_output(path: str, suffixes: tuple[str, ...]) -> None:
    """Raise an error if no file of these kinds can be written under this name."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"the file to write, {path!r}, must end in {', '.join(suffixes)}.")
    if Path(path).is_dir():
        raise ValueError(f"{path!r} cannot be written: it is a folder. Give another name.")
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{path!r} cannot be written: there is no folder {str(folder)!r}.")


def _check_name(name: str) -> None:
    """Its own parameters, and those of skorch that it inherits."""
    kinds = sklearn_rdm.SiameseRDMRegressor.__mro__
    known = {key for kind in kinds for key in signature(kind.__init__).parameters}
    if name not in known and "__" not in name:
        near = get_close_matches(name, known)
        advice = f"Did you mean {' or '.join(near)}?" if near else "See its documentation."
        raise ValueError(f"{name} is not a parameter of SiameseRDMRegressor. {advice}")


def _check_number(name: str, value: Any) -> None:
    """Compare with the default: text would end in an error of torch, or in none at all."""
    known = signature(sklearn_rdm.SiameseRDMRegressor).parameters
    kind = type(known[name].default) if name in known else None
    if kind not in (int, float):
        return
    if not isinstance(value, int | kind) or isinstance(value, bool) or not value >= 0:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} must be {what}, 0 or more, got {value!r}.")


def _candidates(search: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """So many candidates of a search that each of its values is tried."""
    first = {name: values[0] for name, values in search.items()}
    layers = {name: values for name, values in search.items() if name in TOGETHER}
    yield from (first | names for names in ParameterGrid(layers))
    for name in search.keys() - layers.keys():
        yield from (first | {name: value} for value in search[name][1:])


def _noise(background: Any) -> tuple[Any, np.ndarray]:
    """Six images and two subjects."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    return sklearn_rdm.ImagePairs.from_rdms(images, rng.random((2, 15)), background=background)


@contextmanager
def _naming(candidate: Mapping[str, Any]) -> Iterator[None]:
    """Name what cannot be used. Warnings are given later, when it is used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FAULTS as error:
        said = " ".join(f"{name}={value}" for name, value in candidate.items())
        raise ValueError(f"{said or 'this network'} cannot be used: {error}") from error
