import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import helmert, null_space
from scipy.optimize import approx_fprime, minimize
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LinearTwinRSARegressor
from sklearn_rdm._models._linear_twin import _Problem
from sklearn_rdm.losses import CorrelationLoss
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage, SubjectPooling
from tests.simulated import all_pairs


def planted(rng, n_images=60, n_features=40, rank=3, noise=0.05):
    """Dissimilarities that few directions of many features make."""
    features = rng.normal(size=(n_images, n_features))
    hidden = features @ rng.normal(size=(n_features, rank))
    y = pdist(hidden, "cosine") + rng.normal(0, noise, n_images * (n_images - 1) // 2)
    return ImagePairs(features, all_pairs(n_images)), y


def split(pairs, n_train):
    return (pairs.index < n_train).all(axis=1), (pairs.index >= n_train).all(axis=1)


def attenuated(projections, noise):
    """Cosine distances of projections, after noise of each image alone was added as columns."""
    noisy = np.column_stack([projections, np.sqrt(noise) * np.eye(len(projections))])
    return pdist(noisy, "cosine")


def torch_objective(weights, start, scores, index, target, alpha, noise):
    """The definition, with torch's cosine similarity and the package's loss."""
    noisy = torch.column_stack([scores @ weights.T, noise**0.5 * torch.eye(len(scores)).double()])
    first, second = noisy[index[:, 0]], noisy[index[:, 1]]
    predicted = 1 - torch.nn.functional.cosine_similarity(first, second, dim=1)
    penalty = alpha * ((weights - start) ** 2).sum() / len(weights)
    return CorrelationLoss()(predicted, target) + penalty


# The gradient


def random_problem(rng, alpha, noise, index):
    scores = rng.normal(size=(12, 7))
    return _Problem(scores, index, rng.random(len(index)), np.eye(4, 7), alpha, noise)


@pytest.mark.parametrize("noise", [0, 0.7])
@pytest.mark.parametrize("alpha", [0, 0.3])
def test_gradient_equals_finite_differences(alpha, noise, rng):
    problem = random_problem(rng, alpha, noise, all_pairs(12))
    for _ in range(5):
        weights = rng.normal(size=28)
        differences = approx_fprime(weights, lambda w: problem.objective(w)[0], 1e-7)
        np.testing.assert_allclose(problem.objective(weights)[1], differences, atol=1e-6)


@pytest.mark.parametrize(
    "index",
    [all_pairs(12), all_pairs(12)[::5], np.concatenate([all_pairs(12), all_pairs(12)[:9, ::-1]])],
    ids=["complete", "sparse", "repeated"],
)
@pytest.mark.parametrize("noise", [0, 0.7])
def test_objective_and_gradient_equal_autograd(noise, index, rng):
    problem = random_problem(rng, 0.3, noise, index)
    weights = torch.tensor(rng.normal(size=(4, 7)), requires_grad=True)
    arrays = (problem.start, problem.scores, index, problem.target)
    start, scores, index, target = map(torch.as_tensor, arrays)
    expected = torch_objective(weights, start, scores, index, target, 0.3, noise)
    expected.backward()
    value, gradient = problem.objective(weights.detach().numpy().ravel())
    assert value == pytest.approx(expected.item(), abs=1e-12)
    np.testing.assert_allclose(gradient, weights.grad.ravel(), atol=1e-12)


def test_predictions_that_do_not_vary_have_loss_one_and_no_gradient(rng):
    """The corners of a regular simplex are all at the same angle from each other."""
    problem = _Problem(np.eye(4) - 0.25, all_pairs(4), rng.random(6), np.eye(4), 0, 0.3)
    value, gradient = problem.objective(problem.start.ravel())
    assert value == 1
    np.testing.assert_array_equal(gradient, 0)
    model = LinearTwinRSARegressor().fit(ImagePairs(np.eye(4), all_pairs(4)), rng.random(6))
    assert (model.n_iter_, model.loss_) == (0, 1)


# What it predicts


@pytest.mark.parametrize("noise", [0, 0.3])
def test_prediction_is_the_definition(noise, rng):
    pairs, y = planted(rng)
    model = LinearTwinRSARegressor(4, alpha=3, noise_ratio=noise).fit(pairs, y)
    projected = (pairs.images - pairs.images.mean(axis=0)) @ model.components_.T
    np.testing.assert_allclose(model.mean_, pairs.images.mean(axis=0))
    np.testing.assert_allclose(model.embed(pairs.images), projected, atol=1e-12)
    np.testing.assert_allclose(model.embed(pairs), projected, atol=1e-12)
    expected = attenuated(projected, model.noise_)
    np.testing.assert_allclose(model.predict(pairs), expected, atol=1e-12)
    assert model.loss_ == pytest.approx(1 - pearsonr(expected, y).statistic)
    assert model.components_.shape == (model.n_components_, model.n_features_in_) == (4, 40)


def test_without_noise_it_is_a_twin_of_one_unit_more_compared_by_correlation(rng):
    pairs, y = planted(rng)
    model = LinearTwinRSARegressor(4, alpha=3, noise_ratio=0).fit(pairs, y)
    units = model.embed(pairs) @ helmert(5)
    np.testing.assert_allclose(model.predict(pairs), pdist(units, "correlation"), atol=1e-12)


@pytest.mark.parametrize("alpha", [1e9, np.inf])
def test_with_a_large_penalty_it_is_the_distance_of_principal_components(alpha, rng):
    pairs, y = planted(rng)
    train, _ = split(pairs, 40)
    model = LinearTwinRSARegressor(5, alpha=alpha, noise_ratio=0).fit(pairs[train], y[train])
    fixed = make_pipeline(PerImage(PCA(5)), FixedRSARegressor("cosine")).fit(pairs[train])
    np.testing.assert_allclose(model.transform(pairs), fixed.transform(pairs), atol=1e-7)
    if alpha == np.inf:
        assert model.n_iter_ == 0


def test_noise_is_a_share_of_the_variance_of_principal_components(rng):
    pairs, y = planted(rng)
    scores = PCA(5).fit_transform(pairs.images)
    variance = (scores**2).sum(axis=1).mean()
    for ratio in (0, 0.3, 2):
        model = LinearTwinRSARegressor(5, alpha=np.inf, noise_ratio=ratio).fit(pairs, y)
        assert model.noise_ == pytest.approx(ratio * variance)


def test_a_planted_projection_is_found(rng):
    pairs, y = planted(rng, n_images=120)
    train, test = split(pairs, 100)
    fixed = FixedRSARegressor().fit(pairs[train]).score(pairs[test], y[test])
    learned = LinearTwinRSARegressor(3, alpha=0.1, noise_ratio=0.01).fit(pairs[train], y[train])
    assert fixed < 0.5
    assert learned.score(pairs[test], y[test]) > 0.9


def test_less_penalty_gives_less_loss(rng):
    pairs, y = planted(rng, n_images=30)
    losses = [
        LinearTwinRSARegressor(4, alpha=alpha).fit(pairs, y).loss_ for alpha in (np.inf, 3, 1, 0.1)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 10


# Only the span of the training images counts


def test_working_in_the_span_equals_working_on_all_features(rng):
    """The same objective over all of W, from the same start, by torch and scipy."""
    pairs, y = planted(rng, n_images=15, n_features=40)
    model = LinearTwinRSARegressor(3, alpha=0.5, tol=1e-9).fit(pairs, y)
    centred = torch.as_tensor(pairs.images - pairs.images.mean(axis=0))
    start = torch.as_tensor(PCA(3, svd_solver="full").fit(pairs.images).components_)
    index, target = torch.as_tensor(pairs.index), torch.as_tensor(y)

    def objective(flat):
        weights = torch.tensor(flat.reshape(3, 40), requires_grad=True)
        value = torch_objective(weights, start, centred, index, target, 0.5, model.noise_)
        value.backward()
        return value.item(), weights.grad.numpy().ravel()

    direct = minimize(objective, start.numpy().ravel(), method="L-BFGS-B", jac=True, tol=1e-12)
    value, gradient = objective(model.components_.ravel())
    assert value == pytest.approx(direct.fun, abs=1e-9)
    assert np.abs(gradient).max() < 1e-3 * np.abs(objective(start.numpy())[1]).max()
    off_span = null_space(centred.numpy())
    np.testing.assert_allclose(model.components_ @ off_span, 0, atol=1e-12)


def test_rotated_shifted_and_scaled_features_give_the_same(rng):
    pairs, y = planted(rng, n_images=20)
    expected = LinearTwinRSARegressor(4).fit(pairs, y).predict(pairs)
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    for images in (pairs.images @ rotation, pairs.images + 5, pairs.images * 1000):
        model = LinearTwinRSARegressor(4)
        other = ImagePairs(images, pairs.index)
        np.testing.assert_allclose(model.fit(other, y).predict(other), expected, atol=1e-4)


def test_features_that_no_training_image_has_do_not_count(rng):
    pairs, y = planted(rng, n_images=20)
    expected = LinearTwinRSARegressor(4).fit(pairs, y)
    wide = np.column_stack([np.full((20, 3), 7.0), pairs.images])
    model = LinearTwinRSARegressor(4).fit(ImagePairs(wide, pairs.index), y)
    np.testing.assert_allclose(model.components_[:, :3], 0, atol=1e-12)
    changed = wide.copy()
    changed[:, :3] = rng.random((20, 3))
    np.testing.assert_allclose(model.transform(changed), expected.transform(pairs), atol=1e-4)


# Targets


def test_scale_of_targets_has_no_meaning(rng):
    pairs, y = planted(rng, n_images=20)
    expected = LinearTwinRSARegressor(4).fit(pairs, y).predict(pairs)
    scaled = LinearTwinRSARegressor(4).fit(pairs, 100 * y - 7).predict(pairs)
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["zscore", "rank", SubjectPooling("mean")])
def test_subjects_are_pooled_on_the_training_pairs(pooling, rng):
    pairs, y = planted(rng, n_images=20)
    subjects = y[:, None] * [1, 5, 2] + rng.normal(0, 0.1, (190, 3))
    subjects[rng.random(subjects.shape) < 0.1] = np.nan
    subjects[np.isnan(subjects).all(axis=1)] = 1
    model = LinearTwinRSARegressor(4, subject_pooling=pooling).fit(pairs, subjects)
    pooling = SubjectPooling(pooling) if isinstance(pooling, str) else pooling
    expected = LinearTwinRSARegressor(4).fit(pairs, pooling.fit_transform(subjects))
    np.testing.assert_allclose(model.components_, expected.components_, atol=1e-4)


def test_subjects_that_cancel_are_refused(rng):
    pairs = ImagePairs(rng.random((5, 4)), all_pairs(5))
    y = np.arange(10.0)
    with pytest.raises(ValueError, match="equal"):
        LinearTwinRSARegressor(subject_pooling="mean").fit(pairs, np.column_stack([y, -y]))


def test_order_of_pairs_does_not_matter_to_the_solver(rng):
    pairs, y = planted(rng, n_images=20)
    subjects = y[:, None] + rng.normal(0, 0.1, (190, 3))
    order = rng.permutation(190)
    model = LinearTwinRSARegressor(4).fit(pairs, subjects)
    shuffled = ImagePairs(pairs.images, pairs.index[order, ::-1])
    again = LinearTwinRSARegressor(4).fit(shuffled, subjects[order])
    np.testing.assert_allclose(again.components_, model.components_, rtol=0, atol=1e-7)


# Edges


def test_three_images(rng):
    pairs = ImagePairs(rng.random((3, 5)), all_pairs(3))
    model = LinearTwinRSARegressor(alpha=0.01).fit(pairs, [0.1, 0.5, 0.9])
    assert model.components_.shape == (2, 5)
    assert model.score(pairs, [0.1, 0.5, 0.9]) == pytest.approx(1)


@pytest.mark.parametrize(("shape", "rank"), [((6, 20), 5), ((20, 6), 6)])
def test_no_more_components_than_there_are(shape, rank, rng):
    n_images = shape[0]
    pairs = ImagePairs(rng.random(shape), all_pairs(n_images))
    y = rng.random(len(pairs))
    model = LinearTwinRSARegressor(50).fit(pairs, y)
    assert model.n_components_ == rank
    exact = LinearTwinRSARegressor(rank).fit(pairs, y)
    np.testing.assert_array_equal(model.components_, exact.components_)


@pytest.mark.parametrize(
    ("features", "rank"),
    [
        (np.arange(6.0)[:, np.newaxis], 1),
        (np.ones((6, 4)), 0),
        (np.arange(6.0)[:, np.newaxis] * [1, 2, 0.1], 1),
    ],
    ids=["one feature", "equal images", "proportional features"],
)
def test_too_few_directions_are_refused(features, rank, rng):
    with pytest.raises(ValueError, match=rf"differ in {rank} direction\(s\)"):
        LinearTwinRSARegressor().fit(ImagePairs(features, all_pairs(6)), rng.random(15))


def problem_with_the_mean_image(rng):
    images = rng.random((6, 5))
    images[4] = images[[0, 1, 2, 3, 5]].mean(axis=0)
    return ImagePairs(images, all_pairs(6)), rng.random(15)


def test_an_image_without_direction_is_unrelated_to_all_others(rng):
    pairs, y = problem_with_the_mean_image(rng)
    rdm = LinearTwinRSARegressor().fit(pairs, y).transform(pairs)
    np.testing.assert_allclose(rdm[4], [1, 1, 1, 1, 0, 1])


def test_without_noise_an_image_without_direction_is_named(rng):
    pairs, y = problem_with_the_mean_image(rng)
    exact = LinearTwinRSARegressor(alpha=10, noise_ratio=0)
    with pytest.raises(ValueError, match="image 4 is the mean"):
        exact.fit(pairs, y)
    without = (pairs.index != 4).all(axis=1)
    exact.fit(pairs[without], y[without])
    assert exact.predict(pairs[without]).shape == (10,)
    with pytest.raises(ValueError, match="image 4 is the mean"):
        exact.predict(pairs)
    with pytest.raises(ValueError, match="image 4 is the mean"):
        exact.transform(pairs)


def test_a_failed_refit_leaves_the_fitted_projection_as_it_was(rng):
    model = LinearTwinRSARegressor(3, noise_ratio=0, alpha=10)
    before = {**vars(model.fit(*planted(rng, n_images=10)))}
    with pytest.raises(ValueError, match="image 4 is the mean"):
        model.fit(*problem_with_the_mean_image(rng))
    with pytest.raises(ValueError, match=r"differ in 0 direction\(s\)"):
        model.fit(ImagePairs(np.ones((6, 4)), all_pairs(6)), rng.random(15))
    assert vars(model) == before
    assert {"components_", "mean_", "n_components_", "n_features_in_", "noise_"} < set(before)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 1}, "n_components must be an integer of at least 2, got 1"),
        ({"n_components": 2.5}, "n_components must be an integer"),
        ({"alpha": -1}, "alpha must be at least 0, got -1"),
        ({"alpha": np.nan}, "alpha must be at least 0, got nan"),
        ({"noise_ratio": -0.1}, "noise_ratio must be a number from 0 .* got -0.1"),
        ({"noise_ratio": np.inf}, "noise_ratio must be a number from 0 .* got inf"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused(params, message, rng):
    with pytest.raises(ValueError, match=message):
        LinearTwinRSARegressor(**params).fit(*planted(rng, n_images=6))


def test_stopping_early_is_told(rng):
    pairs, y = planted(rng, n_images=20)
    with pytest.warns(ConvergenceWarning, match="max_iter=3 is reached: increase max_iter"):
        early = LinearTwinRSARegressor(4, max_iter=3).fit(pairs, y)
    assert early.n_iter_ == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        late = LinearTwinRSARegressor(4).fit(pairs, y)
    assert 3 < late.n_iter_ < 1000
    assert late.loss_ < early.loss_


def test_without_noise_an_image_that_cannot_turn_is_told(rng):
    pairs, y = planted(rng, n_images=15)
    with pytest.warns(ConvergenceWarning, match=r"image \d+ vanished: increase noise"):
        LinearTwinRSARegressor(3, alpha=0.5, noise_ratio=0).fit(pairs, y)


def test_images_as_integers_and_single_precision(rng):
    images = rng.integers(0, 255, (8, 4, 4, 3), dtype=np.uint8)
    y = rng.random(28)
    expected = LinearTwinRSARegressor(3).fit(ImagePairs(images.astype(float), all_pairs(8)), y)
    for dtype in (np.uint8, np.float32):
        model = LinearTwinRSARegressor(3).fit(ImagePairs(images.astype(dtype), all_pairs(8)), y)
        np.testing.assert_array_equal(model.components_, expected.components_)
        np.testing.assert_allclose(model.transform(images), expected.transform(images))


# Real images and brains


@pytest.mark.data
def test_real_subjects(load_algonauts):
    data = load_algonauts(92, "fmri_it", image_size=8)
    pairs, y = ImagePairs.from_rdms(data.images.astype(float), data.rdms)
    fixed = LinearTwinRSARegressor(20, alpha=np.inf, noise_ratio=0)
    learned = LinearTwinRSARegressor(20)
    assert learned.fit(pairs, y).loss_ < 0.8 * fixed.fit(pairs, y).loss_
    features = pairs.images.reshape(92, -1)
    projected = PCA(20, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(
        fixed.transform(pairs), squareform(pdist(projected, "cosine")), atol=1e-9
    )
    cv = ImageKFold(4, shuffle=True, random_state=0)
    scores = {
        model: cross_val_score(model, pairs, y, cv=cv, error_score="raise").mean()
        for model in (learned, fixed)
    }
    assert scores[learned] > scores[fixed]
