"""What all estimators of dissimilarities share, and those that wrap another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin
from sklearn.utils import Tags, get_tags

from sklearn_rdm._pairs._fit_tasks import FitTaskMixin
from sklearn_rdm._pairs._image_pairs import of_pairs
from sklearn_rdm._pairs._leaks import warn_of_leak
from sklearn_rdm._pairs._routing import RoutedFitMixin
from sklearn_rdm._pairs._weights import check_samples_are_pairs
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.metrics._measures import MEASURES
from sklearn_rdm.metrics._streamed import streamed_score
from sklearn_rdm.metrics._strips import is_large


class RDMRegressorMixin(FitTaskMixin):
    """The score of all regressors of pairs."""

    predict: Any

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean over subjects of Spearman's correlation with the predictions.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Held-out pairs; images, if y are response patterns.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Measured dissimilarities, NaN where a subject has no value for the pair. Or
            :class:`ResponsePatterns`: those of thousands of images are compared block by block,
            with ranks counted in 1,024 bins (within 1e-5).
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more. None: all alike. Not with response patterns.

        Returns
        -------
        score : float
            From -1 to 1, as :func:`sklearn_rdm.metrics.rdm_spearman_score`; not R2.

        Warns
        -----
        ImageLeakWarning
            If the pairs are not training pairs, but compare images that were trained on.
        """
        check_samples_are_pairs(y, sample_weight)
        if is_large(y):
            return streamed_score(MEASURES["spearman"], self, X, y)
        X, y = of_pairs(X, y)
        warn_of_leak(self, X)
        return float(rdm_spearman_score(y, self.predict(X), sample_weight=sample_weight))


class RDMMetaRegressor(
    RDMRegressorMixin, RoutedFitMixin, MetaEstimatorMixin, RegressorMixin, BaseEstimator, ABC
):
    """A regressor of pairs around ``estimator``, whose inputs and targets it takes."""

    estimator: Any

    @abstractmethod
    def predict(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity of pairs."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        tags.target_tags.required = True
        tags.non_deterministic = inner.non_deterministic
        return tags
