"""What all losses of pairs take: predictions, targets, and weights if there are any."""

from inspect import signature

import pytest
import torch

from sklearn_rdm.losses import CorrelationLoss, CosineLoss, RankLoss, ScaledMSELoss
from sklearn_rdm.losses._pair_loss import PairLoss
from tests.losses.samples import draw


class WeightedDifference(PairLoss):
    """The smallest loss that there can be."""

    def _loss(self, y_pred, y_true, weights):
        return (y_pred - y_true) @ weights


def test_a_loss_is_given_what_its_call_was_given():
    predicted, observed = draw(5)
    weights = torch.arange(5.0, dtype=torch.float64)
    loss = WeightedDifference()
    expected = sum(w * (p - t) for w, p, t in zip(weights, predicted, observed, strict=True))
    torch.testing.assert_close(loss(predicted, observed, sample_weight=weights), expected)
    torch.testing.assert_close(loss(predicted, observed, weights), expected)


@pytest.mark.parametrize("loss", [CorrelationLoss, CosineLoss, RankLoss, ScaledMSELoss])
def test_all_have_one_call(loss):
    assert issubclass(loss, PairLoss)
    assert [*signature(loss().forward).parameters] == ["y_pred", "y_true", "sample_weight"]
    assert loss.any_unit
