import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from sklearn_rdm.losses import OddOneOutLoss, TripletHingeLoss


def draw():
    rng = np.random.default_rng(0)
    return torch.tensor(rng.normal(size=(20, 3))), torch.tensor(rng.integers(1, 3, 20))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_softmax_loss_is_its_definition(temperature):
    similarities, choices = draw()
    log_p = log_softmax(similarities.numpy() / temperature, axis=1)
    expected = -log_p[np.arange(20), choices.numpy()].mean()
    loss = OddOneOutLoss(temperature)
    np.testing.assert_allclose(loss(similarities, choices), expected, rtol=1e-12)
    np.testing.assert_allclose(loss(similarities + 3, choices), expected, rtol=1e-12)


def test_hinge_is_its_definition():
    dissimilarities, choices = draw()
    expected = []
    for d, place in zip(dissimilarities.numpy(), choices.numpy(), strict=True):
        others = np.delete(d, place)
        expected.append(np.mean([max(0, 0.3 + d[place] - other) for other in others]))
    loss = TripletHingeLoss(margin=0.3)(dissimilarities, choices)
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-12)


@pytest.mark.parametrize(("loss", "sign"), [(OddOneOutLoss(0.5), -1), (TripletHingeLoss(0.2), 1)])
def test_a_reference_leaves_two_pairs_to_compare(loss, sign):
    values, choices = draw()
    values[:, 0] = sign * torch.inf
    values.requires_grad_()
    value = loss(values, choices)
    value.backward()
    chosen = values.detach()[torch.arange(20), choices]
    other = values.detach()[torch.arange(20), 3 - choices]
    if sign < 0:
        expected = torch.log1p(torch.exp((other - chosen) / 0.5)).mean()
    else:
        expected = (0.2 + chosen - other).clamp(min=0).mean()
    torch.testing.assert_close(value.detach(), expected)
    assert torch.isfinite(values.grad).all()
    assert (values.grad[:, 0] == 0).all()


@pytest.mark.parametrize("loss", [OddOneOutLoss(), TripletHingeLoss(0.3)])
def test_whole_weights_equal_repeated_triplets(loss):
    values, choices = draw()
    counts = torch.arange(20) % 4
    rows = torch.arange(20).repeat_interleave(counts)
    torch.testing.assert_close(loss(values, choices, counts), loss(values[rows], choices[rows]))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_parameters_raise_an_error(value):
    with pytest.raises(ValueError, match="temperature must be positive"):
        OddOneOutLoss(value)
    with pytest.raises(ValueError, match="margin must be 0 or more"):
        TripletHingeLoss(value)
