import numpy as np
import pytest
from scipy.spatial.distance import squareform

from sklearn_rdm import ImagePairs


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    images = rng.random((12, 1))
    rdms = squareform(np.abs(images - images.T)[np.triu_indices(12, 1)])
    return ImagePairs.from_rdms(images, np.stack([rdms**2, rdms]))
