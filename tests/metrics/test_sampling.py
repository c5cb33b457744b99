"""The error of a random part of the pairs, against many random parts."""

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import KFold, cross_val_score

from sklearn_rdm import FixedRSARegressor, ResponsePatterns
from sklearn_rdm.metrics import (
    get_rdm_scorer,
    make_rdm_scorer,
    rdm_kendall_tau_a_score,
    rdm_permutation_test,
    rdm_sampling_error,
    rdm_spearman_score,
)

N_IMAGES, N_PAIRS = 150, 1500


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((N_IMAGES, 8))
    patterns = [features @ rng.random((8, 30)) + 2 * rng.random((N_IMAGES, 30)) for _ in range(3)]
    patterns[1][:40] = np.nan
    y = ResponsePatterns(patterns)
    return features, y, FixedRSARegressor("euclidean").fit(features, y).transform(features)


@pytest.mark.parametrize("scoring", ["spearman", "pearson", "cosine"])
def test_intervals_cover_the_score_of_all_pairs(problem, scoring):
    features, y, rdm = problem
    score = get_rdm_scorer(scoring)._score_func
    pairs, dissim = y.to_pairs(features)
    truth = score(dissim, rdm[tuple(pairs.index.T)])
    found = []
    for seed in range(300):
        part, values = y.to_pairs(features, n_pairs=N_PAIRS, random_state=seed)
        error = rdm_sampling_error(part, values, rdm, scoring=scoring, random_state=seed)
        found.append((score(values, rdm[tuple(part.index.T)]) - truth, error))
    difference, error = np.array(found).T
    assert np.sqrt(np.mean(error**2)) == pytest.approx(difference.std(), rel=0.15)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(300)
    covered = np.mean(np.abs(difference) < stats.t.isf(0.025, 49) * error)
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 300) < covered < 0.99


def test_equals_the_textbook_of_independent_normal_pairs():
    rng = np.random.default_rng(0)
    m, rho = 20_000, 0.6
    y = rng.standard_normal(m)
    x = rho * y + np.sqrt(1 - rho**2) * rng.standard_normal(m)
    index = np.column_stack([np.arange(m), np.arange(m) + 1])
    error = rdm_sampling_error(index, y, x, scoring="pearson", n_groups=500)
    assert error == pytest.approx((1 - rho**2) / np.sqrt(m), rel=0.1)


def test_all_pairs_have_no_error(problem):
    features, y, rdm = problem
    pairs, dissim = y._of_subjects([0, 2]).to_pairs(features)
    assert rdm_sampling_error(pairs, dissim, rdm) == 0
    assert rdm_sampling_error(features, y._of_subjects([0]), rdm) == 0


def test_what_has_no_error_raises(problem):
    features, y, rdm = problem
    part, values = y.to_pairs(features, n_pairs=499, random_state=0)
    with pytest.raises(ValueError, match="499 pairs make no 50 groups of 10 pairs"):
        rdm_sampling_error(part, values, rdm)
    with pytest.raises(ValueError, match="whitened score of a part of the pairs is not"):
        rdm_sampling_error(part, values, rdm, scoring="whitened_pearson")


def test_a_scorer_of_a_part_scores_the_pairs_that_are_drawn(problem):
    features, y, _ = problem
    scorer = get_rdm_scorer("kendall_tau_a", n_pairs=200, random_state=3)
    assert "n_pairs=200" in repr(scorer)
    model = FixedRSARegressor("euclidean").fit(features, y)
    part, values = y.to_pairs(features, n_pairs=200, random_state=3)
    expected = rdm_kendall_tau_a_score(values, model.predict(part))
    assert scorer(model, features, y) == expected
    scores = cross_val_score(model, features, y, cv=KFold(3), scoring=scorer)
    assert np.isfinite(scores).all()
    with pytest.raises(TypeError, match="n_pairs draws pairs of images with ResponsePatterns"):
        scorer(model, part, values)
    with pytest.raises(ValueError, match="draw them once"):
        rdm_permutation_test(part, values, model.predict(part), scoring=scorer)
    assert make_rdm_scorer(rdm_spearman_score)(model, features, y) <= 1


def test_shuffled_predictions_of_a_part_are_read_from_a_matrix(problem, tmp_path):
    """The null has the spread of all pairs and that of drawing; else, few pairs would be left."""
    features, y, rdm = problem
    part, values = y.to_pairs(features, n_pairs=N_PAIRS, random_state=0)
    options = {"n_permutations": 200, "random_state": 0}
    found = rdm_permutation_test(part, values, rdm, **options)
    assert (found.n_pairs == len(part)).all()
    without = rdm_permutation_test(part, values, rdm[tuple(part.index.T)], **options)
    assert found.score == without.score
    assert without.n_pairs.max() < len(part) / 4
    every = rdm_permutation_test(features, y, rdm, **options)
    drawing = (1 - len(part) / 11_175) / len(part)
    spread = np.sqrt(every.null_distribution.var() + drawing)
    assert found.null_distribution.std() == pytest.approx(spread, rel=0.2)
    assert without.null_distribution.std() > 1.3 * found.null_distribution.std()
    np.save(tmp_path / "rdm.npy", rdm)
    mapped = rdm_permutation_test(part, values, np.load(tmp_path / "rdm.npy", "r"), **options)
    np.testing.assert_array_equal(mapped.null_distribution, found.null_distribution)


def test_an_unrelated_part_is_no_discovery():
    rng = np.random.default_rng(0)
    pvalues = []
    for seed in range(120):
        y = ResponsePatterns(rng.standard_normal((30, 6)))
        other = ResponsePatterns(rng.standard_normal((30, 6))).to_rdms()[0]
        part, values = y.to_pairs(np.zeros((30, 1)), n_pairs=100, random_state=seed)
        test = rdm_permutation_test(part, values, other, n_permutations=99, random_state=seed)
        pvalues.append(test.pvalue)
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
