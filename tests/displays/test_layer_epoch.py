import numpy as np
import pytest

from sklearn_rdm import LayerEpochDisplay


def test_the_chosen_cell_is_framed():
    surface = np.arange(6.0).reshape(2, 3)
    display = LayerEpochDisplay(
        surface, layers=["conv1", "conv2"], epochs=[10, 20, 30], chosen=("conv2", 30)
    ).plot()
    np.testing.assert_array_equal(display.im_.get_array(), surface)
    assert display.mark_.get_bbox().bounds == (1.5, 0.5, 1, 1)
    assert display.ax_.get_title() == "chosen: conv2, epoch 30 (5.00)"
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["10", "20", "30"]


def test_no_cell_is_framed_unless_one_was_chosen():
    display = LayerEpochDisplay([[0.1, 0.2]], layers=["a"]).plot()
    assert display.mark_ is None
    assert not display.ax_.patches


def test_many_epochs_get_round_ticks():
    display = LayerEpochDisplay(np.zeros((2, 250)), layers=["a", "b"]).plot()
    ticks = [int(text.get_text()) for text in display.ax_.get_xticklabels()]
    assert ticks == [50, 100, 150, 200, 250]
    assert list(display.ax_.get_xticks()) == [tick - 1 for tick in ticks]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layers": ["a", "b"]}, r"surface must have shape \(2, n_epochs\)"),
        ({"epochs": [1]}, r"epochs must have shape \(2,\)"),
        ({"chosen": ("fc9", 1)}, r"'fc9', 1\) is not in the surface"),
        ({"chosen": ("a", 3)}, "is not in the surface"),
    ],
)
def test_layer_epoch_errors(params, message):
    with pytest.raises(ValueError, match=message):
        LayerEpochDisplay([[0.1, 0.2]], **{"layers": ["a"], **params}).plot()
