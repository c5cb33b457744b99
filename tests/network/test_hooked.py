"""Networks that torch.fx cannot follow, or follows to other values, are read by hooks."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm import ImagePairs, LayerActivations
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._hooked import HookedNetwork
from sklearn_rdm._network._trunk import Trunk
from tests.networks import SIZE, assert_close, features_of, make_images

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Branching(nn.Module):
    """Code that looks at the data, and an item that has a name."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 4, 4, 4), Block(), nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        if x.sum() > 1e9:
            return x
        return self.head(self.block(x)["hidden"].mean((2, 3)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return {"hidden": self.conv(x).relu_(), "input": x}


class TwoNames(nn.Module):
    """An augmented assignment to a value that has two names: torch.fx misses it."""

    def __init__(self):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        k = x = self.stem(x)
        x += 1
        return self.last(k)


class Random(TwoNames):
    def forward(self, x):
        return self.last(self.stem(x) + torch.rand(1))


def build(factory, *layers, **options):
    return Trunk(load_backbone(factory, image_size=32, random_state=0), layers, **options)


@pytest.mark.parametrize(
    ("factory", "layer"),
    [(Branching, "stem"), (Branching, "block.hidden"), (Branching, "head"), (TwoNames, "last")],
)
def test_values_are_the_networks_own_also_in_a_copy_and_in_threads(factory, layer):
    network = load_backbone(factory, image_size=32, random_state=0).network
    seen = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        network(X)
    right = seen["block"]["hidden"] if layer == "block.hidden" else seen[layer]
    with pytest.warns(UserWarning, match="read by hooks"):
        trunk = build(factory, layer)
    assert isinstance(trunk._way, HookedNetwork)
    assert trunk.layers == (layer.replace(".hidden", "[hidden]"),)
    with torch.no_grad():
        for same in (trunk, copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
            torch.testing.assert_close(same(X)[0], right, rtol=0, atol=0)
            assert same.key("whole") == trunk.key("whole")
    with ThreadPoolExecutor(4) as pool:
        for scale, value in enumerate(pool.map(lambda s: trunk(X * s)[0], range(16))):
            torch.testing.assert_close(value, trunk(X * scale)[0], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Branching cannot be cut")
def test_frozen_layers_get_no_gradient_and_later_ones_are_not_run():
    trunk = build(Branching, "block[hidden]", freeze_up_to="stem")
    trunk(X)[0].sum().backward()
    with_gradient = {n for n, p in trunk.network.named_parameters() if p.grad is not None}
    assert with_gradient == {"block.conv.weight", "block.conv.bias"}
    assert not trunk.has_prefix


class Attending(nn.Module):
    """Parts that are used but never called, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.decoder, self.stem = nn.Linear(4, 4), nn.Conv2d(3, 4, 8, 8)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.encoder = nn.LayerNorm(4), nn.Linear(4, 4)
        self.encoder.weight = self.decoder.weight

    def forward(self, x):
        x = self.stem.forward(x).flatten(2).transpose(1, 2)
        if x.sum() > 1e9:
            return x
        x = self.norm(self.attention(x, x, x)[0])
        return self.decoder(self.encoder(x))


ATTENTION = {f"attention.{name}" for name in ("in_proj_weight", "in_proj_bias")} | {
    f"attention.out_proj.{name}" for name in ("weight", "bias")
}
AFTER = {"norm.weight", "norm.bias", "decoder.weight", "encoder.bias"}


@pytest.mark.filterwarnings("ignore:Attending cannot be cut")
@pytest.mark.parametrize(
    ("frozen", "trained"),
    [
        ({}, {"stem.weight", "stem.bias", *ATTENTION, *AFTER}),
        ({"freeze_up_to": "attention"}, AFTER),
        ({"freeze_from": "attention"}, {"stem.weight", "stem.bias"}),
        ({"freeze_up_to": "encoder"}, set()),
    ],
)
def test_parts_that_are_never_called_are_frozen_with_what_uses_them(frozen, trained):
    trunk = build(Attending, "encoder", **frozen)
    assert {n for n, p in trunk.network.named_parameters() if p.requires_grad} == trained


class Thrice(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        if x.sum() > 1e9:
            return x
        return self.again(self.again(self.again(x)))


@pytest.mark.filterwarnings("ignore:Thrice cannot be cut")
@pytest.mark.parametrize("frozen", [{"freeze_from": "again_1"}, {"freeze_from": "again"}])
def test_a_module_with_a_frozen_call_is_frozen(frozen):
    trunk = build(Thrice, "again_2", **frozen)
    named = dict(trunk.network.named_parameters())
    assert {n for n, p in named.items() if p.requires_grad} == {"stem.weight", "stem.bias"}
    behind = build(Thrice, "again_1", freeze_from="again_2")
    assert all(p.requires_grad for p in behind.network.parameters())


class Rarely(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bright = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.stem(x) if x.mean() > 1 else self.bright(self.stem(x))


@pytest.mark.filterwarnings("ignore:Rarely cannot be cut")
def test_a_layer_that_some_images_do_not_reach_raises_an_error():
    trunk = build(Rarely, "bright")
    with pytest.raises(ValueError, match="did not call its layer 'bright' for all images"):
        trunk(X + 9)


@pytest.mark.filterwarnings("ignore:Branching cannot be cut")
def test_layers_are_frozen_from_one_on():
    trunk = build(Branching, "head", freeze_from="block")
    trunk(X)[0].sum().backward()
    with_gradient = {n for n, p in trunk.network.named_parameters() if p.grad is not None}
    assert with_gradient == {"stem.weight", "stem.bias"}
    trunk.check_frozen()  # nothing is kept, so that anything may be trained
    before = {part: trunk.key(part) for part in ("prefix", "whole")}
    with torch.no_grad():
        trunk.network.stem.bias += 1
    assert trunk.key("prefix") == before["prefix"]  # the photographs as they are
    assert trunk.key("whole") != before["whole"]
    trunk.network.head.requires_grad_(True)
    trunk.check_frozen()


def test_the_last_layer_of_a_network_that_is_not_cut_must_be_named():
    with pytest.raises(ValueError, match="last layer is not known: name the layer. Valid .*head"):
        build(Branching, None)


def test_a_random_network_is_refused():
    with pytest.raises(ValueError, match="random in evaluation mode"):
        build(Random, "last")


class WorksOnItsInput(nn.Module):
    """Changes the tensor it is given, before anything else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=2)

    def forward(self, x):
        x.sub_(0.5)
        return self.conv(x)


class TwoValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.both = nn.Conv2d(3, 4, 5, stride=2), Both()

    def forward(self, x):
        first, second = self.both(self.conv(x))
        return first + second


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.mix(x), 2 * x


def eager(backbone, images, layer, item=None):
    loaded, found = load_backbone(backbone, None, image_size=SIZE, random_state=0), []

    def keep(_module, _inputs, output):
        found.append((output if item is None else output[item]).clone())

    dict(loaded.network.named_modules())[layer].register_forward_hook(keep)
    with torch.no_grad():
        loaded.network(loaded.preprocessing(images))
    return found[0].flatten(1).numpy()


@pytest.mark.filterwarnings("ignore:.*cannot be cut")
def test_a_network_that_works_on_its_input_gives_its_own_values():
    images = make_images(4)
    pairs = ImagePairs(images)
    read = features_of("conv", backbone=WorksOnItsInput).fit(pairs)
    expected = eager(WorksOnItsInput, images, "conv")
    for _ in range(2):  # the second time finds the images as they were
        assert_close(read.transform(images), expected)


@pytest.mark.filterwarnings("ignore:.*cannot be cut")
class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.last = Block(), nn.Conv2d(4, 2, 1)
        self.stem = nn.Conv2d(3, 4, 4, 4)

    def forward(self, x):
        return self.last(self.block(self.stem(x))["hidden"])


@pytest.mark.filterwarnings("ignore:Named cannot be cut")
def test_an_item_is_read_by_its_name_also_where_torch_fx_goes_through():
    hidden = build(Named, "block.hidden")(X)[0]
    assert torch.equal(hidden, build(Named, "block[hidden]")(X)[0])
    assert torch.equal(
        hidden, build(Named, "last").network.block.conv(build(Named, "stem")(X)[0]).relu()
    )
    with pytest.raises(ValueError, match=r"no item \[conf\].*'block\[hidden\]', 'block\[input\]'"):
        build(Named, "block.conf")


def test_an_item_of_a_module_that_torch_fx_goes_through_can_be_read():
    images = make_images(4)
    for item in (0, 1):
        read = features_of(f"both[{item}]", backbone=TwoValues).fit(ImagePairs(images))
        assert_close(read.transform(images), eager(TwoValues, images, "both", item))


SOURCE = """
class Redefined(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 5, stride=2), nn.Identity()

    def forward(self, x):
        x = self.conv(x)
        if x.sum() > 1e9:
            return x
        return self.last([FACTOR * y for y in [x]][0])
"""


@pytest.mark.filterwarnings("ignore:.*cannot be cut")
def test_a_class_that_was_changed_in_a_running_process_is_not_found_in_the_store(tmp_path):
    images, found = make_images(3), []
    for factor in ("2.0", "3.0"):
        namespace = {"nn": nn, "__name__": __name__}
        exec(SOURCE.replace("FACTOR", factor), namespace)
        read = features_of("last", backbone=namespace["Redefined"], memory=tmp_path)
        found.append(read.fit(ImagePairs(images)).transform(images))
    assert_close(found[1], 1.5 * found[0])


class Pair(nn.Module):
    """Its first part returns a tuple of a map and a dict."""

    def __init__(self):
        super().__init__()
        self.part, self.last = _Part(), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        first, named = self.part(x)
        return self.last(first) + named["wide"].mean()


class _Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.wide = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5)

    def forward(self, x):
        return self.conv(x), {"wide": self.wide(x)}


@pytest.mark.filterwarnings("ignore:Pair cannot be cut")
@pytest.mark.parametrize("name", ["part[1][wide]", "part[1]['wide']"])
def test_an_item_of_an_item(name):
    images = make_images(2)
    params = {"image_size": 24, "random_state": 0}
    found = LayerActivations(Pair, name, **params).fit_transform(images)
    expected = LayerActivations(Pair, "part.wide", **params).fit_transform(images)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Pair cannot be cut")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "part",
            r"its value is of type tuple, with the items 'part\[0\]', 'part\[1\]'. Read out one",
        ),
        ("part[1]", r"its value is of type dict, with the items 'part\[1\]\[wide\]'. Read out one"),
        (
            "part[2]",
            r"'part' has no item \[2\]: its value is of type tuple, with the items 'part\[0\]'",
        ),
        ("part[1][deep]", r"has no item \[1\]\[deep\]"),
    ],
)
def test_what_is_no_activation_names_the_items(name, message):
    with pytest.raises(ValueError, match=message):
        LayerActivations(Pair, name, image_size=24, random_state=0).fit(make_images(2))
