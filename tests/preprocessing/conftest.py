import numpy as np
import pytest

from sklearn_rdm import ImagePairs
from tests.simulated import all_pairs


@pytest.fixture
def dissim(rng):
    return rng.random(40)[:, None] * [1, 5, 0.1] + rng.normal(0, [0.1, 2, 0.01], (40, 3))


@pytest.fixture
def pairs(rng):
    images = rng.normal(2, 3, (8, 5)).astype(np.float32)
    return ImagePairs(images, all_pairs(8), image_groups=list("aabbccdd"))
