"""The scaled squared error: free of the scale of predictions, in squared units."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm.losses import ScaledMSELoss
from tests.losses.samples import (
    draw,
    some_pairs,
)


def test_scaled_mse_is_free_of_scale_and_offset_of_the_prediction():
    y_pred, y_true = draw(15)
    value = ScaledMSELoss()(y_pred, y_true)
    torch.testing.assert_close(ScaledMSELoss()(0.1 * y_pred + 4, y_true), value)
    torch.testing.assert_close(ScaledMSELoss()(y_pred, 3 * y_true - 1), 9 * value)


def test_scaled_mse_is_the_unexplained_variance():
    y_pred, y_true = draw(15)
    r = np.corrcoef(y_pred, y_true)[0, 1]
    expected = y_true.numpy().var() * (1 - r**2)
    np.testing.assert_allclose(ScaledMSELoss()(y_pred, y_true), expected)
    np.testing.assert_allclose(ScaledMSELoss()(-y_pred, y_true), y_true.numpy().var())


def test_scaled_mse_is_at_most_the_squared_error():
    y_pred, y_true = draw(15)
    assert ScaledMSELoss()(y_pred, y_true) < nn.MSELoss()(y_pred, y_true)


@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1e9, 1e18])
def test_the_scaled_squared_error_is_in_squared_units(unit):
    predicted, observed, index = some_pairs()
    expected = ScaledMSELoss()(predicted, observed * unit)
    found = ScaledMSELoss()(predicted.float(), (observed * unit).float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
