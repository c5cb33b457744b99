import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ttest_1samp, ttest_rel
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm.metrics import (
    compare_fold_scores,
    compare_rdm_scores,
    make_rdm_scorer,
    noise_ceiling,
    rdm_bootstrap,
    rdm_spearman_score,
)
from tests.simulated import constant_in_fold_0, simulate


def models_of(pairs, y_pred):
    rng = np.random.default_rng(5)
    return {"good": y_pred, "fair": y_pred + rng.random(len(pairs)), "none": rng.random(len(pairs))}


def test_comparison_is_paired():
    pairs, y_true, y_pred = simulate(n_images=20, noise=0.3)
    worse = y_pred + 0.3 * np.random.default_rng(0).standard_normal(len(y_pred))
    draw = {"over": "images", "n_resamples": 199, "random_state": 0, "method": "percentile"}
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
    for models, name in [((failed, y_pred), "model 0 has"), ((y_pred, failed), "model 1 has")]:
        with pytest.warns(UndefinedMetricWarning, match=rf"^{name} no score .* first fold 0"):
            result = compare_rdm_scores(pairs, hard, *models, **draw)
        assert np.isnan(result.difference)
        assert_array_equal(np.isnan(result.scores), [model is failed for model in models])
        assert result.pvalue == 1
        assert np.isnan(result.confidence_interval).all()
        assert_array_equal(np.isnan(result.fold_differences), [True, False, False])


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


def test_any_number_of_models_in_one_table():
    pairs, y_true, y_pred = simulate(n_images=14, noise=1)
    models = models_of(pairs, y_pred)
    result = compare_rdm_scores(pairs, y_true, models, n_resamples=50, random_state=0)
    listed = compare_rdm_scores(
        pairs, y_true, *models.values(), names=list(models), n_resamples=50, random_state=0
    )
    assert result.records == listed.records
    others = [row["other"] for row in result.records]
    assert others == ["fair", "none", "none", *["chance"] * 3, *["lower ceiling"] * 3]
    by_subject = [rdm_spearman_score(y_true, p, subject_average=False) for p in models.values()]
    assert_allclose(result.subject_scores, by_subject)
    assert_allclose(result.scores, np.mean(by_subject, axis=1))
    assert result.noise_ceiling == pytest.approx(noise_ceiling(y_true)[0])
    for row, (first, second) in zip(result.records, [(0, 1), (0, 2), (1, 2)], strict=False):
        assert row["difference"] == pytest.approx(result.scores[first] - result.scores[second])
        for column in ("pvalue", "pvalue_holm", "pvalue_bh"):
            matrix = result[column.replace("pvalue", "pvalues")]
            assert matrix[first, second] == matrix[second, first] == row[column]
    assert_allclose(
        [row["difference"] for row in result.records[-3:]], result.scores - result.noise_ceiling
    )
    assert "pvalue" not in result
    for one, interval in zip(models.values(), result.confidence_intervals, strict=True):
        alone = rdm_bootstrap(pairs, y_true, one, n_resamples=50, random_state=0)
        assert_allclose(interval, alone.confidence_interval)


def test_over_subjects_it_is_the_t_test_of_their_scores():
    pairs, y_true, y_pred = simulate(noise=2)
    models = models_of(pairs, y_pred)
    result = compare_rdm_scores(pairs, y_true, models, over="subjects", n_resamples=5)
    good, _, none = result.subject_scores
    assert result.pvalues[0, 2] == pytest.approx(ttest_rel(good, none).pvalue)
    against_chance = result.records[5]
    assert against_chance["model"] == "none"
    expected = ttest_1samp(none, 0, alternative="greater").pvalue
    assert against_chance["pvalue"] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["jackknife", "schuett2023", "percentile"])
def test_good_models_differ_from_bad_ones(method):
    pairs, y_true, y_pred = simulate(n_images=25, n_subjects=8)
    models = models_of(pairs, y_pred)
    result = compare_rdm_scores(
        pairs, y_true, models, method=method, n_resamples=400, random_state=0
    )
    assert result.pvalues_holm[0, 2] < 0.05
    chance = {row["model"]: row["pvalue_holm"] for row in result.records[3:6]}
    assert chance["good"] < 0.05 < chance["none"]


def test_the_ceiling_is_that_of_the_same_folds():
    pairs, y_true, y_pred, _, folds = constant_in_fold_0()
    result = compare_rdm_scores(pairs, y_true, y_pred, folds=folds, n_resamples=5, random_state=0)
    assert result.noise_ceiling == pytest.approx(noise_ceiling(y_true, folds=folds)[0])
    courses = np.stack([y_true, y_true**2 + 1], axis=2)
    result = compare_rdm_scores(pairs, courses, y_pred, folds=folds, n_resamples=5)
    assert result.noise_ceiling == pytest.approx(noise_ceiling(courses, folds=folds)[0])


def test_chance_and_ceiling_only_where_they_have_a_meaning():
    pairs, y_true, y_pred = simulate()

    def others(y=y_true, **options):
        result = compare_rdm_scores(pairs, y, y_pred, n_resamples=5, **options)
        return [row["other"] for row in result.records]

    assert others() == ["chance", "lower ceiling"]
    assert others(scoring="cosine") == ["lower ceiling"]
    assert others(scoring="noise_normalized_r2") == []
    assert others(scoring=make_rdm_scorer(rdm_spearman_score)) == []
    assert others(y_true[:, 0], over="images") == ["chance"]


def test_models_without_names_of_their_own_are_refused():
    pairs, y_true, y_pred = simulate(n_images=5)
    with pytest.raises(ValueError, match="there is no model"):
        compare_rdm_scores(pairs, y_true)
    for names in (["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="names must be one per model and all different"):
            compare_rdm_scores(pairs, y_true, y_pred, y_pred, names=names)


def test_folds_that_overlap_have_a_larger_variance():
    rng = np.random.default_rng(0)
    scores = rng.random((3, 10))
    result = compare_fold_scores(scores, n_train=80, n_test=20)
    differences = scores[0] - scores[2]
    plain = ttest_rel(scores[0], scores[2])
    row = result.records[1]
    error = np.sqrt((1 / 10 + 1 / 4) * np.var(differences, ddof=1))
    assert row["standard_error"] == pytest.approx(error)
    assert row["pvalue"] > plain.pvalue
    independent = compare_fold_scores(scores, n_train=10**9, n_test=1)
    assert independent.records[1]["pvalue"] == pytest.approx(plain.pvalue, rel=1e-6)
    assert len(result.records) == 3


def test_fold_scores_that_cannot_be_compared_are_refused():
    for scores in ([[1, 2]], [[1], [2]], [[1, np.nan], [1, 2]], [1, 2]):
        with pytest.raises(ValueError, match="fold_scores must be finite and have shape"):
            compare_fold_scores(scores, n_train=4, n_test=2)
    for n_train in (0, np.nan):
        with pytest.raises(ValueError, match="n_train and n_test must be positive"):
            compare_fold_scores(np.ones((2, 3)), n_train=n_train, n_test=2)
