import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm import FixedRSARegressor, LayerWeightedRSARegressor
from sklearn_rdm.model_selection import (
    cross_val_bootstrap,
)
from sklearn_rdm.model_selection._bootstrap import _fit, without_assignments
from tests.model_selection.refits import MODEL, Constant, simulate


def test_the_variance_over_assignments_is_taken_out():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((40, 3, 2)) + 3 * rng.standard_normal((40, 1, 2))
    for kind in range(2):
        covariance = np.cov(scores[:, :, kind], rowvar=False)
        expected = covariance[np.triu_indices(3, 1)].mean()
        assert without_assignments(scores)[kind] == pytest.approx(expected)


def test_the_interval_of_a_refitted_model():
    pairs, dissim, _ = simulate(n_images=24)
    options = {"n_folds": 2, "n_resamples": 20}
    one, two, other = (
        cross_val_bootstrap(MODEL, pairs, dissim, random_state=seed, n_jobs=jobs, **options)
        for seed, jobs in [(0, None), (0, 2), (1, None)]
    )
    low, high = one.confidence_interval
    assert low < one.score < high
    assert one.dof == 2
    assert one.n_fits == 2 * 2 * (1 + 3 * 20)
    assert_array_equal(one.bootstrap_scores, two.bootstrap_scores)
    assert (one.bootstrap_scores != other.bootstrap_scores).any()
    single = cross_val_bootstrap(MODEL, pairs, dissim[:, 0], random_state=0, **options)
    assert single.dof == 23


class Memorizes(BaseEstimator):
    """Fails if it is asked for an image that it was fitted to."""

    def fit(self, X, y):
        self.seen_ = set(X.index.ravel().tolist())
        return self

    def predict(self, X):
        assert not self.seen_ & set(X.index.ravel().tolist())
        return X.index.sum(axis=1).astype(float)


def test_copies_of_an_image_are_in_one_fold():
    pairs, dissim, _ = simulate()
    draw = {"n_resamples": 8, "n_folds": 2, "random_state": 0}
    assert np.isfinite(cross_val_bootstrap(Memorizes(), pairs, dissim, **draw).score)


def test_too_few_samples_have_no_interval():
    pairs, dissim, _ = simulate()
    draw = {"n_resamples": 2, "n_folds": 2}
    with pytest.warns(UndefinedMetricWarning, match="there is no interval .* Take more n_resam"):
        results = [
            cross_val_bootstrap(Memorizes(), pairs, dissim, random_state=seed, **draw)
            for seed in range(4)
        ]
    assert any(np.isnan(result.standard_error) for result in results)
    assert not any(result.standard_error == 0 for result in results)


def test_too_few_images_or_samples_are_refused():
    pairs, dissim, _ = simulate(n_images=8)
    with pytest.raises(ValueError, match="8 images are too few for 3 folds"):
        cross_val_bootstrap(MODEL, pairs, dissim)
    for option in ({"n_folds": 1}, {"n_assignments": 1}, {"n_resamples": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be at least 2"):
            cross_val_bootstrap(MODEL, pairs, dissim, **option)
    pairs, dissim, _ = simulate(n_images=6)
    with pytest.raises(ValueError, match="of 5 samples have 6 distinct images"):
        cross_val_bootstrap(MODEL, pairs, dissim, n_folds=2, n_resamples=5, random_state=0)


def test_constant_predictions_have_no_interval():
    pairs, dissim, _ = simulate(12)
    with pytest.raises(ValueError, match="Constant predictions have no score"):
        cross_val_bootstrap(Constant(), pairs, dissim, n_folds=2, n_resamples=3)


@pytest.mark.filterwarnings("ignore:subjects .* left out:UserWarning")
@pytest.mark.filterwarnings("ignore:there is no interval:sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("model", [FixedRSARegressor(), MODEL])
@pytest.mark.parametrize("with_times", [False, True])
def test_subjects_that_saw_some_images_only_are_drawn(model, with_times):
    """Those that are drawn lack pairs that others have, or have copies of one pair alone."""
    pairs, dissim, _ = simulate(14, n_subjects=4)
    seen = np.random.default_rng(0).random((14, 4)) < 0.6
    dissim[~seen[pairs.index].all(axis=1)] = np.nan
    known = ~np.isnan(dissim).all(axis=1)
    pairs, dissim = pairs[known], dissim[known]
    y = np.stack([dissim, dissim**2], axis=2) if with_times else dissim
    result = cross_val_bootstrap(model, pairs, y, n_folds=2, n_resamples=8)
    scored = ~np.isnan(result.bootstrap_scores).any(axis=(1, 2))
    assert scored.sum() >= 3


def test_a_fit_reads_what_varies_of_subjects_that_have_the_pairs():
    pairs, dissim, _ = simulate(6)
    dissim[:, 0], dissim[:9, 1], dissim[9:, 2] = 1.0, np.nan, np.nan
    dissim[[3, 12], 1:] = np.nan
    known = np.delete(np.arange(15), [3, 12])
    expected = LayerWeightedRSARegressor([4, 4], subject_pooling="zscore")
    found = _fit(expected, pairs, dissim)
    expected.fit(pairs[known], dissim[known, 1:])
    assert_allclose(found.predict(pairs), expected.predict(pairs))
    assert _fit(expected, pairs, dissim[:, :1]) is None
