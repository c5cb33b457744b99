import warnings

import numpy as np
import pytest
from scipy.stats import rankdata, zscore
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import ImagePairs, LayerWeightedRSARegressor
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import SubjectPooling


def test_zscore_is_the_papers_formula(dissim):
    expected = (zscore(dissim, axis=0).mean(axis=1) + 2) / 5
    np.testing.assert_allclose(SubjectPooling().fit_transform(dissim), expected)


def test_zscore_without_rescaling_is_the_mean_of_zscores(dissim):
    pooled = SubjectPooling("zscore", rescale=False).fit_transform(dissim)
    np.testing.assert_allclose(pooled, zscore(dissim, axis=0).mean(axis=1))


def test_zscore_averages_the_subjects_that_have_the_pair(dissim):
    dissim[3, 0] = dissim[7, 1:] = np.nan
    expected = (np.nanmean(zscore(dissim, axis=0, nan_policy="omit"), axis=1) + 2) / 5
    np.testing.assert_allclose(SubjectPooling().fit_transform(dissim), expected)


def test_transform_uses_only_what_fit_saw(dissim):
    pooling = SubjectPooling().fit(dissim[:30])
    train = dissim[:30]
    z = (dissim[30:] - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(pooling.transform(dissim[30:]), (z.mean(axis=1) + 2) / 5)
    assert pooling.transform(dissim[[35]]) == pooling.transform(dissim)[35]


def test_mean(dissim):
    dissim[0, 1] = np.nan
    pooled = SubjectPooling("mean").fit_transform(dissim)
    np.testing.assert_allclose(pooled, np.nanmean(dissim, axis=1))


def test_rank_equals_scipys_ranks(rng):
    dissim = rng.integers(0, 6, (20, 2)).astype(float)
    expected = (rankdata(dissim, axis=0) - 0.5) / 20
    pooled = SubjectPooling("rank").fit_transform(dissim)
    np.testing.assert_allclose(pooled, expected.mean(axis=1))


def test_rank_of_unseen_values_lies_between_their_neighbours():
    pooling = SubjectPooling("rank").fit([[10.0], [20.0], [30.0]])
    unseen = [[-5.0], [10.0], [15.0], [20.0], [99.0]]
    np.testing.assert_allclose(pooling.transform(unseen), [0, 1 / 6, 1 / 3, 0.5, 1])


@pytest.mark.parametrize("method", ["zscore", "mean", "rank"])
def test_one_measurement_is_returned_as_it_is(method, rng):
    y = rng.random(10)
    np.testing.assert_array_equal(SubjectPooling(method).fit_transform(y), y)


def test_one_measurement_leaves_nothing_of_earlier_subjects(dissim, rng):
    pooling = SubjectPooling().fit(dissim)
    pooling.fit(rng.random(10))
    assert {name for name in vars(pooling) if name.endswith("_")} == {"n_subjects_"}
    again = pooling.fit(dissim)
    np.testing.assert_array_equal(again.transform(dissim), SubjectPooling().fit_transform(dissim))


def test_a_failed_fit_leaves_the_fitted_pooling_as_it_was(dissim):
    pooling = SubjectPooling().fit(dissim)
    before = pooling.transform(dissim)
    with pytest.raises(ValueError, match="are equal"):
        pooling.fit(np.ones((5, 2)))
    np.testing.assert_array_equal(pooling.transform(dissim), before)


@pytest.mark.parametrize("method", ["zscore", "mean", "rank"])
def test_method_forgets_the_scale_of_a_subject_unless_it_is_mean(method, dissim):
    pooled = SubjectPooling(method).fit_transform(dissim)
    rescaled = SubjectPooling(method).fit_transform(dissim * [1, 100, 3] + [0, 7, 1])
    assert np.allclose(pooled, rescaled) == (method != "mean")


def test_reliability_is_the_correlation_with_the_mean_of_the_others(dissim, rng):
    dissim = np.column_stack([dissim, -dissim[:, 0]])
    pooling = SubjectPooling(subject_weight="reliability").fit(dissim)
    z = zscore(dissim, axis=0)
    others = [np.delete(z, s, axis=1).mean(axis=1) for s in range(4)]
    expected = [max(np.corrcoef(z[:, s], others[s])[0, 1], 0) for s in range(4)]
    np.testing.assert_allclose(pooling.weights_, expected)
    assert pooling.weights_[3] == 0
    np.testing.assert_allclose(
        pooling.transform(dissim), (np.average(z, axis=1, weights=expected) + 2) / 5
    )


def test_a_pair_that_only_a_subject_without_weight_has_keeps_its_value(dissim):
    dissim = np.column_stack([dissim, -dissim.mean(axis=1)])
    dissim[5, :3] = np.nan
    pooling = SubjectPooling("mean", subject_weight="reliability").fit(dissim)
    assert pooling.weights_[3] == 0
    assert pooling.transform(dissim)[5] == dissim[5, 3]


def test_a_single_column_has_weight_one(dissim):
    pooling = SubjectPooling(subject_weight="reliability").fit(dissim[:, :1])
    np.testing.assert_array_equal(pooling.weights_, [1])


def test_held_out_pairs_without_any_subject_are_nan(dissim):
    pooling = SubjectPooling().fit(dissim)
    held_out = np.array([[np.nan, np.nan, np.nan], [1, 2, np.nan]])
    np.testing.assert_array_equal(np.isnan(pooling.transform(held_out)), [True, False])


@pytest.mark.parametrize("method", ["zscore", "mean", "rank"])
def test_constant_subject_is_named(method, dissim):
    dissim[:, 1] = 0.5
    with pytest.raises(ValueError, match=r"subject 1 are equal \(0.5\)"):
        SubjectPooling(method).fit(dissim)


@pytest.mark.parametrize("method", ["zscore", "mean", "rank"])
@pytest.mark.parametrize("weight", [None, "reliability", [2, 3, 1]])
@pytest.mark.parametrize("n_pairs", [0, 1])
def test_subjects_without_two_pairs_are_left_out(method, weight, n_pairs, dissim):
    given = dissim[20:].copy()
    given[n_pairs:, 1] = np.nan
    pooling = SubjectPooling(method, subject_weight=weight)
    with pytest.warns(UserWarning, match=r"subjects \[1\] .* fewer than two of these 20 pairs"):
        pooling.fit(given)
    weight = [2, 1] if isinstance(weight, list) else weight
    others = SubjectPooling(method, subject_weight=weight).fit(given[:, [0, 2]])
    assert pooling.weights_[1] == 0
    for pairs in (given, dissim):
        np.testing.assert_allclose(pooling.transform(pairs), others.transform(pairs[:, [0, 2]]))
    dissim[3, [0, 2]] = np.nan
    assert np.isnan(pooling.transform(dissim)).nonzero()[0].tolist() == [3]


def test_time_courses_of_subjects_without_two_pairs_are_left_out(dissim):
    timed = np.stack([dissim, 2 * dissim], axis=2)
    timed[1:, 2] = np.nan
    with pytest.warns(UserWarning, match=r"subjects \[2\]"):
        pooled = SubjectPooling().fit_transform(timed)
    np.testing.assert_allclose(pooled, SubjectPooling().fit_transform(timed[:, :2]))


def test_nothing_is_learned_if_no_weighted_subject_is_left(dissim):
    dissim[:, 2] = np.nan
    with (
        pytest.warns(UserWarning, match=r"subjects \[2\]"),
        pytest.raises(ValueError, match=r"0 for all subjects but \[2\]"),
    ):
        SubjectPooling(subject_weight=[0, 0, 1]).fit(dissim)
    with pytest.raises(ValueError, match="no subject has two of these 3 pairs"):
        SubjectPooling().fit(np.where(np.eye(3), 1, np.nan))


@pytest.mark.parametrize("given", [np.ones(4), np.ones((4, 2)), np.ones((4, 4))])
def test_other_subjects_than_in_fit_are_refused(given, dissim):
    with pytest.raises(ValueError, match="fitted on 3 subject"):
        SubjectPooling().fit(dissim).transform(given)


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        (SubjectPooling("median"), "method must be one of"),
        (SubjectPooling(subject_weight="age"), "subject_weight must be"),
    ],
)
def test_unknown_parameters_are_refused(pooling, message, dissim):
    with pytest.raises(ValueError, match=message):
        pooling.fit(dissim)


