import pytest

from sklearn_rdm import ImagePairs
from sklearn_rdm.datasets import make_rdm_regression


@pytest.fixture(scope="module")
def problem():
    data = make_rdm_regression(8, image_size=32, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    return pairs, 10 * dissim
