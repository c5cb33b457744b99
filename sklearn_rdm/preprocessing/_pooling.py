"""The dissimilarities of several subjects as one target per pair."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, has_fit_parameter

from sklearn_rdm._pairs._dissimilarities import (
    as_real,
    average_times,
    can_be_learned,
    check_dissimilarities,
    check_not_masked,
    check_varying,
)
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm._pairs._unit_scale import exponents_of, to_unit_scale
from sklearn_rdm._pairs._weights import check_weights, take_weights
from sklearn_rdm.preprocessing._alignment import align, evidence

__all__ = ["SubjectPooling"]

METHODS = ("zscore", "mean", "rank", "align")
BLOCK = 2**18  # pairs that are pooled at once
OF_SUBJECTS = ("mean_", "scale_", "sorted_", "shares_", "largest_", "factors_", "weights_")


class SubjectPooling(TransformerMixin, BaseEstimator):
    """Pool the dissimilarities of several subjects to one target per pair.

    What it needs to know of each subject (mean, spread, ranks, reliability) it learns in ``fit``,
    so that an estimator that fits it on its training pairs never looks at held-out ones. Every
    estimator of this package does so through its parameter ``subject_pooling``. Time courses are
    averaged first, each pair and subject over the time points that it has.

    A subject that has fewer than two of the pairs given to ``fit``, as happens where a fold holds
    out the images that it saw, is left out with a warning.

    Subjects of several targets may stand side by side, such as 15 of fMRI and 15 of MEG:
    ``np.column_stack([fmri, meg.mean(axis=2)])``. Their z-scores or ranks are then comparable, and
    ``subject_weight=np.repeat([2, 1], 15)`` lets fMRI count twice.

    Parameters
    ----------
    method : {"zscore", "mean", "rank", "align"}, default="zscore"
        With ``d`` the dissimilarity of a pair for subject ``s``, and averages taken over the
        subjects that have the pair:

        - "zscore": ``(mean_s((d - m_s) / sd_s) + 2) / 5``, the paper's [1]_; ``m_s`` and ``sd_s``
          (population) are over the pairs given to ``fit``. Mostly within 0..1.
        - "mean": ``mean_s(d)``, in the units of the data. A pair for which some subject
          has no value is comparable to the others only if all subjects use the same scale.
        - "rank": the mean over subjects of the share of the pairs given to ``fit`` that are
          below ``d``, ties counted half; 0 to 1. Values beyond those seen get 0 or 1.
        - "align": the mean of ``f_s * d``, for subjects who saw different images on scales of
          their own, as in multi-arrangement. The factors ``f_s`` are learned from shared pairs,
          as by rsatoolbox's ``rescale`` [3]_; values are weighted by the evidence
          ``max((d / max_s)^2, 0.04)``, ``max_s`` the subject's largest value in ``fit``.

    rescale : bool, default=True
        Whether the mean z-score ``z`` (method "zscore") becomes ``(z + 2) / 5``, on the scale of
        correlation distances. The paper did so for MEG, not for fMRI.
    subject_weight : array-like of shape (n_subjects,), "reliability" or None, default=None
        None averages all subjects alike; an array gives the weight of each, 0 or more.
        "reliability" weights each subject by the Pearson correlation [2]_ of its z-scored (method
        "mean": raw, "rank": ranked) dissimilarities with the average of the other subjects',
        negative ones clipped to 0. Pairs that only subjects of weight 0 have get the plain mean of
        these.

    Attributes
    ----------
    n_subjects_ : int or None
        Number of subjects in ``fit``; None for one-dimensional targets, which need no pooling and
        have none of the other attributes.
    mean_, scale_ : ndarray of shape (n_subjects,)
        Mean and standard deviation per subject (method "zscore"); NaN for one that is left out.
    sorted_ : list of ndarray
        The sorted dissimilarities of each subject (method "rank"); none for one that is left out.
    shares_ : list of ndarray
        Share of the pairs, by their weights, that are the first 0, 1, 2, ... of ``sorted_``.
    largest_, factors_ : ndarray of shape (n_subjects,)
        Largest absolute value, and the factor that brings a subject to the common scale (method
        "align", else NaN); NaN for one that is left out.
    weights_ : ndarray of shape (n_subjects,)
        Weights in the average; ones if ``subject_weight`` is None. 0 for one that is left out.

    See Also
    --------
    FeatureReweightedRSARegressor : With ``subject_pooling=None`` fits each subject separately.

    Notes
    -----
    A network that is fitted to :class:`~sklearn_rdm.ResponsePatterns` fits this to all pairs of the
    training images, if they are 2^22 numbers or fewer (some 2,000 images of two subjects). Of more,
    "zscore" and "mean" take each subject's mean and standard deviation over all pairs, which are
    exact; "rank", "align" and "reliability" learn from 2^20 of the numbers, drawn at random, the
    same each time.

    References
    ----------
    .. [1] A. Agrawal (2019). "Dissimilarity learning via Siamese network predicts brain imaging
       data".
    .. [2] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014). Each subject's correlation with the others is one term of their lower
       bound of the noise ceiling; to weight subjects by it is this package's choice.
    .. [3] ``rsatoolbox.rdm.combine.rescale`` with method "evidence", which takes the evidence of
       raw values; here it does not depend on their unit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm.preprocessing import SubjectPooling
    >>> dissim = np.array([[0.1, 10], [0.2, 20], [0.3, np.nan], [0.4, 40]])
    >>> SubjectPooling().fit_transform(dissim).round(3)
    array([0.159, 0.329, 0.489, 0.668])
    >>> SubjectPooling("rank").fit_transform(dissim)
    array([0.14583333, 0.4375    , 0.625     , 0.85416667])
    >>> SubjectPooling("mean", subject_weight=[9, 1]).fit_transform(dissim)
    array([1.09, 2.18, 0.3 , 4.36])
    """

    def __init__(
        self, method: str = "zscore", *, rescale: bool = True, subject_weight: Any = None
    ) -> None:
        self.method = method
        self.rescale = rescale
        self.subject_weight = subject_weight

    def fit(self, y: Any, sample_weight: Any = None) -> SubjectPooling:
        """Learn each subject's scale and weight.

        Parameters
        ----------
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How often each pair counts, 0 or more; None counts each once.

        Returns
        -------
        self : SubjectPooling
            The fitted pooling.

        Raises
        ------
        ValueError
            If a subject's dissimilarities are all equal, if no subject has two, if a pair has
            none, if a parameter is not among the ones documented, or if ``subject_weight`` has not
            one weight per subject, has negative ones, or only zeros for those with two. If
            ``sample_weight`` has not one weight per pair. If method is "align" and some subjects
            share no pair with the others.

        Warns
        -----
        UserWarning
            If subjects are left out because they have fewer than two of these pairs.
        """
        y = as_real(y, "dissimilarities")
        y = check_dissimilarities(y, len(y))
        of_pairs = check_weights(sample_weight, len(y))
        if of_pairs is not None:
            y, of_pairs = y[of_pairs > 0], of_pairs[of_pairs > 0]
        weights = self._check_parameters(1 if y.ndim == 1 else y.shape[1])
        if y.ndim == 1:
            self._forget_subjects()
            return self
        check_varying(y)
        learned = check_learned(y)
        if weights is not None and not weights[learned].any():
            raise ValueError(
                f"subject_weight is 0 for all subjects but {np.flatnonzero(~learned).tolist()}, "
                "which have fewer than two of these pairs: there is nothing to learn."
            )
        self.n_subjects_ = y.shape[1]
        self._learn_scales(average_times(y), of_pairs, learned)
        if weights is None:
            weights = _reliabilities(self._rescale(average_times(y)), of_pairs)
        self.weights_ = weights * learned
        return self

    def _forget_subjects(self) -> None:
        """Without what an earlier fit may have left."""
        self.n_subjects_ = None
        for name in OF_SUBJECTS:
            if hasattr(self, name):
                delattr(self, name)

    def _learn_scales(
        self, y: np.ndarray, of_pairs: np.ndarray | None, learned: np.ndarray
    ) -> None:
        known = np.where(learned, _counts(y, of_pairs), np.nan)
        largest = np.maximum(np.fmax.reduce(y), -np.fmin.reduce(y))
        self.largest_ = np.where(learned, largest, np.nan)
        exponents = exponents_of(self.largest_)
        mean = _sums(y, exponents, of_pairs) / known
        scale = np.sqrt(_sums(y, exponents, of_pairs, mean) / known)
        self.mean_, self.scale_ = np.ldexp(mean, exponents), np.ldexp(scale, exponents)
        ranked = learned & (self.method == "rank")
        shares = [
            _sorted_shares(c, of_pairs) if of_one else _sorted_shares(c[:0], None)
            for c, of_one in zip(y.T, ranked, strict=True)
        ]
        self.sorted_, self.shares_ = ([*part] for part in zip(*shares, strict=True))
        self.factors_ = self.largest_ * np.nan
        if self.method == "align":
            self.factors_ = align(y, self.largest_, learned, of_pairs)

    def transform(self, y: Any) -> np.ndarray:
        """Pool the subjects.

        Parameters
        ----------
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Dissimilarities of the subjects given to ``fit``; any pairs.

        Returns
        -------
        pooled : ndarray of float64, shape (n_pairs,)
            One target per pair, NaN where no subject has one that ``fit`` did not leave out;
            one-dimensional targets are returned as they are.

        Raises
        ------
        ValueError
            If the number of subjects is not that of ``fit``, or a dissimilarity is infinite.
        """
        check_is_fitted(self)
        options = {"ensure_2d": False, "allow_nd": True, "ensure_all_finite": "allow-nan"}
        y = as_real(y, "dissimilarities")
        y = average_times(check_array(y, input_name="y", **options))
        n_subjects = None if y.ndim == 1 else y.shape[1]
        if n_subjects != self.n_subjects_:
            raise ValueError(
                f"this pooling was fitted on {_name_subjects(self.n_subjects_)}, but is given "
                f"{_name_subjects(n_subjects)}: give the subjects of fit, in the same order."
            )
        if y.ndim == 1:
            return y
        pooled = np.empty(len(y))
        for start in range(0, len(y), BLOCK):
            pooled[start : start + BLOCK] = self._pool(y[start : start + BLOCK])
        return pooled

    def _pool(self, y: np.ndarray) -> np.ndarray:
        weights = self.weights_
        if self.method == "align":
            weights = weights * np.nan_to_num(evidence(y, self.largest_))
        pooled = _weighted_mean(self._rescale(y), weights)
        return (pooled + 2) / 5 if self.method == "zscore" and self.rescale else pooled

    def fit_transform(self, y: Any, sample_weight: Any = None) -> np.ndarray:
        """Fit to the dissimilarities, then pool them.

        Parameters
        ----------
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            As in ``fit``.
        sample_weight : array-like of shape (n_pairs,), default=None
            As in ``fit``.

        Returns
        -------
        pooled : ndarray of float64, shape (n_pairs,)
            As from ``transform``.

        Raises
        ------
        TypeError, ValueError
            As ``fit``.
        """
        return self.fit(y, sample_weight).transform(y)

    def _check_parameters(self, n_subjects: int) -> np.ndarray | None:
        """Return the subjects' weights; None if they are learned."""
        check_option("method", self.method, METHODS)
        if self.subject_weight is None:
            return np.ones(n_subjects)
        if isinstance(self.subject_weight, str) and self.subject_weight == "reliability":
            return None if n_subjects > 1 else np.ones(1)
        return _check_weights(self.subject_weight, n_subjects)

    def _rescale(self, y: np.ndarray) -> np.ndarray:
        """Every subject on the scale on which subjects are averaged, NaN where left out."""
        y = np.where(np.isnan(self.mean_), np.nan, y)
        if self.method == "mean":
            return y
        if self.method == "align":
            return y * self.factors_
        if self.method == "zscore":
            return (y - self.mean_) / self.scale_
        seen = zip(y.T, self.sorted_, self.shares_, strict=True)
        return np.column_stack([_ranks(*column) for column in seen])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags


