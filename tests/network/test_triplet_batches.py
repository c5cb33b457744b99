"""Mini-batches of triplets hold each image once, and each epoch is what a loop would make."""

import numpy as np
import pytest

from sklearn_rdm import ImageTriplets
from sklearn_rdm._network._triplet_batches import (
    OrderedTripletBatches,
    TripletDataset,
    TripletImageBatches,
)

N_IMAGES = 9
RNG = np.random.default_rng(0)
INDEX = np.array([RNG.permutation(N_IMAGES)[:3] for _ in range(40)])
IMAGES = RNG.random((N_IMAGES, 2, 2, 3)).astype(np.float32)


@pytest.fixture
def dataset():
    triplets = ImageTriplets(IMAGES, INDEX)
    inputs = IMAGES.transpose(0, 3, 1, 2)
    return TripletDataset(triplets, RNG.integers(0, 3, len(INDEX)), inputs, np.arange(N_IMAGES))


@pytest.mark.parametrize("positions", [[0], [3, 1, 1], range(40)], ids=str)
def test_pairs_of_a_batch_are_those_beside_each_image(dataset, positions):
    batch, choices = dataset.__getitems__(positions)
    assert len(batch) == len(positions) == len(choices)
    assert len(np.unique(batch.images)) == len(batch.images)
    found = np.asarray(batch.images)[batch.index.numpy()].reshape(-1, 3, 2)
    for row, position in zip(found, positions, strict=True):
        first, second, third = INDEX[position]
        beside = [{second, third}, {first, third}, {first, second}]
        assert [set(pair.tolist()) for pair in row] == beside
    np.testing.assert_array_equal(choices, dataset.y[list(positions)])


def test_weights_follow_their_triplets(dataset):
    dataset.weights = np.arange(40.0)
    batch, _ = dataset.__getitems__([7, 2])
    np.testing.assert_array_equal(batch.weights, [7, 2])


@pytest.mark.parametrize("batch_size", [3, 4, 100])
def test_a_batch_is_all_triplets_of_its_images(batch_size):
    batches = TripletImageBatches(INDEX, batch_size, np.random.RandomState(0))
    for rows in batches:
        images = np.unique(INDEX[rows])
        within = np.flatnonzero(np.isin(INDEX, images).all(axis=1))
        assert set(rows) <= set(within)
        assert len(images) <= batch_size
        assert len(set(rows)) == len(rows)


def test_one_batch_of_all_images_holds_all_triplets():
    (rows,) = TripletImageBatches(INDEX, 100, np.random.RandomState(0))
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(INDEX)))


@pytest.mark.parametrize(("n_triplets", "batch_size"), [(1, 4), (8, 4), (9, 4)])
def test_ordered_batches_are_all_triplets_in_their_order(n_triplets, batch_size):
    batches = OrderedTripletBatches(n_triplets, batch_size)
    rows = list(batches)
    assert len(rows) == len(batches) == -(-n_triplets // batch_size)
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(n_triplets))


def test_one_item_is_a_batch_of_one(dataset):
    (batch, choices), (expected, of_expected) = dataset[11], dataset.__getitems__([11])
    assert len(batch) == 1
    np.testing.assert_array_equal(batch.images, expected.images)
    np.testing.assert_array_equal(batch.index, expected.index)
    np.testing.assert_array_equal(choices, of_expected)
