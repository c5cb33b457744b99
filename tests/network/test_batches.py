import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from sklearn_rdm import ImagePairs
from sklearn_rdm._network._batch_orders import OrderedBatches
from sklearn_rdm._network._batches import (
    PairBatch,
    PairDataset,
    ReadAhead,
)
from sklearn_rdm._pairs._pair_index import AllPairs
from tests.networks import make_pairs, same_bits, tiny_net
from tests.simulated import all_pairs


@pytest.fixture
def dataset():
    """Twelve of fifteen images are used, and their inputs are kept in another order."""
    rng = np.random.default_rng(0)
    images = rng.random((15, 5))
    used = np.sort(rng.permutation(15)[:12])
    pairs = ImagePairs(images, used[all_pairs(12)][rng.permutation(66)])
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


def test_all_pairs_of_images_are_not_listed_to_train_on_them():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=2).fit(pairs, y)
    assert isinstance(net.get_dataset(pairs, y[:, 0]).index, AllPairs)
    listed = tiny_net(max_epochs=2).fit(ImagePairs(pairs.images, pairs.index), y)
    assert same_bits(net, listed)
    np.testing.assert_array_equal(net.predict(pairs), listed.predict(pairs))


def test_batches_that_are_read_ahead_can_be_counted():
    loader = [3, 1, 2]
    assert len(ReadAhead(loader)) == 3
    assert list(ReadAhead(loader)) == loader
