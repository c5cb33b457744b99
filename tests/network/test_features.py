"""Maps are averaged and tokens chosen along the right axes; what is unknown has to be stated."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm import LayerActivations
from sklearn_rdm._network._features import Pooling, check_pooling, state_axes, to_features
from sklearn_rdm._network._layouts import Axes
from tests.networks import make_images, make_pairs, tiny_net

FIRST, LAST = Axes(4, "channels_first"), Axes(4, "channels_last")
UNKNOWN_MAP, UNKNOWN_TOKENS = Axes(4), Axes(3)
X = torch.rand(3, 5, 6, 6, generator=torch.Generator().manual_seed(0))


def test_pooling_averages_space_whichever_way_channels_lie():
    last = X.permute(0, 2, 3, 1)
    for size in [(1, 1), (2, 3)]:
        pooling = Pooling(size)
        assert torch.allclose(to_features(X, FIRST, pooling), to_features(last, LAST, pooling))
    assert torch.allclose(to_features(last, LAST, Pooling((1, 1))), X.mean((2, 3)))


@pytest.mark.parametrize("n_prefix", [0, 1, 5])
def test_tokens_are_all_the_first_or_the_mean_of_those_behind_the_prefix(n_prefix):
    tokens = X.flatten(2)  # 5 tokens of 36 channels
    tokens = torch.cat([tokens, tokens + 1], dim=1)
    axes = Axes(3, "tokens", n_prefix, has_class=n_prefix > 0)
    assert torch.equal(to_features(tokens, axes, Pooling()), tokens.flatten(1))
    mean = to_features(tokens, axes, Pooling(tokens="mean"))
    np.testing.assert_allclose(mean, tokens.numpy()[:, n_prefix:].mean(axis=1), rtol=1e-5)
    if n_prefix:
        assert torch.equal(to_features(tokens, axes, Pooling(tokens="cls")), tokens[:, 0])
    else:
        with pytest.raises(ValueError, match=r"tokens='cls' needs a class token .* of the 10 tok"):
            to_features(tokens, axes, Pooling(tokens="cls"))


@pytest.mark.parametrize(
    ("shape", "axes", "pooling", "match"),
    [
        ((3, 5, 6, 6), UNKNOWN_MAP, Pooling((1, 1)), "spatial_pooling needs to know which axes"),
        ((3, 5, 6, 6), UNKNOWN_MAP, Pooling(tokens="mean"), "tokens='mean' needs to know which"),
        ((3, 5, 6, 6), FIRST, Pooling(tokens="cls"), r"\('n_images', 5, 6, 6\) are a map"),
        ((3, 5, 6), UNKNOWN_TOKENS, Pooling(tokens="mean"), "State it as layout"),
        ((3, 5, 6), Axes(3, "tokens"), Pooling((1, 1)), "are tokens. Set spatial_pooling=None"),
        ((3, 5, 6), Axes(3, "tokens"), Pooling(tokens="mean"), "State it as n_prefix_tokens"),
        ((3, 1, 6), Axes(3, "tokens", 1), Pooling(tokens="mean"), "all 1 tokens of this layer"),
        ((3, 5, 6), Axes(3, "tokens", 4), Pooling(tokens="cls"), "none is known to be one"),
    ],
)
def test_what_is_unknown_or_of_another_kind_is_refused(shape, axes, pooling, match):
    with pytest.raises(ValueError, match=match):
        to_features(torch.zeros(shape), axes, pooling)


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match=r"shape \('n_images', 5\) are complex numbers"):
        to_features(torch.ones(2, 5, dtype=torch.complex64), Axes(2, "vector"), Pooling())


def test_vectors_stay_as_they_are():
    vectors = torch.rand(3, 5)
    for pooling in (Pooling((1, 1)), Pooling(tokens="cls"), Pooling((2, 2), "mean")):
        assert torch.equal(to_features(vectors, Axes(2, "vector"), pooling), vectors)


def test_each_layer_takes_the_pooling_of_its_kind():
    pooling = Pooling((1, 1), "mean")
    assert torch.allclose(to_features(X, FIRST, pooling), X.mean((2, 3)))
    tokens = to_features(X.flatten(2), Axes(3, "tokens", 1), pooling)
    assert torch.allclose(tokens, X.flatten(2)[:, 1:].mean(1))


def test_check_pooling():
    assert check_pooling(2, "mean") == Pooling((2, 2), "mean")
    assert check_pooling((np.int64(2), 3), "all") == Pooling((2, 3))
    with pytest.raises(ValueError, match=r"tokens must be one of \['all', 'cls', 'mean'\], got 'm"):
        check_pooling(None, "mena")
    with pytest.raises(ValueError, match="spatial_pooling must be None, or the positive int"):
        check_pooling("7", "all")


def test_stated_axes_take_the_place_of_those_found():
    found = [UNKNOWN_MAP, Axes(3, "tokens", 1, has_class=True), Axes(2, "vector")]
    names = ["map", "tokens", None]
    stated = state_axes(found, names, "channels_last", None)
    assert stated == (LAST, *found[1:])
    assert state_axes(found, names, {"map": "channels_first"}, None) == (FIRST, *found[1:])
    assert state_axes(found, names, None, 0)[1] == Axes(3, "tokens", 0)
    assert state_axes([UNKNOWN_TOKENS], ["t"], "tokens", 2) == (Axes(3, "tokens", 2, True),)
    assert state_axes(found, names, None, None) == tuple(found)


@pytest.mark.parametrize(
    ("layout", "n_prefix", "match"),
    [
        ("tokens", None, r"layout='tokens' does not fit: activations of \['a'\] have \[4\] axes"),
        ({"a": "vector"}, None, "does not fit"),
        ({"b": "channels_last"}, None, r"layout names \['b'\], but the layers that are read are"),
        ("NHWC", None, "a layout must be one of .* got 'NHWC'"),
        (None, -1, "n_prefix_tokens must be None or an int >= 0, got -1"),
        (None, "1", "n_prefix_tokens must be"),
    ],
)
def test_statements_that_do_not_fit_are_refused(layout, n_prefix, match):
    with pytest.raises(ValueError, match=match):
        state_axes([UNKNOWN_MAP], ["a"], layout, n_prefix)


class Square(nn.Module):
    """A function makes a map whose sides are as long as it has channels, of one size of images."""

    def __init__(self):
        super().__init__()
        self.conv, self.places = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.zeros(6, 6, 6))

    def forward(self, x):
        return torch.relu(self.conv(x)).permute(0, 2, 3, 1) + self.places


def test_a_map_of_unknown_axes_is_pooled_once_they_are_stated():
    images = make_images(4)
    options = {"image_size": 24, "random_state": 0}
    whole = LayerActivations(Square, "add", **options).fit_transform(images)
    pooled = {"spatial_pooling": 1} | options
    with pytest.raises(ValueError, match="State it as layout"):
        LayerActivations(Square, "add", **pooled).fit(images)
    maps = whole.reshape(4, 6, 6, 6)
    for layout, axes in (("channels_last", (1, 2)), ("channels_first", (2, 3))):
        stated = LayerActivations(Square, "add", layout=layout, **pooled)
        expected = maps.mean(axis=axes)
        np.testing.assert_allclose(stated.fit_transform(images), expected, rtol=1e-5)


def test_a_trained_network_takes_the_statement_too():
    pairs, y = make_pairs()
    options = {"backbone": Square, "layer": "add", "spatial_pooling": 1, "image_size": 24}
    with pytest.raises(ValueError, match="module__layout"):
        tiny_net(**options).fit(pairs, y)
    nets = [
        tiny_net(module__layout=layout, **options).fit(pairs, y)
        for layout in ("channels_last", {"add": "channels_first"})
    ]
    assert not np.allclose(*(net.predict(pairs) for net in nets))


def test_activations_are_kept_apart_by_what_is_made_of_them(tmp_path):
    images = make_images(4)
    options = {"image_size": 24, "random_state": 0, "spatial_pooling": 1}
    for layout in ("channels_last", "channels_first"):
        found = [
            LayerActivations(Square, "add", layout=layout, memory=memory, **options)
            for memory in (tmp_path, tmp_path, None)
        ]
        first, again, alone = (features.fit_transform(images) for features in found)
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, alone)
