"""What is checked of dissimilarities before they are compared."""

import numpy as np
import pytest
from scipy.spatial.distance import squareform
from scipy.stats import pearsonr
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm import FixedRSARegressor, ImagePairs
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    noise_ceiling,
    rdm_bootstrap,
    rdm_ceiling_report,
    rdm_kendall_tau_a_score,
    rdm_partial_score,
    rdm_pearson_score,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_variance_partition,
)
from sklearn_rdm.metrics._checks import (
    check_folds,
    check_observed,
    check_predicted,
    check_time_average,
    index_of_pairs,
    warn_undefined,
)


def test_one_subject_becomes_a_column():
    np.testing.assert_array_equal(check_observed([1, np.nan, 3]), [[1], [np.nan], [3]])
    assert check_observed(np.ones((3, 2, 4))).shape == (3, 2, 4)


@pytest.mark.parametrize("y_true", [np.empty((0, 2)), np.ones((2, 2, 2, 2)), 3.0])
def test_wrong_shapes_of_observations(y_true):
    with pytest.raises(ValueError, match="y_true"):
        check_observed(y_true)


@pytest.mark.parametrize("missing", [None, 1])
@pytest.mark.parametrize("n_subjects", [None, 4])
def test_square_matrices_are_not_taken_for_pairs(n_subjects, missing):
    rdms = squareform(np.random.default_rng(0).random(10))
    if n_subjects:
        rdms = np.stack([rdms] * n_subjects)
    if missing:
        rdms[..., 0, missing] = rdms[..., missing, 0] = np.nan
    with pytest.raises(ValueError, match=r"square matrices.*ImagePairs.from_rdms\(images, rdms\)"):
        check_observed(rdms)
    with pytest.raises(ValueError, match=r"must have shape \(10,\).*ImagePairs.from_rdms"):
        check_predicted(rdms, 10)
    off_diagonal = rdms + np.eye(5)  # as any pairs of as many subjects or time points
    np.testing.assert_array_equal(check_observed(off_diagonal), off_diagonal)


def test_infinite_observations_name_the_pair():
    y_true = np.ones((4, 2))
    y_true[2, 1] = -np.inf
    with pytest.raises(ValueError, match="y_true of pair 2 is infinite"):
        check_observed(y_true)


def test_time_points_are_kept_apart_only_where_there_are_some():
    check_time_average(False, True)
    check_time_average(True, False)
    with pytest.raises(ValueError, match="got no time axis"):
        check_time_average(False, False)


def test_predictions_are_finite_and_one_per_pair():
    assert check_predicted(np.float32([1, 2]), 2).dtype == np.float64
    with pytest.raises(ValueError, match=r"shape \(3,\).*got \(2,\)"):
        check_predicted([1, 2], 3)
    with pytest.raises(ValueError, match="y_pred of pair 1 is nan: the model diverged"):
        check_predicted([1, np.nan], 2)


def test_index_of_all_pairs_of_an_array_and_of_image_pairs():
    every = [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_array_equal(index_of_pairs(None, 3), every)
    np.testing.assert_array_equal(index_of_pairs(np.array(every[:2]), 2), every[:2])
    pairs = ImagePairs(np.zeros((5, 1)), np.array([[3, 4]]))
    np.testing.assert_array_equal(index_of_pairs(pairs, 1), [[3, 4]])


def test_wrong_index():
    with pytest.raises(ValueError, match="4 pairs are not all pairs of some images"):
        index_of_pairs(None, 4)
    with pytest.raises(ValueError, match="got 1 pairs for 2 dissimilarities"):
        index_of_pairs(np.array([[0, 1]]), 2)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([], "folds is empty"),
        ([[0], []], "fold 1 must be a list of row numbers"),
        ([[0.0]], "fold 0 must be a list of row numbers of pairs, got float64"),
        ([[0], [1, 5]], "fold 1 has rows outside 0 to 4"),
        ([[-1]], "fold 0 has rows outside 0 to 4"),
    ],
)
def test_wrong_folds(folds, message):
    with pytest.raises(ValueError, match=message):
        check_folds(folds, 5)


def test_folds_are_rows():
    found = check_folds([[0, 2], (4,)], 5)
    assert [rows.tolist() for rows in found] == [[0, 2], [4]]


def test_undefined_scores_are_counted_and_the_first_is_named():
    warn_undefined(np.array([0.1, 0.2]))
    with pytest.warns(UndefinedMetricWarning, match=r"1 of 2 subject\(s\), first subject 1:"):
        warn_undefined(np.array([0.1, np.nan]))
    with pytest.warns(UndefinedMetricWarning, match="first subject 0 at time point 1"):
        warn_undefined(np.array([[0.1, np.nan]]))


def test_a_masked_prediction_is_none():
    """Its hidden value must not be scored, unless the pair is in no fold."""
    y = np.random.default_rng(0).random((15, 3))
    index = np.column_stack(np.triu_indices(6, 1))
    prediction = np.ma.masked_array(y[:, 0], mask=np.arange(15) == 4)
    prediction.data[4] = -999
    for function in (
        lambda **folds: rdm_permutation_test(index, y, prediction, n_permutations=9, **folds).score,
        lambda **folds: rdm_bootstrap(index, y, prediction, over="subjects", **folds).score,
        lambda **folds: compare_rdm_scores(index, y, prediction, n_resamples=9, **folds).scores,
        lambda **folds: rdm_ceiling_report(index, y, prediction, **folds).score,
        lambda **folds: rdm_partial_score(y, prediction, np.arange(15.0), **folds),
        lambda **folds: rdm_variance_partition(y, prediction, np.arange(15.0), **folds).shares,
    ):
        with pytest.raises(ValueError, match="y_pred of pair 4 is nan"):
            function()
        rest = np.delete(np.arange(15), 4)
        found = function(folds=[rest])
        prediction.data[4] = 999
        np.testing.assert_array_equal(function(folds=[rest]), found)


def test_what_differs_by_rounding_has_no_correlation():
    features = np.kron(np.eye(12), np.ones(7)) * 0.3 + 0.1
    pairs = ImagePairs(features)
    y = np.random.default_rng(0).random((len(pairs), 3))
    prediction = FixedRSARegressor().fit(pairs, y).predict(pairs)
    assert 0 < np.ptp(prediction) < 1e-14  # all images are as far apart
    for score in (rdm_pearson_score, rdm_spearman_score):
        with pytest.warns(UndefinedMetricWarning):
            assert np.isnan(score(y, prediction))
    assert rdm_kendall_tau_a_score(y, prediction) == 0
    with pytest.warns(UndefinedMetricWarning, match="constant predictions"):
        assert rdm_permutation_test(pairs, y, prediction, n_permutations=9).pvalue == 1
    constant = np.where(np.arange(len(y)) % 2, 0.3, 0.1 * 3)
    assert np.ptp(constant) > 0
    with pytest.warns(UndefinedMetricWarning):
        found = noise_ceiling(np.column_stack([y, constant]), scoring="pearson")
    assert found == pytest.approx(noise_ceiling(y, scoring="pearson"))


def test_an_offset_is_no_rounding():
    y, prediction = np.random.default_rng(0).random((2, 28)) + [[1e9], [-1e9]]
    expected = pearsonr(y - 1e9, prediction + 1e9).statistic
    assert rdm_pearson_score(y, prediction) == pytest.approx(expected, rel=1e-6)
