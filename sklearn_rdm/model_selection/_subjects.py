"""Subjects held out as well as images: fit on some columns of y, score on others."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import delayed
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._pairs._delegation import wrapped_has
from sklearn_rdm._pairs._dissimilarities import as_real
from sklearn_rdm._pairs._fit_tasks import FitTaskMixin
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._patterns import ResponsePatterns
from sklearn_rdm._pairs._progress import collect
from sklearn_rdm._pairs._routing import RoutedFitMixin
from sklearn_rdm._pairs._weights import check_samples_are_pairs, check_weights, take_weights
from sklearn_rdm.metrics import get_rdm_scorer
from sklearn_rdm.model_selection._cv import check_image_cv, of_pairs_and_cv


def cross_val_subjects_score(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    subject_cv: Any = None,
    scoring: Any = None,
    sample_weight: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """Score on held-out images of held-out subjects, for every pair of such folds.

    Fits on the training subjects' dissimilarities of the training images and scores on the other
    subjects' dissimilarities of the held-out images: does the model generalise to new images and
    to new people at once? [1]_ held out 12 of 62 images and 5 of 24 subjects.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)``
        Cloned for every fold; a search inside sees the training images and subjects only.
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        The labelled pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
    y : array-like of shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times), or \
ResponsePatterns
        One column of dissimilarities per subject; NaN where a subject has no value.
    cv : int, splitter or iterable of (train, test), default=None
        Over images. None is ``ImageKFold(5)``, an int ``ImageKFold(cv)``. With response patterns,
        scikit-learn's splitters and rows are of images.
    subject_cv : int, splitter or iterable of (train, test), default=None
        Over subjects, any splitter of scikit-learn; None is ``KFold(5)``, an int ``KFold(n)``.
    scoring : str or callable, default=None
        A name that :func:`sklearn_rdm.metrics.get_rdm_scorer` or scikit-learn knows, or a scorer;
        None is the estimator's ``score``. It is given the test subjects' columns.
    sample_weight : array-like of shape (n_pairs,), default=None
        How much each pair counts, in fits and scores. None: all alike.
    n_jobs : int, default=None
        Folds fitted at the same time; None means 1, -1 all cores.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Returns
    -------
    scores : ndarray of shape (n_subject_splits, n_image_splits)
        Score of each combination; NaN where the training subjects have none of the training
        pairs, or the test subjects none of the test pairs.

    Raises
    ------
    ValueError
        If y has no column per subject, or cv tests a pair whose two images are both trained on.

    Warns
    -----
    UndefinedMetricWarning
        For each combination that is NaN.

    See Also
    --------
    SubjectHoldOutRDMRegressor : One split of the subjects, for use in a search.

    References
    ----------
    .. [1] K. R. Storrs, T. C. Kietzmann, A. Walther, J. Mehrer, N. Kriegeskorte (2021). Diverse
       deep neural networks all predict human inferior temporal cortex well, after training and
       fitting. Journal of Cognitive Neuroscience 33(10), 2044-2064.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import spearmanr
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageKFold, cross_val_subjects_score
    >>> class FixedDistance(BaseEstimator):
    ...     def fit(self, X, y):
    ...         return self
    ...     def predict(self, X):
    ...         return np.linalg.norm(np.diff(X.images[X.index], axis=1)[:, 0], axis=1)
    ...     def score(self, X, y):
    ...         return np.mean([spearmanr(self.predict(X), column)[0] for column in y.T])
    >>> rng = np.random.default_rng(0)
    >>> pairs, dissim = ImagePairs.from_rdms(rng.random((9, 4)), rng.random((6, 36)))
    >>> scores = cross_val_subjects_score(
    ...     FixedDistance(), pairs, dissim, cv=ImageKFold(3), subject_cv=2
    ... )
    >>> scores.shape
    (2, 3)
    """
    X, y, cv = of_pairs_and_cv(X, y, cv, sample_weight)
    pairs = as_pairs(X)
    y = _check_subjects(y, len(pairs))
    weights = check_weights(sample_weight, len(pairs))
    image_splits = check_image_cv(cv, pairs, y)
    subject_splits = list(check_cv(subject_cv).split(np.arange(y.shape[1])))
    calls = (
        delayed(_fit_score)(
            SubjectHoldOutRDMRegressor(
                clone(estimator), test_subjects, train_subjects=train_subjects, scoring=scoring
            ),
            pairs,
            y,
            *image_split,
            weights,
        )
        for (train_subjects, test_subjects), image_split in product(subject_splits, image_splits)
    )
    total = len(subject_splits) * len(image_splits)
    scores = collect(calls, total=total, verbose=verbose, desc="folds", n_jobs=n_jobs)
    return np.reshape(scores, (len(subject_splits), len(image_splits)))


class SubjectHoldOutRDMRegressor(
    FitTaskMixin, RoutedFitMixin, MetaEstimatorMixin, RegressorMixin, BaseEstimator
):
    """Fit on some subjects' dissimilarities, score on other subjects'.

    scikit-learn's splitters cut rows, pairs here; this holds out columns, subjects. Inside a
    ``GridSearchCV`` with an image splitter, candidates are compared on held-out images of held-out
    subjects.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Fitted on the training subjects' columns.
    test_subjects : int or array-like of int, default=0
        Columns of y to score on.
    train_subjects : array-like of int, default=None
        Columns of y to fit on; None is all others.
    scoring : str or callable, default=None
        A name that :func:`sklearn_rdm.metrics.get_rdm_scorer` or scikit-learn knows, or a scorer,
        which ``score`` uses; None is the estimator's ``score``. Leave the ``scoring`` of
        ``GridSearchCV`` and ``cross_val_score`` unset: they would score on all subjects.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    train_subjects_ : ndarray of int
        Columns fitted on.
    test_subjects_ : ndarray of int
        Columns scored on.

    See Also
    --------
    cross_val_subjects_score : All folds of subjects and images.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import spearmanr
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageKFold, SubjectHoldOutRDMRegressor
    >>> class FixedDistance(BaseEstimator):
    ...     def fit(self, X, y):
    ...         return self
    ...     def predict(self, X):
    ...         return np.linalg.norm(np.diff(X.images[X.index], axis=1)[:, 0], axis=1)
    ...     def score(self, X, y):
    ...         return np.mean([spearmanr(self.predict(X), column)[0] for column in y.T])
    >>> rng = np.random.default_rng(0)
    >>> pairs, dissim = ImagePairs.from_rdms(rng.random((9, 4)), rng.random((6, 36)))
    >>> regressor = SubjectHoldOutRDMRegressor(FixedDistance(), test_subjects=[4, 5])
    >>> cross_val_score(regressor, pairs, dissim, cv=ImageKFold(3)).shape
    (3,)
    >>> regressor.fit(pairs, dissim).train_subjects_
    array([0, 1, 2, 3])
    """

    def __init__(
        self,
        estimator: Any,
        test_subjects: Any = 0,
        *,
        train_subjects: Any = None,
        scoring: Any = None,
    ) -> None:
        self.estimator = estimator
        self.test_subjects = test_subjects
        self.train_subjects = train_subjects
        self.scoring = scoring

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SubjectHoldOutRDMRegressor:
        """Fit the estimator on the training subjects, and the pairs that one of them has.

        Parameters
        ----------
        X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
            The labelled pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
        y : array-like of shape (n_pairs, n_subjects[, n_times]), or ResponsePatterns
            One column of dissimilarities per subject.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, given to the estimator's ``fit``. None: all alike.

        Returns
        -------
        self : SubjectHoldOutRDMRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            If y has fewer than two subjects, if a subject is not a column of y or is both trained
            on and tested, or if the training subjects have none of these pairs; and whatever the
            estimator raises.
        """
        X, y, weights = _checked(X, y, sample_weight)
        n_subjects = y.n_subjects if isinstance(y, ResponsePatterns) else y.shape[1]
        train, test = self._split_subjects(n_subjects)
        X, y, weights = _columns(X, y, train, weights)
        self.train_subjects_, self.test_subjects_ = train, test
        self.estimator_ = clone(self.estimator).fit(X, y, **self._fit_params(weights))
        return self

    def _split_subjects(self, n_subjects: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns to fit on and to score on."""
        test = _check_columns(self.test_subjects, n_subjects, "test_subjects")
        train = np.setdiff1d(np.arange(n_subjects), test)
        if self.train_subjects is not None:
            train = _check_columns(self.train_subjects, n_subjects, "train_subjects")
        if len(train) == 0 or np.isin(train, test).any():
            raise ValueError(
                f"train_subjects {train.tolist()} and test_subjects {test.tolist()} of "
                f"{n_subjects} subjects must have no subject in common, and one each."
            )
        return train, test

    def predict(self, X: Any) -> np.ndarray:
        """Predict dissimilarities by the fitted estimator.

        Parameters
        ----------
        X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
            Any pairs.

        Returns
        -------
        dissim : ndarray of shape (n_pairs,)
            The estimator's prediction.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(wrapped_has("transform"))
    def transform(self, X: Any) -> np.ndarray:
        """Return the fitted estimator's transform, such as the RDM of images.

        Parameters
        ----------
        X : array-like
            What the estimator transforms.

        Returns
        -------
        transformed : ndarray
            The estimator's.
        """
        check_is_fitted(self)
        return self.estimator_.transform(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score the predictions of the test subjects' dissimilarities.

        Parameters
        ----------
        X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
            Pairs; those that no test subject has are left out. Or images, as in ``fit``.
        y : array-like of shape (n_pairs, n_subjects[, n_times]), or ResponsePatterns
            All subjects' columns, as in ``fit``; only those of the test subjects are read.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts; ``scoring`` must take weights. None: all alike.

        Returns
        -------
        score : float
            By ``scoring``, or the estimator's ``score``.

        Raises
        ------
        ValueError
            If y has not one row per pair and two subjects or more, if the test subjects have none
            of these pairs, or if ``scoring`` is unknown.
        """
        check_is_fitted(self)
        X, y, weights = _checked(X, y, sample_weight)
        scoring = self.scoring
        if isinstance(scoring, str) and scoring not in get_scorer_names():
            scoring = get_rdm_scorer(scoring)
        scorer = check_scoring(self.estimator_, scoring=scoring)
        X, y, weights = _columns(X, y, self.test_subjects_, weights)
        weighted = {} if weights is None else {"sample_weight": weights}
        return scorer(self.estimator_, X, y, **weighted)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        tags.target_tags.two_d_labels = True
        return tags


