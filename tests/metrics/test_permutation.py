from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import squareform
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm import ImagePairs
from sklearn_rdm.metrics import (
    get_rdm_scorer,
    make_rdm_scorer,
    noise_normalized_r2_score,
    rdm_permutation_test,
    rdm_spearman_score,
)
from sklearn_rdm.metrics._permutation import _members_of_folds
from tests.simulated import all_pairs, constant_in_fold_0, folds_of, simulate

METRICS = ["spearman", "rdm_pearson", "kendall_tau_a", "whitened_pearson", "noise_normalized_r2"]


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
    draw = {"scoring": metric, "n_permutations": 99, "random_state": 0}
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
    squared = rdm_permutation_test(pairs, y_true, y_pred, scoring="noise_normalized_r2", **options)
    assert abs(signed.expected_score) < 0.03
    assert squared.expected_score > 0.02
    assert squared.score == pytest.approx(noise_normalized_r2_score(y_true, y_pred))


def test_a_fold_without_common_pairs_has_no_normalized_score():
    pairs, y_true, y_pred = simulate(n_images=18)
    folds = folds_of(pairs)
    y_true[folds[1], 1:] = np.nan
    for metric in ("noise_normalized_r2", get_rdm_scorer("noise_normalized_r2")):
        with pytest.warns(UndefinedMetricWarning, match="first fold 1"):
            result = rdm_permutation_test(
                pairs, y_true, y_pred, scoring=metric, folds=folds, n_permutations=5
            )
        assert_array_equal(np.isnan(result.fold_scores), [False, True, False])


def test_a_convention_is_a_parameter_of_the_scorer():
    pairs, y_true, y_pred = simulate(n_images=9)
    metric = get_rdm_scorer("noise_normalized_r2", convention="net2brain")
    result = rdm_permutation_test(pairs, y_true, y_pred, scoring=metric, n_permutations=9)
    expected = noise_normalized_r2_score(y_true, y_pred, convention="net2brain")
    assert result.score == pytest.approx(expected)


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
    result = rdm_permutation_test(
        pairs, y_true, y_pred, folds=inner, n_permutations=9, random_state=0
    )
    assert result.pvalue == 0.1


def test_constant_predictions_are_told_to_be_no_evidence():
    pairs, y_true, _ = simulate()
    with pytest.warns(UndefinedMetricWarning, match=r"y_pred has no score .* 1 of 1 fold"):
        result = rdm_permutation_test(pairs, y_true, np.ones(len(pairs)), n_permutations=9)
    assert np.isnan(result.score)
    assert np.isnan(result.expected_score)
    assert result.pvalue == 1


def test_a_fold_without_a_score_is_not_passed_over_in_the_permutation_test():
    pairs, y_true, _, failed, folds = constant_in_fold_0()
    with pytest.warns(UndefinedMetricWarning, match=r"1 of 3 fold\(s\), first fold 0"):
        result = rdm_permutation_test(pairs, y_true, failed, folds=folds, n_permutations=9)
    assert np.isnan(result.score)
    assert_array_equal(np.isnan(result.fold_scores), [True, False, False])
    assert result.pvalue == 1


@pytest.mark.data
def test_chance_level_of_the_challenge(load_algonauts):
    # FIELD.md 3.4: relabelled group means score 2.8 and 3.2 % of the ceiling
    for target, percent in [("fmri_evc", 2.8), ("fmri_it", 3.2)]:
        y_true = load_algonauts(118, target).rdms[:, *np.triu_indices(118, 1)].T
        result = rdm_permutation_test(
            all_pairs(118),
            y_true,
            y_true.mean(axis=1),
            scoring="noise_normalized_r2",
            n_permutations=500,
            random_state=0,
        )
        assert 100 * result.expected_score == pytest.approx(percent, abs=0.3)


def test_a_score_function_takes_time_courses():
    pairs, y_true, y_pred = simulate(n_images=8)
    timed = np.stack([y_true, y_true**2 - y_true, np.cos(y_true)], axis=2)
    draw = {"n_permutations": 20, "random_state": 0}
    for name, function in [
        ("spearman", rdm_spearman_score),
        ("noise_normalized_r2", noise_normalized_r2_score),
    ]:
        named = rdm_permutation_test(pairs, timed, y_pred, scoring=name, **draw)
        given = rdm_permutation_test(
            pairs, timed, y_pred, scoring=make_rdm_scorer(function), **draw
        )
        assert_allclose(named.null_distribution, given.null_distribution)


def test_a_masked_matrix_predicts_nothing_there():
    rng = np.random.default_rng(0)
    rdm = squareform(rng.random(28))
    pairs, y = ImagePairs.from_rdms(np.eye(8), rdm + squareform(rng.random(28)))
    part = np.sort(rng.permutation(28)[:20])
    hidden = np.isin(np.arange(28), part, invert=True) & (np.arange(28) % 2 == 0)
    missing = np.where(squareform(hidden), np.nan, rdm)
    masked = np.ma.masked_array(np.where(squareform(hidden), -999, rdm), mask=squareform(hidden))
    nulls = [
        rdm_permutation_test(pairs[part], y[part], each, n_permutations=20).null_distribution
        for each in (missing, masked)
    ]
    np.testing.assert_array_equal(*nulls)


def test_a_prediction_that_only_a_permutation_reads_must_be_finite():
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.random((8, 3)))
    rdm = squareform(rng.random(len(pairs)))
    rdm[0, 1] = rdm[1, 0] = np.inf  # of the first pair, which is not in the part
    part = pairs[1:][rng.permutation(len(pairs) - 1)[:20]]
    with pytest.raises(ValueError, match="infinite for some pairs"):
        rdm_permutation_test(part, rng.random(20), rdm)