def as_pooling(subject_pooling: Any) -> Any:
    """Return an unfitted pooling: of this method if a name is given, else a clone."""
    if isinstance(subject_pooling, str):
        return SubjectPooling(subject_pooling)
    if not hasattr(subject_pooling, "fit_transform"):
        raise ValueError(
            f"subject_pooling must be one of {METHODS}, or a transformer such as SubjectPooling("
            f"'zscore', subject_weight='reliability'), got {subject_pooling!r}."
        )
    return clone(subject_pooling)


def check_learned(y: np.ndarray) -> np.ndarray:
    """Whether each subject has two pairs or more, (n_subjects,), with a warning of the others."""
    learned = can_be_learned(y)
    if not learned.all():
        warnings.warn(
            f"subjects {np.flatnonzero(~learned).tolist()} (columns of y) have fewer than two of "
            f"these {len(y)} pairs, and are left out: nothing can be learned of them.",
            UserWarning,
            stacklevel=3,
        )
    return learned


def fit_pooling(subject_pooling: Any, y: np.ndarray, weights: np.ndarray | None) -> Any:
    """A pooling that is fitted to dissimilarities, and to weights of their pairs if there are."""
    pooling = as_pooling(subject_pooling)
    if weights is None:
        return pooling.fit(y)
    if not has_fit_parameter(pooling, "sample_weight"):
        raise ValueError(
            f"subject_pooling={subject_pooling!r} takes no sample_weight in fit: leave "
            "sample_weight out, or use SubjectPooling, which weights pairs."
        )
    return pooling.fit(y, sample_weight=weights)


