import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import ImageTriplets, OddOneOutAlignment
from sklearn_rdm._models._odd_one_out import _Choices
from sklearn_rdm.datasets import make_odd_one_out
from sklearn_rdm.losses import OddOneOutLoss
from sklearn_rdm.metrics import choice_accuracy_scorer
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import choices_to_rdm


@pytest.fixture(scope="module", params=[False, True], ids=["odd one out", "reference"])
def data(request):
    return make_odd_one_out(25, 8, 3000, anchored=request.param, random_state=0)


def whole_transform(model):
    outside = np.eye(model.n_features_in_) - model.span_.T @ model.span_
    return model.identity_ * outside + model.span_.T @ model.coef_ @ model.span_


def penalised_loss(model, data, weights, shares=None):
    """The definition, by torch's loss and whole matrices."""
    features = (data.triplets.images - model.mean_) / model.scale_
    embedded = torch.tensor(features @ weights.T)
    first, second = np.moveaxis(data.triplets.pair_index, -1, 0)
    similarity = (embedded[first] * embedded[second]).sum(dim=-1)
    similarity[:, torch.tensor(~data.triplets.possible)] = -torch.inf
    loss = OddOneOutLoss()(similarity, torch.tensor(data.choices), shares)
    identity = np.trace(weights) / len(weights) * np.eye(len(weights))
    return float(loss) + model.alpha * ((weights - identity) ** 2).sum() / len(weights)


def test_the_transform_minimises_the_definition(data):
    model = OddOneOutAlignment(0.05, tol=1e-8).fit(data.triplets, data.choices)
    weights = whole_transform(model)
    best = penalised_loss(model, data, weights)
    rng = np.random.default_rng(0)
    for size in (1e-2, 1e-1):
        for _ in range(10):
            other = weights + size * rng.normal(size=weights.shape)
            assert penalised_loss(model, data, other) > best
    features = (data.triplets.images - model.mean_) / model.scale_
    np.testing.assert_allclose(model.embed(data.triplets), features @ weights.T, atol=1e-12)


def test_gradient_is_that_of_the_objective(data):
    rng = np.random.default_rng(1)
    triplets = ImageTriplets(
        rng.normal(size=(25, 4)), data.triplets.index, anchored=data.triplets.anchored
    )
    shares = rng.random(3000)
    problem = _Choices(triplets, data.choices, shares / shares.sum(), 0.3)
    error = check_grad(
        lambda w: problem.objective(w)[0], lambda w: problem.objective(w)[1], rng.normal(size=16)
    )
    assert error < 1e-5


def test_the_simulated_truth_is_found(data):
    model = OddOneOutAlignment(1e-4).fit(data.triplets, data.choices)
    found = whole_transform(model)
    found, true = found.T @ found, np.diag(data.weights**2)
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.97
    assert model.score(data.triplets, data.choices) > data.best_accuracy - 0.03


def test_new_images_are_predicted_better_than_by_fixed_features(data):
    cv = ImageKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        OddOneOutAlignment(), {"alpha": [0.01, 1e6]}, cv=cv, scoring=choice_accuracy_scorer
    )
    search.fit(data.triplets, data.choices)
    aligned, fixed = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"alpha": 0.01}
    assert aligned > fixed + 0.03


def test_more_features_than_images_cost_no_more():
    data = make_odd_one_out(12, 300, 500, random_state=0)
    model = OddOneOutAlignment(1.0, tol=1e-8).fit(data.triplets, data.choices)
    assert model.coef_.shape == (11, 11)
    weights = whole_transform(model)
    assert np.trace(weights) / 300 == pytest.approx(model.identity_)
    best = penalised_loss(model, data, weights)
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = weights + 1e-2 * rng.normal(size=weights.shape)
        assert penalised_loss(model, data, other) > best


def test_a_large_penalty_leaves_the_features_but_for_their_scale(data):
    model = OddOneOutAlignment(1e8).fit(data.triplets, data.choices)
    centred = data.triplets.images - model.mean_
    expected = model.identity_ / model.scale_ * centred
    np.testing.assert_allclose(model.embed(data.triplets), expected, atol=1e-4)
    assert model.identity_ > 1


