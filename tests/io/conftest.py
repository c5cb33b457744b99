import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform


@pytest.fixture
def rdms():
    rng = np.random.default_rng(0)
    rdms = np.array([squareform(pdist(rng.standard_normal((4, 5)))) for _ in range(3)])
    rdms[1, 0, 2] = rdms[1, 2, 0] = np.nan
    return rdms
