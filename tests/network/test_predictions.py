"""Predictions of pairs and images, against numpy."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.exceptions import NotFittedError
from torchvision.models.feature_extraction import create_feature_extractor

from sklearn_rdm import ImagePairs
from tests.network.textbook import BACKBONES, BATCHES, initialised, plain_inputs, plain_network
from tests.networks import OneChannel, make_pairs, plain_state, same_bits, tiny_net


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


def test_pairs_may_be_arrays_or_paths(image_files):
    images, folder = image_files
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    paths = np.array([str(path) for path in sorted(folder.iterdir())])
    for given in (images[pairs.index], paths[pairs.index]):
        assert same_bits(tiny_net().fit(given, y), net)
        np.testing.assert_allclose(net.predict(given), net.predict(pairs), atol=1e-6)


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


@pytest.mark.parametrize("verb", ["predict", "transform", "embed"])
def test_unfitted_net_says_so(verb):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(tiny_net(), verb)(make_pairs()[0])


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
