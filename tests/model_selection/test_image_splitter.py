"""From images that are held out to pairs: what every splitter shares."""

import numpy as np
import pytest

from sklearn_rdm import ImagePairs, ResponsePatterns
from sklearn_rdm.model_selection import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
)
from tests.model_selection.problems import as_lists, clone_with, make_pairs


def test_arrays_of_images_are_split_as_their_pairs():
    pairs = make_pairs(12)[0]
    cv = ImageKFold(3, shuffle=True, random_state=0)
    from_arrays = ImagePairs.from_arrays(pairs.images[pairs.index])
    assert as_lists(cv.split(pairs.images[pairs.index][..., None])) == as_lists(
        cv.split(from_arrays)
    )


def test_a_bad_last_fold_is_found_before_the_first_is_trained():
    groups = np.repeat(["a", "b", "c"], [9, 9, 2])
    pairs = make_pairs(20, groups=groups)[0]
    with pytest.raises(ValueError, match="split 2"):
        next(LeaveOneGroupOfImagesOut().split(pairs))


def test_sparse_designs_without_test_pairs_are_refused_with_advice():
    ring = ImagePairs(np.eye(12), np.column_stack([np.arange(12), np.roll(np.arange(12), 1)]))
    apart = [(i, j) for i in range(12) for j in range(i) if (i - j) % 4]
    never_within = ImagePairs(np.eye(12), np.array(apart))
    cv = ImageKFold(4, shuffle=True, random_state=0)
    with pytest.raises(ValueError, match=r"holds out 3 images, but \d of the given.*test_pairs"):
        next(cv.split(ring))
    assert len(list(clone_with(cv, test_pairs="any").split(ring))) == 4
    groups = np.arange(12) % 4
    labelled = ImagePairs(never_within.images, never_within.index, image_groups=groups)
    with pytest.raises(ValueError, match="holds out 3 images, but 0 of the given pairs"):
        next(LeaveOneGroupOfImagesOut().split(labelled))
    assert len(list(LeaveOneGroupOfImagesOut(test_pairs="any").split(labelled))) == 4


def test_designs_without_training_pairs_are_refused():
    star = ImagePairs(np.eye(9), [[0, j] for j in range(1, 9)], image_groups=[0] + [0, 1] * 4)
    with pytest.raises(ValueError, match="leaves no pair to train on"):
        list(LeaveOneGroupOfImagesOut(test_pairs="any").split(star))


@pytest.mark.parametrize(
    ("cv", "name"),
    [
        (RepeatedImageKFold(2, n_repeats=3.5), "n_repeats"),
        (RepeatedImageKFold(2, n_repeats=-1), "n_repeats"),
        (RepeatedImageKFold(2.5), "n_splits"),
        (ImageKFold(2.5), "n_splits"),
        (GroupImageKFold("2"), "n_splits"),
        (ImageShuffleSplit(2.5), "n_splits"),
    ],
)
def test_a_number_of_splits_is_an_integer(cv, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer, 1 or more, got"):
        cv.get_n_splits()
    assert RepeatedImageKFold(np.int64(2), n_repeats=np.int64(3)).get_n_splits() == 6


@pytest.mark.parametrize(
    "splitter", [ImageKFold(3), ImageShuffleSplit(2, test_size=0.3, random_state=0)]
)
def test_samples_are_images_if_the_target_is_of_images(splitter):
    features = np.random.default_rng(0).random((12, 4))
    patterns = ResponsePatterns(features)
    found = list(splitter.split(features, patterns))
    of_pairs = list(splitter.split(ImagePairs(features)))
    for images, pairs in zip(found, of_pairs, strict=True):
        for some, rows in zip(images, pairs, strict=True):
            np.testing.assert_array_equal(some, ImagePairs(features)[rows].used_images)
    with pytest.raises(ValueError, match="got 11 images"):
        next(splitter.split(features[1:], patterns))
