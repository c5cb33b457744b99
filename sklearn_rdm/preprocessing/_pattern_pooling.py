"""Pool subjects from response patterns, without the dissimilarities of all pairs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sklearn_rdm._pairs import ResponsePatterns
from sklearn_rdm._pairs._pair_index import AllPairs
from sklearn_rdm._pairs._pattern_moments import mean_and_scale
from sklearn_rdm.preprocessing._pooling import SubjectPooling, as_pooling

ALL_PAIRS = 2**22  # numbers: of so few, the dissimilarities of all pairs are looked at
SAMPLE = 2**20  # random numbers that ranks and reliabilities are learned from, beyond
NO_PAIR = "no subject has seen two of these images: there is nothing to learn."
CONSTANT = 1e-12  # of the mean: what rounding leaves of no spread


def pool_patterns(subject_pooling: Any, y: ResponsePatterns) -> Any:
    """Fit a pooling to all pairs of images with responses.

    Up to some thousand images it is fitted to the dissimilarities themselves. Beyond, "zscore" and
    "mean" are given each subject's exact mean and spread; all else is learned from a random sample
    of the pairs, the same each time.
    """
    pooling = as_pooling(subject_pooling)
    n_images = len(y)
    index = AllPairs(n_images)
    if len(index) * y.n_subjects * (y.n_times or 1) <= ALL_PAIRS:
        return pooling.fit(_labelled(y.dissimilarities()))
    if _needs_moments_alone(pooling):
        return _fit_moments(pooling, y)
    sample = index.draw(min(SAMPLE // y.n_subjects, len(index)), 0)
    return pooling.fit(_labelled(y.dissimilarities(sample)))


def _needs_moments_alone(pooling: Any) -> bool:
    """Whether each subject's mean and spread are all that it learns."""
    if not isinstance(pooling, SubjectPooling) or pooling.method not in ("zscore", "mean"):
        return False
    return not isinstance(pooling.subject_weight, str)


def _fit_moments(pooling: SubjectPooling, y: ResponsePatterns) -> SubjectPooling:
    """Set what ``fit`` learns, from means and spreads over all pairs."""
    weights = pooling._check_parameters(y.n_subjects)
    moments = [mean_and_scale(y, subject) for subject in range(y.n_subjects)]
    mean, scale = np.array(moments).T
    constant = scale <= CONSTANT * np.abs(mean)
    if constant.any():
        raise ValueError(
            f"all dissimilarities of subject {constant.argmax()} are equal: there is nothing to "
            "learn. Give images with different responses, or leave this subject out."
        )
    learned = ~np.isnan(mean)
    if not learned.any():
        raise ValueError(NO_PAIR)
    if not learned.all():
        warnings.warn(
            f"subjects {np.flatnonzero(~learned).tolist()} have seen fewer than two of these "
            f"{len(y)} images, and are left out: nothing can be learned of them.",
            UserWarning,
            stacklevel=3,
        )
    pooling.n_subjects_, pooling.mean_, pooling.scale_ = y.n_subjects, mean, scale
    pooling.largest_ = pooling.factors_ = np.full(y.n_subjects, np.nan)
    pooling.sorted_, pooling.shares_ = [], []
    pooling.weights_ = weights * learned
    return pooling


def _labelled(dissim: np.ndarray) -> np.ndarray:
    known = ~np.isnan(dissim).reshape(len(dissim), -1).all(axis=1)
    if not known.any():
        raise ValueError(NO_PAIR)
    return dissim if known.all() else dissim[known]


def target_of_patterns(pooling: Any, y: ResponsePatterns, index: np.ndarray) -> np.ndarray:
    """Pooled targets of pairs of images, (n_pairs,); NaN where no learned subject has seen both."""
    return pooling.transform(y.dissimilarities(index))
