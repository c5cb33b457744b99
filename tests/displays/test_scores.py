import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sklearn_rdm import RDMScoresDisplay
from sklearn_rdm.metrics import compare_rdm_scores


def test_score_bars_are_means_with_every_repeat_as_a_dot():
    scores = np.array([[0.1, 0.3, np.nan], [0.4, 0.5, 0.6]])
    display = RDMScoresDisplay(scores, names=["fixed", "tuned"]).plot()
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], [0.2, 0.5])
    dots = display.points_.get_offsets()
    np.testing.assert_array_equal(dots[:, 1].filled(np.nan), scores.ravel())
    np.testing.assert_allclose(dots[3:, 0] - dots[:3, 0], 1)  # one subject, one place
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["fixed", "tuned"]


def test_score_references_lie_where_they_were_given():
    display = RDMScoresDisplay(
        [0.2, 0.3],
        names=["a", "b"],
        errors=[[0.15, 0.3], [0.2, 0.35]],
        noise_ceiling=(0.4, 0.5),
        null=[0.01, 0.02],
    ).plot()
    spans = [path.vertices[:, 1] for path in display.errors_[2][0].get_paths()]
    np.testing.assert_allclose(spans, [[0.15, 0.3], [0.2, 0.35]])
    band = display.ceiling_.get_window_extent().transformed(display.ax_.transData.inverted())
    np.testing.assert_allclose([band.y0, band.y1], [0.4, 0.5])
    np.testing.assert_allclose([s[0, 1] for s in display.null_.get_segments()], [0.01, 0.02])
    labels = {text.get_text() for text in display.ax_.get_legend().get_texts()}
    assert labels == {"95 % interval", "noise ceiling", "chance"}
    assert display.points_ is None


def test_one_null_for_all_models_is_one_line():
    display = RDMScoresDisplay([0.2, -0.1], names=["a", "b"], null=0.03).plot()
    assert list(display.null_.get_ydata()) == [0.03, 0.03]
    assert display.ceiling_ is None
    assert display.errors_ is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"names": ["a"]}, r"scores must have shape \(1,\)"),
        ({"errors": [0.1, 0.1]}, r"errors must hold .*\(2, 2\)"),
        (
            {"errors": [[0.3, 0.4], [0.2, 0.4]]},
            r"must enclose .* model 0 are \[0.3, 0.4\] .* is 0.2",
        ),
        ({"errors": [[0.1, 0.4], [0.2, np.nan]]}, "must enclose .* model 1 are .* two NaN draw no"),
        ({"names": [1, 2]}, r"names must be a list of strings, one per model, got \[1, 2\]"),
        ({"names": ["a", None]}, "names must be a list of strings"),
        ({"names": "ab"}, "names must be a list of strings, one per model, got 'ab'"),
        ({"names": None}, "names must be a list of strings, one per model, got None"),
        ({"names": []}, "names is empty: give one name per model"),
        ({"noise_ceiling": 0.5}, r"noise_ceiling must be \(lower, upper\)"),
        ({"null": [0.1, 0.2, 0.3]}, "null must be one number"),
    ],
)
def test_score_errors(params, message):
    with pytest.raises(ValueError, match=message):
        RDMScoresDisplay([0.2, 0.3], **{"names": ["a", "b"], **params}).plot()


def test_a_model_without_a_score_has_neither_bar_nor_interval(recwarn):
    display = RDMScoresDisplay(
        [[0.2, 0.4], [np.nan, np.nan]],
        names=["a", "failed"],
        errors=[[0.1, 0.5], [np.nan, np.nan]],
        null=0.1,
    ).plot()
    display.figure_.canvas.draw()
    assert [str(one.message) for one in recwarn] == []
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], [0.3, np.nan])
    spans = [path.vertices[:, 1] for path in display.errors_[2][0].get_paths()]
    np.testing.assert_allclose(spans[0], [0.1, 0.5])
    assert np.isnan(spans[1:]).all()


def test_an_interval_may_be_missing_where_there_is_a_score():
    errors = [[0.1, 0.5], [np.nan, np.nan]]
    display = RDMScoresDisplay([0.2, 0.3], names=["a", "b"], errors=errors).plot()
    assert [bar.get_height() for bar in display.bars_] == [0.2, 0.3]
    assert np.isnan([path.vertices[:, 1] for path in display.errors_[2][0].get_paths()][1:]).all()


def test_the_legend_says_what_the_line_of_chance_is():
    display = RDMScoresDisplay([0.2], names=["a"], null=0.1)
    for params, name in [({}, "chance"), ({"null_name": "95th percentile"}, "95th percentile")]:
        legend = display.plot(**params).ax_.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [name]


