"""How much memory a file may take, known before anything of that size is made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sklearn_rdm._pairs._extras import MissingPackage

__all__ = ["Budget", "cannot_read", "named"]

AT_LEAST = 1 << 28  # bytes that any file may take
TIMES = 50  # the size of the file that it may take; compressed matrices of measurements take 10
PER_ITEM = 1 << 12  # bytes counted for one item, however small: names and cells end as well


class TooLarge(ValueError):
    """The content of a file takes more memory than it may."""


class Budget:
    """Bytes of memory that what is in a file may still take, as float64.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int, default=None
        Bytes; None takes 50 times the size of the file, and 256 MB at least.
    """

    def __init__(self, path: Any, max_bytes: int | None = None) -> None:
        self.file_size = os.stat(path).st_size
        self.limit = max(AT_LEAST, TIMES * self.file_size) if max_bytes is None else int(max_bytes)
        self.left = self.limit

    def spend(self, n_values: int, what: str, itemsize: int = 8) -> None:
        """Count an array of this many values, or raise an error that names it."""
        if n_values < 0:
            raise ValueError(f"{what} has {n_values} values.")
        n_bytes = n_values * max(itemsize, 8)
        if n_bytes > self.left:
            raise TooLarge(
                f"{what} takes {n_bytes / 1e6:,.0f} MB of memory, but this file of "
                f"{self.file_size / 1e6:,.1f} MB may take {self.limit / 1e6:,.0f} MB in all. If "
                "you trust the file, allow more with max_bytes=."
            )
        self.left -= max(n_bytes, PER_ITEM)


def cannot_read(path: Any, kind: str, reason: Any) -> ValueError:
    """The error for a file whose content is broken, or of another kind than its name says."""
    if isinstance(reason, TooLarge):
        return ValueError(f"{str(path)!r} is not read: {reason}")
    if isinstance(reason, MemoryError):
        reason = "there is not enough memory for it"
    text = str(reason).strip().rstrip(".") or type(reason).__name__
    return ValueError(
        f"{str(path)!r} cannot be read as {kind} file: {text}. If the file should be whole, copy "
        "or export it again."
    )


@contextlib.contextmanager
def named(path: Path, kind: str | None = None) -> Iterator[None]:
    """Name the file in errors that its content causes, which have no common type."""
    kind = kind or f"a {path.suffix.lower()}"
    try:
        yield
    except MissingPackage:
        raise
    except OSError as error:
        if error.filename is not None:  # no file, no permission
            raise
        raise cannot_read(path, kind, error) from error
    except Exception as error:
        if isinstance(error, ValueError) and repr(str(path))[1:-1] in str(error):
            raise
        raise cannot_read(path, kind, error) from error