def _fit_score(
    regressor: SubjectHoldOutRDMRegressor,
    pairs: ImagePairs,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    weights: np.ndarray | None,
) -> float:
    parts = {"training": (train, regressor.train_subjects), "test": (test, regressor.test_subjects)}
    for part, (rows, subjects) in parts.items():
        if np.isnan(y[np.ix_(rows, subjects)]).all():
            warnings.warn(
                f"the score is not defined (NaN): the {part} subjects {[*map(int, subjects)]} have "
                f"none of the {len(rows)} {part} pairs.",
                UndefinedMetricWarning,
                stacklevel=2,
            )
            return np.nan
    regressor.fit(pairs[train], y[train], take_weights(weights, train))
    return regressor.score(pairs[test], y[test], take_weights(weights, test))


def _checked(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, np.ndarray | None]:
    """Pairs, all subjects' dissimilarities and weights; or images and response patterns."""
    check_samples_are_pairs(y, sample_weight)
    if isinstance(y, ResponsePatterns):
        y._check_images(X)
        if y.n_subjects < 2:
            raise ValueError(f"holding out subjects needs two or more subjects, got {y!r}.")
        return X, y, None
    pairs = as_pairs(X)
    return pairs, _check_subjects(y, len(pairs)), check_weights(sample_weight, len(pairs))


