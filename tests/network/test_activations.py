import gc
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Memory, Parallel, delayed
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import sklearn_rdm
from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations
from sklearn_rdm._network import _activations
from sklearn_rdm._network._activations import (
    allocate,
    compute_rows,
    keep_frozen,
    load_photographs,
    stored_rows,
)
from sklearn_rdm._network._backbones import Preprocessing, load_backbone
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._pairs._images import COLOURS
from sklearn_rdm.metrics import rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage

SIZE = 24


class Small(nn.Module):
    """A network whose first layers work in place, as in most networks."""

    def __init__(self, stride=2):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 5, stride=stride)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        x = self.second(self.relu(self.first(x)))
        return self.head(self.pool(x).flatten(1))


def make_images(n_images, seed=0, size=SIZE):
    shape = (n_images, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def features_of(layer="second", **options):
    options = {"weights": None, "image_size": SIZE, "random_state": 0, **options}
    return LayerActivations(options.pop("backbone", Small), layer, **options)


def by_hand(images, layer="second", size=SIZE, seed=0):
    """Activations by the network's own modules, all images in one batch."""
    backbone = load_backbone(Small, None, image_size=size, random_state=seed)
    network, x = backbone.network, backbone.preprocessing(images)
    with torch.no_grad():
        first = network.first(x)
        relu = first.clamp(min=0)
        second = network.second(relu)
        pool = network.pool(second)
        head = network.head(pool.flatten(1))
    layers = {"first": first, "relu": relu, "second": second, "pool": pool, "head": head}
    return layers[layer].flatten(1).numpy()


def assert_close(actual, expected):
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def computed(monkeypatch):
    """How many images went through a network, call by call."""
    calls = []

    def count(function, load, rows, device="cpu"):
        calls.append(len(rows))
        return compute_rows(function, load, rows, device)

    monkeypatch.setattr(_activations, "compute_rows", count)
    return calls


# compute_rows and allocate


# One image, less than a shard, just one, one more, many
@pytest.mark.parametrize("n_images", [1, 7, 8, 9, 30])
def test_rows_are_computed_as_in_one_batch_and_in_their_order(n_images):
    images = make_images(40)
    preprocessing = Preprocessing((SIZE, SIZE))
    network = load_backbone(Small, None, random_state=0).network
    rows = np.random.default_rng(1).permutation(40)[:n_images]
    with torch.no_grad():
        expected = network(preprocessing(images))[rows].numpy()
    load = load_photographs(images, preprocessing)
    alone = compute_rows(network, load, rows)
    with shard_threads():
        in_threads = compute_rows(network, load, rows)
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

    def note_threads(*arguments, **options):
        threads.append(torch.get_num_threads())
        return compute_rows(*arguments, **options)

    monkeypatch.setattr(_activations, "compute_rows", note_threads)
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            activations = features_of("head", reference="white").fit(images)
            results.append(activations.transform(images))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*results)
    assert threads == [1, 1, 1, 1]  # so that this holds for larger networks too


