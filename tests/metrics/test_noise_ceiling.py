from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import rankdata, spearmanr
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm import ImagePairs
from sklearn_rdm.metrics import (
    NoiseCeilingConvention,
    noise_ceiling,
    rdm_whitened_pearson_score,
)
from sklearn_rdm.metrics._conventions import CONVENTIONS
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


def test_warns_of_subjects_in_rows():
    y = np.random.default_rng(0).random((15, 105))  # rsatoolbox's: 15 subjects, 15 images
    with pytest.warns(UserWarning, match=r"15 rows, taken as pairs.*pairs of 15 images, give y.T"):
        noise_ceiling(y)
    noise_ceiling(y.T)
    noise_ceiling(y[:, :104])  # no number of pairs


def test_a_subject_without_pairs_is_left_out():
    y, _ = simulate(n_subjects=4)
    for convention, metric in [("rsatoolbox", "pearson"), ("algonauts2019", "cosine")]:
        expected = noise_ceiling(y, convention=convention, scoring=metric)
        absent = np.column_stack([y, np.full(len(y), np.nan)])
        with pytest.warns(UndefinedMetricWarning, match="1 of 5 subject.*first subject 4"):
            assert_allclose(noise_ceiling(absent, convention=convention, scoring=metric), expected)


def test_whitened_ceiling_needs_the_pairs_of_an_incomplete_set():
    y, _ = simulate()
    index = np.column_stack(np.triu_indices(8, 1))[::2]
    with pytest.raises(ValueError, match="give pairs="):
        noise_ceiling(y[1::2][:-1], scoring="whitened_pearson")
    mine = NoiseCeilingConvention(scoring="whitened_pearson", pooling="mean")
    upper = noise_ceiling(y[::2], convention=mine, pairs=index)[1]
    expected = rdm_whitened_pearson_score(y[::2], y[::2].mean(axis=1), pairs=index)
    assert upper == pytest.approx(expected)


def simulate_times(n_times=4, seed=0):
    rng = np.random.default_rng(seed)
    y, signal = simulate(seed=seed)
    levels = np.linspace(0.2, 2, n_times)
    return y[:, :, None] + levels * rng.standard_normal((*y.shape, n_times)), signal


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
