import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from sklearn_rdm import CorrelationLoss


def draw(n_pairs, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    observed = rng.gamma(2.0, size=n_pairs)
    predicted = observed + rng.normal(0, 2, size=n_pairs)
    return torch.tensor(predicted, dtype=dtype), torch.tensor(observed, dtype=dtype)


@pytest.mark.parametrize("n_pairs", [3, 10, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_one_minus_pearsons_correlation(n_pairs, dtype, tolerance):
    predicted, observed = draw(n_pairs, dtype=dtype)
    loss = CorrelationLoss()(predicted, observed)
    assert loss.shape == ()
    assert loss.dtype == dtype
    assert float(loss) == pytest.approx(1 - pearsonr(predicted, observed)[0], abs=tolerance)


def test_its_gradient_is_right():
    predicted, observed = draw(8)
    predicted.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: CorrelationLoss()(p, observed), predicted)


def test_it_asks_for_the_pattern_only():
    predicted, observed = draw(50)
    expected = CorrelationLoss()(predicted, observed)
    scaled = CorrelationLoss()(3 * predicted - 7, observed / 5 + 100)
    torch.testing.assert_close(scaled, expected)
    torch.testing.assert_close(CorrelationLoss()(observed, predicted), expected)
    torch.testing.assert_close(CorrelationLoss()(-predicted, observed), 2 - expected)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0), (-1, 2)])
def test_its_range_is_0_to_2(sign, expected):
    observed = draw(20, dtype=torch.float32)[1]
    loss = CorrelationLoss()(sign * 0.01 * observed + 1.3, observed)
    assert float(loss) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.3])
def test_a_batch_of_equal_dissimilarities_teaches_nothing(constant):
    predicted = draw(21, dtype=torch.float32)[0].requires_grad_(True)
    loss = CorrelationLoss()(predicted, torch.full((21,), constant))
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-3)
    assert predicted.grad.abs().max() < 1e-3


def test_one_pair_teaches_nothing_and_breaks_nothing():
    predicted = torch.tensor([0.7], requires_grad=True)
    loss = CorrelationLoss()(predicted, torch.tensor([0.2]))
    loss.backward()
    assert loss.item() == 1
    assert predicted.grad.item() == 0
