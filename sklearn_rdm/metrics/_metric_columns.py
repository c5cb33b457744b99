"""A metric, by its name or as a function, as scores of many predictions for each subject."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm._pairs._dissimilarities import average_times
from sklearn_rdm.metrics._noise_ceiling import (
    check_subjects,
    get_convention,
    noise_normalized_r2_score,
    normalized_r2_columns,
)
from sklearn_rdm.metrics._similarity import MEASURES, Measure, score_columns


def columns_of(metric: str | Callable, observed: np.ndarray) -> Callable:
    """Return the metric as a function of (observed, predictions, index), one score a subject."""
    if callable(metric):
        return _columns_of_function(metric, observed)
    name = metric.removeprefix("rdm_") if isinstance(metric, str) else metric
    if name == "noise_normalized_r2":
        return _columns_of_function(noise_normalized_r2_score, observed)
    if name not in MEASURES:
        known = sorted([*MEASURES, "noise_normalized_r2"])
        raise ValueError(f"metric must be one of {known} or a score function, got {metric!r}.")
    return partial(_score_measure, MEASURES[name])


def _columns_of_function(metric: Callable, observed: np.ndarray) -> Callable:
    if hasattr(metric, "_score_func"):
        raise ValueError(
            f"metric={metric!r} is a scorer of estimators, and here predictions are scored: give "
            "its name, such as 'spearman', or a score function, such as rdm_spearman_score."
        )
    function = metric.func if isinstance(metric, partial) else metric
    options = metric.keywords if isinstance(metric, partial) else {}
    if options.get("pattern_covariance") is not None:
        raise ValueError(
            "metric cannot be given a pattern_covariance here: its rows could not follow the "
            "images that are shuffled or drawn. Leave it out, for independent images."
        )
    if function is noise_normalized_r2_score and options.keys() <= {"convention", "metric"}:
        check_subjects(observed)
        choices = get_convention(**{"convention": "algonauts2019", **options})
        return partial(normalized_r2_columns, choices=choices)
    return partial(_score_each, metric, "pairs" in signature(metric).parameters)


def _score_measure(
    measure: Measure, observed: np.ndarray, predicted: np.ndarray, index: np.ndarray
) -> np.ndarray:
    return average_times(score_columns(measure, observed, predicted, index))


def _score_each(
    metric: Callable,
    takes_pairs: bool,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
) -> np.ndarray:
    scores = np.full((predicted.shape[1], observed.shape[1]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        for row, prediction in enumerate(predicted.T):
            known = ~np.isnan(prediction)
            options: dict[str, Any] = {"pairs": index[known]} if takes_pairs else {}
            if known.any():
                scores[row] = metric(
                    observed[known], prediction[known], subject_average=False, **options
                )
    return scores
