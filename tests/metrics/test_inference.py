from functools import partial
from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import pdist
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm import ImagePairs, metrics
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    noise_normalized_r2_score,
    rdm_bootstrap,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_whitened_cosine_score,
    rdm_whitened_pearson_score,
)
from sklearn_rdm.metrics._inference import (
    _members_of_folds,
    _members_of_sets,
    _repeat_pairs,
    _score_resampled,
)

METRICS = ["spearman", "rdm_pearson", "kendall_tau_a", "whitened_pearson", "noise_normalized_r2"]


def all_pairs(n_images):
    return np.column_stack(np.triu_indices(n_images, 1))


def simulate(n_images=12, n_subjects=5, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_images, 4))
    noisy = features + noise * rng.standard_normal((n_subjects, n_images, 4))
    return all_pairs(n_images), np.array([pdist(x) for x in noisy]).T, pdist(features)


# ---- permutation test


def test_null_is_that_of_relabelled_images():
    pairs, y_true, y_pred = simulate(n_images=4)
    result = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=500, random_state=0)
    rdm = np.zeros((4, 4))
    rdm[tuple(pairs.T)] = y_pred
    rdm += rdm.T
    every = [
        rdm_spearman_score(y_true, rdm[np.ix_(order, order)][tuple(pairs.T)])
        for order in permutations(range(4))
    ]
    assert_array_equal(np.unique(result.null_distribution.round(9)), np.unique(np.round(every, 9)))
    assert result.expected_score == pytest.approx(np.mean(every), abs=0.05)
    assert result.score == pytest.approx(rdm_spearman_score(y_true, y_pred))
    n_reached = np.sum(result.null_distribution >= result.score - 1e-12)
    assert result.pvalue == (1 + n_reached) / 501
    assert_array_equal(result.n_pairs, 6)


@pytest.mark.parametrize("metric", METRICS)
def test_related_and_unrelated_predictions(metric):
    pairs, y_true, y_pred = simulate()
    draw = {"metric": metric, "n_permutations": 99, "random_state": 0}
    result = rdm_permutation_test(pairs, y_true, y_pred, **draw)
    assert result.pvalue == 0.01
    assert result.score > np.quantile(result.null_distribution, 0.95)
    unrelated = rdm_permutation_test(pairs, y_true, simulate(seed=7)[2], **draw)
    assert unrelated.pvalue > 0.05


def test_p_values_of_unrelated_predictions_are_uniform():
    pvalues = []
    for seed in range(40):
        pairs, y_true, _ = simulate(n_images=8, n_subjects=2, seed=seed)
        y_pred = simulate(n_images=8, seed=1000 + seed)[2]
        result = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=49, random_state=seed)
        pvalues.append(result.pvalue)
    assert 0.35 < np.mean(pvalues) < 0.65
    assert 0 < np.mean(np.array(pvalues) <= 0.2) < 0.4


def test_chance_of_squared_scores_is_not_zero():
    pairs, y_true, y_pred = simulate()
    options = {"n_permutations": 200, "random_state": 0}
    signed = rdm_permutation_test(pairs, y_true, y_pred, **options)
    squared = rdm_permutation_test(pairs, y_true, y_pred, metric="noise_normalized_r2", **options)
    assert abs(signed.expected_score) < 0.03
    assert squared.expected_score > 0.02
    assert squared.score == pytest.approx(noise_normalized_r2_score(y_true, y_pred))


