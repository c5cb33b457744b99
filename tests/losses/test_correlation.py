"""Correlation and cosine losses: their range, scale and offset, and batches that say nothing."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
)
from tests.losses.samples import (
    VARYING,
    draw,
)


def draw_related(n_pairs, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    observed = rng.gamma(2.0, size=n_pairs)
    predicted = observed + rng.normal(0, 2, size=n_pairs)
    return torch.tensor(predicted, dtype=dtype), torch.tensor(observed, dtype=dtype)


@pytest.mark.parametrize("n_pairs", [3, 10, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_correlation_is_one_minus_pearsons(n_pairs, dtype, tolerance):
    predicted, observed = draw_related(n_pairs, dtype=dtype)
    loss = CorrelationLoss()(predicted, observed)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert float(loss) == pytest.approx(1 - pearsonr(predicted, observed)[0], abs=tolerance)


def test_correlation_gradient_is_right():
    predicted, observed = draw_related(8)
    predicted.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: CorrelationLoss()(p, observed), predicted)


def test_correlation_asks_for_the_pattern_only():
    predicted, observed = draw_related(50)
    expected = CorrelationLoss()(predicted, observed)
    scaled = CorrelationLoss()(3 * predicted - 7, observed / 5 + 100)
    torch.testing.assert_close(scaled, expected)
    torch.testing.assert_close(CorrelationLoss()(observed, predicted), expected)
    torch.testing.assert_close(CorrelationLoss()(-predicted, observed), 2 - expected)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0), (-1, 2)])
def test_correlation_range_is_0_to_2(sign, expected):
    observed = draw_related(20, dtype=torch.float32)[1]
    loss = CorrelationLoss()(sign * 0.01 * observed + 1.3, observed)
    assert float(loss) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.3])
def test_correlation_of_equal_dissimilarities_teaches_nothing(constant):
    predicted = draw_related(21, dtype=torch.float32)[0].requires_grad_(True)
    loss = CorrelationLoss()(predicted, torch.full((21,), constant))
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-3)
    assert predicted.grad.abs().max() < 1e-3


def test_correlation_of_one_pair_teaches_nothing():
    predicted = torch.tensor([0.7], requires_grad=True)
    loss = CorrelationLoss()(predicted, torch.tensor([0.2]))
    loss.backward()
    assert loss.item() == 1
    assert predicted.grad.item() == 0


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.3])
def test_correlation_of_equal_predictions_breaks_nothing(constant):
    predicted = torch.full((21,), constant, requires_grad=True)
    CorrelationLoss()(predicted, draw_related(21, dtype=torch.float32)[1]).backward()
    assert predicted.grad.abs().max() == 0


def test_cosine_loss_is_free_of_scale_not_of_offset():
    y_pred, y_true = draw(15)
    value = CosineLoss()(y_pred, y_true)
    torch.testing.assert_close(CosineLoss()(0.1 * y_pred, 7 * y_true), value)
    assert (CosineLoss()(y_pred + 1, y_true) - value).abs() > 1e-3


def test_cosine_loss_of_zeros_and_opposites():
    assert CosineLoss()(torch.zeros(3), torch.ones(3)) == 1
    torch.testing.assert_close(CosineLoss()(VARYING, -VARYING), torch.tensor(2.0))
