import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import pearsonr, rankdata, spearmanr
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LinearRegression

from sklearn_rdm.metrics import rdm_partial_score, rdm_spearman_score, rdm_variance_partition

N_PAIRS = 66


def simulate(n_models=3, n_subjects=2, seed=0):
    rng = np.random.default_rng(seed)
    models = rng.random((n_models, N_PAIRS)) + rng.random(N_PAIRS)
    y = models.sum(axis=0)[:, np.newaxis] + rng.random((N_PAIRS, n_subjects))
    return y, list(models)


def r2(y, models):
    x = np.column_stack(models) if models else np.zeros((len(y), 1))
    return LinearRegression().fit(x, y).score(x, y)


@pytest.mark.parametrize("scoring", ["pearson", "spearman"])
def test_shares_of_two_and_three_models_by_the_textbook(scoring):
    y, models = simulate()
    rank = rankdata if scoring == "spearman" else np.asarray
    (target,), (a, b, c) = [rank(y[:, 1])], map(rank, models)
    two = rdm_variance_partition(y, *models[:2], scoring=scoring)
    both, of_a, of_b = r2(target, [a, b]), r2(target, [a]), r2(target, [b])
    expected = [both - of_b, both - of_a, of_a + of_b - both]
    assert_allclose(two.subject_shares[:, 1], expected, atol=1e-12)
    three = rdm_variance_partition(y, *models, scoring=scoring)
    every = r2(target, [a, b, c])
    unique = every - r2(target, [b, c])
    shared_ab = r2(target, [a, c]) + r2(target, [b, c]) - r2(target, [c]) - every
    assert three.subject_shares[0, 1] == pytest.approx(unique)
    assert three.subject_shares[three.parts.index(("model 0", "model 1")), 1] == pytest.approx(
        shared_ab
    )
    assert_allclose(three.subject_shares.sum(axis=0), three.subject_r2)
    assert three.subject_r2[1] == pytest.approx(every)
    # All parts that hold a model add up to what it explains alone.
    with_a = ["model 0" in part for part in three.parts]
    assert three.subject_shares[with_a, 1].sum() == pytest.approx(r2(target, [a]))


@pytest.mark.parametrize("scoring", ["pearson", "spearman"])
def test_partial_correlations_by_the_inverse_of_all_correlations(scoring):
    y, models = simulate()
    rank = rankdata if scoring == "spearman" else np.asarray
    columns = np.array([rank(column) for column in (y[:, 0], *models)])
    precision = np.linalg.inv(np.corrcoef(columns))
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    ours = rdm_partial_score(y, *models, scoring=scoring, subject_average=False)
    assert ours[0] == pytest.approx(expected)
    plain = (spearmanr if scoring == "spearman" else pearsonr)(y[:, 0], models[0]).statistic
    assert rdm_partial_score(y[:, 0], models[0], scoring=scoring) == pytest.approx(plain)


def test_missing_pairs_and_time_points():
    y, models = simulate()
    y[:10, 1] = np.nan
    known = rdm_partial_score(y[10:, 1], *(model[10:] for model in models))
    assert rdm_partial_score(y, *models, subject_average=False)[1] == pytest.approx(known)
    part = rdm_variance_partition(y[10:, [1]], *(model[10:] for model in models))
    assert_allclose(rdm_variance_partition(y, *models).subject_shares[:, 1], part.shares)
    courses = np.stack([y, y**3], axis=2)
    by_time = [rdm_partial_score(courses[:, :, t], *models) for t in range(2)]
    assert rdm_partial_score(courses, *models) == pytest.approx(np.mean(by_time))
    shares = [rdm_variance_partition(courses[:, :, t], *models).shares for t in range(2)]
    assert_allclose(rdm_variance_partition(courses, *models).shares, np.mean(shares, axis=0))


def test_nothing_left_to_correlate():
    y, models = simulate()
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(rdm_partial_score(y, models[0], 2 * models[0] + 1))
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(rdm_partial_score(np.ones(N_PAIRS), *models))
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(rdm_variance_partition(np.ones(N_PAIRS), *models).r2)
    twice = rdm_variance_partition(y, models[0], models[0])
    assert_allclose(twice.shares[:2], 0, atol=1e-12)
    alone = rdm_spearman_score(y, models[0], subject_average=False)
    assert_allclose(twice.subject_r2, alone**2)


def test_wrong_inputs_are_refused():
    y, models = simulate()
    with pytest.raises(ValueError, match="takes 2 to 8 models, got 1"):
        rdm_variance_partition(y, models[0])
    with pytest.raises(ValueError, match="takes 2 to 8 models, got 9"):
        rdm_variance_partition(y, *[models[0]] * 9)
    with pytest.raises(ValueError, match="scoring must be one of"):
        rdm_partial_score(y, *models, scoring="cosine")
    with pytest.raises(ValueError, match=r"y_pred must have shape \(66,\)"):
        rdm_partial_score(y, models[0], models[1][1:])


def test_folds_are_averaged_and_need_no_other_predictions():
    y, models = simulate()
    folds = [np.arange(0, 20), np.arange(30, 52)]
    held_out = [
        np.where(np.isin(np.arange(N_PAIRS), np.concatenate(folds)), m, np.nan) for m in models
    ]
    each = [rdm_variance_partition(y[f], *(m[f] for m in models)) for f in folds]
    found = rdm_variance_partition(y, *held_out, folds=folds)
    assert_allclose(found.subject_shares, np.mean([e.subject_shares for e in each], axis=0))
    assert found.r2 == pytest.approx(np.mean([e.r2 for e in each]))
    assert found.shares.sum() == pytest.approx(found.r2)
    partial = [rdm_partial_score(y[f], *(m[f] for m in models)) for f in folds]
    assert rdm_partial_score(y, *held_out, folds=folds) == pytest.approx(np.mean(partial))
    with pytest.raises(ValueError, match="did not predict this pair.*folds="):
        rdm_variance_partition(y, *held_out)
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(rdm_partial_score(y, *models, folds=[*folds, [60]]))
