import warnings

import pytest

from sklearn_rdm._network._layer_names import LayerNames, NamedLayer

NAMES = LayerNames(
    "Net",
    known={
        "conv": "conv",
        "relu": "relu",
        "relu_1": "relu_1",
        "norm": "norm",
        "block": "block.add",
        "pair": "pair",
    },
    aliases={"conv1": "conv", "twice": "norm"},
    n_calls={"relu": 2, "norm": 2},
    with_items={"pair"},
)


@pytest.mark.parametrize(
    ("name", "read_out"),
    [
        ("conv", NamedLayer("conv")),
        ("conv1", NamedLayer("conv")),
        ("block", NamedLayer("block.add")),
        ("relu_0", NamedLayer("relu")),
        ("relu_1", NamedLayer("relu_1")),
        ("pair[0]", NamedLayer("pair", (0,))),
        ("pair[1][state]", NamedLayer("pair", (1, "state"))),
        ("pair['state']", NamedLayer("pair", ("state",))),
        ("pair.state", NamedLayer("pair", ("state",))),
    ],
)
def test_names_of_layers_calls_and_items(name, read_out):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NAMES.read_out(name) == read_out


def test_a_read_out_is_named_as_it_can_be_given():
    read_out = NamedLayer("pair", (1, "state"))
    assert str(read_out) == "pair[1][state]"
    assert NAMES.read_out(str(read_out)) == read_out


def test_a_layer_that_is_called_twice_is_warned_of_unless_a_paper_names_it():
    with pytest.warns(UserWarning, match=r"'relu' 2 times .* Say 'relu_0' .* or 'relu_1'"):
        assert NAMES.read_out("relu") == NamedLayer("relu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NAMES.path("relu") == "relu"  # to freeze up to: no call is read
        assert NAMES.read_out("twice") == NamedLayer("norm")


@pytest.mark.parametrize(
    "name", ["conf", "pair.0", "conv.state", "nothing[0]", "[0]", "", "conv_0", 2]
)
def test_what_is_no_layer(name):
    with pytest.raises(ValueError, match="Net has no layer .* Valid names: conv1, twice, conv"):
        NAMES.read_out(name)


def test_close_names_are_suggested():
    with pytest.raises(ValueError, match="Did you mean 'block'"):
        NAMES.read_out("blocks")
