import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from sklearn_rdm.datasets import fetch_algonauts2019  # noqa: E402


@pytest.fixture(scope="session")
def data_home():
    """Folder of the research data, which are not in the repository."""
    home = os.environ.get("SKLEARN_RDM_DATA")
    if not home:
        pytest.skip("SKLEARN_RDM_DATA is not set: the research data are needed")
    return Path(home)


@pytest.fixture(scope="session")
def load_algonauts(data_home):
    """Load a set by the arguments of ``fetch_algonauts2019``, each once; leave it unchanged."""
    pytest.importorskip("h5py")
    return cache(partial(fetch_algonauts2019, data_home=data_home))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