@pytest.mark.parametrize("name", ["raw", "fine-tuned", "fine-tuned EfficientNet"])
@pytest.mark.parametrize("n_models", [1, 2, 3, 6])
def test_nothing_overlaps_or_leaves_the_figure(name, n_models):
    display = RDMScoresDisplay(
        np.linspace(0.1, 0.5, 5 * n_models).reshape(n_models, 5),
        names=[name] * n_models,
        errors=[[0, 0.6]] * n_models,
        noise_ceiling=(0.5, 0.6),
        null=0.1,
    ).plot()
    display.figure_.canvas.draw()
    labels = display.ax_.get_xticklabels()
    if labels[0].get_rotation() == 0:
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    else:
        assert max(map(len, name.split())) > 6
    for artist in [display.ax_.get_legend(), *labels]:
        box, figure = artist.get_window_extent(), display.figure_.bbox
        assert box.x0 >= figure.x0
        assert box.x1 <= figure.x1
        assert box.y0 >= figure.y0
        assert box.y1 <= figure.y1


def test_a_name_of_several_words_is_broken_rather_than_turned():
    display = RDMScoresDisplay([[0.2], [0.3]], names=["this model", "same layer, not trained"])
    labels = display.plot().ax_.get_xticklabels()
    assert [label.get_rotation() for label in labels] == [0, 0]
    assert labels[1].get_text().split() == ["same", "layer,", "not", "trained"]


def compare(n_models):
    rng = np.random.default_rng(0)
    pairs, base = np.column_stack(np.triu_indices(20, 1)), rng.random(190)
    y_true = base[:, np.newaxis] + 0.3 * rng.random((190, 9))
    models = {f"model {i}": base + 0.6 * i * rng.random(190) for i in range(n_models)}
    return compare_rdm_scores(pairs, y_true, models, n_resamples=20, random_state=0)


@pytest.mark.parametrize("n_models", [2, 16])
def test_a_comparison_is_drawn_with_the_models_that_differ(n_models):
    result = compare(n_models)
    display = RDMScoresDisplay.from_comparison(result).plot()
    assert len(display.bars_) == n_models
    grid = display.differences_
    up, down, dots = (marks.get_offsets() for marks in grid.collections)
    differs = result.pvalues_holm < 0.05
    assert differs.any()
    assert len(up) + len(down) == differs.sum()
    assert len(dots) == n_models * (n_models - 1) - differs.sum()
    for column, row in np.asarray(up, dtype=int):
        assert differs[row, column]
        assert result.scores[column] > result.scores[row]
    assert [text.get_text() for text in grid.get_yticklabels()] == result.names
    width, height = display.figure_.get_size_inches()
    assert width <= 10
    assert height <= 9
    display.figure_.canvas.draw()


def test_which_correction_is_drawn():
    result = compare(3)
    for correction, pvalues in [("holm", "pvalues_holm"), ("bh", "pvalues_bh"), (None, "pvalues")]:
        display = RDMScoresDisplay.from_comparison(result, correction=correction)
        assert display.pvalues is result[pvalues]
    with pytest.raises(ValueError, match="correction must be 'holm', 'bh' or None"):
        RDMScoresDisplay.from_comparison(result, correction="fdr")


def test_one_model_has_no_grid():
    display = RDMScoresDisplay.from_comparison(compare(1)).plot()
    assert display.differences_ is None


def test_differences_are_drawn_on_axes_that_are_given():
    display = RDMScoresDisplay.from_comparison(compare(2))
    axes = plt.subplots(2, 1, sharex=True)[1]
    display.plot(axes)
    assert display.ax_ is axes[0]
    assert display.differences_ is axes[1]
    with pytest.raises(ValueError, match="give two matplotlib Axes"):
        display.plot(plt.subplots()[1])
    with pytest.raises(ValueError, match=r"pvalues must have shape \(2, 2\)"):
        RDMScoresDisplay([1.0, 2.0], names=["a", "b"], pvalues=np.ones((3, 3))).plot()


def test_names_that_no_bar_can_hold_are_turned():
    names = ["feature-reweighted-representational-similarity", "b", "c"]
    display = RDMScoresDisplay([0.1, 0.2, 0.3], names=names).plot()
    labels = display.ax_.get_xticklabels()
    assert [label.get_text() for label in labels] == names
    assert {label.get_rotation() for label in labels} == {30}
    assert {label.get_ha() for label in labels} == {"right"}
    short = RDMScoresDisplay([0.1, 0.2], names=["b", "c"]).plot()
    assert {label.get_rotation() for label in short.ax_.get_xticklabels()} == {0}
