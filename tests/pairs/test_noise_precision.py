"""Whitening matrices, against numpy's inverse, scikit-learn and a loop over channels."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from sklearn_rdm._pairs._noise_precision import (
    whitener_of_covariance,
    whitener_of_precision,
    whitener_of_residuals,
)

N_CHANNELS = 5


@pytest.fixture
def residuals(rng):
    mixing = rng.random((N_CHANNELS, N_CHANNELS))
    return rng.standard_normal((40, N_CHANNELS)) @ mixing + 3


def precision_of(whitener):
    return whitener @ whitener.T


def test_of_a_precision_and_of_its_covariance(residuals):
    covariance = np.cov(residuals, rowvar=False)
    precision = np.linalg.inv(covariance)
    of_precision = whitener_of_precision(precision, N_CHANNELS, 0)
    of_covariance = whitener_of_covariance(covariance, N_CHANNELS, 0)
    np.testing.assert_allclose(precision_of(of_precision), precision, rtol=1e-9)
    np.testing.assert_allclose(precision_of(of_covariance), precision, rtol=1e-9)


def test_whitened_noise_is_white(residuals):
    whitener = whitener_of_covariance(np.cov(residuals, rowvar=False), N_CHANNELS, 0)
    np.testing.assert_allclose(
        np.cov(residuals @ whitener, rowvar=False), np.eye(N_CHANNELS), atol=1e-9
    )


def test_shrunk_to_the_identity_is_ledoit_and_wolf(residuals):
    found = precision_of(whitener_of_residuals(residuals, "identity", N_CHANNELS, 0))
    n = len(residuals)
    covariance = ledoit_wolf(residuals)[0] * n / (n - 1)
    np.testing.assert_allclose(found, np.linalg.inv(covariance), rtol=1e-9)


def test_shrunk_to_the_diagonal_is_schaefer_and_strimmer(residuals):
    found = precision_of(whitener_of_residuals(residuals, "diagonal", N_CHANNELS, 0))
    centred = residuals - residuals.mean(axis=0)
    n, covariance = len(centred), np.cov(residuals, rowvar=False)
    scaled = centred / np.sqrt(np.diag(covariance))
    spread = variance = 0.0
    for i in range(N_CHANNELS):
        for j in range(N_CHANNELS):
            if i != j:
                products = scaled[:, i] * scaled[:, j]
                r = products.sum() / (n - 1)
                spread += r**2
                variance += n / (n - 1) ** 2 * (np.sum(products**2) / (n - 1) - r**2)
    shrinkage = min(max(variance / spread, 0), 1)
    assert 0 < shrinkage < 1
    expected = covariance * np.where(np.eye(N_CHANNELS), 1, 1 - shrinkage)
    np.testing.assert_allclose(found, np.linalg.inv(expected), rtol=1e-9)


@pytest.mark.parametrize("shrinkage", ["diagonal", "identity"])
def test_fewer_observations_than_channels_have_a_precision(rng, shrinkage):
    residuals = rng.standard_normal((4, N_CHANNELS))
    precision = precision_of(whitener_of_residuals(residuals, shrinkage, N_CHANNELS, 0))
    assert np.linalg.eigvalsh(precision).min() > 0


def test_one_channel(rng):
    residuals = rng.standard_normal((10, 1))
    for shrinkage in ("diagonal", "identity"):
        found = whitener_of_residuals(residuals, shrinkage, 1, 0)
        np.testing.assert_allclose(found, [[1 / residuals.std(ddof=1)]])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(4), r"noise_covariance of subject 2 must be real numbers of shape \(5, 5\)"),
        (np.eye(5) * np.nan, "subject 2 must be finite and symmetric"),
        (np.triu(np.ones((5, 5))), "subject 2 must be finite and symmetric"),
        (np.ones((5, 5)), "is not positive definite: it has no inverse. Give noise_residuals"),
        (np.eye(5).astype(complex), "must be real numbers"),
    ],
)
def test_wrong_covariances(matrix, message):
    with pytest.raises((TypeError, ValueError), match=message):
        whitener_of_covariance(matrix, N_CHANNELS, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((9, 4)), r"subject 1 must be real numbers of shape \(n_observations, 5\)"),
        (np.ones((2, 5)), "must be 3 observations or more without NaN or infinity, got 2"),
        (np.full((9, 5), np.inf), "without NaN or infinity"),
        (np.ones((9, 5)), "is not positive definite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_wrong_residuals(values, message):
    with pytest.raises(ValueError, match=message):
        whitener_of_residuals(values, "identity", N_CHANNELS, 1)


def test_unknown_shrinkage():
    with pytest.raises(ValueError, match="shrinkage must be one of .*, got 'none'"):
        whitener_of_residuals(np.ones((9, 5)), "none", N_CHANNELS, 0)


def test_masked_residuals_raise_an_error():
    residuals = np.ma.masked_array(np.random.default_rng(0).random((9, 3)))
    residuals[4] = np.ma.masked
    with pytest.raises(ValueError, match="without NaN"):
        whitener_of_residuals(residuals, "diagonal", 3, 0)
    with pytest.raises(ValueError, match="finite and symmetric"):
        whitener_of_precision(np.ma.masked_array(np.eye(3), mask=np.eye(3)), 3, 0)


def test_a_channel_that_was_not_measured_is_named():
    residuals = np.random.default_rng(0).random((9, 3))
    residuals[:, 1] = 4
    with pytest.raises(ValueError, match="channel 1 of noise_residuals of subject 2 is constant"):
        whitener_of_residuals(residuals, "diagonal", 3, 2)
    assert np.isfinite(whitener_of_residuals(residuals, "identity", 3, 2)).all()