@pytest.mark.parametrize(
    ("metric", "function"),
    [("spearman", rdm_spearman_score), ("noise_normalized_r2", noise_normalized_r2_score)],
)
def test_a_score_function_gives_what_its_name_gives(metric, function):
    pairs, y_true, y_pred = simulate(n_images=9)
    sparse = np.random.default_rng(0).random(len(pairs)) < 0.7
    data = pairs[sparse], y_true[sparse], y_pred[sparse]
    y_true[3, 1] = np.nan
    draw = {"n_permutations": 40, "random_state": 0}
    named = rdm_permutation_test(*data, metric=metric, **draw)
    given = rdm_permutation_test(*data, metric=function, **draw)
    assert_allclose(named.null_distribution, given.null_distribution)
    draw = {"n_resamples": 40, "random_state": 0}
    named, given = (rdm_bootstrap(*data, metric=f, **draw) for f in (metric, function))
    assert_allclose(named.bootstrap_distribution, given.bootstrap_distribution)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        ("whitened_pearson", rdm_whitened_pearson_score),
        ("rdm_whitened_cosine", rdm_whitened_cosine_score),
        ("whitened_cosine", partial(rdm_whitened_cosine_score, pattern_covariance=None)),
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
        rdm_permutation_test(*data, metric=f, n_permutations=20, random_state=0)
        for f in (metric, function)
    )
    assert given.score == pytest.approx(named.score)
    assert_allclose(named.null_distribution, given.null_distribution)
    named, given = (
        rdm_bootstrap(*data, metric=f, n_resamples=20, random_state=0) for f in (metric, function)
    )
    assert_allclose(named.bootstrap_distribution, given.bootstrap_distribution)


def test_a_normalized_score_of_a_whitened_measure_knows_the_images():
    pairs, y_true, y_pred = simulate(n_images=9)
    order = np.random.default_rng(0).permutation(len(pairs))[:25]
    data = pairs[order], y_true[order], y_pred[order]
    metric = partial(noise_normalized_r2_score, metric="whitened_pearson")
    result = rdm_permutation_test(*data, metric=metric, n_permutations=9)
    assert result.score == pytest.approx(metric(*data[1:], pairs=data[0]))
    interval = rdm_bootstrap(*data, metric=metric, over="images", n_resamples=9)
    assert interval.score == pytest.approx(result.score)
    assert np.isfinite(interval.bootstrap_distribution).all()


def test_a_metric_that_cannot_be_used_is_refused():
    data = simulate(n_images=6)
    covariance = partial(rdm_whitened_pearson_score, pattern_covariance=np.eye(6))
    unsquared = partial(noise_normalized_r2_score, convention="rsatoolbox")
    for function in (rdm_permutation_test, rdm_bootstrap):
        for scorer in (metrics.get_rdm_scorer("spearman"), metrics.rdm_whitened_cosine_scorer):
            with pytest.raises(ValueError, match=r"is a scorer of estimators.* give its name"):
                function(*data, metric=scorer)
        with pytest.raises(ValueError, match="cannot be given a pattern_covariance"):
            function(*data, metric=covariance)
        with pytest.raises(ValueError, match="needs a convention that squares"):
            function(*data, metric=unsquared)


def test_a_fold_without_common_pairs_has_no_normalized_score():
    pairs, y_true, y_pred = simulate(n_images=18)
    folds = folds_of(pairs)
    y_true[folds[1], 1:] = np.nan
    for metric in ("noise_normalized_r2", noise_normalized_r2_score):
        with pytest.warns(UndefinedMetricWarning, match="first fold 1"):
            result = rdm_permutation_test(
                pairs, y_true, y_pred, metric=metric, folds=folds, n_permutations=5
            )
        assert_array_equal(np.isnan(result.fold_scores), [False, True, False])


def test_a_convention_is_given_as_a_partial():
    pairs, y_true, y_pred = simulate(n_images=9)
    metric = partial(noise_normalized_r2_score, convention="net2brain")
    result = rdm_permutation_test(pairs, y_true, y_pred, metric=metric, n_permutations=9)
    assert result.score == pytest.approx(metric(y_true, y_pred))


def test_images_stay_in_their_set():
    first, y_first, _ = simulate(n_images=6)
    second, y_second, _ = simulate(n_images=7, seed=1)
    pairs = np.concatenate([first, second + 6])
    y_true = np.concatenate([y_first, y_second])
    # Only the level differs between the sets: shuffling within them changes nothing.
    y_pred = np.repeat([0.0, 1.0], [len(first), len(second)])
    result = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=20, random_state=0)
    assert_allclose(result.null_distribution, result.score)
    assert result.pvalue == 1
    assert [len(members) for members in _members_of_sets(pairs)] == [6, 7]


