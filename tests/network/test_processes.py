"""A network trained by several processes, on the loopback device, against one process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sklearn_rdm._network._processes import (
    _as_parameters,
    _joined_gradients,
    agreed,
    are_all_equal,
    is_first_process,
)
from tests.networks import same_bits

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="needs torch.distributed"
)


def start(*command, folder=ROOT):
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=folder, env=environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one process, and each of three that work together, has trained."""
    found = {}
    for world_size in (1, 3):
        folder = tmp_path_factory.mktemp(f"of_{world_size}")
        ranks = range(world_size)
        command = ("-m", "tests.network.train_in_processes")
        processes = [start(*command, rank, world_size, folder) for rank in ranks]
        assert [process.wait(timeout=200) for process in processes] == [0] * world_size
        parts = [folder / f"{rank}-of-{world_size}.pt" for rank in ranks]
        found[world_size] = [torch.load(part, weights_only=False) for part in parts]
        found[f"files of {world_size}"] = list((folder / f"kept-{world_size}").iterdir())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "frozen", "pairs", "again", "few"])
def test_processes_train_the_bits_of_one(trained, name):
    (alone,) = trained[1]
    for together in trained[3]:
        assert same_bits(alone[name]["weights"], together[name]["weights"])
        assert alone[name]["losses"] == together[name]["losses"]
        assert torch.equal(alone[name]["predicted"], together[name]["predicted"])
    assert any(value.abs().sum() > 0 for value in alone[name]["weights"].values())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "same"), [("slices", "images"), ("idle", "few")])
def test_slices_of_a_batch_train_the_weights_of_one_process(trained, name, same):
    (alone,), together = trained[1], trained[3]
    for other in together[1:]:
        assert same_bits(together[0][name]["weights"], other[name]["weights"])
    torch.testing.assert_close(
        together[0][name]["weights"], alone[same]["weights"], atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(together[0][name]["losses"], alone[same]["losses"])


@pytest.mark.slow
def test_processes_without_a_seed_take_the_one_of_the_first(trained):
    first, *others = (found["unseeded"] for found in trained[3])
    for other in others:
        assert same_bits(first["weights"], other["weights"])
        assert first["losses"] == other["losses"]


@pytest.mark.slow
def test_one_process_writes_the_checkpoint(trained):
    for world_size in (1, 3):
        assert [path.suffix for path in trained[f"files of {world_size}"]] == [".fitted"]


@pytest.mark.slow
def test_different_data_and_shares_that_need_the_batch_raise_in_all_processes(trained):
    for found in trained[3]:
        messages = found["messages"]
        for name in ("patterns", "images", "number"):
            assert "different images, pairs or dissimilarities" in messages[name]
        for name in ("dropout", "batch norm"):
            assert "module__freeze_batch_norm=True" in messages[name]


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes")


def run_the_script_of_the_guide(folder, *command):
    """The network that it saves."""
    shutil.copy(ROOT / "docs" / "_static" / "train.py", folder)
    assert start(*command, folder / "train.py", folder=folder).wait(timeout=200) == 0
    return torch.load(folder / "network.pt")


@pytest.fixture(scope="module")
def trained_by_the_script(tmp_path_factory):
    return run_the_script_of_the_guide(tmp_path_factory.mktemp("alone"), *TORCHRUN, 1)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_script_of_the_guide_trains_the_bits_of_one_process(
    trained_by_the_script, tmp_path, launcher
):
    if launcher is ACCELERATE:
        pytest.importorskip("accelerate")
    assert same_bits(trained_by_the_script, run_the_script_of_the_guide(tmp_path, *launcher, 2))


def test_one_process_is_the_first_and_agrees_with_itself():
    assert is_first_process()
    assert are_all_equal(3)
    assert agreed("value") == "value"


def test_gradients_that_processes_sum_stay_none_where_there_are_none():
    used, unused = torch.ones(2, 3, requires_grad=True), torch.ones(4, requires_grad=True)
    inputs = torch.arange(6.0).view(2, 3)
    parts = [
        _joined_gradients((inputs * used).sum(1) * scale, [used, unused], torch.ones(2))
        for scale in (1, 2)
    ]
    of_used, of_unused = _as_parameters(parts[0] + parts[1], [used, unused])
    assert torch.equal(of_used, 3 * inputs)
    assert of_unused is None
