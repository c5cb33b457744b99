import itertools
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from sklearn_rdm import (
    ImagePairs,
    LayerEpochDisplay,
    RDMDisplay,
    RDMEmbeddingDisplay,
    RDMScoresDisplay,
)

UPPER = np.triu_indices(6, 1)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture
def rdm():
    return squareform(pdist(np.random.default_rng(0).random((6, 4))))


@pytest.fixture
def pairs(rdm):
    images = np.random.default_rng(1).random((6, 5, 5, 3))
    return ImagePairs.from_rdms(images, rdm, image_groups=list("babacc"))[0]


class Doubler:
    """Stands for a fitted estimator: its predictions are known numbers."""

    def __init__(self, rdm):
        self.rdm = rdm

    def predict(self, X):
        return 2 * self.rdm[tuple(X.index.T)]

    def transform(self, X):
        return 2 * self.rdm


def drawn(display, panel=0):
    return display.ims_[panel].get_array().filled(np.nan)


def displays(rdm):
    return [
        RDMDisplay(rdm),
        RDMScoresDisplay([[0.1, 0.2], [0.3, 0.4]], names=["a", "b"]),
        LayerEpochDisplay([[0.1, 0.2], [0.3, 0.4]], layers=["a", "b"]),
        RDMEmbeddingDisplay([[0, 0], [1, 1], [2, 0]]),
    ]


