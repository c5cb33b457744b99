"""Losses: against the definitions written out, at the edges, and in training."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.spatial.distance import cosine
from scipy.stats import pearsonr
from sklearn.base import clone
from torch import nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
    _rank,
)
from sklearn_rdm.metrics import rdm_whitened_cosine_score, rdm_whitened_pearson_score
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


def draw(n_pairs, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    y_pred = rng.uniform(0, 2, n_pairs)
    y_true = 5 * y_pred + rng.normal(3, 2, n_pairs)
    return torch.tensor(y_pred, dtype=dtype), torch.tensor(y_true, dtype=dtype)


def value_and_gradient(loss, y_pred, y_true):
    y_pred = y_pred.clone().requires_grad_()
    value = loss()(y_pred, y_true)
    value.backward()
    return value.detach(), y_pred.grad


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


ALL_EQUAL = torch.full((6,), 0.1)  # its mean, in single precision, is not quite 0.1
VARYING = torch.tensor([0.2, 0.9, 0.4, 1.3, 0.4, 0.6])
EDGES = {
    "one pair": (torch.tensor([0.3]), torch.tensor([0.7])),
    "one pair, zero": (torch.tensor([0.0]), torch.tensor([0.0])),
    "constant target": (VARYING, ALL_EQUAL),
    "constant prediction": (ALL_EQUAL, VARYING),
    "both constant": (ALL_EQUAL, ALL_EQUAL),
    "zero prediction": (torch.zeros(6), VARYING),
    "zero target": (VARYING, torch.zeros(6)),
    "tied targets": (VARYING, torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])),
    "opposite": (-VARYING, VARYING),
    "huge": (VARYING, 1e6 * VARYING),
}


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


# Each of them


def test_cosine_loss_is_free_of_scale_not_of_offset():
    y_pred, y_true = draw(15)
    value = CosineLoss()(y_pred, y_true)
    torch.testing.assert_close(CosineLoss()(0.1 * y_pred, 7 * y_true), value)
    assert (CosineLoss()(y_pred + 1, y_true) - value).abs() > 1e-3


def test_cosine_loss_of_zeros_and_opposites():
    assert CosineLoss()(torch.zeros(3), torch.ones(3)) == 1
    torch.testing.assert_close(CosineLoss()(VARYING, -VARYING), torch.tensor(2.0))


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


# In training


class TinyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8 * 10 * 10, 2)

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).flatten(1))


def tiny_net(**params):
    return SiameseRDMRegressor(TinyNetwork, "relu", image_size=32, random_state=0, **params)


@pytest.fixture(scope="module")
def problem():
    data = make_rdm_regression(8, image_size=32, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    return pairs, 10 * dissim


@all_losses
@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_a_network_learns_by_it(loss, batching, problem):
    lr = 0.01 if loss is ScaledMSELoss else 0.1
    net = tiny_net(criterion=loss, batching=batching, batch_size=-1, lr=lr, max_epochs=12)
    net.set_params(optimizer=torch.optim.SGD)
    train_loss = np.array(net.fit(*problem).history_[:, "train_loss"])
    assert np.isfinite(train_loss).all()
    assert train_loss[-1] < 0.9 * train_loss[0]


def test_the_scale_of_the_rank_loss_can_be_searched(problem):
    net = clone(tiny_net(criterion=RankLoss, max_epochs=1)).set_params(criterion__scale=5)
    assert net.fit(*problem).criterion_.scale == 5


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


# Whitened: they know which images each pair joins

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


# Units


UNITS = [1e-35, 1e-25, 1e-12, 1e-9, 1e9, 1e19, 1e30]


def some_pairs(n_images=9):
    index = torch.combinations(torch.arange(n_images))
    generator = torch.Generator().manual_seed(0)
    predicted, observed = torch.rand(2, len(index), dtype=torch.float64, generator=generator)
    return predicted, observed, index


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


@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1e9, 1e18])
def test_the_scaled_squared_error_is_in_squared_units(unit):
    predicted, observed, index = some_pairs()
    expected = ScaledMSELoss()(predicted, observed * unit)
    found = ScaledMSELoss()(predicted.float(), (observed * unit).float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


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