def test_an_array_over_the_budget_lies_in_a_file_that_lives_as_long(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(_activations, "MEMORY_BUDGET", 4 * 100)
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
    monkeypatch.setattr(_activations, "MEMORY_BUDGET", 1000)
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


# LayerActivations


@pytest.mark.parametrize("layer", ["first", "relu", "second", "pool", "head"])
def test_features_of_images_are_the_layers_activations(layer):
    images = make_images(11)
    activations = features_of(layer)
    features = activations.fit_transform(images)
    assert features.shape == (11, activations.n_features_out_)
    assert activations.layer_slices_ == {layer: slice(0, features.shape[1])}
    assert_close(features, by_hand(images, layer))


def test_several_layers_are_side_by_side_in_the_order_asked_for():
    images = make_images(9)
    activations = features_of(["head", "first", "relu"])
    features = activations.fit_transform(images)
    assert list(activations.layer_slices_) == ["head", "first", "relu"]
    ends = [(s.start, s.stop) for s in activations.layer_slices_.values()]
    assert ends == [(0, 5), (5, 405), (405, 805)]
    for layer, columns in activations.layer_slices_.items():
        assert_close(features[:, columns], by_hand(images, layer))
    assert features[:, activations.layer_slices_["first"]].min() < 0  # though ReLU works in place


def test_the_default_layer_is_named_as_its_node():
    activations = features_of(None).fit(None)
    assert activations.layer_slices_ == {"pool": slice(0, 24)}
    assert features_of([None, "head"]).fit(None).layer_slices_ == {
        "pool": slice(0, 24),
        "head": slice(24, 29),
    }


def test_papers_layer_names_are_kept_as_given():
    images = make_images(3, size=80)
    activations = features_of(("conv1", "pool2"), backbone="alexnet", image_size=64)
    features = activations.fit_transform(images)
    backbone = load_backbone("alexnet", None, image_size=64, random_state=0)
    with torch.no_grad():
        x = backbone.preprocessing(images)
        conv1 = backbone.network.features[:1](x).flatten(1)
        pool2 = backbone.network.features[:6](x).flatten(1)
    assert_close(features[:, activations.layer_slices_["conv1"]], conv1.numpy())
    assert_close(features[:, activations.layer_slices_["pool2"]], pool2.numpy())


@pytest.mark.parametrize("layers", [[], ()])
def test_no_layer_is_refused(layers):
    with pytest.raises(ValueError, match="layers is empty"):
        features_of(layers).fit(None)


def test_pairs_become_the_same_pairs_of_features():
    images = make_images(12)
    groups = np.array(list("aabbccddeeff"))
    pairs = ImagePairs(images, [[10, 2], [2, 7], [7, 10], [4, 2]], image_groups=groups)
    transformed = features_of().fit_transform(pairs)
    assert isinstance(transformed, ImagePairs)
    assert transformed.images.shape[0] == 4  # of the others none is kept
    assert list(transformed.image_groups) == ["b", "c", "d", "f"]
    expected = by_hand(images)
    for side in (0, 1):
        assert_close(transformed.images[transformed.index[:, side]], expected[pairs.index[:, side]])


def test_images_of_no_pair_are_not_read(tmp_path):
    images = make_images(12) / np.float32(255)
    index = [[10, 2], [2, 7], [7, 10], [4, 2]]
    expected = features_of().fit_transform(ImagePairs(images, index))
    poisoned = np.lib.format.open_memmap(tmp_path / "i.npy", "w+", np.float32, images.shape)
    poisoned[:] = np.nan
    used = [2, 4, 7, 10]
    poisoned[used] = images[used]
    poisoned = np.load(tmp_path / "i.npy", mmap_mode="r")
    for options in ({}, {"memory": str(tmp_path / "store")}):
        transformed = features_of(**options).fit_transform(ImagePairs(poisoned, index))
        assert np.array_equal(transformed.images, expected.images)
        assert np.array_equal(transformed.index, expected.index)
    with pytest.raises(ValueError, match=r"0\.\.1, got nan"):
        features_of().fit_transform(poisoned)


@pytest.mark.parametrize("as_folder", [True, False])
def test_files_of_different_sizes(tmp_path, as_folder):
    paths, decoded = [], []
    for i, (height, width) in enumerate([(30, 50), (24, 24), (61, 40)]):
        decoded.append(np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8))
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(decoded[-1]).save(paths[-1])
    features = features_of().fit_transform(tmp_path if as_folder else paths)
    assert_close(features, np.concatenate([by_hand(image[None]) for image in decoded]))
    if not as_folder:
        in_other_order = features_of().fit_transform([str(path) for path in paths[::-1]])
        assert np.array_equal(in_other_order, features[::-1])
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    with pytest.raises(ValueError, match=r"1\.png"):
        features_of().fit_transform(paths)


def test_paths_in_a_column_of_a_table(tmp_path):
    images = make_images(3)
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    column = pd.Series(paths, index=[7, 5, 3])
    extractor = features_of().fit(images)
    np.testing.assert_array_equal(extractor.transform(column), extractor.transform(images))


def test_a_read_only_memmap_is_not_written_to(tmp_path):
    images = make_images(10)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(features_of().fit_transform(mapped), features_of().fit_transform(images))
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)


