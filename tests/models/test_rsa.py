from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from sklearn.base import clone, is_regressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage
from tests.simulated import all_pairs, make_problem

ESTIMATORS = [
    FixedRSARegressor(),
    FixedRSARegressor(noise_ratio=0.5),
    LayerWeightedRSARegressor(layers=[3, 5]),
    LayerWeightedRSARegressor(layers=[3, 5], n_components=2, fit_intercept=True),
    FeatureReweightedRSARegressor(random_state=0),
    FeatureReweightedRSARegressor("sqeuclidean", penalty="fractional", subject_pooling=None),
    FeatureReweightedRSARegressor(penalty="nonnegative", alphas=1),
    LinearTwinRSARegressor(3),
    LinearTwinRSARegressor(20, alpha=0.1, subject_pooling="mean"),
]


all_estimators = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: str(e)[:60])


@pytest.fixture
def problem(rng):
    return make_problem(rng, 12, 8, 3)


@all_estimators
def test_transform_is_the_square_of_predict(estimator, problem, rng):
    pairs, y = problem
    model = clone(estimator).fit(pairs, y)
    rdm = model.transform(pairs)
    np.testing.assert_allclose(pairs.to_rdms(model.predict(pairs)), rdm, atol=1e-12)
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diagonal(rdm), 0)
    images = rng.random((4, 8))
    new_rdm = model.transform(images)
    flipped = ImagePairs(images, [[3, 0], [2, 1]])
    np.testing.assert_allclose(model.predict(flipped), new_rdm[[3, 2], [0, 1]], atol=1e-12)


@all_estimators
def test_few_of_many_pairs_are_predicted_as_all_are(estimator, problem, rng):
    model = clone(estimator).fit(*problem)
    images = rng.random((60, 8))
    index = rng.permutation(all_pairs(60))[:40]
    expected = model.transform(images)[tuple(index.T)]
    np.testing.assert_allclose(model.predict(ImagePairs(images, index)), expected, atol=1e-12)
    one = ImagePairs(images, index[:1])
    np.testing.assert_allclose(model.predict(one), expected[:1], atol=1e-12)


@all_estimators
def test_score_is_the_mean_spearman_over_subjects(estimator, problem):
    pairs, y = problem
    model = clone(estimator).fit(pairs, y)
    predicted = model.predict(pairs)
    assert predicted.shape == (len(pairs),)
    expected = np.mean([spearmanr(predicted, subject).statistic for subject in y.T])
    assert model.score(pairs, y) == pytest.approx(expected)


@all_estimators
def test_images_outside_the_training_pairs_are_not_read(estimator, problem):
    pairs, y = problem
    train = (pairs.index < 10).all(axis=1)
    expected = clone(estimator).fit(pairs[train], y[train]).predict(pairs[train])
    poisoned = pairs.images.copy()
    poisoned[10], poisoned[11] = 0, 1e30
    poisoned = ImagePairs(poisoned, pairs.index[train])
    predicted = clone(estimator).fit(poisoned, y[train]).predict(poisoned)
    np.testing.assert_array_equal(predicted, expected)


@all_estimators
def test_order_of_pairs_and_within_pairs_has_no_meaning(estimator, problem, rng):
    pairs, y = problem
    order = rng.permutation(len(pairs))
    shuffled = ImagePairs(pairs.images, pairs.index[order, ::-1])
    expected = clone(estimator).fit(pairs, y).transform(pairs)
    np.testing.assert_allclose(
        clone(estimator).fit(shuffled, y[order]).transform(pairs), expected, atol=1e-7
    )


@all_estimators
def test_images_of_more_axes_uint8_and_arrays_of_pairs(estimator, rng):
    images = rng.integers(0, 255, (7, 2, 2, 2), dtype=np.uint8)
    pairs, y = ImagePairs(images, all_pairs(7)), rng.random(21)
    model = clone(estimator).fit(pairs, y)
    assert model.n_features_in_ == 8
    flat = clone(estimator).fit(ImagePairs(images.reshape(7, 8).astype(float), pairs.index), y)
    np.testing.assert_allclose(model.predict(pairs), flat.predict(images[pairs.index]))


