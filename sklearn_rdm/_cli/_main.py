"""From a command line to an exit code: 0 done, 1 an error of ours in one line, 2 wrong usage."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.exceptions import NotFittedError

from sklearn_rdm._cli._arguments import parse

__all__ = ["main"]

INTERRUPTED = 130  # as shells have it
# What users can mend. Any other error is a fault of the package and keeps its traceback.
EXPECTED = (ImportError, NotFittedError, OSError, TypeError, ValueError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; ``argv`` is what follows the program's name."""
    arguments = parse(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            arguments.command(arguments)
        except EXPECTED as error:
            _tell("error", error)
            return 1
        except KeyboardInterrupt:
            _tell("error", "interrupted")
            return INTERRUPTED
    return 0


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    _tell("warning", message)


def _tell(kind: str, message: Any) -> None:
    text = " ".join(str(message).split()) or type(message).__name__
    print(f"sklearn-rdm: {kind}: {text}", file=sys.stderr)