def test_an_incomplete_design_keeps_pairs_that_exist_before_and_after():
    pairs, y_true, y_pred = simulate(n_images=10)
    keep = np.random.default_rng(0).random(len(pairs)) < 0.5
    result = rdm_permutation_test(
        pairs[keep], y_true[keep], y_pred[keep], n_permutations=50, random_state=0
    )
    assert (result.n_pairs < keep.sum()).any()
    assert (result.n_pairs > 0).all()
    assert np.isfinite(result.null_distribution).all()


def test_nothing_to_shuffle_is_refused():
    with pytest.raises(ValueError, match="no three images are connected"):
        rdm_permutation_test([[0, 1], [2, 3], [4, 5]], [1, 2, 3], [1, 2, 3])


def test_image_pairs_and_their_index_give_the_same():
    pairs, y_true, y_pred = simulate(n_images=6)
    draw = {"n_permutations": 10, "random_state": 0}
    by_index = rdm_permutation_test(pairs, y_true, y_pred, **draw)
    holder = ImagePairs(np.zeros((20, 1)), pairs * 3)  # other numbers of the same images
    by_pairs = rdm_permutation_test(holder, y_true, y_pred, **draw)
    assert_array_equal(by_index.null_distribution, by_pairs.null_distribution)


def folds_of(pairs, n_folds=3):
    """Pairs of two images of the same fold; every n_folds-th image is in the same."""
    first, second = (pairs % n_folds).T
    return [np.flatnonzero((first == fold) & (second == fold)) for fold in range(n_folds)]


def test_folds_have_the_null_of_relabelled_images_of_each_fold():
    pairs, y_true, y_pred = simulate(n_images=8)
    folds = folds_of(pairs, 2)
    y_pred[np.setdiff1d(np.arange(len(pairs)), np.concatenate(folds))] = np.nan  # never tested
    result = rdm_permutation_test(
        pairs, y_true, y_pred, folds=folds, n_permutations=3000, random_state=0
    )
    rdm = np.zeros((8, 8))
    rdm[tuple(pairs.T)] = rdm[tuple(pairs[:, ::-1].T)] = y_pred

    def score(fold, order):
        first, second = pairs[fold].T
        return rdm_spearman_score(y_true[fold], rdm[order[first], order[second]])

    every = []
    for places in permutations([0, 2, 4, 6]):
        order = np.arange(8)
        order[::2] = places
        even = score(folds[0], order)
        for others in permutations([1, 3, 5, 7]):
            order[1::2] = others
            every.append((even + score(folds[1], order)) / 2)
    assert set(result.null_distribution.round(9)) == set(np.round(every, 9))
    assert result.expected_score == pytest.approx(np.mean(every), abs=0.03)
    assert_allclose(result.fold_scores, [score(fold, np.arange(8)) for fold in folds])
    assert result.score == pytest.approx(np.mean(result.fold_scores))
    assert_array_equal(result.n_pairs, 12)
    n_reached = np.sum(result.null_distribution >= result.score - 1e-12)
    assert result.pvalue == (1 + n_reached) / 3001


def test_folds_forgive_levels_that_differ_between_folds():
    pairs, y_true, y_pred = simulate(n_images=18, noise=0.3)
    folds = folds_of(pairs)
    shifted = y_pred.copy()
    for level, fold in enumerate(folds):
        shifted[fold] += 100 * level  # as of models that were fitted fold by fold
    draw = {"n_permutations": 99, "random_state": 0}
    plain, moved = (
        rdm_permutation_test(pairs, y_true, p, folds=folds, **draw) for p in (y_pred, shifted)
    )
    assert moved.score == pytest.approx(plain.score)
    assert_allclose(moved.null_distribution, plain.null_distribution)
    assert moved.pvalue == 0.01
    tested = np.concatenate(folds)
    pooled = rdm_permutation_test(pairs[tested], y_true[tested], shifted[tested], **draw)
    assert pooled.score < moved.score / 2


