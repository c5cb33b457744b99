"""Parameters that have a few values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

__all__ = ["check_option"]


def check_option(name: str, value: Any, options: Iterable[Any]) -> None:
    """Refuse what is none of the options, whatever it is."""
    if not isinstance(value, Hashable) or value not in options:
        raise ValueError(f"{name} must be one of {[*options]}, got {value!r}.")