@pytest.mark.parametrize(
    ("reference", "colour"), [*COLOURS.items(), ((0.2, 0.4, 1.0), (0.2, 0.4, 1.0))]
)
@pytest.mark.parametrize("memory", [True, False])
def test_the_activations_of_a_blank_reference_are_subtracted(tmp_path, reference, colour, memory):
    images = make_images(9)
    blank = np.broadcast_to(np.asarray(colour, dtype=float), (1, SIZE, SIZE, 3))
    options = {"memory": str(tmp_path)} if memory else {}
    activations = features_of("second", reference=reference, **options)
    for _ in range(2):  # what is kept is not changed by the subtraction
        features = activations.fit_transform(images)
        assert_close(features, by_hand(images) - by_hand(blank))
    assert not activations.transform(np.ascontiguousarray(blank)).any()
    pairs = ImagePairs(images, [[0, 4], [8, 4]])
    assert np.array_equal(activations.transform(pairs).images, features[[0, 4, 8]])


def test_the_mean_reference_is_that_of_the_images_of_fit():
    images = make_images(9)
    activations = features_of("second", reference="mean").fit(ImagePairs(images, [[0, 4], [8, 4]]))
    mean = activations.preprocessing_(images[[0, 4, 8]]).double().mean(0, keepdim=True).float()
    torch.testing.assert_close(activations.mean_image_, mean, rtol=0, atol=1e-6)
    with torch.no_grad():
        blank = activations.trunk_(mean)[0].flatten(1).numpy()
    assert_close(activations.transform(images), by_hand(images) - blank)


def test_each_image_has_the_reference_of_its_own_background(tmp_path):
    images = make_images(4)
    pairs = ImagePairs(images, [[0, 3], [2, 3]], background=["white", "grey", "grey", "white"])
    for options in ({}, {"memory": str(tmp_path)}):
        features = features_of("second", reference="background", **options).fit_transform(pairs)
        white, grey = (
            features_of("second", reference=c).fit_transform(images)
            for c in COLOURS
            if c != "black"
        )
        assert_close(features.images, np.stack([white[0], grey[2], white[3]]))
    with pytest.raises(ValueError, match="background colour of every image"):
        features_of("second", reference="background").fit_transform(images)


@pytest.mark.parametrize("memory", [True, False])
def test_maps_are_averaged_to_the_size_of_spatial_pooling(tmp_path, memory):
    images = make_images(5)
    options = {"memory": str(tmp_path)} if memory else {}
    whole = features_of(["second", "head"], **options).fit(images)
    pooled = features_of(["second", "head"], spatial_pooling=2, **options).fit(images)
    with torch.no_grad():
        maps, head = whole.trunk_(whole.preprocessing_(images))
    maps = nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
    expected = np.hstack([maps.numpy(), head.numpy()])
    assert pooled.n_features_out_ == expected.shape[1]
    for _ in range(2):
        assert whole.transform(images).shape == (5, whole.n_features_out_)
        assert_close(pooled.transform(images), expected)


@pytest.mark.parametrize("reference", ["green", 1.5, -0.1, (1, 1), (0, 0, np.nan)])
def test_an_unknown_reference_is_refused(reference):
    with pytest.raises(ValueError, match="reference must be 'auto', 'background', 'mean', one of"):
        features_of(reference=reference).fit(None)


def test_transform_needs_fit():
    with pytest.raises(NotFittedError):
        features_of().transform(make_images(3))


@pytest.mark.parametrize("shape", [(4, 24, 24), (4, 24, 24, 4), (4, 3, 24, 24)])
def test_what_is_no_photograph_is_refused(shape):
    with pytest.raises(ValueError, match="a network needs RGB images"):
        features_of().fit_transform(np.zeros(shape, np.uint8))


# In scikit-learn's tools


@pytest.fixture(scope="module")
def problem():
    images = make_images(15, seed=3)
    index = np.column_stack(np.triu_indices(15, 1))
    return ImagePairs(images, index), np.random.default_rng(4).random(len(index))


