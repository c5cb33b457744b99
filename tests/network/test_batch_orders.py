from collections import Counter

import numpy as np
import pytest
from numpy.random import RandomState

from sklearn_rdm._network import _batch_orders
from sklearn_rdm._network._batch_orders import (
    ImageBatches,
    OrderedBatches,
    OrderedPatternBatches,
    PairBatches,
)
from sklearn_rdm._pairs._pair_index import AllPairs
from tests.simulated import all_pairs


def complete(n_images, start=0):
    return start + all_pairs(n_images)


def two_sets(n_first, n_second):
    """All pairs within two image sets whose images and pairs are mixed up."""
    rng = RandomState(0)
    index = np.concatenate([complete(n_first), complete(n_second, n_first)])
    renamed = rng.permutation(n_first + n_second)
    return renamed[rng.permutation(index)], renamed[:n_first], renamed[n_first:]


@pytest.mark.parametrize(("n_pairs", "batch_size"), [(10, 3), (12, 4), (5, 100), (1, 1), (7, 1)])
def test_batches_of_pairs_cover_all_pairs_once_an_epoch(n_pairs, batch_size):
    batches = PairBatches(np.zeros((n_pairs, 2), int), batch_size, RandomState(0))
    epochs = [list(batches) for _ in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(n_pairs))
        assert len(epoch) == len(batches)
        assert [len(batch) for batch in epoch[:-1]] == [batch_size] * (len(epoch) - 1)
        assert 1 <= len(epoch[-1]) <= batch_size
    if n_pairs > 5:
        assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))


def test_ordered_batches_keep_the_order_and_bound_the_size(monkeypatch):
    index = np.zeros((10, 2), int)
    assert [list(batch) for batch in OrderedBatches(index)] == [list(range(10))]
    monkeypatch.setattr(_batch_orders, "PAIRS_AT_ONCE", 4)
    batches = OrderedBatches(index)
    assert len(batches) == 3
    assert [list(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def images_of(batch, index):
    return set(index[batch].ravel())


DESIGNS = {
    "complete": (complete(20), 6),
    "complete, even": (complete(20), 5),
    "one batch": (complete(7), 32),
    "two sets": (two_sets(13, 7)[0], 4),
    "a small set": (two_sets(25, 3)[0], 10),
    "holes in the numbering": (complete(12) * 3 + 5, 5),
}


@pytest.mark.parametrize(("index", "batch_size"), DESIGNS.values(), ids=DESIGNS)
def test_image_batches_hold_each_image_once_and_all_pairs_among_them(index, batch_size):
    batches = ImageBatches(index, batch_size, RandomState(0))
    for _ in range(3):
        epoch = list(batches)
        assert len(epoch) == len(batches)
        members = [images_of(batch, index) for batch in epoch]
        assert Counter(i for images in members for i in images) == Counter(set(index.ravel()))
        for batch, images in zip(epoch, members, strict=True):
            assert len(images) <= batch_size
            among = np.flatnonzero(np.isin(index, list(images)).all(axis=1))
            assert np.array_equal(np.sort(batch), among)


@pytest.mark.parametrize(("n_images", "batch_size"), [(20, 6), (118, 32), (92, 32), (33, 32)])
def test_batches_of_a_set_have_near_equal_sizes(n_images, batch_size):
    index = complete(n_images)
    epoch = list(ImageBatches(index, batch_size, RandomState(0)))
    sizes = [len(images_of(batch, index)) for batch in epoch]
    assert len(sizes) == -(-n_images // batch_size)
    assert max(sizes) - min(sizes) <= 1


def test_image_sets_that_share_no_pair_never_share_a_batch():
    index, first, second = two_sets(17, 11)
    for _ in range(5):
        for batch in ImageBatches(index, 4, RandomState(0)):
            images = images_of(batch, index)
            assert images <= set(first) or images <= set(second)


def test_sets_that_one_pair_joins_are_one_set():
    index, first, second = two_sets(10, 10)
    joined = np.concatenate([index, [[first[0], second[0]]]])
    batches = ImageBatches(joined, 5, RandomState(0))
    mixed = [
        images_of(batch, joined) & set(first) and images_of(batch, joined) & set(second)
        for _ in range(10)
        for batch in batches
    ]
    assert any(mixed)


def test_batches_come_in_random_order():
    index, first, _ = two_sets(40, 40)
    orders = {
        tuple(
            bool(images_of(b, index) & set(first)) for b in ImageBatches(index, 8, RandomState(s))
        )
        for s in range(5)
    }
    assert len(orders) > 1  # not always one set first


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_sparse_designs_give_the_pairs_that_lie_within_batches(share):
    rng = RandomState(0)
    index = complete(40)[rng.rand(780) < share]
    batches = ImageBatches(index, 10, RandomState(1))
    seen = set()
    for _ in range(100):
        epoch = list(batches)
        assert len(epoch) <= len(batches)
        rows = np.concatenate(epoch)
        assert len(np.unique(rows)) == len(rows) > 0
        members = [images_of(batch, index) for batch in epoch]
        assert sum(map(len, members)) == len(set().union(*members))  # no image twice
        assert all(len(batch) for batch in epoch)
        seen.update(rows)
    assert seen == set(range(len(index)))  # over the epochs every pair has its turn


def test_pairs_that_no_batch_holds_are_an_error():
    with pytest.raises(ValueError, match="mini-batch of 1 of the 4 images: use batching='pairs'"):
        list(ImageBatches(complete(4), 1, RandomState(0)))


@pytest.mark.parametrize("kind", [ImageBatches, PairBatches])
def test_the_same_seed_gives_the_same_batches(kind):
    def draw(seed):
        batches = kind(two_sets(20, 9)[0], 5, RandomState(seed))
        return [batch.tolist() for _ in range(3) for batch in batches]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize("batch_size", [2, 5, 40])
def test_all_pairs_without_a_list_give_the_batches_of_the_list(batch_size):
    by_rule, listed = (
        ImageBatches(index, batch_size, RandomState(3)) for index in (AllPairs(17), complete(17))
    )
    for ours, theirs in zip(by_rule, listed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ordered_batches_of_patterns_can_be_counted():
    ordered = OrderedPatternBatches(np.ones((2, 2000), dtype=bool))
    assert len(ordered) == len(list(ordered)) > 1
