"""Scores of predicted dissimilarities, one function a measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_rdm._pairs._weights import check_weights, keep_weighted
from sklearn_rdm.metrics._checks import (
    check_observed,
    check_predicted,
    check_time_average,
    index_of_pairs,
    to_pairs,
    warn_undefined,
)
from sklearn_rdm.metrics._measures import (
    MEASURES,
    average_scores,
    check_covariance,
    score_columns,
)

__all__ = [
    "rdm_cosine_score",
    "rdm_kendall_tau_a_score",
    "rdm_pearson_score",
    "rdm_rho_a_score",
    "rdm_spearman_score",
    "rdm_whitened_cosine_score",
    "rdm_whitened_pearson_score",
]


def rdm_spearman_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute Spearman's rank correlation of predicted and measured dissimilarities.

    The Pearson correlation of average ranks, ``rho_s = corr(rank(y_s), rank(y_pred))``, for each
    subject ``s``; the score is the mean over subjects.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities, on any scale. NaN: this subject has no value for the pair, which
        is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, 0 or more: a weight of 2 is a pair given twice. None: all alike.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed. A subject with fewer than 2 pairs or with constant values (of
        its own or predicted) scores NaN and is left out of the mean, with an
        ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, a prediction is NaN or infinite, or a target is infinite.

    See Also
    --------
    rdm_rho_a_score : The one to prefer if the model predicts many ties.
    rdm_pearson_score : The one to prefer if the dissimilarities are on an interval scale.

    References
    ----------
    .. [1] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_spearman_score
    >>> y_true = [[1, 2], [2, 1], [3, 4], [4, 3]]
    >>> round(rdm_spearman_score(y_true, [1, 2, 3, 4]), 3)
    0.8
    >>> rdm_spearman_score(y_true, [1, 2, 3, 4], subject_average=False)
    array([1. , 0.6])

    One subject at two time points:

    >>> time_course = [[[1, 2]], [[2, 1]], [[3, 4]], [[4, 3]]]
    >>> rdm_spearman_score(time_course, [1, 2, 3, 4], time_average=False)
    array([1. , 0.6])
    """
    return _score("spearman", y_true, y_pred, sample_weight, subject_average, time_average)


def rdm_pearson_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute the Pearson correlation of predicted and measured dissimilarities.

    ``r_s = (y_s - mean(y_s)) . (p - mean(p)) / (|y_s - mean(y_s)| |p - mean(p)|)`` for each
    subject ``s`` and the prediction ``p``; the score is the mean over subjects.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities, on any scale. NaN: this subject has no value for the pair, which
        is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, 0 or more: a weight of 2 is a pair given twice. None: all alike.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed. NaN as in :func:`rdm_spearman_score`.

    Raises
    ------
    ValueError
        If the shapes do not match, a prediction is NaN or infinite, or a target is infinite.

    See Also
    --------
    rdm_whitened_pearson_score : The more sensitive one: pairs that share an image are dependent.
    rdm_spearman_score : The one to prefer if only the order of the dissimilarities has meaning.

    References
    ----------
    .. [1] Walther, A. et al. Reliability of dissimilarity measures for multi-voxel pattern
       analysis. NeuroImage 137, 188-200 (2016).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_pearson_score
    >>> rdm_pearson_score([1, 2, 3, 6], [0, 1, 2, 5])
    1.0
    """
    return _score("pearson", y_true, y_pred, sample_weight, subject_average, time_average)


def rdm_cosine_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute the cosine similarity of predicted and measured dissimilarities.

    ``cos_s = y_s . p / (|y_s| |p|)`` for each subject ``s`` and the prediction ``p``; the score
    is the mean over subjects.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities with a meaningful zero, such as crossnobis distances; for
        correlation distances every model scores near 1. NaN: this subject has no value for the
        pair, which is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, 0 or more: a weight of 2 is a pair given twice. None: all alike.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed. A subject with fewer than 2 pairs or with zeros only (of its own
        or predicted) scores NaN and is left out of the mean, with an ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, a prediction is NaN or infinite, or a target is infinite.

    See Also
    --------
    rdm_whitened_cosine_score : The more sensitive one: pairs that share an image are dependent.
    rdm_pearson_score : The one to prefer if zero has no meaning.

    References
    ----------
    .. [1] Walther, A. et al. Reliability of dissimilarity measures for multi-voxel pattern
       analysis. NeuroImage 137, 188-200 (2016).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_cosine_score
    >>> round(rdm_cosine_score([3, 4, 0], [4, 3, 0]), 2)
    0.96
    """
    return _score("cosine", y_true, y_pred, sample_weight, subject_average, time_average)