@all_estimators
def test_wrong_input_is_refused(estimator, problem):
    pairs, y = problem
    with pytest.raises(NotFittedError):
        clone(estimator).predict(pairs)
    with pytest.raises(NotFittedError):
        clone(estimator).transform(pairs)
    with pytest.raises(ValueError, match="one row per pair"):
        clone(estimator).fit(pairs, y[:-1])
    with pytest.raises(ValueError, match="at least 3 images"):
        clone(estimator).fit(pairs[:1], y[:1])
    model = clone(estimator).fit(pairs, y)
    with pytest.raises(ValueError, match="7 features each, .* images of 8 features"):
        model.transform(pairs.images[:, :7])


@all_estimators
def test_tags(estimator):
    tags = get_tags(estimator)
    assert is_regressor(estimator)
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.pairwise
    assert tags.target_tags.multi_output
    assert not hasattr(estimator, "set_output")


@pytest.mark.parametrize(
    "metric", ["correlation", "cosine", "euclidean", "sqeuclidean", "cityblock", "braycurtis"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fixed_equals_scipy(metric, dtype, rng):
    images = rng.gamma(1.0, size=(20, 50)).astype(dtype)
    pairs = ImagePairs(images, all_pairs(20))
    model = FixedRSARegressor(metric).fit(pairs, rng.random(190))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    expected = pdist(images, metric)
    np.testing.assert_allclose(model.predict(pairs), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        model.transform(images), squareform(expected), rtol=tolerance, atol=tolerance
    )


def test_noise_by_a_memmap_that_is_not_finite_is_refused(rng, tmp_path):
    features = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, (4, 8))
    features[:] = rng.random((4, 8))
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match="image 2 holds NaN or infinity"):
        FixedRSARegressor(noise_ratio=0.5).fit(ImagePairs(features))


def test_features_whose_sum_overflows_are_finite():
    features = np.array([[1.5e308, 1.5e308], [1.5e308, 1.5e308 * (1 - 1e-9)]])
    expected = pdist(features, "chebyshev")
    assert np.isfinite(expected).all()
    fitted = FixedRSARegressor("chebyshev").fit(ImagePairs(features))
    np.testing.assert_array_equal(fitted.predict(ImagePairs(features)), expected)


def test_fixed_takes_a_function(rng):
    images = rng.random((5, 3))
    model = FixedRSARegressor(lambda a, b: abs(a[0] - b[0])).fit(ImagePairs(images, all_pairs(5)))
    np.testing.assert_allclose(model.transform(images), abs(images[:, :1] - images[:, 0]))


def test_fixed_correlation_survives_a_large_mean(rng):
    images = 1e4 + rng.random((6, 40))
    model = FixedRSARegressor().fit(ImagePairs(images, all_pairs(6)))
    expected = 1 - np.corrcoef(images)
    np.testing.assert_allclose(model.transform(images), expected, atol=1e-9)
    shifted = model.transform(images.astype(np.float32))
    np.testing.assert_allclose(shifted, 1 - np.corrcoef(images.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize(("metric", "row"), [("correlation", 3.5), ("cosine", 0.0)])
def test_fixed_names_the_image_without_correlation(metric, row, rng):
    images = rng.random((6, 4))
    images[4] = row
    model = FixedRSARegressor(metric).fit(ImagePairs(images, all_pairs(6)))
    assert model.predict(ImagePairs(images, [[0, 5], [1, 2]])).shape == (2,)
    with pytest.raises(ValueError, match="image 4 "):
        model.predict(ImagePairs(images, [[0, 5], [4, 2]]))
    with pytest.raises(ValueError, match="image 4 "):
        model.transform(images)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("seuclidean", "StandardScaler"),
        ("mahalanobis", "whiten"),
        ("se", "StandardScaler"),
        ("Mahal", "whiten"),
        ("Correlation", "write 'correlation'"),
        ("co", "write 'correlation'"),
        ("cos", "write 'cosine'"),
        ("COSINE", "write 'cosine'"),
        ("test_cosine", "write 'cosine'"),
        ("pearson", "is no distance"),
        (3, "is no distance"),
    ],
)
def test_fixed_refuses_what_is_no_fixed_distance(metric, message, problem):
    with pytest.raises(ValueError, match=message):
        FixedRSARegressor(metric).fit(*problem)


