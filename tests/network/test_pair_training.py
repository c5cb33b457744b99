"""Pairs that are trained on and validated on: split by image, subjects pooled."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_rdm.losses import (
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
)
from sklearn_rdm.model_selection import ImageShuffleSplit
from sklearn_rdm.preprocessing import SubjectPooling
from tests.networks import make_pairs, record_fit, tiny_net


@pytest.mark.parametrize("noise_ratio", [0.0, 1.0])
@pytest.mark.parametrize("read_out", [None, "relu2"])
def test_validation_loss_is_that_of_the_predictions(read_out, noise_ratio):
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, valid = next(split.split(pairs, y))
    params = {"reference": "white", "read_out": read_out, "noise_ratio": noise_ratio}
    net = tiny_net(train_split=split, **params).fit(pairs, y)
    target = SubjectPooling().fit(y[train]).transform(y[valid])
    expected = np.mean((net.predict(pairs[valid]) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_validation_split_may_be_boolean_masks():
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)

    class Masks:
        def split(self, X, y=None):
            for parts in split.split(X, y):
                yield tuple(np.isin(np.arange(len(X)), part) for part in parts)

    by_row, by_mask = (
        tiny_net(train_split=s, random_state=0).fit(pairs, y) for s in (split, Masks())
    )
    assert by_mask.history[:, "valid_loss"] == by_row.history[:, "valid_loss"]
    assert by_mask.history[:, "train_loss"] == by_row.history[:, "train_loss"]


@pytest.mark.filterwarnings("ignore:subjects .0. .* left out:UserWarning")
def test_validation_pairs_that_only_left_out_subjects_have_are_not_read():
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, valid = next(split.split(pairs, y))
    held_out = np.isin(np.arange(len(pairs)), valid)
    y[~held_out, 0] = np.nan
    y[valid[:2], 1:] = np.nan
    net = tiny_net(train_split=split, random_state=0).fit(pairs, y)
    target = SubjectPooling().fit(y[train, 1:]).transform(y[valid[2:], 1:])
    expected = np.mean((net.predict(pairs[valid[2:]]) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)
    y[valid, 1:] = np.nan
    with pytest.raises(ValueError, match="no validation pair was measured by a subject that"):
        tiny_net(train_split=split).fit(pairs, y)


def test_a_subject_without_training_pairs_changes_nothing():
    pairs, y = make_pairs(10)
    empty = np.column_stack([y, np.full(len(y), np.nan)])
    with pytest.warns(UserWarning, match=rf"subjects \[{y.shape[1]}\] .* left out"):
        net = tiny_net().fit(pairs, empty)
    np.testing.assert_allclose(
        net.predict(pairs), tiny_net().fit(pairs, y).predict(pairs), rtol=1e-5, atol=1e-6
    )


def test_targets_of_subjects_are_rescaled_as_in_the_paper():
    pairs, y = make_pairs(6)
    y = 40 + 7 * y  # any unit
    y[2, 0] = y[[3, 7], 1] = np.nan
    z = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    expected = (np.nanmean(z, axis=1) + 2) / 5
    recorder = record_fit(tiny_net(batch_size=-1), pairs, y)
    np.testing.assert_allclose(recorder.steps_[0]["target"], expected, rtol=1e-6)
    assert recorder.steps_[0]["target"].dtype == torch.float32


@pytest.mark.parametrize("pooling", ["mean", "rank", SubjectPooling(subject_weight="reliability")])
def test_subjects_are_pooled_as_asked(pooling):
    pairs, y = make_pairs(6)
    net = tiny_net(batch_size=-1, subject_pooling=pooling)
    recorder = record_fit(net, pairs, y)
    own = SubjectPooling(pooling) if isinstance(pooling, str) else pooling
    expected = own.fit_transform(y)
    np.testing.assert_allclose(recorder.steps_[0]["target"], expected, rtol=1e-6)
    np.testing.assert_array_equal(net.subject_pooling_.transform(y), expected)


@pytest.mark.parametrize("scale", [1.0, 100.0, -1.0])
def test_one_target_per_pair_is_taken_as_it_is(scale):
    pairs, y = make_pairs(6)
    target = scale * y.mean(axis=1)
    recorder = record_fit(tiny_net(batch_size=-1, lr=1e-5), pairs, target)
    np.testing.assert_allclose(recorder.steps_[0]["target"], target, rtol=1e-6)
    expected = np.mean((recorder.steps_[0]["y_pred"].numpy() - target) ** 2)
    assert recorder.steps_[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_left_out_subjects_are_told_once():
    pairs, y = make_pairs()
    y = y.copy()
    y[1:, 0] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny_net().fit(pairs, y)
    assert len([w for w in caught if "left out" in str(w.message)]) == 1


def test_subjects_must_be_those_of_the_first_fit():
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    with pytest.raises(ValueError, match="fitted on 3 subject"):
        net.partial_fit(pairs, y[:, :2])


@pytest.mark.parametrize(
    "criterion", [CorrelationLoss, RankLoss, ScaledMSELoss, WhitenedCorrelationLoss]
)
def test_an_offset_that_float32_could_not_hold_changes_nothing(criterion):
    pairs, y = make_pairs(8)
    y = np.round(y.mean(axis=1), 3)
    losses = [
        tiny_net(criterion=criterion, max_epochs=2).fit(pairs, target).history_[:, "train_loss"]
        for target in (y - (y.min() + y.max()) / 2, y + 2.0**28, y - 2.0**28)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)


def test_an_offset_that_the_loss_sees_is_kept():
    pairs, y = make_pairs(6)
    target = y.mean(axis=1) + 1e6
    recorder = record_fit(tiny_net(batch_size=-1, criterion=CosineLoss), pairs, target)
    np.testing.assert_allclose(recorder.steps_[0]["target"], target / 2**20, rtol=1e-6)
