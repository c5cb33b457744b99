"""The command line: it calls public functions of the package, and adds nothing to them."""

from sklearn_rdm._cli._main import main

__all__ = ["main"]