def pool_pairs(
    subject_pooling: Any, pairs: ImagePairs, y: np.ndarray, weights: np.ndarray | None = None
) -> tuple[ImagePairs, np.ndarray, np.ndarray | None]:
    """Pairs that have a pooled target, their targets and weights.

    A pair has none if the only subjects that have it were left out.
    """
    target = fit_pooling(subject_pooling, y, weights).transform(y)
    pooled = ~np.isnan(target)
    return pairs[pooled], target[pooled], take_weights(weights, pooled)


def _check_weights(subject_weight: Any, n_subjects: int) -> np.ndarray:
    check_not_masked(subject_weight, "subject_weight")
    weights = np.asarray(subject_weight)
    if weights.dtype.kind not in "uif" or weights.shape != (n_subjects,):
        raise ValueError(
            f"subject_weight must be None, 'reliability' or one number per subject, {n_subjects} "
            f"here, got {subject_weight!r}."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            "subject_weight must be finite, 0 or more, and more than 0 for one subject at least, "
            f"got {weights.tolist()}."
        )
    return weights.astype(np.float64)


def _name_subjects(n_subjects: int | None) -> str:
    return "one-dimensional targets" if n_subjects is None else f"{n_subjects} subject(s)"


def _counts(y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Number, or weight, of the pairs that each subject has."""
    known = ~np.isnan(y)
    return known.sum(axis=0) if weights is None else weights @ known


def _sums(
    y: np.ndarray,
    exponents: np.ndarray,
    weights: np.ndarray | None,
    centre: np.ndarray | None = None,
) -> np.ndarray:
    """Sums of each subject's values, or of their squared distances from a centre, without NaN.

    In the subject's power of two, so that squares neither overflow nor vanish. Block by block: of
    many pairs, a copy would be large.
    """
    total = np.zeros(y.shape[1])
    for start in range(0, len(y), BLOCK):
        rows = slice(start, start + BLOCK)
        block = np.ldexp(y[rows], -exponents)
        block = block if centre is None else (block - centre) ** 2
        block = block if weights is None else block * weights[rows, np.newaxis]
        total = np.vstack([total, np.where(np.isnan(block), 0, block)]).sum(axis=0)
    return total


def _sorted_shares(column: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """What is not NaN, sorted, and the share of its weight in the first 0, 1, 2, ... of it."""
    order = np.argsort(column, kind="stable")[: np.count_nonzero(~np.isnan(column))]
    counts = np.ones(len(order)) if weights is None else weights[order]
    sums = np.concatenate([[0.0], counts.cumsum()])
    return column[order], sums / sums[-1] if len(order) else sums


def _ranks(values: np.ndarray, seen: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Share of those seen (sorted) that is below each value, ties counted half."""
    below = shares[np.searchsorted(seen, values, side="left")]
    up_to = shares[np.searchsorted(seen, values, side="right")]
    return np.where(np.isnan(values), np.nan, (below + up_to) / 2)


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the subjects that have the pair; unweighted where these have no weight."""
    present = ~np.isnan(values)
    weights = weights * present
    weights = np.where(weights.any(axis=1, keepdims=True), weights, present)
    total = weights.sum(axis=1)
    weighted = np.where(present, values, 0) * weights
    return np.divide(weighted.sum(axis=1), total, out=np.full(len(values), np.nan), where=total > 0)


def _reliabilities(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Correlation of each subject with the mean of the others, over the pairs it shares."""
    n_subjects = values.shape[1]
    reliabilities = np.zeros(n_subjects)
    for subject in range(n_subjects):
        others = _weighted_mean(np.delete(values, subject, axis=1), np.ones(n_subjects - 1))
        shared = ~np.isnan(values[:, subject]) & ~np.isnan(others)
        own, others = (to_unit_scale(some[shared]) for some in (values[:, subject], others))
        if shared.sum() > 1 and own.std() > 0 and others.std() > 0:
            covariance = np.cov(own, others, aweights=take_weights(weights, shared))
            scale = np.sqrt(covariance[0, 0] * covariance[1, 1])
            reliabilities[subject] = max(covariance[0, 1] / scale, 0)
    return reliabilities