def test_whole_weights_equal_repeated_triplets(data):
    counts = np.random.default_rng(0).integers(0, 3, len(data.choices))
    rows = np.repeat(np.arange(len(counts)), counts)
    model = OddOneOutAlignment(0.1, tol=1e-7)
    weighted = clone(model).fit(data.triplets, data.choices, sample_weight=counts)
    repeated = clone(model).fit(data.triplets[rows], data.choices[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-4)
    score = weighted.score(data.triplets, data.choices, sample_weight=counts)
    assert score == pytest.approx(weighted.score(data.triplets[rows], data.choices[rows]))


def test_probabilities_are_the_softmax_of_the_products(data):
    model = OddOneOutAlignment().fit(data.triplets, data.choices)
    probability, z = model.predict_proba(data.triplets), model.embed(data.triplets)
    for row, (a, b, c) in enumerate(data.triplets.index[:20]):
        products = [z[b] @ z[c], z[a] @ z[c], z[a] @ z[b]]
        if data.triplets.anchored:
            products[0] = -np.inf
        np.testing.assert_allclose(probability[row], softmax(products), atol=1e-12)
    np.testing.assert_array_equal(model.predict(data.triplets), probability.argmax(axis=1))


def test_equal_images_are_a_tie():
    data = make_odd_one_out(10, 4, 300, random_state=0)
    model = OddOneOutAlignment().fit(data.triplets, data.choices)
    assert model.predict(ImageTriplets(np.ones((3, 4)), [[0, 1, 2]])).tolist() == [-1]


def test_the_matrix_is_that_of_all_choices():
    data = make_odd_one_out(7, 4, 400, random_state=0)
    model = OddOneOutAlignment().fit(data.triplets, data.choices)
    every = ImageTriplets(
        data.triplets.images,
        [[i, j, k] for i in range(7) for j in range(i + 1, 7) for k in range(j + 1, 7)],
    )
    probability = model.predict_proba(every)
    repeated = np.repeat(np.arange(len(every)), 3)
    choices = np.tile(np.arange(3), len(every))
    expected = choices_to_rdm(every[repeated], choices, sample_weight=probability.ravel())
    np.testing.assert_allclose(model.transform(data.triplets.images), expected, atol=1e-12)
    off_diagonal = expected[np.triu_indices(7, 1)]
    assert off_diagonal.mean() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"alpha": -1}, "alpha must be finite and at least 0, got -1"), ({"max_iter": 0}, "max_iter")],
)
def test_wrong_parameters_raise_an_error(change, message, data):
    with pytest.raises(ValueError, match=message):
        OddOneOutAlignment(**change).fit(data.triplets, data.choices)


def test_wrong_input_raises_an_error(data):
    model, triplets, choices = OddOneOutAlignment(), data.triplets, data.choices
    with pytest.raises(TypeError, match="triplets must be ImageTriplets, got ndarray"):
        model.fit(triplets.images, choices)
    with pytest.raises(ValueError, match=r"choices must have shape \(3000,\).* got \(5,\)"):
        model.fit(triplets, choices[:5])
    with pytest.raises(ValueError, match="choice of triplet 0 is 3, but"):
        model.fit(triplets, np.r_[3, choices[1:]])
    with pytest.raises(ValueError, match="all training images are equal"):
        model.fit(ImageTriplets(np.ones((25, 4)), triplets.index), np.r_[1, choices[1:] * 0 + 1])
    with pytest.raises(NotFittedError):
        model.predict(triplets)
    model.fit(triplets, choices)
    with pytest.raises(ValueError, match="a choice needs 3 images, got 2"):
        model.transform(triplets.images[:2])
    with pytest.raises(ValueError, match="5 features each"):
        model.embed(np.ones((3, 5)))


def test_few_iterations_warn(data):
    with pytest.warns(ConvergenceWarning, match="max_iter=1 is reached"):
        OddOneOutAlignment(max_iter=1).fit(data.triplets, data.choices)
