import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import pdist
from scipy.stats import ttest_1samp
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer

from sklearn_rdm import metrics
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    get_rdm_scorer,
    make_rdm_scorer,
    noise_normalized_r2_score,
    rdm_bootstrap,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_whitened_cosine_score,
    rdm_whitened_pearson_score,
)
from tests.simulated import all_pairs, constant_in_fold_0, simulate

METRICS = ["spearman", "rdm_pearson", "kendall_tau_a", "whitened_pearson", "noise_normalized_r2"]


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("spearman", make_rdm_scorer(rdm_spearman_score)),
        ("noise_normalized_r2", make_rdm_scorer(noise_normalized_r2_score)),
    ],
)
def test_a_score_function_gives_what_its_name_gives(metric, function):
    pairs, y_true, y_pred = simulate(n_images=9)
    sparse = np.random.default_rng(0).random(len(pairs)) < 0.7
    data = pairs[sparse], y_true[sparse], y_pred[sparse]
    y_true[3, 1] = np.nan
    draw = {"n_permutations": 40, "random_state": 0}
    named = rdm_permutation_test(*data, scoring=metric, **draw)
    given = rdm_permutation_test(*data, scoring=function, **draw)
    assert_allclose(named.null_distribution, given.null_distribution)
    draw = {"n_resamples": 40, "random_state": 0}
    named, given = (rdm_bootstrap(*data, scoring=f, **draw) for f in (metric, function))
    assert_allclose(named.bootstrap_distribution, given.bootstrap_distribution)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("whitened_pearson", make_rdm_scorer(rdm_whitened_pearson_score, needs_pairs=True)),
        ("rdm_whitened_cosine", make_rdm_scorer(rdm_whitened_cosine_score, needs_pairs=True)),
        ("whitened_cosine", get_rdm_scorer("whitened_cosine", pattern_covariance=None)),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_a_whitened_function_knows_the_images_of_the_pairs(metric, function, complete):
    pairs, y_true, y_pred = simulate(n_images=9)
    keep = np.ones(len(pairs), dtype=bool)
    if not complete:
        keep = np.random.default_rng(0).random(len(pairs)) < 0.7
    order = np.random.default_rng(1).permutation(np.flatnonzero(keep))  # any order of pairs
    data = pairs[order], y_true[order], y_pred[order]
    named, given = (
        rdm_permutation_test(*data, scoring=f, n_permutations=20, random_state=0)
        for f in (metric, function)
    )
    assert given.score == pytest.approx(named.score)
    assert_allclose(named.null_distribution, given.null_distribution)
    named, given = (
        rdm_bootstrap(*data, scoring=f, n_resamples=20, random_state=0) for f in (metric, function)
    )
    assert_allclose(named.bootstrap_distribution, given.bootstrap_distribution)


def test_a_normalized_score_of_a_whitened_measure_knows_the_images():
    pairs, y_true, y_pred = simulate(n_images=9)
    order = np.random.default_rng(0).permutation(len(pairs))[:25]
    data = pairs[order], y_true[order], y_pred[order]
    metric = get_rdm_scorer("noise_normalized_r2", scoring="whitened_pearson")
    result = rdm_permutation_test(*data, scoring=metric, n_permutations=9)
    expected = noise_normalized_r2_score(*data[1:], pairs=data[0], scoring="whitened_pearson")
    assert result.score == pytest.approx(expected)
    interval = rdm_bootstrap(*data, scoring=metric, over="images", n_resamples=9)
    assert interval.score == pytest.approx(result.score)
    assert np.isfinite(interval.bootstrap_distribution).all()


def test_a_metric_that_cannot_be_used_is_refused():
    data = simulate(n_images=6)
    covariance = get_rdm_scorer("whitened_pearson", pattern_covariance=np.eye(6))
    unsquared = get_rdm_scorer("noise_normalized_r2", convention="rsatoolbox")
    for function in (rdm_permutation_test, rdm_bootstrap):
        for scorer in (rdm_spearman_score, get_scorer("r2"), None):
            with pytest.raises(ValueError, match=r"scoring must be one of .* make_rdm_scorer, got"):
                function(*data, scoring=scorer)
        with pytest.raises(ValueError, match="scoring cannot have a pattern_covariance"):
            function(*data, scoring=covariance)
        with pytest.raises(ValueError, match="needs a convention that squares"):
            function(*data, scoring=unsquared)


