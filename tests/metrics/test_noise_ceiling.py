from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata, spearmanr
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import cross_val_score

from sklearn_rdm import FixedRSARegressor, ImagePairs
from sklearn_rdm.metrics import (
    NoiseCeilingConvention,
    noise_ceiling,
    noise_normalized_r2_score,
    noise_normalized_r2_scorer,
    rdm_spearman_score,
    rdm_whitened_pearson_score,
)
from sklearn_rdm.metrics._noise_ceiling import CONVENTIONS
from sklearn_rdm.model_selection import ImageKFold
from tests.references import CEILINGS, RSATOOLBOX_NAMES

# FIELD.md 3.4: the same formula without the subject itself
LOWER = {
    (92, "fmri_evc"): 0.0686,
    (92, "fmri_it"): 0.2264,
    (118, "fmri_evc"): 0.0245,
    (118, "fmri_it"): 0.0038,
}
# FIELD.md 3.1: rsatoolbox's (min, max)
RSATOOLBOX = {
    ("spearman", 92, "fmri_evc"): (0.2419, 0.3917),
    ("spearman", 92, "fmri_it"): (0.4525, 0.5422),
    ("spearman", 118, "fmri_evc"): (0.1292, 0.3213),
    ("spearman", 118, "fmri_it"): (0.0363, 0.2732),
    ("whitened_pearson", 92, "fmri_evc"): (0.2401, 0.3953),
    ("whitened_pearson", 92, "fmri_it"): (0.4979, 0.5752),
    ("whitened_pearson", 118, "fmri_evc"): (0.0351, 0.2716),
    ("whitened_pearson", 118, "fmri_it"): (0.0419, 0.2755),
}


@pytest.fixture
def algonauts(load_algonauts):
    """Load the dissimilarities (n_pairs, n_subjects) of a set and a target."""

    def load(n_images, target):
        return load_algonauts(n_images, target).rdms[:, *np.triu_indices(n_images, 1)].T

    return load


ALGONAUTS = {"convention": "algonauts2019"}


