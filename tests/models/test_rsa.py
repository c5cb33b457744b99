from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr
from sklearn.base import clone, is_regressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
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
from sklearn_rdm._models._pair_ridge import fit_path, predict_path
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.preprocessing import PerImage, SubjectPooling

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
def rng():
    return np.random.default_rng(0)


def complete(n_images):
    return np.column_stack(np.triu_indices(n_images, 1))


def make_problem(rng, n_images, n_features, n_subjects=None):
    features = rng.gamma(1.0, size=(n_images, n_features))
    index = complete(n_images)
    latent = pdist(features[:, : max(1, n_features // 3)], "sqeuclidean")
    shape = (len(index),) if n_subjects is None else (len(index), n_subjects)
    y = (latent if n_subjects is None else latent[:, None]) + rng.normal(0, 0.3, shape)
    return ImagePairs(features, index), y


@pytest.fixture
def problem(rng):
    return make_problem(rng, 12, 8, 3)


# What all have in common


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
    index = rng.permutation(complete(60))[:40]
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
    pairs, y = ImagePairs(images, complete(7)), rng.random(21)
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


@pytest.mark.parametrize("alphas", [None, 10])
def test_a_failed_refit_leaves_reweighting_as_it_was(alphas, rng):
    model = FeatureReweightedRSARegressor(alphas=alphas, random_state=0)
    pairs, y = make_problem(rng, 16, 8)
    before = {**vars(model.fit(pairs, y))}
    other, y_other = make_problem(rng, 16, 5)
    broken = other.images.copy()
    broken[3] = 1
    model.set_params(alphas=[1, 2])
    with pytest.raises(ValueError, match="image 3"):
        model.fit(ImagePairs(broken, other.index), y_other)
    with pytest.raises(ValueError, match="no inner split leaves"):
        model.fit(ImagePairs(other.images, [[0, i] for i in range(1, 7)]), y_other[:6])
    fitted = {name for name in before if name.endswith("_")}
    assert fitted >= {"coef_", "alphas_", "cv_scores_", "n_features_in_"}
    assert {name for name in vars(model) if name.endswith("_")} == fitted
    assert all(vars(model)[name] is before[name] for name in fitted)


@all_estimators
def test_tags(estimator):
    tags = get_tags(estimator)
    assert is_regressor(estimator)
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.pairwise
    assert tags.target_tags.multi_output
    assert not hasattr(estimator, "set_output")


# FixedRSARegressor


@pytest.mark.parametrize(
    "metric", ["correlation", "cosine", "euclidean", "sqeuclidean", "cityblock", "braycurtis"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fixed_equals_scipy(metric, dtype, rng):
    images = rng.gamma(1.0, size=(20, 50)).astype(dtype)
    pairs = ImagePairs(images, complete(20))
    model = FixedRSARegressor(metric).fit(pairs, rng.random(190))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    expected = pdist(images, metric)
    np.testing.assert_allclose(model.predict(pairs), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        model.transform(images), squareform(expected), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "estimator",
    [
        *ESTIMATORS[:3],
        FixedRSARegressor("euclidean"),
        FeatureReweightedRSARegressor(normalize=False, alphas=1.0),
        LinearTwinRSARegressor(n_components=2),
    ],
)
def test_features_that_are_not_finite_in_a_memmap_are_named(estimator, bad, rng, tmp_path):
    features = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (6, 8))
    features[:] = rng.random((6, 8))
    features[4, 2:4] = bad
    used = complete(4)
    model = clone(estimator).fit(ImagePairs(features, used), rng.random(len(used)))
    assert np.isfinite(model.predict(ImagePairs(features, [[0, 5], [1, 2]]))).all()
    with pytest.raises(ValueError, match="image 4 holds NaN or infinity"):
        model.predict(ImagePairs(features, [[0, 5], [4, 2]]))
    with pytest.raises(ValueError, match="image 4 holds NaN or infinity"):
        model.transform(features)


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
    model = FixedRSARegressor(lambda a, b: abs(a[0] - b[0])).fit(ImagePairs(images, complete(5)))
    np.testing.assert_allclose(model.transform(images), abs(images[:, :1] - images[:, 0]))


def test_fixed_correlation_survives_a_large_mean(rng):
    images = 1e4 + rng.random((6, 40))
    model = FixedRSARegressor().fit(ImagePairs(images, complete(6)))
    expected = 1 - np.corrcoef(images)
    np.testing.assert_allclose(model.transform(images), expected, atol=1e-9)
    shifted = model.transform(images.astype(np.float32))
    np.testing.assert_allclose(shifted, 1 - np.corrcoef(images.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize(("metric", "row"), [("correlation", 3.5), ("cosine", 0.0)])
def test_fixed_names_the_image_without_correlation(metric, row, rng):
    images = rng.random((6, 4))
    images[4] = row
    model = FixedRSARegressor(metric).fit(ImagePairs(images, complete(6)))
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
    train = (complete(20) < 12).all(axis=1)  # the unit of the noise is that of these images
    pairs = ImagePairs(images, complete(20))
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
    assert np.allclose(model.predict(pairs)[(complete(20) == 3).any(axis=1)], 1)


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
    pairs = ImagePairs(features, complete(24))
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
    pairs, y = ImagePairs(features, complete(15)), rng.random(105)
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


# LayerWeightedRSARegressor


def layer_design(features, layers, metric="correlation"):
    return np.column_stack([pdist(features[:, layer], metric) for layer in layers])


@pytest.mark.parametrize("layers", [[3, 5, 4], [slice(0, 3), slice(3, 8), slice(8, 12)]])
def test_layer_weights_equal_nnls(layers, rng):
    features, y = rng.random((15, 12)), rng.random(105)
    design = layer_design(features, [slice(0, 3), slice(3, 8), slice(8, 12)])
    model = LayerWeightedRSARegressor(layers).fit(ImagePairs(features, complete(15)), y)
    np.testing.assert_allclose(model.coef_, nnls(design, y)[0], atol=1e-10)
    np.testing.assert_allclose(model.transform(features), squareform(design @ model.coef_))


def test_layer_weights_with_intercept_on_incomplete_pairs_of_subjects(rng):
    features, y = rng.random((15, 12)), rng.random((105, 4))
    y[rng.random(y.shape) < 0.2] = np.nan
    keep = rng.permutation(105)[:60]
    model = LayerWeightedRSARegressor([6, 6], metric="cityblock", fit_intercept=True)
    model.fit(ImagePairs(features, complete(15)[keep]), y[keep])
    design = layer_design(features, [slice(0, 6), slice(6, 12)], "cityblock")[keep]
    expected = LinearRegression(positive=True).fit(design, np.nanmean(y[keep], axis=1))
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-10)
    assert model.intercept_ == pytest.approx(expected.intercept_)


def test_layer_weights_are_never_negative(rng):
    features = rng.random((15, 12))
    design = layer_design(features, [slice(0, 6), slice(6, 12)])
    model = LayerWeightedRSARegressor([6, 6])
    model.fit(ImagePairs(features, complete(15)), design @ [1, -0.1])
    assert model.coef_[1] == 0
    assert model.coef_[0] > 0


def test_layer_components_are_fitted_within_layers_first(rng):
    features, y = rng.random((20, 12)), rng.random(190)
    pairs = ImagePairs(features, complete(20))
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
    model = LayerWeightedRSARegressor(n_components=50).fit(ImagePairs(features, complete(5)), y)
    assert model.layers_ == [slice(0, 12)]
    assert model.pcas_[0].n_components_ == 4
    share = LayerWeightedRSARegressor(n_components=0.5).fit(ImagePairs(features, complete(5)), y)
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


# FeatureReweightedRSARegressor


def explicit_columns(features, index, metric):
    """The pairs x features matrix of the definition."""
    if metric == "dot":
        features = features - features.mean(axis=1, keepdims=True)
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    first, second = features[index[:, 0]], features[index[:, 1]]
    return -first * second if metric == "dot" else (first - second) ** 2


def explicit_ridge(columns, y, alpha, **params):
    scaler = StandardScaler().fit(columns)
    ridge = Ridge(alpha, **({"solver": "svd"} | params)).fit(scaler.transform(columns), y)
    coef = ridge.coef_ / scaler.scale_
    return coef, ridge.intercept_ - coef @ scaler.mean_


def assert_close(actual, expected, tolerance=1e-7):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def designs(rng, n_images):
    """Complete, incomplete, two sets without common pairs, and repeated pairs."""
    index = complete(n_images)
    half = n_images // 2
    yield index
    yield rng.permutation(index)[: max(2, len(index) // 2)]
    if n_images >= 20:
        yield np.concatenate([complete(half), half + complete(n_images - half)])
        yield np.concatenate([complete(half), half + complete(n_images - half)[5:]])
        yield np.concatenate([complete(half), complete(half)[:4], complete(half)[4:9, ::-1]])


@pytest.mark.parametrize("metric", ["dot", "sqeuclidean"])
@pytest.mark.parametrize(
    ("n_images", "n_features"), [(3, 4), (4, 2), (8, 50), (20, 30), (24, 400), (92, 60)]
)
def test_ridge_equals_scikit_learn_on_the_explicit_matrix(metric, n_images, n_features, rng):
    features = rng.gamma(1.0, size=(n_images, n_features))
    features[:, 1] = 0 if metric == "sqeuclidean" else features[:, 1]  # a dead unit
    for index in designs(rng, n_images):
        if len(np.unique(index)) < 3:
            continue
        y = rng.random(len(index))
        columns = explicit_columns(features, index, metric)
        for alpha in [1e-2, 1, 1e3]:
            model = FeatureReweightedRSARegressor(metric, alphas=alpha)
            model.fit(ImagePairs(features, index), y)
            coef, intercept = explicit_ridge(columns, y, alpha)
            assert_close(model.coef_, coef)
            assert model.intercept_ == pytest.approx(intercept, rel=1e-7)
            assert model.alpha_ == alpha
            assert model.cv_scores_ is None
            np.testing.assert_allclose(
                model.predict(ImagePairs(features, index)), columns @ coef + intercept, rtol=1e-7
            )


@pytest.mark.parametrize("n_features", [20, 300])
def test_subjects_are_fitted_on_the_pairs_they_have(n_features, rng):
    features, y = rng.random((20, n_features)), rng.random((190, 4))
    y[:30, 1] = y[60:70, 3] = np.nan
    pairs = ImagePairs(features, complete(20))
    model = FeatureReweightedRSARegressor(alphas=3, subject_pooling=None).fit(pairs, y)
    columns = explicit_columns(features, pairs.index, "dot")
    predicted = np.empty_like(y)
    for subject in range(4):
        known = ~np.isnan(y[:, subject])
        coef, intercept = explicit_ridge(columns[known], y[known, subject], 3)
        assert_close(model.coef_[subject], coef)
        assert model.intercept_[subject] == pytest.approx(intercept)
        predicted[:, subject] = columns @ coef + intercept
    np.testing.assert_array_equal(model.alpha_, [3, 3, 3, 3])
    np.testing.assert_allclose(model.predict_subjects(pairs), predicted)
    np.testing.assert_allclose(model.predict(pairs), predicted.mean(axis=1))


def test_subjects_are_pooled_on_the_training_pairs(rng):
    pairs, y = make_problem(rng, 20, 30, 5)
    pooled = SubjectPooling().fit_transform(y)
    expected = FeatureReweightedRSARegressor(alphas=3).fit(pairs, pooled)
    model = FeatureReweightedRSARegressor(alphas=3).fit(pairs, y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.coef_.shape == (30,)
    assert model.predict_subjects(pairs).shape == (190, 1)


@pytest.mark.parametrize("metric", ["dot", "sqeuclidean"])
@pytest.mark.parametrize("n_features", [15, 250])
def test_nonnegative_equals_nnls_of_the_definition(metric, n_features, rng):
    features, y = rng.gamma(1.0, size=(20, n_features)), rng.random(190)
    pairs = ImagePairs(features, complete(20))
    columns = explicit_columns(features, pairs.index, metric)
    for alpha in [1, 100]:
        model = FeatureReweightedRSARegressor(metric, penalty="nonnegative", alphas=alpha)
        model.fit(pairs, y)
        penalised = np.vstack(
            [StandardScaler().fit_transform(columns), np.sqrt(alpha) * np.eye(n_features)]
        )
        target = np.append(y - y.mean(), np.zeros(n_features))
        coef, residual = nnls(penalised, target)
        fitted = model.coef_ * columns.std(axis=0)
        assert (model.coef_ >= 0).all()
        assert (coef == 0).any()
        assert_close(fitted, coef, 1e-3)
        assert np.linalg.norm(penalised @ fitted - target) == pytest.approx(residual, rel=1e-6)


@pytest.mark.parametrize("n_features", [15, 250])
def test_fractional_shrinks_the_norm_to_the_fraction(n_features, rng):
    features, y = rng.gamma(1.0, size=(20, n_features)), rng.random(190)
    pairs = ImagePairs(features, complete(20))
    columns = explicit_columns(features, pairs.index, "dot")
    scale = columns.std(axis=0)
    full = np.linalg.lstsq((columns - columns.mean(axis=0)) / scale, y - y.mean(), rcond=None)[0]
    for fraction in [0.05, 0.5, 0.95, 1]:
        model = FeatureReweightedRSARegressor(penalty="fractional", alphas=fraction).fit(pairs, y)
        norm = np.linalg.norm(model.coef_ * scale)
        assert norm == pytest.approx(fraction * np.linalg.norm(full))
    assert_close(model.coef_ * scale, full, 1e-6)


@pytest.mark.parametrize(("penalty", "alpha"), [("ridge", 0), ("fractional", 1)])
@pytest.mark.parametrize("n_features", [12, 250])
def test_without_penalty_equal_features_share_their_weight(n_features, penalty, alpha, rng):
    features, y = rng.gamma(1.0, size=(20, n_features)), rng.random(190)
    features[:, 6:12] = features[:, :6]
    columns = explicit_columns(features, complete(20), "dot")
    scale = columns.std(axis=0)
    shortest = np.linalg.pinv((columns - columns.mean(axis=0)) / scale, rcond=1e-10) @ y
    model = FeatureReweightedRSARegressor(penalty=penalty, alphas=alpha)
    coef = model.fit(ImagePairs(features, complete(20)), y).coef_ * scale
    assert_close(coef, shortest, 1e-5)
    np.testing.assert_allclose(coef[6:12], coef[:6], atol=1e-4 * np.abs(coef).max())


def test_fractional_equals_fracridge(rng):
    fracridge = pytest.importorskip("fracridge")
    features, y = rng.gamma(1.0, size=(20, 30)), rng.random(190)
    pairs = ImagePairs(features, complete(20))
    columns = StandardScaler().fit_transform(explicit_columns(features, pairs.index, "dot"))
    for fraction in [0.1, 0.6]:
        expected = fracridge.fracridge(columns, y - y.mean(), np.array([fraction]))[0]
        model = FeatureReweightedRSARegressor(penalty="fractional", alphas=fraction).fit(pairs, y)
        scale = explicit_columns(features, pairs.index, "dot").std(axis=0)
        assert_close(model.coef_ * scale, np.ravel(expected), 1e-2)  # it interpolates


def explicit_cv_scores(features, index, y, alphas, splits, correlation):
    predicted, counts = np.zeros((len(alphas), len(y))), np.zeros(len(y))
    columns = explicit_columns(features, index, "dot")
    for train, test in splits:
        counts[test] += 1
        for a, alpha in enumerate(alphas):
            coef, intercept = explicit_ridge(columns[train], y[train], alpha)
            predicted[a, test] += columns[test] @ coef + intercept - y[train].mean()
    seen = counts > 0
    return [correlation(y[seen], (p[seen] / counts[seen])).statistic for p in predicted]


@pytest.mark.parametrize("scoring", ["pearson", "spearman"])
@pytest.mark.parametrize("n_features", [10, 120])
def test_penalty_is_chosen_as_a_plain_loop_chooses_it(scoring, n_features, rng):
    pairs, y = make_problem(rng, 20, n_features)
    cv = ImageShuffleSplit(6, test_size=0.25, random_state=0)
    alphas = [1000, 30, 1]
    model = FeatureReweightedRSARegressor(alphas=alphas[::-1], cv=cv, scoring=scoring).fit(pairs, y)
    correlation = {"pearson": pearsonr, "spearman": spearmanr}[scoring]
    expected = explicit_cv_scores(
        pairs.images, pairs.index, y, alphas, cv.split(pairs), correlation
    )
    np.testing.assert_allclose(model.cv_scores_, expected, atol=1e-7)
    np.testing.assert_array_equal(model.alphas_, alphas)
    assert model.alpha_ == alphas[np.argmax(expected)]
    alone = FeatureReweightedRSARegressor(alphas=model.alpha_).fit(pairs, y)
    np.testing.assert_array_equal(model.coef_, alone.coef_)


@pytest.mark.parametrize("n_images", [5, 8, 14])
def test_few_images_are_held_out_two_at_a_time(n_images, rng):
    pairs, y = make_problem(rng, n_images, 20)
    splits = []
    for row, pair in enumerate(combinations(range(n_images), 2)):
        train = [r for r, other in enumerate(pairs.index) if not set(pair) & set(other)]
        splits.append((train, [row]))
    alphas = [100.0, 1.0]
    model = FeatureReweightedRSARegressor(alphas=alphas).fit(pairs, y)
    expected = explicit_cv_scores(pairs.images, pairs.index, y, alphas, splits, pearsonr)
    np.testing.assert_allclose(model.cv_scores_, expected, atol=1e-7)


@pytest.mark.parametrize("n_images", [3, 4])
def test_too_few_images_to_choose_a_penalty(n_images, rng):
    pairs, y = make_problem(rng, n_images, 6)
    with pytest.raises(ValueError, match=f"{n_images} images are too few to choose a penalty"):
        FeatureReweightedRSARegressor().fit(pairs, y)
    assert FeatureReweightedRSARegressor(alphas=10).fit(pairs, y).coef_.shape == (6,)


def test_splits_that_train_on_nothing_are_refused(rng):
    star = ImagePairs(rng.random((7, 4)), [[0, i] for i in range(1, 7)])
    with pytest.raises(ValueError, match="no inner split leaves two pairs"):
        FeatureReweightedRSARegressor().fit(star, rng.random(6))


def test_cv_takes_an_int_a_splitter_or_splits(rng):
    pairs, y = make_problem(rng, 20, 10)
    folds = ImageKFold(4, shuffle=True, random_state=3)
    fits = [
        FeatureReweightedRSARegressor(cv=cv, random_state=3).fit(pairs, y)
        for cv in (4, folds, list(folds.split(pairs)))
    ]
    for model in fits[1:]:
        np.testing.assert_array_equal(model.cv_scores_, fits[0].cv_scores_)
    other = FeatureReweightedRSARegressor(cv=ImageShuffleSplit(4, test_size=4)).fit(pairs, y)
    assert not np.array_equal(other.cv_scores_, fits[0].cv_scores_)


def test_folds_of_pairs_are_refused(rng):
    pairs, y = make_problem(rng, 20, 10)
    with pytest.raises(ValueError, match="split 0 of cv .* holds out pairs, not images"):
        FeatureReweightedRSARegressor(cv=KFold(3)).fit(pairs, y)


@pytest.mark.parametrize("metric", ["dot", "sqeuclidean"])
@pytest.mark.parametrize("alphas", [3, [3, 30]])
def test_subjects_without_pairs_are_left_out_of_separate_fits(metric, alphas, rng):
    pairs, y = make_problem(rng, 20, 30, 4)
    y[1:, 2] = np.nan
    params = {"metric": metric, "alphas": alphas, "random_state": 0, "subject_pooling": None}
    with pytest.warns(UserWarning, match=r"subjects \[2\] .* fewer than two of these 190 pairs"):
        model = FeatureReweightedRSARegressor(**params).fit(pairs, y)
    others = FeatureReweightedRSARegressor(**params).fit(pairs, y[:, [0, 1, 3]])
    for name in ("coef_", "intercept_", "alpha_"):
        values = getattr(model, name)
        assert np.isnan(values[2]).all()
        np.testing.assert_allclose(np.delete(values, 2, axis=0), getattr(others, name))
    assert np.isnan(model.predict_subjects(pairs)).all(axis=0).tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(model.predict(pairs), others.predict(pairs))
    np.testing.assert_allclose(model.transform(pairs), others.transform(pairs))
    if model.cv_scores_ is not None:
        np.testing.assert_allclose(np.delete(model.cv_scores_, 2, axis=1), others.cv_scores_)
        assert np.isnan(model.cv_scores_[:, 2]).all()


def test_random_state_fixes_the_choice(rng):
    pairs, y = make_problem(rng, 20, 10)
    scores = [
        FeatureReweightedRSARegressor(random_state=seed).fit(pairs, y).cv_scores_
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


@pytest.mark.parametrize("penalty", ["ridge", "fractional", "nonnegative"])
@pytest.mark.parametrize("metric", ["dot", "sqeuclidean"])
def test_informative_features_are_found_and_hold_for_new_images(penalty, metric, rng):
    features = rng.normal(size=(45, 12))
    informative = features[:, :4]
    pairs, y = ImagePairs(features, complete(45)), pdist(informative, "sqeuclidean")
    train, test = (pairs.index < 30).all(axis=1), (pairs.index >= 30).all(axis=1)
    params = {"alphas": [1, 100]} if penalty == "nonnegative" else {}
    model = FeatureReweightedRSARegressor(metric, penalty=penalty, random_state=0, **params)
    fixed = FixedRSARegressor().fit(pairs)
    learned = model.fit(pairs[train], y[train]).score(pairs[test], y[test])
    assert learned > fixed.score(pairs[test], y[test]) + 0.1
    assert model.coef_[:4].min() > model.coef_[4:].max()


@pytest.mark.parametrize("n_features", [10, 300])
def test_inner_splits_in_threads_change_no_bit(n_features, rng):
    pairs, y = make_problem(rng, 24, n_features, 2)
    fits = [
        FeatureReweightedRSARegressor(
            penalty="fractional", subject_pooling=None, random_state=0, n_jobs=n_jobs
        ).fit(pairs, y)
        for n_jobs in (None, 2)
    ]
    np.testing.assert_array_equal(fits[1].cv_scores_, fits[0].cv_scores_)
    np.testing.assert_array_equal(fits[1].coef_, fits[0].coef_)


@pytest.mark.parametrize("penalty", ["ridge", "fractional", "nonnegative"])
@pytest.mark.parametrize("n_features", [10, 120])
def test_held_out_predictions_are_those_of_the_fitted_weights(n_features, penalty, rng):
    """They take a short cut past the weights where pairs are fewer than features."""
    pairs, y = make_problem(rng, 15, n_features, 2)
    y[:9, 1] = np.nan
    train, test = next(ImageShuffleSplit(1, test_size=0.3, random_state=0).split(pairs))
    model = {"metric": "dot", "penalty": penalty}
    known, alphas = (pairs.images, pairs.index[train], y[train]), np.array([[0.1], [0.7]])
    path = fit_path(*known, alphas, **model)
    first, second = pairs.images[pairs.index[test].T]
    columns = -first * second
    expected = np.tensordot(columns, path.coef, 1) - path.offset
    predicted = predict_path(*known, alphas, pairs.index[test], **model)
    np.testing.assert_allclose(predicted, expected, atol=1e-8 * np.abs(expected).max())


def test_equal_weights_are_the_correlation_distance(rng):
    images = rng.random((10, 6))
    model = FeatureReweightedRSARegressor(alphas=1)
    model.fit(ImagePairs(images, complete(10)), rng.random(45))
    model.coef_, model.intercept_ = np.ones(6), 1.0
    np.testing.assert_allclose(model.transform(images), 1 - np.corrcoef(images), atol=1e-12)


def test_without_normalisation_features_are_taken_as_they_are(rng):
    features = rng.random((10, 6))
    coef = rng.random(6)
    y = pdist(features * np.sqrt(coef), "sqeuclidean")
    model = FeatureReweightedRSARegressor("sqeuclidean", normalize=False, alphas=0)
    model.fit(ImagePairs(features, complete(10)), y)
    np.testing.assert_allclose(model.coef_, coef)
    assert model.intercept_ == pytest.approx(0, abs=1e-10)


def test_reweighting_in_image_wise_cross_validation(rng):
    pairs, y = make_problem(rng, 40, 20, 3)
    pipeline = make_pipeline(PerImage(PCA(10)), FeatureReweightedRSARegressor(random_state=0))
    scores = cross_val_score(pipeline, pairs, y, cv=ImageKFold(4), error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metric": "pearson"}, "metric must be one of"),
        ({"penalty": "lasso"}, "penalty must be one of"),
        ({"scoring": "r2"}, "scoring must be one of"),
        ({"alphas": -1}, "finite and at least 0"),
        ({"alphas": []}, "finite and at least 0"),
        ({"penalty": "fractional", "alphas": [0, 1]}, "fractions above 0"),
        ({"penalty": "fractional", "alphas": 2}, "fractions above 0"),
    ],
)
def test_wrong_parameters_are_refused(params, message, problem):
    with pytest.raises(ValueError, match=message):
        FeatureReweightedRSARegressor(**params).fit(*problem)


@pytest.mark.parametrize("penalty", ["ridge", "fractional", "nonnegative"])
def test_images_that_differ_in_nothing_get_the_mean(penalty, rng):
    images = np.repeat(rng.random((1, 5)), 6, axis=0)
    y = rng.random(15)
    model = FeatureReweightedRSARegressor(penalty=penalty, alphas=[0.5, 1])
    model.fit(ImagePairs(images, complete(6)), y)
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_array_equal(model.cv_scores_, 0)
    assert model.alpha_ == model.alphas_[0]
    assert model.intercept_ == pytest.approx(y.mean())


# Real images and brains


@pytest.fixture(scope="module")
def it_92(load_algonauts):
    data = load_algonauts(92, "fmri_it", image_size=8)
    return ImagePairs.from_rdms(data.images.astype(float), data.rdms)


@pytest.mark.data
def test_all_fit_real_subjects(it_92):
    pairs, y = it_92
    scores = {}
    for name, model in {
        "fixed": FixedRSARegressor(),
        "layers": LayerWeightedRSARegressor(n_components=20, subject_pooling="zscore"),
        "features": FeatureReweightedRSARegressor(cv=5, random_state=0),
    }.items():
        cv = ImageKFold(4, shuffle=True, random_state=0)
        scores[name] = cross_val_score(model, pairs, y, cv=cv, error_score="raise").mean()
    assert scores["features"] > scores["fixed"]
    assert scores["layers"] > 0


@pytest.mark.data
def test_real_subjects_equal_scikit_learn(it_92):
    pairs, y = it_92
    columns = explicit_columns(pairs.images.reshape(92, -1), pairs.index, "sqeuclidean")
    model = FeatureReweightedRSARegressor("sqeuclidean", alphas=50, subject_pooling=None)
    model.fit(pairs, y)
    for subject in (0, 14):
        coef, intercept = explicit_ridge(columns, y[:, subject], 50)
        assert_close(model.coef_[subject], coef, 1e-6)
        assert model.intercept_[subject] == pytest.approx(intercept)


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