def _check_subjects(y: Any, n_pairs: int) -> np.ndarray:
    """Return y as float64 (n_pairs, n_subjects[, n_times]) of two or more subjects."""
    y = as_real(y, "dissimilarities")
    if y.ndim not in (2, 3) or len(y) != n_pairs or y.shape[1] < 2:
        raise ValueError(
            f"holding out subjects needs dissimilarities of shape ({n_pairs}, n_subjects) or "
            f"({n_pairs}, n_subjects, n_times) with two or more subjects, got {y.shape}."
        )
    return y


def _check_columns(subjects: Any, n_subjects: int, name: str) -> np.ndarray:
    columns = np.unique(np.atleast_1d(subjects))
    if columns.dtype.kind not in "ui" or not 0 <= columns[0] <= columns[-1] < n_subjects:
        raise ValueError(f"{name} must be columns 0 to {n_subjects - 1} of y, got {subjects!r}.")
    return columns


def _columns(
    pairs: Any, y: Any, subjects: np.ndarray, weights: np.ndarray | None
) -> tuple[Any, Any, np.ndarray | None]:
    """Pairs that one of the subjects has, these subjects' dissimilarities, and the weights.

    Or images, and these subjects' response patterns.
    """
    if isinstance(y, ResponsePatterns):
        return pairs, y._of_subjects(subjects), None
    y = y[:, subjects]
    has_value = ~np.isnan(y).all(axis=tuple(range(1, y.ndim)))
    if not has_value.any():
        raise ValueError(
            f"subjects {subjects.tolist()} have no dissimilarity (NaN) for these {len(pairs)} "
            "pairs: choose other subjects, or folds with more pairs."
        )
    return pairs[has_value], y[has_value], take_weights(weights, has_value)
