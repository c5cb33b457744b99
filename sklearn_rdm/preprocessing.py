"""Pool subjects' dissimilarities to one target, and preprocess image by image within pairs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_rdm._pairs import ImagePairs, as_pairs, check_dissimilarities, check_images

__all__ = ["PerImage", "SubjectPooling"]

METHODS = ("zscore", "mean", "rank")


class SubjectPooling(TransformerMixin, BaseEstimator):
    """Pool the dissimilarities of several subjects to one target per pair.

    What it needs to know of each subject (mean, spread, ranks, reliability) it learns in ``fit``,
    so that an estimator that fits it on its training pairs never looks at held-out ones. Every
    estimator of this package does so through its parameter ``subject_pooling``.

    Parameters
    ----------
    method : {"zscore", "mean", "rank"}, default="zscore"
        With ``d`` the dissimilarity of a pair for subject ``s``, and averages taken over the
        subjects that have the pair:

        - "zscore": ``(mean_s((d - m_s) / sd_s) + 2) / 5``, the paper's [1]_; ``m_s`` and ``sd_s``
          (population) are over the pairs given to ``fit``. Mostly within 0..1.
        - "mean": ``mean_s(d)``, in the units of the data. A pair that some subject lacks is
          comparable to the others only if all subjects use the same scale.
        - "rank": the mean over subjects of the rank of ``d`` among the pairs given to ``fit``,
          ties averaged, scaled to 0..1. Values beyond those seen get 0 or 1.

    subject_weight : {"reliability"} or None, default=None
        None averages all subjects alike. "reliability" weights each subject by the Pearson
        correlation of its z-scored (method "mean": raw, "rank": ranked) dissimilarities with the
        average of the other subjects', negative ones clipped to 0. Pairs that only subjects of
        weight 0 have get the plain mean of these.

    Attributes
    ----------
    n_subjects_ : int or None
        Number of columns in ``fit``; None for one-dimensional targets, which need no pooling.
    mean_, scale_ : ndarray of shape (n_subjects,)
        Mean and standard deviation per subject (method "zscore").
    sorted_ : list of ndarray
        The sorted dissimilarities of each subject (method "rank").
    weights_ : ndarray of shape (n_subjects,)
        Weights in the average; ones if ``subject_weight`` is None.

    See Also
    --------
    FeatureReweightedRSARegressor : With ``subject_pooling=None`` fits every subject by itself.

    References
    ----------
    .. [1] A. Agrawal (2019). "Dissimilarity learning via Siamese network predicts brain imaging
       data".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm.preprocessing import SubjectPooling
    >>> dissim = np.array([[0.1, 10], [0.2, 20], [0.3, np.nan], [0.4, 40]])
    >>> SubjectPooling().fit_transform(dissim).round(3)
    array([0.159, 0.329, 0.489, 0.668])
    >>> SubjectPooling("rank").fit_transform(dissim)
    array([0.        , 0.41666667, 0.66666667, 1.        ])
    """

    def __init__(self, method: str = "zscore", *, subject_weight: str | None = None) -> None:
        self.method = method
        self.subject_weight = subject_weight

    def fit(self, y: Any) -> SubjectPooling:
        """Learn each subject's scale and weight.

        Parameters
        ----------
        y : array-like of shape (n_pairs,) or (n_pairs, n_subjects)
            Dissimilarities, NaN where a subject lacks a pair.

        Returns
        -------
        self : SubjectPooling
            The fitted pooling.

        Raises
        ------
        ValueError
            If a subject's dissimilarities are all equal (or it has none), if a pair has none, or
            if a parameter is not among the ones documented.
        """
        self._check_parameters()
        y = check_dissimilarities(y, len(y))
        self.n_subjects_ = y.shape[1] if y.ndim == 2 else None
        if y.ndim == 1:
            return self
        constant = np.nanmax(y, axis=0) == np.nanmin(y, axis=0)
        if constant.any():
            subject = constant.argmax()
            raise ValueError(
                f"all dissimilarities of subject {subject} are equal ({np.nanmax(y[:, subject])}): "
                "they cannot be scaled and say nothing. Leave this subject out."
            )
        self.mean_ = np.nanmean(y, axis=0)
        self.scale_ = np.nanstd(y, axis=0)
        self.sorted_ = [np.sort(column[~np.isnan(column)]) for column in y.T]
        self.weights_ = np.ones(y.shape[1])
        if self.subject_weight == "reliability" and y.shape[1] > 1:
            self.weights_ = _reliabilities(self._rescale(y))
        return self

    def transform(self, y: Any) -> np.ndarray:
        """Pool the subjects.

        Parameters
        ----------
        y : array-like of shape (n_pairs,) or (n_pairs, n_subjects)
            Dissimilarities of the subjects given to ``fit``; any pairs.

        Returns
        -------
        pooled : ndarray of float64, shape (n_pairs,)
            One target per pair, NaN where no subject has one; one-dimensional targets are
            returned as they are.
        """
        check_is_fitted(self)
        y = check_array(
            y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan", input_name="y"
        )
        n_subjects = y.shape[1] if y.ndim == 2 else None
        if n_subjects != self.n_subjects_:
            raise ValueError(
                f"this pooling was fitted on {_name_subjects(self.n_subjects_)}, but is given "
                f"{_name_subjects(n_subjects)}: give the subjects of fit, in the same order."
            )
        if y.ndim == 1:
            return y
        pooled = _weighted_mean(self._rescale(y), self.weights_)
        return (pooled + 2) / 5 if self.method == "zscore" else pooled

    def fit_transform(self, y: Any) -> np.ndarray:
        """Fit to the dissimilarities, then pool them.

        Parameters
        ----------
        y : array-like of shape (n_pairs,) or (n_pairs, n_subjects)
            As in ``fit``.

        Returns
        -------
        pooled : ndarray of float64, shape (n_pairs,)
            As from ``transform``.
        """
        return self.fit(y).transform(y)

    def _check_parameters(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {self.method!r}.")
        if self.subject_weight not in (None, "reliability"):
            raise ValueError(
                f"subject_weight must be None or 'reliability', got {self.subject_weight!r}."
            )

    def _rescale(self, y: np.ndarray) -> np.ndarray:
        """Every subject on the scale on which subjects are averaged, NaN kept."""
        if self.method == "mean":
            return y
        if self.method == "zscore":
            return (y - self.mean_) / self.scale_
        return np.column_stack([_ranks(c, s) for c, s in zip(y.T, self.sorted_, strict=True)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags


class PerImage(TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Apply a transformer of feature vectors to the images that pairs compare.

    The transformer is fitted on the images that occur in the training pairs, each once: neither
    held-out images nor the number of pairs an image is in have a say.

    Parameters
    ----------
    transformer : transformer
        Anything with ``fit`` and ``transform`` of ``(n_images, n_features)``: a scaler, PCA, a
        feature selection, a pipeline of these. It is cloned, and is given no targets, since these
        belong to pairs.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.
    n_features_in_ : int
        Numbers per image given to ``fit``; images of other shapes are flattened.

    See Also
    --------
    sklearn.compose.ColumnTransformer : As ``transformer``, treats ranges of features differently.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.preprocessing import PerImage
    >>> features = np.random.default_rng(0).normal(3, 2, size=(5, 4))
    >>> pairs = ImagePairs(features, [[0, 1], [0, 2], [1, 2], [3, 4]])
    >>> per_image = PerImage(StandardScaler()).fit(pairs[:3])
    >>> bool(np.allclose(per_image.transformer_.mean_, features[:3].mean(axis=0)))
    True
    >>> per_image.transform(pairs)
    ImagePairs(4 pairs of 5 images, images: float64 (5, 4))
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def fit(self, X: Any, y: Any = None) -> PerImage:  # noqa: ARG002
        """Fit the transformer on the images of the pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs.
        y : None
            Ignored.

        Returns
        -------
        self : PerImage
            The fitted transformer.
        """
        pairs = as_pairs(X)
        features = pairs.images.reshape(len(pairs.images), -1)
        self.transformer_ = clone(self.transformer).fit(features[pairs.used_images])
        self.n_features_in_ = features.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        """Transform every image.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_images, ...) or (n_pairs, 2, ...)
            Pairs, or images of ``n_features_in_`` numbers each, or two such images per pair.

        Returns
        -------
        transformed : ImagePairs or ndarray of shape (n_images, n_features_out)
            Pairs for pairs (all their images transformed, in use or not), an array for images.

        Raises
        ------
        ValueError
            If the images have another number of features than those given to ``fit``.
        """
        check_is_fitted(self)
        if not isinstance(X, ImagePairs):
            images = check_images(X)
            # Images have n_features_in_ numbers each, two images per pair twice as many.
            if images[0].size != 2 * self.n_features_in_ or images.shape[1] != 2:
                return self._transform_images(images)
            X = as_pairs(images)
        transformed = copy.copy(X)
        transformed.images = check_images(self._transform_images(X.images))
        return transformed

    def _transform_images(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.transformer_.transform(flatten_images(images, self.n_features_in_)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def as_pooling(subject_pooling: Any) -> Any:
    """Return an unfitted pooling: of this method if a name is given, else a clone."""
    if isinstance(subject_pooling, str):
        return SubjectPooling(subject_pooling)
    return clone(subject_pooling)


def flatten_images(images: np.ndarray, n_features: int) -> np.ndarray:
    """Return the images as rows, after checking that each holds the numbers seen in fit."""
    features = images.reshape(len(images), -1)
    if features.shape[1] != n_features:
        raise ValueError(
            f"images of shape {images.shape[1:]} have {features.shape[1]} features each, but this "
            f"estimator was fitted on images of {n_features} features."
        )
    return features


def _name_subjects(n_subjects: int | None) -> str:
    return "one-dimensional targets" if n_subjects is None else f"{n_subjects} subject(s)"


def _ranks(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Ranks of the values among those seen (sorted), ties averaged, scaled to 0..1."""
    below = np.searchsorted(seen, values, side="left")
    up_to = np.searchsorted(seen, values, side="right")
    ranks = ((below + up_to - 1) / 2 / (len(seen) - 1)).clip(0, 1)
    return np.where(np.isnan(values), np.nan, ranks)


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the subjects that have the pair; unweighted where these have no weight."""
    present = ~np.isnan(values)
    weights = weights * present
    weights = np.where(weights.any(axis=1, keepdims=True), weights, present)
    total = weights.sum(axis=1)
    weighted = np.where(present, values, 0) * weights
    return np.divide(weighted.sum(axis=1), total, out=np.full(len(values), np.nan), where=total > 0)


def _reliabilities(values: np.ndarray) -> np.ndarray:
    """Correlation of each subject with the mean of the others, over the pairs it shares."""
    n_subjects = values.shape[1]
    reliabilities = np.zeros(n_subjects)
    for subject in range(n_subjects):
        others = _weighted_mean(np.delete(values, subject, axis=1), np.ones(n_subjects - 1))
        shared = ~np.isnan(values[:, subject]) & ~np.isnan(others)
        own, others = values[shared, subject], others[shared]
        if shared.sum() > 1 and own.std() > 0 and others.std() > 0:
            reliabilities[subject] = max(np.corrcoef(own, others)[0, 1], 0)
    return reliabilities