def test_one_fold_of_all_pairs_is_no_folds():
    pairs, y_true, y_pred = simulate(n_images=7)
    draw = {"n_permutations": 40, "random_state": 0}
    without = rdm_permutation_test(pairs, y_true, y_pred, **draw)
    with_one = rdm_permutation_test(pairs, y_true, y_pred, folds=[np.arange(21)], **draw)
    assert_array_equal(without.null_distribution, with_one.null_distribution)


def test_images_move_among_images_of_the_same_folds():
    pairs = all_pairs(8)
    low, high = (np.flatnonzero((pairs < 5).all(1)), np.flatnonzero((pairs >= 3).all(1)))
    cells = _members_of_folds(pairs, [low, high])
    assert sorted(map(list, cells)) == [[0, 1, 2], [3, 4], [5, 6, 7]]
    rows = np.concatenate([all_pairs(3), all_pairs(3) + 3])
    assert_array_equal(_members_of_folds(rows, [np.arange(6)]), [[0, 1, 2], [3, 4, 5]])
    _, y_true, y_pred = simulate(n_images=8)
    disjoint = [np.flatnonzero((pairs == (0, 1)).all(1)), np.flatnonzero((pairs == (2, 3)).all(1))]
    with pytest.raises(ValueError, match=r"no three images are connected by pairs \(of the same"):
        rdm_permutation_test(pairs, y_true, y_pred, folds=disjoint)


def additive_fold(seed, n_images=20, n_held_out=6):
    """A fold of test_pairs="any"; effects of images add up, those trained on are predicted well."""
    rng = np.random.default_rng(seed)
    pairs = all_pairs(n_images)
    effects, unrelated = rng.standard_normal((2, n_images))
    known = np.where(np.arange(n_images) < n_held_out, unrelated, effects)
    fold = np.flatnonzero((pairs < n_held_out).any(axis=1))
    y_true = effects[pairs].sum(axis=1) + 0.3 * rng.standard_normal(len(pairs))
    return pairs, y_true, known[pairs].sum(axis=1), fold


@pytest.mark.parametrize("as_fold", [True, False])
def test_knowing_the_training_images_is_no_evidence_on_held_out_ones(as_fold):
    pvalues = []
    for seed in range(40):
        pairs, y_true, y_pred, fold = additive_fold(seed)
        data, folds = (pairs, y_true, y_pred), [fold]
        if not as_fold:
            data, folds = [each[fold] for each in data], None
        result = rdm_permutation_test(*data, folds=folds, n_permutations=39, random_state=seed)
        assert_array_equal(result.n_pairs, len(fold))
        pvalues.append(result.pvalue)
    assert 0.35 < np.mean(pvalues) < 0.65
    assert np.mean(np.array(pvalues) <= 0.1) < 0.25


def test_training_images_of_a_fold_stay_in_place():
    pairs = all_pairs(9)
    fold = np.flatnonzero((pairs < 4).any(axis=1))
    moved = [list(cell) for cell in _members_of_folds(pairs, [fold]) if len(cell) > 1]
    assert moved == [[0, 1, 2, 3]]
    other = all_pairs(5) + 9  # another image set of the fold, of which all pairs are tested
    both = np.concatenate([pairs[fold], other])
    cells = _members_of_folds(both, [np.arange(len(both))])
    assert sorted(map(list, cells)) == [[0, 1, 2, 3], [4], [5], [6], [7], [8], [*range(9, 14)]]


@pytest.mark.parametrize("missing", [[0, 20], [0, 1], [0, 8, 15]])  # (1, 2) is in row 8
def test_images_of_other_incomplete_folds_all_move(missing):
    pairs = np.delete(all_pairs(9), missing, axis=0)
    (cell,) = _members_of_folds(pairs, [np.arange(len(pairs))])
    assert_array_equal(cell, np.arange(9))


def test_folds_that_train_on_every_image_are_refused_with_advice():
    pairs, y_true, y_pred = simulate(n_images=9)
    folds = [np.flatnonzero((pairs % 3 == fold).any(axis=1)) for fold in range(3)]
    with pytest.raises(ValueError, match="trained on stay in place, so give the folds of test_pa"):
        rdm_permutation_test(pairs, y_true, y_pred, folds=folds)
    inner = folds_of(pairs)
    assert rdm_permutation_test(pairs, y_true, y_pred, folds=inner, n_permutations=9).pvalue == 0.1


