"""Preprocess the images of pairs one by one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._pairs._fit_tasks import FitTaskMixin
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._images import check_images, flatten_images
from sklearn_rdm._pairs._leaks import TrainingPairs, warn_of_leak_in_validation

__all__ = ["PerImage"]


class PerImage(FitTaskMixin, TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Apply a transformer of feature vectors to the images that pairs compare.

    The transformer is fitted on the images that occur in the training pairs, each once: neither
    held-out images nor the number of pairs that contain an image play a role.

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

    def fit(self, X: Any, y: Any = None) -> PerImage:
        """Fit the transformer on the images of the pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
        y : ResponsePatterns, default=None
            Says that samples are images; dissimilarities are not looked at.

        Returns
        -------
        self : PerImage
            The fitted transformer.

        Raises
        ------
        TypeError, ValueError
            If X holds no pairs of images, and whatever the transformer raises, for example if it
            wants more images than the pairs hold.
        """
        of_images = hasattr(y, "to_pairs")
        pairs = ImagePairs(X) if of_images else as_pairs(X)
        used = y._paired_images() if of_images else pairs.used_images
        features = pairs.images.reshape(len(pairs.images), -1)
        self.transformer_ = clone(self.transformer).fit(features[used])
        self.n_features_in_ = features.shape[1]
        self._training_pairs_ = TrainingPairs(pairs)
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
        warn_of_leak_in_validation(self, X)
        transformed = copy.copy(X)
        transformed.images = check_images(self._transform_images(X.images))
        return transformed

    def _transform_images(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.transformer_.transform(flatten_images(images, self.n_features_in_)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
