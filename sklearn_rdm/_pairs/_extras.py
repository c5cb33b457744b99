"""Optional packages: imported where they are used, with an error that names the extra."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(module: str, extra: str) -> Any:
    """Import a module of an optional package, or say which extra installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs {module.split('.')[0]}: pip install 'sklearn-rdm[{extra}]'."
        ) from error
