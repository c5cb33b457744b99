from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.preprocessing import PerImage, SubjectPooling
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


@pytest.fixture
def problem(rng):
    return make_problem(rng, 12, 8, 3)


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
    used = all_pairs(4)
    model = clone(estimator).fit(ImagePairs(features, used), rng.random(len(used)))
    assert np.isfinite(model.predict(ImagePairs(features, [[0, 5], [1, 2]]))).all()
    with pytest.raises(ValueError, match="image 4 holds NaN or infinity"):
        model.predict(ImagePairs(features, [[0, 5], [4, 2]]))
    with pytest.raises(ValueError, match="image 4 holds NaN or infinity"):
        model.transform(features)


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
    index = all_pairs(n_images)
    half = n_images // 2
    yield index
    yield rng.permutation(index)[: max(2, len(index) // 2)]
    if n_images >= 20:
        yield np.concatenate([all_pairs(half), half + all_pairs(n_images - half)])
        yield np.concatenate([all_pairs(half), half + all_pairs(n_images - half)[5:]])
        yield np.concatenate([all_pairs(half), all_pairs(half)[:4], all_pairs(half)[4:9, ::-1]])


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
    pairs = ImagePairs(features, all_pairs(20))
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
    pairs = ImagePairs(features, all_pairs(20))
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
    pairs = ImagePairs(features, all_pairs(20))
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
    columns = explicit_columns(features, all_pairs(20), "dot")
    scale = columns.std(axis=0)
    shortest = np.linalg.pinv((columns - columns.mean(axis=0)) / scale, rcond=1e-10) @ y
    model = FeatureReweightedRSARegressor(penalty=penalty, alphas=alpha)
    coef = model.fit(ImagePairs(features, all_pairs(20)), y).coef_ * scale
    assert_close(coef, shortest, 1e-5)
    np.testing.assert_allclose(coef[6:12], coef[:6], atol=1e-4 * np.abs(coef).max())


def test_fractional_equals_fracridge(rng):
    fracridge = pytest.importorskip("fracridge")
    features, y = rng.gamma(1.0, size=(20, 30)), rng.random(190)
    pairs = ImagePairs(features, all_pairs(20))
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
    pairs, y = ImagePairs(features, all_pairs(45)), pdist(informative, "sqeuclidean")
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


def test_equal_weights_are_the_correlation_distance(rng):
    images = rng.random((10, 6))
    model = FeatureReweightedRSARegressor(alphas=1)
    model.fit(ImagePairs(images, all_pairs(10)), rng.random(45))
    model.coef_, model.intercept_ = np.ones(6), 1.0
    np.testing.assert_allclose(model.transform(images), 1 - np.corrcoef(images), atol=1e-12)


def test_without_normalisation_features_are_taken_as_they_are(rng):
    features = rng.random((10, 6))
    coef = rng.random(6)
    y = pdist(features * np.sqrt(coef), "sqeuclidean")
    model = FeatureReweightedRSARegressor("sqeuclidean", normalize=False, alphas=0)
    model.fit(ImagePairs(features, all_pairs(10)), y)
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
    model.fit(ImagePairs(images, all_pairs(6)), y)
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_array_equal(model.cv_scores_, 0)
    assert model.alpha_ == model.alphas_[0]
    assert model.intercept_ == pytest.approx(y.mean())


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
