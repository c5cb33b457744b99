"""From replicates of a number to its interval and p."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_random_state

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.metrics._draws import check_inputs
from sklearn_rdm.metrics._resampling import DrawnScores, Replicates, Scores, resample
from sklearn_rdm.metrics._variance import (
    jackknife_uncertainty,
    schuett2023_uncertainty,
    t_test_uncertainty,
)

UNITS = ("images", "subjects", "both")
METHODS = {
    "jackknife": jackknife_uncertainty,
    "schuett2023": schuett2023_uncertainty,
    "t-test": t_test_uncertainty,
    "percentile": None,
}


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes
    ----------
    value, standard_error, low, high, dof : float
        ``dof`` are the degrees of freedom of t, NaN for percentiles.
    samples : ndarray of shape (n_resamples,)
        The number on every draw.
    """

    value: float
    standard_error: float
    low: float
    high: float
    dof: float
    samples: np.ndarray

    def pvalue(self, one_sided: bool = False) -> float:
        """Probability of what is observed if the expected number is 0; 1 if it is NaN."""
        if np.isnan(self.value) or np.isnan(self.standard_error):
            return 1.0
        if np.isnan(self.dof):
            return _percentile_pvalue(self.samples, one_sided)
        if self.value == 0:
            return 0.5 if one_sided else 1.0
        with np.errstate(divide="ignore"):
            t = np.divide(self.value, self.standard_error)
        tail = stats.t.sf(t if one_sided else abs(t), self.dof)
        return float(tail if one_sided else 2 * tail)


class Estimator:
    """Makes estimates of all models and their differences from the same draws.

    Parameters
    ----------
    data : tuple
        ``pairs, y_true, y_preds, folds``, as users give them.
    over, method, scoring, n_resamples, confidence_level
        As in :func:`rdm_bootstrap`.
    with_ceiling : bool
        Whether the other subjects are a last model.
    **drawing : dict
        ``random_state``, ``n_jobs`` and ``verbose``.
    """

    def __init__(
        self,
        data: tuple,
        *,
        over: str,
        method: str,
        scoring: Any,
        n_resamples: int,
        confidence_level: float,
        with_ceiling: bool = False,
        **drawing: Any,
    ) -> None:
        _check_options(over, method, confidence_level)
        if n_resamples < 1:
            raise ValueError(f"n_resamples must be at least 1, got {n_resamples}.")
        self.over, self.method, self.confidence_level = over, method, confidence_level
        index, observed, predicted, folds, _ = check_inputs(*data)
        if over != "images" and observed.shape[1] < 2:
            raise ValueError(
                f"over={over!r} needs two or more subjects, got one: use over='images'."
            )
        score = DrawnScores(scoring, observed, predicted, index, folds, with_ceiling)
        drawing["random_state"] = check_random_state(drawing["random_state"])
        n_draws = 0 if over == "subjects" or method == "t-test" else n_resamples
        self.scores: Scores = resample(score, index, n_draws, **drawing)
        self.has_ceiling, self.measure = score.others is not None, score.measure
        self.subjects = None
        if over != "images":
            n_subjects = observed.shape[1]
            share = np.full(n_subjects, 1 / n_subjects)
            self.subjects = drawing["random_state"].multinomial(n_subjects, share, n_resamples)

    def estimate(self, model: int, other: int | None = None) -> Estimate:
        """Estimate a score, or the difference of two."""
        replicates = self.scores.contrast(model, other)
        value, samples = float(average(replicates.full)), self._samples(replicates)
        if np.isnan(value):
            return Estimate(np.nan, np.nan, np.nan, np.nan, np.nan, samples)
        function = METHODS[self.method]
        tail = (1 - self.confidence_level) / 2
        if function is None:
            defined = samples[~np.isnan(samples)]
            low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else [np.nan] * 2
            error = np.std(defined, ddof=1) if len(defined) > 1 else np.nan
            return Estimate(value, float(error), float(low), float(high), np.nan, samples)
        variance, dof = function(replicates, self.over)
        error = float(np.sqrt(variance))
        half = error * float(stats.t.isf(tail, dof))
        return Estimate(value, error, value - half, value + half, float(dof), samples)

    def warn_of_gaps(self, estimates: list[Estimate], stacklevel: int) -> None:
        """Tell of draws without a score, and of images that cannot be left out."""
        lost = max(np.isnan(each.samples).sum() for each in estimates)
        if lost:
            _warn(
                f"{lost} of {len(estimates[0].samples)} samples have no score and are left out of "
                "the interval: too few distinct images, or constant predictions or "
                "dissimilarities.",
                stacklevel,
            )
        if self.over == "subjects" or self.method in ("schuett2023", "percentile"):
            return
        n_models = len(estimates)
        by_fold = np.isnan(average(self.scores.left_out[:, :n_models]))
        by_fold &= ~np.isnan(average(self.scores.full[:n_models]))
        if by_fold.any():
            _warn(
                f"there is no interval (NaN), as without image {by_fold.any(axis=(1, 2)).argmax()} "
                f"fold {by_fold.any(axis=(0, 1)).argmax()} has no score. Take folds of at least 4 "
                "images, or method='schuett2023'.",
                stacklevel,
            )

    def _samples(self, replicates: Replicates) -> np.ndarray:
        """The number on every draw of images, subjects or both."""
        scores = replicates.drawn if len(replicates.drawn) else replicates.full[np.newaxis]
        if np.isnan(replicates.full).all():
            return np.full(
                len(self.scores.drawn) if self.subjects is None else len(self.subjects), np.nan
            )
        if self.subjects is None:
            return average(scores) if len(replicates.drawn) else np.zeros(0)
        known = ~np.isnan(scores)
        counts = known * self.subjects
        with np.errstate(invalid="ignore"):
            return np.sum(np.where(known, scores, 0) * counts, axis=1) / counts.sum(axis=1)


def _check_options(over: str, method: str, confidence_level: float) -> None:
    check_option("over", over, UNITS)
    check_option("method", method, METHODS)
    if method == "t-test" and over == "both":
        raise ValueError(
            "method='t-test' is over images or over subjects, not both: give over='images' or "
            "over='subjects', or method='jackknife'."
        )
    if not 0 < confidence_level < 1:
        raise ValueError(f"confidence_level must be between 0 and 1, got {confidence_level}.")


def _percentile_pvalue(samples: np.ndarray, one_sided: bool) -> float:
    """``(1 + n(d <= 0)) / (1 + n)``, or twice the smaller of both sides; NaN counts against."""
    below, above = np.sum(~(samples > 0)), np.sum(~(samples < 0))
    contrary = below if one_sided else min(below, above)
    return float(min(1, (1 if one_sided else 2) * (1 + contrary) / (1 + len(samples))))


def _warn(message: str, stacklevel: int) -> None:
    warnings.warn(message, UndefinedMetricWarning, stacklevel=stacklevel)
