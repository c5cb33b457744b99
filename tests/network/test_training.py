import numpy as np
import pytest
import torch

from sklearn_rdm import SiameseRDMRegressor
from sklearn_rdm._network import _training
from sklearn_rdm._network._shards import SHARD_SIZE
from tests.network.textbook import (
    BACKBONES,
    BATCHES,
    _names,
    assert_equals_textbook,
    initialised,
    plain_step,
)
from tests.networks import PLAIN, changed, make_pairs, record_fit, same_bits, tiny_net, weights


@pytest.mark.parametrize("batching", BATCHES)
@pytest.mark.parametrize("freezing", ["nothing", "prefix", "kept prefix"])
def test_loss_and_gradients_equal_two_branches(backbone, freezing, batching, tmp_path):
    frozen = {} if freezing != "nothing" else {"freeze_up_to": None}
    net = initialised(backbone, **frozen).set_params(
        batching=batching,
        batch_size=BATCHES[batching],
        memory=str(tmp_path) if freezing == "kept prefix" else None,
    )
    pairs, y = make_pairs(6, BACKBONES[backbone]["image_size"])
    recorder = record_fit(net, pairs, y)
    assert_equals_textbook(backbone, net, pairs, y, recorder)
    assert any(tmp_path.rglob("activations*")) == (freezing == "kept prefix")


@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_know_the_noise(batching):
    net = initialised("alexnet", noise_ratio=0.7).set_params(
        batching=batching, batch_size=BATCHES[batching]
    )
    pairs, y = make_pairs(6, 64)
    recorder = record_fit(net, pairs, y)
    noise = float(net.module_.trained.noise)
    assert_equals_textbook("alexnet", net, pairs, y, recorder, noise=noise)


@pytest.mark.parametrize("freeze_up_to", [None, "conv1"])
@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_flow_through_a_frozen_suffix(freeze_up_to, batching):
    net = initialised("alexnet", freeze_up_to=freeze_up_to, freeze_from="conv3").set_params(
        batching=batching, batch_size=BATCHES[batching]
    )
    pairs, y = make_pairs(6, 64)
    recorder = record_fit(net, pairs, y)
    assert_equals_textbook("alexnet", net, pairs, y, recorder)
    trained = {k for k, gradient in recorder.steps_[0]["gradients"].items() if gradient is not None}
    first, second = "trunk.network.features.0", "trunk.network.features.3"
    expected = {f"{conv}.{kind}" for conv in (first, second) for kind in ("weight", "bias")}
    assert trained == {k for k in expected if freeze_up_to is None or not k.startswith(first)}


@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_of_many_images_are_summed(batching):
    assert SHARD_SIZE < 10
    pairs, y = make_pairs(20, 64)
    some = np.random.default_rng(0).permutation(len(y))[:50]
    net = SiameseRDMRegressor(
        "alexnet", "conv4", weights=None, image_size=64, max_epochs=1, random_state=0
    ).set_params(batching=batching, batch_size=-1, **PLAIN)
    recorder = record_fit(net, pairs[some], y[some])
    (step,) = recorder.steps_
    assert len(step["images"]) == 20
    assert_equals_textbook("alexnet", net, pairs[some], y[some], recorder, n_steps=1)


def test_one_step_is_the_hand_written_step():
    pairs, y = make_pairs(6, 64)
    net = SiameseRDMRegressor(
        "alexnet", "conv3", weights=None, image_size=64, lr=10.0, max_epochs=1, random_state=0
    ).set_params(**PLAIN)
    recorder = record_fit(net, pairs, y)
    (step,) = recorder.steps_
    assert same_bits(step["weights"], recorder.initial_)
    assert len(step["target"]) == 15
    _, gradients = plain_step("alexnet", pairs.images, step, module="features.6")
    for name, trained in net.module_.named_parameters():
        moved = 10.0 * gradients[name]
        assert moved.abs().max() > 1e-3
        torch.testing.assert_close(
            trained.detach(), recorder.initial_[name] - moved, rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("freeze_batch_norm", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_what_is_frozen_keeps_its_bits(memory, freeze_batch_norm, dropout, tmp_path):
    net = tiny_net(
        freeze_up_to="relu1",
        freeze_from="conv3",
        module__freeze_batch_norm=freeze_batch_norm,
        module__dropout=dropout,
        memory=str(tmp_path) if memory else None,
        max_epochs=2,
    )
    recorder = record_fit(net, *make_pairs())
    moved = changed(recorder.initial_, weights(net))
    expected = {"conv2.weight", "conv2.bias", "bn2.weight", "bn2.bias"}
    if not freeze_batch_norm:
        expected |= {"bn2.running_mean", "bn2.running_var", "bn2.num_batches_tracked"}
        expected -= {"conv2.bias"} & (expected - _names(moved))  # batch statistics cancel it
    assert _names(moved) == expected
    assert {"conv1.weight", "bn1.running_mean", "conv3.weight"} <= _names(recorder.initial_)


REPRODUCIBLE = {
    "images": {"freeze_up_to": "relu1"},
    "pairs": {"freeze_up_to": "relu1", "batching": "pairs", "batch_size": 9},
    "dropout": {"freeze_up_to": "relu1", "module__dropout": True},
    "batch norm": {"freeze_up_to": "relu1", "module__freeze_batch_norm": False},
    "reference": {"freeze_up_to": "conv1", "reference": "white"},
    "squeezenet": {
        "backbone": "squeezenet1_1",
        "layer": "features.5",
        "freeze_up_to": "features.2",
        "weights": None,
    },
}


@pytest.mark.parametrize("name", REPRODUCIBLE)
def test_same_seed_same_bits_with_memory_and_any_number_of_threads(name, tmp_path):
    pairs, y = make_pairs(12)
    params = REPRODUCIBLE[name] | {"max_epochs": 2}
    n_threads = torch.get_num_threads()
    nets = []
    try:
        for threads, memory in ((1, None), (2, None), (2, str(tmp_path)), (1, str(tmp_path))):
            torch.set_num_threads(threads)
            nets.append(tiny_net(**params, memory=memory).fit(pairs, y))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n_threads)
    for net in nets[1:]:
        assert same_bits(net, nets[0])
        np.testing.assert_array_equal(net.predict(pairs), nets[0].predict(pairs))
    other = tiny_net(**params | {"random_state": 1}).fit(pairs, y)
    assert not same_bits(other, nets[0])


def test_training_lowers_the_loss():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=20, batch_size=-1, lr=0.3).fit(pairs, y)
    assert net.history[-1, "train_loss"] < 0.8 * net.history[0, "train_loss"]


def test_an_interrupt_before_training_leaves_the_estimator_as_it_was(monkeypatch):
    pairs, y = make_pairs()
    net = tiny_net(noise_ratio=1.0, max_epochs=2).fit(pairs, y)
    before = net.predict(pairs)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_training, "open_images", interrupt)
        for method in (net.fit, net.partial_fit):
            with pytest.raises(KeyboardInterrupt):
                method(pairs, y)
        new = tiny_net()
        with pytest.raises(KeyboardInterrupt):
            new.fit(pairs, y)
    assert not hasattr(new, "module_")
    assert len(net.history) == 2
    np.testing.assert_array_equal(net.predict(pairs), before)