def baseline(**options):
    return make_pipeline(features_of(**options), PerImage(StandardScaler()), FixedRSARegressor())


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_over_layers_equals_scoring_by_hand(problem, tmp_path, n_jobs):
    pairs, y = problem
    cv = ImageKFold(3, shuffle=True, random_state=0)
    layers = ["first", "second", ["first", "head"]]
    search = GridSearchCV(
        baseline(memory=str(tmp_path)),
        {"layeractivations__layers": layers},
        cv=cv,
        scoring=rdm_spearman_scorer,
        n_jobs=n_jobs,
        refit=False,
    ).fit(pairs, y)
    for i, layer in enumerate(layers):
        names = [layer] if isinstance(layer, str) else layer
        features = np.concatenate([by_hand(pairs.images, name) for name in names], axis=1)
        for fold, (train, test) in enumerate(cv.split(pairs)):
            scaler = StandardScaler().fit(features[pairs[train].used_images])
            scaled = scaler.transform(features)
            first, second = pairs.index[test].T
            r = [
                np.corrcoef(scaled[a], scaled[b])[0, 1] for a, b in zip(first, second, strict=True)
            ]
            expected = rdm_spearman_score(y[test], 1 - np.array(r))
            score = search.cv_results_[f"split{fold}_test_score"][i]
            assert score == pytest.approx(expected, abs=1e-9)


def test_held_out_images_do_not_touch_training(problem):
    pairs, y = problem
    train, test = next(ImageKFold(3).split(pairs))
    held_out = np.setdiff1d(pairs.used_images, pairs[train].used_images)
    poisoned = pairs.images.copy()
    poisoned[held_out] = 255 - poisoned[held_out]
    clean = baseline().fit(pairs[train], y[train])
    other = baseline().fit(ImagePairs(poisoned, pairs.index)[train], y[train])
    assert len(held_out) >= 3
    assert np.array_equal(clean[1].transformer_.mean_, other[1].transformer_.mean_)
    assert np.array_equal(clean.predict(pairs[test]), other.predict(pairs[test]))
    assert not np.array_equal(
        clean.predict(pairs[test]), clean.predict(ImagePairs(poisoned, pairs.index)[test])
    )


def sum_of_images(pairs):
    return type(pairs.images).__name__, float(pairs.images.sum())


def test_features_in_a_file_can_be_sent_to_worker_processes(monkeypatch, problem):
    monkeypatch.setattr(_activations, "MEMORY_BUDGET", 1000)
    features = features_of().fit_transform(problem[0])
    expected = ("memmap", float(features.images.sum()))
    assert sum_of_images(features) == expected
    results = Parallel(n_jobs=2)(delayed(sum_of_images)(p) for p in (features, features[:5]))
    assert results == [expected, expected]


# The store on disk


def stores(folder):
    return sorted((Path(folder) / "sklearn_rdm").iterdir())


def n_stored(store):
    """Stored images, whose digests must be of different images."""
    digests = (store / "digests").read_bytes()
    assert len(digests) % 16 == 0
    distinct = {digests[i : i + 16] for i in range(0, len(digests), 16)}
    assert len(distinct) == len(digests) // 16
    return len(distinct)


def test_what_is_kept_is_not_computed_again(tmp_path, computed):
    images = make_images(30)
    expected = features_of().fit_transform(images)
    computed.clear()
    activations = features_of(memory=str(tmp_path))
    assert np.array_equal(activations.fit_transform(images[:20]), expected[:20])
    assert computed == [20]
    assert np.array_equal(activations.fit_transform(images[:20]), expected[:20])
    assert computed == [20]
    other = features_of(memory=Memory(str(tmp_path), verbose=0))
    assert np.array_equal(other.fit_transform(images[10:]), expected[10:])  # ten are new
    assert computed == [20, 10]
    assert np.array_equal(other.transform(images[::-3]), expected[::-3])
    assert computed == [20, 10]
    (store,) = stores(tmp_path)
    assert n_stored(store) == 30


def test_images_are_found_by_content_under_any_row(tmp_path, computed):
    images = make_images(12)
    activations = features_of(memory=str(tmp_path)).fit(None)
    first = activations.transform(ImagePairs(images, [[0, 1], [1, 5]]))
    assert computed == [3]
    moved = np.concatenate([make_images(4, seed=9), images[5:6], images[:2]])
    again = activations.transform(ImagePairs(moved, [[5, 6], [6, 4]]))
    assert computed == [3]
    assert np.array_equal(again.images[again.index], first.images[first.index])
    doubled = activations.transform(np.concatenate([images, images]))
    assert computed == [3, 9]  # equal images once
    assert np.array_equal(doubled[:12], doubled[12:])
    as_float = activations.transform(images[:2] / 255)
    assert computed == [3, 9, 2]  # resized as floats, they may differ
    assert_close(as_float, by_hand(images[:2] / 255))


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"layer": "first"},
        {"layer": ["second", "first"]},
        {"image_size": 20},
        {"image_size": (24, 25)},
        {"backbone": partial(Small, stride=1)},
    ],
    ids=str,
)
def test_other_networks_layers_and_preprocessing_are_kept_apart(tmp_path, computed, change):
    images = make_images(5)
    features_of(memory=str(tmp_path)).fit_transform(images)
    computed.clear()
    kept = features_of(memory=str(tmp_path), **change).fit_transform(images)
    assert computed == [5]
    assert len(stores(tmp_path)) == 2
    assert np.array_equal(kept, features_of(**change).fit_transform(images))