def simulate(n_images=8, n_subjects=5, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.random(n_images * (n_images - 1) // 2)
    return signal[:, None] + 0.4 * rng.standard_normal((len(signal), n_subjects)), signal


@pytest.mark.data
def test_challenge_constants(algonauts):
    for target, constant in CEILINGS.items():
        assert round(noise_ceiling(algonauts(*target), **ALGONAUTS)[1], 4) == constant
    for target, constant in LOWER.items():
        assert round(noise_ceiling(algonauts(*target), convention="net2brain")[0], 4) == constant


@pytest.mark.data
@pytest.mark.parametrize(("metric", "n_images", "target"), RSATOOLBOX)
def test_rsatoolbox_reference_values(metric, n_images, target, algonauts):
    bounds = noise_ceiling(algonauts(n_images, target), convention="rsatoolbox", scoring=metric)
    assert_allclose(bounds, RSATOOLBOX[metric, n_images, target], rtol=0, atol=0.5001e-4)


@pytest.mark.data
@pytest.mark.parametrize("metric", ["spearman", "pearson", "cosine", "whitened_cosine"])
def test_ceiling_equals_rsatoolbox_on_measured_rdms(metric, algonauts):
    check_against_rsatoolbox(algonauts(118, "fmri_it"), metric)


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize("metric", RSATOOLBOX_NAMES)
def test_ceiling_equals_rsatoolbox(metric):
    check_against_rsatoolbox(simulate()[0], metric)
    check_against_rsatoolbox(simulate()[0].round(1), metric)


def check_against_rsatoolbox(y, metric):
    inference = pytest.importorskip("rsatoolbox.inference")
    rdm = pytest.importorskip("rsatoolbox.rdm")
    expected = inference.boot_noise_ceiling(rdm.RDMs(y.T), RSATOOLBOX_NAMES[metric])
    assert_allclose(noise_ceiling(y, convention="rsatoolbox", scoring=metric), expected, rtol=1e-9)


@pytest.mark.parametrize(("convention", "power"), [("net2brain", 2), ("brain-score", 1)])
def test_ceiling_equals_a_loop_of_scipy(convention, power):
    check_against_scipy(simulate()[0], convention, power)


@pytest.mark.data
@pytest.mark.parametrize("target", ["fmri_evc", "fmri_it"])
@pytest.mark.parametrize(("convention", "power"), [("net2brain", 2), ("brain-score", 1)])
def test_ceiling_equals_a_loop_of_scipy_on_measured_rdms(convention, power, target, algonauts):
    check_against_scipy(algonauts(92, target), convention, power)


def check_against_scipy(y, convention, power):
    upper = [spearmanr(column, y.mean(axis=1)).statistic ** power for column in y.T]
    lower = [
        spearmanr(y[:, s], np.delete(y, s, axis=1).mean(axis=1)).statistic ** power
        for s in range(y.shape[1])
    ]
    assert_allclose(noise_ceiling(y, convention=convention), (np.mean(lower), np.mean(upper)))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # in the expectation
def test_missing_pairs_are_pooled_over_the_subjects_that_have_them():
    y, _ = simulate(n_subjects=3)
    y[[0, 4], 0] = y[4, 1] = np.nan  # of pair 4, subject 2 is alone
    lower, upper = noise_ceiling(y, convention="rsatoolbox")
    y[4, 2] = np.nan  # where nobody agrees or disagrees with it
    ranks = np.full_like(y, np.nan)
    for subject in range(3):
        present = ~np.isnan(y[:, subject])
        stretch = 26 / (present.sum() - 1)  # of the 28 pairs, one is left out for all
        ranks[present, subject] = (rankdata(y[present, subject]) - 1) * stretch

    def score(subject, pool):
        both = ~np.isnan(y[:, subject]) & ~np.isnan(pool)
        return spearmanr(y[both, subject], pool[both]).statistic

    others = [np.delete(ranks, subject, axis=1) for subject in range(3)]
    pools = [np.nanmean(pool, axis=1) for pool in others]
    assert upper == pytest.approx(np.mean([score(s, np.nanmean(ranks, axis=1)) for s in range(3)]))
    assert lower == pytest.approx(np.mean([score(s, pools[s]) for s in range(3)]))


def test_a_subject_without_pairs_is_left_out():
    y, _ = simulate(n_subjects=4)
    for convention, metric in [("rsatoolbox", "pearson"), ("algonauts2019", "cosine")]:
        expected = noise_ceiling(y, convention=convention, scoring=metric)
        absent = np.column_stack([y, np.full(len(y), np.nan)])
        with pytest.warns(UndefinedMetricWarning, match="1 of 5 subject.*first subject 4"):
            assert_allclose(noise_ceiling(absent, convention=convention, scoring=metric), expected)


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
    with pytest.raises(ValueError, match=r"convention must be one of \['algonauts2019'.*'nili'"):
        noise_ceiling(y, convention="nili")
    with pytest.raises(ValueError, match=r"scoring must be one of \['cosine'.*'r2'"):
        noise_ceiling(y, scoring="r2")
    with pytest.raises(ValueError, match="scoring must be one of"):
        noise_ceiling(y, scoring=rdm_spearman_score)
    with pytest.raises(ValueError, match=r"pooling must be one of .* got 'median'"):
        NoiseCeilingConvention(pooling="median")
    with pytest.raises(ValueError, match="bound must be one of"):
        NoiseCeilingConvention(bound="both")
    with pytest.raises(ValueError, match="convention that squares"):
        noise_normalized_r2_score(y, y_pred, convention="rsatoolbox")
    with pytest.raises(ValueError, match="got 2 targets and 1 predictions"):
        noise_normalized_r2_score([y, y], [y_pred])


def test_identical_subjects_reach_one():
    y = np.repeat(simulate()[1][:, None], 3, axis=1)
    assert_allclose(noise_ceiling(y), (1, 1))
    assert noise_normalized_r2_score(y, y[:, 0]) == pytest.approx(1)


def test_whitened_ceiling_needs_the_pairs_of_an_incomplete_set():
    y, _ = simulate()
    index = np.column_stack(np.triu_indices(8, 1))[::2]
    with pytest.raises(ValueError, match="give pairs="):
        noise_ceiling(y[1::2][:-1], scoring="whitened_pearson")
    mine = NoiseCeilingConvention(scoring="whitened_pearson", pooling="mean")
    upper = noise_ceiling(y[::2], convention=mine, pairs=index)[1]
    expected = rdm_whitened_pearson_score(y[::2], y[::2].mean(axis=1), pairs=index)
    assert upper == pytest.approx(expected)


# ---- normalised scores


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


# ---- time courses


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


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_ceiling_of_time_courses_by_the_definition(convention):
    y, _ = simulate_times()
    y[3, 2] = y[5, :, 1] = y[7, 1, 0] = np.nan
    choices = replace(CONVENTIONS[convention], squared=False)
    at = [noise_ceiling(y[:, :, t], convention=choices) for t in range(4)]
    if not CONVENTIONS[convention].squared:
        assert_allclose(noise_ceiling(y, convention=convention), np.mean(at, axis=0))
    by_time = noise_ceiling(y, convention=convention, time_average=False)
    alone = [noise_ceiling(y[:, :, t], convention=convention) for t in range(4)]
    assert_allclose(np.transpose(by_time), alone)


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


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_ceiling_of_folds_is_the_mean_of_their_ceilings(convention):
    rng = np.random.default_rng(0)
    y = rng.random((45, 4)) + rng.random((45, 1))
    pairs = ImagePairs(rng.random((10, 3)))
    folds = [test for _, test in ImageKFold(2).split(pairs)]
    each = [noise_ceiling(y[rows], convention=convention) for rows in folds]
    together = noise_ceiling(y, convention=convention, folds=folds)
    assert_allclose(together, np.mean(each, axis=0))
    assert not np.allclose(together, noise_ceiling(y, convention=convention))


def test_the_ceiling_of_folds_with_a_whitened_measure_and_with_time_points():
    rng = np.random.default_rng(0)
    y = rng.random((45, 4, 2)) + rng.random((45, 1, 1))
    pairs = ImagePairs(rng.random((10, 3)))
    folds = [test for _, test in ImageKFold(2).split(pairs)]
    options = {"convention": "rsatoolbox", "scoring": "whitened_pearson", "time_average": False}
    each = [noise_ceiling(y[rows], pairs=pairs[rows], **options) for rows in folds]
    together = noise_ceiling(y, pairs=pairs, folds=folds, **options)
    assert_allclose(together, np.mean(each, axis=0))
    assert together[0].shape == (2,)


def test_folds_that_are_none_are_refused():
    y = np.random.default_rng(0).random((10, 3))
    with pytest.raises(ValueError, match="folds is empty"):
        noise_ceiling(y, folds=[])
    with pytest.raises(ValueError, match="rows outside 0 to 9"):
        noise_ceiling(y, folds=[[8, 9, 10]])


@pytest.mark.parametrize("metric", ["spearman", "rho_a"])
def test_identical_subjects_nearly_reach_one_if_two_of_them_lack_most_pairs(metric):
    rng = np.random.default_rng(0)
    y = np.tile(rng.permutation(190).astype(float)[:, None], 4)
    y[:, :2][rng.random((190, 2)) > 0.3] = np.nan
    assert_allclose(noise_ceiling(y, convention="rsatoolbox", scoring=metric), 1, atol=0.005)
