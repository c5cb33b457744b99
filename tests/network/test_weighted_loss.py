"""Weights of pairs in the training of a network."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import cross_validate
from torch import nn

from sklearn_rdm import losses
from sklearn_rdm._network._weighted_loss import weighted_loss
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from tests.networks import make_pairs, same_bits, tiny_net


@pytest.fixture(scope="module")
def problem():
    pairs, y = make_pairs()
    weights = np.random.default_rng(0).integers(1, 4, len(pairs))
    weights[4] = 0
    return pairs, y, weights


CRITERIA = [getattr(losses, name) for name in losses.__all__ if "index" not in name.lower()]
CRITERIA = [c for c in CRITERIA if not hasattr(c, "of_triplets")]


@pytest.mark.parametrize(
    ("criterion", "batching", "batch_size"),
    [
        *[(c, "images", 5) for c in [*CRITERIA, nn.MSELoss, nn.HuberLoss]],
        (nn.MSELoss, "pairs", -1),
        (losses.CorrelationLoss, "pairs", -1),
    ],
)
def test_a_network_trained_with_whole_weights_is_that_of_repeated_pairs(
    criterion, batching, batch_size, problem
):
    pairs, y, counts = problem
    options = {"criterion": criterion, "batching": batching, "batch_size": batch_size}
    rows = np.repeat(np.arange(len(pairs)), counts)
    options |= {"optimizer": torch.optim.SGD, "lr": 0.01, "max_epochs": 3}
    weighted = tiny_net(**options).fit(pairs, y, sample_weight=counts)
    repeated = tiny_net(**options).fit(pairs[rows], y[rows])
    plain = tiny_net(**options).fit(pairs, y).predict(pairs)
    expected = repeated.predict(pairs)
    effect = np.abs(plain - expected).max()
    assert effect > 1e-4  # float32 sums in another order differ, and three epochs enlarge that
    assert np.abs(weighted.predict(pairs) - expected).max() < 0.02 * effect


def test_weights_of_one_train_the_same_network(problem):
    pairs, y, _ = problem
    weighted = tiny_net().fit(pairs, y, sample_weight=np.ones(len(pairs)))
    np.testing.assert_allclose(
        weighted.predict(pairs), tiny_net().fit(pairs, y).predict(pairs), atol=1e-5
    )


def test_partial_fit_takes_weights(problem):
    pairs, y, weights = problem
    whole = tiny_net(max_epochs=2).fit(pairs, y, sample_weight=weights)
    parts = tiny_net(max_epochs=1)
    for _ in range(2):
        parts.partial_fit(pairs, y, sample_weight=weights)
    assert same_bits(whole, parts)


def test_the_validation_loss_is_weighted(problem):
    pairs, y, weights = problem
    split = ImageShuffleSplit(1, test_size=3, random_state=0)
    net = tiny_net(criterion=nn.MSELoss, train_split=split, max_epochs=1)
    net.fit(pairs, y, sample_weight=weights)
    valid = next(split.split(pairs))[1]
    target = net.subject_pooling_.transform(y)[valid]
    expected = np.average((net.predict(pairs[valid]) - target) ** 2, weights=weights[valid])
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_weights_are_routed_to_fit_and_score(problem):
    pairs, y, weights = problem
    cv = ImageKFold(2, shuffle=True, random_state=0)
    by_hand = []
    for train, test in cv.split(pairs):
        net = tiny_net(max_epochs=1).fit(pairs[train], y[train], sample_weight=weights[train])
        held_out = pairs[test], y[test]
        by_hand.append(rdm_spearman_scorer(net, *held_out, sample_weight=weights[test]))
    with config_context(enable_metadata_routing=True):
        found = cross_validate(
            tiny_net(max_epochs=1).set_fit_request(sample_weight=True),
            pairs,
            y,
            cv=cv,
            scoring=rdm_spearman_scorer.set_score_request(sample_weight=True),
            params={"sample_weight": weights},
        )
    np.testing.assert_allclose(found["test_score"], by_hand)


def unweighted_loss(y_pred, y_true):
    return (y_pred - y_true).abs().mean()


class OwnLoss(nn.Module):
    def forward(self, y_pred, y_true):
        return unweighted_loss(y_pred, y_true)


def test_a_criterion_that_takes_no_weights_is_named(problem):
    pairs, y, weights = problem
    net = tiny_net(criterion=OwnLoss, max_epochs=1)
    with pytest.raises(ValueError, match=r"criterion=OwnLoss\(\) cannot weight pairs"):
        net.fit(pairs, y, sample_weight=weights)
    assert not net.initialized_
    net.fit(pairs, y)


def test_torchs_reductions():
    y_pred, y_true, weights = torch.rand(3, 9)
    squares = weights * (y_pred - y_true) ** 2
    mean = weighted_loss(nn.MSELoss(), weights, y_pred, y_true)
    total = weighted_loss(nn.MSELoss(reduction="sum"), weights, y_pred, y_true)
    torch.testing.assert_close(mean, squares.sum() / weights.sum())
    torch.testing.assert_close(total, squares.sum())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"shape \(28,\)"),
        (np.full(28, np.nan), "pair 0 is nan"),
        (np.zeros(28), "0 for all pairs"),
    ],
)
def test_wrong_weights_leave_the_network_as_it_was(weights, message, problem):
    pairs, y, _ = problem
    net = tiny_net(max_epochs=1).fit(pairs, y)
    before = net.predict(pairs)
    with pytest.raises(ValueError, match=message):
        net.fit(pairs, y, sample_weight=weights)
    np.testing.assert_array_equal(net.predict(pairs), before)
