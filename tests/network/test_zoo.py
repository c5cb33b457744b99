"""Networks of a dozen families have their own values, gradients and axes; more when slow."""

from dataclasses import replace

import pytest

from tests.network import zoo

pytest.importorskip("timm")
DOZEN = ["squeezenet1_1", "resnet18", "swin_t", "mobilenet_v3_small", "shufflenet_v2_x0_5"]
DOZEN += ["recurrent", "recurrent areas"]
TIMM = ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "mixer_s32_224"]


def networks():
    made = zoo.torchvision_networks() | zoo.recurrent_networks()
    return {name: made[name] for name in DOZEN} | {f"timm/{n}": zoo.timm_network(n) for n in TIMM}


def assert_its_own(name, make):
    found = zoo.examine(name, make)
    assert found.n_layers >= 3
    assert found.largest_difference <= 1e-5
    assert found.largest_gradient_difference <= 1e-3
    assert found == replace(found, n_axes_right=found.n_axes_told)


@pytest.mark.parametrize("name", networks())
def test_values_gradients_and_axes_are_the_networks_own(name):
    assert_its_own(name, networks()[name])


@pytest.mark.parametrize("name", ["ViT", "CLIP", "DINOv2", "ResNet"])
def test_transformers_networks_are_read_by_hooks_rightly(name):
    pytest.importorskip("transformers")
    assert_its_own(name, zoo.transformers_networks()[f"transformers {name}"])
