"""What a call of ``fit`` was given, in words that are the same in every process."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from enum import Enum
from functools import partial
from hashlib import blake2b
from pathlib import PurePath
from types import CodeType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._extras import versions_of
from sklearn_rdm._pairs._images import are_paths, image_digests, read_image

__all__ = [
    "describe",
    "describe_images",
    "describe_pairs",
    "differences",
    "digests_of",
    "installed_versions",
    "is_versioned",
]

IMAGES_AT_ONCE = 256  # whose responses are in memory
SHORT = 60  # characters that a message may show
# Packages whose code is told by their version; of all others, it is looked at.
PACKAGES = {
    "sklearn_rdm": "sklearn-rdm",
    "torch": "torch",
    "torchvision": "torchvision",
    "skorch": "skorch",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "transformers": "transformers",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
}
KNOWN = {*PACKAGES, "builtins", "abc", "functools", "collections", "typing", "operator", "math"}
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def describe(value: Any) -> str:
    """Tell a value by its content: equal ones alike, also in another process, others not.

    Parameters
    ----------
    value : object
        A parameter of an estimator: numbers, arrays, functions, classes, estimators, callbacks.

    Returns
    -------
    text : str
        The value itself if that is short, else its type and a hash.

    Raises
    ------
    TypeError
        If nothing but its place in memory tells a part of it from others.
    ValueError
        If a part of it shuffles with ``random_state=None``, so that equal calls differ.
    """
    text = _text(value, ())
    return text if len(text) <= SHORT else f"{type(value).__name__} {_hash(text.encode())}"


def describe_pairs(pairs: ImagePairs) -> dict[str, str]:
    """Describe pairs: the images that they use, which two each compares, and labels of images.

    Or triplets, with whether they are anchored.
    """
    content = {"pairs": pairs.index}
    if hasattr(pairs, "anchored"):
        content["anchored"] = pairs.anchored
    return {**describe_images(pairs), **{name: describe(value) for name, value in content.items()}}


def describe_images(pairs: ImagePairs) -> dict[str, str]:
    """Describe the images of pairs alone: of thousands of images, all pairs are many."""
    used = pairs.used_images
    given = {name: getattr(pairs, name, None) for name in ("image_groups", "background")}
    of_used = {name: None if values is None else values[used] for name, values in given.items()}
    content = {"images": digests_of(pairs, used), **of_used}
    return {name: describe(value) for name, value in content.items()}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Say in which items two descriptions differ, and how if that is short."""
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    return [
        f"{name} ({there.get(name, 'none')} there, {here.get(name, 'none')} here)" for name in names
    ]


def installed_versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    return versions_of(PACKAGES.values())