def test_plot_returns_the_display_with_its_figure_and_shows_nothing(rdm, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    for display in displays(rdm):
        assert display.plot() is display
        assert display.figure_ in map(plt.figure, plt.get_fignums())


def test_drawing_on_given_axes_makes_no_figure(rdm):
    figure, ax = plt.subplots()
    for display in displays(rdm):
        display.plot(ax)
        assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_without_matplotlib_the_error_names_the_extra(rdm, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for display in displays(rdm):
        with pytest.raises(ImportError, match=r"pip install 'sklearn-rdm\[plot\]'"):
            display.plot()


def test_constructors_only_store(rdm):
    display = RDMDisplay(rdm, names=["x"])
    assert display.rdms is rdm
    assert not [name for name in vars(display) if name.endswith("_")]


def test_rdm_values_are_drawn_and_the_diagonal_is_not(rdm):
    image = drawn(RDMDisplay(rdm).plot())
    assert np.isnan(np.diag(image)).all()
    np.testing.assert_array_equal(image[UPPER], rdm[UPPER])
    np.testing.assert_array_equal(image, image.T)


def test_rdm_panels_share_the_limits_of_all_values(rdm):
    display = RDMDisplay([rdm, 3 * rdm], names=["a", "b"]).plot()
    assert [ax.get_title() for ax in display.axes_] == ["a", "b"]
    for image in display.ims_:
        assert image.get_clim() == (rdm[UPPER].min(), 3 * rdm[UPPER].max())


def test_rank_scale_is_scipys_ranks_of_the_known_pairs(rdm):
    rdm[0, 1] = rdm[1, 0] = np.nan
    rdm[2, 3] = rdm[3, 2] = rdm[4, 5] = rdm[5, 4]
    image = drawn(RDMDisplay(rdm).plot(scale="rank"))
    known = rdm[UPPER][1:]
    np.testing.assert_allclose(image[UPPER][1:], (rankdata(known) - 1) / (len(known) - 1))
    assert np.isnan(image[0, 1])
    assert np.isnan(image[1, 0])


def test_ranks_make_panels_of_different_units_equal(rdm):
    display = RDMDisplay([rdm, np.exp(rdm)]).plot(scale="rank")
    np.testing.assert_array_equal(drawn(display, 0), drawn(display, 1))
    assert "rank" in display.colorbar_.ax.get_ylabel()


def test_missing_values_get_the_neutral_colour_not_an_end_of_the_map(rdm):
    rdm[0, 1] = rdm[1, 0] = np.nan
    image = RDMDisplay(rdm).plot().ims_[0]
    missing, lowest, highest = image.to_rgba(
        np.ma.masked_invalid([np.nan, rdm[UPPER][1:].min(), rdm[UPPER][1:].max()])
    )
    assert missing[0] == missing[1] == missing[2] == 0.85
    assert not np.allclose(missing, lowest)
    assert not np.allclose(missing, highest)


def test_groups_are_brought_together_and_named(rdm):
    groups = np.array(list("babacc"))
    display = RDMDisplay(rdm, image_groups=groups).plot()
    order = np.argsort(groups, kind="stable")
    np.testing.assert_array_equal(drawn(display)[UPPER], rdm[np.ix_(order, order)][UPPER])
    assert [text.get_text() for text in display.axes_[0].get_yticklabels()] == ["a", "b", "c"]
    separators = {line.get_ydata()[0] for line in display.axes_[0].lines[::2]}
    assert separators == {1.5, 3.5}


def test_group_order_can_be_left_as_it_is(rdm):
    display = RDMDisplay(rdm, image_groups=list("babacc")).plot(sort_groups=False)
    np.testing.assert_array_equal(drawn(display)[UPPER], rdm[UPPER])
    assert not display.axes_[0].lines


def test_from_predictions_shows_observed_beside_predicted(pairs, rdm):
    subjects = np.column_stack([rdm[UPPER], rdm[UPPER] + 2])
    predicted = rdm[UPPER] * 5
    predicted[3] = np.nan
    display = RDMDisplay.from_predictions(pairs, subjects, predicted, scale=None, sort_groups=False)
    assert [ax.get_title() for ax in display.axes_] == ["observed", "predicted"]
    np.testing.assert_allclose(drawn(display, 0)[UPPER], rdm[UPPER] + 1)
    np.testing.assert_allclose(drawn(display, 1)[UPPER], predicted)


def test_from_predictions_refuses_trials_that_are_not_averaged(pairs, rdm):
    twice = ImagePairs.concatenate([pairs, pairs])
    trials = np.concatenate([rdm[UPPER], rdm[UPPER] + 1])
    predicted = np.concatenate([rdm[UPPER]] * 2)
    with pytest.raises(ValueError, match="images 0 and 1 .*average repeated trials first"):
        RDMDisplay.from_predictions(twice, trials, predicted)


def test_from_predictions_averages_time_points(pairs, rdm):
    course = rdm[UPPER][:, None, None] + np.arange(6.0).reshape(2, 3)
    display = RDMDisplay.from_predictions(pairs, course, rdm[UPPER], scale=None, sort_groups=False)
    np.testing.assert_allclose(drawn(display, 0)[UPPER], rdm[UPPER] + 2.5)


def test_from_predictions_ignores_a_subject_that_lacks_the_pair(pairs, rdm):
    subjects = np.column_stack([rdm[UPPER], rdm[UPPER]])
    subjects[2, 0] = np.nan
    display = RDMDisplay.from_predictions(
        pairs, subjects, rdm[UPPER], scale=None, sort_groups=False
    )
    np.testing.assert_allclose(drawn(display, 0)[UPPER], rdm[UPPER])


def test_from_predictions_draws_only_the_images_of_the_pairs(pairs, rdm):
    held_out = pairs[np.isin(pairs.index, [1, 3, 5]).all(axis=1)]
    y = rdm[tuple(held_out.index.T)]
    display = RDMDisplay.from_predictions(held_out, y, y, scale=None)
    np.testing.assert_allclose(drawn(display)[np.triu_indices(3, 1)], y)
    assert [text.get_text() for text in display.axes_[0].get_yticklabels()] == ["a", "c"]


def test_from_estimator_with_targets_draws_both(pairs, rdm):
    display = RDMDisplay.from_estimator(
        Doubler(rdm), pairs, rdm[UPPER], scale=None, sort_groups=False
    )
    np.testing.assert_allclose(drawn(display, 1), 2 * drawn(display, 0))


@pytest.mark.parametrize("n_pairs", [15, 1])
def test_from_estimator_without_targets_draws_the_prediction(pairs, rdm, n_pairs):
    used = pairs[:n_pairs].used_images
    display = RDMDisplay.from_estimator(Doubler(rdm[np.ix_(used, used)]), pairs[:n_pairs])
    assert len(display.axes_) == 1
    assert drawn(display).shape == (len(used), len(used))
    labels = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert labels == sorted(set(pairs.image_groups[used]))


@pytest.mark.parametrize(
    ("display", "params", "message"),
    [
        (RDMDisplay(np.zeros((3, 4))), {}, r"must have shape .*got \(3, 4\)"),
        (RDMDisplay(np.zeros((3, 3)), names=["a", "b"]), {}, "2 names for 1 RDMs"),
        (RDMDisplay(np.zeros((3, 3)), image_groups=["a"]), {}, r"shape \(3,\), got \(1,\)"),
        (RDMDisplay(np.zeros((3, 3))), {"scale": "log"}, "scale must be one of"),
        (RDMDisplay(np.zeros((2, 3, 3))), {"ax": "one"}, "2 RDMs need 2 axes, got 1"),
    ],
)
def test_rdm_errors(display, params, message):
    with pytest.raises(ValueError, match=message):
        display.plot(**params)


def test_many_rdms_make_rows_of_panels():
    display = RDMDisplay(np.random.default_rng(0).random((6, 3, 3))).plot()
    assert len(display.axes_) == 6
    assert len({ax.get_position().y0.round(3) for ax in display.axes_}) == 2


def test_an_rdm_without_any_value_is_drawn_grey():
    assert np.isnan(drawn(RDMDisplay(np.full((3, 3), np.nan)).plot(scale="rank"))).all()


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
    band = display.ceiling_.get_bbox()
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


def test_a_pair_that_no_subject_has_is_drawn_grey(pairs, rdm, recwarn):
    subjects = np.column_stack([rdm[UPPER], rdm[UPPER]])
    subjects[4] = np.nan
    display = RDMDisplay.from_predictions(pairs, subjects, rdm[UPPER], sort_groups=False)
    assert [str(one.message) for one in recwarn] == []
    assert np.isnan(drawn(display)[UPPER]).nonzero()[0].tolist() == [4]


def test_the_legend_says_what_the_line_of_chance_is():
    display = RDMScoresDisplay([0.2], names=["a"], null=0.1)
    for params, name in [({}, "chance"), ({"null_name": "95th percentile"}, "95th percentile")]:
        legend = display.plot(**params).ax_.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [name]


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


def test_map_keeps_distances_that_fit_in_a_plane():
    points = np.random.default_rng(0).random((5, 2))
    display = RDMEmbeddingDisplay.from_rdm(squareform(pdist(points)))
    np.testing.assert_allclose(pdist(display.coordinates), pdist(points), atol=0.02)
    assert display.stress < 0.02


def test_map_stress_is_kruskals_stress_1(rdm):
    display = RDMEmbeddingDisplay.from_rdm(rdm, random_state=0)
    d = squareform(pdist(display.coordinates))[UPPER]
    assert display.stress == pytest.approx(np.sqrt(((d - rdm[UPPER]) ** 2).sum() / (d**2).sum()))
    assert f"{display.stress:.2f}" in display.ax_.get_xlabel()


def test_map_repeats_with_the_random_state(rdm):
    first, again, other = (
        RDMEmbeddingDisplay.from_rdm(rdm, random_state=seed, n_init=1).coordinates
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_map_draws_the_images_at_their_places(pairs, rdm):
    places = np.random.default_rng(0).random((6, 2))
    display = RDMEmbeddingDisplay(
        places, images=pairs.images, image_groups=pairs.image_groups
    ).plot(thumbnail_size=30)
    np.testing.assert_array_equal([marker.xy for marker in display.markers_], places)
    for marker, image in zip(display.markers_, pairs.images, strict=True):
        np.testing.assert_array_equal(marker.offsetbox.get_data(), image)
        assert marker.offsetbox.get_zoom() * 5 == 30
    frames = [marker.patch.get_edgecolor() for marker in display.markers_]
    assert frames[0] == frames[2] != frames[1]
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["a", "b", "c"]


def test_map_without_images_draws_dots_by_group():
    places = np.random.default_rng(0).random((4, 2))
    display = RDMEmbeddingDisplay(places, image_groups=["x", "y", "x", "y"]).plot()
    np.testing.assert_array_equal(display.markers_[0].get_offsets(), places[::2])


@pytest.mark.parametrize(
    ("rdm", "message"),
    [
        ([[0, 1], [np.nan, 0]], "every dissimilarity"),
        ([[0, -1, 1], [-1, 0, 1], [1, 1, 0]], "0 pairs are NaN and 1 negative"),
        ([[0, 1, 2]], r"got \(1, 3\)"),
    ],
)
def test_map_refuses_what_has_no_distance(rdm, message):
    with pytest.raises(ValueError, match=message):
        RDMEmbeddingDisplay.from_rdm(rdm)


def test_map_refuses_images_that_do_not_match():
    with pytest.raises(ValueError, match=r"\(3, height, width, 3\), got \(2, 4, 4, 3\)"):
        RDMEmbeddingDisplay(np.eye(3)[:, :2], images=np.zeros((2, 4, 4, 3))).plot()
    with pytest.raises(ValueError, match=r"coordinates must have shape"):
        RDMEmbeddingDisplay(np.eye(3)).plot()


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
        assert len(name) > 10
    for artist in [display.ax_.get_legend(), *labels]:
        box, figure = artist.get_window_extent(), display.figure_.bbox
        assert box.x0 >= figure.x0
        assert box.x1 <= figure.x1
        assert box.y0 >= figure.y0
        assert box.y1 <= figure.y1
