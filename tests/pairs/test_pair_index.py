"""All pairs without an index against the index written out, and lookups in blocks."""

import tracemalloc

import numpy as np
import pytest

from sklearn_rdm import ImagePairs
from sklearn_rdm._pairs import _dissimilarities, _pair_index
from sklearn_rdm._pairs._pair_index import (
    AllPairs,
    as_places,
    count_touching,
    count_within,
    image_sets,
    rows_touching,
    rows_within,
    used_images,
)
from tests.simulated import all_pairs


@pytest.mark.parametrize("n_images", [2, 3, 4, 50])
def test_all_pairs_read_as_the_array(n_images):
    index, array = AllPairs(n_images), all_pairs(n_images)
    assert index.shape == array.shape
    assert len(index) == len(array)
    for got in (np.asarray(index), index[:], index[np.arange(len(array))]):
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, array)
    rows = np.random.default_rng(0).integers(-len(array), len(array), 20)
    np.testing.assert_array_equal(index[rows], array[rows])
    np.testing.assert_array_equal(index[::-2], array[::-2])


def test_rows_of_a_million_images_are_exact():
    index = AllPairs(1_000_000)
    first = np.array([0, 1, 2, 77_777, 500_000, 999_997, 999_998])
    starts = np.concatenate([[0], np.cumsum(999_999 - np.arange(999_999))])[first]
    np.testing.assert_array_equal(index[starts], np.column_stack([first, first + 1]))
    ends = starts + 999_998 - first
    np.testing.assert_array_equal(index[ends], np.column_stack([first, [999_999] * len(first)]))


def test_rows_that_do_not_exist():
    index = AllPairs(4)
    for rows in ([6], [-7], np.array([True, False]), np.array([0.0])):
        with pytest.raises(IndexError):
            index[rows]
    with pytest.raises(ValueError, match="needs 2 images, got 1"):
        AllPairs(1)


@pytest.mark.parametrize("images", [[], [3], [0, 5, 2], [0, 1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("block", [3, 2**20])
def test_rows_of_some_images(images, block, monkeypatch):
    monkeypatch.setattr(_pair_index, "BLOCK", block)
    images, array = np.array(images, dtype=int), all_pairs(8)
    found = np.isin(array, images)
    for index in (AllPairs(8), array):
        np.testing.assert_array_equal(rows_within(index, images), np.flatnonzero(found.all(1)))
        np.testing.assert_array_equal(rows_touching(index, images), np.flatnonzero(found.any(1)))
        assert count_within(index, images) == found.all(axis=1).sum()
        assert count_touching(index, images) == found.any(axis=1).sum()


@pytest.mark.parametrize("block", [2, 2**20])
def test_sets_that_chains_of_pairs_connect(block, monkeypatch):
    monkeypatch.setattr(_pair_index, "BLOCK", block)
    index = np.array([[7, 2], [1, 3], [4, 5], [5, 1], [0, 6]])
    np.testing.assert_array_equal(image_sets(index), [0, 1, 2, 1, 1, 1, 0, 2])
    np.testing.assert_array_equal(image_sets(AllPairs(3)), [0, 0, 0])


def test_used_images_and_their_places():
    index = np.array([[7, 2], [2, 4]])
    np.testing.assert_array_equal(used_images(index), [2, 4, 7])
    np.testing.assert_array_equal(as_places(index, used_images(index)), [[2, 0], [0, 1]])
    everything = AllPairs(5)
    assert as_places(everything, used_images(everything)) is everything


def test_pairs_hold_an_index_only_where_pairs_are_missing():
    rdm = np.ones((5, 5))
    pairs, dissim = ImagePairs.from_rdms(np.eye(5), rdm)
    assert isinstance(pairs._index, AllPairs)
    assert pairs[:]._index is pairs._index
    np.testing.assert_array_equal(pairs[dissim > 0].index, all_pairs(5))
    rdm[1, 2] = rdm[2, 1] = np.nan
    pairs, dissim = ImagePairs.from_rdms(np.eye(5), rdm)
    assert pairs._index.dtype == np.int32
    np.testing.assert_array_equal(pairs.index, np.delete(all_pairs(5), 4, axis=0))
    assert (len(dissim), pairs.n_left_out) == (9, 1)


def test_matrices_are_read_with_little_more_memory_than_the_result(monkeypatch):
    monkeypatch.setattr(_dissimilarities, "BLOCK", 2**14)
    rdm = np.ones((600, 600))
    images = np.zeros((600, 1))
    tracemalloc.start()
    held = ImagePairs.from_rdms(images, rdm)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rdm.nbytes
    assert len(held[1]) == 600 * 599 // 2


def test_sets_are_known_before_the_last_pair_is_read(monkeypatch):
    monkeypatch.setattr(_pair_index, "BLOCK", 3)
    first_joins_all = np.array([[0, 1], [1, 2], [2, 3], [0, 2], [3, 1]])
    np.testing.assert_array_equal(image_sets(first_joins_all), [0, 0, 0, 0])
    joins_nothing_new = np.array([[0, 1], [2, 3], [1, 0], [1, 0], [3, 2], [0, 1], [4, 2]])
    np.testing.assert_array_equal(image_sets(joins_nothing_new), [0, 0, 1, 1, 1])
