"""Started by test_processes.py: one of several processes, or the only one, that train networks."""

import sys
import warnings

import numpy as np
import torch
from torch import distributed

from sklearn_rdm import ResponsePatterns
from sklearn_rdm._network import _processes, _twin_network
from tests.networks import make_data, make_pairs, tiny_net, weights

N_IMAGES = 30


def main(rank, world_size, folder):
    if world_size > 1:
        meeting = f"file://{folder}/meeting"
        distributed.init_process_group("gloo", meeting, rank=rank, world_size=world_size)
    images = make_data(N_IMAGES).images
    patterns = ResponsePatterns(np.random.default_rng(0).random((N_IMAGES, 9)))
    frozen = {"freeze_up_to": "relu1", "reference": "grey", "memory": f"{folder}/memory"}
    found = {"images": train(images, patterns), "frozen": train(images, patterns, **frozen)}
    pairs, dissim = make_pairs(N_IMAGES)
    kept = {"checkpoint": f"{folder}/kept-{world_size}"}
    found["pairs"] = train(pairs, dissim, **kept)
    found["again"] = train(pairs, dissim, **kept)
    few = {"batch_size": 2, "lr": 0.01, "max_epochs": 1}  # fewer images than processes
    found["few"] = train(pairs, dissim, **few)
    if world_size > 1:
        _processes.is_host = lambda _: False  # the way of GPUs, which run no shards
        found["slices"] = train(images, patterns)
        found["idle"] = train(pairs, dissim, **few)
        _processes.is_host = _twin_network.is_host
        found["unseeded"] = train(images, patterns, random_state=None)
        found["messages"] = refused(rank, images, patterns)
        distributed.destroy_process_group()
    torch.save(found, f"{folder}/{rank}-of-{world_size}.pt")


def train(X, y, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = tiny_net(**{"batch_size": 20, "max_epochs": 2, **params}).fit(X, y)
    losses, predicted = net.history[:, "train_loss"], net.transform(make_data(N_IMAGES).images)
    return {"weights": weights(net), "losses": losses, "predicted": torch.tensor(predicted)}


def refused(rank, images, patterns):
    """What is said of data that differ, and of what takes a whole batch."""
    other = ResponsePatterns(patterns.patterns[0] + np.arange(9.0) * rank)
    calls = {
        "patterns": lambda: train(images, other),
        "images": lambda: train(images + np.uint8(rank), patterns),
        "number": lambda: train(images[rank:], patterns[rank:]),
        "dropout": lambda: train(images, patterns, module__dropout=True),
        "batch norm": lambda: train(images, patterns, module__freeze_batch_norm=False),
    }
    messages = {}
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            messages[name] = str(error)
    return messages


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
