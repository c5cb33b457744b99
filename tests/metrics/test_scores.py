import time
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.exceptions import UndefinedMetricWarning

import sklearn_rdm.metrics as metrics
from sklearn_rdm.metrics import (
    rdm_kendall_tau_a_score,
    rdm_pearson_score,
    rdm_rho_a_score,
    rdm_spearman_score,
    rdm_whitened_cosine_score,
    rdm_whitened_pearson_score,
)
from tests.references import RSATOOLBOX_NAMES
from tests.simulated import all_pairs, simulate_times

NAMES = [
    "cosine",
    "kendall_tau_a",
    "pearson",
    "rho_a",
    "spearman",
    "whitened_cosine",
    "whitened_pearson",
]


CENTERED = ["pearson", "spearman", "whitened_pearson"]


def score_of(name):
    return getattr(metrics, f"rdm_{name}_score")


def simulate(n_images=12, n_subjects=4, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    y_pred = rng.random(n_images * (n_images - 1) // 2)
    y_true = y_pred[:, None] + 0.5 * rng.standard_normal((len(y_pred), n_subjects))
    return (y_true.round(1), y_pred.round(1)) if ties else (y_true, y_pred)


def dense_whitened_cosine(x, y, index, covariance):
    contrasts = np.zeros((len(index), len(covariance)))
    contrasts[range(len(index)), index[:, 0]] = 1
    contrasts[range(len(index)), index[:, 1]] = -1
    whitening = np.linalg.inv((contrasts @ covariance @ contrasts.T) ** 2)
    return x @ whitening @ y / np.sqrt((x @ whitening @ x) * (y @ whitening @ y))


@pytest.fixture(scope="module")
def evc_118(load_algonauts):
    return load_algonauts(118, "fmri_evc").rdms[:, *np.triu_indices(118, 1)].T


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_rsatoolbox(name, ties):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    y_true, y_pred = simulate(ties=ties)
    expected = rdm.compare(rdm.RDMs(y_pred[None]), rdm.RDMs(y_true.T), RSATOOLBOX_NAMES[name])[0]
    scores = score_of(name)(y_true, y_pred, subject_average=False)
    assert_allclose(scores, expected, rtol=1e-9)
    assert score_of(name)(y_true, y_pred) == pytest.approx(expected.mean())


@pytest.mark.data
@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_rsatoolbox_on_measured_rdms(name, evc_118):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    y_true, y_pred = evc_118[:, 1:], evc_118[:, 0]
    expected = rdm.compare(rdm.RDMs(y_pred[None]), rdm.RDMs(y_true.T), RSATOOLBOX_NAMES[name])[0]
    assert_allclose(score_of(name)(y_true, y_pred, subject_average=False), expected, rtol=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_scores_equal_scipy_and_definitions(ties):
    y_true, y_pred = simulate(n_subjects=1, ties=ties)
    y_true = y_true[:, 0]
    assert rdm_spearman_score(y_true, y_pred) == pytest.approx(spearmanr(y_true, y_pred).statistic)
    assert rdm_pearson_score(y_true, y_pred) == pytest.approx(pearsonr(y_true, y_pred).statistic)
    signs = np.sign(y_true[:, None] - y_true) * np.sign(y_pred[:, None] - y_pred)
    n_pairs = len(y_true)
    tau_a = np.triu(signs).sum() / (n_pairs * (n_pairs - 1) / 2)
    assert rdm_kendall_tau_a_score(y_true, y_pred) == pytest.approx(tau_a, abs=1e-15)
    if not ties:
        assert tau_a == pytest.approx(kendalltau(y_true, y_pred).statistic)
        assert rdm_rho_a_score(y_true, y_pred) == pytest.approx(rdm_spearman_score(y_true, y_pred))


def test_rho_a_is_the_expectation_of_spearman_over_random_tie_breaking():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 4, (2, 30)).astype(float)
    broken = [
        spearmanr(y_true + 1e-6 * rng.random(30), y_pred + 1e-6 * rng.random(30)).statistic
        for _ in range(2000)
    ]
    assert rdm_rho_a_score(y_true, y_pred) == pytest.approx(np.mean(broken), abs=0.01)


def test_tau_a_of_two_tied_pairs_is_zero():
    assert rdm_kendall_tau_a_score([1, 2], [5, 5]) == 0
    assert rdm_kendall_tau_a_score([1, 2], [5, 4]) == -1


def test_whitened_cosine_of_all_pairs_is_linear_cka():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((9, 20)), rng.standard_normal((9, 5))
    rows, columns = np.triu_indices(9, 1)
    y_true, y_pred = (((x[rows] - x[columns]) ** 2).sum(axis=1) for x in (first, second))
    kernels = [x - x.mean(axis=0) for x in (first, second)]
    first, second = (x @ x.T for x in kernels)
    cka = np.sum(first * second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert rdm_whitened_cosine_score(y_true, y_pred) == pytest.approx(cka)


@pytest.mark.parametrize("kind", ["identity", "variances", "full"])
@pytest.mark.parametrize("share", [1, 0.4])
def test_whitening_equals_the_dense_definition(kind, share):
    rng = np.random.default_rng(1)
    n_images = 14
    index = all_pairs(n_images)
    index = index[rng.random(len(index)) <= share]
    x, y = rng.random((2, len(index)))
    given = {
        "identity": None,
        "variances": 0.5 + rng.random(n_images),
        "full": np.cov(rng.standard_normal((n_images, 40))),
    }[kind]
    covariance = np.eye(n_images) if given is None else np.diag(given) if given.ndim == 1 else given
    cosine = rdm_whitened_cosine_score(x, y, pairs=index, pattern_covariance=given)
    assert cosine == pytest.approx(dense_whitened_cosine(x, y, index, covariance), rel=1e-7)
    pearson = rdm_whitened_pearson_score(x, y, pairs=index, pattern_covariance=given)
    x, y = x - x.mean(), y - y.mean()
    assert pearson == pytest.approx(dense_whitened_cosine(x, y, index, covariance), rel=1e-7)


def test_whitening_leaves_out_a_subjects_missing_pairs():
    y_true, y_pred = simulate(n_images=8, n_subjects=3)
    y_true[[2, 7, 11], 1] = np.nan
    index, present = all_pairs(8), ~np.isnan(y_true[:, 1])
    scores = rdm_whitened_cosine_score(y_true, y_pred, subject_average=False)
    expected = dense_whitened_cosine(y_true[present, 1], y_pred[present], index[present], np.eye(8))
    assert scores[1] == pytest.approx(expected)


def test_whitening_equals_rsatoolbox_with_a_given_covariance():
    rdm = pytest.importorskip("rsatoolbox.rdm")
    y_true, y_pred = simulate(n_images=10)
    covariance = np.cov(np.random.default_rng(0).standard_normal((10, 30)))
    expected = rdm.compare(
        rdm.RDMs(y_pred[None]), rdm.RDMs(y_true.T), "corr_cov", sigma_k=covariance
    )[0]
    scores = rdm_whitened_pearson_score(
        y_true, y_pred, pattern_covariance=covariance, subject_average=False
    )
    assert_allclose(scores, expected, rtol=1e-3)  # rsatoolbox solves to 5 digits


@pytest.mark.parametrize("name", [name for name in NAMES if "whitened" not in name])
def test_a_missing_pair_is_left_out_for_this_subject_only(name):
    y_true, y_pred = simulate(n_subjects=5)
    complete = score_of(name)(y_true, y_pred, subject_average=False)
    y_true[[0, 5], 1] = y_true[3, 4] = np.nan
    scores = score_of(name)(y_true, y_pred, subject_average=False)
    assert_allclose(scores[[0, 2, 3]], complete[[0, 2, 3]])
    for subject in (1, 4):
        present = ~np.isnan(y_true[:, subject])
        alone = score_of(name)(y_true[present, subject], y_pred[present])
        assert scores[subject] == pytest.approx(alone)
        assert scores[subject] != complete[subject]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_predictions_must_be_finite(name, bad):
    y_true, y_pred = simulate(n_images=4)
    y_pred[2] = bad
    with pytest.raises(ValueError, match=f"y_pred of pair 2 is {bad}"):
        score_of(name)(y_true, y_pred)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_inputs_are_refused(name):
    y_true, y_pred = simulate(n_images=4)
    with pytest.raises(ValueError, match=r"y_pred must have shape \(6,\).* got \(5,\)"):
        score_of(name)(y_true, y_pred[:5])
    with pytest.raises(ValueError, match=r"got \(6, 1\)"):
        score_of(name)(y_true, y_pred[:, None])
    with pytest.raises(ValueError, match=r"y_true must have shape .* got \(6, 4, 1, 1\)"):
        score_of(name)(y_true[:, :, None, None], y_pred)
    for without_time in (y_true, y_true[:, 0]):
        with pytest.raises(ValueError, match="got no time axis"):
            score_of(name)(without_time, y_pred, time_average=False)
    with pytest.raises(ValueError, match="at least one pair"):
        score_of(name)(np.empty((0, 2)), np.empty(0))
    y_true[4, 1] = np.inf
    with pytest.raises(ValueError, match="y_true of pair 4 is infinite"):
        score_of(name)(y_true, y_pred)


@pytest.mark.parametrize("name", CENTERED)
def test_constant_predictions_have_no_correlation(name):
    y_true, y_pred = simulate(n_images=5)
    with pytest.warns(UndefinedMetricWarning, match="4 of 4 subject"):
        assert np.isnan(score_of(name)(y_true, np.full_like(y_pred, 0.1)))
    y_true[:, 2] = 0.1  # its mean is not exactly 0.1
    with pytest.warns(UndefinedMetricWarning, match="1 of 4 subject.*first subject 2"):
        scores = score_of(name)(y_true, y_pred, subject_average=False)
    assert_array_equal(np.isnan(scores), [False, False, True, False])
    with pytest.warns(UndefinedMetricWarning):
        assert score_of(name)(y_true, y_pred) == pytest.approx(np.nanmean(scores))


@pytest.mark.parametrize("name", ["rho_a", "kendall_tau_a"])
def test_measures_without_credit_for_ties_give_constants_zero(name):
    y_true, y_pred = simulate(n_images=5)
    assert score_of(name)(y_true, np.full_like(y_pred, 0.1)) == 0


@pytest.mark.parametrize("name", ["cosine", "whitened_cosine"])
def test_zeros_have_no_cosine(name):
    y_true, y_pred = simulate(n_images=5)
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(score_of(name)(y_true, np.zeros_like(y_pred)))


@pytest.mark.parametrize("name", NAMES)
def test_one_pair_has_no_score(name):
    with pytest.warns(UndefinedMetricWarning, match="fewer than 2 pairs"):
        assert np.isnan(score_of(name)([1.0], [2.0]))
    y_true = np.array([[1, 1], [2, np.nan], [3, np.nan]])
    with pytest.warns(UndefinedMetricWarning, match="1 of 2"):
        scores = score_of(name)(y_true, [1, 2, 4], subject_average=False)
    assert scores[0] > 0.9
    assert np.isnan(scores[1])


@pytest.mark.parametrize("name", NAMES)
def test_three_images_and_sign(name):
    y_true = np.array([0.1, 0.7, 0.4])
    assert score_of(name)(y_true, y_true) == pytest.approx(1)
    assert score_of(name)(y_true, -y_true) == pytest.approx(-1)


def test_a_score_is_a_float_and_one_subject_gives_one_score():
    y_true, y_pred = simulate(n_subjects=1)
    assert type(rdm_spearman_score(y_true, y_pred)) is float
    assert rdm_spearman_score(y_true[:, 0], y_pred, subject_average=False).shape == (1,)
    assert rdm_spearman_score(y_true.tolist(), y_pred.tolist()) == rdm_spearman_score(
        y_true[:, 0], y_pred
    )


def test_whitening_says_what_it_needs():
    y_true, y_pred = simulate(n_images=4)
    with pytest.raises(ValueError, match="5 pairs are not all pairs of some images: give pairs="):
        rdm_whitened_cosine_score(y_true[:5], y_pred[:5])
    with pytest.raises(ValueError, match="got 5 pairs for 6 dissimilarities"):
        rdm_whitened_cosine_score(y_true, y_pred, pairs=all_pairs(4)[:5])
    with pytest.raises(ValueError, match=r"pattern_covariance must be \(4, 4\) or \(4,\)"):
        rdm_whitened_cosine_score(y_true, y_pred, pattern_covariance=np.eye(3))
    for unit in (1, 1e-20):
        with pytest.raises(ValueError, match="finite and symmetric"):
            rdm_whitened_cosine_score(
                y_true, y_pred, pattern_covariance=unit * np.triu(np.ones((4, 4)))
            )
    with pytest.raises(ValueError, match="singular"):
        rdm_whitened_cosine_score(y_true, y_pred, pattern_covariance=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        rdm_whitened_cosine_score(y_true, y_pred, pattern_covariance=np.diag([1, 1, 1, -1]))
    low_rank = np.cov(np.random.default_rng(0).standard_normal((4, 3)))
    with pytest.raises(ValueError, match="singular"):
        rdm_whitened_cosine_score(y_true, y_pred, pattern_covariance=low_rank)


def test_whitening_needs_no_variance_of_the_mean_image():
    y_true, y_pred = simulate(n_images=6)
    centering = np.eye(6) - 1 / 6
    assert rdm_whitened_cosine_score(y_true, y_pred, pattern_covariance=centering) == pytest.approx(
        rdm_whitened_cosine_score(y_true, y_pred)
    )


def test_fifteen_subjects_cost_less_than_a_loop_of_scipy():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.random((6903, 15)), rng.random(6903)

    def best_time(function):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    loop = best_time(lambda: [spearmanr(column, y_pred).statistic for column in y_true.T])
    # Measured: 4 times as fast; the margin is for busy machines and other processors.
    assert best_time(lambda: rdm_spearman_score(y_true, y_pred)) < loop / 1.5


@pytest.mark.parametrize("name", NAMES)
def test_a_time_course_is_scored_at_each_time_point(name):
    y_true, y_pred = simulate_times()
    y_true[3, 1] = y_true[5, 2, 0] = y_true[6, :, 1] = np.nan
    score = partial(score_of(name), pairs=all_pairs(7)) if "whitened" in name else score_of(name)
    expected = np.array(
        [[score(column, y_pred) for column in subject] for subject in y_true.transpose(1, 2, 0)]
    )
    assert expected.std() > 0.01
    both = score(y_true, y_pred, subject_average=False, time_average=False)
    assert_allclose(both, expected, atol=1e-12)
    assert_allclose(score(y_true, y_pred, subject_average=False), expected.mean(axis=1))
    assert_allclose(score(y_true, y_pred, time_average=False), expected.mean(axis=0))
    assert score(y_true, y_pred) == pytest.approx(expected.mean())
    assert type(score(y_true, y_pred)) is float


def test_a_time_point_without_score_is_left_out_of_its_subjects_mean():
    y_true, y_pred = simulate_times()
    y_true[:, 1, 2] = np.nan
    y_true[:, 0, 3] = 5
    with pytest.warns(UndefinedMetricWarning, match="2 of 12 .* first subject 0 at time point 3"):
        both = rdm_spearman_score(y_true, y_pred, subject_average=False, time_average=False)
    assert_array_equal(np.argwhere(np.isnan(both)), [[0, 3], [1, 2]])
    with pytest.warns(UndefinedMetricWarning):
        score = rdm_spearman_score(y_true, y_pred)
    assert score == pytest.approx(np.nanmean(both, axis=1).mean())


def test_one_time_point_scores_as_none():
    y_true, y_pred = simulate_times()
    for name in NAMES:
        assert score_of(name)(y_true[:, :, :1], y_pred) == score_of(name)(y_true[:, :, 0], y_pred)
