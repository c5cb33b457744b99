"""The splits of what is given as ``cv``: those of its splitter, if they hold out images."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from sklearn_rdm import ImagePairs, ResponsePatterns
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.model_selection._cv import check_image_cv, check_pairs_and_cv, images_of
from tests.model_selection.problems import make_pairs


def assert_same_splits(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        for rows, right in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(rows, right)


@pytest.mark.parametrize(("cv", "n_splits"), [(None, 5), (3, 3), (np.int64(4), 4)])
def test_a_number_is_that_of_folds_of_images(cv, n_splits):
    pairs, dissim = make_pairs(20)
    expected = ImageKFold(n_splits).split(pairs)
    assert_same_splits(check_image_cv(cv, pairs, dissim), list(expected))


def test_rows_and_masks_are_taken_as_splits():
    pairs, dissim = make_pairs(12)
    expected = list(ImageKFold(2).split(pairs))
    every = np.arange(len(pairs))
    masks = [tuple(np.isin(every, rows) for rows in split) for split in expected]
    for given in (expected, masks, iter(expected)):
        assert_same_splits(check_image_cv(given, pairs, dissim), expected)


def test_the_pair_and_the_split_that_leak_are_named():
    pairs, dissim = make_pairs(9)
    fair = next(ImageKFold(3).split(pairs))
    train = np.flatnonzero((pairs.index < 6).all(axis=1))
    leaky = train[1:], np.append(np.flatnonzero((pairs.index > 5).all(axis=1)), train[0])
    message = r"split 1 of cv tests the pair of images 0 and 1, .* \(1 such pairs\)"
    with pytest.raises(ValueError, match=message):
        check_image_cv([fair, leaky], pairs, dissim)
    with pytest.raises(ValueError, match=r"cv=\[\] gives no split"):
        check_image_cv([], pairs, dissim)


@pytest.mark.parametrize("cv", [3, ImageKFold(3), KFold(3), list(KFold(3).split(np.zeros(12)))])
def test_of_patterns_every_splitter_splits_images(cv):
    features = np.random.default_rng(0).random((12, 4))
    pairs, dissim, splits = check_pairs_and_cv(features, ResponsePatterns(features), cv)
    assert dissim.shape == (66, 1)
    expected = ImageKFold(3).split(ImagePairs(features))
    assert_same_splits(splits, list(expected))


def test_images_are_those_of_all_their_pairs():
    pairs = ImagePairs(np.eye(7))
    wanted = np.array([1, 3, 4, 6])
    rows = np.flatnonzero(np.isin(pairs.index, wanted).all(axis=1))
    np.testing.assert_array_equal(images_of(pairs, rows), wanted)
    with pytest.raises(ValueError, match="must hold all pairs of its images: give test_pairs="):
        images_of(pairs, rows[1:])
