"""Exported modules against ``embed`` and an untouched network."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from packaging.version import Version
from sklearn.exceptions import NotFittedError
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from sklearn_rdm import SiameseRDMRegressor
from tests.networks import make_pairs, on_backgrounds, tiny_net

ANY_NUMBER = ({0: torch.export.Dim.DYNAMIC},)
N_IMAGES = (1, 2, 5)
ROUNDING = 3e-6  # of the largest activation: another order of float32 sums


class Undecided(nn.Module):
    """Looks at the values: torch.fx cannot follow it, so that hooks read it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, 3)

    def forward(self, x):
        if x.shape[-1] < 8:
            raise ValueError
        return self.conv2(self.relu(self.conv1(x)))


def as_inputs(images):
    return torch.from_numpy(np.moveaxis(images, -1, 1).copy())


def fitted(**params):
    pairs, y = make_pairs()
    if params.get("reference") == "background":
        pairs = on_backgrounds(pairs)
    return tiny_net(**params).fit(pairs, y), pairs.images


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


CASES = {
    "plain": {},
    "pooled": {"spatial_pooling": 2},
    "two layers": {"layer": ["relu2", "relu3"]},
    "another read-out": {"read_out": "relu2"},
    "frozen": {"freeze_up_to": "relu1"},
    "grey": {"reference": "grey"},
    "mean": {"reference": "mean"},
    "resized": {"image_size": (44, 40)},
    "vector": {"layer": "fc"},
}


def export(module, photographs):
    return torch.export.export(module, (photographs[:2],), dynamic_shapes=ANY_NUMBER).module()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_it_embeds_any_number_of_photographs(name, dtype):
    net, images = fitted(**CASES[name])
    images = images if dtype == "uint8" else (images / 255).astype(np.float32)
    expected = net.embed(images)
    module, photographs = net.export_embedding(), as_inputs(images)
    close(module(photographs), expected)
    exported = export(module, photographs)
    for n in N_IMAGES:
        close(exported(photographs[:n]), expected[:n])


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.14"),
    reason="torch.export of 2.6 does not follow what reads by hooks; that of 2.14 does",
)
@pytest.mark.filterwarnings("ignore:Undecided cannot be cut")
def test_a_network_that_is_read_by_hooks():
    net, images = fitted(backbone=Undecided, layer="relu")
    exported = export(net.export_embedding(), as_inputs(images))
    for n in N_IMAGES:
        close(exported(as_inputs(images[:n])), net.embed(images[:n]))


@pytest.mark.filterwarnings("ignore:ViTModel cannot be cut")
@pytest.mark.parametrize("tokens", ["all", "cls", "mean"])
def test_a_transformer(tokens):
    transformers = pytest.importorskip("transformers")

    def vit():
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
        config = transformers.ViTConfig(
            **sizes, num_hidden_layers=2, image_size=48, patch_size=12, attn_implementation="eager"
        )
        return transformers.ViTModel(config, add_pooling_layer=False)

    net, images = fitted(backbone=vit, layer="layers.0", tokens=tokens)
    exported = export(net.export_embedding(), as_inputs(images))
    for n in N_IMAGES:
        close(exported(as_inputs(images[:n])), net.embed(images[:n]))


@pytest.mark.parametrize("weights", ["plain", "grey", "mean", "two layers", "pooled"])
def test_onnx_embeds_any_number_of_photographs(weights, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net, images = fitted(**CASES[weights])
    photographs, expected = as_inputs(images), net.embed(images)
    path = tmp_path / "embedding.onnx"
    torch.onnx.export(
        net.export_embedding(),
        (photographs[:2],),
        path,
        dynamo=True,
        dynamic_shapes=ANY_NUMBER,
        verbose=False,
    )
    session = runtime.InferenceSession(path)
    name = session.get_inputs()[0].name
    for n in N_IMAGES:
        close(session.run(None, {name: photographs[:n].numpy()})[0], expected[:n])


def test_onnx_resizes_as_the_network_does(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net, images = fitted(image_size=(44, 40))
    images = (images / 255).astype(np.float32)
    module, photographs = net.export_embedding(), as_inputs(images)
    path = tmp_path / "embedding.onnx"
    torch.onnx.export(
        module, (photographs[:2],), path, dynamo=True, dynamic_shapes=ANY_NUMBER, verbose=False
    )
    session = runtime.InferenceSession(path)
    name = session.get_inputs()[0].name
    found = session.run(None, {name: photographs.numpy()})[0]
    expected = net.embed(images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


RUN = """
import sys, torch
program = torch.export.load(sys.argv[1])
photographs = torch.load(sys.argv[2])
torch.save(program.module()(photographs), sys.argv[3])
assert not any(name.startswith(("sklearn", "skorch", "torchvision")) for name in sys.modules)
"""


def test_its_file_needs_nothing_but_pytorch(tmp_path):
    net, images = fitted(reference="background")
    module, photographs = net.export_embedding(background="white"), as_inputs(images)
    program = torch.export.export(module, (photographs[:2],), dynamic_shapes=ANY_NUMBER)
    names = [str(tmp_path / name) for name in ("program.pt2", "given.pt", "found.pt")]
    torch.export.save(program, names[0])
    torch.save(photographs, names[1])
    subprocess.run([sys.executable, "-c", RUN, *names], check=True, cwd=tmp_path)
    close(torch.load(names[2]), net.embed(images, background="white"))


def test_it_is_a_copy():
    pairs, y = make_pairs()
    net = tiny_net().fit(pairs, y)
    module, before = net.export_embedding(), net.embed(pairs)
    net.partial_fit(pairs, y)
    assert not np.array_equal(net.embed(pairs), before)
    close(module(as_inputs(pairs.images)), before)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_background_that_is_subtracted_must_be_given():
    net, images = fitted(reference="background")
    with pytest.raises(ValueError, match="needs the background colour"):
        net.export_embedding()
    module = net.export_embedding(background=(0.5, 0.2, 0.1))
    close(module(as_inputs(images)), net.embed(images, background=(0.5, 0.2, 0.1)))


@pytest.mark.parametrize("verb", ["export_network", "export_embedding"])
def test_an_unfitted_network_is_not_exported(verb):
    with pytest.raises(NotFittedError):
        getattr(tiny_net(), verb)()


# The backbone


def test_the_exported_network_is_whole_and_tuned(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    pairs, y = make_pairs()
    net = SiameseRDMRegressor(
        "resnet18", "layer2", weights=None, image_size=64, max_epochs=1, lr=0.01, random_state=0
    ).fit(pairs, y)
    safetensors.save_model(net.export_network(), tmp_path / "net.safetensors")
    plain = torchvision.models.resnet18()
    before = plain.layer4[0].conv1.weight.clone()
    plain.load_state_dict(safetensors.load_file(tmp_path / "net.safetensors"), strict=True)
    assert not torch.equal(plain.layer4[0].conv1.weight, before)
    read = create_feature_extractor(plain.eval(), {"layer2": "layer2"})
    with torch.no_grad():
        expected = read(net.module_.preprocessing(pairs.images))["layer2"].flatten(1)
    np.testing.assert_allclose(net.embed(pairs.images), expected, rtol=1e-4, atol=1e-5)
