from collections import Counter

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from torch.utils.data import DataLoader, Subset

from sklearn_rdm import ImagePairs
from sklearn_rdm._network import _batches as batches_module
from sklearn_rdm._network._batches import (
    ImageBatches,
    OrderedBatches,
    OrderedPatternBatches,
    PairBatch,
    PairBatches,
    PairDataset,
    ReadAhead,
)
from sklearn_rdm._pairs._pair_index import AllPairs
from tests.networks import make_pairs, same_bits, tiny_net


def complete(n_images, start=0):
    return start + np.column_stack(np.triu_indices(n_images, 1))


def two_sets(n_first, n_second):
    """All pairs within two image sets whose images and pairs are mixed up."""
    rng = RandomState(0)
    index = np.concatenate([complete(n_first), complete(n_second, n_first)])
    renamed = rng.permutation(n_first + n_second)
    return renamed[rng.permutation(index)], renamed[:n_first], renamed[n_first:]


# PairDataset


@pytest.fixture
def dataset():
    """Twelve of fifteen images are used, and their inputs are kept in another order."""
    rng = np.random.default_rng(0)
    images = rng.random((15, 5))
    used = np.sort(rng.permutation(15)[:12])
    pairs = ImagePairs(images, used[complete(12)][rng.permutation(66)])
    places = rng.permutation(20)[:12]
    inputs = rng.random((20, 2, 3), dtype=np.float32)
    for image, place in zip(pairs.used_images, places, strict=True):
        inputs[place, 0, 0] = image  # says whose input it is
    return PairDataset(pairs, rng.random(66), inputs, places)


@pytest.mark.parametrize("positions", [[3], [5, 1, 60], list(range(66)), [7, 7, 2]])
def test_a_batch_holds_each_image_once_and_its_pairs_in_order(dataset, positions):
    batch, target = dataset.__getitems__(positions)
    pairs = dataset.X.index[positions]
    assert len(batch) == len(positions)
    assert np.array_equal(batch.images, np.unique(pairs))
    assert batch.inputs.dtype == target.dtype == torch.float32
    assert batch.index.dtype == torch.int64
    assert np.array_equal(batch.images[batch.index.numpy()], pairs)
    assert np.array_equal(batch.inputs[:, 0, 0].numpy(), batch.images)
    for row, image in enumerate(batch.images):
        place = dataset.kept.places[np.flatnonzero(dataset.X.used_images == image)[0]]
        assert np.array_equal(batch.inputs[row].numpy(), dataset.kept.inputs[place])
    assert np.array_equal(target.numpy(), dataset.y[positions])


def test_one_pair_is_a_batch_of_one(dataset):
    (one, target), (batch, targets) = dataset[4], dataset.__getitems__([4])
    assert len(dataset) == 66
    assert torch.equal(one.inputs, batch.inputs)
    assert torch.equal(one.index, batch.index)
    assert torch.equal(target, targets)


def test_batches_do_not_share_memory_with_what_is_kept(dataset):
    kept = dataset.kept.inputs.copy()
    dataset.kept.inputs.flags.writeable = False  # as a store is mapped
    batch, _ = dataset.__getitems__(range(66))
    batch.inputs.mul_(-1)  # as an in-place activation function does
    assert np.array_equal(dataset.kept.inputs, kept)


def test_a_data_loader_reads_whole_batches_also_of_a_subset(dataset):
    rows = np.array([60, 2, 33, 8, 41])
    loader = DataLoader(
        Subset(dataset, rows),
        batch_sampler=OrderedBatches(dataset.index[rows]),
        collate_fn=lambda batch: batch,
    )
    ((batch, target),) = loader
    assert np.array_equal(batch.images[batch.index.numpy()], dataset.X.index[rows])
    assert np.array_equal(target.numpy(), dataset.y[rows])


def test_a_batch_is_copied_to_a_device_with_its_image_names(dataset):
    batch, _ = dataset.__getitems__([1, 2])
    moved = batch.to("meta")
    assert isinstance(moved, PairBatch)
    assert moved.inputs.device.type == moved.index.device.type == "meta"
    assert moved.images is batch.images


# PairBatches and OrderedBatches


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
    monkeypatch.setattr(batches_module, "PAIRS_AT_ONCE", 4)
    batches = OrderedBatches(index)
    assert len(batches) == 3
    assert [list(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


# ImageBatches


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


def test_what_lies_on_the_processor_is_pinned(dataset, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: pinned.append(t.shape) or t.clone())
    batch = dataset.__getitems__([3, 1])[0]
    copied = batch.pin_memory()
    assert pinned == [batch.inputs.shape, batch.index.shape]
    assert torch.equal(copied.inputs, batch.inputs)
    assert torch.equal(copied.index, batch.index)
    on_device = batch.to("meta")
    assert on_device.pin_memory().inputs is on_device.inputs


@pytest.mark.parametrize("batch_size", [2, 5, 40])
def test_all_pairs_without_a_list_give_the_batches_of_the_list(batch_size):
    by_rule, listed = (
        ImageBatches(index, batch_size, RandomState(3)) for index in (AllPairs(17), complete(17))
    )
    for ours, theirs in zip(by_rule, listed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_all_pairs_of_images_are_not_listed_to_train_on_them():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=2).fit(pairs, y)
    assert isinstance(net.get_dataset(pairs, y[:, 0]).index, AllPairs)
    listed = tiny_net(max_epochs=2).fit(ImagePairs(pairs.images, pairs.index), y)
    assert same_bits(net, listed)
    np.testing.assert_array_equal(net.predict(pairs), listed.predict(pairs))


def test_batches_that_are_read_ahead_or_are_of_patterns_can_be_counted():
    loader = [3, 1, 2]
    assert len(ReadAhead(loader)) == 3
    assert list(ReadAhead(loader)) == loader
    ordered = OrderedPatternBatches(np.ones((2, 2000), dtype=bool))
    assert len(ordered) == len(list(ordered)) > 1
