"""Predictions in the unit of the measured dissimilarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._models._base import RDMMetaRegressor
from sklearn_rdm._pairs._delegation import wrapped_has
from sklearn_rdm._pairs._image_pairs import as_pairs
from sklearn_rdm._pairs._weights import check_weighted_pairs
from sklearn_rdm.preprocessing._pooling import pool_pairs

__all__ = ["CalibratedRDMRegressor"]


class CalibratedRDMRegressor(RDMMetaRegressor):
    """Give an estimator's predictions the mean and spread of the measured dissimilarities.

    Predicts ``m_y + s_y / s_d (d - m_d)``, with ``d`` what the estimator predicts, and the means
    ``m`` and standard deviations ``s`` of predictions and pooled targets over the training pairs
    only. Order and correlations stay as they are, but predictions of *different* networks can be
    put together: averaged, or joined where each fold of a cross-validation predicts its images.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Any regressor of this package, or a pipeline that ends in one. A clone is fitted; one that
        is fitted already can be kept by :class:`sklearn.frozen.FrozenEstimator`.
    subject_pooling : str or transformer, default="zscore"
        How the dissimilarities of several subjects become one target, whose unit predictions
        take: a method of :class:`sklearn_rdm.preprocessing.SubjectPooling` or an instance. "mean"
        keeps the unit of the measurements.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    scale_ : float
        ``s_y / s_d``; 0 where the predictions of all training pairs are equal.
    shift_ : float
        ``m_y - scale_ * m_d``.

    See Also
    --------
    EnsembleRDMRegressor : Averages several fits of one estimator, such as of this one.
    VotingRDMRegressor : Averages different estimators, each calibrated.
    ScaledMSELoss : Fits scale and shift within each mini-batch while a network is trained.
    sklearn_rdm.model_selection.cross_val_rdm : Joins the predictions of all folds.

    Notes
    -----
    A network that is trained for correlation has distances of any size, which depends on layer,
    epoch and training images. Standardising what it predicts of *new* images instead would take
    away how far these are from each other on the whole, which a fold's images do not share with
    the next fold's, and would make a pair's prediction depend on which others are asked for.

    Mean and spread are matched, rather than the least-squares line taken, so that the sign of the
    predictions never changes and networks that fit their training pairs less well count no less.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import CalibratedRDMRegressor, FixedRSARegressor, ImagePairs
    >>> rng = np.random.default_rng(0)
    >>> pairs, dissim = ImagePairs.from_rdms(rng.random((9, 4)), rng.random(36))
    >>> model = CalibratedRDMRegressor(FixedRSARegressor(), subject_pooling="mean")
    >>> predicted = model.fit(pairs, dissim).predict(pairs)
    >>> bool(np.isclose(predicted.mean(), dissim.mean()))
    True
    >>> bool(np.isclose(predicted.std(), dissim.std()))
    True
    """

    def __init__(self, estimator: Any, *, subject_pooling: Any = "zscore") -> None:
        self.estimator = estimator
        self.subject_pooling = subject_pooling

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CalibratedRDMRegressor:
        """Fit the estimator, then scale and shift of what it predicts of the same pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Their dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more, in the estimator's ``fit`` (with metadata routing
            if it asks for weights), mean and spread. None: all alike.

        Returns
        -------
        self : CalibratedRDMRegressor
            The fitted estimator. It is left as it was if ``estimator`` cannot be fitted.

        Raises
        ------
        ValueError
            If ``subject_pooling`` is not a method or transformer, if weights are given to an
            estimator that takes none, and whatever the estimator raises.
        """
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight)
        pooled_pairs, target, of_pooled = pool_pairs(self.subject_pooling, pairs, y, weights)
        estimator = clone(self.estimator).fit(pairs, y, **self._fit_params(weights))
        mean_d, spread_d = _mean_and_spread(estimator.predict(pooled_pairs), of_pooled)
        mean_y, spread_y = _mean_and_spread(target, of_pooled)
        self.estimator_ = estimator
        self.scale_ = spread_y / spread_d if spread_d > 0 else 0.0
        self.shift_ = mean_y - self.scale_ * mean_d
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity of pairs in the unit of the pooled target.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Any pairs.

        Returns
        -------
        dissim : ndarray of shape (n_pairs,)
            ``shift_ + scale_ * d``.
        """
        check_is_fitted(self)
        return self.shift_ + self.scale_ * self.estimator_.predict(as_pairs(X))

    @available_if(wrapped_has("transform"))
    def transform(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity matrix of images in the unit of the pooled target.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImagePairs
            Images, as the estimator takes them; of pairs, all images of their array.

        Returns
        -------
        rdm : ndarray of shape (n_images, n_images)
            Symmetric, with zero diagonal.
        """
        check_is_fitted(self)
        rdm = self.shift_ + self.scale_ * self.estimator_.transform(X)
        np.fill_diagonal(rdm, 0)
        return rdm


def _mean_and_spread(values: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    """Mean and standard deviation (population) over the pairs."""
    if weights is None:
        return float(values.mean()), float(values.std())
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    return float(mean), 0.0 if np.ptp(values) == 0 else float(spread)
