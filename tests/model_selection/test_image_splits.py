"""The parts of all splitters: against loops over pairs."""

import numpy as np
import pytest

from sklearn_rdm import ImagePairs, ResponsePatterns
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.model_selection._image_splits import (
    check_split,
    grouped_images,
    image_labels,
    k_folds,
    leaks,
    no_labels,
    pairs_of,
    row_numbers,
    shuffled_images,
)


@pytest.fixture
def pairs():
    index = np.column_stack(np.triu_indices(12, 1))
    rows = np.sort(np.random.default_rng(0).permutation(len(index))[:40])
    return ImagePairs(np.zeros((12, 1)), index[rows])


@pytest.mark.parametrize("test_pairs", ["both", "any"])
def test_pairs_of_a_split_are_those_of_a_loop(pairs, test_pairs):
    train_images, test_images = np.arange(7), np.arange(7, 12)
    train, test = pairs_of(pairs, train_images, test_images, test_pairs)
    both = {"both": all, "any": any}[test_pairs]
    assert train.tolist() == [
        k for k, pair in enumerate(pairs.index) if all(i in train_images for i in pair)
    ]
    assert test.tolist() == [
        k for k, pair in enumerate(pairs.index) if both(i in test_images for i in pair)
    ]


def test_test_pairs_has_two_names(pairs):
    with pytest.raises(ValueError, match="'both' or 'any', got 'all'"):
        pairs_of(pairs, np.arange(6), np.arange(6, 12), "all")


def test_a_pair_leaks_if_both_its_images_are_trained_on(pairs):
    train, test = np.arange(0, 12), np.arange(12, 40)
    trained = {i for pair in pairs.index[train].tolist() for i in pair}
    expected = [set(pair) <= trained for pair in pairs.index[test].tolist()]
    np.testing.assert_array_equal(leaks(pairs, train, test), expected)
    assert any(expected)


def test_rows_may_be_numbers_a_mask_or_nothing():
    assert row_numbers([3, 1], 5).tolist() == [3, 1]
    assert row_numbers(np.array([True, False, True]), 3).tolist() == [0, 2]
    assert row_numbers([], 3).tolist() == []


@pytest.mark.parametrize(
    ("n_held_out", "n_pairs", "message"),
    [
        (2, (1, 2), "holds out 2 image"),
        (3, (1, 1), "1 of the given pairs to test on"),
        (3, (0, 2), "leaves no pair to train on"),
    ],
)
def test_splits_that_cannot_be_used_say_what_to_change(n_held_out, n_pairs, message):
    with pytest.raises(ValueError, match=message):
        check_split("fold 1", np.arange(n_held_out), n_pairs, "Use fewer")
    check_split("fold 1", np.arange(3), (1, 2), "Use fewer")


def test_folds_hold_out_every_image_once(pairs):
    folds = list(k_folds(pairs, no_labels(pairs), 3, True, 0))
    held_out = np.concatenate([test for _, test in folds])
    assert sorted(held_out) == pairs.used_images.tolist()
    for train, test in folds:
        assert not set(train) & set(test)
        assert sorted([*train, *test]) == pairs.used_images.tolist()


def test_random_splits_have_the_sizes_asked_for(pairs):
    for train, test in shuffled_images(pairs, no_labels(pairs), 4, 0, test_size=4, train_size=6):
        assert (len(train), len(test)) == (6, 4)
        assert not set(train) & set(test)


def test_groups_stay_together(pairs):
    groups = np.arange(12) // 3
    train, test = grouped_images(pairs, groups, 0, test_size=1)
    assert not set(groups[train]) & set(groups[test])
    assert len(set(groups[test])) == 1


def test_labels_must_be_there(pairs):
    with pytest.raises(ValueError, match="StratifiedImageKFold needs a label per image"):
        image_labels(pairs, "StratifiedImageKFold")


def test_images_that_nobody_has_seen_together_cannot_be_split():
    alone = ResponsePatterns(np.random.default_rng(0).random((6, 4)), seen=np.eye(1, 6, dtype=bool))
    with pytest.raises(ValueError, match="no subject has seen two of these images"):
        next(ImageKFold(2).split(np.zeros((6, 4)), alone))
