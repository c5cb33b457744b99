import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.utils import Bunch

from sklearn_rdm import FixedRSARegressor, ImagePairs, ImageTriplets
from sklearn_rdm._pairs._dissimilarities import (
    as_real,
    check_dissimilarities,
    check_symmetric,
    count_pairs,
    level,
)
from sklearn_rdm._pairs._image_pairs import check_fit_pairs
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_bootstrap,
    rdm_pearson_score,
    rdm_permutation_test,
)
from sklearn_rdm.preprocessing import SubjectPooling, choices_to_rdm

SQUARE = squareform(np.arange(1.0, 7.0))  # pairs 01 02 03 12 13 23


def timed(*entries):
    y = np.arange(24.0).reshape(6, 2, 2) ** 2
    for pair, subject, time, value in entries:
        y[pair, subject, time] = value
    return y


def test_missing_values_of_one_subject_pass():
    y = np.array([[np.nan, 1], [2, np.nan], [3, 4]])
    np.testing.assert_array_equal(check_dissimilarities(y, 3), y)


@pytest.mark.parametrize("n_left", [0, 1])
def test_subjects_that_lack_the_pairs_pass(pairs, n_left):
    for y in (timed(), timed()[:, :, 0]):
        y[n_left:, 1] = np.nan
        np.testing.assert_array_equal(check_fit_pairs(pairs, y)[1], y)
        assert count_pairs(y).tolist() == [6, n_left]


# The door


ALL = np.column_stack(np.triu_indices(4, 1))
MISSING = np.array([[1.0, np.nan], [np.nan, 4.0], [5.0, 6.0]])
MASKED = np.ma.masked_array([[1.0, -9], [-9, 4], [5, 6]], mask=np.isnan(MISSING))


@pytest.mark.parametrize(
    "values",
    [
        MASKED,
        MASKED.astype(np.float16),
        MASKED.astype(int),
        list(MASKED),
        [list(row) for row in MASKED],
        [[1, np.ma.masked], [None, 4], [5, 6]],
        pd.DataFrame(MISSING),
        pd.DataFrame(MISSING).astype("Float64"),
        pd.DataFrame(MISSING).astype(object),
        MISSING.astype(object),
    ],
    ids=lambda values: type(values).__name__,
)
def test_what_is_masked_or_none_is_missing(values):
    found = as_real(values, "y")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, MISSING)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(3).astype("datetime64[D]"),
        np.arange(3).astype("timedelta64[s]"),
        np.arange(3) * 1j,
        np.array(["1", "2"]),
        np.array([1, 2j], dtype=object),
        np.array([1, "2"], dtype=object),
        [np.datetime64("2020-01-01")],
        np.zeros(2, dtype=[("a", float)]),
        None,
    ],
    ids=lambda values: str(getattr(values, "dtype", values)),
)
def test_what_is_no_real_number_raises_an_error(values):
    with pytest.raises(TypeError, match="y must be real numbers"):
        as_real(values, "y")


def test_a_bunch_names_what_it_holds():
    with pytest.raises(TypeError, match=r"got a Bunch of \['images', 'rdms'\]"):
        as_real(Bunch(images=np.ones(3), rdms=np.ones(3)), "rdms")


def test_ragged_lists_raise_an_error():
    with pytest.raises(ValueError, match="y must be a rectangular array"):
        as_real([[1, 2], [3]], "y")


@pytest.mark.parametrize(
    "function",
    [
        lambda y: rdm_pearson_score(y, np.arange(6)),
        lambda y: rdm_pearson_score(np.arange(6), y[:, 0]),
        noise_ceiling,
        lambda y: rdm_bootstrap(ALL, y, np.arange(6), n_resamples=2),
        lambda y: rdm_permutation_test(ALL, y, np.arange(6), n_permutations=2),
        SubjectPooling().fit_transform,
        lambda y: FixedRSARegressor().fit(ImagePairs(np.eye(4)), y),
        lambda y: ImagePairs(np.eye(4)).to_rdms(y),
        lambda y: ImagePairs.from_rdms(np.eye(4), y.T),
    ],
)
def test_every_door_takes_real_numbers_only(function):
    y = np.random.default_rng(0).random((6, 2))
    function(y)
    for kind in ("datetime64[s]", complex, "U8"):
        with pytest.raises(TypeError, match="must be real numbers"):
            function((1e6 * y).astype(int).astype(kind))


@pytest.mark.parametrize("largest", [1.0, 1e274])
def test_asymmetry_is_judged_entry_by_entry(largest):
    rdm = np.full((5, 5), 3.0)
    rdm[3, 4] = rdm[4, 3] = largest
    check_symmetric(rdm)
    rdm[0, 1] += 1e-7  # rounding
    check_symmetric(np.stack([rdm, 1e9 * rdm]))
    rdm[0, 1] = 3.1
    with pytest.raises(ValueError, match=r"rdms\[1, 0, 1\] = 3.1"):
        check_symmetric(np.stack([np.ones((5, 5)) * 1e9, rdm]))


