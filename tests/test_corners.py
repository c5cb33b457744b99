"""What the user guide says of scores that are not defined, in scikit-learn's own search."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import ImagePairs
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold


class Distances(RegressorMixin, BaseEstimator):
    """Predicts the distance of two features, or the same for all pairs if its fold lacks one."""

    def __init__(self, needs_image=None):
        self.needs_image = needs_image

    def fit(self, X, y):  # noqa: ARG002
        self.constant_ = self.needs_image is not None and self.needs_image not in X.index
        return self

    def predict(self, X):
        first, second = X.images[X.index.T]
        return np.linalg.norm(first - second, axis=1) * (not self.constant_)


def test_a_candidate_that_is_constant_in_one_fold_ranks_last():
    features = np.random.default_rng(0).standard_normal((12, 3))
    pairs, y = ImagePairs.from_rdms(features, pdist(features))
    search = GridSearchCV(
        Distances(),
        {"needs_image": [0, None]},
        cv=ImageKFold(3),
        scoring=rdm_spearman_scorer,
    )
    with (
        pytest.warns(UndefinedMetricWarning, match="constant"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(pairs, y)
    results = search.cv_results_
    assert list(results["rank_test_score"]) == [2, 1]
    assert np.isnan(results["split0_test_score"][0])
    assert np.isfinite([results[f"split{k}_test_score"][0] for k in (1, 2)]).all()
    assert np.isnan(results["mean_test_score"][0])
    assert search.best_params_ == {"needs_image": None}
    assert search.best_score_ == pytest.approx(1)
