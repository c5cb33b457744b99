import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm import ImagePairs


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture
def rdm():
    return squareform(pdist(np.random.default_rng(0).random((6, 4))))


@pytest.fixture
def pairs(rdm):
    images = np.random.default_rng(1).random((6, 5, 5, 3))
    return ImagePairs.from_rdms(images, rdm, image_groups=list("babacc"))[0]
