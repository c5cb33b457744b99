import numpy as np
import pytest

from sklearn_rdm import LayerScoresDisplay

pandas = pytest.importorskip("pandas")


def make_table(targets=("early", "late"), ceiling=0.5, chance=0.1):
    layers = ["conv1", "conv2", "conv3"]
    return pandas.DataFrame(
        {
            "target": np.repeat(targets, 3),
            "layer": layers * len(targets),
            "score": np.arange(3 * len(targets)) / 10,
            "ceiling_lower": ceiling,
            "ceiling_upper": ceiling + 0.1,
            "chance": chance,
        }
    )


@pytest.mark.parametrize("n_targets", [1, 2, 4])
def test_draws_every_target_with_ceiling_and_chance(n_targets):
    table = make_table([f"area {i}" for i in range(n_targets)])
    display = LayerScoresDisplay(table).plot()
    assert [ax.get_title() for ax in display.axes_] == [f"area {i}" for i in range(n_targets)]
    for number, line in enumerate(display.lines_):
        np.testing.assert_allclose(line.get_ydata(), table["score"][3 * number : 3 * number + 3])
    box = display.ceilings_[0].get_extents().transformed(display.axes_[0].transData.inverted())
    np.testing.assert_allclose([box.y0, box.y1], [0.5, 0.6])
    np.testing.assert_allclose(display.chances_[-1].get_ydata(), 0.1)
    assert [t.get_text() for t in display.axes_[0].get_xticklabels()] == ["conv1", "conv2", "conv3"]


def test_the_legend_hides_neither_scores_nor_ceiling():
    display = LayerScoresDisplay(make_table()).plot()
    display.figure_.draw_without_rendering()
    bottom = display.axes_[0].get_legend().get_window_extent().y0
    highest = [display.lines_[0].get_window_extent().y1, display.ceilings_[0].get_extents().y1]
    assert bottom > max(highest)


def test_missing_ceiling_and_chance_are_not_drawn():
    display = LayerScoresDisplay(make_table(["early"], ceiling=np.nan, chance=np.nan)).plot()
    assert display.ceilings_ == display.chances_ == [None]


def test_draws_on_given_axes():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2)
    display = LayerScoresDisplay(make_table()).plot(axes)
    assert display.figure_ is figure
    with pytest.raises(ValueError, match="2 targets need 2 axes, got 1"):
        LayerScoresDisplay(make_table()).plot(axes[0])


@pytest.mark.parametrize("table", [make_table().drop(columns="chance"), make_table()[:0]])
def test_other_tables_raise(table):
    with pytest.raises(ValueError, match="must be one of score_layers"):
        LayerScoresDisplay(table).plot()