@pytest.mark.parametrize("metric", ["correlation", "cosine"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_noise_attenuates_fixed_products(metric, dtype, rng):
    images = rng.gamma(1.0, 40, size=(20, 50)).astype(dtype)
    images[3] = 0  # no response: noise alone
    train = (all_pairs(20) < 12).all(axis=1)  # the unit of the noise is that of these images
    pairs = ImagePairs(images, all_pairs(20))
    model = FixedRSARegressor(metric, noise_ratio=0.6).fit(pairs[train])
    x = images.astype(float)
    x -= x.mean(axis=1, keepdims=True) if metric == "correlation" else 0
    noise = 0.6 * np.mean([row @ row for row in x[:12]])
    assert model.noise_ == pytest.approx(noise)
    expected = [
        1 - a @ b / np.sqrt((a @ a + noise) * (b @ b + noise)) for a, b in combinations(x, 2)
    ]
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(model.predict(pairs), expected, atol=tolerance)
    np.testing.assert_allclose(model.transform(images), squareform(expected), atol=tolerance)
    assert np.allclose(model.predict(pairs)[(all_pairs(20) == 3).any(axis=1)], 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FixedRSARegressor(noise_ratio=-1), "noise_ratio must be a number from 0 .* got -1"),
        (FixedRSARegressor(noise_ratio=None), "noise_ratio must be a number from 0 .* got None"),
        (FixedRSARegressor("euclidean", noise_ratio=0.5), "metric='euclidean'. Give noise_ratio=0"),
    ],
)
def test_noise_that_means_nothing_is_refused(model, message, problem):
    with pytest.raises(ValueError, match=message):
        model.fit(*problem)


