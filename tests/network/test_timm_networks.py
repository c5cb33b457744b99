"""Networks of timm by name, fed by timm's own configuration; downloads are mocked."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from sklearn_rdm import SiameseRDMRegressor
from sklearn_rdm._network._backbones import load_backbone
from tests.networks import make_images, make_pairs

timm = pytest.importorskip("timm")


@pytest.fixture
def hub(monkeypatch):
    """Asked for weights, the hub gives those of a network made with seed 5."""
    asked = []

    def load(model_id, *args, **kwargs):
        asked.append(model_id)
        torch.manual_seed(5)
        return timm.create_model(model_id.removeprefix("timm/")).state_dict()

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", load)
    return asked


def test_weights_of_a_name_are_asked_of_the_hub_and_loaded(hub):
    before = torch.get_rng_state()
    built = load_backbone("timm/resnet10t.c3_in1k", random_state=0)
    assert built.name == "timm/resnet10t.c3_in1k"
    assert hub == ["timm/resnet10t.c3_in1k"]
    torch.set_rng_state(before)
    torch.manual_seed(5)
    expected = timm.create_model("resnet10t").state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in built.network.state_dict().items())
    assert not built.network.training


def test_random_weights_and_files_ask_nobody(hub, tmp_path):
    random = load_backbone("timm/test_resnet", None, random_state=0)
    again = load_backbone("timm/test_resnet", None, random_state=0)
    assert torch.equal(random.network.conv1[0].weight, again.network.conv1[0].weight)
    torch.save(random.network.state_dict(), tmp_path / "w.pth")
    file = load_backbone("timm/test_resnet", tmp_path / "w.pth")
    assert file.state_dict.keys() == random.network.state_dict().keys()
    assert hub == []


def test_a_hub_that_cannot_be_reached_is_an_os_error(monkeypatch):
    def load(*args, **kwargs):
        raise RuntimeError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", load)
    with pytest.raises(OSError, match=r"timm/test_resnet could not be downloaded .*\(no route to"):
        load_backbone("timm/test_resnet")


# Centre crops of several shares and interpolations, a resize of both sides
CONFIGS = ["resnet18.a1_in1k", "resnet18.tv_in1k", "convnext_atto.d2_in1k", "xception41.tf_in1k"]
CONFIGS += ["convnext_nano.in12k_ft_in1k", "mobilenetv4_conv_small.e2400_r224_in1k", "test_vit"]
CONFIGS += ["convnext_tiny.fb_in22k_ft_in1k_384"]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shape", [(300, 420), (180, 150)])
def test_images_are_prepared_as_by_timms_own_transform(name, shape):
    rng = np.random.default_rng(0)
    # Far from black and white: PIL clips what bicubic overshoots, once for each axis.
    image = np.kron(rng.integers(64, 192, (10, 10, 3)), np.ones((40, 50, 1))).astype(np.uint8)
    image = np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))
    built = load_backbone(f"timm/{name}", None, random_state=0)
    config = timm.data.resolve_model_data_config(timm.create_model(name))
    expected = timm.data.create_transform(**config)(Image.fromarray(image))
    found = built.preprocessing(image[None])[0]
    assert found.shape == expected.shape
    level = 1 / 255 / torch.tensor(config["std"]).min()
    assert (found - expected).abs().max() <= 1.01 * level  # PIL rounds to bytes between the axes
    assert (found - expected).abs().mean() <= 0.2 * level


def test_factories_of_timm_are_fed_likewise():
    named = load_backbone("timm/resnet10t", None).preprocessing
    made = load_backbone(partial(timm.create_model, "resnet10t")).preprocessing
    assert named == made
    smaller = load_backbone(
        partial(timm.create_model, "vit_tiny_patch16_224", img_size=64, depth=1)
    )
    assert smaller.preprocessing.size == (64, 64)
    assert smaller.preprocessing.resized == (71,)  # timm crops 90 per cent


def test_networks_for_one_size_are_made_for_that_of_the_images():
    pairs, y = make_pairs(6, 64)
    net = SiameseRDMRegressor(
        "timm/vit_tiny_patch16_224", "blocks.0", weights=None, image_size=64, max_epochs=1
    )
    assert net.fit(pairs, y).embed(make_images(2, size=64)).shape == (2, 17 * 192)


@pytest.mark.parametrize(
    ("name", "weights", "match"),
    [
        ("resnet10t.c3_in1k", None, "network of timm: write 'timm/resnet10t.c3_in1k'"),
        ("vit_tiny_patch16_224", None, "write 'timm/vit_tiny_patch16_224'"),
        ("resnet1", None, r"unknown backbone 'resnet1'. Known: .*timm's as 'timm/"),
        ("timm/resnet10x", None, "timm has no network 'resnet10x'. Did you mean 'timm/resnet10t'"),
        ("timm/resnet10t.a1", None, "timm has no weights .* It has 'timm/resnet10t.c3_in1k'"),
        ("timm/resnet10t", "IMAGENET1K_V1", "the end of its name says which weights"),
        ("timm/resnet50_mlp", "DEFAULT", "none: set weights=None"),
    ],
)
def test_names_that_do_not_exist_say_how_to_go_on(hub, name, weights, match):
    with pytest.raises(ValueError, match=match):
        load_backbone(name, weights)


def test_images_that_timm_pads_are_resized_if_the_user_says_so(monkeypatch):
    config = {"crop_mode": "border", "input_size": (3, 64, 64), "crop_pct": 1.0}
    config |= {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
    monkeypatch.setattr("timm.data.resolve_model_data_config", lambda *_, **__: config)
    with pytest.raises(
        ValueError, match=r"padded \(crop mode 'border'\)\. Set image_size=\(64, 64"
    ):
        load_backbone("timm/test_resnet", None)
    assert load_backbone("timm/test_resnet", None, image_size=64).preprocessing.resized is None


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-rdm\[timm\]'"):
        load_backbone("timm/resnet10t")
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet10t'. Known"):
        load_backbone("resnet10t")
