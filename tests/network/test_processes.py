"""A network trained by two processes, on the loopback device, against one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.networks import same_bits

TRAIN = """
import sys
import numpy as np
import torch
from torch import distributed
from sklearn_rdm import ResponsePatterns
from tests.networks import make_data, tiny_net, weights

rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world_size > 1:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size
    )
images = make_data(30).images
patterns = ResponsePatterns(np.random.default_rng(0).random((30, 9)))
frozen = {"freeze_up_to": "relu1", "reference": "grey"}
for name, params in {"images": {}, "frozen": frozen}.items():
    net = tiny_net(batch_size=-1, max_epochs=2, **params).fit(images, patterns)
    torch.save(weights(net), f"{folder}/{name}-{rank}-of-{world_size}.pt")
if world_size > 1:
    distributed.destroy_process_group()
"""


def start(rank, world_size, folder):
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRAIN, str(rank), str(world_size), str(folder)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, env=environment | {"PYTHONPATH": str(root)})


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_two_processes_train_the_weights_of_one(tmp_path):
    processes = [start(0, 1, tmp_path), start(0, 2, tmp_path), start(1, 2, tmp_path)]
    assert [process.wait(timeout=150) for process in processes] == [0, 0, 0]
    for name in ("images", "frozen"):
        one, first, second = (
            torch.load(tmp_path / f"{name}-{part}.pt") for part in ("0-of-1", "0-of-2", "1-of-2")
        )
        assert same_bits(one, first)
        assert same_bits(one, second)
        assert any(value.abs().sum() > 0 for value in one.values())
