"""One network on several processes: each runs its share of a mini-batch's shards.

The processes are those of ``torch.distributed``, as torchrun starts them. All of them draw the same
mini-batches and hold the same weights; what each computes is sent to all, and gradients are summed
in the order of the shards, so that the weights are the bits of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from sklearn_rdm._network._shards import map_in_threads, shard_size

__all__ = ["are_several_processes", "run_in_processes"]


def are_several_processes() -> bool:
    """Whether this is one of several processes that train together."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def run_in_processes(
    function: Callable[[Tensor], Tensor], inputs: Tensor, parameters: Sequence[Tensor]
) -> Tensor:
    """As :func:`run_in_shards`, with the shards shared out among the processes."""
    return _SharedFunction.apply(function, inputs, *parameters)


class _SharedFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        def run(shard: Tensor) -> Tensor:
            with torch.enable_grad():
                return function(shard.clone())

        shards = inputs.split(shard_size(parameters))
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
        parameters, parts = ctx.parameters, gradient.split(shard_size(ctx.parameters))

        def run(number: int) -> Tensor:
            gradients = torch.autograd.grad(
                ctx.own[number],
                parameters,
                parts[number],
                allow_unused=True,
                materialize_grads=True,
            )
            return torch.cat([g.reshape(-1) for g in gradients])

        own = dict(zip(ctx.own, map_in_threads(run, list(ctx.own)), strict=True))
        sizes = [parameter.numel() for parameter in parameters]
        total: Tensor | None = None
        for number in range(ctx.n_shards):
            shared = _share(own.get(number), (sum(sizes),), gradient, number)
            total = shared if total is None else total.add_(shared)
        assert total is not None
        summed = zip(total.split(sizes), parameters, strict=True)
        ctx.own = None
        return (None, None, *(part.view_as(parameter) for part, parameter in summed))


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
