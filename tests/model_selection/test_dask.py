"""A search on Dask's workers gives what it gives in one process, and workers get images once."""

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_rdm import FixedRSARegressor, ResponsePatterns

distributed = pytest.importorskip("distributed")


def held_images(dask_worker):
    """Sizes of the arrays as large as the images that a worker holds."""
    values = dask_worker.data.values()
    return [value.nbytes for value in values if getattr(value, "nbytes", 0) > 100_000]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_on_workers_equals_the_one_here():
    rng = np.random.default_rng(0)
    features = rng.random((60, 400))
    patterns = ResponsePatterns(rng.random((60, 20)))
    splits = list(KFold(3).split(features, patterns))
    search = GridSearchCV(FixedRSARegressor(), {"metric": ["cosine", "euclidean"]}, cv=splits)
    expected = search.fit(features, patterns).cv_results_["mean_test_score"]
    scattered = [features, patterns, *(rows for split in splits for rows in split)]
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", scatter=scattered),
    ):
        found = search.fit(features, patterns).cv_results_["mean_test_score"]
        held = client.run(held_images)
    np.testing.assert_array_equal(found, expected)
    assert all(sizes == [features.nbytes] for sizes in held.values())
