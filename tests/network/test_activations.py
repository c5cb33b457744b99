import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations
from sklearn_rdm._network import _forward
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._pairs._images import COLOURS
from sklearn_rdm.metrics import rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage
from tests.networks import SIZE, assert_close, by_hand, features_of, make_images

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


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, "must be None, the name of a layer, or names of several, got 3"),
        (["second", 3], "names of several, got"),
        (["second", "first", "second"], "names a layer twice"),
    ],
)
def test_layers_that_are_no_names_raise_an_error(layers, message):
    with pytest.raises(ValueError, match=message):
        features_of(layers).fit(make_images(2))


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
    monkeypatch.setattr(_forward, "MEMORY_BUDGET", 1000)
    features = features_of().fit_transform(problem[0])
    expected = ("memmap", float(features.images.sum()))
    assert sum_of_images(features) == expected
    results = Parallel(n_jobs=2)(delayed(sum_of_images)(p) for p in (features, features[:5]))
    assert results == [expected, expected]


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
