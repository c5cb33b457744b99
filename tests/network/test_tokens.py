"""Class tokens and patches of transformers, against the tokens that hooks see."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.model_selection import ParameterGrid
from torch import nn
from torchvision.models import VisionTransformer

from sklearn_rdm import LayerActivations, LayerEpochSearchCV
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm.model_selection import ImageKFold
from tests.networks import make_images, make_pairs, tiny_net

# As many patches as channels: the shape alone does not tell which axis counts tokens.
TINY = partial(VisionTransformer, 64, 16, 2, 2, 16, 32)
BLOCK = "encoder.layers.encoder_layer_1"


def timm_network(name, **options):
    timm = pytest.importorskip("timm")
    return partial(timm.create_model, name, **options)


def transformer(name, **options):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        image_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, **options
    )
    return partial(getattr(transformers, f"{name}Model"), config)


class Patches(nn.Module):
    """Patches without a convolution, and ``n`` tokens that have no telling name before them."""

    def __init__(self, n=1, first=nn.Identity):
        super().__init__()
        self.linear, self.first = nn.Linear(3 * 16 * 16, 24), first()
        self.start = nn.Parameter(torch.randn(1, n, 24))
        self.mix = nn.TransformerEncoderLayer(24, 2, 32, 0.0, batch_first=True)

    def forward(self, x):
        patches = nn.functional.unfold(x, 16, stride=16).transpose(1, 2)
        start = self.start.expand(x.shape[0], -1, -1)
        return self.mix(self.first(torch.cat([start, self.linear(patches)], dim=1)))


class Behind(Patches):
    """The other tokens stand behind the patches."""

    def forward(self, x):
        patches = nn.functional.unfold(x, 16, stride=16).transpose(1, 2)
        start = self.start.expand(x.shape[0], -1, -1)
        return self.mix(self.first(torch.cat([self.linear(patches), start], dim=1)))


NETWORKS = {  # layer, tokens before the patches, whether the first is a class token
    "torchvision": (lambda: TINY, BLOCK, 1, True),
    "norm": (lambda: TINY, "encoder.ln", 1, True),
    "timm": (partial(timm_network, "test_vit", img_size=64), "blocks.2", 1, True),
    "registers": (partial(timm_network, "test_vit4", img_size=64), "blocks.2", None, None),
    "gap": (partial(timm_network, "test_vit2", img_size=64), "blocks.2", 1, False),
    "dino": (
        partial(timm_network, "vit_small_patch14_reg4_dinov2", img_size=56, depth=2),
        "blocks.1",
        5,
        True,
    ),
    "distilled": (
        partial(timm_network, "deit_tiny_distilled_patch16_224", img_size=64, depth=2),
        "blocks.1",
        2,
        True,
    ),
    "mixer": (partial(timm_network, "mixer_s32_224", img_size=64), "blocks.1", 0, False),
    "ViT": (partial(transformer, "ViT", intermediate_size=32), "layers.1", 1, True),
    "CLIP": (
        partial(transformer, "CLIPVision", intermediate_size=32, patch_size=16),
        "encoder.layers.1",
        1,
        True,
    ),
    "DINOv2": (
        partial(transformer, "Dinov2WithRegisters", num_register_tokens=4, patch_size=16),
        "encoder.layer.1",
        5,
        True,
    ),
    "own": (lambda: Patches, "mix", 1, True),
    "own, two": (lambda: partial(Patches, 2), "mix", 2, False),
}


def hooked(factory, layer, images, size):
    """Tokens (n_images, n_tokens, n_channels) of the untouched network."""
    backbone, seen = load_backbone(factory, image_size=size, random_state=0), []
    modules = dict(backbone.network.named_modules())
    path = layer if layer in modules else next(n for n in modules if n.endswith(layer))
    modules[path].register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        backbone.network(backbone.preprocessing(images))
    out = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return path, out.numpy(), isinstance(seen[0], tuple)


@pytest.mark.filterwarnings("ignore:.*cannot be cut")
@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "registers"])
def test_class_token_and_mean_of_patches_are_the_networks_own(name):
    make, layer, n_prefix, has_class = NETWORKS[name]
    factory, images = make(), make_images(3, size=64)
    size = 56 if name == "dino" else 64
    path, right, is_tuple = hooked(factory, layer, images, size)
    path += "[0]" * is_tuple
    read = partial(LayerActivations, factory, path, image_size=size, random_state=0)
    mean = read(tokens="mean").fit_transform(images)
    np.testing.assert_allclose(mean, right[:, n_prefix:].mean(axis=1), atol=1e-5)
    everything = read(tokens="all").fit_transform(images)
    np.testing.assert_allclose(everything, right.reshape(3, -1), atol=1e-5)
    if has_class:
        cls = read(tokens="cls").fit_transform(images)
        np.testing.assert_allclose(cls, right[:, 0], atol=1e-5)
    else:
        with pytest.raises(ValueError, match="none is known to be one"):
            read(tokens="cls").fit(images)


def test_tokens_that_are_not_told_apart_are_stated_or_refused():
    images = make_images(3, size=64)
    options = {"image_size": 64, "random_state": 0, "tokens": "mean"}
    for factory in (partial(Patches, 1, Mixed), Behind):
        with pytest.raises(ValueError, match=r"State it as (layout|n_prefix_tokens)"):
            LayerActivations(factory, "mix", **options).fit(images)
    stated = LayerActivations(
        partial(Patches, 1, Mixed), "mix", layout="tokens", n_prefix_tokens=1, **options
    )
    _, right, _ = hooked(partial(Patches, 1, Mixed), "mix", images, 64)
    found = stated.fit_transform(images)
    np.testing.assert_allclose(found, right[:, 1:].mean(axis=1), atol=1e-5)


class Mixed(nn.Module):
    """Lets each token see the image before anything else has seen the tokens."""

    def forward(self, x):
        return x + x.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("factory", [nn.Flatten, partial(nn.Flatten, 2)])
def test_three_axes_are_not_always_tokens(factory):
    """A flattened map has its channels first."""
    network = partial(nn.Sequential, nn.Conv2d(3, 12, 8, 8), nn.ReLU(), factory())
    images = make_images(3, size=64)
    read = LayerActivations(network, "2", image_size=64, tokens="mean", random_state=0)
    if factory is nn.Flatten:
        assert read.fit_transform(images).shape == (3, 768)
    else:
        with pytest.raises(ValueError, match="tokens='mean' needs to know which axes"):
            read.fit(images)


def test_training_reads_the_token_that_predicts():
    pairs, y = make_pairs(8, 64)
    options = {"backbone": TINY, "layer": BLOCK, "image_size": 64}
    rdms = []
    for tokens in ("cls", "mean"):
        net = tiny_net(tokens=tokens, **options).fit(pairs, y)
        _, right, _ = hooked(net.export_network, BLOCK, pairs.images, 64)
        right = right[:, 0] if tokens == "cls" else right[:, 1:].mean(axis=1)
        np.testing.assert_allclose(net.embed(pairs.images), right, atol=1e-5)
        rdms.append(net.transform(pairs.images))
        np.testing.assert_allclose(rdms[-1], 1 - np.corrcoef(right), atol=1e-4)
    assert not np.allclose(*rdms, atol=1e-2)
    with pytest.raises(ValueError, match="tokens was 'mean' when the network was built"):
        net.set_params(tokens="cls").partial_fit(pairs, y)


def test_a_search_chooses_tokens_and_layer():
    pairs, y = make_pairs(9, 64)
    net = tiny_net(backbone=TINY, layer=BLOCK, image_size=64)
    layers = ["encoder.layers.encoder_layer_0", BLOCK]
    grid = {"tokens": ["cls", "mean", "all"]}
    search = LayerEpochSearchCV(net, layers, param_grid=grid, cv=ImageKFold(3)).fit(pairs, y)
    assert search.cv_results_["params"] == list(ParameterGrid(grid))
    scores = search.cv_results_["scores"]
    assert np.isfinite(scores).all()
    assert len({each.tobytes() for each in scores}) == 3
    assert search.best_estimator_.tokens == search.best_params_["tokens"]
