"""Files that appear under their name only once they are whole."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole_file(path: Any) -> Iterator[Path]:
    """Give a new path beside ``path`` to write to; it takes that name if the block ends well."""
    path = Path(path)
    # No name that others write to as well; tempfile would let nobody but the owner read the file.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
