"""Run a network on small shards of a batch, in threads, with the same bits on any machine load.

PyTorch splits one operation over its threads and sums in an order that depends on their number, so
that weights trained in a worker process (one thread) and in the main process (all threads) differ
in their last bits. Here the batch is split instead: every shard is computed by one thread, and the
gradients of the shards are summed in a fixed order. It costs nothing (small shards fit the
processor's cache) and gives the same weights with any ``n_jobs``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from sklearn_rdm._pairs._process import ONE_AT_A_TIME

__all__ = [
    "SHARD_SIZE",
    "in_shards",
    "map_in_threads",
    "pad_to_shard",
    "run_in_shards",
    "shard_threads",
]

SHARD_SIZE = 8  # images; measured: smaller costs overhead, larger gains nothing
MANY_WEIGHTS = 1 << 25  # of which a gradient per shard takes longer than the shard's products
LARGE_SHARD = 64  # images at most

_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("_pool", default=None)

if hasattr(os, "register_at_fork"):  # a forked child has the pool, but none of its threads
    os.register_at_fork(after_in_child=lambda: _pool.set(None))


@contextmanager
def shard_threads() -> Iterator[None]:
    """Give PyTorch's threads to shards for the duration of the block, to one block at a time."""
    if _pool.get() is not None:
        yield
        return
    with ONE_AT_A_TIME, _one_thread_each():
        yield


@contextmanager
def _one_thread_each() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # A new thread would begin with OpenMP's own number of threads, which oneDNN then uses.
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            token = _pool.set((pool, n_threads))
            try:
                yield
            finally:
                _pool.reset(token)
    finally:
        torch.set_num_threads(n_threads)


def map_in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> Iterator[Any]:
    """``map`` over the threads of the enclosing :func:`shard_threads` block, in order."""
    threads = _pool.get()
    if threads is None:
        yield from map(function, *arguments)
        return
    pool, n_threads = threads
    waiting: deque[Future[Any]] = deque()
    for shard in zip(*arguments, strict=True):
        if len(waiting) > n_threads:  # results may be as large as the network
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, *shard))
    while waiting:
        yield waiting.popleft().result()


def pad_to_shard(inputs: Tensor) -> Tensor:
    """Repeat the first image up to a full shard.

    Matrix products choose their summation order by the number of rows: with full shards an
    image's activations do not depend on how many others were asked for.
    """
    missing = SHARD_SIZE - len(inputs)
    if missing <= 0:
        return inputs
    return torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])])


def run_in_shards(
    function: Callable[[Tensor], Tensor], inputs: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    """``function(inputs)``, one row per image, differentiable with respect to ``parameters``."""
    return _ShardedFunction.apply(function, inputs, *parameters)


class _ShardedFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        def run(shard: Tensor) -> Tensor:
            # A copy: a layer that works in place would mark all shards as changed by each of them.
            with torch.enable_grad():
                return function(shard.clone())

        ctx.outputs = list(map_in_threads(run, in_shards(inputs, parameters)))
        ctx.parameters = parameters
        return torch.cat([output.detach() for output in ctx.outputs])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        def run(output: Tensor, output_gradient: Tensor) -> tuple[Tensor | None, ...]:
            # None, not zeros, for what gets no gradient: optimizers would let its weights decay.
            return torch.autograd.grad(output, ctx.parameters, output_gradient, allow_unused=True)

        shards = map_in_threads(run, ctx.outputs, in_shards(gradient, ctx.parameters))
        total = _to_be_summed(next(shards), gradient)
        for gradients in shards:
            for number, added in enumerate(gradients):
                summed = total[number]
                if summed is None:  # value-dependent code may use a weight for some images only
                    total[number] = None if added is None else added.clone()
                elif added is not None:
                    summed.add_(added)
        ctx.outputs = None
        return (None, None, *total)


def in_shards(rows: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Split images for training, by their number and what is trained: alike on every machine."""
    if sum(map(torch.numel, parameters)) <= MANY_WEIGHTS:
        return rows.split(SHARD_SIZE)
    return rows.tensor_split(-(-len(rows) // LARGE_SHARD))  # of one size: no thread waits


def _to_be_summed(gradients: Sequence[Tensor | None], received: Tensor) -> list[Tensor | None]:
    """Gradients that can be added to in place: none shares its memory with another tensor."""
    own: list[Tensor | None] = []
    in_use = {_storage(received)}
    for gradient in gradients:
        if gradient is None:
            own.append(None)
            continue
        # Most are new, and a copy would take as long as the products of a large linear layer.
        alone = gradient.is_contiguous() and _storage(gradient) not in in_use
        kept = gradient if alone else gradient.clone()
        own.append(kept)
        in_use.add(_storage(kept))
    return own


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
