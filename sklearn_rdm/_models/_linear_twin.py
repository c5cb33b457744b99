"""A twin network of one linear layer: a learned low-rank projection of features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import svd
from scipy.optimize import OptimizeResult, minimize
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._models._distances import (
    check_finite,
    check_noise_ratio,
    unit_pair_distances,
    unit_square_distances,
)
from sklearn_rdm._models._rsa import RSARegressor
from sklearn_rdm._pairs._dissimilarities import check_varying
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._images import check_images, flatten_images
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm._pairs._pair_index import renumber
from sklearn_rdm._pairs._rounding import SUM_EPSILONS
from sklearn_rdm._pairs._weights import check_weighted_pairs, take_weights
from sklearn_rdm.preprocessing._pooling import pool_pairs

__all__ = ["LinearTwinRSARegressor"]

VANISHED = 1e-3  # share of its first length at which a projection has no direction of its own
PRECISION = 64 * np.finfo(float).eps  # relative decrease of the loss that no step can improve on


class LinearTwinRSARegressor(RSARegressor):
    """A linear twin network: the low-rank projection of features that correlates best.

    Images ``x`` are projected to ``z = W (x - m)``, where ``m`` is the mean of the training images
    and ``W`` has few rows. The dissimilarity of two images is ``1 - z_i.z_j / (l_i l_j)``, with
    ``l_i = sqrt(|z_i|^2 + s)``: one minus their cosine, as attenuated by noise of variance ``s`` in
    either of them. With the observed dissimilarities ``y`` of the training pairs and their
    predictions ``d(W)``,

    ``1 - r(d(W), y) + alpha |W - P|^2 / n_components``

    is minimised, where ``r`` is Pearson's and the rows of ``P`` are the leading principal
    components of the training images. A linear projection of deep features is the common way to
    adapt them to similarity judgements [1]_ [2]_; here it is the twin network's simplest relative.

    Parameters
    ----------
    n_components : int, default=10
        Rows of ``W``, at least 2: the rank of the projection. At most as many as the directions in
        which the training images differ are used, which are fewer than images and no more than
        features.
    alpha : float, default=1
        Penalty, at least 0, on the departure of ``W`` from the principal components. With
        ``alpha=numpy.inf`` nothing is learned: ``W`` is ``P``. There is no penalty on ``W`` itself,
        which would only make it shorter, and predictions need its direction.
    noise_ratio : float, default=0.09
        The variance ``s``, at least 0, over the mean squared length of the training images in the
        leading principal components. With ``noise_ratio=0`` dissimilarities are
        ``1 - cos(z_i, z_j)``, which is not continuous where a projection is zero: see Notes.
    subject_pooling : str or transformer, default="zscore"
        How the dissimilarities of several subjects become one target: a method of
        :class:`sklearn_rdm.preprocessing.SubjectPooling` or an instance, fitted on the training
        pairs. The mean and scale of the target do not matter.
    max_iter : int, default=1000
        Iterations of the solver (L-BFGS), at most.
    tol : float, default=1e-5
        It stops where no partial derivative is larger than this.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The projection ``W``, in the span of the training images.
    mean_ : ndarray of shape (n_features,)
        The mean ``m`` of the images of the training pairs, each counted once.
    n_components_ : int
        Rows of ``W``.
    noise_ : float
        ``s``, in squared units of the features.
    loss_ : float
        ``1 - r`` on the training pairs, without the penalty; from 0 to 2.
    n_iter_ : int
        Iterations done.
    n_features_in_ : int
        Features per image; images of more axes are flattened.

    See Also
    --------
    SiameseRDMRegressor : Prefer it where features themselves should change, and not linearly.
    FeatureReweightedRSARegressor : Prefer it to weigh features without mixing them; its penalty is
        chosen within ``fit``, and its solution is the only one.
    FixedRSARegressor : Nothing learned.

    Notes
    -----
    The cosine of ``n_components`` numbers is Pearson's correlation over the ``n_components + 1``
    units of a linear layer, so that with ``noise_ratio=0`` this is the twin network with such a
    layer as its read-out; unlike a correlation over principal components, it does not depend on
    their arbitrary signs.

    Without noise and with little penalty, an image that should point the other way is projected to
    nearly nothing, where its direction may jump, and the solver stops there. A warning says so.
    Search ``noise_ratio`` between 0.1 and 1, and ``alpha`` around 1.

    The loss has several minima. The one that is found from the principal components is always the
    same: nothing is random, and neither the order of the pairs nor that within pairs matters.

    ``W`` stays in the span of the training images, so that after one decomposition an iteration
    costs the same for any number of features.

    References
    ----------
    .. [1] A. Jha, J. Peterson, T. L. Griffiths (2020). "Extracting low-dimensional psychological
       representations from convolutional neural networks". arXiv:2005.14363.
    .. [2] M. Attarian, B. D. Roads, M. C. Mozer (2020). "Transforming neural network visual
       representations to predict human judgments of similarity". arXiv:2010.06512.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FixedRSARegressor, ImagePairs, LinearTwinRSARegressor
    >>> features = np.random.default_rng(0).normal(size=(40, 20))
    >>> hidden = FixedRSARegressor().fit(ImagePairs(features[:, :4], [[0, 1]]))
    >>> pairs, dissim = ImagePairs.from_rdms(features, hidden.transform(features[:, :4]))
    >>> train, test = (pairs.index < 30).all(axis=1), (pairs.index >= 30).all(axis=1)
    >>> model = LinearTwinRSARegressor(3, alpha=0.1).fit(pairs[train], dissim[train])
    >>> model.embed(features).shape
    (40, 3)
    >>> fixed = FixedRSARegressor().fit(pairs[train])
    >>> model.score(pairs[test], dissim[test]) > fixed.score(pairs[test], dissim[test]) + 0.2
    True
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        alpha: float = 1,
        noise_ratio: float = 0.09,
        subject_pooling: Any = "zscore",
        max_iter: int = 1000,
        tol: float = 1e-5,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.noise_ratio = noise_ratio
        self.subject_pooling = subject_pooling
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearTwinRSARegressor:
        """Fit the projection.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts in ``r``, 0 or more: a weight of 2 is a pair given twice, 0 a
            pair left out. None: all alike.

        Returns
        -------
        self : LinearTwinRSARegressor
            The fitted estimator. It is left as it was if the input raises an error.

        Raises
        ------
        ValueError
            If a parameter is not as documented, or the training images differ in fewer than two
            directions. With ``noise_ratio=0`` also if one of them has no direction: it is their
            mean, or at right angles to all ``n_components`` leading components.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` is reached or, with ``noise_ratio=0``, an image is projected to nothing.
        UserWarning
            If subjects are left out because they have fewer than two of these pairs. Pairs that
            only they have are then left out as well.
        """
        self._check_parameters()
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight)
        order = _canonical_order(pairs.index)
        ordered = pairs[order], y[order], take_weights(weights, order)
        pairs, target, weights = pool_pairs(self.subject_pooling, *ordered)
        check_varying(target)
        used, index = renumber(np.sort(pairs.index))
        features = np.ascontiguousarray(pairs.images[used].reshape(len(used), -1), dtype=float)
        check_finite(features, used)
        mean = features.mean(axis=0)
        span, scores = _find_span(features, mean)
        start = np.eye(min(int(self.n_components), len(span)), len(span))
        noise = self.noise_ratio * (scores[:, : len(start)] ** 2).sum(axis=1).mean()
        _check_directions(scores @ start.T, noise, features, used)
        problem = _Problem(scores, index, target, start, self.alpha, noise, weights)
        projection, n_iter = start, 0
        if self.alpha < np.inf:
            projection, n_iter = self._minimise(problem, used)
        self.n_features_in_, self.n_components_ = features.shape[1], len(start)
        self._training_pairs_ = TrainingPairs(pairs)
        self.mean_, self.noise_ = mean, noise
        self.components_, self.loss_ = projection @ span, problem.loss(projection)[0]
        self.n_iter_ = n_iter
        return self

    def embed(self, X: Any) -> np.ndarray:
        """Project images.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImagePairs
            As in :meth:`transform`.

        Returns
        -------
        projections : ndarray of float64, shape (n_images, n_components)
            ``W (x - m)`` of every image, in units of the features.
        """
        check_is_fitted(self)
        images = X.images if isinstance(X, ImagePairs) else check_images(X)
        return self._project(flatten_images(images, self.n_features_in_))

    def _check_parameters(self) -> None:
        whole = isinstance(self.n_components, int | np.integer)
        if not whole or self.n_components < 2:
            raise ValueError(
                f"n_components must be an integer of at least 2, got {self.n_components!r}: the "
                "cosine of single numbers is 1 or -1, and nothing in between can be learned."
            )
        if not self.alpha >= 0:
            raise ValueError(f"alpha must be at least 0, got {self.alpha!r}.")
        check_noise_ratio(self.noise_ratio)
        if not self.max_iter >= 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter!r}.")

    def _minimise(self, problem: _Problem, rows: np.ndarray) -> tuple[np.ndarray, int]:
        result: OptimizeResult = minimize(
            problem.objective,
            problem.start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iter, "gtol": self.tol, "ftol": PRECISION},
        )
        weights = result.x.reshape(problem.start.shape)
        vanished = rows[problem.lengths(weights) < VANISHED * problem.lengths(problem.start)]
        if result.status == 1:
            _warn(f"max_iter={self.max_iter} is reached: increase max_iter, alpha or noise_ratio.")
        elif len(vanished):
            _warn(f"the projection of image {vanished[0]} vanished: increase noise_ratio or alpha.")
        return weights, int(result.nit)

    def _project(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean_) @ self.components_.T

    def _directions(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        check_finite(features, rows)
        projections = self._project(features)
        _check_directions(projections, self.noise_, features, rows)
        return projections / _lengths(projections, self.noise_)

    def _distances(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        used, local = renumber(index)
        return unit_pair_distances(self._directions(features[used], used), local)

    def _rdm(self, features: np.ndarray) -> np.ndarray:
        return unit_square_distances(self._directions(features, np.arange(len(features))))


@dataclass
class _Problem:
    """The penalised loss of weights (n_components, rank) on scores (n_images, rank)."""

    scores: np.ndarray
    index: np.ndarray
    target: np.ndarray
    start: np.ndarray
    alpha: float
    noise: float
    weights: np.ndarray | None = None  # of the pairs

    def __post_init__(self) -> None:
        weights = np.ones(len(self.target)) if self.weights is None else self.weights
        self.shares = weights / weights.mean()
        self.roots = np.sqrt(self.shares)
        centred = self.roots * (self.target - self._mean(self.target))
        self.unit_target = centred / np.linalg.norm(centred)

    def lengths(self, weights: np.ndarray) -> np.ndarray:
        return _lengths(self.scores @ weights.T, self.noise)[:, 0]

    def objective(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(self.start.shape)
        loss, gradient = self.loss(weights)
        departure = weights - self.start
        share = self.alpha / len(self.start)
        loss += share * (departure**2).sum()
        return loss, (gradient + 2 * share * departure).ravel()

    def loss(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """One minus the correlation of predictions and target, and its gradient."""
        projections = self.scores @ weights.T
        lengths = _lengths(projections, self.noise)
        directions = projections / lengths
        first, second = self.index.T
        cosines = np.einsum("pc,pc->p", directions[first], directions[second])
        varying = self.roots * (cosines - self._mean(cosines))
        spread = np.linalg.norm(varying)
        if spread <= SUM_EPSILONS * np.finfo(float).eps * np.sqrt(len(cosines)):
            return 1.0, np.zeros_like(weights)
        similarity = self.unit_target @ varying / spread
        slopes = self.roots * (self.unit_target - similarity * varying / spread) / spread
        pulls = csr_array((slopes, (first, second)), shape=(len(lengths), len(lengths)))
        gradient = pulls @ directions + pulls.T @ directions
        gradient -= directions * (directions * gradient).sum(axis=1, keepdims=True)
        return float(1 + similarity), (gradient / lengths).T @ self.scores

    def _mean(self, values: np.ndarray) -> float:
        return float((self.shares * values).mean())


def _canonical_order(index: np.ndarray) -> np.ndarray:
    """Order of pairs by their images, so that sums over them have the same rounding errors."""
    low, high = np.sort(index).T
    return np.lexsort((high, low))


def _find_span(features: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components, and the images in their coordinates."""
    left, scales, span = svd(features - mean, full_matrices=False, check_finite=False)
    noise = max(features.shape) * np.finfo(float).eps * np.linalg.norm(features)
    rank = int((scales > noise).sum())
    if rank < 2:
        raise ValueError(
            f"the {len(features)} training images of {features.shape[1]} feature(s) differ in "
            f"{rank} direction(s): at least 2 are needed to compare directions. Give images "
            "that differ in more features."
        )
    left, span = svd_flip(left, span, u_based_decision=False)
    return span[:rank], left[:, :rank] * scales[:rank]


def _check_directions(
    projections: np.ndarray, noise: float, features: np.ndarray, rows: np.ndarray
) -> None:
    """Refuse images whose projections are zero but for rounding errors."""
    rounding = SUM_EPSILONS * np.finfo(float).eps * np.linalg.norm(features, axis=1)
    undefined = _lengths(projections, noise)[:, 0] <= rounding
    if undefined.any():
        raise ValueError(
            f"image {rows[undefined.argmax()]} is the mean of the training images, or differs "
            f"from it at right angles to all {projections.shape[1]} components: it has no "
            "direction to compare with other images. Give noise_ratio above 0, or leave the "
            "image out, or give more n_components."
        )


def _lengths(projections: np.ndarray, noise: float) -> np.ndarray:
    """Root of the squared length and the noise, (n_images, 1)."""
    return np.sqrt((projections**2).sum(axis=1, keepdims=True) + noise)


def _warn(message: str) -> None:
    warnings.warn(f"LinearTwinRSARegressor: {message}", ConvergenceWarning, stacklevel=4)
