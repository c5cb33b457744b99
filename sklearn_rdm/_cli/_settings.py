"""Settings of a fit as TOML: what the user writes, and what a folder of a model keeps."""

from __future__ import annotations

import ast
import json
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

__all__ = ["as_value", "read_settings", "read_toml", "settings_text"]

PATHS = ("images", "rdm")
OTHERS = (
    "columns",
    "size",
    "background",
    "backbone",
    "weights",
    "layer",
    "device",
    "folds",
    "test_size",
    "scoring",
    "random_state",
)
TABLES = ("search", "set")
WHOLE = ("size", "folds", "random_state", "permutations", "jobs")
TEXTS = (
    *PATHS,
    *("background", "backbone", "weights", "layer", "device", "scoring", "out", "figure"),
)


def as_value(text: Any) -> Any:
    """A number, None, True or False where a text is one: TOML has no None."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def read_toml(path: Any) -> dict[str, Any]:
    """Settings by the names of the options.

    Raises
    ------
    ValueError
        If the file cannot be read, or a setting has the wrong kind: it is named.
    """
    try:
        read = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is no readable TOML file: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in read.items()}
    for name, value in settings.items():
        kind, what = _kind(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{path}: {name} must be {what}, got {value!r}")
    for name in set(TABLES) & set(settings):
        settings[name] = {key: _as_values(value) for key, value in settings[name].items()}
    for key, value in settings.get("search", {}).items():
        if not (isinstance(value, list) and value):
            raise ValueError(f"{path}: {key} of [search] must be a list, got {value!r}")
    return settings


def settings_text(arguments: Namespace, data: str) -> str:
    """All that a fit depends on; ``data`` tells the images and dissimilarities from others."""
    given = vars(arguments)
    lines = [f"# data: {data}"]
    lines += [_line(name, str(Path(given[name]).absolute())) for name in PATHS]
    lines += [_line(name, given[name]) for name in OTHERS if given[name] is not None]
    for name in TABLES:
        lines += [f"[{name}]", *(_line(key, value) for key, value in dict(given[name]).items())]
    return "\n".join(lines) + "\n"


def read_settings(path: Any) -> Namespace:
    """What :func:`settings_text` wrote, as the arguments of the command line."""
    return Namespace(**dict.fromkeys(OTHERS) | read_toml(path))


def _kind(name: str) -> tuple[Any, str]:
    """Type of a setting, and what to call it."""
    if name in TABLES:
        return dict, f"a table, [{name}]"
    if name in ("columns", "layers"):
        return list, "a list of names"
    if name == "quiet":
        return bool, "true or false"
    if name == "test_size":
        return int | float, "a number"
    if name in WHOLE:
        return int, "a whole number"
    return (str, "a text") if name in TEXTS else (object, "")


def _as_values(value: Any) -> Any:
    return [as_value(part) for part in value] if isinstance(value, list) else as_value(value)


def _line(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{name} = [{', '.join(map(_toml, value))}]"
    return f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if value is None or isinstance(value, tuple | dict | list):
        value = repr(value)  # as on the command line
    return json.dumps(value, ensure_ascii=False)
