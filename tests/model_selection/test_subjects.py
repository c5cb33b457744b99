import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneOut,
    ShuffleSplit,
    cross_validate,
)

from sklearn_rdm import ImagePairs, LayerWeightedRSARegressor
from sklearn_rdm.metrics import rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import (
    ImageKFold,
    ImageShuffleSplit,
    StratifiedImageKFold,
    SubjectHoldOutRDMRegressor,
    cross_val_rdm,
    cross_val_subjects_score,
)
from tests.model_selection.problems import (
    SCORER,
    DistanceRegressor,
    make_pairs,
    make_timed_pairs,
)


class SubjectRecorder(DistanceRegressor):
    """Remembers the columns it was given, and scores by the columns it is given."""

    def fit(self, X, y, weight=None):
        self.columns_, self.n_pairs_ = y[0], len(y)
        return super().fit(X, y)

    def score(self, X, y):
        return float(y[0, 0])


def test_double_hold_out_fits_and_scores_disjoint_subjects():
    pairs, dissim = make_pairs(15, n_subjects=4)
    dissim = np.tile(np.arange(4.0), (len(pairs), 1)) + 10 * np.arange(len(pairs))[:, None]
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=[2])
    result = cross_validate(
        regressor, pairs, dissim, cv=ImageKFold(3), return_estimator=True, return_indices=True
    )
    for fitted, train, test, score in zip(
        result["estimator"],
        result["indices"]["train"],
        result["indices"]["test"],
        result["test_score"],
        strict=True,
    ):
        assert fitted.estimator_.columns_.tolist() == dissim[train[0], [0, 1, 3]].tolist()
        assert score == dissim[test[0], 2]


def test_double_hold_out_over_all_folds_equals_loops():
    pairs, dissim = make_pairs(18, n_subjects=5)
    dissim[::7, 0] = np.nan
    cv, subject_cv = ImageKFold(3), LeaveOneOut()
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=cv, subject_cv=subject_cv, scoring=SCORER
    )
    assert scores.shape == (5, 3)
    for s, k in itertools.product(range(5), range(3)):
        train, test = list(cv.split(pairs))[k]
        others = [c for c in range(5) if c != s]
        fitted = DistanceRegressor().fit(pairs[train], dissim[train][:, others])
        has = ~np.isnan(dissim[test, s])
        expected = spearmanr(fitted.predict(pairs[test]), dissim[test, s], nan_policy="omit")[0]
        assert has.any()
        assert scores[s, k] == pytest.approx(expected)
    parallel = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=3, subject_cv=subject_cv, scoring=SCORER, n_jobs=2
    )
    np.testing.assert_array_equal(scores, parallel)


def test_double_hold_out_keeps_the_storrs_split_sizes():
    pairs, dissim = make_pairs(20, n_subjects=6)
    subjects = ShuffleSplit(2, test_size=2, train_size=3, random_state=0)
    images = ImageShuffleSplit(2, test_size=4, random_state=0)
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=images, subject_cv=subjects, scoring=SCORER
    )
    assert scores.shape == (2, 2)
    assert (scores > 0.5).all()


def test_double_hold_out_in_a_search():
    pairs, dissim = make_pairs(30, n_subjects=4)
    search = GridSearchCV(
        SubjectHoldOutRDMRegressor(DistanceRegressor(), [0, 1], scoring=SCORER),
        {"estimator__power": [1.0, -1.0]},
        cv=ImageKFold(3),
    ).fit(pairs, dissim)
    assert search.best_params_ == {"estimator__power": 1.0}
    assert search.best_estimator_.train_subjects_.tolist() == [2, 3]
    assert not hasattr(search.best_estimator_, "transform")


def test_double_hold_out_leaves_out_pairs_that_the_subjects_lack():
    pairs, dissim = make_pairs(9, n_subjects=2)
    dissim[:20, 1] = np.nan
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=0).fit(pairs, dissim)
    assert regressor.estimator_.columns_ == dissim[20, 1]
    with pytest.raises(ValueError, match=r"subjects \[1\] have no dissimilarity"):
        regressor.fit(pairs[:20], dissim[:20])


@pytest.mark.parametrize("name", ["rdm_spearman", "spearman", "neg_mean_squared_error"])
def test_double_hold_out_takes_scorers_by_name(name):
    pairs, dissim = make_pairs(12, n_subjects=2)
    scorer = rdm_spearman_scorer if "spearman" in name else get_scorer(name)
    for_each = [
        cross_val_subjects_score(
            DistanceRegressor(), pairs, dissim, cv=3, subject_cv=2, scoring=scoring
        )
        for scoring in (name, scorer)
    ]
    np.testing.assert_array_equal(*for_each)
    assert np.isfinite(for_each[0]).all()
    regressor = SubjectHoldOutRDMRegressor(DistanceRegressor(), scoring=name).fit(pairs, dissim)
    assert regressor.score(pairs, dissim) == scorer(regressor, pairs, dissim[:, :1])
    regressor.set_params(scoring="rdm_spearmint")
    with pytest.raises(ValueError, match="'rdm_spearmint' is not an RDM scorer; the names are"):
        regressor.score(pairs, dissim)


