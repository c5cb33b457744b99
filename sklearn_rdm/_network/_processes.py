"""One network on several processes: each runs its share of a mini-batch's images.

The processes are those of ``torch.distributed``, as torchrun starts them. All of them draw the same
mini-batches and hold the same weights; the features that each computes are sent to all, and all
compute the same loss of all pairs. On processors, gradients are summed in the order of the shards,
so that the weights are the bits of one process; on GPUs they are equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import joblib
import numpy as np
import torch
from torch import Tensor, distributed

from sklearn_rdm._network._accelerator import is_host
from sklearn_rdm._network._shards import in_shards, map_in_threads
from sklearn_rdm._pairs import ImagePairs

__all__ = [
    "agreed",
    "are_all_equal",
    "are_several_processes",
    "check_processes",
    "is_first_process",
    "run_in_processes",
    "wait_for_all",
]

Value = TypeVar("Value")


def are_several_processes() -> bool:
    """Whether this is one of several processes that train together."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def is_first_process() -> bool:
    """Whether this process writes files for all that train together."""
    return not are_several_processes() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if are_several_processes():
        distributed.barrier()


def agreed(value: Value) -> Value:
    """The first process' value, in all processes."""
    if not are_several_processes():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def are_all_equal(value: Any) -> bool:
    """Whether all processes have given the same value."""
    if not are_several_processes():
        return True
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return all(other == values[0] for other in values)


def check_processes(X: ImagePairs, y: Any, is_deterministic: bool) -> None:
    """Refuse to train one network on different data, or where a share of a batch is too little.

    Parameters
    ----------
    X, y : ImagePairs and ndarray or ResponsePatterns
        What this process was given to train on.
    is_deterministic : bool
        Whether what the network makes of an image depends on this image alone.

    Raises
    ------
    ValueError
        If it does not, or if the processes differ in their data, as far as a few images, the pairs
        and the dissimilarities tell. All processes raise it.
    """
    if not are_several_processes():
        return
    if not is_deterministic:
        raise ValueError(
            "several processes can train one network only without dropout and with fixed "
            "statistics of batch normalisation, as both depend on the whole mini-batch. Give "
            "module__dropout=False and module__freeze_batch_norm=True, or start one process."
        )
    if not are_all_equal(_digest(X, y)):
        raise ValueError(
            "the processes were given different images, pairs or dissimilarities. Give the same "
            "data to all of them: the estimator divides each mini-batch among them."
        )


def _digest(X: ImagePairs, y: Any) -> str:
    """Tells data from others, without reading all images."""
    ends = [0, len(X.images) - 1]
    images = [np.asarray(X.images[row : row + 1]) for row in ends]
    if not isinstance(y, np.ndarray):
        y = y.dissimilarities(np.array([ends]))
    return str(joblib.hash([images, len(X), X[:1].index, X[-1:].index, y]))


def run_in_processes(
    function: Callable[[Tensor], Tensor], inputs: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    """As :func:`run_in_shards`, with the images shared out among the processes."""
    shared = _SharedShards if is_host(inputs.device) else _SharedSlices
    return shared.apply(function, inputs, *parameters)


class _SharedSlices(torch.autograd.Function):
    """A slice of the batch for each process; the others' parts are zeros until all are summed."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.rows, ctx.parameters = _slice_of_own(len(inputs)), parameters
        is_idle = ctx.rows.start == ctx.rows.stop  # it must know the shape all the same
        with torch.enable_grad():
            ctx.own = function(inputs[slice(1) if is_idle else ctx.rows].clone())
        outputs = ctx.own.new_zeros((len(inputs), *ctx.own.shape[1:]))
        if not is_idle:
            outputs[ctx.rows] = ctx.own.detach()
        distributed.all_reduce(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        part = torch.zeros_like(ctx.own)
        own = gradient[ctx.rows]
        part[: len(own)] = own
        total = _joined_gradients(ctx.own, ctx.parameters, part)
        ctx.own = None
        distributed.all_reduce(total)
        return (None, None, *_as_parameters(total, ctx.parameters))


def _slice_of_own(n_images: int) -> slice:
    rank, n_processes = distributed.get_rank(), distributed.get_world_size()
    return slice(n_images * rank // n_processes, n_images * (rank + 1) // n_processes)


class _SharedShards(torch.autograd.Function):
    """Shards for each process in turn, so that sums have the order of one process."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        def run(shard: Tensor) -> Tensor:
            with torch.enable_grad():
                return function(shard.clone())

        shards = in_shards(inputs, parameters)
        outputs_of_own = map_in_threads(run, [shards[number] for number in _own(shards)])
        own = dict(zip(_own(shards), outputs_of_own, strict=True))
        ctx.own, ctx.parameters, ctx.n_shards = own, parameters, len(shards)
        shape: list[Any] = [own[0].shape[1:] if 0 in own else None]
        distributed.broadcast_object_list(shape, src=0)
        outputs = []
        for number, shard in enumerate(shards):
            output = own[number].detach() if number in own else None
            outputs.append(_share(output, (len(shard), *shape[0]), inputs, number))
        return torch.cat(outputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        parameters, parts = ctx.parameters, in_shards(gradient, ctx.parameters)

        def run(number: int) -> Tensor:
            return _joined_gradients(ctx.own[number], parameters, parts[number])

        own = dict(zip(ctx.own, map_in_threads(run, list(ctx.own)), strict=True))
        length = sum(parameter.numel() + 1 for parameter in parameters)
        total: Tensor | None = None
        for number in range(ctx.n_shards):
            shared = _share(own.get(number), (length,), gradient, number)
            total = shared if total is None else total.add_(shared)
        assert total is not None
        ctx.own = None
        return (None, None, *_as_parameters(total, parameters))


def _joined_gradients(output: Tensor, parameters: Sequence[Tensor], gradient: Tensor) -> Tensor:
    """Gradients as one long vector, then for each parameter 1, or 0 if it gets none."""
    gradients = torch.autograd.grad(output, parameters, gradient, allow_unused=True)
    given = gradient.new_tensor([g is not None for g in gradients])
    pairs = zip(gradients, parameters, strict=True)
    filled = (torch.zeros_like(p) if g is None else g for g, p in pairs)
    return torch.cat([*(g.reshape(-1) for g in filled), given])


def _as_parameters(total: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """The parts of one long vector, in the shapes of the parameters; None without gradient."""
    *parts, given = total.split([*(p.numel() for p in parameters), len(parameters)])
    of_each = zip(parts, parameters, given.tolist(), strict=True)
    return [part.view_as(p) if has_gradient else None for part, p, has_gradient in of_each]


def _own(shards: Sequence[Tensor]) -> range:
    """Numbers of the shards that this process runs."""
    return range(distributed.get_rank(), len(shards), distributed.get_world_size())


def _share(values: Tensor | None, shape: tuple[int, ...], like: Tensor, number: int) -> Tensor:
    """What the process that runs a shard has made of it, in all processes."""
    if values is None:
        values = torch.empty(shape, dtype=torch.float32, device=like.device)
    values = values.float().contiguous()
    distributed.broadcast(values, src=number % distributed.get_world_size())
    return values
