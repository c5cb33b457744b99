"""The table of layers, against the network's own modules and what hooks see."""

from functools import partial

import pytest
import torch
from torch import nn

from sklearn_rdm import SiameseRDMRegressor, list_layers
from sklearn_rdm._network._backbones import load_backbone
from tests.network.test_hooked import Branching
from tests.networks import Small, TinyNetwork


def test_rows_are_the_modules_in_the_order_of_their_calls():
    layers = list_layers(TinyNetwork, image_size=48)
    network = load_backbone(TinyNetwork, image_size=48).network
    seen = {}
    for name, module in network.named_modules():
        hook = partial(lambda name, _, __, out: seen.update({name: tuple(out.shape[1:])}), name)
        module.register_forward_hook(hook)
    with torch.no_grad():
        network(torch.zeros(1, 3, 48, 48))
    seen.pop("")
    assert {layer.name: layer.shape for layer in layers} == seen
    assert [layer.name for layer in layers] == [*seen]
    for layer in layers:
        module = network.get_submodule(layer.name)
        assert layer.kind == type(module).__name__
        assert layer.n_parameters == sum(p.numel() for p in module.parameters())
        assert layer.frozen == (False if layer.n_parameters else None)
        assert layer.alias == ""


@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        ({"freeze_up_to": "bn1"}, {"conv1", "bn1"}),
        ({"freeze_from": "conv3"}, {"conv3", "fc"}),
        ({"freeze_up_to": "conv1", "freeze_from": "fc"}, {"conv1", "fc"}),
    ],
)
def test_frozen_layers_are_those_that_training_leaves(options, frozen):
    layers = list_layers(TinyNetwork, image_size=48, **options)
    assert {layer.name for layer in layers if layer.frozen} == frozen
    net = SiameseRDMRegressor(TinyNetwork, "fc", image_size=48, **options).initialize()
    trained = dict(net.module_.trunk.network.named_parameters())
    for layer in layers:
        if layer.frozen is not None:
            assert trained[f"{layer.name}.weight"].requires_grad != layer.frozen


def test_every_name_can_be_read_out():
    for backbone, size in (("alexnet", 64), (Small, 24)):
        for layer in list_layers(backbone, image_size=size):
            net = SiameseRDMRegressor(backbone, layer.name, weights=None, image_size=size)
            if backbone == "alexnet" and layer.name not in ("features.3", "classifier.1"):
                continue
            shape = net.initialize().module_.trunk(torch.zeros(2, 3, size, size))[0].shape[1:]
            assert tuple(shape) == layer.shape


class Twice(nn.Module):
    """A module that is called twice, and one that returns several values."""

    def __init__(self):
        super().__init__()
        self.conv, self.pair = nn.Conv2d(3, 3, 1), Pair()

    def forward(self, x):
        return self.pair(self.conv(self.conv(x)))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), {"max": x.amax(1)}, torch.zeros(7), None


def test_calls_and_items_have_names_of_their_own():
    layers = list_layers(Twice, image_size=8)
    named = [(layer.name, layer.shape) for layer in layers]
    shape = (3, 8, 8)
    items = [("pair[0]", (3,)), ("pair[1][max]", (8, 8))]
    assert named == [("conv", shape), ("conv_1", shape), *items]


@pytest.mark.filterwarnings("ignore:Branching cannot be cut")
def test_networks_that_cannot_be_cut_are_listed_too():
    layers = list_layers(Branching, image_size=32, freeze_up_to="stem")
    assert [layer.name for layer in layers if layer.frozen] == ["stem"]
    assert "block[hidden]" in [layer.name for layer in layers]


def test_it_prints_as_a_table_and_becomes_one_of_pandas():
    layers = list_layers("alexnet", image_size=64, freeze_up_to="conv1")
    lines = str(layers[:3]).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "features", "features.0", "features.1"]
    assert lines[2].split() == [
        "features.0",
        "conv1",
        "Conv2d",
        "64",
        "x",
        "15",
        "x",
        "15",
        "23296",
        "yes",
    ]
    assert str(layers[0]) == repr(layers[0])
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(layers)
    columns = ["name", "alias", "kind", "shape", "n_parameters", "frozen"]
    assert list(frame.columns) == columns
    assert len(frame) == len(layers) == 23


def test_wrong_names_and_sizes_are_errors():
    with pytest.raises(ValueError, match="has no layer 'conv9'"):
        list_layers(TinyNetwork, image_size=48, freeze_up_to="conv9")
    with pytest.raises(ValueError, match="It takes 48 x 48 pixels"):
        list_layers(TinyNetwork, image_size=64)