def test_double_hold_out_is_undefined_where_subjects_lack_the_images():
    pairs, dissim = make_pairs(12, n_subjects=4)
    dissim[~(pairs.index < 4).all(axis=1), 0] = np.nan
    for y in (dissim, np.stack([dissim, dissim], axis=2)):
        with pytest.warns(UndefinedMetricWarning, match=r"test subjects \[0\] .* 6 test pairs"):
            scores = cross_val_subjects_score(
                DistanceRegressor(), pairs, y, cv=3, subject_cv=4, scoring="rdm_spearman"
            )
        assert np.argwhere(np.isnan(scores)).tolist() == [[0, 1], [0, 2]]
    only_first = [([0], [1, 2, 3])]
    with pytest.warns(UndefinedMetricWarning, match=r"training subjects \[0\] .* 28 training"):
        scores = cross_val_subjects_score(
            DistanceRegressor(), pairs, dissim, cv=3, subject_cv=only_first, scoring=SCORER
        )
    assert np.isnan(scores).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"test_subjects": 3}, "test_subjects must be columns 0 to 2"),
        ({"test_subjects": [0.5]}, "test_subjects must be columns"),
        ({"test_subjects": [-1]}, "test_subjects must be columns"),
        ({"test_subjects": [0, 1, 2]}, "no subject in common"),
        ({"test_subjects": 0, "train_subjects": [0, 1]}, "no subject in common"),
    ],
)
def test_double_hold_out_names_wrong_subjects(params, message):
    pairs, dissim = make_pairs(9, n_subjects=3)
    with pytest.raises(ValueError, match=message):
        SubjectHoldOutRDMRegressor(DistanceRegressor(), **params).fit(pairs, dissim)
    with pytest.raises(ValueError, match="two or more subjects"):
        SubjectHoldOutRDMRegressor(DistanceRegressor()).fit(pairs, dissim[:, 0])


@pytest.mark.data
def test_on_the_92_images_and_15_subjects(load_algonauts):
    data = load_algonauts(92, "fmri_it")
    category = data.image_groups
    features = (category[:, None] == np.unique(category)).astype(float)
    pairs, dissim = ImagePairs.from_rdms(features, data.rdms, image_groups=category)
    scores = cross_val_subjects_score(
        DistanceRegressor(),
        pairs,
        dissim,
        cv=StratifiedImageKFold(4, shuffle=True, random_state=0),
        subject_cv=3,
        scoring=SCORER,
    )
    assert scores.shape == (3, 4)
    assert scores.mean() > 0.1  # categories explain human IT
    held_out = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=ImageKFold(2))
    assert np.isnan(held_out.rdm).sum() == 2 * 46 * 46
    assert held_out.counts.sum() == 2 * 46 * 45


def test_subjects_are_held_out_with_their_time_courses():
    pairs, dissim = make_timed_pairs(12, 4)
    dissim[3, [0, 1]] = np.nan
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=[2, 3])
    regressor.fit(pairs, dissim)
    np.testing.assert_array_equal(regressor.estimator_.columns_, dissim[0, :2])
    assert regressor.estimator_.n_pairs_ == len(pairs) - 1
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=3, subject_cv=2, scoring=SCORER
    )
    assert scores.shape == (2, 3)
    train, test = next(ImageKFold(3).split(pairs))
    kept = test[~np.isnan(dissim[test][:, :2]).all(axis=(1, 2))]
    fitted = DistanceRegressor().fit(pairs[train], dissim[train][:, 2:])
    expected = rdm_spearman_score(dissim[kept][:, :2], fitted.predict(pairs[kept]))
    assert scores[0, 0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="two or more subjects, got"):
        regressor.fit(pairs, dissim[:, :1])


def test_whole_weights_equal_repeated_pairs():
    pairs, dissim = make_pairs(15, n_subjects=6)
    dissim[3, [0, 1]] = np.nan  # left out, and its weight with it
    weights = np.random.default_rng(0).integers(1, 4, len(pairs))
    rows = np.repeat(np.arange(len(pairs)), weights)
    model = LayerWeightedRSARegressor([1] * pairs.images.shape[1], metric="euclidean")
    options = {"cv": ImageKFold(3), "subject_cv": 3, "scoring": "pearson"}
    weighted = cross_val_subjects_score(model, pairs, dissim, sample_weight=weights, **options)
    repeated = cross_val_subjects_score(model, pairs[rows], dissim[rows], **options)
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)
    assert np.abs(weighted - cross_val_subjects_score(model, pairs, dissim, **options)).max() > 1e-3


@pytest.mark.parametrize("routing", [False, True])
def test_weights_are_routed_in_a_search(routing):
    pairs, dissim = make_pairs(15, n_subjects=6)
    weights = np.random.default_rng(0).integers(1, 4, len(pairs))
    with config_context(enable_metadata_routing=routing):
        inner = LayerWeightedRSARegressor([1] * pairs.images.shape[1], metric="euclidean")
        if routing:
            inner.set_fit_request(sample_weight=True)
        model = SubjectHoldOutRDMRegressor(inner, 2)
        if routing:
            model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(model, {"test_subjects": [2]}, cv=ImageKFold(3))
        search.fit(pairs, dissim, sample_weight=weights)
    expected = clone(inner).fit(pairs, np.delete(dissim, 2, axis=1), sample_weight=weights)
    np.testing.assert_allclose(search.predict(pairs), expected.predict(pairs))


def test_what_takes_no_weights_is_named():
    pairs, dissim = make_pairs(15, n_subjects=4)
    weights = np.ones(len(pairs))
    with pytest.raises(ValueError, match="fit of DistanceRegressor.* takes none"):
        SubjectHoldOutRDMRegressor(DistanceRegressor()).fit(pairs, dissim, sample_weight=weights)
    with pytest.raises(ValueError, match="one weight per pair"):
        cross_val_subjects_score(DistanceRegressor(), pairs, dissim, sample_weight=weights[1:])
