"""Scores, other subjects and the noise ceiling, all on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_rdm.metrics._conventions import NoiseCeilingConvention, get_convention
from sklearn_rdm.metrics._draws import check_inputs
from sklearn_rdm.metrics._measures import score_columns
from sklearn_rdm.metrics._noise_ceiling import (
    BOUNDS,
    check_subjects,
    mean_ceiling,
    score_bound,
)
from sklearn_rdm.metrics._results import InferenceResult

__all__ = ["rdm_ceiling_report"]


def rdm_ceiling_report(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    folds: Sequence | None = None,
    convention: str | NoiseCeilingConvention = "rsatoolbox",
    scoring: str | None = None,
) -> InferenceResult:
    """Compare the score of each fold with other subjects and the ceiling on the very same pairs.

    A ceiling depends on the pairs: small folds have another ceiling than all pairs. The
    share is the mean score over the mean of the bound with which the convention normalises.

    Parameters
    ----------
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2)
        Which images each pair compares; or the images, if ``y_true`` is
        :class:`~sklearn_rdm.ResponsePatterns`.
    y_true : array-like of shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times), or \
ResponsePatterns
        Measured dissimilarities of two or more subjects; NaN: this subject has no value for the
        pair. A pair that one subject alone has is left out of all three.
    y_pred : array-like of shape (n_pairs,)
        Predicted dissimilarities, finite; with response patterns also (n_images, n_images).
    folds : sequence of array-like of int, default=None
        Rows of ``pairs`` of each test fold, ``[test for _, test in cv.split(pairs)]``; with
        response patterns, rows of the images. None: all pairs as one fold.
    convention : str or NoiseCeilingConvention, default="rsatoolbox"
        As in :func:`noise_ceiling`: whether scores are squared, how subjects are pooled, and which
        bound normalises.
    scoring : str, default=None
        Score to use in place of the convention's, a name of :func:`get_rdm_scorer`.

    Returns
    -------
    result : InferenceResult
        Prints as a table, one row a fold and one of the mean; ``result.to_frame()`` is a DataFrame.
        Columns: ``fold``, ``n_images``, ``n_pairs``, ``score``, ``other_subjects`` (the lower
        bound), ``upper`` and ``share``. The last four of the mean also by attribute, floats.

    Raises
    ------
    ValueError
        As :func:`noise_ceiling`, for any fold.

    See Also
    --------
    compare_rdm_scores : Whether a model differs from the other subjects.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.spatial.distance import pdist
    >>> from sklearn_rdm.metrics import rdm_ceiling_report
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((8, 3))
    >>> y_true = np.array([pdist(features + rng.standard_normal((8, 3))) for _ in range(4)]).T
    >>> pairs = np.column_stack(np.triu_indices(8, 1))
    >>> folds = [np.flatnonzero((pairs % 2 == fold).all(axis=1)) for fold in (0, 1)]
    >>> report = rdm_ceiling_report(pairs, y_true, pdist(features), folds=folds)
    >>> len(report.records), report.share == report.score / report.other_subjects
    (3, True)
    """
    choices = get_convention(convention, scoring)
    index, observed, predicted, tests, _ = check_inputs(pairs, y_true, [y_pred], folds)
    rows = [_fold_row(choices, observed[t], predicted[t], index[t]) for t in tests]
    mean = {
        name: float(np.mean([row[name] for row in rows]))
        for name in ("score", "other_subjects", "upper")
    }
    mean["share"] = _share(choices, mean)
    totals = {"n_images": int(index.max()) + 1, "n_pairs": sum(row["n_pairs"] for row in rows)}
    records = [{"fold": str(number), **row} for number, row in enumerate(rows)]
    return InferenceResult(records=[*records, {"fold": "mean", **totals, **mean}], **mean)


def _fold_row(
    choices: NoiseCeilingConvention, y: np.ndarray, predicted: np.ndarray, index: np.ndarray
) -> dict[str, Any]:
    observed = check_subjects(y)
    each = score_columns(choices.measure, observed, predicted, index)[0]
    lower, upper = (
        float(mean_ceiling(score_bound(bound, observed, choices, index), choices, True))
        for bound in BOUNDS
    )
    # The mean over time, the square and the mean over subjects are those of a ceiling.
    score = float(mean_ceiling(each, choices, True))
    row = {"score": score, "other_subjects": lower, "upper": upper}
    counts = {"n_images": len(np.unique(index)), "n_pairs": len(index)}
    return {**counts, **row, "share": _share(choices, row)}


def _share(choices: NoiseCeilingConvention, row: dict[str, float]) -> float:
    bound = row["other_subjects" if choices.bound == "lower" else "upper"]
    return row["score"] / bound if bound > 0 else float("nan")
