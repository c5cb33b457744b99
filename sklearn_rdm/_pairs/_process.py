"""What belongs to the whole process, so that one thread at a time may use it."""

from __future__ import annotations

from threading import RLock

__all__ = ["ONE_AT_A_TIME"]

# PyTorch's number of threads, its random numbers, what torch.fx patches while it traces a network,
# and the threads of BLAS: fits in several threads, as Dask's workers have, would mix them up.
ONE_AT_A_TIME = RLock()