@pytest.mark.parametrize("over", ["images", "subjects", "both"])
def test_a_fold_without_a_score_is_not_passed_over_in_the_bootstrap(over):
    pairs, y_true, _, failed, folds = constant_in_fold_0()
    with pytest.warns(UndefinedMetricWarning) as caught:
        result = rdm_bootstrap(pairs, y_true, failed, folds=folds, over=over, n_resamples=9)
    score, samples = sorted((str(one.message) for one in caught), reverse=True)
    assert score.startswith("y_pred has no score (NaN), as it has none in 1 of 3 fold(s)")
    assert samples.startswith("9 of 9 samples have no score")
    assert {one.filename for one in caught} == {__file__}
    assert np.isnan([result.score, result.standard_error, *result.confidence_interval]).all()
    assert np.isnan(result.bootstrap_distribution).all()
    assert_array_equal(np.isnan(result.fold_scores), [True, False, False])


@pytest.mark.parametrize("metric", ["spearman", make_rdm_scorer(rdm_spearman_score)])
def test_constant_predictions_have_no_interval(metric):
    pairs, y_true, _ = simulate(n_images=6)
    with pytest.warns(UndefinedMetricWarning, match="samples.*or constant|y_pred.*: constant"):
        result = rdm_bootstrap(pairs, y_true, np.ones(15), scoring=metric, n_resamples=5)
    assert np.isnan([result.score, *result.confidence_interval]).all()


def test_bootstrap_over_subjects_resamples_their_scores():
    data = simulate(n_subjects=8)
    draw = {"over": "subjects", "n_resamples": 2000, "random_state": 0}
    result = rdm_bootstrap(*data, method="percentile", **draw)
    scores = rdm_spearman_score(*data[1:], subject_average=False)
    assert result.score == pytest.approx(scores.mean())
    assert result.standard_error == pytest.approx(scores.std() / np.sqrt(8), rel=0.1)
    low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    assert result.confidence_interval == (low, high)


@pytest.mark.parametrize("method", ["jackknife", "schuett2023", "t-test"])
def test_the_interval_over_subjects_is_that_of_a_t_test(method):
    data = simulate(n_subjects=8)
    result = rdm_bootstrap(*data, over="subjects", method=method, n_resamples=5)
    test = ttest_1samp(rdm_spearman_score(*data[1:], subject_average=False), 0)
    assert_allclose(result.confidence_interval, test.confidence_interval(0.95))
    assert result.dof == 7


def test_a_t_test_over_images_is_that_of_pseudo_values():
    pairs, y_true, y_pred = simulate(n_images=11)
    result = rdm_bootstrap(pairs, y_true, y_pred, over="images", method="t-test")
    score = rdm_spearman_score(y_true, y_pred)
    pseudo_values = []
    for image in range(11):
        rest = (pairs != image).all(axis=1)
        pseudo_values.append(11 * score - 10 * rdm_spearman_score(y_true[rest], y_pred[rest]))
    test = ttest_1samp(pseudo_values, 0)
    low, high = test.confidence_interval(0.95)
    assert result.standard_error == pytest.approx(np.mean(pseudo_values) / test.statistic)
    assert np.diff(result.confidence_interval) == pytest.approx(high - low)
    assert len(result.bootstrap_distribution) == 0


@pytest.mark.parametrize("method", ["schuett2023", "percentile"])
def test_both_vary_more_than_each(method):
    data = simulate(n_images=20, n_subjects=6, noise=2)
    draw = {"method": method, "n_resamples": 300, "random_state": 0}
    errors = {
        over: rdm_bootstrap(*data, over=over, **draw).standard_error
        for over in ("images", "subjects", "both")
    }
    assert errors["both"] >= max(errors["images"], errors["subjects"])


@pytest.mark.parametrize("metric", METRICS)
def test_interval_holds_the_score(metric):
    pairs, y_true, y_pred = simulate(n_images=15)
    result = rdm_bootstrap(
        pairs, y_true, y_pred, over="images", scoring=metric, n_resamples=60, random_state=0
    )
    low, high = result.confidence_interval
    assert low < result.score < high
    narrow = rdm_bootstrap(
        pairs,
        y_true,
        y_pred,
        over="images",
        scoring=metric,
        n_resamples=60,
        random_state=0,
        confidence_level=0.5,
    )
    assert low < narrow.confidence_interval[0] < narrow.confidence_interval[1] < high


