"""A search on Dask's workers gives what it gives in one process, and workers get images once."""

import os
import signal
import threading

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_rdm import FixedRSARegressor, ResponsePatterns

distributed = pytest.importorskip("distributed")

N_WORKERS = 2


def count_received():
    """Count what a worker receives at its sockets from now on."""
    from tornado.iostream import IOStream

    read = IOStream.read_from_fd

    def counted(self, buffer):
        n_bytes = read(self, buffer)
        IOStream.n_received += n_bytes or 0
        return n_bytes

    IOStream.n_received, IOStream.read_from_fd = 0, counted


def received():
    from tornado.iostream import IOStream

    return IOStream.n_received


@pytest.fixture
def client():
    options = {"n_workers": N_WORKERS, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.amm.stop()
        yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_on_workers_equals_the_one_here_also_if_one_is_killed(client):
    rng = np.random.default_rng(0)
    features = rng.random((300, 8000))
    patterns = ResponsePatterns(rng.random((300, 20)))
    splits = list(KFold(6).split(features, patterns))
    metrics = {"metric": ["cosine", "euclidean", "correlation"]}
    search = GridSearchCV(FixedRSARegressor(), metrics, cv=splits, error_score="raise")
    expected = search.fit(features, patterns).cv_results_["mean_test_score"]
    client.run(count_received)
    scattered = [features, patterns, *(rows for split in splits for rows in split)]
    with joblib.parallel_config("dask", scatter=scattered):
        found = search.fit(features, patterns).cv_results_["mean_test_score"]
        n_bytes = sum(client.run(received).values())
        victim = min(client.run(os.getpid).values())
        threading.Timer(0.2, os.kill, (victim, signal.SIGKILL)).start()
        after_kill = search.fit(features, patterns).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(after_kill, expected)
    assert n_bytes <= 1.2 * N_WORKERS * features.nbytes
