"""What belongs to the whole process, so that one thread at a time may use it."""

from __future__ import annotations

import os
from threading import RLock, get_ident
from typing import Any

__all__ = ["ONE_AT_A_TIME"]


class _OneAtATime:
    """A reentrant lock that a forked child does not inherit from a thread that it has not.

    Only the thread that forks lives on in the child. Had another one held the lock, nobody there
    would ever release it.
    """

    def __init__(self) -> None:
        self._lock, self._holder, self._depth = RLock(), 0, 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_in_child)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder, self._depth = get_ident(), self._depth + 1

    def __exit__(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._holder = 0
        self._lock.release()

    def _begin_in_child(self) -> None:
        depth = self._depth if self._holder == get_ident() else 0
        self._lock, self._holder, self._depth = RLock(), 0, 0
        for _ in range(depth):  # the child is within the same blocks as its parent
            self.__enter__()


# PyTorch's number of threads, its random numbers, what torch.fx patches while it traces a network,
# and the threads of BLAS: fits in several threads, as Dask's workers have, would mix them up.
ONE_AT_A_TIME = _OneAtATime()