def test_constant_predictions_are_told_to_be_no_evidence():
    pairs, y_true, _ = simulate()
    with pytest.warns(UndefinedMetricWarning, match=r"y_pred has no score .* 1 of 1 fold"):
        result = rdm_permutation_test(pairs, y_true, np.ones(len(pairs)), n_permutations=9)
    assert np.isnan(result.score)
    assert np.isnan(result.expected_score)
    assert result.pvalue == 1


def constant_in_fold_0():
    pairs, y_true, y_pred = simulate(n_images=18, noise=0.3)
    folds = folds_of(pairs)
    failed = y_pred.copy()
    failed[folds[0]] = 1
    return pairs, y_true, y_pred, failed, folds


def test_a_fold_without_a_score_is_not_passed_over_in_the_permutation_test():
    pairs, y_true, _, failed, folds = constant_in_fold_0()
    with pytest.warns(UndefinedMetricWarning, match=r"1 of 3 fold\(s\), first fold 0"):
        result = rdm_permutation_test(pairs, y_true, failed, folds=folds, n_permutations=9)
    assert np.isnan(result.score)
    assert_array_equal(np.isnan(result.fold_scores), [True, False, False])
    assert result.pvalue == 1


# ---- bootstrap


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


@pytest.mark.parametrize("metric", ["spearman", rdm_spearman_score])
def test_constant_predictions_have_no_interval(metric):
    pairs, y_true, _ = simulate(n_images=6)
    with pytest.warns(UndefinedMetricWarning, match="samples.*or constant|y_pred.*: constant"):
        result = rdm_bootstrap(pairs, y_true, np.ones(15), metric=metric, n_resamples=5)
    assert np.isnan([result.score, *result.confidence_interval]).all()


def test_resampled_pairs_are_those_of_all_copies():
    counts = np.array([2, 0, 3, 1])
    index = all_pairs(4)
    rows, copies = _repeat_pairs(index, counts)
    labels = np.repeat(np.arange(4), counts)
    expected = [(i, j) for i, j in all_pairs(6) if labels[i] != labels[j]]
    assert sorted(map(tuple, copies)) == expected
    assert_array_equal(np.sort(labels[copies], axis=1), index[rows])
    rows, copies = _repeat_pairs(index, np.ones(4, dtype=int))
    assert_array_equal(copies, index)


def test_bootstrap_over_subjects_resamples_their_scores():
    pairs, y_true, y_pred = simulate(n_subjects=8)
    result = rdm_bootstrap(pairs, y_true, y_pred, over="subjects", n_resamples=2000, random_state=0)
    scores = rdm_spearman_score(y_true, y_pred, subject_average=False)
    assert result.score == pytest.approx(scores.mean())
    assert result.standard_error == pytest.approx(scores.std() / np.sqrt(8), rel=0.1)
    low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    assert result.confidence_interval == (low, high)


def test_both_vary_more_than_each():
    pairs, y_true, y_pred = simulate(n_images=20, n_subjects=6, noise=2)
    errors = {
        over: rdm_bootstrap(
            pairs, y_true, y_pred, over=over, n_resamples=300, random_state=0
        ).standard_error
        for over in ("images", "subjects", "both")
    }
    assert errors["both"] > max(errors["images"], errors["subjects"])


