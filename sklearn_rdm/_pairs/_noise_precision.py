"""The noise of measured channels, as the matrix that whitens patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from sklearn_rdm._pairs._dissimilarities import as_numbers
from sklearn_rdm._pairs._options import check_option

SHRINKAGES = ("diagonal", "identity")
WHITENED = ("mahalanobis", "crossnobis")


def whiteners(
    metric: str, n_channels: list[int], several: bool, shrinkage: str, noise: dict[str, Any]
) -> list[np.ndarray | None]:
    """The matrix that whitens each subject's patterns, None for the identity."""
    given = {name: value for name, value in noise.items() if value is not None}
    if len(given) > 1 or (given and metric not in WHITENED):
        raise ValueError(f"metric={metric!r} takes {_noise_kinds(metric)}, got {[*given]}.")
    if metric == "mahalanobis" and not given:
        raise ValueError(
            f"metric='mahalanobis' needs one of {[*noise]}; without noise it is 'euclidean'."
        )
    if not given:
        return [None] * len(n_channels)
    ((name, values),) = given.items()
    values = list(values) if several else [values]
    if len(values) != len(n_channels):
        raise ValueError(
            f"{name} must be a list with one array per subject, {len(n_channels)} here, got "
            f"{len(values)}."
        )
    return [
        _whitener(name, value, shrinkage, p, subject)
        for subject, (value, p) in enumerate(zip(values, n_channels, strict=True))
    ]


def _whitener(name: str, value: Any, shrinkage: str, n_channels: int, subject: int) -> np.ndarray:
    if name == "noise_residuals":
        return whitener_of_residuals(value, shrinkage, n_channels, subject)
    whitener_of = {
        "noise_precision": whitener_of_precision,
        "noise_covariance": whitener_of_covariance,
    }[name]
    return whitener_of(value, n_channels, subject)


def _noise_kinds(metric: str) -> str:
    return "one kind of noise" if metric in WHITENED else f"no noise, only {WHITENED} do"


def whitener_of_precision(precision: Any, n_channels: int, subject: int) -> np.ndarray:
    """``L`` with ``L L' = P``: distances of ``x L`` are Mahalanobis distances."""
    precision = _check_square("noise_precision", precision, n_channels, subject)
    return _cholesky("noise_precision", precision, subject)


def whitener_of_covariance(covariance: Any, n_channels: int, subject: int) -> np.ndarray:
    """``L`` with ``L L'`` the inverse of the covariance."""
    covariance = _check_square("noise_covariance", covariance, n_channels, subject)
    factor = _cholesky("noise_covariance", covariance, subject)
    return linalg.solve_triangular(factor, np.eye(n_channels), lower=True).T


def whitener_of_residuals(
    residuals: Any, shrinkage: str, n_channels: int, subject: int
) -> np.ndarray:
    """``L`` of the shrunk covariance of residuals (n_observations, n_channels)."""
    check_option("shrinkage", shrinkage, SHRINKAGES)
    residuals = as_numbers(residuals, "noise_residuals")
    shape = residuals.shape
    if residuals.dtype.kind not in "uif" or len(shape) != 2 or shape[1] != n_channels:
        raise ValueError(
            f"noise_residuals of subject {subject} must be real numbers of shape (n_observations, "
            f"{n_channels}), one column per channel, got {residuals.dtype} of shape {shape}."
        )
    if len(residuals) < 3 or not np.isfinite(residuals).all():
        raise ValueError(
            f"noise_residuals of subject {subject} must be 3 observations or more without NaN or "
            f"infinity, got {len(residuals)} observations."
        )
    constant = np.ptp(residuals, axis=0) == 0
    if constant.any() and shrinkage == "diagonal":
        raise ValueError(
            f"channel {constant.argmax()} of noise_residuals of subject {subject} is constant: it "
            "was not measured. Leave it out of patterns and residuals, or use "
            "shrinkage='identity'."
        )
    centred = residuals.astype(np.float64) - residuals.mean(axis=0, dtype=np.float64)
    shrink = _shrink_to_diagonal if shrinkage == "diagonal" else _shrink_to_identity
    return whitener_of_covariance(shrink(centred), n_channels, subject)


def _shrink_to_diagonal(x: np.ndarray) -> np.ndarray:
    """Schaefer and Strimmer (2005): the off-diagonal is shrunk, on the scale of correlations."""
    n, dof = len(x), len(x) - 1
    covariance = x.T @ x / dof
    scaled = x / np.sqrt(np.diag(covariance))
    r = scaled.T @ scaled / dof
    q = (scaled**2).T @ scaled**2 / dof
    off = ~np.eye(len(r), dtype=bool)
    spread = np.sum(r[off] ** 2)
    shrinkage = np.clip(n / dof**2 * np.sum(q[off] - r[off] ** 2) / spread, 0, 1) if spread else 1
    covariance[off] *= 1 - shrinkage
    return covariance


def _shrink_to_identity(x: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf (2004), for ``n - 1`` degrees of freedom."""
    n, n_channels = x.shape
    covariance = x.T @ x / n
    target = np.trace(covariance) / n_channels * np.eye(n_channels)
    distance = np.sum((covariance - target) ** 2)
    noise = (np.sum((x**2).T @ x**2) / n - np.sum(covariance**2)) / n
    weight = min(noise, distance) / distance if distance > 0 else 1.0
    return (weight * target + (1 - weight) * covariance) * n / (n - 1)


def _check_square(name: str, matrix: Any, n_channels: int, subject: int) -> np.ndarray:
    matrix = as_numbers(matrix, name)
    if matrix.dtype.kind not in "uif" or matrix.shape != (n_channels, n_channels):
        raise ValueError(
            f"{name} of subject {subject} must be real numbers of shape ({n_channels}, "
            f"{n_channels}), one row per channel, got {matrix.dtype} of shape {matrix.shape}."
        )
    matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-6, atol=0):
        raise ValueError(f"{name} of subject {subject} must be finite and symmetric.")
    return matrix


def _cholesky(name: str, matrix: np.ndarray, subject: int) -> np.ndarray:
    try:
        return linalg.cholesky(matrix, lower=True)
    except linalg.LinAlgError as error:
        raise ValueError(
            f"{name} of subject {subject} is not positive definite: it has no inverse. Give "
            "noise_residuals, whose covariance is shrunk until it has one."
        ) from error
