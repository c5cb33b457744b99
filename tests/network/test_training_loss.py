"""The loss of a mini-batch: against scores and numpy, and what is said where there is none."""

import numpy as np
import pytest
import torch

from sklearn_rdm.losses import CorrelationLoss, WhitenedCorrelationLoss, WhitenedCosineLoss
from sklearn_rdm.metrics import rdm_whitened_cosine_score, rdm_whitened_pearson_score
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.network.textbook import BATCHES
from tests.networks import OneChannel, make_pairs, record_fit, same_bits, tiny_net


def test_correlation_loss_is_one_minus_r_of_the_batch():
    pairs, y = make_pairs(8)
    recorder = record_fit(tiny_net(criterion=CorrelationLoss), pairs, y)
    for step in recorder.steps_:
        r = np.corrcoef(step["y_pred"].double(), step["target"].double())[0, 1]
        assert step["loss"] == pytest.approx(1 - r, abs=1e-5)


WHITENED = {
    WhitenedCorrelationLoss: rdm_whitened_pearson_score,
    WhitenedCosineLoss: rdm_whitened_cosine_score,
}


@pytest.mark.parametrize("loss", WHITENED)
@pytest.mark.parametrize("batching", BATCHES)
def test_whitened_losses_are_told_the_images_of_each_pair(loss, batching):
    pairs, y = make_pairs(12)
    pairs, y = pairs[::-1], y[::-1]  # not the order of the batches
    split = ImageShuffleSplit(1, test_size=5, random_state=0)
    params = {"criterion": loss, "batching": batching, "batch_size": -1, "train_split": split}
    net = tiny_net(**params).fit(pairs, y)
    train, valid = next(split.split(pairs))
    untrained = tiny_net(max_epochs=0).fit(pairs, y)
    for name, rows, model in (("train_loss", train, untrained), ("valid_loss", valid, net)):
        target = net.subject_pooling_.transform(y[rows])
        score = WHITENED[loss](target, model.predict(pairs[rows]), pairs=pairs[rows])
        assert net.history[0, name] == pytest.approx(1 - score, abs=1e-5)


@pytest.mark.parametrize("loss", WHITENED)
def test_training_lowers_whitened_losses_with_the_same_bits_on_any_number_of_threads(loss):
    pairs, y = make_pairs(12)
    n_threads = torch.get_num_threads()
    nets = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            params = {"criterion": loss, "batch_size": -1, "lr": 0.01, "max_epochs": 20}
            nets.append(tiny_net(**params).fit(pairs, y))
    finally:
        torch.set_num_threads(n_threads)
    losses = nets[0].history[:, "train_loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert nets[1].history[:, "train_loss"] == losses
    assert same_bits(*nets)


@pytest.mark.parametrize("criterion", [CorrelationLoss, WhitenedCorrelationLoss])
def test_losses_of_patterns_do_not_hide_a_constant_image(constant_image, criterion):
    net = tiny_net(backbone=OneChannel, layer="conv", criterion=criterion)
    with pytest.raises(ValueError, match="image 10 has constant activations"):
        net.fit(*constant_image)


class PredefinedSplits:
    def __init__(self, splits):
        self.splits = splits

    def split(self, X, y=None):
        return iter(self.splits)


def test_constant_activations_of_a_validation_image_are_named(constant_image):
    pairs, y = constant_image
    split = [
        (np.flatnonzero((pairs.index < 10).all(axis=1)), np.flatnonzero(pairs.index.min(1) > 8))
    ]
    net = tiny_net(backbone=OneChannel, layer="conv", train_split=PredefinedSplits(split))
    with pytest.raises(ValueError, match="image 10 has constant activations"):
        net.fit(pairs, y)


def test_a_loss_without_a_mini_batch_names_what_may_be_wrong():
    pairs, y = make_pairs()
    net = tiny_net(lr=0.3).fit(pairs, y)
    with pytest.raises(ValueError, match="loss became inf in epoch 1: training diverged.*than 0.3"):
        net.get_loss(torch.tensor([torch.inf]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="no dissimilarities: give y to get_dataset"):
        net.get_loss(torch.tensor([0.5]), torch.tensor([torch.nan]))
    whitened = tiny_net(criterion=WhitenedCosineLoss).initialize()
    with pytest.raises(ValueError, match="needs the images of each pair: give the mini-batch"):
        whitened.get_loss(torch.ones(3), torch.ones(3))
