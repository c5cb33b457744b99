"""What all displays share."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_rdm._displays._drawing import image_style, legend_above, one_axes, score_label


def test_given_axes_are_drawn_on_and_none_makes_a_figure():
    given = plt.subplots()[1]
    assert one_axes(given, (1, 1)) is given
    made = one_axes(None, (3, 2))
    np.testing.assert_array_equal(made.figure.get_size_inches(), (3, 2))


def test_missing_values_have_a_colour_that_is_not_in_the_map():
    cmap = image_style()["cmap"]
    colours = cmap(np.linspace(0, 1, 256))
    assert np.abs(colours[:, :3] - np.array(cmap.get_bad())[:3]).sum(axis=1).min() > 0.05


@pytest.mark.parametrize(("width", "rows"), [(3, 4), (4, 2), (7, 1)])
def test_a_legend_has_as_many_rows_as_its_width_needs(width, rows):
    ax = plt.subplots(figsize=(width, 3))[1]
    for name in "abcd":
        ax.plot([0, 1], label=name)
    legend_above(ax)
    columns = ax.get_legend()._ncols
    assert -(-4 // columns) == rows
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1 - 1


@pytest.mark.parametrize(
    ("scoring", "label"),
    [("spearman", "Spearman's r"), ("rdm_rho_a", "rho-a"), ("cosine", "cosine"), ("mine", "mine")],
)
def test_scores_have_names_for_readers(scoring, label):
    assert score_label(scoring) == label
