import gc

import numpy as np
import pytest
import torch

from sklearn_rdm import ImagePairs
from sklearn_rdm._network import _forward
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._forward import Photographs, allocate, compute_rows
from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._trunk import Trunk
from tests.networks import SIZE, Small, assert_close, features_of, make_images


# One image, less than a shard, just one, one more, many
@pytest.mark.parametrize("n_images", [1, 7, 8, 9, 30])
def test_rows_are_computed_as_in_one_batch_and_in_their_order(n_images):
    images = make_images(40)
    preprocessing = Preprocessing((SIZE, SIZE))
    network = load_backbone(Small, None, random_state=0).network
    rows = np.random.default_rng(1).permutation(40)[:n_images]
    with torch.no_grad():
        expected = network(preprocessing(images))[rows].numpy()
    load = Photographs(images, preprocessing).load

    def run(inputs, _):
        return network(inputs)

    alone = compute_rows(load, run, rows)
    with shard_threads():
        in_threads = compute_rows(load, run, rows)
    assert_close(alone, expected)
    assert np.array_equal(in_threads, alone)


@pytest.mark.parametrize(("backbone", "layer"), [(Small, "head"), ("alexnet", "fc6")])
def test_an_image_has_the_same_bits_in_any_company(backbone, layer):
    images = make_images(20)
    activations = features_of(layer, backbone=backbone, image_size=64).fit(images)
    together = activations.transform(images)
    assert np.isfinite(together).all()
    for n_images in (1, 7, 8, 9):
        assert np.array_equal(activations.transform(images[:n_images]), together[:n_images])
    assert np.array_equal(activations.transform(images[::-1]), together[::-1])
    assert np.array_equal(activations.transform(images[[13]])[0], together[13])


def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    images, before, results, threads = make_images(20), torch.get_num_threads(), [], []

    def note_threads(network, inputs):
        threads.append(torch.get_num_threads())
        return forward(network, inputs)

    forward = Trunk.forward
    monkeypatch.setattr(Trunk, "forward", note_threads)
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            activations = features_of("head", reference="white").fit(images)
            threads.clear()
            results.append(activations.transform(images))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*results)
    assert set(threads) == {1}  # so that this holds for larger networks too


def test_an_array_over_the_budget_lies_in_a_file_that_lives_as_long(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(_forward, "MEMORY_BUDGET", 4 * 100)
    assert type(allocate((100,))) is np.ndarray
    assert not list(tmp_path.iterdir())
    spilled = allocate((101, 2))
    assert isinstance(spilled, np.memmap)
    assert spilled.dtype == np.float32
    assert spilled.shape == (101, 2)
    spilled[:] = 3
    view = spilled[50:]
    del spilled
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    assert view.sum() == 3 * 51 * 2
    del view
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_features_over_the_budget_are_the_same(monkeypatch, tmp_path):
    images = make_images(20)
    pairs = ImagePairs(images, [[0, 5], [5, 19], [3, 0]])
    expected = features_of().fit_transform(images)
    monkeypatch.setattr(_forward, "MEMORY_BUDGET", 1000)
    for options in ({}, {"memory": str(tmp_path)}):
        spilled = features_of(**options).fit_transform(images)
        assert isinstance(spilled, np.memmap)
        assert np.array_equal(spilled, expected)
        of_pairs = features_of(**options).fit_transform(pairs)
        assert isinstance(of_pairs.images, np.memmap)
        assert np.array_equal(of_pairs.images, expected[[0, 3, 5, 19]])
    blank = features_of().fit_transform(np.full_like(images[:1], 255))
    white = features_of(reference="white").fit_transform(images)
    assert np.array_equal(white, expected - blank)


@pytest.mark.parametrize("shape", [(12, 24, 24), (24, 24, 3), (12, 3, 24, 24)])
def test_the_error_names_the_shape_that_was_given(shape):
    with pytest.raises(ValueError, match=r"RGB images .*, got \(" + ", ".join(map(str, shape))):
        features_of().fit(make_images(2)).transform(np.zeros(shape, np.uint8))
