"""Files of plain values and tensors: nothing in them is run, and damage is noticed."""

from __future__ import annotations

import io
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_rdm._pairs._whole_files import whole_file

__all__ = [
    "DamagedFileError",
    "NotPlainError",
    "Packed",
    "pack",
    "read_header",
    "read_state",
    "write_state",
]

MAGIC = b"sklearn_rdm state 1\n"
DIGEST_SIZE = 32
ARRAYS = "biufcSUMm"  # kinds of dtypes that consist of bytes alone
PLAIN = (type(None), bool, int, float, str)
SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
MAPPINGS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": lambda items: Counter(dict(items)),
}


class NotPlainError(TypeError):
    """A value that holds more than numbers, texts, arrays, tensors and collections of them."""


@dataclass(frozen=True)
class Packed:
    """A part of a value that is packed already."""

    value: Any


class DamagedFileError(ValueError):
    """A file whose content is not what was written."""


def write_state(path: Path, header: Mapping[str, Any], state: Any) -> None:
    """Write a file that has its name only once it is whole.

    Parameters
    ----------
    path : Path
        Written over if it exists.
    header : mapping
        What :func:`read_header` gives; what JSON can hold.
    state : packed value
        What :func:`pack` has made.
    """
    with whole_file(path) as partial, open(partial, "wb") as file:
        out: Any = _Hashing(file)
        out.write(MAGIC + json.dumps(header).encode() + b"\n")
        torch.save(state, out)
        file.write(out.digest.digest())


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file, unchecked."""
    with open(path, "rb") as file:
        if file.readline() != MAGIC:
            raise DamagedFileError(path)
        try:
            header = json.loads(file.readline())
        except ValueError as error:
            raise DamagedFileError(path) from error
    if not isinstance(header, dict):
        raise DamagedFileError(path)
    return header


def read_state(path: Path, device: Any) -> tuple[dict[str, Any], Any]:
    """Header and state of a file.

    Parameters
    ----------
    path : Path
        The file.
    device : str
        Where tensors go that were not in the main memory.

    Raises
    ------
    DamagedFileError
        If a byte is not what was written.
    """
    content = path.read_bytes()
    body, digest = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if blake2b(body, digest_size=DIGEST_SIZE).digest() != digest:
        raise DamagedFileError(path)
    header = read_header(path)
    start = body.index(b"\n", len(MAGIC)) + 1
    try:
        packed = torch.load(io.BytesIO(body[start:]), map_location="cpu", weights_only=True)
        return header, _unpack(packed, device)
    except Exception as error:  # made by somebody else: the unpickler of tensors raises anything
        raise DamagedFileError(path) from error


def pack(value: Any) -> Any:
    """What can be written of a value: the same with plain containers, and tensors for arrays.

    Raises
    ------
    NotPlainError
        If a part of it is anything else.
    """
    kind = type(value).__name__
    if type(value) in PLAIN:
        return value
    if isinstance(value, Packed):
        return value.value
    if isinstance(value, Tensor):
        return _pack_tensor(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in ARRAYS:
        content = np.frombuffer(value.tobytes(), dtype=np.uint8).copy()
        made_of = {"dtype": value.dtype.str, "shape": [*value.shape]}
        return {"kind": _kind_of_array(value), **made_of, "content": torch.from_numpy(content)}
    if isinstance(value, deque):
        return {"kind": "deque", "items": [*map(pack, value)], "maxlen": value.maxlen}
    if kind in SEQUENCES and isinstance(value, list | tuple | set | frozenset):
        return {"kind": kind, "items": [*map(pack, value)]}
    if isinstance(value, Mapping):
        kind = kind if kind in MAPPINGS else "dict"
        return {"kind": kind, "items": [[pack(k), pack(v)] for k, v in value.items()]}
    raise NotPlainError(f"a {type(value).__module__}.{type(value).__qualname__}")


def _pack_tensor(tensor: Tensor) -> dict[str, Any]:
    values = tensor.detach().cpu()
    if values.untyped_storage().nbytes() > values.numel() * values.element_size():
        values = values.clone()  # a view: torch would write all that it looks at
    return {"kind": "tensor", "values": values, "is_host": tensor.device.type == "cpu"}


def _kind_of_array(value: Any) -> str:
    return "scalar" if isinstance(value, np.generic) else "array"


def _unpack(packed: Any, device: Any) -> Any:
    if not isinstance(packed, dict):
        return packed
    kind = packed["kind"]
    if kind == "tensor":
        return packed["values"] if packed["is_host"] else packed["values"].to(device)
    if kind in ("array", "scalar"):
        content = packed["content"].numpy().tobytes()
        array = np.frombuffer(content, dtype=packed["dtype"]).reshape(packed["shape"]).copy()
        return array[()] if kind == "scalar" else array
    if kind in MAPPINGS:
        return MAPPINGS[kind](
            [[_unpack(part, device) for part in item] for item in packed["items"]]
        )
    items = [_unpack(item, device) for item in packed["items"]]
    return deque(items, packed["maxlen"]) if kind == "deque" else SEQUENCES[kind](items)


class _Hashing:
    """A file to write to, which keeps the hash of all that was written."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest = file, blake2b(digest_size=DIGEST_SIZE)

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()
