"""Packages that may not be there: imported where they are used, and their versions."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["MissingPackage", "import_optional", "versions_of"]


class MissingPackage(ImportError):
    """An optional package that is not installed; the message names its extra."""


def import_optional(module: str, extra: str) -> Any:
    """Import a module of an optional package, or say which extra installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"this needs {module.split('.')[0]}: pip install 'sklearn-rdm[{extra}]'."
        ) from error


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    versions = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
