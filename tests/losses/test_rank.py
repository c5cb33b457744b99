"""The rank loss: it reads the order of the target only."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_rdm.losses import (
    RankLoss,
    _rank,
)
from tests.losses.samples import (
    ALL_EQUAL,
    VARYING,
    draw,
    tiny_net,
    value_and_gradient,
)


def test_rank_loss_reads_the_order_of_the_target_only():
    y_pred, y_true = draw(15)
    torch.testing.assert_close(RankLoss()(y_pred, y_true.exp()), RankLoss()(y_pred, y_true))


def test_rank_loss_of_equal_predictions_and_of_wrong_orders():
    equal = RankLoss(scale=5)(ALL_EQUAL, VARYING)
    torch.testing.assert_close(equal, torch.tensor(np.log(2) / 5, dtype=torch.float32))
    swapped = RankLoss(scale=1000)(torch.tensor([0.7, 0.2]), torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(swapped, torch.tensor(0.5))


def test_rank_loss_of_a_steep_scale_weighs_wrong_orders_by_their_difference():
    y_pred, y_true = (values.numpy() for values in draw(20))
    excess = [
        max(y_pred[j] - y_pred[i], 0)
        for i, j in product(range(20), repeat=2)
        if y_true[i] > y_true[j]
    ]
    loss = RankLoss(scale=1e7)(torch.tensor(y_pred), torch.tensor(y_true))
    np.testing.assert_allclose(loss, np.mean(excess), rtol=1e-4)


@pytest.mark.parametrize("block", [1, 4, 15, 16])
def test_rank_loss_does_not_depend_on_its_blocks(monkeypatch, block):
    y_pred, y_true = draw(15)
    value, gradient = value_and_gradient(RankLoss, y_pred, y_true)
    monkeypatch.setattr(_rank, "RANK_BLOCK", block)
    in_blocks, gradient_in_blocks = value_and_gradient(RankLoss, y_pred, y_true)
    torch.testing.assert_close(in_blocks, value)
    torch.testing.assert_close(gradient_in_blocks, gradient)


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf])
def test_rank_loss_refuses_a_scale(scale):
    with pytest.raises(ValueError, match="scale must be a positive, finite number"):
        RankLoss(scale=scale)


def test_the_scale_of_the_rank_loss_can_be_searched(problem):
    net = clone(tiny_net(criterion=RankLoss, max_epochs=1)).set_params(criterion__scale=5)
    assert net.fit(*problem).criterion_.scale == 5


@pytest.mark.parametrize("missing", [torch.nan, torch.inf])
def test_the_rank_loss_of_a_missing_target_is_none(missing):
    observed = torch.tensor([1.0, missing, 3.0])
    assert torch.isnan(RankLoss()(torch.tensor([1.0, 2.0, 3.0]), observed))