@pytest.mark.parametrize("reference", ["white", None])
def test_the_reference_and_copies_of_the_network_share_what_is_kept(tmp_path, computed, reference):
    images = make_images(5)
    features_of(memory=str(tmp_path)).fit_transform(images)
    computed.clear()
    features_of(memory=str(tmp_path), reference=reference).fit_transform(images)
    assert computed == ([1] if reference else [])  # the reference itself
    assert len(stores(tmp_path)) == 1


def test_a_memory_may_be_a_path(tmp_path):
    images = make_images(3)
    kept = features_of(memory=tmp_path).fit_transform(images)
    assert len(stores(tmp_path)) == 1
    assert np.array_equal(kept, features_of().fit_transform(images))


def test_an_unusable_memory_is_refused():
    class Fake:
        def cache(self, function):
            return function

    with pytest.raises(TypeError, match="memory must be a folder or a joblib.Memory, got <"):
        features_of(memory=Fake()).fit_transform(make_images(2))


def test_weights_are_hashed_only_for_a_memory(monkeypatch, tmp_path):
    hashed = []
    monkeypatch.setattr(Trunk, "key", lambda _, part: hashed.append(part) or "key")
    features_of().fit_transform(make_images(2))
    features_of(memory=Memory(None)).fit_transform(make_images(2))
    assert hashed == []
    features_of(memory=str(tmp_path)).fit_transform(make_images(2))
    assert hashed == ["whole"]


def cut_short(path, n_bytes):
    path.write_bytes(path.read_bytes()[:-n_bytes])


# What a killed process, or a disk that lost its last writes, may leave
DAMAGES = {
    "half a digest": (lambda store: cut_short(store / "digests", 7), 1),
    "a digest less": (lambda store: cut_short(store / "digests", 16), 1),
    "no digests": (lambda store: (store / "digests").unlink(), 10),
    "empty digests": (lambda store: (store / "digests").write_bytes(b""), 10),
    "half a row of activations": (lambda s: cut_short(s / "activations.float32", 100), 1),
    "a row and a half less": (lambda s: cut_short(s / "activations.float32", 3000), 2),
    "no activations": (lambda store: (store / "activations.float32").unlink(), 10),
    "more activations than digests": (
        lambda store: (store / "activations.float32").open("ab").write(b"x" * 5000),
        0,
    ),
    "half a shape": (lambda store: (store / "shape.json").write_text("[38"), 10),
    "no shape": (lambda store: (store / "shape.json").unlink(), 10),
    "nothing but a lock": (lambda s: [f.unlink() for f in s.iterdir() if f.name != "lock"], 10),
}


