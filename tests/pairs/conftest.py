import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import squareform

from sklearn_rdm import ImagePairs


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def pairs(images):
    return ImagePairs.from_rdms(images, squareform(np.arange(1.0, 7)))[0]


@pytest.fixture
def image_files(tmp_path, images):
    for name, image in zip(["d.png", "a.png", "c.bmp", "b.PNG"], images, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    return tmp_path
