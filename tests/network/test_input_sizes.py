"""Images of a size that a network can't take: the error names one that it takes."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from sklearn_rdm import LayerActivations
from sklearn_rdm._network._input_sizes import taken_size
from tests.networks import TinyNetwork, make_images, make_pairs, tiny_net

TINY = partial(VisionTransformer, 64, 16, 1, 2, 16, 32)


class Stubborn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        raise RuntimeError("never")


def test_a_size_that_is_stated_comes_first_and_is_tried():
    assert taken_size(TINY().eval(), (96, 96)) == (64, 64)
    lying = TinyNetwork().eval()
    lying.image_size = 64
    assert taken_size(lying, (64, 64)) == (48, 48)
    assert taken_size(Stubborn(), (64, 64)) is None


@pytest.mark.parametrize(
    ("factory", "layer", "size", "taken"),
    [(TINY, "heads", 96, 64), (TINY, "heads", (64, 96), 64), (TinyNetwork, "fc", 64, 48)],
)
def test_the_error_names_a_size_that_works(factory, layer, size, taken):
    images = make_images(3)
    read = LayerActivations(factory, layer, random_state=0, image_size=size)
    match = rf"cannot take images of .* It takes {taken} x {taken} pixels: set image_size=\({taken}"
    with pytest.raises(ValueError, match=match):
        read.fit(images)
    assert read.set_params(image_size=taken).fit_transform(images).shape[0] == 3


def test_timm_transformers_at_another_size():
    timm = pytest.importorskip("timm")
    pairs, y = make_pairs(6, 64)
    network = partial(timm.create_model, "vit_tiny_patch16_224", depth=1)
    net = tiny_net(backbone=network, layer="blocks.0", image_size=64)
    with pytest.raises(ValueError, match=r"It takes 224 x 224 pixels: set image_size=\(224, 224\)"):
        net.fit(pairs, y)


@pytest.mark.filterwarnings("ignore:.*cannot be cut")
def test_transformers_networks_state_their_size():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    network = transformers.ViTModel(config).eval()
    assert taken_size(network, (96, 96)) == (64, 64)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).last_hidden_state.shape == (1, 17, 16)


def test_a_network_that_never_runs_is_an_error_too():
    with pytest.raises(ValueError, match=r"cannot take images of 24 x 24 pixels \(never\)\. It r"):
        LayerActivations(Stubborn, "conv", image_size=24).fit(make_images(2))
