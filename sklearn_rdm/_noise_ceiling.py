"""How well any model could score, given how much subjects disagree; and scores relative to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sklearn_rdm._similarity import (
    WHITENED,
    average,
    check_index,
    check_observed,
    check_predicted,
    get_measure,
    group_columns,
    score_columns,
    warn_undefined,
)

POOL_OF_METRIC = {
    "cosine": "rms",
    "kendall_tau_a": "rank",
    "pearson": "zscore",
    "rho_a": "rank",
    "spearman": "rank",
    "whitened_cosine": "rms",
    "whitened_pearson": "zscore",
}
POOLINGS = ("mean", "metric", "rank", "rms", "zscore")


@dataclass(frozen=True)
class NoiseCeilingConvention:
    """The choices by which published noise ceilings differ.

    Parameters
    ----------
    metric : str, default="spearman"
        Measure between a subject and the pooled subjects, a name of :func:`get_rdm_scorer`.
    pooling : {"mean", "rank", "zscore", "rms", "metric"}, default="metric"
        How subjects are averaged: as they are, as ranks, z-scored, divided by their root mean
        square, or by what suits the metric (ranks for rank correlations, z-scores for Pearson,
        root mean square for cosine).
    squared : bool, default=False
        Whether the measure is squared for each subject, before the mean over subjects.
    bound : {"lower", "upper"}, default="lower"
        Which bound normalises a score: other subjects against each subject, or all of them.
    aggregation : {"ratio_of_means", "mean_of_ratios"}, default="mean_of_ratios"
        For several targets: mean score over mean ceiling, or the mean of normalised scores.

    Raises
    ------
    ValueError
        If a choice is unknown.

    See Also
    --------
    noise_ceiling : Uses a convention, a published one by its name.

    Examples
    --------
    >>> from sklearn_rdm.metrics import NoiseCeilingConvention, noise_ceiling
    >>> mine = NoiseCeilingConvention(metric="pearson", pooling="mean")
    >>> lower, upper = noise_ceiling([[1, 2], [2, 1], [3, 3]], convention=mine)
    >>> round(lower, 3), round(upper, 3)
    (0.5, 0.866)
    """

    metric: str = "spearman"
    pooling: str = "metric"
    squared: bool = False
    bound: str = "lower"
    aggregation: str = "mean_of_ratios"

    def __post_init__(self) -> None:
        get_measure(self.metric)
        for field, known in {
            "pooling": POOLINGS,
            "bound": ("lower", "upper"),
            "aggregation": ("mean_of_ratios", "ratio_of_means"),
        }.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {known}, got {getattr(self, field)!r}.")


CONVENTIONS = {
    "algonauts2019": NoiseCeilingConvention(
        pooling="mean", squared=True, bound="upper", aggregation="ratio_of_means"
    ),
    "brain-score": NoiseCeilingConvention(pooling="mean", bound="upper"),
    "net2brain": NoiseCeilingConvention(pooling="mean", squared=True),
    "rsatoolbox": NoiseCeilingConvention(),
}


def noise_ceiling(
    y: Any,
    *,
    convention: str | NoiseCeilingConvention = "algonauts2019",
    metric: str | None = None,
    pairs: Any = None,
) -> tuple[float, float]:
    """Bounds of the score that the best possible model reaches on these subjects.

    ``upper = mean_s f(y_s, pool(all subjects))`` and
    ``lower = mean_s f(y_s, pool(all subjects but s))``, with the measure ``f`` (or its square) and
    the pooling of the convention:

    =============  ================  ========  =======  ===============  ==================
    convention     metric            pooling   squared  normalises with  several targets
    =============  ================  ========  =======  ===============  ==================
    algonauts2019  spearman          mean      yes      upper            ratio of means [1]_
    net2brain      spearman          mean      yes      lower            mean of ratios
    brain-score    spearman          mean      no       upper            mean of ratios
    rsatoolbox     any               metric's  no       lower            mean of ratios [2]_
    =============  ================  ========  =======  ===============  ==================

    Parameters
    ----------
    y : array-like of shape (n_pairs, n_subjects)
        Measured dissimilarities of two or more subjects, on any scale. NaN: this subject lacks
        this pair; pools are made of the subjects that have it.
    convention : str or NoiseCeilingConvention, default="algonauts2019"
        A name of the table, or choices of your own. Compare signed scores, such as
        :func:`rdm_spearman_score`, with a convention that does not square.
    metric : str, default=None
        Measure to use in place of the convention's, a name of :func:`get_rdm_scorer`.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares; only the whitened measures need it. None: all pairs of
        the images, upper triangle row by row.

    Returns
    -------
    lower, upper : float
        In the units of the measure, squared if the convention squares.

    Raises
    ------
    ValueError
        If there is one subject only, or the convention or metric is unknown.

    See Also
    --------
    noise_normalized_r2_score : Score of a model as a fraction of the ceiling of the same pairs.

    References
    ----------
    .. [1] Cichy, R. M. et al. The Algonauts Project: a platform for communication between the
       sciences of biological and artificial intelligence. arXiv:1905.05675 (2019).
    .. [2] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014).

    Examples
    --------
    >>> from sklearn_rdm.metrics import noise_ceiling
    >>> y = [[1, 2, 1], [2, 1, 2], [3, 3, 4], [5, 4, 3]]
    >>> lower, upper = noise_ceiling(y, convention="rsatoolbox")
    >>> round(lower, 3), round(upper, 3)
    (0.79, 0.867)
    >>> lower, upper = noise_ceiling(y, convention="algonauts2019")
    >>> round(lower, 3), round(upper, 3)
    (0.661, 0.76)
    """
    choices = get_convention(convention, metric)
    observed = check_subjects(y)
    index = check_index(pairs, len(observed)) if choices.metric in WHITENED else None
    lower = _score_lower(observed, choices, index)
    upper = _score_upper(observed, choices, index)
    warn_undefined(lower + upper)
    return float(average(lower)), float(average(upper))


def noise_normalized_r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    convention: str | NoiseCeilingConvention = "algonauts2019",
    metric: str | None = None,
    pairs: Any = None,
    subject_average: bool = True,
) -> float | np.ndarray:
    """Squared correlation with each subject, as a fraction of the noise ceiling of these pairs.

    ``R2 = mean_s f(y_s, p)**2`` over ``ceiling``, that bound of :func:`noise_ceiling` with which
    the convention normalises, computed on the very pairs that are scored. For several targets, the
    challenge's ``mean_t R2_t / mean_t ceiling_t``, or the mean of ratios if the convention says so.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs, n_subjects), or list of such
        Measured dissimilarities of two or more subjects; a list for several targets. NaN: this
        subject lacks this pair, which is then left out for this subject only.
    y_pred : array-like of shape (n_pairs,), or list of such
        Predicted dissimilarities, finite; one vector per target.
    convention : str or NoiseCeilingConvention, default="algonauts2019"
        As in :func:`noise_ceiling`; it must be one that squares.
    metric : str, default=None
        Measure to use in place of the convention's, a name of :func:`get_rdm_scorer`.
    pairs : ImagePairs or array-like of int of shape (n_pairs, 2), default=None
        Which images each pair compares; only the whitened measures need it. The ready scorer
        passes the pairs that it scores.
    subject_average : bool, default=True
        Whether to return the mean over subjects or one score per subject.

    Returns
    -------
    score : float or ndarray of shape (n_subjects,)
        0 or more, 1 at the ceiling, no percentage. Squares have no sign and a positive chance
        level: :func:`rdm_permutation_test` gives the score that is expected of an unrelated RDM.
        NaN, with an ``UndefinedMetricWarning``, if predictions are constant.

    Raises
    ------
    ValueError
        If there is one subject only, the convention does not square, or the numbers of targets,
        or of subjects if ``subject_average=False``, differ.

    See Also
    --------
    rdm_spearman_score : The one to prefer for choosing models: signed, and not below chance.

    References
    ----------
    .. [1] Cichy, R. M. et al. The Algonauts Project: a platform for communication between the
       sciences of biological and artificial intelligence. arXiv:1905.05675 (2019).

    Examples
    --------
    >>> from sklearn_rdm.metrics import noise_normalized_r2_score
    >>> y_true = [[1, 2, 1], [2, 1, 2], [3, 3, 4], [5, 4, 3]]
    >>> round(noise_normalized_r2_score(y_true, [1, 2, 4, 3]), 3)
    0.877
    """
    choices = get_convention(convention, metric)
    targets = _pair_targets(y_true, y_pred)
    squares, ceilings = [], []
    for observed, predicted in targets:
        index = check_index(pairs, len(observed)) if choices.metric in WHITENED else None
        score, ceiling = _square_columns(choices, observed, predicted[:, np.newaxis], index)
        warn_undefined(score[0])
        squares.append(average(score[0]) if subject_average else score[0])
        ceilings.append(ceiling)
    if len({np.shape(square) for square in squares}) != 1:
        raise ValueError("subject_average=False needs the same subjects in every target.")
    if choices.aggregation == "ratio_of_means":
        normalized = _fraction(np.mean(squares, axis=0), np.mean(ceilings))
    else:
        normalized = np.mean([_fraction(*each) for each in zip(squares, ceilings, strict=True)], 0)
    return float(normalized) if subject_average else normalized


def normalized_r2_columns(
    observed: np.ndarray, predicted: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """Scores (n_predictions, n_subjects) by the challenge's convention; predictions may be NaN."""
    choices = CONVENTIONS["algonauts2019"]
    scores = np.full((predicted.shape[1], observed.shape[1]), np.nan)
    for has_prediction, predictions in group_columns(predicted):
        rows = np.flatnonzero(has_prediction)
        if len(rows):
            columns = predicted[np.ix_(rows, predictions)]
            squares, ceiling = _square_columns(choices, observed[rows], columns, index[rows])
            scores[predictions] = _fraction(squares, ceiling)
    return scores


