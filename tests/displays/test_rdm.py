import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import rankdata

from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerEpochDisplay,
    RDMDisplay,
    RDMEmbeddingDisplay,
    RDMScoresDisplay,
    ResponsePatterns,
)

UPPER = np.triu_indices(6, 1)


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


def test_a_pair_that_no_subject_has_is_drawn_grey(pairs, rdm, recwarn):
    subjects = np.column_stack([rdm[UPPER], rdm[UPPER]])
    subjects[4] = np.nan
    display = RDMDisplay.from_predictions(pairs, subjects, rdm[UPPER], sort_groups=False)
    assert [str(one.message) for one in recwarn] == []
    assert np.isnan(drawn(display)[UPPER]).nonzero()[0].tolist() == [4]


def test_images_and_response_patterns_are_drawn_as_their_pairs():
    rng = np.random.default_rng(0)
    images, rdm = rng.random((6, 4)), rng.random((6, 6))
    patterns = ResponsePatterns([rng.random((6, 5)), rng.random((6, 3))])
    pairs, dissim = patterns.to_pairs(images)
    expected = RDMDisplay.from_predictions(pairs, dissim, rdm[tuple(pairs.index.T)])
    for y_pred in (rdm, rdm[tuple(pairs.index.T)]):
        display = RDMDisplay.from_predictions(images, patterns, y_pred)
        np.testing.assert_array_equal(display.rdms, expected.rdms)
    model = FixedRSARegressor().fit(images, patterns)
    drawn = RDMDisplay.from_estimator(model, images, patterns)
    np.testing.assert_array_equal(drawn.rdms[0], expected.rdms[0])
    np.testing.assert_allclose(drawn.rdms[1], model.transform(images), atol=1e-12)


def test_a_prediction_of_images_without_a_colour_bar(rdm, pairs):
    display = RDMDisplay.from_estimator(Doubler(rdm), pairs.images, scale=None, colorbar=False)
    np.testing.assert_allclose(np.nan_to_num(drawn(display)), 2 * rdm)
    assert display.colorbar_ is None
    assert display.image_groups is None
    assert len(display.figure_.axes) == 1


def test_masked_values_are_drawn_grey(pairs, rdm):
    hidden = np.ma.masked_array(rdm[UPPER], mask=np.arange(len(pairs)) == 2)
    missing = hidden.filled(np.nan)
    drawn = [RDMDisplay.from_predictions(pairs, y, y).ims_ for y in (hidden, missing)]
    for ours, expected in zip(*drawn, strict=True):
        np.testing.assert_array_equal(ours.get_array().filled(-1), expected.get_array().filled(-1))


def test_an_asymmetric_matrix_has_no_ranks(rdm):
    with pytest.raises(ValueError, match="symmetric"):
        RDMDisplay(np.triu(rdm)).plot(scale="rank")