def rdm_rho_a_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute rho-a: Spearman's correlation, averaged over random orders of tied predictions.

    ``rho_a = 12 sum_k (R_k - m) (Q_k - m) / (P^3 - P)`` over the ``P`` pairs, with the average
    ranks ``R`` of the subject's and ``Q`` of the predicted dissimilarities and ``m = (P + 1) / 2``;
    the score is the mean over subjects. Equal to Spearman's correlation if nothing is tied.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities, on any scale. NaN: this subject has no value for the pair, which
        is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How often each pair counts, whole numbers. Repeats of a pair are ties. None: each once.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed; 0 if one side is constant. A subject with fewer than 2 pairs
        scores NaN and is left out of the mean, with an ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, a prediction is NaN or infinite, or a target is infinite; if
        a weight is not a whole number.

    See Also
    --------
    rdm_kendall_tau_a_score : The same purpose by counting pairs; slower.
    rdm_spearman_score : The usual one, which favours models that predict ties.

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_rho_a_score
    >>> rdm_rho_a_score([1, 2, 3, 4], [0, 0, 1, 1])
    0.8
    """
    return _score("rho_a", y_true, y_pred, sample_weight, subject_average, time_average)


def rdm_kendall_tau_a_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute Kendall's tau-a of predicted and measured dissimilarities.

    ``tau_a = (concordant - discordant) / (P (P - 1) / 2)`` over all couples of the ``P`` pairs,
    for each subject; the score is the mean over subjects. Ties count as neither.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities, on any scale. NaN: this subject has no value for the pair, which
        is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How often each pair counts, whole numbers. Repeats of a pair are ties. None: each once.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed; 0 if one side is constant. A subject with fewer than 2 pairs
        scores NaN and is left out of the mean, with an ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        If the shapes do not match, a prediction is NaN or infinite, or a target is infinite; if
        a weight is not a whole number.

    See Also
    --------
    rdm_rho_a_score : Orders models alike in practice and is much faster.

    References
    ----------
    .. [1] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_kendall_tau_a_score
    >>> round(rdm_kendall_tau_a_score([1, 2, 3, 4], [0, 0, 1, 1]), 3)
    0.667
    """
    return _score("kendall_tau_a", y_true, y_pred, sample_weight, subject_average, time_average)