@pytest.mark.parametrize("metric", METRICS)
def test_interval_holds_the_score(metric):
    pairs, y_true, y_pred = simulate(n_images=15)
    result = rdm_bootstrap(
        pairs, y_true, y_pred, over="images", metric=metric, n_resamples=60, random_state=0
    )
    low, high = result.confidence_interval
    assert low < result.score < high
    narrow = rdm_bootstrap(
        pairs,
        y_true,
        y_pred,
        over="images",
        metric=metric,
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
    pairs, y_true, y_pred = simulate(n_images=3)
    with pytest.warns(UndefinedMetricWarning, match="80 of 100 samples have no score"):
        result = rdm_bootstrap(
            pairs, y_true, y_pred, over="images", n_resamples=100, random_state=0
        )
    assert 0 < np.isnan(result.bootstrap_distribution).sum() < 100
    assert np.isfinite(result.confidence_interval).all()


# ---- comparison


def test_comparison_is_paired():
    pairs, y_true, y_pred = simulate(n_images=20, noise=0.3)
    worse = y_pred + 0.3 * np.random.default_rng(0).standard_normal(len(y_pred))
    draw = {"over": "images", "n_resamples": 199, "random_state": 0}
    result = compare_rdm_scores(pairs, y_true, y_pred, worse, **draw)
    alone = [rdm_bootstrap(pairs, y_true, p, **draw) for p in (y_pred, worse)]
    assert_allclose(result.scores, [one.score for one in alone])
    assert result.difference == pytest.approx(alone[0].score - alone[1].score)
    assert_allclose(
        result.bootstrap_distribution,
        alone[0].bootstrap_distribution - alone[1].bootstrap_distribution,
    )
    assert result.pvalue == 0.01
    opposite = compare_rdm_scores(pairs, y_true, worse, y_pred, **draw)
    assert opposite.pvalue == result.pvalue
    assert opposite.difference == -result.difference


def test_a_model_does_not_differ_from_itself():
    pairs, y_true, y_pred = simulate()
    result = compare_rdm_scores(pairs, y_true, y_pred, y_pred, n_resamples=20, random_state=0)
    assert result.difference == 0
    assert result.pvalue == 1


@pytest.mark.filterwarnings("ignore:9 of 9 samples have no score")
def test_a_model_that_failed_in_a_fold_does_not_win():
    pairs, y_true, y_pred, failed, folds = constant_in_fold_0()
    hard = y_true.copy()
    hard[folds[0]] = np.random.default_rng(0).random(hard[folds[0]].shape)  # nothing to predict
    draw = {"folds": folds, "n_resamples": 9, "random_state": 0}
    for models, name in [((failed, y_pred), "y_pred has"), ((y_pred, failed), "y_pred_other has")]:
        with pytest.warns(UndefinedMetricWarning, match=rf"^{name} no score .* first fold 0"):
            result = compare_rdm_scores(pairs, hard, *models, **draw)
        assert np.isnan(result.difference)
        assert_array_equal(np.isnan(result.scores), [model is failed for model in models])
        assert result.pvalue == 1
        assert np.isnan(result.confidence_interval).all()
        assert_array_equal(np.isnan(result.fold_differences), [True, False, False])


def test_what_a_sample_cannot_score_of_one_model_is_left_out_of_both():
    def score(counts):  # predictions, folds, subjects
        return np.array([[[np.nan], [0.2]], [[0.9], [0.3]]])

    full, sets = np.zeros((2, 2, 1)), [np.arange(3)]
    assert_allclose(_score_resampled(score, full, sets, "images", 0, 1), [[0.2, 0.3]])


def test_comparison_fold_by_fold():
    pairs, y_true, y_pred = simulate()
    folds = [np.arange(0, 33), np.arange(33, 66)]
    other = simulate(seed=3)[2]
    result = compare_rdm_scores(pairs, y_true, y_pred, other, folds=folds, n_resamples=20)
    expected = [
        rdm_spearman_score(y_true[fold], y_pred[fold])
        - rdm_spearman_score(y_true[fold], other[fold])
        for fold in folds
    ]
    assert_allclose(result.fold_differences, expected)
    assert result.difference == pytest.approx(np.mean(expected))


# ---- all of them


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
    assert len(np.unique(one.bootstrap_distribution)) == 100


def test_the_global_random_state_is_left_alone():
    pairs, y_true, y_pred = simulate()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    rdm_permutation_test(pairs, y_true, y_pred, n_permutations=5, random_state=0)
    rdm_bootstrap(pairs, y_true, y_pred, n_resamples=5, random_state=0)
    assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_wrong_inputs_are_refused():
    pairs, y_true, y_pred = simulate(n_images=5)
    for function in (rdm_permutation_test, rdm_bootstrap):
        with pytest.raises(ValueError, match=r"metric must be one of .*'noise_normalized_r2'"):
            function(pairs, y_true, y_pred, metric="r2")
        with pytest.raises(ValueError, match="got 9 pairs for 10"):
            function(pairs[:9], y_true, y_pred)
        with pytest.raises(ValueError, match="y_pred of pair 3 is nan"):
            function(pairs, y_true, np.where(np.arange(10) == 3, np.nan, y_pred))
        with pytest.raises(ValueError, match="two or more subjects"):
            function(pairs, y_true[:, 0], y_pred, metric="noise_normalized_r2")
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
    with pytest.raises(ValueError, match="at least one draw"):
        rdm_permutation_test(pairs, y_true, y_pred, n_permutations=0)


def test_whitening_treats_copies_of_an_image_as_images():
    pairs, y_true, y_pred = simulate(n_images=5)
    rows, copies = _repeat_pairs(pairs, np.array([2, 1, 1, 1, 0]))
    score = rdm_whitened_pearson_score(y_true[rows], y_pred[rows], pairs=copies)
    contrasts = np.zeros((len(rows), 5))
    contrasts[range(len(rows)), copies[:, 0]] = 1
    contrasts[range(len(rows)), copies[:, 1]] = -1
    whitening = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    x = y_pred[rows] - y_pred[rows].mean()
    y = y_true[rows] - y_true[rows].mean(axis=0)
    norms = np.sqrt(x @ whitening @ x * np.einsum("ps,pq,qs->s", y, whitening, y))
    assert score == pytest.approx(np.mean(x @ whitening @ y / norms))


@pytest.mark.data
def test_chance_level_of_the_challenge(load_algonauts):
    # FIELD.md 3.4: relabelled group means score 2.8 and 3.2 % of the ceiling
    for target, percent in [("fmri_evc", 2.8), ("fmri_it", 3.2)]:
        y_true = load_algonauts(118, target).rdms[:, *np.triu_indices(118, 1)].T
        result = rdm_permutation_test(
            all_pairs(118),
            y_true,
            y_true.mean(axis=1),
            metric="noise_normalized_r2",
            n_permutations=500,
            random_state=0,
        )
        assert 100 * result.expected_score == pytest.approx(percent, abs=0.3)


# ---- time courses


@pytest.mark.parametrize("metric", ["spearman", "whitened_pearson", "noise_normalized_r2"])
def test_time_courses_give_the_mean_over_their_time_points(metric):
    pairs, y_true, y_pred = simulate(n_images=9)
    noise = np.random.default_rng(1).standard_normal((*y_true.shape, 3))
    timed = y_true[:, :, None] + 0.5 * noise
    draw = {"metric": metric, "random_state": 0}
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
    assert course.pvalue == flat.pvalue
    assert_allclose(course.difference, flat.difference)


def test_a_score_function_takes_time_courses():
    pairs, y_true, y_pred = simulate(n_images=8)
    timed = np.stack([y_true, y_true**2 - y_true, np.cos(y_true)], axis=2)
    draw = {"n_permutations": 20, "random_state": 0}
    for name, function in [
        ("spearman", rdm_spearman_score),
        ("noise_normalized_r2", noise_normalized_r2_score),
    ]:
        named = rdm_permutation_test(pairs, timed, y_pred, metric=name, **draw)
        given = rdm_permutation_test(pairs, timed, y_pred, metric=function, **draw)
        assert_allclose(named.null_distribution, given.null_distribution)


def test_too_few_images_of_a_time_course_give_nan():
    pairs, y_true, y_pred = simulate(n_images=3)
    timed = np.stack([y_true, y_true**2], axis=2)
    with pytest.warns(UndefinedMetricWarning, match="too few distinct images"):
        result = rdm_bootstrap(pairs, timed, y_pred, over="images", n_resamples=50, random_state=0)
    assert np.isnan(result.bootstrap_distribution).any()
