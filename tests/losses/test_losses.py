"""Losses: against the definitions written out, at the edges, and in training."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.spatial.distance import cosine

from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
)
from tests.losses.samples import (
    EDGES,
    draw,
    some_pairs,
    tiny_net,
    value_and_gradient,
)
from tests.networks import make_pairs

LOSSES = [CosineLoss, ScaledMSELoss, RankLoss]
all_losses = pytest.mark.parametrize("loss", LOSSES)


def plain_cosine(y_pred, y_true):
    return cosine(y_pred, y_true)


def plain_scaled(y_pred, y_true):
    # the offset may have either sign: one column for each, beside the scale's
    ones = np.ones_like(y_pred)
    _, residual = nnls(np.column_stack([y_pred, ones, -ones]), y_true)
    return residual**2 / len(y_true)


def plain_rank(y_pred, y_true, scale=20.0):
    losses = [
        np.log1p(np.exp(scale * (y_pred[j] - y_pred[i]))) / scale
        for i, j in product(range(len(y_true)), repeat=2)
        if y_true[i] > y_true[j]
    ]
    return np.mean(losses)


PLAIN = {CosineLoss: plain_cosine, ScaledMSELoss: plain_scaled, RankLoss: plain_rank}


@all_losses
@pytest.mark.parametrize("n_pairs", [2, 3, 28])
def test_loss_is_its_definition(loss, n_pairs):
    for seed in range(5):
        y_pred, y_true = draw(n_pairs, seed)
        expected = PLAIN[loss](y_pred.numpy(), y_true.numpy())
        np.testing.assert_allclose(loss()(y_pred, y_true), expected, rtol=1e-10, atol=1e-14)


@all_losses
def test_single_precision_of_a_batch_of_48_images(loss):
    y_pred, y_true = draw(1128, dtype=torch.float32)
    single, gradient = value_and_gradient(loss, y_pred, y_true)
    double, exact = value_and_gradient(loss, y_pred.double(), y_true.double())
    assert single.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), exact, rtol=1e-4, atol=1e-6)


@all_losses
@pytest.mark.parametrize("n_pairs", [2, 3, 10])
def test_gradient_is_that_of_the_loss(loss, n_pairs):
    y_pred, y_true = draw(n_pairs)
    y_true[0] = y_true[1]  # a tie
    y_pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss()(p, y_true), y_pred)


@all_losses
def test_pairs_have_no_order(loss):
    y_pred, y_true = draw(15)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(loss, y_pred, y_true)
    shuffled, shuffled_gradient = value_and_gradient(loss, y_pred[order], y_true[order])
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(shuffled_gradient, gradient[order])


@all_losses
def test_perfect_prediction_is_a_minimum(loss):
    _, y_true = draw(15)
    y_true = y_true / 5
    value, gradient = value_and_gradient(loss, y_true, y_true)
    worse = loss()(y_true.flip(0), y_true)
    assert value < 0.05
    assert worse > 2 * value
    if loss is not RankLoss:  # which goes on to pull apart what is in order
        torch.testing.assert_close(value, torch.zeros_like(value))
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@all_losses
@pytest.mark.parametrize("edge", EDGES)
def test_edges_have_a_finite_value_and_a_small_gradient(loss, edge):
    y_pred, y_true = EDGES[edge]
    value, gradient = value_and_gradient(loss, y_pred, y_true)
    assert value.isfinite()
    assert value >= -1e-6
    unit = y_true.var(unbiased=False).clamp(min=1) if loss is ScaledMSELoss else 1
    assert (gradient.abs() <= 10 * unit).all()


NO_GRADIENT = {
    CosineLoss: ["one pair", "one pair, zero", "zero target"],
    ScaledMSELoss: [
        "one pair",
        "constant target",
        "constant prediction",
        "both constant",
        "zero prediction",
        "zero target",
        "opposite",
    ],
    RankLoss: ["one pair", "constant target", "both constant", "zero target"],
}


@pytest.mark.parametrize(("loss", "edge"), [(k, e) for k in LOSSES for e in NO_GRADIENT[k]])
def test_batches_that_say_nothing_do_not_move_the_weights(loss, edge):
    _, gradient = value_and_gradient(loss, *EDGES[edge])
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", [CorrelationLoss, *LOSSES])
def test_undefined_predictions_are_not_hidden(loss):
    y_pred, y_true = draw(6)
    y_pred[2] = torch.nan
    assert loss()(y_pred, y_true).isnan()


# In training


@all_losses
@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_a_network_learns_by_it(loss, batching, problem):
    lr = 0.01 if loss is ScaledMSELoss else 0.1
    net = tiny_net(criterion=loss, batching=batching, batch_size=-1, lr=lr, max_epochs=12)
    net.set_params(optimizer=torch.optim.SGD)
    train_loss = np.array(net.fit(*problem).history_[:, "train_loss"])
    assert np.isfinite(train_loss).all()
    assert train_loss[-1] < 0.9 * train_loss[0]


# Units


UNITS = [1e-35, 1e-25, 1e-12, 1e-9, 1e9, 1e19, 1e30]


def loss_and_slope(loss, predicted, observed, index):
    predicted = predicted.clone().requires_grad_()
    arguments = (index,) if getattr(loss, "needs_index", False) else ()
    value = loss(predicted, observed, *arguments)
    (slope,) = torch.autograd.grad(value, predicted)
    return value.detach(), slope


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "loss",
    [CorrelationLoss(), CosineLoss(), WhitenedCorrelationLoss(), WhitenedCosineLoss(), RankLoss()],
    ids=lambda loss: type(loss).__name__,
)
def test_the_unit_of_the_target_changes_neither_loss_nor_gradient(loss, unit):
    predicted, observed, index = some_pairs()
    expected = loss_and_slope(loss, predicted.float(), observed.float(), index)
    found = loss_and_slope(loss, predicted.float(), (observed * unit).float(), index)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    in_float64 = loss_and_slope(loss, predicted, observed, index)
    torch.testing.assert_close(found[0].double(), in_float64[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-300, 1e-25, 1e19, 1e300])
@pytest.mark.parametrize(
    "criterion", [CorrelationLoss, ScaledMSELoss, WhitenedCosineLoss, RankLoss]
)
def test_training_does_not_depend_on_the_unit_of_the_target(criterion, unit):
    pairs, y = make_pairs(8)
    one = tiny_net(criterion=criterion, max_epochs=2).fit(pairs, y[:, 0])
    other = tiny_net(criterion=criterion, max_epochs=2).fit(pairs, y[:, 0] * unit)
    assert one.history[-1, "train_loss"] != one.history[0, "train_loss"]
    np.testing.assert_allclose(other.predict(pairs), one.predict(pairs), rtol=1e-2, atol=1e-3)
