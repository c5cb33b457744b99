"""What is done otherwise where a network runs on a GPU.

There, large batches are faster than shards, convolutions are faster with channels last, and
training data that lie in the GPU's memory already need not be sent again in every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["BATCH_SIZE", "is_host", "put_channels_last", "reside", "take"]

BATCH_SIZE = 64  # images of a forward pass on a GPU
RESIDENT_SHARE = 0.25  # of what is free: the next workers on this GPU get a share of the rest
HOSTS = {"cpu"}


def is_host(device: Any) -> bool:
    """Whether a device is the processor, where images are split into shards for its threads.

    None, PyTorch's word for leaving a network where it is, counts as the processor.
    """
    return device is None or torch.device(device).type in HOSTS


def put_channels_last(network: nn.Module) -> None:
    """Lay convolutions' weights out as a GPU's matrix units want them; activations follow them."""
    for parameter in network.parameters():
        if parameter.ndim == 4 and not is_host(parameter.device):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def reside(inputs: Any, places: np.ndarray, device: Any) -> tuple[Any, np.ndarray]:
    """Copy what a network is trained on to its GPU, if that takes little of the free memory.

    Parameters
    ----------
    inputs, places
        Rows of ``inputs`` are the images' values at the network's cut, as ``keep_frozen`` returns
        them.
    device : str
        Where the network runs.

    Returns
    -------
    inputs, places
        A tensor on the GPU and where its images are, or what was given: on the processor, where
        the images do not fit, and where they are decoded anew each time.
    """
    if is_host(device) or not isinstance(inputs, np.ndarray):
        return inputs, places
    n_bytes = len(places) * inputs[:1].nbytes
    if n_bytes > RESIDENT_SHARE * free_memory(device):
        return inputs, places
    first = take(inputs, places[:1])
    resident = torch.empty((len(places), *first.shape[1:]), dtype=first.dtype, device=device)
    for start in range(0, len(places), BATCH_SIZE):  # all at once may exceed the host's memory
        some = slice(start, start + BATCH_SIZE)
        resident[some] = take(inputs, places[some]).to(device)
    return resident, np.arange(len(places))


def free_memory(device: Any) -> int:
    """Bytes that are free on a GPU; 0 where the driver cannot be asked."""
    if torch.device(device).type != "cuda":
        return 0
    return torch.cuda.mem_get_info(device)[0]


def take(inputs: Any, rows: np.ndarray) -> Tensor:
    """Rows of an array, or of a tensor on its own device."""
    if isinstance(inputs, Tensor):
        return inputs[torch.from_numpy(rows).to(inputs.device, non_blocking=True)]
    return torch.from_numpy(np.ascontiguousarray(inputs[rows]))