def test_infinite_dissimilarities_are_refused(dissim):
    pooling = SubjectPooling().fit(dissim)
    dissim[4, 1] = np.inf
    with pytest.raises(ValueError, match="pair 4 is infinite"):
        SubjectPooling().fit(dissim)
    with pytest.raises(ValueError, match="infinity"):
        pooling.transform(dissim)


@pytest.mark.data
def test_pooling_of_real_subjects(load_algonauts):
    data = load_algonauts(92, "fmri_it")
    _, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    assert dissim.shape == (4186, 15)
    expected = (zscore(dissim, axis=0).mean(axis=1) + 2) / 5
    np.testing.assert_allclose(SubjectPooling().fit_transform(dissim), expected)
    weights = SubjectPooling(subject_weight="reliability").fit(dissim).weights_
    assert (weights > 0.1).all()  # every subject's IT resembles the others'
    assert (weights < 0.7).all()


@pytest.mark.parametrize("method", ["zscore", "mean", "rank"])
@pytest.mark.parametrize("weight", [None, "reliability", [3, 1, 0.5]])
def test_time_courses_are_averaged_over_time_then_pooled(method, weight, dissim, rng):
    timed = dissim[:, :, None] + rng.normal(0, 0.1, (40, 3, 4))
    timed[3, 1] = timed[5, 2, 1] = timed[:, 0, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(timed, axis=2)
    pooling = SubjectPooling(method, subject_weight=weight)
    expected = pooling.fit_transform(mean)
    np.testing.assert_array_equal(clone(pooling).fit_transform(timed), expected)
    np.testing.assert_array_equal(clone(pooling).fit(timed).transform(timed[10:]), expected[10:])
    np.testing.assert_array_equal(clone(pooling).fit(timed).transform(mean), expected)
    assert pooling.n_subjects_ == 3


def test_a_subject_that_is_constant_on_average_is_named(dissim):
    timed = np.stack([dissim, dissim], axis=2)
    timed[:, 1] = [0.25, 0.5]
    with pytest.raises(ValueError, match="subject 1 are equal at every time point"):
        SubjectPooling().fit(timed)
    timed[:, 1, 0] = np.arange(40)
    timed[:, 1, 1] = -np.arange(40)
    with pytest.raises(ValueError, match="or on average over the time points"):
        SubjectPooling().fit(timed)


def test_given_weights_are_those_of_numpys_average(dissim):
    weights = np.array([2, 0, 1])
    z = zscore(dissim, axis=0)
    pooled = SubjectPooling(rescale=False, subject_weight=weights).fit_transform(dissim)
    np.testing.assert_allclose(pooled, np.average(z, axis=1, weights=weights))
    dissim[5, [0, 2]] = np.nan
    pooled = SubjectPooling("mean", subject_weight=weights).fit_transform(dissim)
    assert pooled[5] == dissim[5, 1]
    dissim[7, 0] = np.nan
    pooled = SubjectPooling("mean", subject_weight=weights).fit_transform(dissim)
    assert pooled[7] == dissim[7, 2]


def test_equal_weights_are_no_weights(dissim):
    plain = SubjectPooling().fit_transform(dissim)
    np.testing.assert_allclose(
        SubjectPooling(subject_weight=[7, 7, 7]).fit_transform(dissim), plain, rtol=1e-12
    )


def test_weights_of_two_targets_side_by_side(dissim, rng):
    """Twice the weight of the first three subjects is these subjects given twice."""
    other = rng.random((40, 2))
    weighted = SubjectPooling(subject_weight=np.repeat([2, 1], [3, 2]))
    np.testing.assert_allclose(
        weighted.fit_transform(np.column_stack([dissim, other])),
        SubjectPooling().fit_transform(np.column_stack([dissim, dissim, other])),
    )


def test_weights_survive_cloning_and_a_parameter_grid(dissim, pairs):
    regressor = LayerWeightedRSARegressor(
        metric="euclidean", subject_pooling=SubjectPooling(subject_weight=np.ones(3))
    )
    np.testing.assert_array_equal(
        clone(regressor).get_params()["subject_pooling__subject_weight"], np.ones(3)
    )
    search = GridSearchCV(
        regressor,
        {"subject_pooling__subject_weight": [None, [1, 0, 0], np.array([0, 1, 1])]},
        cv=ImageKFold(2),
    )
    assert search.fit(pairs, dissim[:28]).best_score_ > -1


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 2], r"one number per subject, 3 here, got \[1, 2\]"),
        ([[1, 2, 3]], "one number per subject"),
        (1.0, "one number per subject"),
        (["a", "b", "c"], "one number per subject"),
        ([1, -1, 1], r"0 or more, .* got \[1, -1, 1\]"),
        ([0, 0, 0], "more than 0 for one subject"),
        ([1, np.nan, 1], "finite"),
        ([1, np.inf, 1], "finite"),
    ],
)
def test_wrong_weights_are_refused(weight, message, dissim):
    with pytest.raises(ValueError, match=message):
        SubjectPooling(subject_weight=weight).fit(dissim)