def get_convention(
    convention: str | NoiseCeilingConvention, metric: str | None = None
) -> NoiseCeilingConvention:
    """Choices of a named convention, or those given, with another metric if one is given."""
    if isinstance(convention, NoiseCeilingConvention):
        choices = convention
    elif isinstance(convention, str) and convention in CONVENTIONS:
        choices = CONVENTIONS[convention]
    else:
        raise ValueError(
            f"convention must be one of {sorted(CONVENTIONS)} or a NoiseCeilingConvention, got "
            f"{convention!r}."
        )
    return replace(choices, metric=(metric or choices.metric).removeprefix("rdm_"))


def check_subjects(y: Any) -> np.ndarray:
    """Float64 (n_pairs, n_subjects) of two or more subjects."""
    observed = check_observed(y)
    if observed.shape[1] < 2:
        raise ValueError(
            "a noise ceiling needs two or more subjects, got one: with nobody to agree with, it "
            "would be 1 whatever the noise. Give y of shape (n_pairs, n_subjects)."
        )
    return observed


def _pair_targets(y_true: Any, y_pred: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    several = isinstance(y_true, list | tuple) and all(np.ndim(target) == 2 for target in y_true)
    if not several:
        y_true, y_pred = [y_true], [y_pred]
    if len(y_true) != len(y_pred):
        raise ValueError(f"got {len(y_true)} targets and {len(y_pred)} predictions.")
    observed = [check_subjects(target) for target in y_true]
    return [
        (target, check_predicted(prediction, len(target)))
        for target, prediction in zip(observed, y_pred, strict=True)
    ]


def _square_columns(
    choices: NoiseCeilingConvention, observed: np.ndarray, predicted: np.ndarray, index: Any
) -> tuple[np.ndarray, np.ndarray]:
    if not choices.squared:
        raise ValueError(
            "a normalised r2 needs a convention that squares ('algonauts2019', 'net2brain'). For "
            "another one: dataclasses.replace(your_convention, squared=True)."
        )
    score_bound = _score_upper if choices.bound == "upper" else _score_lower
    ceiling = average(score_bound(observed, choices, index))
    return score_columns(get_measure(choices.metric), observed, predicted, index) ** 2, ceiling


def _fraction(squares: np.ndarray, ceiling: Any) -> np.ndarray:
    return squares / ceiling if ceiling > 0 else np.full_like(squares, np.nan)


def _score_upper(observed: np.ndarray, choices: NoiseCeilingConvention, index: Any) -> np.ndarray:
    pooled = average(_rescale(observed, choices))[:, np.newaxis]
    scores = score_columns(get_measure(choices.metric), observed, pooled, index)[0]
    return scores**2 if choices.squared else scores


def _score_lower(observed: np.ndarray, choices: NoiseCeilingConvention, index: Any) -> np.ndarray:
    rescaled = _rescale(observed, choices)
    scores = np.empty(observed.shape[1])
    for subject in range(observed.shape[1]):
        others = average(np.delete(rescaled, subject, axis=1))[:, np.newaxis]
        left_out = observed[:, [subject]]
        scores[subject] = score_columns(get_measure(choices.metric), left_out, others, index)[0, 0]
    return scores**2 if choices.squared else scores


def _rescale(observed: np.ndarray, choices: NoiseCeilingConvention) -> np.ndarray:
    pooling = choices.pooling
    if pooling == "metric":
        pooling = POOL_OF_METRIC[choices.metric]
    if pooling == "rank":
        return rankdata(observed, axis=0, nan_policy="omit")
    if pooling == "mean":
        return observed
    if pooling == "zscore":
        observed = observed - average(observed.T)
    scales = np.sqrt(average(observed.T**2))
    return observed / np.where(scales > 0, scales, 1)
