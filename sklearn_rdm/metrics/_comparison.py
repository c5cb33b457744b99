"""Several models: each against each, against chance and against the noise ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from sklearn_rdm._pairs._dissimilarities import as_real, average
from sklearn_rdm.metrics._draws import average_folds
from sklearn_rdm.metrics._intervals import Estimate, Estimator
from sklearn_rdm.metrics._multiple import correct
from sklearn_rdm.metrics._names import name_models
from sklearn_rdm.metrics._results import InferenceResult

__all__ = ["compare_fold_scores", "compare_rdm_scores"]

CEILING, CHANCE = "lower ceiling", "chance"


def compare_rdm_scores(
    pairs: Any,
    y_true: Any,
    *y_preds: Any,
    names: Sequence[str] | None = None,
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
    """Compare the scores of any number of models on the same pairs.

    All pairs of models, each model against chance (a score of 0), and each against the lower noise
    ceiling of the same pairs (how well the other subjects predict each). All are scored on the same
    samples of :func:`rdm_bootstrap`, so that what images and subjects have in common cancels; a
    fold or a subject that has no score of one model in a sample is left out for both.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares; or the images, if ``y_true`` is
        :class:`~sklearn_rdm.ResponsePatterns`.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair. Of time courses, each
        subject's score is its mean over time points.
    *y_preds : array-likes of shape (n_pairs,), or one dict of them
        Dissimilarities that the models predict, finite; a dict has the models' names as keys.
    names : sequence of str, default=None
        The models' names; None calls them "model 0", "model 1", ...
    over : {"images", "subjects", "both"}, default="both"
        What is random, thus to which population the conclusion refers. "subjects" is the paired
        t-test over subjects.
    method : {"jackknife", "schuett2023", "t-test", "percentile"}, default="jackknife"
        How variances are estimated, as in :func:`rdm_bootstrap`; "t-test" over images is the t-test
        of the jackknife's pseudo-values of the images.
    scoring : str or scorer, default="spearman"
        As in :func:`rdm_permutation_test`. Chance is left out for scores that chance alone lifts
        above 0, as cosine and squared ones, and for score functions of your own; the ceiling for
        score functions that are not of this module, and for one subject.
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, to score each fold separately, as in
        :func:`rdm_bootstrap`; right for predictions of models that were fitted fold by fold.
    n_resamples : int, default=1000
        How many samples are drawn.
    confidence_level : float, default=0.95
        Between 0 and 1; of each interval separately.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples; the same for every ``n_jobs``. None draws others at each call.
    n_jobs : int, default=None
        Processes, as everywhere in joblib.
    verbose : int, default=0
        Above 0 shows progress.

    Returns
    -------
    result : InferenceResult
        Prints as a table of all comparisons; ``result.to_frame()`` is a DataFrame, with columns
        ``model``, ``other``, ``difference``, ``standard_error``, ``low``, ``high``, ``dof``,
        ``pvalue``, ``pvalue_holm`` and ``pvalue_bh``. Against chance p is one-sided, else
        two-sided; Holm's and Benjamini and Hochberg's corrections are over the comparisons of one
        kind. Also by attribute:

        ``names``; ``scores`` : ndarray of shape (n_models,); ``fold_scores`` : (n_models, n_folds);
        ``subject_scores`` : (n_models, n_subjects); ``confidence_intervals`` : (n_models, 2), of
        the scores; ``noise_ceiling`` : float, its lower bound, or None; ``pvalues``,
        ``pvalues_holm`` and ``pvalues_bh`` : (n_models, n_models), symmetric, NaN on the diagonal.
        Of two models, for convenience, ``difference``, ``pvalue``, ``confidence_interval``,
        ``standard_error``, ``bootstrap_distribution`` and ``fold_differences`` of their difference,
        first less second. A model without a score in some fold has no score: its differences are
        NaN and p is 1, with an ``UndefinedMetricWarning``.

    Raises
    ------
    ValueError
        As :func:`rdm_bootstrap`; if there is no model, or names are not one per model and all
        different.

    See Also
    --------
    rdm_permutation_test : Whether one model predicts anything at all; it holds in small samples.
    compare_fold_scores : From the fold scores of a repeated cross-validation.
    sklearn_rdm.RDMScoresDisplay : Draws the result.

    Notes
    -----
    All pairs count alike: unlike scores and ``fit``, this takes no ``sample_weight``.

    References
    ----------
    .. [1] Schuett, H. H. et al. Statistical inference on representational geometries. eLife 12,
       e82566 (2023).
    .. [2] Holm, S. A simple sequentially rejective multiple test procedure. Scand. J. Stat. 6,
       65-70 (1979).
    .. [3] Benjamini, Y. & Hochberg, Y. Controlling the false discovery rate. J. R. Stat. Soc. B 57,
       289-300 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import compare_rdm_scores
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 5))
    >>> pairs = np.column_stack(np.triu_indices(20, 1))
    >>> y_true = np.array([pdist(features + rng.standard_normal((20, 5))) for _ in range(6)]).T
    >>> models = {"all": pdist(features), "one": pdist(features[:, :1])}
    >>> result = compare_rdm_scores(pairs, y_true, models, random_state=0)
    >>> result.pvalue < 0.05
    True
    >>> [(row["model"], row["other"]) for row in result.records[:3]]
    [('all', 'one'), ('all', 'chance'), ('one', 'chance')]
    """
    names, predictions = name_models(y_preds, names)
    estimator = Estimator(
        (pairs, y_true, predictions, folds),
        over=over,
        method=method,
        scoring=scoring,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        with_ceiling=True,
        random_state=random_state,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    fold_scores = average(estimator.scores.full[: len(names)])
    scores = average_folds(fold_scores, names)
    alone = [estimator.estimate(model) for model in range(len(names))]
    estimator.warn_of_gaps(alone, stacklevel=4)
    return _compare(names, estimator, alone, scores=scores, fold_scores=fold_scores)


def compare_fold_scores(
    fold_scores: Any, *, n_train: int, n_test: int, names: Sequence[str] | None = None
) -> InferenceResult:
    """Compare models by the scores of the same folds of a (repeated) cross-validation.

    The t-test of the mean difference ``d`` over ``J`` folds with the variance ``(1 / J + n_test /
    n_train) var(d)`` [1]_, ``J - 1`` degrees of freedom: training sets overlap, so that folds
    depend on each other, and a plain t-test finds differences that are none.

    Parameters
    ----------
    fold_scores : array-like of shape (n_models, n_folds), or dict of (n_folds,)
        Scores of every fold of every repetition, the same folds for all models.
    n_train, n_test : int
        Images in the training and the test set of a fold, not pairs: images are independent, pairs
        are not.
    names : sequence of str, default=None
        The models' names; None calls them "model 0", "model 1", ...

    Returns
    -------
    result : InferenceResult
        Prints as a table of all pairs of models; ``result.to_frame()`` is a DataFrame, with the
        columns of :func:`compare_rdm_scores`, intervals of 95 %. ``names``, ``scores``,
        ``fold_scores``, ``pvalues``, ``pvalues_holm`` and ``pvalues_bh`` as there.

    Raises
    ------
    ValueError
        If there are fewer than two models or folds, a score is not finite, or a number of images is
        not positive.

    See Also
    --------
    sklearn_rdm.model_selection.RepeatedImageKFold : Makes the folds.
    compare_rdm_scores : From the predictions; its conclusion is about images and subjects.

    Notes
    -----
    The correction assumes that the correlation between folds is ``n_test / (n_train + n_test)``. It
    is a rule of thumb, found good in simulations.

    References
    ----------
    .. [1] Nadeau, C. & Bengio, Y. Inference for the generalization error. Mach. Learn. 52, 239-281
       (2003).

    Examples
    --------
    >>> from sklearn_rdm.metrics import compare_fold_scores
    >>> scores = {"fixed": [0.21, 0.18, 0.25, 0.2], "tuned": [0.31, 0.29, 0.33, 0.32]}
    >>> compare_fold_scores(scores, n_train=69, n_test=23)
    model  other  difference  standard_error     low    high  dof  pvalue  pvalue_holm  pvalue_bh
    fixed  tuned      -0.103           0.013  -0.144  -0.061  3.0   0.004        0.004      0.004
    """
    given = (fold_scores,) if isinstance(fold_scores, Mapping) else tuple(fold_scores)
    names, rows = name_models(given, names)
    values = as_real(rows, "fold_scores")
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(
            "fold_scores must be finite and have shape (n_models, n_folds), two or more of both, "
            f"got {values.shape}."
        )
    if not (n_train >= 1 and n_test >= 1):  # of NaN neither holds
        raise ValueError(f"n_train and n_test must be positive, got {n_train} and {n_test}.")
    couples = list(combinations(range(len(values)), 2))
    estimates = [_estimate_folds(values[i] - values[j], n_test / n_train) for i, j in couples]
    records = _rows_between(names, couples, estimates)
    return InferenceResult(
        records=records,
        names=names,
        scores=values.mean(axis=1),
        fold_scores=values,
        **_matrices(couples, records, len(values)),
    )


def _compare(
    names: Sequence[str], estimator: Estimator, alone: Sequence[Estimate], **scores: np.ndarray
) -> InferenceResult:
    """All comparisons of models that were scored on the same samples, and ``alone``."""
    n_models = len(names)
    couples = list(combinations(range(n_models), 2))
    between = [estimator.estimate(first, second) for first, second in couples]
    rows = _rows_between(names, couples, between)
    below, ceiling = _rows_below_ceiling(names, estimator)
    result = InferenceResult(
        records=[*rows, *_rows_against_chance(names, estimator, alone), *below],
        names=names,
        **scores,
        subject_scores=np.array([estimator.scores.contrast(i).full for i in range(n_models)]),
        confidence_intervals=np.array([[each.low, each.high] for each in alone]),
        noise_ceiling=ceiling,
        **_matrices(couples, rows, n_models),
    )
    if n_models == 2:
        _add_difference(result, between[0], rows[0])
    return result


def _rows_between(
    names: Sequence[str], couples: Sequence[tuple[int, int]], estimates: Sequence[Estimate]
) -> list[dict[str, Any]]:
    """A row for each couple of models."""
    given = zip(couples, estimates, strict=True)
    return correct([_row(names[i], names[j], each) for (i, j), each in given])


def _rows_against_chance(
    names: Sequence[str], estimator: Estimator, alone: Sequence[Estimate]
) -> list[dict[str, Any]]:
    """A row for each model, none if chance alone lifts the score above 0."""
    if estimator.measure is None or not estimator.measure.zero_by_chance:
        return []
    given = zip(names, alone, strict=True)
    return correct([_row(name, CHANCE, each, one_sided=True) for name, each in given])


def _rows_below_ceiling(
    names: Sequence[str], estimator: Estimator
) -> tuple[list[dict[str, Any]], float | None]:
    """A row for each model, and the ceiling; none if there is no ceiling."""
    n_models = len(names)
    if not estimator.has_ceiling or np.isnan(average(estimator.scores.full[-1])).any():
        return [], None
    below = [estimator.estimate(model, n_models) for model in range(n_models)]
    given = zip(names, below, strict=True)
    rows = correct([_row(name, CEILING, each) for name, each in given])
    return rows, float(estimator.estimate(n_models).value)


def _estimate_folds(differences: np.ndarray, test_share: float) -> Estimate:
    n_folds = len(differences)
    mean = float(differences.mean())
    error = float(np.sqrt((1 / n_folds + test_share) * differences.var(ddof=1)))
    half = error * float(stats.t.isf(0.025, n_folds - 1))
    return Estimate(mean, error, mean - half, mean + half, float(n_folds - 1), differences)


def _row(model: str, other: str, each: Estimate, one_sided: bool = False) -> dict[str, Any]:
    return {
        "model": model,
        "other": other,
        "difference": each.value,
        "standard_error": each.standard_error,
        "low": each.low,
        "high": each.high,
        "dof": each.dof,
        "pvalue": each.pvalue(one_sided),
    }


def _matrices(couples: list, rows: list[dict], n_models: int) -> dict[str, np.ndarray]:
    """p-values of all couples of models as symmetric matrices."""
    matrices = {}
    for column in ("pvalue", "pvalue_holm", "pvalue_bh"):
        matrix = np.full((n_models, n_models), np.nan)
        for (first, second), row in zip(couples, rows, strict=True):
            matrix[first, second] = matrix[second, first] = row[column]
        matrices[column.replace("pvalue", "pvalues")] = matrix
    return matrices


def _add_difference(result: InferenceResult, difference: Estimate, row: dict) -> None:
    """What a comparison of two models has beside the table."""
    result.difference, result.pvalue = difference.value, row["pvalue"]
    result.confidence_interval = (difference.low, difference.high)
    result.standard_error = difference.standard_error
    result.bootstrap_distribution = difference.samples
    result.fold_differences = result.fold_scores[0] - result.fold_scores[1]
