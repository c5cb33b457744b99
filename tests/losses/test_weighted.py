"""Weights of pairs in every loss: whole numbers are repeats."""

import pytest
import torch

from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
)

LOSSES = [
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
]
INDEX = torch.triu_indices(6, 6, 1).T
COUNTS = torch.tensor([1, 2, 3, 1, 5] * 3)


def draw(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    y_pred = torch.rand(15, generator=generator, dtype=dtype)
    y_true = (4 * (y_pred + torch.rand(15, generator=generator, dtype=dtype))).round()
    return y_pred, y_true


def call(loss, y_pred, y_true, rows, weights=None):
    more = [INDEX[rows]] if getattr(loss, "needs_index", False) else []
    return loss(y_pred[rows], y_true[rows], *more, sample_weight=weights)


@pytest.mark.parametrize("make", LOSSES)
def test_whole_weights_equal_repeated_pairs(make):
    rows = torch.arange(15).repeat_interleave(COUNTS)
    found = []
    for which, weights in ((torch.arange(15), COUNTS.double()), (rows, None)):
        y_pred, y_true = draw()
        y_pred.requires_grad_()
        value = call(make(), y_pred, y_true, which, weights)
        value.backward()
        found.append((value.detach(), y_pred.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)
    assert found[0][0] > 1e-3


@pytest.mark.parametrize("make", LOSSES)
def test_weights_of_one_change_nothing(make):
    y_pred, y_true = draw(torch.float32)
    plain = call(make(), y_pred, y_true, slice(None))
    weighted = call(make(), y_pred, y_true, slice(None), torch.ones(15))
    torch.testing.assert_close(weighted, plain)
    assert weighted.dtype == torch.float32


@pytest.mark.parametrize("make", LOSSES[:4])
def test_the_unit_of_weights_does_not_matter(make):
    y_pred, y_true = draw()
    values = [call(make(), y_pred, y_true, slice(None), COUNTS * f) for f in (1.0, 1e-3)]
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("make", LOSSES)
def test_gradient_with_weights_is_that_of_the_loss(make):
    y_pred, y_true = draw()
    weights = torch.linspace(0.1, 2, 15, dtype=torch.float64)
    function = lambda p: call(make(), p, y_true, slice(None), weights)  # noqa: E731
    if make is ScaledMSELoss:  # its best scale is no function of the prediction to gradcheck
        return
    assert torch.autograd.gradcheck(function, y_pred.requires_grad_())


@pytest.mark.parametrize("make", LOSSES)
def test_equal_targets_stay_without_gradient(make):
    y_pred, _ = draw()
    y_pred.requires_grad_()
    call(make(), y_pred, torch.ones(15, dtype=torch.float64), slice(None), COUNTS * 0.3).backward()
    assert torch.isfinite(y_pred.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", [CorrelationLoss, CosineLoss, ScaledMSELoss])
def test_half_precision_is_summed_in_single_precision(make, dtype):
    halved = [values.to(dtype) for values in draw(torch.float32)]
    found = make()(*halved)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, make()(*(values.float() for values in halved)))