def test_fixed_in_a_search_with_a_scaler(rng):
    features = rng.normal(size=(24, 10)) * np.logspace(0, 2, 10)
    y = pdist(features / np.logspace(0, 2, 10)) + rng.normal(0, 0.01, 276)
    pairs = ImagePairs(features, all_pairs(24))
    search = GridSearchCV(
        make_pipeline(PerImage(StandardScaler()), FixedRSARegressor()),
        {
            "perimage__transformer__with_std": [False, True],
            "fixedrsaregressor__metric": ["cityblock", "euclidean"],
        },
        cv=ImageKFold(4, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(pairs, y)
    assert search.best_params_ == {
        "perimage__transformer__with_std": True,
        "fixedrsaregressor__metric": "euclidean",
    }
    expected = pdist(StandardScaler().fit_transform(features))
    np.testing.assert_allclose(search.predict(pairs), expected)
    np.testing.assert_allclose(search.transform(features), squareform(expected))


def test_a_poisoned_held_out_image_does_not_reach_the_scaler(rng):
    features = rng.normal(size=(15, 6))
    pairs, y = ImagePairs(features, all_pairs(15)), rng.random(105)
    train, _ = next(ImageKFold(3).split(pairs, y))
    held_out = np.setdiff1d(range(15), pairs.index[train])
    pipeline = make_pipeline(PerImage(StandardScaler()), FixedRSARegressor())
    expected = clone(pipeline).fit(pairs[train], y[train]).predict(pairs[train])
    features[held_out] = 1e12
    poisoned = clone(pipeline).fit(pairs[train], y[train])
    np.testing.assert_array_equal(poisoned.predict(pairs[train]), expected)
    np.testing.assert_allclose(
        poisoned[0].transformer_.mean_, features[pairs[train].used_images].mean(axis=0)
    )


def layer_design(features, layers, metric="correlation"):
    return np.column_stack([pdist(features[:, layer], metric) for layer in layers])


@pytest.mark.parametrize("layers", [[3, 5, 4], [slice(0, 3), slice(3, 8), slice(8, 12)]])
def test_layer_weights_equal_nnls(layers, rng):
    features, y = rng.random((15, 12)), rng.random(105)
    design = layer_design(features, [slice(0, 3), slice(3, 8), slice(8, 12)])
    model = LayerWeightedRSARegressor(layers).fit(ImagePairs(features, all_pairs(15)), y)
    np.testing.assert_allclose(model.coef_, nnls(design, y)[0], atol=1e-10)
    np.testing.assert_allclose(model.transform(features), squareform(design @ model.coef_))


def test_layer_weights_with_intercept_on_incomplete_pairs_of_subjects(rng):
    features, y = rng.random((15, 12)), rng.random((105, 4))
    y[rng.random(y.shape) < 0.2] = np.nan
    keep = rng.permutation(105)[:60]
    model = LayerWeightedRSARegressor([6, 6], metric="cityblock", fit_intercept=True)
    model.fit(ImagePairs(features, all_pairs(15)[keep]), y[keep])
    design = layer_design(features, [slice(0, 6), slice(6, 12)], "cityblock")[keep]
    expected = LinearRegression(positive=True).fit(design, np.nanmean(y[keep], axis=1))
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-10)
    assert model.intercept_ == pytest.approx(expected.intercept_)


def test_layer_weights_are_never_negative(rng):
    features = rng.random((15, 12))
    design = layer_design(features, [slice(0, 6), slice(6, 12)])
    model = LayerWeightedRSARegressor([6, 6])
    model.fit(ImagePairs(features, all_pairs(15)), design @ [1, -0.1])
    assert model.coef_[1] == 0
    assert model.coef_[0] > 0


def test_layer_components_are_fitted_within_layers_first(rng):
    features, y = rng.random((20, 12)), rng.random(190)
    pairs = ImagePairs(features, all_pairs(20))
    train = (pairs.index < 16).all(axis=1)
    model = LayerWeightedRSARegressor([7, 5], n_components=3).fit(pairs[train], y[train])
    layer_rdms = []
    for number, layer in enumerate([slice(0, 7), slice(7, 12)]):
        scores = PCA(3, svd_solver="full").fit(features[:16, layer]).transform(features[:, layer])
        design = np.column_stack([pdist(scores[:, [c]], "sqeuclidean") for c in range(3)])
        coef = nnls(design[train], y[train])[0]
        np.testing.assert_allclose(model.component_coef_[number], coef, atol=1e-8)
        layer_rdms.append(design @ coef)
    coef = nnls(np.column_stack(layer_rdms)[train], y[train])[0]
    np.testing.assert_allclose(model.coef_, coef, atol=1e-8)
    np.testing.assert_allclose(model.predict(pairs), np.column_stack(layer_rdms) @ coef, rtol=1e-8)


def test_one_layer_by_default_with_at_most_as_many_components_as_there_are(rng):
    features, y = rng.random((5, 12)), rng.random(10)
    model = LayerWeightedRSARegressor(n_components=50).fit(ImagePairs(features, all_pairs(5)), y)
    assert model.layers_ == [slice(0, 12)]
    assert model.pcas_[0].n_components_ == 4
    share = LayerWeightedRSARegressor(n_components=0.5).fit(ImagePairs(features, all_pairs(5)), y)
    assert 1 <= share.pcas_[0].n_components_ < 4


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3, 4], "have 7 features together, but images have 8"),
        ([8, 0], "numbers of features or slices"),
        ([slice(0, 4), 4], "numbers of features or slices"),
        ([slice(0, 4), slice(8, 9)], "has none of the 8 features"),
        ([], "have 0 features together"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, message, problem):
    with pytest.raises(ValueError, match=message):
        LayerWeightedRSARegressor(layers).fit(*problem)


@pytest.mark.parametrize("n_components", [None, 2])
def test_a_failed_refit_leaves_layer_weights_as_they_were(n_components, rng):
    pairs, y = make_problem(rng, 10, 8)
    model = LayerWeightedRSARegressor([4, 4], n_components=2).fit(pairs, y)
    before, fitted = model.predict(pairs), {**vars(model)}
    other, y_other = make_problem(rng, 10, 6)
    model.set_params(layers=[7], n_components=n_components)
    with pytest.raises(ValueError, match="7 features together"):
        model.fit(other, y_other)
    model.set_params(layers=None, metric="correlation", n_components=None)
    broken = other.images.copy()
    broken[3] = 1
    with pytest.raises(ValueError, match="image 3"):
        model.fit(ImagePairs(broken, other.index), y_other)
    model.set_params(layers=[4, 4], n_components=2)
    assert {**vars(model)} | {"metric": fitted["metric"]} == fitted
    np.testing.assert_array_equal(model.predict(pairs), before)
