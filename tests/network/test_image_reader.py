import numpy as np
import pytest
from PIL import Image

from sklearn_rdm import ImagePairs
from sklearn_rdm._models import _distances
from tests.network.textbook import _with
from tests.networks import (
    OneChannel,
    make_data,
    make_pairs,
    on_backgrounds,
    tiny_net,
)

REFERENCES = [None, "white", "grey", "black", (0.2, 0.5, 1.0), "mean", "background"]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize(
    "params",
    [{}, {"freeze_up_to": "relu1"}, {"batching": "pairs"}, {"read_out": "relu2"}],
    ids=str,
)
def test_prediction_of_a_trained_net_is_one_minus_corrcoef_of_embed(reference, params):
    pairs, y = make_pairs()
    pairs = on_backgrounds(pairs)
    net = tiny_net(reference=reference, **params).fit(pairs, y)
    rdm = 1 - np.corrcoef(net.embed(pairs).astype(float))
    np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=2e-5)
    np.testing.assert_allclose(net.transform(pairs), rdm, atol=2e-5)


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_embed_subtracts_the_activations_of_a_blank_image(colour):
    images = make_data().images
    names = {0.0: "black", 0.5: "grey", 1.0: "white"}
    without = tiny_net().initialize()
    blank = without.embed(np.full((1, 48, 48, 3), colour))
    for reference in (names[colour], (colour,) * 3):
        net = tiny_net(reference=reference).initialize()
        np.testing.assert_allclose(
            net.embed(images), without.embed(images) - blank, rtol=1e-5, atol=1e-6
        )


def test_a_matrix_may_be_written_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_distances, "BLOCK", 3)
    images = make_data(10).images
    net = tiny_net().initialize()
    in_file = net.transform(images, out=tmp_path / "rdm.npy")
    assert isinstance(in_file, np.memmap)
    assert not in_file.flags.writeable
    np.testing.assert_allclose(in_file, net.transform(images), rtol=0, atol=5e-6)
    np.testing.assert_array_equal(in_file, in_file.T)
    assert np.array_equal(np.load(tmp_path / "rdm.npy"), in_file)
    before = (tmp_path / "rdm.npy").read_bytes()
    monkeypatch.setattr(_distances, "_fill_strip", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.transform(images[:5], out=tmp_path / "rdm.npy")
    assert (tmp_path / "rdm.npy").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_rdm_is_symmetric_with_zero_diagonal_from_0_to_2():
    images = make_data(10).images
    images = np.concatenate([images, 255 - images])
    # Linear, and 0 for grey: an image and its negative have opposite activations.
    net = tiny_net(backbone=OneChannel, layer="conv", reference="grey").initialize()
    rdm = net.transform(images)
    assert rdm.dtype == np.float32
    assert rdm.shape == (20, 20)
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diagonal(rdm), 0)
    np.testing.assert_allclose(np.diagonal(rdm[:10, 10:]), 2, atol=1e-6)
    assert rdm.min() >= 0
    assert rdm.max() <= 2
    pairs = ImagePairs(images, np.column_stack(np.triu_indices(20, 1)))
    predicted = net.predict(pairs)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, rdm[np.triu_indices(20, 1)], atol=1e-6)


def test_blocks_of_large_matrices_do_not_show(monkeypatch):
    net = tiny_net().fit(*make_pairs())
    pairs, _ = make_pairs(10)
    rdm, predicted = net.transform(pairs), net.predict(pairs)
    monkeypatch.setattr(_distances, "BLOCK", 4)
    np.testing.assert_allclose(net.transform(pairs), rdm, atol=5e-6)
    np.testing.assert_array_equal(net.transform(pairs), net.transform(pairs).T)
    np.testing.assert_allclose(net.predict(pairs), predicted, atol=5e-6)
    np.testing.assert_allclose(net.predict(pairs[::-7]), predicted[::-7], atol=5e-6)


@pytest.mark.parametrize("layer", ["relu3", "fc"])
def test_embedding_does_not_depend_on_the_company(layer):
    net = tiny_net(layer=layer).fit(*make_pairs())
    images = make_data(20).images
    together = net.embed(images)
    for rows in ([7], [19, 2, 5], range(3, 17)):
        np.testing.assert_array_equal(net.embed(images[rows]), together[rows])


def test_images_may_be_files_a_folder_a_memmap_or_pairs(image_files):
    images, folder = image_files
    net = tiny_net().fit(*make_pairs())
    rdm = net.transform(images)
    paths = sorted(folder.iterdir())
    file = folder.parent / "images.npy"
    np.save(file, images)
    for given in (
        folder,
        str(folder),
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths]),
        np.load(file, mmap_mode="r"),
        make_pairs()[0],
        images / 255,
        (images / 255).tolist(),
    ):
        np.testing.assert_allclose(net.transform(given), rdm, atol=1e-6)
        np.testing.assert_allclose(net.embed(given), net.embed(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda images: images[..., 0], "RGB"),
        (lambda images: images[0], "RGB"),
        (lambda images: images.astype(np.uint16), "uint8 or float"),
        (lambda images: images.astype(float), "divide by 255"),
        (lambda images: _with(images / 255, (2, 5, 5, 0), np.nan), "image 2 holds NaN"),
        (lambda images: [], "empty"),
        (lambda images: "no such folder", "'no such folder' is not a folder"),
        (lambda images: ["no such file"], "'no such file' cannot be read"),
        (lambda images: None, "images must be one numeric array"),
    ],
)
def test_images_to_transform_are_checked(change, match):
    net = tiny_net().fit(*make_pairs())
    images = make_data().images
    rdm = net.transform(images)
    for verb in (net.transform, net.embed):
        with pytest.raises(ValueError, match=match):
            verb(change(images))
    np.testing.assert_array_equal(net.transform(images), rdm)


@pytest.mark.parametrize("as_paths", [False, True])
def test_transform_and_embed_look_frozen_activations_up(tmp_path, monkeypatch, as_paths):
    images = make_data(6).images
    if as_paths:
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / f"{number}.png")
    source = sorted(map(str, tmp_path.glob("*.png"))) if as_paths else images
    net = tiny_net(freeze_up_to="relu2", max_epochs=1).fit(*make_pairs())
    expected = net.transform(source), net.embed(source)
    net.set_params(memory=str(tmp_path / "memory"))
    forwarded, prefix = [], net.module_.trunk.prefix
    monkeypatch.setattr(
        net.module_.trunk, "prefix", lambda inputs: forwarded.append(1) or prefix(inputs)
    )
    for again in range(2):
        forwarded.clear()
        np.testing.assert_array_equal(net.transform(source), expected[0])
        np.testing.assert_array_equal(net.embed(source), expected[1])
        assert bool(forwarded) == (again == 0)
