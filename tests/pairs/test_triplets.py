import pickle
import sys

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from sklearn_rdm import FixedRSARegressor, ImageTriplets, OddOneOutAlignment
from sklearn_rdm.datasets import make_odd_one_out
from sklearn_rdm.model_selection import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
    StratifiedImageKFold,
    image_train_test_split,
)

IMAGES = np.arange(36.0).reshape(12, 3)


def test_trials_that_list_the_odd_one_last():
    triplets, choices = ImageTriplets.from_odd_one_out(IMAGES, [[4, 9, 1], [0, 2, 7], [3, 1, 2]])
    assert triplets.index.tolist() == [[1, 4, 9], [0, 2, 7], [1, 2, 3]]
    assert choices.tolist() == [0, 2, 1]


def test_two_alternatives_of_a_reference():
    triplets, choices = ImageTriplets.from_references(IMAGES, [5, 6], [[1, 2], [3, 0]], [0, 1])
    assert triplets.anchored
    assert triplets.index.tolist() == [[5, 1, 2], [6, 3, 0]]
    assert choices.tolist() == [2, 1]  # the alternative that was not chosen
    assert triplets.possible.tolist() == [False, True, True]


def test_slices_share_the_images():
    triplets = ImageTriplets(IMAGES, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    for part in (triplets[1:], triplets[[1, 2]], triplets[np.array([False, True, True])]):
        assert part.images is triplets.images
        assert part.index.tolist() == [[3, 4, 5], [6, 7, 8]]
        assert part.shape == (2,)
    assert triplets.pair_index[0].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert pickle.loads(pickle.dumps(triplets)).index.tolist() == triplets.index.tolist()


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([[0, 1]], ValueError, r"shape \(n_triplets, 3\), .* got \(1, 2\)"),
        ([[0, 1, 12]], ValueError, r"triplet 0 is \[0, 1, 12\], but there are 12 images"),
        ([[0, 1, 2], [3, 5, 3]], ValueError, r"triplet 1 is \[3, 5, 3\]: it needs three different"),
        ([[0, 1, 2.0]], TypeError, "integers, row numbers"),
        (np.empty((0, 3), int), ValueError, "n_triplets > 0"),
    ],
)
def test_wrong_triplets_raise_an_error(index, error, message):
    with pytest.raises(error, match=message):
        ImageTriplets(IMAGES, index)


@pytest.mark.parametrize("chosen", [[0, 2], [0], [0.5, 1]])
def test_wrong_alternatives_raise_an_error(chosen):
    with pytest.raises(ValueError, match="chosen must hold 0 or 1 for each of the 2 trials"):
        ImageTriplets.from_references(IMAGES, [5, 6], [[1, 2], [3, 0]], chosen)


@pytest.mark.parametrize("key", [(0, 1), (), ([0], 1)])
def test_a_key_of_several_axes_is_an_error(key):
    triplets = ImageTriplets(IMAGES, [[0, 1, 2], [1, 2, 3]])
    with pytest.raises(TypeError, match="one axis"):
        triplets[key]
    np.testing.assert_array_equal(triplets[[0], ...].index, [[0, 1, 2]])


def test_an_estimator_of_pairs_says_what_to_do():
    triplets = ImageTriplets(IMAGES, [[0, 1, 2]])
    with pytest.raises(TypeError, match="no array and no pairs"):
        FixedRSARegressor().fit(triplets)
    with pytest.raises(TypeError, match="one axis"):
        triplets[0]


@pytest.mark.parametrize(
    "splitter",
    [
        ImageKFold(3),
        RepeatedImageKFold(n_splits=3, n_repeats=2, random_state=0),
        StratifiedImageKFold(3),
        GroupImageKFold(3),
        LeaveOneGroupOfImagesOut(),
        ImageShuffleSplit(2, test_size=0.3, random_state=0),
    ],
    ids=lambda s: type(s).__name__,
)
def test_splitters_hold_out_images_of_triplets(splitter):
    data = make_odd_one_out(24, 3, 2000, random_state=0)
    groups = np.arange(24) % 4
    triplets = ImageTriplets(data.triplets.images, data.triplets.index, image_groups=groups)
    splits = list(splitter.split(triplets))
    assert len(splits) == splitter.get_n_splits(triplets)
    for train, test in splits:
        held_out, trained = triplets[test].used_images, triplets[train].used_images
        assert not set(held_out) & set(trained)
        expected = np.isin(triplets.index, held_out).all(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(expected), test)


def test_sets_without_a_common_triplet_are_each_held_out_in_part():
    first = make_odd_one_out(12, 3, 500, random_state=0).triplets.index
    triplets = ImageTriplets(np.zeros((24, 2)), np.concatenate([first, first + 12]))
    for _, test in ImageKFold(4).split(triplets):
        held_out = triplets[test].used_images
        assert ((held_out < 12).sum(), (held_out >= 12).sum()) == (3, 3)


def test_triplets_are_split_with_what_belongs_to_them():
    data = make_odd_one_out(20, 3, 800, random_state=0)
    parts = image_train_test_split(data.triplets, data.choices, test_size=6, random_state=0)
    X_train, X_test, y_train, y_test = parts
    assert not set(X_train.used_images) & set(X_test.used_images)
    assert (len(X_train), len(X_test)) == (len(y_train), len(y_test))
    scores = cross_val_score(OddOneOutAlignment(), X_train, y_train, cv=ImageKFold(3))
    assert (scores > 0.4).all()


def test_their_size_is_that_of_their_arrays():
    triplets = ImageTriplets(IMAGES, [[0, 1, 2], [3, 4, 5]])
    arrays = triplets.images.nbytes + triplets.index.nbytes
    assert arrays <= sys.getsizeof(triplets) < arrays + 200
