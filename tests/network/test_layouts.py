"""Which axes are space is found from what made a map and from its shape."""

import pytest
import torch
from torch import nn

from sklearn_rdm._network._layouts import find_layout, to_features


@pytest.mark.parametrize(
    ("shape", "module", "layout"),
    [
        ((2, 96, 56, 56), None, "channels_first"),
        ((2, 56, 56, 96), None, "channels_last"),
        ((2, 8, 8, 8), nn.Conv2d(1, 1, 1), "channels_first"),
        ((2, 8, 8, 8), nn.LayerNorm(8), "channels_last"),
        ((2, 8, 8, 8), None, None),
        ((2, 3, 197, 197), None, None),
        ((2, 197, 64), None, "tokens"),
        ((2, 10), None, "vector"),
        ((2, 3, 4, 5, 6), None, None),
    ],
)
def test_layout(shape, module, layout):
    assert find_layout(shape, (224, 224), module, n_tokens={197}) == layout


def test_pooling_averages_space_whichever_way_channels_lie():
    x = torch.rand(3, 5, 6, 6)
    last = x.permute(0, 2, 3, 1)
    for size in [(1, 1), (2, 3)]:
        assert torch.allclose(
            to_features(x, "channels_first", size), to_features(last, "channels_last", size)
        )
    assert torch.allclose(to_features(last, "channels_last", (1, 1)), x.mean((2, 3)))
    with pytest.raises(ValueError, match="which axes are height and width"):
        to_features(x, None, (1, 1))
    with pytest.raises(ValueError, match="are tokens"):
        to_features(x[:, :, 0], "tokens", (1, 1))