def test_weights_of_other_subjects_are_refused_for_one_measurement(dissim):
    with pytest.raises(ValueError, match="one number per subject, 1 here"):
        SubjectPooling(subject_weight=[1, 2, 3]).fit(dissim[:, 0])


@pytest.mark.parametrize("pooling", [None, 3, ["mean"]])
def test_what_is_no_pooling_is_named(pooling, dissim, pairs):
    message = (
        r"subject_pooling must be one of \('zscore', 'mean', 'rank', 'align'\), or a transformer"
    )
    with pytest.raises(ValueError, match=message):
        LayerWeightedRSARegressor(subject_pooling=pooling).fit(pairs, dissim[:28])


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e155, 1e300])
@pytest.mark.parametrize(
    "pooling",
    [
        *map(SubjectPooling, ("zscore", "rank", "align", "mean")),
        SubjectPooling("mean", subject_weight="reliability"),
        SubjectPooling("zscore", subject_weight="reliability"),
    ],
    ids=str,
)
def test_any_unit(pooling, unit):
    # squares of such values overflow or vanish
    rng = np.random.default_rng(0)
    dissim = rng.random((45, 1)) + rng.random((45, 4))
    dissim[:3, 1] = np.nan
    expected = pooling.fit_transform(dissim)
    factor = unit if pooling.method in ("align", "mean") else 1
    np.testing.assert_allclose(pooling.fit_transform(dissim * unit) / factor, expected, rtol=1e-9)
    if pooling.method == "align":  # each subject in a unit of its own
        units = np.array([1.0, unit, 1.0, 1.0])
        found = pooling.fit_transform(dissim * units)
        assert np.corrcoef(found / found.max(), expected)[0, 1] > 1 - 1e-9
