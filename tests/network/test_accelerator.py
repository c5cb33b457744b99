"""The GPU's code paths, run on the processor: what differs is where, not what is computed."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm import ImagePairs, LayerActivations, SiameseRDMRegressor
from sklearn_rdm._network import _accelerator as accelerator
from sklearn_rdm._network._accelerator import BATCH_SIZE, is_host, put_channels_last, reside, take
from sklearn_rdm.datasets import make_rdm_regression

LAST = torch.channels_last


@pytest.fixture
def gpu(monkeypatch):
    """The processor taken for a GPU with plenty of memory."""
    monkeypatch.setattr(accelerator, "HOSTS", set())
    monkeypatch.setattr(accelerator, "free_memory", lambda _: 1 << 40)


def simulated(n_images=12, **kwargs):
    data = make_rdm_regression(n_images=n_images, image_size=64, random_state=0)
    return ImagePairs.from_rdms(data.images, data.rdms, **kwargs)


def network(**kwargs):
    # AdamW would make differences in the last bits as large as its steps.
    options = {"optimizer": torch.optim.SGD, "lr": 0.01, "max_epochs": 2, "layer": "conv3"} | kwargs
    return SiameseRDMRegressor("alexnet", weights=None, image_size=64, random_state=0, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"freeze_up_to": "conv1"}, {"batching": "pairs"}, {"layer": ["conv1", "conv2"]}],
)
def test_training_gives_what_it_gives_on_the_processor(request, options):
    pairs, dissim = simulated(background="grey")
    expected = network(**options).fit(pairs, dissim).predict(pairs)
    request.getfixturevalue("gpu")
    net = network(**options).fit(pairs, dissim)
    assert isinstance(net.get_dataset(pairs, dissim[:, 0]).kept.inputs, torch.Tensor)
    np.testing.assert_allclose(net.predict(pairs), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(net.transform(pairs)[*pairs.index.T], expected, rtol=1e-3, atol=1e-5)


def test_convolutions_are_channels_last(gpu):
    net = network().initialize()
    weights = [p for p in net.module_.parameters() if p.ndim == 4]
    assert weights
    assert all(weight.is_contiguous(memory_format=LAST) for weight in weights)
    (values,) = net.module_.trunk.to_trained(torch.zeros(2, 3, 64, 64))
    assert values.is_contiguous(memory_format=LAST)


def test_the_processor_keeps_its_layout():
    network = nn.Conv2d(3, 4, 3)
    put_channels_last(network)
    assert network.weight.is_contiguous()
    assert not network.weight.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("n_images", [1, 7, BATCH_SIZE, BATCH_SIZE + 1])
def test_activations_are_computed_in_large_batches(request, n_images):
    images = make_rdm_regression(n_images=max(n_images, 3), image_size=64, random_state=0).images
    features = LayerActivations("alexnet", "conv2", weights=None, image_size=64, random_state=0)
    expected = features.fit(images).transform(images[:n_images])
    request.getfixturevalue("gpu")
    sizes = []
    features.fit(images)
    first = features.trunk_.network.features[0]
    first.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    found = features.transform(images[:n_images])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert len(sizes) == -(-n_images // BATCH_SIZE)


@pytest.mark.parametrize("n_at_once", [1, 2, 64])
def test_resident_inputs_are_copied_once(gpu, monkeypatch, n_at_once):
    monkeypatch.setattr(accelerator, "BATCH_SIZE", n_at_once)
    inputs, places = np.arange(12.0).reshape(4, 3), np.array([3, 1, 0])
    resident, rows = reside(inputs, places, "cpu")
    assert isinstance(resident, torch.Tensor)
    np.testing.assert_array_equal(take(resident, rows), inputs[places])


def test_workers_do_not_fill_a_gpu(monkeypatch):
    # Each takes what it may; what is left is for activations, gradients and the next worker.
    free = 1000
    monkeypatch.setattr(accelerator, "HOSTS", set())
    monkeypatch.setattr(accelerator, "free_memory", lambda _: free)
    inputs = np.zeros((20, 2), np.float32)  # 160 bytes
    for _ in range(8):
        found, _ = reside(inputs, np.arange(20), "cpu")
        free -= found.nbytes if isinstance(found, torch.Tensor) else 0
    assert free == 1000 - 3 * 160  # a fourth would take more than a quarter of what is left


def test_what_does_not_fit_or_is_decoded_anew_stays(monkeypatch, gpu):
    decoded = object()
    assert reside(decoded, np.arange(3), "cpu")[0] is decoded
    monkeypatch.setattr(accelerator, "free_memory", lambda _: 100)
    inputs = np.zeros((20, 2), np.float32)
    assert reside(inputs, np.arange(20), "cpu")[0] is inputs


def test_nothing_resides_on_the_processor_or_where_workers_load(request):
    inputs = np.zeros((20, 2), np.float32)
    assert reside(inputs, np.arange(20), "cpu")[0] is inputs
    request.getfixturevalue("gpu")
    pairs, dissim = simulated()
    net = network(iterator_train__num_workers=1).initialize()
    assert not isinstance(net.get_dataset(pairs, dissim[:, 0]).kept.inputs, torch.Tensor)


def test_batches_are_pinned_for_cuda_only(monkeypatch):
    made = []
    net = network()
    monkeypatch.setattr(net, "iterator_train", lambda _, **options: made.append(options))
    pairs, dissim = simulated()
    dataset = net.initialize().get_dataset(pairs, dissim[:, 0])
    for device in ("cpu", "cuda"):
        net.device = device
        net.get_iterator(dataset, training=True)
    assert [options.get("pin_memory") for options in made] == [None, True]


def test_unknown_free_memory_is_none():
    assert accelerator.free_memory("mps") == 0
    assert is_host("cpu")
    assert not is_host("cuda:1")


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("layer", ["conv3", ["conv2", "conv3"]], ids=str)
def test_compiled_networks_train_alike(layer, backend):
    pairs, dissim = simulated(6)
    expected = network(layer=layer).fit(pairs, dissim).predict(pairs)
    net = network(layer=layer, compile=True, compile__backend=backend).fit(pairs, dissim)
    np.testing.assert_allclose(net.predict(pairs), expected, rtol=1e-3, atol=1e-5)


def test_one_forward_pass_at_a_time(gpu, monkeypatch):
    # Several at once would each fill the GPU with activations.
    images = make_rdm_regression(n_images=20, image_size=64, random_state=0).images
    net = network(freeze_up_to="conv1").initialize()
    monkeypatch.setattr("sklearn_rdm._network._forward.BATCH_SIZE", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    running, most, calls = [0], [0], [0]

    def begin(*_):
        running[0] += 1
        calls[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.002)

    def end(*_):
        running[0] -= 1

    first = net.module_.trunk.network.features[0]
    first.register_forward_pre_hook(begin)
    first.register_forward_hook(end)
    try:
        net.transform(images)
    finally:
        torch.set_num_threads(before)
    assert calls[0] == 10
    assert most[0] == 1
