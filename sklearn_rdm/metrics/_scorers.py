"""Scores as scikit-learn's tools take them, and by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm._pairs._dissimilarities import average_times
from sklearn_rdm.metrics._measures import MEASURES, Measure, score_columns
from sklearn_rdm.metrics._noise_ceiling import check_subjects
from sklearn_rdm.metrics._normalized import noise_normalized_r2_score, normalized_r2_columns
from sklearn_rdm.metrics._scorer import PairsScorer
from sklearn_rdm.metrics._scores import SCORES

__all__ = ["get_rdm_scorer", "make_rdm_scorer"]


def make_rdm_scorer(
    score_func: Callable,
    *,
    needs_pairs: bool = False,
    warns_of_leaks: bool = True,
    **params: Any,
) -> Callable[..., Any]:
    """Make a scorer from a score function of your own.

    As :func:`sklearn.metrics.make_scorer`, for scores that must know which images each pair
    compares, and for the tests and intervals of this module.

    Parameters
    ----------
    score_func : callable
        ``score_func(y_true, y_pred, **params)`` returns a float, higher is better; with
        ``subject_average=False``, which only :func:`rdm_permutation_test`, :func:`rdm_bootstrap`
        and :func:`compare_rdm_scores` ask for, one score per subject.
    needs_pairs : bool, default=False
        Whether it is also given ``pairs=``, the two images of each pair, shape (n_pairs, 2).
    warns_of_leaks : bool, default=True
        Whether the scorer warns if the scored pairs are not training pairs, but compare images
        that the estimator was fitted to, as after a split of pairs.
    **params : dict
        More keyword arguments of ``score_func``.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``, with ``X`` the pairs and ``y`` their dissimilarities.

    See Also
    --------
    get_rdm_scorer : The scorers of this module by name.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm.metrics import make_rdm_scorer
    >>> def negative_rmse(y_true, y_pred, *, subject_average=True):
    ...     errors = -np.sqrt(np.mean((y_true - y_pred[:, None]) ** 2, axis=0))
    ...     return errors.mean() if subject_average else errors
    >>> make_rdm_scorer(negative_rmse)
    make_rdm_scorer(negative_rmse)
    """
    columns = partial(_score_each, score_func, needs_pairs)
    return PairsScorer(
        score_func, columns, needs_pairs=needs_pairs, params=params, warns_of_leaks=warns_of_leaks
    )


def _score_measure(
    measure: Measure, observed: np.ndarray, predicted: np.ndarray, index: np.ndarray
) -> np.ndarray:
    return average_times(score_columns(measure, observed, predicted, index))


def _score_each(
    score_func: Callable,
    needs_pairs: bool,
    observed: np.ndarray,
    predicted: np.ndarray,
    index: np.ndarray,
    **params: Any,
) -> np.ndarray:
    """Scores (n_predictions, n_subjects) by a function of one prediction."""
    scores = np.full((predicted.shape[1], observed.shape[1]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        for row, prediction in enumerate(predicted.T):
            known = ~np.isnan(prediction)
            options = params | ({"pairs": index[known]} if needs_pairs else {})
            if known.any():
                scores[row] = score_func(
                    observed[known], prediction[known], subject_average=False, **options
                )
    return scores


_SCORERS = {
    name: PairsScorer(
        SCORES[name],
        partial(_score_measure, measure),
        needs_pairs=measure.needs_pairs,
        measure=measure,
    )
    for name, measure in MEASURES.items()
} | {
    "noise_normalized_r2": PairsScorer(
        noise_normalized_r2_score,
        normalized_r2_columns,
        needs_pairs=True,
        check_observed=check_subjects,
    )
}
rdm_cosine_scorer = _SCORERS["cosine"]
rdm_kendall_tau_a_scorer = _SCORERS["kendall_tau_a"]
rdm_pearson_scorer = _SCORERS["pearson"]
rdm_rho_a_scorer = _SCORERS["rho_a"]
rdm_spearman_scorer = _SCORERS["spearman"]
rdm_whitened_cosine_scorer = _SCORERS["whitened_cosine"]
rdm_whitened_pearson_scorer = _SCORERS["whitened_pearson"]
noise_normalized_r2_scorer = _SCORERS["noise_normalized_r2"]


def get_rdm_scorer(
    name: str | Callable, *, n_pairs: int | None = None, random_state: Any = 0, **params: Any
) -> Callable[..., Any]:
    """Get a scorer by name, for ``scoring=`` of scikit-learn's tools.

    Parameters
    ----------
    name : str or callable
        "spearman", "pearson", "kendall_tau_a", "rho_a", "cosine", "whitened_pearson",
        "whitened_cosine" or "noise_normalized_r2", with or without the leading ``rdm_`` of the
        score function; a callable is returned as it is.
    n_pairs : int, default=None
        Score a random part of the pairs of images and :class:`~sklearn_rdm.ResponsePatterns`: so
        many, drawn as by ``patterns.to_pairs(images, n_pairs=n_pairs)``. Needed for Kendall's tau-a
        and normalised scores of many images; the other scores are computed from all pairs, strip by
        strip. :func:`rdm_sampling_error` estimates the error. None scores all pairs.
    random_state : int, RandomState instance or None, default=0
        Seed of the draw. None draws others at each call.
    **params : dict
        Keyword arguments of the score function, such as ``pattern_covariance`` or ``convention``.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``; higher is better.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the names.

    See Also
    --------
    rdm_spearman_scorer : The same object, imported; the one to prefer in scripts.
    make_rdm_scorer : A scorer from a function of your own.

    Examples
    --------
    >>> from sklearn_rdm.metrics import get_rdm_scorer
    >>> get_rdm_scorer("spearman")
    make_rdm_scorer(rdm_spearman_score)
    >>> get_rdm_scorer("noise_normalized_r2", convention="net2brain")
    make_rdm_scorer(noise_normalized_r2_score, convention='net2brain')
    """
    if callable(name):
        return name
    short_name = name.removeprefix("rdm_") if isinstance(name, str) else name
    if short_name not in _SCORERS:
        raise ValueError(f"{name!r} is not an RDM scorer; the names are {sorted(_SCORERS)}.")
    scorer = _SCORERS[short_name].with_params(**params)
    return scorer if n_pairs is None else scorer.of_part(n_pairs, random_state)


def columns_of(scoring: Any, observed: np.ndarray) -> Callable[..., np.ndarray]:
    """``scoring`` as a function of (observed, predictions, index): one score per subject."""
    return as_pairs_scorer(scoring).columns_for(observed)


def as_pairs_scorer(scoring: Any) -> PairsScorer:
    """Scorer of this package that ``scoring`` is or names."""
    scorer = get_rdm_scorer(scoring) if isinstance(scoring, str) else scoring
    if not isinstance(scorer, PairsScorer):
        raise ValueError(
            f"scoring must be one of {sorted(_SCORERS)}, or a scorer made by get_rdm_scorer or "
            f"make_rdm_scorer, got {scoring!r}."
        )
    return scorer
