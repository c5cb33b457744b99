"""Cut networks against their own forward pass."""

import pytest
import torch
from torch import nn

from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._cut import (
    CannotCutError,
    CutNetwork,
    Wanted,
    check_alone,
    run_twice,
    same,
    two_photographs,
)
from tests.networks import TinyNetwork


def cut(factory=TinyNetwork, layers=("relu3",), n_trained=1, freeze=(None, None), size=48):
    backbone = load_backbone(factory, random_state=0, image_size=size)
    photographs = two_photographs((size, size))
    return backbone.network, CutNetwork(backbone, Wanted(layers, n_trained, *freeze), photographs)


@pytest.mark.parametrize("freeze_up_to", [None, "relu1", "conv2"])
def test_parts_give_what_the_network_does(freeze_up_to):
    network, parts = cut(layers=("conv3", "relu2"), freeze=(freeze_up_to, None))
    photographs = two_photographs((48, 48))
    kept = parts.prefix(photographs)
    with torch.no_grad():
        first = network.relu1(network.bn1(network.conv1(photographs)))
        second = torch.relu(network.bn2(network.conv2(first)))
        expected = network.conv3(second), second
    for found, right in zip(parts.suffix(kept), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=0)
    (trained,) = parts.to_trained(kept)
    assert torch.equal(trained, expected[0])
    assert parts.has_prefix == (freeze_up_to is not None)
    assert parts.cut == (freeze_up_to or "x")
    if freeze_up_to == "relu1":
        assert torch.equal(kept, first)


def test_what_is_frozen_kept_and_needed():
    _, parts = cut(freeze=("relu1", None))
    assert {name for name, _ in parts.kept_parameters()} == {
        f"{layer}.{name}" for layer in ("conv1", "bn1") for name in ("weight", "bias")
    }
    assert {"conv1", "bn1"} <= parts.frozen
    assert "conv2" not in parts.frozen | parts.unneeded
    assert "fc" not in parts.needed
    _, parts = cut(freeze=(None, "conv3"))
    assert {"conv3"} <= parts.frozen


def test_contents_tell_weights_apart():
    network, parts = cut(freeze=("relu1", None))
    (_, state), *_ = parts.contents("prefix")
    assert set(state) >= {"conv1.weight", "bn1.running_mean"}
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
    assert len([*parts.contents("whole")]) == 2


class Augmented(nn.Module):
    """Changes a value that has two names, which no graph shows."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        kept = x
        x += 1
        return self.last(kept)


class OnInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x.mul_(2))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


@pytest.mark.parametrize(
    ("factory", "layer", "reason"),
    [
        (Augmented, "last", "does not see all that its code does"),
        (OnInput, "conv", "works in place on its input"),
        (Branching, "conv", "torch.fx cannot follow"),
    ],
)
def test_a_graph_that_is_not_the_network_is_refused(factory, layer, reason):
    with pytest.raises(CannotCutError, match=reason):
        cut(factory, (layer,), size=24)


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x) * torch.rand(())


def test_a_random_network_and_a_wrong_size_raise_an_error():
    photographs = two_photographs((24, 24))
    with pytest.raises(ValueError, match="it is random|is random in evaluation"):
        run_twice(Random().eval(), photographs, None, "Random")
    with pytest.raises(ValueError, match=r"Tiny cannot take images of 24 x 24 pixels .* 48 x 48"):
        run_twice(TinyNetwork().eval(), photographs, None, "Tiny")
    calls = run_twice(TinyNetwork().eval(), photographs, ("conv3", 0), "Tiny")  # before it fails
    assert ("conv3", 0) in calls.values


def test_photographs_are_two_and_the_same_every_time():
    first, second = two_photographs((5, 7)), two_photographs((5, 7))
    assert first.shape == (2, 3, 5, 7)
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


ONE = torch.ones(3)


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [
        (ONE, ONE * (1 + 5e-5), True),
        (ONE, ONE * (1 + 5e-4), False),
        (ONE, ONE.double(), False),
        (ONE, ONE[:2], False),
        (ONE, None, False),
        (None, None, True),
        ((ONE, {"x": ONE}), (ONE, {"x": ONE}), True),
        ((ONE, ONE), (ONE, ONE + 1), False),
        (torch.tensor([1]), torch.tensor([2]), False),
        (ONE * torch.nan, ONE * torch.nan, True),
        (ONE * torch.nan, ONE, False),
        (torch.tensor([1.0, 0.0]), torch.tensor([1.0, 5e-5]), True),
    ],
)
def test_equal_but_for_rounding(value, other, expected):
    assert same(value, other) is expected


class SharedWeight(nn.Module):
    """A weight of its own on both sides of a layer."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([0.7, 1.3]))
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        alpha = self.alpha.sigmoid()
        return alpha[1] * self.last((alpha[0] * self.conv(x)).relu())