def _text(value: Any, within: tuple[int, ...]) -> str:
    """Words for a value; ``within`` are the objects that contain it."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in PLAIN:
        return repr(value)
    if isinstance(value, np.ndarray | Tensor):
        return _array_text(value, within)
    if id(value) in within:
        return "itself"
    within = (*within, id(value))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _container_text(value, within)
    if isinstance(value, type) or inspect.isroutine(value) or isinstance(value, partial):
        return _code_text(value, within)
    return _object_text(value, within)


def _array_text(array: Any, within: tuple[int, ...]) -> str:
    if isinstance(array, Tensor):
        kind, values = str(array.dtype), array.detach().cpu().contiguous()
        content = values.reshape(-1).view(torch.uint8).numpy()
    elif array.dtype.hasobject:
        return f"array {array.shape} {_text(array.tolist(), within)}"
    else:
        kind, content = array.dtype.str, np.ascontiguousarray(array)
    return f"{kind} {tuple(array.shape)} {_hash(memoryview(content.reshape(-1)).cast('B'))}"


def _container_text(values: Any, within: tuple[int, ...]) -> str:
    if isinstance(values, Mapping):
        parts = sorted(f"{_text(k, within)}: {_text(v, within)}" for k, v in values.items())
        return "{" + ", ".join(parts) + "}"
    parts = [_text(value, within) for value in values]
    if isinstance(values, set | frozenset):
        return "set [" + ", ".join(sorted(parts)) + "]"
    return "[" + ", ".join(parts) + "]"


def _code_text(value: Any, within: tuple[int, ...]) -> str:
    """Words for a class or function: its name, and its code unless a version tells that."""
    if isinstance(value, partial):
        return f"partial {_text([value.func, value.args, value.keywords], within)}"
    if isinstance(value, MethodType):
        return f"method {_text([value.__func__, value.__self__], within)}"
    name = f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', value)}"
    if is_versioned(value):
        return name
    parts = _class_parts(value) if isinstance(value, type) else _function_parts(value)
    return f"{name} {_hash(_text(parts, within).encode())}" if parts else name


def is_versioned(value: Any) -> bool:
    """Whether the version of a package tells the code of a class or function."""
    return str(getattr(value, "__module__", None)).split(".")[0] in KNOWN


def _class_parts(cls: type) -> dict[str, Any]:
    """What a class adds to those whose version is known."""
    parts: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] in KNOWN:
            parts[base.__qualname__] = base
            continue
        for name, value in vars(base).items():
            value = getattr(value, "__func__", getattr(value, "fget", value))
            if inspect.isfunction(value) or type(value) in PLAIN and not name.startswith("__"):
                parts[name] = value
    return parts


def _function_parts(function: Any) -> list[Any]:
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    return [_constants(code), function.__defaults__, function.__kwdefaults__, cells]


def _constants(code: CodeType) -> list[Any]:
    inner = [_constants(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return [code.co_code, code.co_names, code.co_varnames, inner]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _object_text(value: Any, within: tuple[int, ...]) -> str:
    if isinstance(value, PurePath):
        return repr(str(value))
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, ImagePairs):
        return f"ImagePairs {describe_pairs(value)}"
    if isinstance(value, ResponsePatterns):
        seen = None if value.seen is None else value.seen[:, value.rows]
        others = {k: v for k, v in vars(value).items() if k not in ("patterns", "rows", "seen")}
        content = [_pattern_digests(value), seen, value.n_channels, others]
        return f"ResponsePatterns {_text(content, within)}"
    state = _state(value)
    if state is None:
        if " at 0x" in repr(value):
            raise TypeError(f"{value!r} shows its address in memory, but no content")
        return repr(value)
    if "random_state" in state and state["random_state"] is None and state.get("shuffle", True):
        raise ValueError(
            f"{type(value).__name__} has random_state=None, so that it differs in each call: give "
            "it an int"
        )
    return f"{_text(type(value), within)} {_text(state, within)}"


def _state(value: Any) -> dict[str, Any] | None:
    """What an object was given, or what it holds."""
    if isinstance(value, np.random.RandomState):
        return {"state": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"state": value.bit_generator.state}
    if isinstance(value, nn.Module):
        return {"module": repr(value), "weights": value.state_dict()}
    if hasattr(value, "on_train_begin"):  # a callback: skorch takes all its attributes for given
        return {name: getattr(value, name) for name in given_names(value)}
    if hasattr(value, "get_params"):
        return value.get_params(deep=False)
    return getattr(value, "__dict__", None)


def given_names(callback: Any) -> list[str]:
    """Names of the attributes that hold what a callback was made with."""
    taken = inspect.signature(type(callback)).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return sorted(name for name in vars(callback) if not name.endswith("_"))
    return [parameter.name for parameter in taken if hasattr(callback, parameter.name)]


def digests_of(pairs: ImagePairs, used: np.ndarray) -> np.ndarray:
    """Hashes of the content of some of the images."""
    if pairs.digests is not None:
        return pairs.digests[used]
    images = pairs.images
    return image_digests(read_image(images[i]) if are_paths(images) else images[i] for i in used)


def _pattern_digests(y: ResponsePatterns) -> list[str]:
    """Hashes of what each subject's responses to the images are, read block by block."""
    digests = []
    for subject in range(y.n_subjects):
        digest = blake2b(digest_size=16)
        for start in range(0, len(y), IMAGES_AT_ONCE):
            rows = y.rows[start : start + IMAGES_AT_ONCE]
            digest.update(np.ascontiguousarray(y._read(subject, rows)).data)
        digests.append(digest.hexdigest())
    return digests


def _hash(content: Any) -> str:
    return blake2b(content, digest_size=16).hexdigest()
