"""The network that parameters describe, also once they are changed."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Freezer, Unfreezer

from sklearn_rdm import SiameseRDMRegressor
from sklearn_rdm.losses import CorrelationLoss
from tests.network.textbook import _names
from tests.networks import TinyNetwork, changed, make_pairs, same_bits, tiny_net, weights


def test_parameter_groups_name_layers():
    pairs, y = make_pairs()
    options = {"weights": None, "image_size": 64, "max_epochs": 1, "lr": 0.01, "random_state": 0}
    groups = [("conv1", {"lr": 0.0, "weight_decay": 0.0})]
    net = SiameseRDMRegressor("alexnet", "conv2", optimizer__param_groups=groups, **options).fit(
        pairs, y
    )
    fresh = SiameseRDMRegressor("alexnet", "conv2", **options).initialize()
    for number, same in ((0, True), (3, False)):
        ours = net.module_.trunk.network.features[number].weight
        assert torch.equal(ours, fresh.module_.trunk.network.features[number].weight) == same
    assert net.get_params()["optimizer__param_groups"] is groups
    with pytest.raises(ValueError, match="pattern 'conv9' matches no layer.*conv1"):
        clone(net).set_params(optimizer__param_groups=[("conv9", {"lr": 0.0})]).fit(pairs, y)


@pytest.mark.parametrize("later", [None, "conv1"])
def test_layers_are_unfrozen_between_calls_of_partial_fit(later):
    """The cut moves; an uncut network whose early layers are frozen by skorch is the reference."""
    pairs, y = make_pairs(10)
    options = {"optimizer": torch.optim.SGD, "lr": 0.05, "max_epochs": 2}
    net = tiny_net(freeze_up_to="relu2", **options).fit(pairs, y)
    net.set_params(freeze_up_to=later).partial_fit(pairs, y)
    opened = ["*conv2*", "*bn2*"] + (["*conv1*", "*bn1*"] if later is None else ["*bn1*"])
    frozen = [("first", Freezer(["*conv1*", "*bn1*", "*conv2*", "*bn2*"]))]
    frozen += [(name, Unfreezer(name, at=3)) for name in opened]
    expected = tiny_net(callbacks=frozen, **options | {"max_epochs": 4}).fit(pairs, y)
    assert_same_weights(net, expected)
    assert net.module_.trunk.has_prefix == (later is not None)
    np.testing.assert_allclose(net.predict(pairs), expected.predict(pairs), atol=1e-6)
    assert len(net.history) == 4


def test_layers_that_are_frozen_later_are_left_as_training_made_them():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=1).fit(pairs, y)
    before = {name: value.clone() for name, value in net.module_.trunk.network.state_dict().items()}
    net.set_params(freeze_up_to="relu1").partial_fit(pairs, y)
    after = net.module_.trunk.network.state_dict()
    moved = {
        name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])
    }
    assert "conv1" not in moved
    assert {"conv2", "conv3"} <= moved


def test_a_cut_that_cannot_be_moved_leaves_the_network_as_it_was():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=1).fit(pairs, y)
    before = net.predict(pairs)
    with pytest.raises(ValueError, match="nothing is left to train"):
        net.set_params(freeze_up_to="relu3").partial_fit(pairs, y)
    np.testing.assert_array_equal(net.predict(pairs), before)
    net.set_params(freeze_up_to=None).partial_fit(pairs, y)


@pytest.mark.parametrize(
    ("params", "continues"),
    [
        ({"module__dropout": True}, False),
        ({"module__freeze_batch_norm": False, "lr": 0.01}, False),
        ({"optimizer": torch.optim.Adam, "lr": 0.01}, True),
        ({"optimizer": torch.optim.Adam, "optimizer__betas": (0.5, 0.9)}, True),
        ({"optimizer__momentum": 0.9, "optimizer__nesterov": True}, True),
        ({"optimizer__param_groups": [("conv3", {"lr": 0.0})]}, True),
        ({"criterion": CorrelationLoss}, True),
        ({"criterion": torch.nn.SmoothL1Loss, "criterion__beta": 0.5}, True),
    ],
)
def test_what_is_set_leaves_the_trained_network_as_it_is(params, continues):
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    trained = weights(net)
    net.set_params(**params)
    assert same_bits(net, trained)
    if continues:
        assert not same_bits(net.partial_fit(pairs, y), trained)
    else:
        with pytest.raises(ValueError, match="was (True|False) when the network was built"):
            net.partial_fit(pairs, y)
    assert same_bits(net.fit(pairs, y), tiny_net(**params).fit(pairs, y))


def test_what_is_set_before_training_builds_the_network_anew():
    net = tiny_net().initialize().set_params(module__dropout=True)
    assert net.module_.trunk.dropout
    groups = [("conv3", {"lr": 0.0})]
    net.fit(*make_pairs()).set_params(optimizer__param_groups=groups)
    assert net.get_params()["optimizer__param_groups"] is groups
    net.set_params(optimizer__param_groups__0__lr=0.5)
    assert net.optimizer_.param_groups[0]["lr"] == 0.5


def test_an_unknown_option_of_the_network_raises_once_it_is_built():
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y).set_params(module__dropot=True)
    with pytest.raises(TypeError, match="dropot"):
        net.fit(pairs, y)


class Detached(TinyNetwork):
    """Its first layers have an influence, but no gradient."""

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x))).detach()
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.relu3(self.conv3(self.drop(x))).flatten(1))


class Withheld(TinyNetwork):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


@pytest.mark.filterwarnings("ignore:Withheld cannot be cut")
def test_weights_without_a_gradient_do_not_decay():
    pairs, y = make_pairs()
    given = {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1}
    net = tiny_net(backbone=Detached, **given).initialize()
    before = weights(net)
    moved = changed(before, weights(net.fit(pairs, y)))
    assert _names(moved) >= {"bn2.weight", "bn2.bias", "conv3.weight", "conv3.bias"}
    assert not any("conv1" in name or "bn1" in name for name in moved)
    with pytest.raises(ValueError, match="'relu3' cannot be trained: .* without gradients"):
        tiny_net(backbone=Withheld).fit(pairs, y)


def assert_same_weights(net, expected):
    found, right = (one.module_.trunk.network.state_dict() for one in (net, expected))
    assert found.keys() == right.keys()
    for name in found:
        torch.testing.assert_close(found[name], right[name], rtol=1e-5, atol=1e-6)


def test_parameters_not_to_be_trained_have_no_gradient():
    net = tiny_net(freeze_up_to="conv2", freeze_from="fc", layer="fc").initialize()
    trained = {name for name, p in net.module_.named_parameters() if p.requires_grad}
    assert _names(trained) == {"bn2.weight", "bn2.bias", "conv3.weight", "conv3.bias"}


@pytest.mark.parametrize(
    "change", [{"noise_ratio": 1.0}, {"layer": "relu2"}, {"spatial_pooling": 1}]
)
def test_training_does_not_go_on_with_a_network_that_parameters_do_not_describe(change):
    pairs, y = make_pairs()
    net = tiny_net(warm_start=True).fit(pairs, y)
    before = net.predict(pairs)
    net.set_params(**change)
    for method in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=f"{[*change][0]} was .* fit anew"):
            method(pairs, y)
    np.testing.assert_array_equal(net.predict(pairs), before)
    net.set_params(warm_start=False).fit(pairs, y)
    assert getattr(net, [*change][0]) == [*change.values()][0]


def test_a_network_is_no_backbone():
    with pytest.raises(TypeError, match="leak between folds"):
        tiny_net(backbone=TinyNetwork()).fit(*make_pairs())


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit_are_refused(change, tmp_path):
    state = TinyNetwork().state_dict()
    if change == "missing":
        del state["conv2.weight"]
    elif change == "unknown":
        state["conv9.weight"] = torch.zeros(1)
    else:
        state["conv2.weight"] = torch.zeros(12, 9, 3, 3)
    torch.save(state, tmp_path / "weights.pth")
    name = "conv9" if change == "unknown" else "conv2"
    with pytest.raises(ValueError, match=rf"weights do not fit the network.*{name}\.weight"):
        tiny_net(weights=tmp_path / "weights.pth").fit(*make_pairs())


def test_random_state_instance_goes_on():
    pairs, y = make_pairs()
    generator = np.random.RandomState(0)
    net = tiny_net(random_state=generator)
    first = weights(net.fit(pairs, y))
    assert same_bits(first, tiny_net().fit(pairs, y))
    assert not same_bits(first, net.fit(pairs, y))
