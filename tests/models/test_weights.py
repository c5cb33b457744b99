"""Weights of pairs in every fit without a network: whole numbers are repeats."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    ResponsePatterns,
)
from sklearn_rdm.metrics import rdm_pearson_scorer
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage, SubjectPooling

N_IMAGES, N_FEATURES = 16, 6
ESTIMATORS = {
    "fixed": FixedRSARegressor(noise_ratio=0.5),
    "layers": LayerWeightedRSARegressor([2, 4], fit_intercept=True),
    "components": LayerWeightedRSARegressor([2, 4], n_components=2),
    "pooled by rank": LayerWeightedRSARegressor([2, 4], subject_pooling="rank"),
    "aligned": LayerWeightedRSARegressor([2, 4], subject_pooling="align"),
    "reweighted": FeatureReweightedRSARegressor(cv=3),
    "reweighted, by pairs": FeatureReweightedRSARegressor(alphas=[1, 10], normalize=False),
    "fractional": FeatureReweightedRSARegressor(penalty="fractional", cv=3),
    "non-negative": FeatureReweightedRSARegressor(penalty="nonnegative", alphas=[0.1, 10], cv=3),
    "by subject": FeatureReweightedRSARegressor("sqeuclidean", cv=3, subject_pooling=None),
    "linear twin": LinearTwinRSARegressor(3, alpha=0.1),
    "calibrated": CalibratedRDMRegressor(LinearTwinRSARegressor(3), subject_pooling="mean"),
    "ensemble": EnsembleRDMRegressor(FeatureReweightedRSARegressor(alphas=3.0), cv=3),
    "pipeline": CalibratedRDMRegressor(
        make_pipeline(PerImage(StandardScaler()), FeatureReweightedRSARegressor(alphas=3.0))
    ),
}


@pytest.fixture(params=[False, True], ids=["complete", "with gaps"])
def problem(request):
    """Pairs, dissimilarities of two subjects, and whole weights; a pair of weight 0 or two."""
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.normal(size=(N_IMAGES, N_FEATURES)))
    latent = FixedRSARegressor().fit(pairs).predict(pairs)
    dissim = np.abs(latent[:, None] * [1, 2] + rng.normal(0, 0.3, (len(pairs), 2)))
    if request.param:
        dissim[rng.random(dissim.shape) < 0.1] = np.nan
        dissim[np.isnan(dissim).all(axis=1)] = 1.0
    weights = rng.integers(1, 4, len(pairs))
    weights[[3, 50]] = 0
    return pairs, dissim, weights


def repeat(pairs, dissim, weights):
    rows = np.repeat(np.arange(len(pairs)), weights)
    return pairs[rows], dissim[rows]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_whole_weights_equal_repeated_pairs(name, problem):
    pairs, dissim, weights = problem
    weighted = clone(ESTIMATORS[name]).fit(pairs, dissim, sample_weight=weights)
    repeated = clone(ESTIMATORS[name]).fit(*repeat(*problem))
    tolerance = 1e-4 if name in ("non-negative", "linear twin", "calibrated") else 1e-9
    expected = repeated.predict(pairs)
    np.testing.assert_allclose(weighted.predict(pairs), expected, rtol=tolerance, atol=tolerance)
    if not name.startswith(("fixed",)):
        plain = clone(ESTIMATORS[name]).fit(pairs, dissim).predict(pairs)
        assert np.abs(plain - expected).max() > 10 * tolerance


@pytest.mark.parametrize("name", ESTIMATORS)
def test_weights_of_one_change_nothing(name, problem):
    pairs, dissim, _ = problem
    plain = clone(ESTIMATORS[name]).fit(pairs, dissim)
    weighted = clone(ESTIMATORS[name]).fit(pairs, dissim, sample_weight=np.ones(len(pairs)))
    np.testing.assert_allclose(weighted.predict(pairs), plain.predict(pairs), rtol=1e-4)


def test_ridge_equals_scikit_learns_weighted_ridge(problem):
    from sklearn.linear_model import Ridge

    pairs, dissim, weights = problem
    target = np.nanmean(dissim, axis=1)
    first, second = pairs.images[pairs.index.T]
    columns = (first - second) ** 2
    mean = np.average(columns, axis=0, weights=weights)
    columns = (columns - mean) / np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=weights))
    expected = Ridge(7.0).fit(columns, target, sample_weight=weights).predict(columns)
    model = FeatureReweightedRSARegressor("sqeuclidean", alphas=7.0, normalize=False)
    model.fit(pairs, target, sample_weight=weights)
    np.testing.assert_allclose(model.predict(pairs), expected, rtol=1e-10)


@pytest.mark.parametrize("n_features", [4, 300])
def test_both_ways_of_the_ridge_take_weights(n_features):
    rng = np.random.default_rng(1)
    pairs = ImagePairs(rng.normal(size=(9, n_features)))
    dissim, weights = rng.random((36, 2)), rng.integers(1, 4, 36)
    model = FeatureReweightedRSARegressor(alphas=[1, 100], cv=3)
    weighted = clone(model).fit(pairs, dissim, sample_weight=weights)
    repeated = clone(model).fit(*repeat(pairs, dissim, weights))
    np.testing.assert_allclose(weighted.predict(pairs), repeated.predict(pairs), rtol=1e-9)
    np.testing.assert_allclose(weighted.cv_scores_, repeated.cv_scores_, rtol=1e-8)


@pytest.mark.parametrize("method", ["zscore", "rank", "mean", "align"])
@pytest.mark.parametrize("subject_weight", [None, "reliability"])
def test_pooling_with_whole_weights_is_that_of_repeated_pairs(method, subject_weight, problem):
    _, dissim, weights = problem
    pooling = SubjectPooling(method, subject_weight=subject_weight)
    weighted = clone(pooling).fit(dissim, sample_weight=weights)
    repeated = clone(pooling).fit(dissim.repeat(weights, axis=0))
    np.testing.assert_allclose(weighted.transform(dissim), repeated.transform(dissim), rtol=1e-9)
    np.testing.assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-9)


def test_a_pair_of_weight_0_is_no_training_pair(problem):
    pairs, dissim, _ = problem
    without = ~(pairs.index == 5).any(axis=1)
    model = LinearTwinRSARegressor(3)
    weighted = clone(model).fit(pairs, dissim, sample_weight=without)
    left_out = clone(model).fit(pairs[without], dissim[without])
    np.testing.assert_allclose(weighted.mean_, left_out.mean_, rtol=1e-12)
    np.testing.assert_allclose(weighted.predict(pairs), left_out.predict(pairs), rtol=1e-9)


def test_searches_and_cross_validation_route_weights(problem):
    pairs, dissim, weights = problem
    cv = ImageKFold(2, shuffle=True, random_state=0)
    model = CalibratedRDMRegressor(FeatureReweightedRSARegressor(alphas=3.0))
    by_hand = []
    for train, test in cv.split(pairs):
        fitted = clone(model).fit(pairs[train], dissim[train], sample_weight=weights[train])
        held_out = pairs[test], dissim[test]
        by_hand.append(rdm_pearson_scorer(fitted, *held_out, sample_weight=weights[test]))
    params = {"sample_weight": weights}
    with config_context(enable_metadata_routing=True):
        asking = CalibratedRDMRegressor(
            FeatureReweightedRSARegressor(alphas=3.0).set_fit_request(sample_weight=True)
        ).set_fit_request(sample_weight=True)
        scorer = rdm_pearson_scorer.set_score_request(sample_weight=True)
        found = cross_validate(asking, pairs, dissim, cv=cv, scoring=scorer, params=params)
        np.testing.assert_allclose(found["test_score"], by_hand)
        grid = {"estimator__alphas": [1.0, 3.0]}
        search = GridSearchCV(asking, grid, cv=cv, scoring=scorer).fit(pairs, dissim, **params)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"][1], np.mean(by_hand))


def test_without_routing_cross_validation_gives_weights_to_fit(problem):
    pairs, dissim, weights = problem
    cv = ImageKFold(2, shuffle=True, random_state=0)
    model = FeatureReweightedRSARegressor(alphas=3.0)
    found = cross_validate(model, pairs, dissim, cv=cv, params={"sample_weight": weights})
    by_hand = [
        clone(model)
        .fit(pairs[train], dissim[train], sample_weight=weights[train])
        .score(pairs[test], dissim[test])
        for train, test in cv.split(pairs)
    ]
    np.testing.assert_allclose(found["test_score"], by_hand)


def test_an_ensemble_keeps_the_rows_that_cv_names(problem):
    pairs, dissim, _ = problem
    weights = np.ones(len(pairs))
    weights[:15] = 0
    (train, test), *_ = ImageKFold(3, shuffle=True, random_state=0).split(pairs)
    model = FeatureReweightedRSARegressor(alphas=3.0)
    ensemble = EnsembleRDMRegressor(model, cv=[(train, test)])
    ensemble.fit(pairs, dissim, sample_weight=weights)
    kept = train[train >= 15]
    expected = clone(model).fit(pairs[kept], dissim[kept])
    np.testing.assert_allclose(ensemble.predict(pairs), expected.predict(pairs), rtol=1e-9)


class _Mean(BaseEstimator):
    def fit(self, X, y):  # noqa: ARG002
        return self

    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize("wrap", [CalibratedRDMRegressor, EnsembleRDMRegressor])
def test_an_estimator_that_takes_no_weights_is_named(wrap, problem):
    options = {"cv": 2} if wrap is EnsembleRDMRegressor else {}
    with pytest.raises(ValueError, match="sample_weight was given, but fit of _Mean.* takes none"):
        wrap(_Mean(), **options).fit(*problem[:2], sample_weight=problem[2])


class _OwnPooling(BaseEstimator):
    def fit(self, y):  # noqa: ARG002
        return self

    def fit_transform(self, y):
        return y.mean(axis=1)


def test_a_pooling_that_takes_no_weights_is_named(problem):
    model = LinearTwinRSARegressor(3, subject_pooling=_OwnPooling())
    with pytest.raises(ValueError, match="_OwnPooling.* takes no sample_weight"):
        model.fit(*problem[:2], sample_weight=problem[2])


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "pipeline"])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"shape \(120,\), one weight per pair"),
        (-np.ones(120), "pair 0 is -1.0"),
        (np.zeros(120), "0 for all pairs"),
        (np.arange(120) == 7, "2 images make 1 pair"),
    ],
)
def test_wrong_weights_raise_an_error(name, weights, message, problem):
    with pytest.raises(ValueError, match=message):
        clone(ESTIMATORS[name]).fit(*problem[:2], sample_weight=weights)


def test_weights_of_images_raise_an_error():
    rng = np.random.default_rng(0)
    patterns = ResponsePatterns(rng.normal(size=(9, 12)))
    with pytest.raises(ValueError, match="one weight per pair, but y holds response patterns"):
        LinearTwinRSARegressor(3).fit(rng.normal(size=(9, 5)), patterns, sample_weight=np.ones(9))
