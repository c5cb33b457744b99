"""A linear transform of features that predicts choices of the odd one out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import svd
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._models._distances import check_finite
from sklearn_rdm._pairs._images import check_images, flatten_images
from sklearn_rdm._pairs._leaks import TrainingPairs, warn_of_leak_in_validation
from sklearn_rdm._pairs._pair_index import renumber
from sklearn_rdm._pairs._triplets import ImageTriplets, check_choices, check_triplets
from sklearn_rdm._pairs._weights import check_weights, keep_weighted
from sklearn_rdm.metrics import choice_accuracy_score

__all__ = ["ChoiceScoreMixin", "OddOneOutAlignment"]


class ChoiceScoreMixin:
    """``score`` of all that predict choices of the odd one out."""

    predict: Any

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of triplets whose odd one out is predicted.

        Parameters
        ----------
        X : ImageTriplets
            Held-out triplets.
        y : array-like of int, shape (n_triplets,)
            Place of the odd one out that was chosen.
        sample_weight : array-like of shape (n_triplets,), default=None
            How much each triplet counts. None: all alike.

        Returns
        -------
        accuracy : float
            0 to 1, see :func:`sklearn_rdm.metrics.choice_accuracy_score`.
        """
        y = check_choices(X, y)
        return choice_accuracy_score(y, self.predict(X), sample_weight=sample_weight)