def test_interval_covers_the_score_of_the_population_of_images():
    rng = np.random.default_rng(0)
    large, other = rng.standard_normal((2, 600, 3))
    y_true, y_pred = pdist(large), pdist(large + other)
    population = rdm_spearman_score(y_true, y_pred)
    covered = []
    for seed in range(40):
        chosen = np.random.default_rng(seed).choice(600, 30, replace=False)
        result = rdm_bootstrap(
            all_pairs(30),
            pdist(large[chosen]),
            pdist((large + other)[chosen]),
            over="images",
            n_resamples=100,
            confidence_level=0.9,
            random_state=0,
        )
        low, high = result.confidence_interval
        covered.append(low < population < high)
    assert np.mean(covered) > 0.75


def test_folds_are_scored_one_by_one():
    pairs, y_true, y_pred = simulate(n_images=24)
    fold_of_image = np.arange(24) % 3
    first, second = fold_of_image[pairs].T
    folds = [np.flatnonzero((first == fold) & (second == fold)) for fold in range(3)]
    y_pred[first != second] = np.nan  # never tested
    result = rdm_bootstrap(
        pairs, y_true, y_pred, folds=folds, over="images", n_resamples=50, random_state=0
    )
    expected = [rdm_spearman_score(y_true[fold], y_pred[fold]) for fold in folds]
    assert_allclose(result.fold_scores, expected)
    assert result.score == pytest.approx(np.mean(expected))
    assert np.ptp(result.bootstrap_distribution) > 0


def test_three_images_leave_few_samples():
    data = simulate(n_images=3)
    draw = {"over": "images", "n_resamples": 100, "random_state": 0}
    with pytest.warns(UndefinedMetricWarning, match=r"\d+ of 100 samples have no score"):
        result = rdm_bootstrap(*data, method="percentile", **draw)
    assert 0 < np.isnan(result.bootstrap_distribution).sum() < 100
    assert np.isfinite(result.confidence_interval).all()


@pytest.mark.filterwarnings("ignore:.* of 9 samples have no score")
@pytest.mark.parametrize("folds", [None, [np.arange(3), np.arange(3, 6)]])
def test_images_that_cannot_be_left_out_have_no_interval(folds):
    pairs, y_true, y_pred = simulate(n_images=3)
    if folds is not None:
        pairs = np.concatenate([pairs, pairs + 3])
        y_true, y_pred = np.concatenate([y_true, y_true]), np.concatenate([y_pred, y_pred])
    with pytest.warns(UndefinedMetricWarning, match="without image 0 fold 0 has no score"):
        result = rdm_bootstrap(pairs, y_true, y_pred, folds=folds, n_resamples=9)
    assert np.isfinite(result.score)
    assert np.isnan([result.standard_error, *result.confidence_interval]).all()


def test_the_seed_decides_and_not_the_number_of_jobs():
    pairs, y_true, y_pred = simulate()
    draw = {"random_state": 3}
    one = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=100, n_jobs=1, **draw)
    two = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=100, n_jobs=2, **draw)
    assert_array_equal(one.null_distribution, two.null_distribution)
    one = rdm_bootstrap(pairs, y_true, y_pred, n_resamples=100, n_jobs=1, **draw)
    two = rdm_bootstrap(pairs, y_true, y_pred, n_resamples=100, n_jobs=2, **draw)
    assert_array_equal(one.bootstrap_distribution, two.bootstrap_distribution)
    other = rdm_bootstrap(pairs, y_true, y_pred, n_resamples=100, random_state=4)
    assert (one.bootstrap_distribution != other.bootstrap_distribution).any()
    assert len(np.unique(one.bootstrap_distribution)) > 90


