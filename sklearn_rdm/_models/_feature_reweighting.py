"""Feature-reweighted RSA: a weight for every feature's own dissimilarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._models._distances import DENSE, check_finite, normalise
from sklearn_rdm._models._pair_ridge import fit_path, pair_sums, predict_path, square_sums
from sklearn_rdm._models._rsa import RSARegressor
from sklearn_rdm._pairs._dissimilarities import average_times
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._images import flatten_images
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm._pairs._pair_index import renumber
from sklearn_rdm._pairs._weights import (
    check_weighted_pairs,
    keep_weighted,
    take_weights,
)
from sklearn_rdm.metrics._measures import MEASURES, score_columns
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.model_selection._cv import check_image_cv, of_pairs_and_cv
from sklearn_rdm.preprocessing._pooling import check_learned, fit_pooling

__all__ = ["FeatureReweightedRSARegressor"]

METRICS = ("dot", "sqeuclidean")
SCORINGS = ("pearson", "spearman")
DEFAULT_ALPHAS = {
    "ridge": np.logspace(0, 7, 15),
    "fractional": np.linspace(0.05, 1, 20),
    "nonnegative": np.logspace(-1, 5, 7),
}
FEW_IMAGES = 15  # below, a fifth of the images makes no 3 pairs to score
MIN_IMAGES_TO_CHOOSE = 5  # holding out two leaves 3 pairs to train on


class FeatureReweightedRSARegressor(RSARegressor):
    """Feature-reweighted RSA: ridge regression on the dissimilarities in single features.

    The dissimilarity of images ``i`` and ``j`` is ``b + sum_f w_f d_f(i, j)`` [1]_, where

    - ``metric="dot"``: ``d_f(i, j) = -z_if z_jf``. Images are centred and scaled to unit length,
      so that ``b = 1`` and all weights 1 give the correlation distance ``1 - r``;
    - ``metric="sqeuclidean"``: ``d_f(i, j) = (x_if - x_jf)^2``. Images are scaled to unit length,
      so that all weights 1 give ``2 - 2 cos``.

    The ``d_f`` are standardised over the training pairs, then ``|y - D w|^2 + alpha |w|^2`` is
    minimised. The penalty is chosen by the correlation with dissimilarities between images that
    were held out, within the training pairs.

    Parameters
    ----------
    metric : {"dot", "sqeuclidean"}, default="dot"
        The dissimilarity in a single feature.
    penalty : {"ridge", "fractional", "nonnegative"}, default="ridge"
        "ridge"; "fractional", whose penalty is given as the fraction of the norm that unpenalised
        weights would have [2]_ (as a rule better spread than a grid of penalties); or
        "nonnegative", ridge with ``w >= 0``, which is much slower.
    alphas : float or array-like of shape (n_alphas,), default=None
        Penalties to choose from, at least 0; fractions above 0 and up to 1 if
        ``penalty="fractional"``. One penalty leaves nothing to choose. None tries 15 from 1 to 1e7
        ("ridge"), 20 from 0.05 to 1 ("fractional") or 7 from 0.1 to 1e5 ("nonnegative").
    normalize : bool, default=True
        Whether to centre ("dot") and scale every image as above.
    cv : int, cross-validation splitter, iterable or None, default=None
        How images are held out to choose the penalty: folds of an
        :class:`~sklearn_rdm.model_selection.ImageKFold`, another splitter of images, or (train,
        test) rows. None draws 25 times a fifth of the images, as published; with fewer than 15
        images it holds out the two images of every pair in turn.
    scoring : {"pearson", "spearman"}, default="pearson"
        Correlation that the penalty maximises. It is taken over the held-out predictions of all
        splits together (averaged where a pair is held out repeatedly), so that splits with few
        pairs are no obstacle. Predictions enter relative to the mean target of their training
        pairs, which alone would be anticorrelated with what is held out.
    subject_pooling : str, transformer or None, default="zscore"
        How the dissimilarities of several subjects become one target: a method of
        :class:`sklearn_rdm.preprocessing.SubjectPooling` or an instance, fitted on the training
        pairs. None fits weights and penalty for every subject (of time courses, its mean over
        time points); predictions are then averaged. A subject with fewer than two training pairs
        is left out: its weights, penalty and scores are NaN.
    random_state : int, RandomState instance or None, default=0
        Draws the held-out images if ``cv`` is None or an int.
    n_jobs : int, default=None
        Splits of ``cv`` that are fitted at the same time, in threads; the result is the same for
        any number. None means 1, unless in a :obj:`joblib.parallel_config` context; -1 means all
        cores. Each split uses one core. Processes, ``joblib.parallel_config("loky")``, are faster
        than threads once they have started (a few seconds), because LAPACK's reduction holds
        Python's lock.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_subjects, n_features)
        The weights ``w``, for ``d_f`` in their own units (not standardised); one row per subject
        if ``subject_pooling=None`` and targets are not one-dimensional.
    intercept_ : float or ndarray of shape (n_subjects,)
        The constant ``b``.
    alpha_ : float or ndarray of shape (n_subjects,)
        The chosen penalty or fraction.
    alphas_ : ndarray of shape (n_alphas,)
        Those compared, the most shrinking first; of equal ones the first is chosen.
    cv_scores_ : ndarray of shape (n_alphas,) or (n_alphas, n_subjects)
        Their correlations; 0 where predictions do not vary. None if there is no choice.
    n_features_in_ : int
        Features per image.

    See Also
    --------
    LayerWeightedRSARegressor : Prefer it to weigh layers; it has few weights and no penalty.
    LinearTwinRSARegressor : Prefer it where features should be mixed.
    FixedRSARegressor : All features alike.
    SiameseRDMRegressor : Prefer it where features themselves should change.

    Notes
    -----
    Time and memory depend on the smaller of the numbers of features and pairs, ``m``: per split,
    about ``4/3 m^3`` operations make its Gram matrix tridiagonal, which then takes ``m`` per
    penalty and subject (subjects with different missing pairs need one matrix each).

    References
    ----------
    .. [1] P. Kaniuth, M. N. Hebart (2022). "Feature-reweighted representational similarity
       analysis". NeuroImage 257:119294.
    .. [2] A. Rokem, K. Kay (2020). "Fractional ridge regression: a fast, interpretable
       reparameterization of ridge regression". GigaScience 9:giaa133.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FeatureReweightedRSARegressor, FixedRSARegressor, ImagePairs
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(30, 40))
    >>> pairs, dissim = ImagePairs.from_rdms(
    ...     features, FixedRSARegressor("sqeuclidean").fit(ImagePairs(features[:, :5], [[0, 1]]))
    ...     .transform(features[:, :5]))
    >>> model = FeatureReweightedRSARegressor("sqeuclidean", random_state=0).fit(pairs, dissim)
    >>> bool(model.coef_[:5].min() > np.abs(model.coef_[5:]).max())
    True
    >>> model.transform(rng.normal(size=(3, 40))).shape
    (3, 3)
    """

    def __init__(
        self,
        metric: str = "dot",
        *,
        penalty: str = "ridge",
        alphas: Any = None,
        normalize: bool = True,
        cv: Any = None,
        scoring: str = "pearson",
        subject_pooling: Any = "zscore",
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.metric = metric
        self.penalty = penalty
        self.alphas = alphas
        self.normalize = normalize
        self.cv = cv
        self.scoring = scoring
        self.subject_pooling = subject_pooling
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FeatureReweightedRSARegressor:
        """Choose the penalty, then fit the weights on all pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more: a weight of 2 is a pair given twice, also when
            the penalty is chosen. Sums over pairs grow with the weights, so that larger ones mean
            less penalty. None: all 1.

        Returns
        -------
        self : FeatureReweightedRSARegressor
            The fitted estimator. It is left as it was if the input raises an error.

        Raises
        ------
        ValueError
            If a parameter is not among the ones documented, if there are fewer than 5 images to
            choose a penalty with, if ``cv`` tests a pair whose two images are both trained on, or
            if an image cannot be normalised (all features equal).

        Warns
        -----
        UserWarning
            If subjects are left out because they have fewer than two of these pairs.
        """
        self._check_parameters()
        alphas = self._sorted_alphas()
        X, y, cv = of_pairs_and_cv(X, y, self.cv, sample_weight)
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight, keep_rows=True)
        learned = np.ones(1, dtype=bool)
        if self.subject_pooling is None:
            learned = check_learned(y)
            y = average_times(y)
        else:
            y = fit_pooling(self.subject_pooling, y, weights).transform(y)
        targets = np.where(learned, y.reshape(len(y), -1), np.nan)
        used, index = renumber(pairs.index)
        features = self._prepare(pairs.images[used].reshape(len(used), -1), used)
        single = y.ndim == 1
        chosen, cv_scores = np.repeat(alphas[:1], targets.shape[1]), None
        if len(alphas) > 1:
            scores = self._score_alphas(alphas, cv, pairs, features, index, targets, weights)
            chosen = alphas[scores.argmax(axis=0)]
            scores[:, ~learned] = np.nan
            cv_scores = scores[:, 0] if single else scores
        column = chosen[np.newaxis]
        path = fit_path(features, index, targets, column, weights=weights, **self._model())
        coef, intercept = path.coef[:, 0].T, path.target_mean - path.offset[0]
        coef[~learned] = intercept[~learned] = chosen[~learned] = np.nan
        self._training_pairs_ = TrainingPairs(keep_weighted(weights, pairs)[0])
        self.n_features_in_, self.alphas_, self.cv_scores_ = features.shape[1], alphas, cv_scores
        self.coef_ = np.ascontiguousarray(coef[0] if single else coef)
        self.intercept_ = float(intercept[0]) if single else intercept
        self.alpha_ = float(chosen[0]) if single else chosen
        return self

    def predict_subjects(self, X: Any) -> np.ndarray:
        """Predict the dissimilarity of pairs for every subject.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Pairs of images.

        Returns
        -------
        dissim : ndarray of shape (n_pairs, n_subjects)
            One column per row of ``coef_``; ``predict`` returns their mean. NaN for a subject that
            was left out.
        """
        check_is_fitted(self)
        pairs = as_pairs(X)
        features = flatten_images(pairs.images, self.n_features_in_)
        coef = np.atleast_2d(self.coef_)
        return self._weigh(features, pairs.index, coef) + self.intercept_

    def _check_parameters(self) -> None:
        options = {"metric": METRICS, "penalty": DEFAULT_ALPHAS, "scoring": SCORINGS}
        for name, allowed in options.items():
            check_option(name, getattr(self, name), allowed)

    def _sorted_alphas(self) -> np.ndarray:
        alphas = DEFAULT_ALPHAS[self.penalty] if self.alphas is None else self.alphas
        alphas = np.atleast_1d(np.asarray(alphas, dtype=float))
        fractional = self.penalty == "fractional"
        valid = (alphas > 0) & (alphas <= 1) if fractional else (alphas >= 0) & (alphas < np.inf)
        if alphas.ndim != 1 or len(alphas) == 0 or not valid.all():
            bounds = "fractions above 0 and up to 1" if fractional else "finite and at least 0"
            raise ValueError(f"alphas must be {bounds}, one or a list, got {self.alphas!r}.")
        return np.sort(alphas) if fractional else np.sort(alphas)[::-1]

    def _prepare(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        features = features.astype(np.float64, copy=False)
        if self.normalize:
            return normalise(features, rows, centre=self.metric == "dot")
        check_finite(features, rows)
        return features

    def _model(self) -> dict[str, str]:
        return {"metric": self.metric, "penalty": self.penalty}

    def _score_alphas(
        self,
        alphas: np.ndarray,
        cv: Any,
        pairs: ImagePairs,
        features: np.ndarray,
        index: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
    ) -> np.ndarray:
        """Correlations (n_alphas, n_targets) of held-out predictions; 0 where nothing varies."""
        predicted = np.zeros((len(y), len(alphas), y.shape[1]))
        counts = np.zeros(len(y))
        splits = self._inner_splits(pairs, y, cv)
        column = alphas[:, np.newaxis]
        held_out = Parallel(self.n_jobs, return_as="generator")(
            delayed(predict_path)(
                features,
                index[train],
                y[train],
                column,
                index[test],
                weights=take_weights(weights, train),
                **self._model(),
            )
            for train, test in splits
        )
        for (_, test), values in zip(splits, held_out, strict=True):
            predicted[test] += values
            counts[test] += 1
        seen = counts > 0
        predicted[seen] /= counts[seen, np.newaxis, np.newaxis]
        predicted[~seen] = np.nan
        scores = [
            score_columns(
                MEASURES[self.scoring], y[:, [target]], predicted[..., target], weights=weights
            )[:, 0]
            for target in range(y.shape[1])
        ]
        return np.nan_to_num(np.column_stack(scores))

    def _inner_splits(self, pairs: ImagePairs, y: np.ndarray, cv: Any) -> list[Any]:
        """(train, test) rows that leave something to train on."""
        n_images = len(pairs.used_images)
        if cv is None and n_images < MIN_IMAGES_TO_CHOOSE:
            raise ValueError(
                f"{n_images} images are too few to choose a penalty by holding out two of them: "
                f"give at least {MIN_IMAGES_TO_CHOOSE} images, or a single penalty, such as "
                "alphas=10."
            )
        if cv is None and n_images < FEW_IMAGES:
            splits = _leave_two_images_out(pairs.index)
        elif cv is None:
            shuffled = ImageShuffleSplit(25, test_size=0.2, random_state=self.random_state)
            splits = list(shuffled.split(pairs, y))
        elif isinstance(cv, int | np.integer):
            folds = ImageKFold(int(cv), shuffle=True, random_state=self.random_state)
            splits = list(folds.split(pairs, y))
        else:
            splits = check_image_cv(cv, pairs, y)
        splits = [(train, test) for train, test in splits if len(train) > 1]
        if not splits:
            raise ValueError(
                "no inner split leaves two pairs to train on, so that no penalty can be chosen: "
                "give more pairs, another cv, or a single penalty, such as alphas=10."
            )
        return splits

    def _distances(self, features: np.ndarray, index: np.ndarray) -> np.ndarray:
        coef = np.nanmean(np.atleast_2d(self.coef_), axis=0, keepdims=True)
        return self._weigh(features, index, coef)[:, 0] + np.nanmean(self.intercept_)

    def _weigh(self, features: np.ndarray, index: np.ndarray, coef: np.ndarray) -> np.ndarray:
        """Weighted sums (n_pairs, n_weightings) for the rows of coef."""
        used, local = renumber(index)
        features = self._prepare(features[used], used)
        if DENSE * len(index) < len(used) ** 2:
            return pair_sums(features, local, coef.T, self.metric)
        first, second = local.T
        squares = (square_sums(features, weights, self.metric) for weights in coef)
        return np.column_stack([square[first, second] for square in squares])

    def _rdm(self, features: np.ndarray) -> np.ndarray:
        features = self._prepare(features, np.arange(len(features)))
        rdm = square_sums(features, np.nanmean(np.atleast_2d(self.coef_), axis=0), self.metric)
        rdm += np.nanmean(self.intercept_)
        np.fill_diagonal(rdm, 0)
        return rdm


def _leave_two_images_out(index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every pair held out once; trained on are the pairs of all other images."""
    return [
        (np.flatnonzero(~np.isin(index, pair).any(axis=1)), np.array([row]))
        for row, pair in enumerate(index)
    ]