def rdm_whitened_cosine_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    pairs: Any = None,
    pattern_covariance: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute the cosine similarity after whitening the dependence of pairs that share an image.

    ``y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)`` with ``V = (C S C')**2`` element by element, where
    a row of ``C`` is +1 and -1 at the two images of a pair and ``S`` is the covariance between
    images of the noise in the measured patterns. For the complete set of pairs and ``S = I`` it is
    the linear centred kernel alignment (CKA) of the double-centred matrices.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured squared distances, such as crossnobis. NaN: this subject has no value for the pair,
        which is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, such as its number of trials: the part of its noise that no other
        pair shares is divided by it. Not with ``pattern_covariance``. None: each pair 1.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares. None: all pairs of the images, upper triangle row by row.
        The ready scorer passes the pairs that it scores.
    pattern_covariance : array-like of shape (n_images, n_images) or (n_images,), default=None
        ``S``, or its diagonal; row ``i`` is image ``i`` of ``pairs``. None: the identity.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed. NaN as in :func:`rdm_cosine_score`.

    Raises
    ------
    ValueError
        As :func:`rdm_cosine_score`; and if the pairs are needed but not given, or
        ``pattern_covariance`` does not fit them or is singular.

    See Also
    --------
    rdm_whitened_pearson_score : The one to prefer if zero has no meaning (correlation distance).

    References
    ----------
    .. [1] Diedrichsen, J. et al. Comparing representational geometries using whitened unbiased
       distance-matrix similarity. Neurons, Behavior, Data analysis, and Theory 5 (2021).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_whitened_cosine_score
    >>> round(rdm_whitened_cosine_score([1, 2, 3], [1, 2, 4]), 3)
    0.987
    """
    options = sample_weight, subject_average, time_average
    return _score("whitened_cosine", y_true, y_pred, *options, pairs, pattern_covariance)


def rdm_whitened_pearson_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    pairs: Any = None,
    pattern_covariance: Any = None,
    subject_average: bool = True,
    time_average: bool = True,
) -> float | np.ndarray:
    """Compute the Pearson correlation after whitening the dependence of pairs that share an image.

    As :func:`rdm_whitened_cosine_score`, of the vectors less their means:
    ``y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)`` with ``y - mean(y)`` and ``p - mean(p)``.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities. NaN: this subject has no value for the pair, which is then left
        out for this subject only.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, such as its number of trials: the part of its noise that no other
        pair shares is divided by it. Not with ``pattern_covariance``. None: each pair 1.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares. None: all pairs of the images, upper triangle row by row.
        The ready scorer passes the pairs that it scores.
    pattern_covariance : array-like of shape (n_images, n_images) or (n_images,), default=None
        Covariance between images of the noise in the measured patterns, or its diagonal; row
        ``i`` is image ``i`` of ``pairs``. None: the identity.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.
    time_average : bool, default=True
        Whether to return the mean over time points or one score per time point.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,), (n_times,) or (n_subjects, n_times)
        Between -1 and 1, signed. NaN as in :func:`rdm_spearman_score`.

    Raises
    ------
    ValueError
        As :func:`rdm_pearson_score`; and if the pairs are needed but not given, or
        ``pattern_covariance`` does not fit them or is singular.

    See Also
    --------
    rdm_whitened_cosine_score : The one to prefer for distances with a meaningful zero.

    References
    ----------
    .. [1] Diedrichsen, J. et al. Comparing representational geometries using whitened unbiased
       distance-matrix similarity. Neurons, Behavior, Data analysis, and Theory 5 (2021).

    Examples
    --------
    >>> from sklearn_rdm.metrics import rdm_whitened_pearson_score
    >>> pairs = [[0, 1], [0, 2], [1, 3], [2, 3]]  # of 4 images, two pairs were not measured
    >>> round(rdm_whitened_pearson_score([1, 2, 3, 5], [1, 2, 4, 4], pairs=pairs), 3)
    0.819
    """
    options = sample_weight, subject_average, time_average
    return _score("whitened_pearson", y_true, y_pred, *options, pairs, pattern_covariance)


def _score(
    name: str,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    subject_average: bool,
    time_average: bool,
    pairs: Any = None,
    pattern_covariance: Any = None,
) -> float | np.ndarray:
    measure, index = MEASURES[name], None
    options: dict[str, Any] = {}
    pairs, y_true, (y_pred,), _ = to_pairs(pairs, y_true, [y_pred], None, sample_weight)
    observed = check_observed(y_true)
    check_time_average(time_average, observed.ndim == 3)
    predicted = check_predicted(y_pred, len(observed))[:, np.newaxis]
    weights = check_weights(sample_weight, len(observed))
    if measure.needs_pairs:
        index = index_of_pairs(pairs, len(observed))
        options = {"covariance": check_covariance(pattern_covariance, index)}
    given = keep_weighted(weights, observed, predicted, index)
    scores = score_columns(measure, *given, **options)[0]
    warn_undefined(scores)
    return average_scores(scores, subject_average=subject_average, time_average=time_average)


SCORES: dict[str, Callable] = {
    "cosine": rdm_cosine_score,
    "kendall_tau_a": rdm_kendall_tau_a_score,
    "pearson": rdm_pearson_score,
    "rho_a": rdm_rho_a_score,
    "spearman": rdm_spearman_score,
    "whitened_cosine": rdm_whitened_cosine_score,
    "whitened_pearson": rdm_whitened_pearson_score,
}