@pytest.mark.parametrize(
    ("rdms", "advice"),
    [
        (np.triu(SQUARE), r"give numpy.triu\(rdm, 1\) \+ numpy.triu\(rdm, 1\).T"),
        (np.where(np.tri(4), np.nan, SQUARE), r"triangle is empty: give numpy.triu"),
        (np.tril(SQUARE), r"triangle is empty: give numpy.tril\(rdm, -1\)"),
        (SQUARE + np.eye(4, k=1), "give their mean"),
        (np.stack([SQUARE * k for k in range(1, 5)], axis=-1), "transpose: rdms.T"),
        (np.stack([SQUARE, SQUARE], axis=-1), r"numpy.moveaxis\(rdms, \(0, 1\), \(-2, -1\)\)"),
        (np.ones((6, 2)), "its first axis is the pairs: give rdms.T"),
    ],
)
def test_what_to_do_with_other_layouts_is_said(images, rdms, advice):
    with pytest.raises(ValueError, match=f"(?i){advice}"):
        ImagePairs.from_rdms(images, rdms)


PATTERNS = np.random.default_rng(0).random((6, 9)) * [[1], [2], [3], [4], [9], [9]]
DISTANCES = squareform(pdist(PATTERNS))
CORRELATIONS = np.corrcoef(np.vstack([PATTERNS[:4], PATTERNS[3:4] * 3, PATTERNS[5:]]))
UNSEEN = np.where(np.isin(np.arange(6), 2) | np.isin(np.arange(6), 2)[:, np.newaxis], np.nan, 1.0)


@pytest.mark.parametrize(
    "similarity",
    [
        CORRELATIONS,  # two images alike, so that rounding decides which entry is largest
        CORRELATIONS.astype(np.float32),
        CORRELATIONS * UNSEEN,
        np.stack([DISTANCES, CORRELATIONS]),
        np.cov(PATTERNS),
        PATTERNS @ PATTERNS.T,
        np.exp(-DISTANCES),
        np.rint(100 / (1 + DISTANCES)).astype(int),
        -(DISTANCES**2),
    ],
)
def test_similarities_are_noticed(similarity):
    with pytest.warns(UserWarning, match="look like similarities"):
        ImagePairs.from_rdms(PATTERNS, similarity)


@pytest.mark.parametrize(
    "rdms",
    [
        DISTANCES,
        DISTANCES + np.eye(6) * DISTANCES[DISTANCES > 0].min() * 1.1,
        np.ones((6, 6)),
        np.zeros((6, 6)),
        np.stack([DISTANCES, -DISTANCES]),  # crossvalidated: one time point of no difference
        DISTANCES - DISTANCES.mean(),
        DISTANCES * UNSEEN + np.diag(np.full(6, np.nan)),
    ],
)
def test_dissimilarities_are_no_similarities(rdms):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImagePairs.from_rdms(PATTERNS, rdms)


def test_decimals_of_a_data_base_are_numbers():
    values = np.array([Decimal("1.5"), None, Decimal(2)])
    np.testing.assert_array_equal(as_real(values, "y"), [1.5, np.nan, 2])


def test_dissimilarities_that_differ_by_rounding_teach_nothing(pairs):
    y = np.column_stack([np.arange(6.0), np.where(np.arange(6) % 2, 0.3, 0.1 * 3)])
    with pytest.raises(ValueError, match="all dissimilarities of subject 1 are equal"):
        check_fit_pairs(pairs, y)
    check_fit_pairs(pairs, y[:, :1] * 1e-9 + 1)


def test_columns_that_differ_by_rounding_become_equal():
    y = np.column_stack([np.arange(4.0), [0.3, 0.1 * 3, np.nan, 0.3], [np.nan] * 4])
    expected = y.copy()
    expected[1, 1] = 0.3
    np.testing.assert_array_equal(level(y), expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda mask: ImagePairs(np.eye(4), mask([[0, 1], [1, 2]])),
        lambda mask: ImagePairs(np.eye(4), image_groups=mask([0, 0, 1, 1])),
        lambda mask: ImageTriplets(np.eye(4), mask([[0, 1, 2]])),
        lambda mask: choices_to_rdm(ImageTriplets(np.eye(4), [[0, 1, 2]] * 2), mask([0, 1])),
        lambda mask: SubjectPooling(subject_weight=mask([1, 2])).fit([[1, 2], [2, 3]]),
    ],
)
def test_masked_rows_labels_choices_and_weights_raise_an_error(function):
    function(np.ma.masked_array)
    with pytest.raises(ValueError, match="must hold no masked entries, but 1 are"):
        function(lambda values: hide_first(np.ma.masked_array(values)))


def hide_first(values):
    values[(0,) * values.ndim] = np.ma.masked
    return values