def test_a_weight_that_is_used_on_both_sides_of_the_layer_is_trained():
    _, parts = cut(SharedWeight, ("relu",))
    assert (parts.frozen, parts.unneeded) == (set(), {"last"})
    _, parts = cut(SharedWeight, ("mul_1",), freeze=("relu", None))
    assert {"alpha", "conv"} <= parts.frozen
    assert "last" not in parts.frozen | parts.unneeded


class Sum(nn.Module):
    def forward(self, x):
        return 2 * (x + 1)


class SameNames(nn.Module):
    """Modules that are called as torch.fx calls functions, and other modules' second calls."""

    def __init__(self):
        super().__init__()
        self.add, self.conv = Sum(), nn.Conv2d(3, 3, 1)
        self.conv_1 = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x):
        x = self.add(self.conv_1(x) + 3)
        return self.conv(self.conv(x))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", ("add", 0)),
        ("conv_1", ("conv_1", 0)),
        ("conv_0", ("conv", 0)),
        ("conv__1", ("conv", 1)),
    ],
)
@pytest.mark.filterwarnings("ignore:SameNames calls its layer")
def test_a_modules_name_means_what_a_hook_sees(name, call):
    network, parts = cut(SameNames, (name,))
    images = two_photographs((48, 48))
    right = run_twice(network, images, None, "it").values[call]
    assert same(parts.suffix(parts.prefix(images))[0], right)
    assert cut(SameNames, ("conv__1",), freeze=("add", None))[1].cut == "add.mul"


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x), x


def test_a_module_that_returns_a_tuple_can_be_frozen():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.both, self.last = Both(), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.last(self.both(x)[0])

    _, parts = cut(Network, ("last",), freeze=("both", None))
    assert (parts.frozen, parts.cut) == ({"both.conv"}, "both.conv")


def batch_statistics(x):
    return nn.functional.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize(
    "function",
    [batch_statistics, lambda x: x - x.mean(0), lambda x: x / x.abs().max(), lambda x: len(x) * x],
)
def test_what_sees_other_images_of_its_batch_raises_an_error(function):
    images = two_photographs((8, 8))
    check_alone(lambda x: [x, x.mean(1), None], images, ["all", "mean", "none"])
    with pytest.raises(ValueError, match="layer 'mixed' gives an image other .* by itself"):
        check_alone(lambda x: [x, function(x)], images, ["all", "mixed"])


def test_what_takes_no_single_image_raises_an_error():
    with pytest.raises(ValueError, match="no single image .*Expected more than 1 .* fixed numbers"):
        check_alone(lambda x: [batch_statistics(x.mean((2, 3)))], two_photographs((8, 8)), ["mean"])


class Overlapping(nn.Module):
    """torch.fx takes what comes first of several inputs for the first image."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 2, 3), nn.Linear(2 * 46 * 46, 2)

    def forward(self, *inputs):
        return self.last(self.conv(inputs[0]).flatten(1))


def test_a_graph_that_cannot_be_run_is_refused():
    with pytest.raises(CannotCutError, match="what cannot be run"):
        cut(Overlapping, ("last",))
