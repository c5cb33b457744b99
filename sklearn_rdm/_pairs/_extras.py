"""Optional packages: imported where they are used, with an error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["MissingPackage", "import_optional"]


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