class OddOneOutAlignment(ChoiceScoreMixin, BaseEstimator):
    """Align features with choices of the odd one out by a linear transform near the identity.

    Features ``x`` become ``z = W (x - m) / c``, with the mean ``m`` and the root mean squared
    length ``c`` of the images of the training triplets. Of three images, the two with the largest
    dot product ``s = z_i.z_j`` are left together, with the probability that a softmax over the
    three gives [1]_ [2]_. Minimised is

    ``mean(-log p(choice)) + alpha |W - g I|^2 / n_features``

    where ``g`` is the mean of the diagonal of ``W``: the penalty pulls towards a multiple of the
    identity, so that the local structure of the features is kept [2]_.

    Parameters
    ----------
    alpha : float, default=0.1
        Penalty, at least 0. With a large one only the scale ``g`` is learned. Search it.
    max_iter : int, default=1000
        Iterations of the solver (L-BFGS), at most.
    tol : float, default=1e-5
        It stops where no partial derivative is larger than this.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        ``m``.
    scale_ : float
        ``c``.
    identity_ : float
        ``g``.
    span_ : ndarray of shape (rank, n_features)
        Orthonormal directions in which the training images differ. At right angles to them ``W``
        is ``g`` times the identity.
    coef_ : ndarray of shape (rank, rank)
        ``W`` within the span.
    loss_ : float
        The mean of ``-log p(choice)`` on the training triplets, without the penalty.
    n_iter_ : int
        Iterations done.
    n_features_in_ : int
        Features per image; images of more axes are flattened.

    See Also
    --------
    SiameseOddOneOutClassifier : Trains the layers of a network too.
    sklearn_rdm.losses.OddOneOutLoss : The same loss, for torch.
    sklearn_rdm.preprocessing.choices_to_rdm : A matrix for the estimators of pairs.
    LinearTwinRSARegressor : Learns from dissimilarities.

    Notes
    -----
    The publication [2]_ adds a bias, which the mean takes care of here, and a loss that keeps
    which other images are close to an image; the penalty alone is its "linear" variant.

    ``W`` differs from a multiple of the identity within the span of the training images only, so
    that an iteration costs the same for any number of features.

    References
    ----------
    .. [1] L. Muttenthaler, J. Dippel, L. Linhardt, R. A. Vandermeulen, S. Kornblith (2023). "Human
       alignment of neural network representations". ICLR.
    .. [2] L. Muttenthaler, L. Linhardt, J. Dippel, R. A. Vandermeulen, K. Hermann, A. K. Lampinen,
       S. Kornblith (2023). "Improving neural network representations using human similarity
       judgments". NeurIPS.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_rdm import OddOneOutAlignment
    >>> from sklearn_rdm.datasets import make_odd_one_out
    >>> from sklearn_rdm.model_selection import ImageKFold
    >>> data = make_odd_one_out(n_images=30, n_features=8, n_triplets=3000, random_state=0)
    >>> cv = ImageKFold(3, shuffle=True, random_state=0)
    >>> aligned, fixed = (
    ...     cross_val_score(OddOneOutAlignment(alpha), data.triplets, data.choices, cv=cv).mean()
    ...     for alpha in (0.1, 1e6)
    ... )
    >>> bool(aligned > fixed + 0.1)
    True
    """

    def __init__(self, alpha: float = 0.1, *, max_iter: int = 1000, tol: float = 1e-5) -> None:
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OddOneOutAlignment:
        """Fit the transform.

        Parameters
        ----------
        X : ImageTriplets
            The training triplets, of images or feature arrays.
        y : array-like of int, shape (n_triplets,)
            Place of the odd one out in each, 0 to 2.
        sample_weight : array-like of shape (n_triplets,), default=None
            How much each triplet counts, 0 or more: a weight of 2 is a triplet given twice. None:
            all alike.

        Returns
        -------
        self : OddOneOutAlignment
            The fitted estimator. It is left as it was if the input raises an error.

        Raises
        ------
        TypeError, ValueError
            If X is not an ImageTriplets, a choice is not a place in its triplet, a parameter is not
            as documented, or all training images are equal.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` is reached.
        """
        self._check_parameters()
        choices = check_choices(X, y)
        weights = check_weights(sample_weight, len(choices))
        X, choices, weights = keep_weighted(weights, X, choices)
        used, local = renumber(X.index)
        features = np.asarray(X.images[used].reshape(len(used), -1), dtype=np.float64)
        check_finite(features, used)
        mean = features.mean(axis=0)
        scores, span, scale = _span(features - mean)
        triplets = ImageTriplets(scores, local, anchored=X.anchored)
        counts = np.ones(len(choices)) if weights is None else weights
        penalty = self.alpha / features.shape[1]
        problem = _Choices(triplets, choices, counts / counts.sum(), penalty)
        self.coef_, self.n_iter_ = self._minimise(problem)
        self.mean_, self.scale_, self.span_ = mean, scale, span
        self.identity_ = float(np.trace(self.coef_) / len(span))
        self.loss_ = float(problem.loss(self.coef_)[0])
        self.n_features_in_ = features.shape[1]
        self._training_pairs_ = TrainingPairs(X)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the odd one out.

        Parameters
        ----------
        X : ImageTriplets
            Any triplets of images with as many features as in ``fit``.

        Returns
        -------
        choices : ndarray of int, shape (n_triplets,)
            The most probable place of the odd one out; -1 for a tie, which scores count as wrong.
        """
        probability = self.predict_proba(X)
        best = probability.max(axis=1, keepdims=True)
        return np.where((probability == best).sum(axis=1) > 1, -1, probability.argmax(axis=1))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each image to be chosen as the odd one out.

        Parameters
        ----------
        X : ImageTriplets
            As in :meth:`predict`.

        Returns
        -------
        probability : ndarray of shape (n_triplets, 3)
            Rows sum to 1; 0 for a reference.
        """
        check_is_fitted(self)
        check_triplets(X)
        warn_of_leak_in_validation(self, X)
        used, local = renumber(X.index)
        embedded = self.embed(X.images[used])
        triplets = ImageTriplets(embedded, local, anchored=X.anchored)
        return softmax(_similarities(triplets, embedded), axis=1)

    def embed(self, X: Any) -> np.ndarray:
        """Transform images.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImageTriplets
            Images, seen in ``fit`` or new; of triplets, all their images.

        Returns
        -------
        features : ndarray of shape (n_images, n_features)
            ``W (x - m) / c``.
        """
        check_is_fitted(self)
        images = X.images if isinstance(X, ImageTriplets) else check_images(X)
        features = flatten_images(images, self.n_features_in_)
        check_finite(features, np.arange(len(features)))
        centred = (features - self.mean_) / self.scale_
        inside = centred @ self.span_.T
        change = self.coef_ - self.identity_ * np.eye(len(self.coef_))
        return self.identity_ * centred + inside @ change.T @ self.span_

    def transform(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity matrix of images, as their choices would make it.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImageTriplets
            Three images or more; of triplets, all their images.

        Returns
        -------
        rdm : ndarray of shape (n_images, n_images)
            ``1 - A_ij``, with ``A_ij`` the probability that ``i`` and ``j`` are left together, the
            mean over all third images of ``X``: 0 to 1, symmetric, zero diagonal. It depends on
            the other images, as that of :func:`~sklearn_rdm.preprocessing.choices_to_rdm` does.

        Raises
        ------
        ValueError
            If there are fewer than three images.
        """
        embedded = self.embed(X)
        if len(embedded) < 3:
            raise ValueError(f"a choice needs 3 images, got {len(embedded)}.")
        similarity = embedded @ embedded.T
        rows = [_left_together(similarity, image) for image in range(len(embedded))]
        rdm = 1 - np.array(rows)
        np.fill_diagonal(rdm, 0)
        return (rdm + rdm.T) / 2

    def _check_parameters(self) -> None:
        if not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha must be finite and at least 0, got {self.alpha!r}.")
        if not self.max_iter >= 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter!r}.")

    def _minimise(self, problem: _Choices) -> tuple[np.ndarray, int]:
        rank = problem.triplets.images.shape[1]
        result = minimize(
            problem.objective,
            np.eye(rank).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iter, "gtol": self.tol},
        )
        if result.status == 1:
            warnings.warn(
                f"OddOneOutAlignment: max_iter={self.max_iter} is reached: increase max_iter or "
                "alpha.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return result.x.reshape(rank, rank), int(result.nit)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


@dataclass
class _Choices:
    """The penalised loss of ``W`` (rank, rank) on triplets of scores (n_images, rank)."""

    triplets: ImageTriplets
    choices: np.ndarray
    shares: np.ndarray  # of the triplets; they sum to 1
    penalty: float

    def objective(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        rank = self.triplets.images.shape[1]
        weights = flat.reshape(rank, rank)
        loss, gradient = self.loss(weights)
        departure = weights - np.trace(weights) / rank * np.eye(rank)
        loss += self.penalty * (departure**2).sum()
        return loss, (gradient + 2 * self.penalty * departure).ravel()

    def loss(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean of ``-log p(choice)``, and its gradient."""
        scores = self.triplets.images
        embedded = scores @ weights.T
        similarity = _similarities(self.triplets, embedded)
        rows = np.arange(len(self.choices))
        loss = -self.shares @ log_softmax(similarity, axis=1)[rows, self.choices]
        slopes = softmax(similarity, axis=1)
        slopes[rows, self.choices] -= 1
        slopes *= self.shares[:, np.newaxis]
        first, second = self.triplets.pair_index.reshape(-1, 2).T
        shape = (len(scores), len(scores))
        pulls = csr_array((slopes.ravel(), (first, second)), shape=shape)
        return float(loss), ((pulls + pulls.T) @ embedded).T @ scores


def _similarities(triplets: ImageTriplets, embedded: np.ndarray) -> np.ndarray:
    """Products of the two images beside each one, (n_triplets, 3); -inf beside a reference."""
    first, second = np.moveaxis(triplets.pair_index, -1, 0)
    similarity = np.einsum("tkf,tkf->tk", embedded[first], embedded[second])
    return np.where(triplets.possible, similarity, -np.inf)


def _span(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Images in the directions in which they differ, at unit scale; the directions; the scale."""
    left, lengths, span = svd(centred, full_matrices=False, check_finite=False)
    rank = int((lengths > len(lengths) * np.finfo(float).eps * lengths[0]).sum())
    if rank == 0:
        raise ValueError(
            "all training images are equal: there is nothing to align. Give images that differ."
        )
    scale = float(np.sqrt((lengths**2).sum() / len(centred)))
    return left[:, :rank] * lengths[:rank] / scale, span[:rank], scale


def _left_together(similarity: np.ndarray, image: int) -> np.ndarray:
    """Probability that one image is left together with each other, the mean over thirds."""
    with_third = similarity[image]
    of_three = np.stack(
        np.broadcast_arrays(with_third[:, np.newaxis], with_third[np.newaxis], similarity)
    )
    probability = softmax(of_three, axis=0)[0]
    probability[:, image] = 0
    np.fill_diagonal(probability, 0)
    return probability.sum(axis=1) / (len(similarity) - 2)
