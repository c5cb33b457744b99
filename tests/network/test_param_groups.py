"""Options by layer take the names of layers, and a pattern must match."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._param_groups import check_group_options, expand_param_groups
from sklearn_rdm._network._trunk import Trunk


@pytest.fixture(scope="module")
def trunk():
    return Trunk(load_backbone("alexnet", None, image_size=64, random_state=0), ["conv3"])


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [("conv1", [0]), ("conv[12]", [0, 3]), ("features.3", [3]), ("whole.network.*", [0, 3, 6])],
)
def test_layers_stand_for_their_parameters(trunk, pattern, layers):
    groups = expand_param_groups(nn.ModuleDict({"whole": trunk}), trunk, [(pattern, {"lr": 1})])
    assert groups == [
        (f"whole.network.features.{layer}.{part}", {"lr": 1})
        for layer in layers
        for part in ("weight", "bias")
    ]


def test_a_pattern_that_matches_nothing_raises(trunk):
    with pytest.raises(ValueError, match=r"'conv9\*' matches no layer"):
        expand_param_groups(trunk, trunk, [("conv9*", {})])


@pytest.mark.parametrize(
    "groups", ["conv1", {"conv1": {"lr": 0.1}}, [("conv1", 0.1)], [("conv1",)]]
)
def test_what_is_no_list_of_groups_raises(trunk, groups):
    with pytest.raises(ValueError, match="must be a list of patterns of layers with their options"):
        expand_param_groups(trunk, trunk, groups)


def test_options_that_the_optimizer_would_not_notice_raise():
    check_group_options(torch.optim.SGD, [("conv1.weight", {"lr": 0.1, "momentum": 0.9})])
    check_group_options(lambda params, **options: None, [("conv1.weight", {"own": 0.1})])
    with pytest.raises(
        ValueError, match="SGD has no option 'lrr', as given for 'conv1.weight'.* lr"
    ):
        check_group_options(torch.optim.SGD, [("conv1.weight", {"lrr": 0.1})])


def test_the_exported_network_is_whole_and_tuned():
    backbone = load_backbone("resnet18", None, image_size=64, random_state=0)
    last = backbone.network.fc.weight.detach().clone()
    trunk = Trunk(backbone, ["layer2"])
    with torch.no_grad():
        trunk.network.conv1.weight.mul_(2)
    plain = resnet18()
    plain.load_state_dict(trunk.export_network().state_dict(), strict=True)
    assert torch.equal(plain.conv1.weight, trunk.network.conv1.weight)
    assert torch.equal(plain.fc.weight, last)
    x, seen = torch.rand(2, 3, 64, 64), []
    plain.layer2.register_forward_hook(lambda *given: seen.append(given[-1]))
    with torch.no_grad():
        plain.eval()(x)
        assert torch.equal(trunk(x)[0], seen[0])


def test_a_layer_that_is_kept_must_stay_frozen():
    trunk = Trunk(load_backbone("alexnet", None, image_size=64), ["conv3"], freeze_up_to="conv2")
    trunk.check_frozen()
    trunk.network.features[3].weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"'features\.3\.weight' requires a gradient"):
        trunk.check_frozen()
