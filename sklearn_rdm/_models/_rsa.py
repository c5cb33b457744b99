"""Classical models of dissimilarities: fixed distances of features, and weighted layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._models._base import RDMRegressorMixin
from sklearn_rdm._models._distances import (
    check_metric,
    check_noise_ratio,
    mean_squared_length,
    open_distances,
    pair_distances,
    square_distances,
)
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._images import check_images, flatten_images
from sklearn_rdm._pairs._leaks import TrainingPairs, warn_of_leak_in_validation
from sklearn_rdm._pairs._patterns import check_fit_images
from sklearn_rdm._pairs._weights import (
    check_samples_are_pairs,
    check_weighted_pairs,
    check_weights,
    keep_weighted,
)
from sklearn_rdm.metrics._strips import Distances, is_large
from sklearn_rdm.preprocessing._pooling import pool_pairs

__all__ = ["FixedRSARegressor", "LayerWeightedRSARegressor"]


class RSARegressor(RDMRegressorMixin, RegressorMixin, BaseEstimator, ABC):
    """What regressors on pairs of feature vectors share; subclasses give the two distances."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity of pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images with as many features as those given to ``fit``.

        Returns
        -------
        dissim : ndarray of shape (n_pairs,)
            Predicted dissimilarities.
        """
        check_is_fitted(self)
        pairs = as_pairs(X)
        warn_of_leak_in_validation(self, pairs)
        features = flatten_images(pairs.images, self.n_features_in_)
        return self._distances(features, pairs.index)

    def transform(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity matrix of images.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImagePairs
            Images, seen in ``fit`` or new; of pairs, all their images.

        Returns
        -------
        rdm : ndarray of shape (n_images, n_images)
            Symmetric, with zero diagonal.
        """
        check_is_fitted(self)
        images = X.images if isinstance(X, ImagePairs) else check_images(X)
        return self._rdm(flatten_images(images, self.n_features_in_))

    @abstractmethod
    def _distances(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Predict the dissimilarities of pairs of rows of features."""

    @abstractmethod
    def _rdm(self, features: np.ndarray) -> np.ndarray:
        """Predict the dissimilarities of all rows of features."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.multi_output = True
        return tags


class FixedRSARegressor(RSARegressor):
    """Classical representational similarity analysis: a fixed distance of features.

    The dissimilarity of two images is the distance between their feature vectors [1]_. Nothing is
    learned, except the size of the noise where ``noise_ratio`` is above 0. It is the baseline that
    any learned model has to beat.

    Parameters
    ----------
    metric : str or callable, default="correlation"
        - "correlation": ``1 - r``, with Pearson's ``r`` over features; from 0 to 2, as the
          twin network's;
        - "cosine": ``1 - x.y / (|x| |y|)``, from 0 to 2;
        - any other metric of :func:`scipy.spatial.distance.pdist`, in its units: "euclidean",
          "sqeuclidean", "cityblock", ... or a function of two vectors. Those that read a scale
          off the images they are given ("seuclidean", "mahalanobis") raise an error, because a
          prediction would depend on the images beside it.
    noise_ratio : float, default=0.0
        Of "correlation" and "cosine": the variance of independent noise that is assumed in measured
        patterns, over the mean variance of the training images' features. Noise attenuates
        correlations [2]_: with ``x`` the features of an image ("correlation": minus their mean) and
        ``s`` the ratio times the mean of ``|x|**2``, the prediction is
        ``1 - x1 @ x2 / sqrt((|x1|**2 + s) * (|x2|**2 + s))``.

    Attributes
    ----------
    noise_ : float
        ``s``, by the images of the training pairs; 0 without noise.
    n_features_in_ : int
        Features per image; images of more axes are flattened.

    See Also
    --------
    FeatureReweightedRSARegressor : Learns a weight for every feature.
    LayerWeightedRSARegressor : Learns a weight for every layer.
    SiameseRDMRegressor : Learns the features.

    Notes
    -----
    "correlation" and "cosine" are computed in the precision of the features (float32 or float64)
    by one product of normalised features, the other metrics in float64.

    References
    ----------
    .. [1] N. Kriegeskorte, M. Mur, P. Bandettini (2008). "Representational similarity analysis -
       connecting the branches of systems neuroscience". Frontiers in Systems Neuroscience 2:4.
    .. [2] C. Spearman (1904). "The proof and measurement of association between two things",
       American Journal of Psychology 15, 72-101.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FixedRSARegressor, ImagePairs
    >>> features = np.array([[1.0, 2, 3], [2, 4, 6], [3, 2, 1], [1, 3, 2]])
    >>> pairs = ImagePairs(features, [[0, 1], [0, 2], [1, 3]])
    >>> model = FixedRSARegressor().fit(pairs, [0.1, 0.9, 0.4])
    >>> model.predict(pairs).round(6) + 0
    array([0. , 2. , 0.5])
    >>> round(model.score(pairs, [0.1, 0.9, 0.4]), 6)
    1.0
    """

    def __init__(self, metric: Any = "correlation", *, noise_ratio: float = 0.0) -> None:
        self.metric = metric
        self.noise_ratio = noise_ratio

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FixedRSARegressor:
        """Check the input, and compute the noise that ``noise_ratio`` asks for.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images; images, if y are response patterns.
        y : array-like, default=None
            Dissimilarities ``(n_pairs,)``, ``(n_pairs, n_subjects)`` or ``(n_pairs, n_subjects,
            n_times)``, or :class:`ResponsePatterns`, which are checked if given, and not used.
        sample_weight : array-like of shape (n_pairs,), default=None
            Weights of the pairs, 0 or more: a pair of weight 0 is left out. Nothing else depends
            on them.

        Returns
        -------
        self : FixedRSARegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            If the metric is unknown or takes no noise, or if pairs or dissimilarities are not
            valid. ``predict`` raises an error that names the image if all its features are equal,
            so that it has no correlation (and no noise gives it one).
        """
        check_metric(self.metric)
        ratio = check_noise_ratio(self.noise_ratio, self.metric)
        pairs = self._check_pairs(X, y, sample_weight)
        n_features, noise = pairs.images[0].size, 0.0
        if ratio:
            features, centre = flatten_images(pairs.images, n_features), self.metric != "cosine"
            used = y._paired_images() if is_large(y) else pairs.used_images
            noise = ratio * mean_squared_length(features, used, centre=centre)
        self.n_features_in_, self.noise_ = n_features, noise
        self._training_pairs_ = TrainingPairs(pairs)
        return self

    def _check_pairs(self, X: Any, y: Any, sample_weight: Any) -> ImagePairs:
        if y is None:
            pairs = as_pairs(X)
            return keep_weighted(check_weights(sample_weight, len(pairs)), pairs)[0]
        if is_large(y):
            check_samples_are_pairs(y, sample_weight)
            return check_fit_images(X, y)[0]
        return check_weighted_pairs(X, y, sample_weight)[0]

    def _open_distances(self, images: np.ndarray) -> Distances:
        """Distances between any of these images, block by block."""
        check_is_fitted(self)
        features = flatten_images(check_images(images), self.n_features_in_)
        return open_distances(features, self.metric, self.noise_)

    def _distances(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        return pair_distances(features, index, self.metric, self.noise_)

    def _rdm(self, features: np.ndarray) -> np.ndarray:
        return square_distances(features, self.metric, self.noise_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags


class LayerWeightedRSARegressor(RSARegressor):
    """Non-negative weights on the dissimilarities of several layers, or of their components.

    The dissimilarity of images ``i`` and ``j`` is ``b + sum_l w_l d_l(i, j)``, where ``d_l`` is
    the distance in layer ``l`` and ``w_l >= 0`` are least squares on the training pairs [1]_.
    With ``n_components``, ``d_l`` is itself fitted first [2]_: ``sum_c v_lc (p_lic - p_ljc)^2``
    with the layer's principal components ``p`` of the training images and ``v_lc >= 0``.

    Parameters
    ----------
    layers : sequence of int or of slice, default=None
        The layers within the features of an image: their numbers of features in order, or the
        columns of each. None takes all features as one layer.
    metric : str or callable, default="correlation"
        Distance within a layer, as in :class:`FixedRSARegressor`. Not used with ``n_components``.
    n_components : int, float or None, default=None
        Principal components to weight within each layer: at most this many, or as many as explain
        this share of the variance (between 0 and 1). None weights whole layers.
    fit_intercept : bool, default=False
        Whether to fit ``b``; the published models have none.
    subject_pooling : str or transformer, default="mean"
        How the dissimilarities of several subjects become one target: a method of
        :class:`sklearn_rdm.preprocessing.SubjectPooling` or an instance. It is fitted on the
        training pairs. Without ``b`` the zero of the target matters: "mean" keeps it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_layers,)
        The weights ``w``.
    intercept_ : float
        The constant ``b``.
    component_coef_ : list of ndarray
        The weights ``v`` of each layer's components; empty without ``n_components``.
    pcas_ : list of PCA
        The components of each layer; empty without ``n_components``.
    layers_ : list of slice
        Columns of each layer.
    n_features_in_ : int
        Features per image.

    See Also
    --------
    FeatureReweightedRSARegressor : Prefer it for one layer whose single features may matter.
    FixedRSARegressor : One layer, nothing learned.
    SiameseRDMRegressor : Trains the layers too, if its ``layer`` names several.

    References
    ----------
    .. [1] S.-M. Khaligh-Razavi, N. Kriegeskorte (2014). "Deep supervised, but not unsupervised,
       models may explain IT cortical representation". PLOS Computational Biology 10:e1003915.
    .. [2] K. R. Storrs, T. C. Kietzmann, A. Walther, J. Mehrer, N. Kriegeskorte (2021). "Diverse
       deep neural networks all predict human inferior temporal cortex well, after training and
       fitting". Journal of Cognitive Neuroscience 33:2044-2064.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerWeightedRSARegressor
    >>> features = np.random.default_rng(0).normal(size=(10, 7))
    >>> first = FixedRSARegressor().fit(ImagePairs(features[:, :3], [[0, 1]]))
    >>> last = FixedRSARegressor().fit(ImagePairs(features[:, 3:], [[0, 1]]))
    >>> rdm = 2 * first.transform(features[:, :3]) + 0.5 * last.transform(features[:, 3:])
    >>> pairs, dissim = ImagePairs.from_rdms(features, rdm)
    >>> LayerWeightedRSARegressor(layers=[3, 4]).fit(pairs, dissim).coef_
    array([2. , 0.5])
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[slice] | None = None,
        *,
        metric: Any = "correlation",
        n_components: int | float | None = None,
        fit_intercept: bool = False,
        subject_pooling: Any = "mean",
    ) -> None:
        self.layers = layers
        self.metric = metric
        self.n_components = n_components
        self.fit_intercept = fit_intercept
        self.subject_pooling = subject_pooling

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LayerWeightedRSARegressor:
        """Fit the weights.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images whose features are those of all layers, one layer after the other.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more: a weight of 2 is a pair given twice, 0 a pair
            left out. None: all alike.

        Returns
        -------
        self : LayerWeightedRSARegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            If ``layers`` do not fit the features, or an image's features in a layer are all equal
            and ``metric`` is "correlation".

        Warns
        -----
        UserWarning
            If subjects are left out because they have fewer than two of these pairs. Pairs that
            only they have are then left out as well.
        """
        check_metric(self.metric)
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight)
        pairs, target, weights = pool_pairs(self.subject_pooling, pairs, y, weights)
        features = pairs.images.reshape(len(pairs.images), -1)
        layers = _layer_slices(self.layers, features.shape[1])
        components = self._fit_components(features, layers, pairs, target, weights)
        parts = self._layers_of(features, layers, *components)
        design = [pair_distances(x, pairs.index, distance) for x, distance in parts]
        coef, intercept = self._fit_nonnegative(np.column_stack(design), target, weights)
        self.n_features_in_, self.layers_ = features.shape[1], layers
        self._training_pairs_ = TrainingPairs(pairs)
        self.pcas_, self.component_coef_ = components
        self.coef_, self.intercept_ = coef, intercept
        return self

    def _fit_components(
        self,
        features: np.ndarray,
        layers: list[slice],
        pairs: ImagePairs,
        target: np.ndarray,
        weights: np.ndarray | None,
    ) -> tuple[list[Any], list[np.ndarray]]:
        """Principal components of every layer and their weights, if ``n_components`` says so."""
        from sklearn.decomposition import PCA  # slow to import

        pcas: list[Any] = []
        coefs: list[np.ndarray] = []
        for layer in layers if self.n_components is not None else []:
            used = features[pairs.used_images, layer]
            n_components = self.n_components
            if isinstance(n_components, int | np.integer):
                n_components = min(int(n_components), len(used) - 1, used.shape[1])
            pca = PCA(n_components, svd_solver="full").fit(used)
            scores = pca.transform(features[:, layer])
            first, second = pairs.index.T
            design = (scores[first] - scores[second]) ** 2
            pcas.append(pca)
            coefs.append(self._fit_nonnegative(design, target, weights)[0])
        return pcas, coefs

    def _fit_nonnegative(
        self, design: np.ndarray, target: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, float]:
        """Non-negative least squares; columns get equal length, which only helps the solver."""
        from sklearn.linear_model import LinearRegression  # slow to import

        length = np.linalg.norm(design, axis=0)
        length[length == 0] = 1
        regression = LinearRegression(positive=True, fit_intercept=self.fit_intercept)
        regression.fit(design / length, target, sample_weight=weights)
        return regression.coef_ / length, float(regression.intercept_)

    def _layers_of(
        self,
        features: np.ndarray,
        layers: list[slice],
        pcas: list[Any],
        component_coef: list[np.ndarray],
    ) -> list[tuple[np.ndarray, Any]]:
        """Features of every layer and the metric on them."""
        if self.n_components is None:
            return [(features[:, layer], self.metric) for layer in layers]
        return [
            (pca.transform(features[:, layer]) * np.sqrt(coef), "sqeuclidean")
            for layer, pca, coef in zip(layers, pcas, component_coef, strict=True)
        ]

    def _weighted_layers(self, features: np.ndarray) -> Any:
        """Weight, features and metric of every layer."""
        fitted = self.layers_, self.pcas_, self.component_coef_
        return zip(self.coef_, self._layers_of(features, *fitted), strict=True)

    def _distances(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        layers = self._weighted_layers(features)
        distances = (coef * pair_distances(x, index, d) for coef, (x, d) in layers)
        return sum(distances, np.full(len(index), self.intercept_))

    def _rdm(self, features: np.ndarray) -> np.ndarray:
        layers = self._weighted_layers(features)
        off_diagonal = self.intercept_ * (1 - np.eye(len(features)))
        return sum((coef * square_distances(x, d) for coef, (x, d) in layers), off_diagonal)


def _layer_slices(layers: Any, n_features: int) -> list[slice]:
    """Columns of every layer, from their sizes or from slices."""
    if layers is None:
        return [slice(0, n_features)]
    layers = list(layers)
    if layers and all(isinstance(layer, slice) for layer in layers):
        if any(len(range(*layer.indices(n_features))) == 0 for layer in layers):
            raise ValueError(f"a layer of layers={layers} has none of the {n_features} features.")
        return layers
    if not all(isinstance(size, int | np.integer) and size > 0 for size in layers):
        raise ValueError(f"layers must be numbers of features or slices, got {layers}.")
    if sum(layers) != n_features:
        raise ValueError(
            f"layers={layers} have {sum(layers)} features together, but images have {n_features}."
        )
    ends = np.cumsum(layers)
    return [slice(int(end - size), int(end)) for end, size in zip(ends, layers, strict=True)]
