"""What a queue does before it kills: it asks, and waits for some seconds."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["Termination"]


class Termination:
    """Holds SIGTERM back for a block of code, until it says where it can be ended.

    The first signal is kept; a second one ends the process at once. Afterwards the process is ended
    by the signal, or what its program has set for it is called. In a thread that is not the main
    one, where Python sets no handlers, nothing is held back.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        if in_main and before not in (None, signal.SIG_IGN):
            self._before = before
            signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._before is not None and not self.is_asked:
            signal.signal(signal.SIGTERM, self._before)
        self.end_if_asked()

    def end_if_asked(self) -> None:
        """Let the signal do what it would have done."""
        if self.is_asked:
            self.is_asked = False
            signal.raise_signal(signal.SIGTERM)

    def _ask(self, *_: Any) -> None:
        self.is_asked = True
        signal.signal(signal.SIGTERM, self._before)
        self._before = None