def test_the_global_random_state_is_left_alone():
    pairs, y_true, y_pred = simulate()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    rdm_permutation_test(pairs, y_true, y_pred, n_permutations=5, random_state=0)
    rdm_bootstrap(pairs, y_true, y_pred, n_resamples=5, random_state=0)
    assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_wrong_inputs_are_refused():
    pairs, y_true, y_pred = simulate(n_images=5)
    for function in (rdm_permutation_test, rdm_bootstrap):
        with pytest.raises(ValueError, match=r"'r2' is not an RDM scorer.*'noise_normalized_r2'"):
            function(pairs, y_true, y_pred, scoring="r2")
        with pytest.raises(ValueError, match="got 9 pairs for 10"):
            function(pairs[:9], y_true, y_pred)
        with pytest.raises(ValueError, match="y_pred of pair 3 is nan"):
            function(pairs, y_true, np.where(np.arange(10) == 3, np.nan, y_pred))
        with pytest.raises(ValueError, match="two or more subjects"):
            function(pairs, y_true[:, 0], y_pred, scoring="noise_normalized_r2")
    for folds, message in [
        ([], "folds is empty"),
        ([np.ones(10, dtype=bool)], "fold 0 must be a list of row numbers of pairs, got bool"),
        ([[0, 1], [9, 10]], "fold 1 has rows outside 0 to 9"),
    ]:
        for function in (rdm_permutation_test, rdm_bootstrap):
            with pytest.raises(ValueError, match=message):
                function(pairs, y_true, y_pred, folds=folds)
    with pytest.raises(ValueError, match="over must be one of"):
        rdm_bootstrap(pairs, y_true, y_pred, over="pairs")
    with pytest.raises(ValueError, match="over='both' needs two or more subjects"):
        rdm_bootstrap(pairs, y_true[:, 0], y_pred)
    with pytest.raises(ValueError, match="confidence_level must be between 0 and 1, got 95"):
        rdm_bootstrap(pairs, y_true, y_pred, confidence_level=95, n_resamples=5)
    with pytest.raises(ValueError, match="method must be one of .* got 'bca'"):
        rdm_bootstrap(pairs, y_true, y_pred, method="bca")
    with pytest.raises(ValueError, match="method='t-test' is over images or over subjects"):
        rdm_bootstrap(pairs, y_true, y_pred, method="t-test")
    with pytest.raises(ValueError, match="n_resamples must be at least 1, got 0"):
        rdm_bootstrap(pairs, y_true, y_pred, n_resamples=0)
    with pytest.raises(ValueError, match="at least one draw"):
        rdm_permutation_test(pairs, y_true, y_pred, n_permutations=0)


@pytest.mark.parametrize("metric", ["spearman", "whitened_pearson", "noise_normalized_r2"])
def test_time_courses_give_the_mean_over_their_time_points(metric):
    pairs, y_true, y_pred = simulate(n_images=9)
    noise = np.random.default_rng(1).standard_normal((*y_true.shape, 3))
    timed = y_true[:, :, None] + 0.5 * noise
    draw = {"scoring": metric, "random_state": 0}
    result = rdm_permutation_test(pairs, timed, y_pred, n_permutations=20, **draw)
    index = {"pairs": pairs} if metric == "whitened_pearson" else {}
    function = getattr(metrics, "rdm_" + metric + "_score", None) or noise_normalized_r2_score
    assert result.score == pytest.approx(function(timed, y_pred, **index))
    if metric != "noise_normalized_r2":
        alone = [
            rdm_permutation_test(pairs, y, y_pred, n_permutations=20, **draw).null_distribution
            for y in np.moveaxis(timed, 2, 0)
        ]
        assert_allclose(result.null_distribution, np.mean(alone, axis=0))
    repeated = np.repeat(y_true[:, :, None], 3, axis=2)
    for over in ("images", "subjects", "both"):
        flat, course = (
            rdm_bootstrap(pairs, y, y_pred, over=over, n_resamples=20, **draw)
            for y in (y_true, repeated)
        )
        assert_allclose(course.bootstrap_distribution, flat.bootstrap_distribution)
    flat, course = (
        compare_rdm_scores(pairs, y, y_pred, y_true[:, 0], n_resamples=20, **draw)
        for y in (y_true, repeated)
    )
    assert course.pvalue == pytest.approx(flat.pvalue)
    assert_allclose(course.difference, flat.difference)


def test_too_few_images_of_a_time_course_give_nan():
    pairs, y_true, y_pred = simulate(n_images=3)
    timed = np.stack([y_true, y_true**2], axis=2)
    with pytest.warns(UndefinedMetricWarning, match="too few distinct images"):
        result = rdm_bootstrap(pairs, timed, y_pred, over="images", n_resamples=50, random_state=0)
    assert np.isnan(result.bootstrap_distribution).any()
