"""Which axes are space is found from what made a map and from its shape."""

import pytest
from torch import nn

from sklearn_rdm._network._layouts import find_layout


@pytest.mark.parametrize(
    ("shape", "module", "layout"),
    [
        ((2, 96, 56, 56), None, "channels_first"),
        ((2, 56, 56, 96), None, "channels_last"),
        ((2, 8, 8, 8), nn.Conv2d(1, 1, 1), "channels_first"),
        ((2, 8, 8, 8), nn.LayerNorm(8), "channels_last"),
        ((2, 8, 8, 8), None, None),
        ((2, 3, 197, 197), None, None),
        ((2, 197, 64), None, None),
        ((2, 10), None, "vector"),
        ((2, 3, 4, 5, 6), None, None),
    ],
)
def test_layout(shape, module, layout):
    assert find_layout(shape, (224, 224), module, n_tokens={197}) == layout
