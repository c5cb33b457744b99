"""The interval of a score, with images and subjects as the random units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm.metrics._draws import average_folds
from sklearn_rdm.metrics._intervals import Estimator
from sklearn_rdm.metrics._results import InferenceResult

__all__ = ["rdm_bootstrap"]


def rdm_bootstrap(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    over: str = "both",
    method: str = "jackknife",
    scoring: str | Callable = "spearman",
    folds: Sequence | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: Any = 0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> InferenceResult:
    """Estimate the interval of a score for new images, new subjects or both.

    Images are left out, or drawn with replacement, within their image set (the connected parts of
    the pairs' graph). A pair whose images were drawn ``a`` and ``b`` times counts ``a b`` times,
    and pairs of an image with its own copy are dropped.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares; or the images, if ``y_true`` is
        :class:`~sklearn_rdm.ResponsePatterns`.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    over : {"images", "subjects", "both"}, default="both"
        What is random, thus to which population the interval refers.
    method : {"jackknife", "schuett2023", "t-test", "percentile"}, default="jackknife"
        How the variance is estimated; see Notes.
    scoring : str or scorer, default="spearman"
        As in :func:`rdm_permutation_test`. A noise ceiling is that of the images drawn and of all
        the subjects, each once.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, ``[test for _, test in cv.split(pairs)]``, to score
        each fold separately: the score is then the mean over folds, and pairs of no fold need no
        prediction. With response patterns, rows of the images. None: all pairs together.
    n_resamples : int, default=1000
        How many samples are drawn.
    confidence_level : float, default=0.95
        Between 0 and 1.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples; the same for every ``n_jobs``. None draws others at each call.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : InferenceResult
        Prints as a small table; ``result.to_frame()`` is a DataFrame. ``score`` : float, of the
        data as they are; ``fold_scores`` : ndarray of shape (n_folds,); ``confidence_interval`` :
        (low, high), ``score +/- t standard_error``; ``standard_error`` : float; ``dof`` : float,
        degrees of freedom of ``t``, NaN for percentiles; ``bootstrap_distribution`` : ndarray of
        shape (n_resamples,), empty where nothing is drawn, NaN where a sample has too few distinct
        images, which is left out with an ``UndefinedMetricWarning``; a fold that has too few is
        left out of its sample. If a fold has no score as it is, such as one of constant
        predictions, score, interval and distribution are NaN, with the same warning.

    Raises
    ------
    ValueError
        If the shapes do not match, ``over``, ``method`` or ``scoring`` is unknown, or subjects are
        random and there is one only.

    See Also
    --------
    compare_rdm_scores : Several models: differences, chance and the noise ceiling.

    Notes
    -----
    With ``S`` subjects, ``n`` images, ``a = S / (S - 1)``, ``b = n / (n - 1)`` and the score
    ``f_s`` of subject ``s``, the variances are made of:

    - ``Vs = sum_s (f_s - mean f)^2 / (S (S - 1))``, over subjects;
    - ``J(x) = (n - 1) / n sum_i (x_i - mean x)^2``, the jackknife of ``x`` over images, where
      ``x_i`` leaves out image ``i`` [2]_;
    - ``B``, the variance of the bootstrap over images times ``b``, and ``Vb``, that over both.

    "jackknife" takes ``Vs + J(mean f) - sum_s J(f_s - mean f) / (S (S - 1))`` over both, at least
    ``Vs``, with Satterthwaite's degrees of freedom; ``2 J(mean f) - B`` over images, at least
    ``J(mean f) / 2``, and ``n - 1``; ``Vs`` over subjects, and ``S - 1``. Its choice for these
    scores is ours. Over both it is the variance of two crossed factors, less what both count, as
    for standard errors that are clustered two ways [3]_. It stays too wide where noise of single
    pairs is common to all subjects, since a jackknife counts that twice. Over images, the noise of
    single pairs is in ``J`` twice and in ``B`` three times, so that ``2 J - B`` counts it once, if
    a score is a mean over pairs; other scores are, nearly, in large samples.

    "schuett2023" is the published correction [1]_: over both ``Vs + B - a b (Vb - Vs / a - B /
    b)``, at least ``Vs`` and ``B``, then at most ``Vb``, with ``min(S, n) - 1`` degrees of
    freedom; ``B`` over images, and ``n - 1``; ``Vs`` over subjects. Predictions are fixed, so that
    ``Vs`` and ``Vb`` follow from the draws of images exactly, without drawing subjects. It is
    wide.

    "t-test" takes ``J(mean f)`` over images and ``Vs`` over subjects. "percentile" takes the
    percentiles of the bootstrap as they are: far too wide over both, too narrow over few subjects.
    The user guide has simulations, and the cases in which each fails.

    The models are taken as they are fitted; what another sample would have made of them is not in
    the interval: see :func:`~sklearn_rdm.model_selection.cross_val_bootstrap`.

    All pairs count alike: unlike scores and ``fit``, this takes no ``sample_weight``.

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).
    .. [2] Efron, B. & Stein, C. The jackknife estimate of variance. Ann. Stat. 9, 586-596 (1981).
    .. [3] Cameron, A. C., Gelbach, J. B. & Miller, D. L. Robust inference with multiway clustering.
       J. Bus. Econ. Stat. 29, 238-249 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import rdm_bootstrap
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 5))
    >>> pairs = np.column_stack(np.triu_indices(20, 1))
    >>> y_true = pdist(features + rng.standard_normal((20, 5)))
    >>> result = rdm_bootstrap(
    ...     pairs, y_true, pdist(features), over="images", n_resamples=100, random_state=0
    ... )
    >>> low, high = result.confidence_interval
    >>> bool(low < result.score < high)
    True
    """
    estimator = Estimator(
        (pairs, y_true, [y_pred], folds),
        over=over,
        method=method,
        scoring=scoring,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    fold_scores = average(estimator.scores.full)
    average_folds(fold_scores, ["y_pred"])
    value, error, low, high, dof, samples = estimate = estimator.estimate(0)
    estimator.warn_of_gaps([estimate], stacklevel=4)
    row = {"score": value, "standard_error": error, "low": low, "high": high, "dof": dof}
    return InferenceResult(
        records=[{"over": over, "method": method, **row}],
        score=value,
        fold_scores=fold_scores[0],
        confidence_interval=(low, high),
        standard_error=error,
        dof=dof,
        bootstrap_distribution=samples,
    )
