import numpy as np
import pytest
from rsatoolbox.rdm import RDMs
from rsatoolbox.rdm.combine import rescale
from scipy.spatial.distance import pdist

from sklearn_rdm.preprocessing import SubjectPooling, _alignment


def partial(noise=0.0, n_subjects=8):
    """Every subject saw 8 of 12 images; the largest value is 1, where both libraries agree."""
    rng = np.random.default_rng(0)
    truth = pdist(rng.normal(size=(12, 3)))
    i, j = np.triu_indices(12, 1)
    y = np.full((66, n_subjects), np.nan)
    for column in y.T:
        seen = np.isin(np.arange(12), rng.choice(12, 8, replace=False))
        own = seen[i] & seen[j]
        column[own] = truth[own] * np.exp(noise * rng.normal(size=own.sum()))
        column /= np.nanmax(column)
    return truth, y


def test_noise_free_matrices_get_the_scale_of_the_truth():
    truth, y = partial()
    pooled = SubjectPooling("align").fit_transform(y)
    ratio = (pooled / truth)[~np.isnan(pooled)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_factors_and_mean_are_rsatoolboxs():
    y = partial(noise=0.3)[1]
    pooling = SubjectPooling("align").fit(y)
    theirs = rescale(RDMs(y.T), "evidence", threshold=1e-20)
    ratio = theirs.dissimilarities.T / (y * pooling.factors_)
    known = ~np.isnan(ratio)
    np.testing.assert_allclose(ratio[known], ratio[known][0], rtol=1e-6)
    mean = theirs.mean(weights="rescalingWeights").dissimilarities[0] / ratio[known][0]
    np.testing.assert_allclose(pooling.transform(y), mean, rtol=1e-6)


def test_the_unit_of_a_subject_does_not_matter():
    y = partial(noise=0.3)[1]
    units = np.logspace(-9, 9, y.shape[1])
    pooled, other = (SubjectPooling("align").fit_transform(x) for x in (y, y * units))
    ratio = (other / pooled)[~np.isnan(pooled)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_other_pairs_are_pooled_on_the_scales_of_the_training_pairs():
    truth, y = partial()
    train = np.arange(66) % 3 > 0
    pooled = SubjectPooling("align").fit(y[train]).transform(y[~train])
    ratio = (pooled / truth[~train])[~np.isnan(pooled)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_subjects_without_a_common_pair_are_named():
    y = np.full((6, 3), np.nan)
    y[:3, 0], y[:3, 1], y[3:, 2] = [1, 2, 3], [2, 4, 6], [1, 2, 4]
    with pytest.raises(ValueError, match=r"subjects \[2\] .* share no pair"):
        SubjectPooling("align").fit(y)


def test_steps_that_are_cut_off_keep_the_size_of_all_measurements(monkeypatch):
    y = partial(noise=0.3)[1]
    exact = SubjectPooling("align").fit(y).factors_
    distances = []
    for n_steps in (1, 5):
        monkeypatch.setattr(_alignment, "MAX_STEPS", n_steps)
        factors = SubjectPooling("align").fit(y).factors_
        assert np.nansum((y * factors) ** 2) == pytest.approx(np.nansum(y**2))
        distances.append(np.abs(factors - exact).max())
    assert 0 < distances[1] < distances[0]
