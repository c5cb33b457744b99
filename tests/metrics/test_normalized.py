from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import cross_val_score

from sklearn_rdm import FixedRSARegressor, ImagePairs
from sklearn_rdm.metrics import (
    noise_ceiling,
    noise_normalized_r2_score,
    noise_normalized_r2_scorer,
    rdm_spearman_score,
)
from sklearn_rdm.metrics._conventions import CONVENTIONS
from sklearn_rdm.metrics._normalized import normalized_r2_columns
from sklearn_rdm.model_selection import ImageKFold

ALGONAUTS = {"convention": "algonauts2019"}


def simulate(n_images=8, n_subjects=5, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.random(n_images * (n_images - 1) // 2)
    return signal[:, None] + 0.4 * rng.standard_normal((len(signal), n_subjects)), signal


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_one_subject_has_no_ceiling(convention):
    y, y_pred = simulate(n_subjects=1)
    for one in (y, y[:, 0]):
        with pytest.raises(ValueError, match="two or more subjects, got one"):
            noise_ceiling(one, convention=convention)
        with pytest.raises(ValueError, match="two or more subjects, got one"):
            noise_normalized_r2_score(one, y_pred)


def disjoint_subjects(n_pairs=20):
    y = np.full((n_pairs, 2), np.nan)
    y[: n_pairs // 2, 0] = y[n_pairs // 2 :, 1] = np.arange(n_pairs // 2)
    return y


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_subjects_without_common_pairs_have_no_ceiling(convention):
    absent = np.column_stack([np.arange(6.0), np.full(6, np.nan)])
    one_in_common = disjoint_subjects()
    one_in_common[0, 1] = 3
    for y in (absent, disjoint_subjects(), one_in_common, [[1.0, 2.0]]):
        for given in (y, np.repeat(np.asarray(y)[:, :, None], 3, axis=2)):
            with pytest.raises(ValueError, match="no two of these 2 have them"):
                noise_ceiling(given, convention=convention)
            with pytest.raises(ValueError, match="no two of these 2 have them"):
                noise_normalized_r2_score(given, np.arange(len(y)))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_pairs_of_one_subject_alone_are_left_out(convention):
    y, y_pred = simulate(n_subjects=3)
    y[20:, :2] = np.nan
    bounds = noise_ceiling(y, convention=convention)
    assert_allclose(bounds, noise_ceiling(y[:20], convention=convention))
    assert bounds[1] < 1
    if CONVENTIONS[convention].squared:
        score = noise_normalized_r2_score(y, y_pred, convention=convention)
        expected = noise_normalized_r2_score(y[:20], y_pred[:20], convention=convention)
        assert score == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:the score is not defined")
def test_an_undefined_ceiling_is_told():
    y, y_pred = simulate(n_subjects=2)
    y[:] = [1, 2]
    with pytest.warns(UndefinedMetricWarning, match="the noise ceiling is 0 or not defined"):
        assert np.isnan(noise_normalized_r2_score(y, y_pred))
    with pytest.warns(UndefinedMetricWarning, match="the noise ceiling is 0 or not defined"):
        assert np.isnan(noise_normalized_r2_score([y, simulate()[0]], [y_pred, y_pred]))


def test_a_fold_with_one_subject_has_no_score():
    rng = np.random.default_rng(0)
    pairs, y = ImagePairs.from_rdms(rng.random((12, 4)), rng.random((3, 66)))
    y[(pairs.index < 4).all(axis=1), 1:] = np.nan
    cv = {"cv": ImageKFold(3), "scoring": noise_normalized_r2_scorer}
    with pytest.warns(UserWarning, match="Scoring failed"):
        scores = cross_val_score(FixedRSARegressor(), pairs, y, **cv, error_score=np.nan)
    assert_array_equal(np.isnan(scores), [True, False, False])


def test_nothing_to_score_is_refused():
    for y_true, y_pred in [([], []), ((), ()), (np.empty((0, 2)), [])]:
        with pytest.raises(ValueError, match=r"hold at least one pair, got \(0"):
            noise_normalized_r2_score(y_true, y_pred)


def test_unknown_choices_are_refused():
    y, y_pred = simulate()
    with pytest.raises(ValueError, match="convention that squares"):
        noise_normalized_r2_score(y, y_pred, convention="rsatoolbox")
    with pytest.raises(ValueError, match="got 2 targets and 1 predictions"):
        noise_normalized_r2_score([y, y], [y_pred])


def test_identical_subjects_reach_one():
    y = np.repeat(simulate()[1][:, None], 3, axis=1)
    assert_allclose(noise_ceiling(y), (1, 1))
    assert noise_normalized_r2_score(y, y[:, 0]) == pytest.approx(1)


@pytest.mark.parametrize(("convention", "bound"), [("algonauts2019", 1), ("net2brain", 0)])
def test_normalized_r2_uses_the_ceiling_of_the_pairs_scored(convention, bound):
    y, y_pred = simulate()
    for rows in (slice(None), slice(0, 12)):
        squares = rdm_spearman_score(y[rows], y_pred[rows], subject_average=False) ** 2
        ceiling = noise_ceiling(y[rows], convention=convention)[bound]
        score = noise_normalized_r2_score(y[rows], y_pred[rows], convention=convention)
        assert score == pytest.approx(squares.mean() / ceiling)
        scores = noise_normalized_r2_score(
            y[rows], y_pred[rows], convention=convention, subject_average=False
        )
        assert_allclose(scores, squares / ceiling)


def test_several_targets_are_a_ratio_of_means_in_the_challenge():
    first, y_pred = simulate(seed=0)
    second, _ = simulate(n_images=6, n_subjects=3, seed=1)
    targets, predictions = [first, second], [y_pred, second[:, 0] ** 3]
    squares = [
        np.mean(rdm_spearman_score(y, p, subject_average=False) ** 2)
        for y, p in zip(targets, predictions, strict=True)
    ]
    ceilings = [noise_ceiling(y, **ALGONAUTS)[1] for y in targets]
    score = noise_normalized_r2_score(targets, predictions)
    assert score == pytest.approx(np.mean(squares) / np.mean(ceilings))
    choices = replace(CONVENTIONS["algonauts2019"], aggregation="mean_of_ratios")
    score = noise_normalized_r2_score(targets, predictions, convention=choices)
    assert score == pytest.approx(np.mean(np.divide(squares, ceilings)))
    with pytest.raises(ValueError, match="the same subjects in every target"):
        noise_normalized_r2_score(targets, predictions, subject_average=False)


def test_the_pooled_subjects_score_one_in_the_challenge():
    y, _ = simulate()
    assert noise_normalized_r2_score(y, y.mean(axis=1)) == pytest.approx(1)


def test_constant_predictions_have_no_normalized_score():
    y, y_pred = simulate()
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(noise_normalized_r2_score(y, np.ones_like(y_pred)))


def simulate_times(n_times=4, seed=0):
    rng = np.random.default_rng(seed)
    y, signal = simulate(seed=seed)
    levels = np.linspace(0.2, 2, n_times)
    return y[:, :, None] + levels * rng.standard_normal((*y.shape, n_times)), signal


def challenge_r2(y, predictions):
    """FIELD.md 3.4, written out: Spearman averaged over time points, squared, over subjects."""
    squares = []
    for subject in range(y.shape[1]):
        over_time = [spearmanr(y[:, subject, t], predictions[:, t])[0] for t in range(y.shape[2])]
        squares.append(np.mean(over_time) ** 2)
    return np.mean(squares)


def test_the_challenge_averages_over_time_then_squares():
    y, signal = simulate_times()
    upper = challenge_r2(y, y.mean(axis=1))
    assert noise_ceiling(y, **ALGONAUTS)[1] == pytest.approx(upper)
    score = challenge_r2(y, np.repeat(signal[:, None], 4, axis=1)) / upper
    assert noise_normalized_r2_score(y, signal) == pytest.approx(score)
    scores = noise_normalized_r2_score(y, signal, subject_average=False)
    assert scores.shape == (5,)
    assert scores.mean() == pytest.approx(score)
    each = rdm_spearman_score(y, signal, subject_average=False, time_average=False)
    square_first = (each**2).mean() / noise_ceiling(y, **ALGONAUTS, time_average=False)[1].mean()
    assert abs(square_first - score) > 0.01
    assert abs((each**2).mean() - (each.mean(axis=1) ** 2).mean()) > 0.01


@pytest.mark.data
def test_the_challenges_rule_on_measured_meg(load_algonauts):
    windows = [load_algonauts(92, target).rdms for target in ("meg_early", "meg_late")]
    features = load_algonauts(92, "fmri_evc").rdms.mean(axis=0)
    pairs, y = ImagePairs.from_rdms(np.zeros((92, 1)), np.stack(windows, axis=1))
    prediction = features[tuple(pairs.index.T)]
    upper = challenge_r2(y, y.mean(axis=1))
    assert noise_ceiling(y, **ALGONAUTS)[1] == pytest.approx(upper)
    assert upper < np.mean(noise_ceiling(y, **ALGONAUTS, time_average=False)[1]) - 0.01
    score = noise_normalized_r2_score(y, prediction)
    expected = challenge_r2(y, np.column_stack([prediction, prediction])) / upper
    assert score == pytest.approx(expected)


def test_each_time_point_by_itself_is_a_target_of_its_own():
    y, signal = simulate_times()
    for average in (True, False):
        scores = noise_normalized_r2_score(
            y, signal, subject_average=average, time_average=False, convention="net2brain"
        )
        expected = [
            noise_normalized_r2_score(
                y[:, :, t], signal, subject_average=average, convention="net2brain"
            )
            for t in range(4)
        ]
        assert_allclose(scores, np.transpose(expected))


def test_two_windows_of_the_challenge():
    early, signal = simulate_times(seed=0)
    late, other = simulate_times(n_times=3, seed=1)
    windows, predictions = [early, late], [signal, other]
    squares = [
        challenge_r2(y, np.repeat(p[:, None], y.shape[2], axis=1))
        for y, p in zip(windows, predictions, strict=True)
    ]
    ceilings = [challenge_r2(y, y.mean(axis=1)) for y in windows]
    score = noise_normalized_r2_score(windows, predictions)
    assert score == pytest.approx(np.mean(squares) / np.mean(ceilings))
    with pytest.raises(ValueError, match="time_average=False the same time points"):
        noise_normalized_r2_score(windows, predictions, time_average=False)
    by_time = noise_normalized_r2_score([early] * 2, [signal, other], time_average=False)
    assert by_time.shape == (4,)


def test_one_time_point_is_as_none():
    y, signal = simulate_times()
    assert noise_ceiling(y[:, :, :1]) == noise_ceiling(y[:, :, 0])
    assert noise_normalized_r2_score(y[:, :, :1], signal) == noise_normalized_r2_score(
        y[:, :, 0], signal
    )


def test_time_points_without_common_pairs_are_left_out():
    y, signal = simulate_times()
    y[:, 1:, 1] = np.nan
    others = y[:, :, [0, 2, 3]]
    for convention in CONVENTIONS:
        with pytest.warns(UndefinedMetricWarning, match="time points"):
            bounds = noise_ceiling(y, convention=convention)
        assert_allclose(bounds, noise_ceiling(others, convention=convention))
    with pytest.warns(UndefinedMetricWarning, match="time points"):
        upper = noise_ceiling(y, **ALGONAUTS, time_average=False)[1]
    assert_array_equal(np.isnan(upper), [False, True, False, False])
    with pytest.warns(UndefinedMetricWarning, match="time points"):
        score = noise_normalized_r2_score(y, signal)
    assert score == pytest.approx(noise_normalized_r2_score(others, signal))


def test_wrong_time_courses_are_refused():
    y, signal = simulate_times()
    for call in (
        lambda: noise_ceiling(y[:, :, 0], time_average=False),
        lambda: noise_normalized_r2_score(y[:, :, 0], signal, time_average=False),
    ):
        with pytest.raises(ValueError, match="got no time axis"):
            call()
    with pytest.raises(ValueError, match="two or more subjects, got one"):
        noise_ceiling(y[:, :1])


def test_a_subject_without_a_time_point_is_averaged_over_the_others():
    y, signal = simulate_times()
    y[:, 2, 1] = np.nan
    with pytest.warns(UndefinedMetricWarning, match="subject 2 at time point 1"):
        scores = noise_normalized_r2_score(y, signal, subject_average=False)
    assert np.isfinite(scores).all()
    with pytest.warns(UndefinedMetricWarning, match="1 of 20 subjects' time points"):
        upper = noise_ceiling(y, **ALGONAUTS)[1]
    expected = np.mean([spearmanr(y[:, 2, t], signal)[0] for t in (0, 2, 3)]) ** 2
    assert scores[2] == pytest.approx(expected / upper)


def test_a_prediction_of_nothing_has_no_score_beside_one_that_has():
    rng = np.random.default_rng(0)
    observed, predicted = rng.random((15, 4)), rng.random((15, 2))
    index = np.column_stack(np.triu_indices(6, 1))
    alone = normalized_r2_columns(observed, predicted[:, :1], index)
    predicted[:, 1] = np.nan
    both = normalized_r2_columns(observed, predicted, index)
    np.testing.assert_array_equal(both[0], alone[0])
    assert np.isnan(both[1]).all()