@pytest.mark.parametrize(("damage", "n_lost"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_gives_right_values_and_is_mended(tmp_path, computed, damage, n_lost):
    images = make_images(13)
    expected = features_of().fit_transform(images)
    assert expected.shape[1] == 384  # bytes of a row: 1536
    kept = features_of(memory=str(tmp_path))
    kept.fit_transform(images[:10])
    (store,) = stores(tmp_path)
    damage(store)
    computed.clear()
    assert np.array_equal(kept.transform(images[2:]), expected[2:])
    n_again = min(n_lost, 8)  # the first two images were not asked for
    assert computed == [3 + n_again]
    assert np.array_equal(kept.transform(images), expected)
    assert n_stored(store) == 13
    assert (store / "activations.float32").stat().st_size == 13 * 1536


KILLED = """
import os, signal, sys, time
import numpy as np
from pathlib import Path
from sklearn_rdm._network import _activations as A

folder, images = Path(sys.argv[1]), np.load(sys.argv[2])
write_at, write_text = A._write_at, Path.write_text
A.STORED_AT_ONCE = 3

def compute(rows):
    return 2 * images[rows].astype(np.float32)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_write(number, share):
    calls = []
    def write(path, position, content):
        calls.append(path)
        if len(calls) == number:
            write_at(path, position, bytes(content)[: int(share * len(bytes(content)))])
            die()
        write_at(path, position, content)
    A._write_at = write

def kill_in_shape():
    def write(path, text):
        write_text(path, text[:1])
        die()
    Path.write_text = write

def run(store, prepare):
    pid = os.fork()
    if pid == 0:
        prepare()
        A.stored_rows(store, images, np.arange(len(images)), compute)
        os._exit(0)
    return pid

def wait(pid):
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

for name, prepare in {
    "shape": kill_in_shape,
    "first_row": lambda: kill_in_write(1, 0.5),
    "activations": lambda: kill_in_write(5, 0.5),
    "between": lambda: kill_in_write(5, 1),
    "digests": lambda: kill_in_write(6, 0.6),
}.items():
    assert wait(run(folder / name, prepare)), name

def one_by_one():
    A.STORED_AT_ONCE = 1

kills = 0
for attempt in range(1, 9):  # from outside, wherever it is
    pid = run(folder / "anywhere", one_by_one)
    time.sleep(0.003 * attempt)
    os.kill(pid, signal.SIGKILL)
    kills += wait(pid)
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_process_was_killed_while_it_wrote_the_store_is_right(tmp_path):
    images = np.random.default_rng(0).random((60, 50)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "PYTHONPATH": str(Path(sklearn_rdm.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "stores"), str(tmp_path / "images.npy")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1  # at least one was killed before its end
    left = {}
    for store in sorted((tmp_path / "stores").iterdir()):
        again = []

        def compute(rows, again=again):
            again.extend(rows)
            return 2 * images[rows]

        stored, places = stored_rows(store, images, np.arange(60), compute)
        assert np.array_equal(stored[places], 2 * images)
        assert n_stored(store) == 60
        left[store.name] = 60 - len(again)
    anywhere = left.pop("anywhere")
    # Three images at a time: two writes, of activations and of digests, for each
    assert left == {"shape": 0, "first_row": 0, "activations": 6, "between": 6, "digests": 7}
    assert 0 <= anywhere <= 60


def transform_some(memory, images, rows):
    return features_of(memory=memory).fit_transform(images[rows])


def test_two_processes_at_once_compute_each_image_once(tmp_path, monkeypatch):
    images = make_images(60)
    expected = features_of().fit_transform(images)
    rows = [np.arange(40), np.arange(59, 19, -1), np.arange(0, 60, 2), np.arange(60)]
    results = Parallel(n_jobs=2)(
        delayed(transform_some)(str(tmp_path), images, some) for some in rows
    )
    for some, features in zip(rows, results, strict=True):
        assert np.array_equal(features, expected[some])
    (store,) = stores(tmp_path)
    assert n_stored(store) == 60
    assert (store / "activations.float32").stat().st_size == expected.nbytes


def test_large_sets_are_stored_piece_by_piece(tmp_path, computed, monkeypatch):
    monkeypatch.setattr(_activations, "STORED_AT_ONCE", 16)
    images = make_images(40)
    features = features_of(memory=str(tmp_path)).fit_transform(images)
    assert computed == [16, 16, 8]
    assert np.array_equal(features, features_of().fit_transform(images))


def test_what_fails_midway_keeps_what_was_done(tmp_path, monkeypatch):
    monkeypatch.setattr(_activations, "STORED_AT_ONCE", 5)
    images = make_images(20)

    def fail(rows):
        if 12 in rows:
            raise KeyboardInterrupt
        return by_hand(images[rows])

    with pytest.raises(KeyboardInterrupt):
        stored_rows(tmp_path, images, np.arange(20), fail)
    assert n_stored(tmp_path) == 10
    rest = []

    def compute(rows):
        rest.extend(rows)
        return by_hand(images[rows])

    stored, places = stored_rows(tmp_path, images, np.arange(20), compute)
    assert rest == list(range(10, 20))
    assert_close(stored[places], by_hand(images))


# What a frozen prefix makes of images


def frozen(freeze_up_to, layer="head"):
    backbone = load_backbone(Small, None, image_size=SIZE, random_state=0)
    return Trunk(backbone, [layer], freeze_up_to=freeze_up_to), backbone.preprocessing


@pytest.mark.parametrize("freeze_up_to", [None, "first", "second"])
@pytest.mark.parametrize("memory", [True, False])
def test_kept_inputs_of_the_suffix_give_the_whole_networks_result(tmp_path, freeze_up_to, memory):
    images, rows = make_images(20), np.array([3, 4, 9, 11, 12, 13, 15, 16, 19])
    trunk, preprocessing = frozen(freeze_up_to)
    for _ in range(2):
        inputs, places = keep_frozen(
            trunk, images, rows, preprocessing, memory=str(tmp_path) if memory else None
        )
        kept = np.array(inputs[places])
        assert (
            kept.shape[1:]
            == {
                None: (3, SIZE, SIZE),
                "first": (4, 10, 10),
                "second": (6, 8, 8),
            }[freeze_up_to]
        )
        with torch.no_grad():
            assert_close(
                trunk.suffix(torch.from_numpy(kept))[0].numpy(), by_hand(images, "head")[rows]
            )
    assert (tmp_path / "sklearn_rdm").exists() == (memory and freeze_up_to is not None)


def test_candidates_and_folds_share_the_activations_of_a_frozen_prefix(tmp_path, computed):
    images = make_images(20)
    for layer in ("head", "pool", "second"):
        for rows in (np.arange(15), np.arange(5, 20)):
            trunk, preprocessing = frozen("relu", layer)
            keep_frozen(trunk, images, rows, preprocessing, memory=str(tmp_path))
    assert computed == [15, 5]
    keep_frozen(*frozen("first")[:1], images, rows, preprocessing, memory=str(tmp_path))
    assert computed == [15, 5, 15]  # another cut
    assert len(stores(tmp_path)) == 2


def test_photographs_over_the_budget_are_decoded_each_time(monkeypatch):
    images, rows = make_images(20), np.array([4, 9, 11])
    trunk, preprocessing = frozen(None)
    at_once, places = keep_frozen(trunk, images, rows, preprocessing)
    expected = at_once[places]
    monkeypatch.setattr(_activations, "MEMORY_BUDGET", 1000)
    inputs, places = keep_frozen(trunk, images, rows, preprocessing)
    assert not isinstance(inputs, np.ndarray)
    assert np.array_equal(inputs[places], expected)
    assert np.array_equal(inputs[places[[2, 0]]], expected[[2, 0]])


def test_auto_is_settled_in_fit():
    images = make_images(4)
    stated = ImagePairs(images, background="white")
    features = features_of(reference="auto").fit(stated)
    assert features.reference_ == "background"
    with pytest.raises(ValueError, match="needs the background colour"):
        features.transform(images)
    features = features_of(reference="auto").fit(images)
    assert features.reference_ is None
    np.testing.assert_array_equal(features.transform(stated).images, features.transform(images))


def test_pairs_of_two_images_or_two_paths_each_are_pairs(tmp_path):
    images = make_images(4)
    pairs = ImagePairs(images)
    expected = features_of().fit_transform(pairs)
    found = features_of().fit_transform(images[pairs.index])
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.index, pairs.index)
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(4)])
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    found = features_of().fit_transform(paths[pairs.index])
    np.testing.assert_array_equal(found.images, expected.images)


def test_networks_are_loaded_in_threads_as_alone():
    images = make_images(4)
    seeds = [0, 1, 2, 3]

    def compute(seed):
        return LayerActivations(
            "alexnet", "conv2", weights=None, image_size=63, random_state=seed
        ).fit_transform(images)

    alone = [compute(seed) for seed in seeds]
    together = Parallel(4, prefer="threads")(delayed(compute)(seed) for seed in seeds)
    np.testing.assert_array_equal(together, alone)


def test_activations_of_a_gpu_are_kept_apart(tmp_path):
    trunk = Trunk(load_backbone(Small), ["second"])
    folders = {
        device: _activations.store_folder(tmp_path, trunk, "whole", "", device)
        for device in ("cpu", "cuda", "cuda:1")
    }
    assert folders["cpu"] != folders["cuda"] == folders["cuda:1"]
