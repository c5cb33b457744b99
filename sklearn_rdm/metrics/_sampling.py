"""How far the score of a random part of the pairs may be from that of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm.metrics._checks import to_pairs
from sklearn_rdm.metrics._draws import check_inputs
from sklearn_rdm.metrics._scorers import as_pairs_scorer

__all__ = ["rdm_sampling_error"]

MIN_GROUP = 10  # pairs of a group: of fewer, scores of groups are biased


def rdm_sampling_error(
    pairs: Any,
    y_true: Any,
    y_pred: Any,
    *,
    scoring: str | Callable = "spearman",
    n_groups: int = 50,
    random_state: Any = 0,
) -> float:
    """Estimate the standard error of a score of randomly drawn pairs, against that of all pairs.

    By random groups [1]_: the ``m`` pairs are split at random into groups, and ``error = sd(scores
    of the groups) / sqrt(n_groups) * sqrt(1 - m / N)``, with the ``N = n (n - 1) / 2`` pairs of the
    ``n`` images. It is the error of not having looked at all pairs, and no interval for other
    images or subjects, which :func:`rdm_bootstrap` gives.

    Parameters
    ----------
    pairs : ImagePairs
        The pairs that were drawn, ``patterns.to_pairs(images, n_pairs=10**6, random_state=0)``; or
        the images, if ``y_true`` is :class:`~sklearn_rdm.ResponsePatterns`, for the error of all
        pairs: 0.
    y_true : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Measured dissimilarities; NaN: this subject has no value for the pair.
    y_pred : array-like of shape (n_pairs,) or (n_images, n_images)
        Predicted dissimilarities, finite.
    scoring : str or scorer, default="spearman"
        As in :func:`rdm_permutation_test`, but not a whitened score, which changes with the part
        of the pairs.
    n_groups : int, default=50
        Number of groups, 2 or more, each of 10 pairs at least. The estimate has ``n_groups - 1``
        degrees of freedom.
    random_state : int, RandomState instance or None, default=0
        Seed of the groups.

    Returns
    -------
    error : float
        In units of the score.

    Raises
    ------
    ValueError
        If the shapes do not match, there are too few pairs for the groups, or ``scoring`` is
        unknown or a whitened score.

    See Also
    --------
    sklearn_rdm.ResponsePatterns.to_pairs : Draws the pairs.

    References
    ----------
    .. [1] Wolter, K. M. Introduction to Variance Estimation. Springer (2007), chapter 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FixedRSARegressor, ResponsePatterns
    >>> from sklearn_rdm.metrics import rdm_sampling_error, rdm_spearman_score
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((200, 10))
    >>> patterns = ResponsePatterns(features @ rng.standard_normal((10, 30)))
    >>> pairs, dissim = patterns.to_pairs(features, n_pairs=2000, random_state=0)
    >>> predicted = FixedRSARegressor().fit(pairs).predict(pairs)
    >>> round(rdm_spearman_score(dissim, predicted), 2)
    0.86
    >>> round(rdm_sampling_error(pairs, dissim, predicted), 3)
    0.006
    """
    scorer = as_pairs_scorer(scoring)
    if scorer.needs_pairs and scorer.measure is not None:
        raise ValueError(
            "a whitened score of a part of the pairs is not an estimate of that of all pairs. "
            "Response patterns have it of all pairs: give scorers images and patterns."
        )
    pairs, y_true, y_preds, _ = to_pairs(pairs, y_true, [y_pred])
    index, observed, predicted, _, images = check_inputs(pairs, y_true, y_preds)
    groups = _split(len(index), n_groups, random_state)
    score = scorer.columns_for(observed)
    scores = [average(score(observed[rows], predicted[rows], index[rows]))[0] for rows in groups]
    n_images = len(getattr(pairs, "images", images))
    share = len(index) / (n_images * (n_images - 1) / 2)
    error = np.std(scores, ddof=1) / np.sqrt(n_groups) * np.sqrt(max(1 - share, 0))
    return float(error)


def _split(n_pairs: int, n_groups: int, random_state: Any) -> list[np.ndarray]:
    """Rows of the pairs of each group."""
    if n_groups < 2 or n_pairs < MIN_GROUP * n_groups:
        raise ValueError(
            f"{n_pairs} pairs make no {n_groups} groups of {MIN_GROUP} pairs: draw more pairs, or "
            "take fewer groups, at least 2."
        )
    return np.array_split(check_random_state(random_state).permutation(n_pairs), n_groups)
