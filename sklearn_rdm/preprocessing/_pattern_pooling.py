"""The pooled target of mini-batches of images, from response patterns, without all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._pairs._pattern_moments import mean_and_scale
from sklearn_rdm._pairs._patterns import ResponsePatterns

METHODS = ("zscore", "mean")


class PatternPooling(BaseEstimator):
    """Pool subjects as :class:`SubjectPooling` does on all pairs, which are never formed.

    Parameters
    ----------
    method : {"zscore", "mean"}, default="zscore"
        As in :class:`SubjectPooling`.
    rescale : bool, default=True
        Whether the mean z-score ``z`` becomes ``(z + 2) / 5``.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_subjects,)
        Mean and population standard deviation over all pairs of the images given to ``fit``; NaN
        for a subject that has seen fewer than two of them.
    """

    def __init__(self, method: str = "zscore", *, rescale: bool = True) -> None:
        self.method = method
        self.rescale = rescale

    def fit(self, y: ResponsePatterns) -> PatternPooling:
        """Learn each subject's mean and spread over all pairs of these images."""
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {self.method!r}.")
        moments = np.array([mean_and_scale(y, subject) for subject in range(y.n_subjects)])
        self.mean_, self.scale_ = moments.T
        constant = self.scale_ <= 1e-12 * np.abs(self.mean_)
        if constant.any():
            raise ValueError(
                f"all dissimilarities of subject {constant.argmax()} are equal: there is nothing "
                "to learn. Give three images or more with different responses."
            )
        if np.isnan(self.mean_).all():
            raise ValueError("no subject has seen two of these images: there is nothing to learn.")
        return self

    def target(self, y: ResponsePatterns, index: Any) -> np.ndarray:
        """Pooled targets of pairs of images, (n_pairs,); NaN where no subject has seen both."""
        check_is_fitted(self)
        dissim = y.dissimilarities(index)
        dissim = dissim if dissim.ndim == 2 else dissim.mean(axis=2)
        if dissim.shape[1] != len(self.mean_):
            raise ValueError(
                f"this pooling was fitted on {len(self.mean_)} subjects, got {dissim.shape[1]}."
            )
        dissim = np.where(np.isnan(self.mean_), np.nan, dissim)
        values = (dissim - self.mean_) / self.scale_ if self.method == "zscore" else dissim
        count = (~np.isnan(values)).sum(axis=1)
        pooled = np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)
        return (pooled + 2) / 5 if self.method == "zscore" and self.rescale else pooled
