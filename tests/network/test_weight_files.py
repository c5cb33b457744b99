import pytest
import torch
import torchvision
from safetensors.torch import save_file

from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._network._weight_files import read_state_dict
from tests.networks import TwoLayers


def small_state(seed=1):
    return load_backbone(TwoLayers, None, random_state=seed).network.state_dict()


def save(state, path, form):
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif form == "plain":
        torch.save(state, path)
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state, "best": 0.5}, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)


def load_small(path, layer="head", **kwargs):
    return Trunk(load_backbone(TwoLayers, path, random_state=0, **kwargs), [layer]).network


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("w.pth", "plain"),
        ("w.pt", "plain"),
        ("w.pth", "checkpoint"),
        ("w.pth", "DataParallel"),
        ("w.safetensors", "plain"),
    ],
)
@pytest.mark.parametrize("as_path", [True, False])
def test_weights_of_a_file_are_loaded(tmp_path, file, form, as_path):
    state = small_state()
    save(state, tmp_path / file, form)
    path = tmp_path / file if as_path else str(tmp_path / file)
    loaded = load_small(path).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_file_of_any_name_is_read_if_it_is_given_as_a_path(tmp_path):
    torch.save(small_state(), tmp_path / "checkpoint")
    loaded = load_small(tmp_path / "checkpoint").state_dict()
    assert torch.equal(loaded["conv.weight"], small_state()["conv.weight"])


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_weights_file_is_not_run(tmp_path):
    torch.save({"conv.weight": Bomb(tmp_path / "boom")}, tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match="bomb.pth' cannot be read as a file of weights"):
        load_small(tmp_path / "bomb.pth")
    assert not (tmp_path / "boom").exists()
    torch.load(tmp_path / "bomb.pth", weights_only=False)["conv.weight"].close()
    assert (tmp_path / "boom").exists()  # it would have


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>log in to the guest network</html>", "half"])
def test_a_broken_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    if content == "half":
        save(small_state(), path, "plain")
        content = path.read_bytes()[:500]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}' cannot be read as a file of weights"):
        load_small(path)


@pytest.mark.parametrize("content", [[1, 2], {"lr": 0.1}, {3: torch.ones(2)}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth' holds no state dict"):
        load_small(tmp_path / "w.pth")


@pytest.mark.parametrize("path", ["missing.pth", "missing.safetensors"])
def test_a_missing_file_is_named(tmp_path, path):
    with pytest.raises(FileNotFoundError, match=f"no weights file '.*{path}'"):
        load_backbone(TwoLayers, tmp_path / path)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        load_backbone(TwoLayers, tmp_path)  # a folder


def without(state, name):
    return {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "conv.bias"), r"Missing: conv\.bias\. "),
        (lambda s: {**s, "neck.weight": torch.ones(2)}, r"Unknown: neck\.weight\. "),
        (
            lambda s: {**s, "head.weight": s["head.weight"].T.contiguous()},
            r"Wrong shape: head\.weight \[4, 6\] instead of \[6, 4\]\. ",
        ),
        (
            lambda s: {**s, "conv.weight": s["conv.weight"].flatten()},
            r"Wrong shape: conv\.weight \[108\] instead of \[4, 3, 3, 3\]",
        ),
        (
            lambda s: {f"net.{k}": v for k, v in s.items()},
            "Missing: .* and 5 more. Unknown: .* and 6 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_named(tmp_path, change, message):
    torch.save(change(dict(small_state())), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message) as caught:
        load_small(tmp_path / "w.pth")
    assert "Give the backbone that the file was saved from" in str(caught.value)


def test_weights_behind_the_read_out_may_be_missing_or_of_another_shape(tmp_path):
    state = small_state()
    torch.save(without(state, "head.bias"), tmp_path / "a.pth")
    torch.save({**state, "head.weight": torch.ones(1000, 4)}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        loaded = load_small(tmp_path / name, "norm").state_dict()
        assert set(loaded) == {name for name in state if not name.startswith("head")}
        assert all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_a_file_saved_before_batch_norm_counted_its_batches_fits(tmp_path):
    torch.save(without(small_state(), "norm.num_batches_tracked"), tmp_path / "w.pth")
    assert torch.equal(load_small(tmp_path / "w.pth").norm.weight, small_state()["norm.weight"])


def test_the_old_names_in_torchvisions_densenet_files_fit(tmp_path):
    network = torchvision.models.DenseNet(4, (2, 2), 8, num_classes=3)
    state = network.state_dict()
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
        for name, value in state.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == state.keys()
