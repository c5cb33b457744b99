"""Whitened losses: they know which images each pair joins."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine

from sklearn_rdm import ImagePairs
from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
)
from sklearn_rdm.metrics import rdm_whitened_cosine_score, rdm_whitened_pearson_score
from tests.losses.samples import (
    EDGES,
    draw,
    value_and_gradient,
)

WHITENED = {
    WhitenedCorrelationLoss: ("corr_cov", rdm_whitened_pearson_score),
    WhitenedCosineLoss: ("cosine_cov", rdm_whitened_cosine_score),
}
whitened_losses = pytest.mark.parametrize("loss", WHITENED)


def all_pairs(n_images):
    return torch.combinations(torch.arange(n_images))


INDEXES = {
    "3 images": all_pairs(3),
    "complete": all_pairs(8),
    "half of the pairs": all_pairs(8)[::2],
    "two image sets": torch.cat([all_pairs(5), all_pairs(4) + 5]),
    "shuffled, swapped, with gaps": 7 * all_pairs(8).flip(0, 1) + 3,
    "one pair per image": torch.arange(8).reshape(4, 2),
}
all_indexes = pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)


def plain_whitened(loss, y_pred, y_true, index):
    """The definition: the covariance of noise of every two pairs, inverted."""
    contrasts = np.zeros((len(index), int(index.max()) + 1))
    contrasts[np.arange(len(index)), index[:, 0]] = 1
    contrasts[np.arange(len(index)), index[:, 1]] = -1
    precision = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    if loss is WhitenedCorrelationLoss:
        y_pred, y_true = y_pred - y_pred.mean(), y_true - y_true.mean()
    norms = (y_pred @ precision @ y_pred) * (y_true @ precision @ y_true)
    return 1 - y_pred @ precision @ y_true / np.sqrt(norms)


@whitened_losses
@all_indexes
def test_whitened_loss_is_its_definition(loss, index):
    y_pred, y_true = draw(len(index))
    expected = plain_whitened(loss, y_pred.numpy(), y_true.numpy(), index.numpy())
    np.testing.assert_allclose(loss()(y_pred, y_true, index), expected, rtol=1e-10, atol=1e-14)


@whitened_losses
@all_indexes
def test_whitened_gradient_is_that_of_the_loss(loss, index):
    y_pred, y_true = draw(len(index))
    y_pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss()(p, y_true, index), y_pred)


@pytest.mark.data
@whitened_losses
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_whitened_loss_of_measured_matrices(loss, dtype, tolerance, load_algonauts):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    method, score = WHITENED[loss]
    rdms = load_algonauts(92, "fmri_it").rdms
    pairs, dissim = ImagePairs.from_rdms(np.zeros((92, 1)), rdms)
    first, second = torch.tensor(dissim[:, :2].T, dtype=dtype)
    objects = [rsatoolbox.rdm.RDMs(dissim[:, column]) for column in (0, 1)]
    expected = 1 - rsatoolbox.rdm.compare(*objects, method=method).item()
    value = loss()(first, second, torch.from_numpy(pairs.index))
    assert value.dtype == dtype
    assert value.item() == pytest.approx(expected, abs=tolerance)

    some = np.random.default_rng(0).permutation(len(pairs))[:500]
    expected = 1 - score(dissim[some, 0], dissim[some, 1], pairs=pairs[some])
    value = loss()(first[some], second[some], torch.from_numpy(pairs[some].index))
    assert value.item() == pytest.approx(expected, abs=tolerance)


@whitened_losses
def test_whitened_single_precision_where_images_explain_nearly_all(loss):
    # sums of two numbers of the images, and a thousandth besides: what whitening takes out
    index = all_pairs(48)
    y_pred, y_true = draw(len(index))
    effects = torch.linspace(0, 1, 48).double()[index].sum(1)
    y_pred, y_true = effects + 1e-3 * y_pred, effects + 1e-3 * y_true
    value = loss()(y_pred.float(), y_true.float(), index)
    torch.testing.assert_close(value.double(), loss()(y_pred, y_true, index), rtol=1e-3, atol=1e-6)


@whitened_losses
def test_whitened_pairs_have_no_order_and_no_direction(loss):
    index = all_pairs(6)
    y_pred, y_true = draw(15)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    expected = loss()(y_pred, y_true, index)
    torch.testing.assert_close(loss()(y_pred[order], y_true[order], index[order]), expected)
    torch.testing.assert_close(loss()(y_pred, y_true, index.flip(1)), expected)


@whitened_losses
def test_whitened_losses_take_repeated_pairs_as_their_scores_do(loss):
    index = torch.cat([all_pairs(4), all_pairs(4).flip(1)])
    y_pred, y_true = draw(12)
    expected = 1 - WHITENED[loss][1](y_true, y_pred, pairs=index.numpy())
    np.testing.assert_allclose(loss()(y_pred, y_true, index), expected)


def test_whitened_correlation_of_3_images_is_the_plain_one():
    y_pred, y_true = draw(3)
    expected = CorrelationLoss()(y_pred, y_true)
    torch.testing.assert_close(WhitenedCorrelationLoss()(y_pred, y_true, all_pairs(3)), expected)


def test_whitened_losses_are_plain_where_no_image_is_shared():
    y_pred, y_true = draw(4)
    index = torch.arange(8).reshape(4, 2)
    for loss, plain in (
        (WhitenedCorrelationLoss, CorrelationLoss),
        (WhitenedCosineLoss, CosineLoss),
    ):
        torch.testing.assert_close(loss()(y_pred, y_true, index), plain()(y_pred, y_true))


def test_whitened_cosine_is_the_centred_kernel_alignment():
    y_pred, y_true = draw(28)
    centring = np.eye(8) - 1 / 8
    kernels = []
    for values in (y_pred, y_true):
        square = np.zeros((8, 8))
        square[tuple(all_pairs(8).T)] = values
        kernels.append(centring @ (square + square.T) @ centring)
    expected = cosine(*(kernel.ravel() for kernel in kernels))
    np.testing.assert_allclose(WhitenedCosineLoss()(y_pred, y_true, all_pairs(8)), expected)


def test_whitened_losses_are_free_of_scale_and_the_correlation_of_offset():
    index = all_pairs(6)
    y_pred, y_true = draw(15)
    for loss in WHITENED:
        expected = loss()(y_pred, y_true, index)
        torch.testing.assert_close(loss()(0.1 * y_pred, 7 * y_true, index), expected)
    shifted = WhitenedCosineLoss()(y_pred + 1, y_true, index)
    assert (shifted - WhitenedCosineLoss()(y_pred, y_true, index)).abs() > 1e-3
    expected = WhitenedCorrelationLoss()(y_pred, y_true, index)
    torch.testing.assert_close(WhitenedCorrelationLoss()(y_pred + 1, y_true - 2, index), expected)


@whitened_losses
@pytest.mark.parametrize("edge", EDGES)
def test_whitened_edges_have_a_finite_value_and_a_small_gradient(loss, edge):
    y_pred, y_true = EDGES[edge]
    index = all_pairs(4)[: len(y_pred)]
    value, gradient = value_and_gradient(lambda: lambda p, y: loss()(p, y, index), y_pred, y_true)
    assert -1e-6 <= value <= 2 + 1e-6
    assert (gradient.abs() <= 10).all()


def test_whitened_cosine_of_one_pair_says_nothing():
    value, gradient = value_and_gradient(
        lambda: lambda p, y: WhitenedCosineLoss()(p, y, all_pairs(2)), *EDGES["one pair"]
    )
    torch.testing.assert_close(value, torch.tensor(0.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, torch.zeros(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "edge", [edge for edge in EDGES if "one pair" in edge or "constant" in edge]
)
def test_whitened_correlation_of_batches_that_say_nothing_is_1(edge):
    y_pred, y_true = EDGES[edge]
    index = all_pairs(4)[: len(y_pred)]
    value, gradient = value_and_gradient(
        lambda: lambda p, y: WhitenedCorrelationLoss()(p, y, index), y_pred, y_true
    )
    assert value == 1
    assert (gradient == 0).all()


@whitened_losses
def test_whitened_losses_do_not_hide_undefined_predictions(loss):
    y_pred, y_true = draw(6)
    y_pred[2] = torch.nan
    assert loss()(y_pred, y_true, all_pairs(4)).isnan()


@whitened_losses
@pytest.mark.parametrize("index", [all_pairs(3), all_pairs(4).T, torch.arange(6)])
def test_whitened_losses_refuse_an_index_of_other_pairs(loss, index):
    with pytest.raises(ValueError, match=r"index must have shape \(6, 2\)"):
        loss()(*draw(6), index)
