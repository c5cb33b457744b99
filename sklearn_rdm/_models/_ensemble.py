"""The mean prediction of several fits of one estimator."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import delayed

from sklearn_rdm._models._base import RDMMetaRegressor
from sklearn_rdm._models._member_average import MemberAverageMixin
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm._pairs._progress import collect
from sklearn_rdm._pairs._weights import (
    check_weighted_pairs,
    keep_weighted,
    take_weights,
)
from sklearn_rdm.model_selection._cv import check_image_cv, of_pairs_and_cv

__all__ = ["EnsembleRDMRegressor"]


class EnsembleRDMRegressor(MemberAverageMixin, RDMMetaRegressor):
    """Average the predictions of several fits that differ by seed, or by the images they saw.

    Predicts ``(d_1 + ... + d_m) / m`` with ``d_k`` the dissimilarities that member ``k`` predicts.
    Without ``cv`` every member is fitted on all pairs, with its own seed: order of mini-batches,
    dropout and random weights differ. With ``cv``, member ``k`` is fitted on the training pairs of
    split ``k``, so that estimators without any randomness can be members as well.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Any regressor of this package, or a pipeline that ends in one; cloned for every member.
    n_estimators : int, default=5
        Number of members. Not used with ``cv``, which gives as many members as splits.
    cv : int, splitter or iterable of (train, test), default=None
        Image-wise splits; an int is ``ImageKFold(cv)``. None fits every member on all pairs.
    random_state : int, RandomState or None, default=None
        Where the seed of each member is drawn from. As in scikit-learn's ensembles, it takes the
        place of every ``random_state`` of ``estimator``, also within a pipeline. The same int
        gives the same members with any ``n_jobs``.
    n_jobs : int, default=None
        Members fitted at the same time; None means 1, -1 all cores.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members.

    See Also
    --------
    VotingRDMRegressor : Averages different estimators.
    WeightAveraging : Averages the weights of one training: cheaper to fit and to predict with.
    sklearn_rdm.model_selection.cross_val_rdm : Predicts each image by the fold that held it out.

    Notes
    -----
    Predictions are averaged as they are, in the units of the members: those of a pair must not
    depend on which other pairs are asked for, so they are not ranked or standardised first. Where
    members differ in scale, give a :class:`CalibratedRDMRegressor`, which learns it in training.

    With ``cv``, an image that was held out from one member was trained on by others: score the
    ensemble on images that ``fit`` never saw, by a cross-validation around it.

    References
    ----------
    .. [1] B. Lakshminarayanan, A. Pritzel, C. Blundell (2017). "Simple and scalable predictive
       uncertainty estimation using deep ensembles". NeurIPS. (Members that differ by seed.)
    .. [2] L. Breiman (1996). "Bagging predictors". Machine Learning 24:123-140. (Members that
       differ by the images they saw.)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import FeatureReweightedRSARegressor, ImagePairs, EnsembleRDMRegressor
    >>> rng = np.random.default_rng(0)
    >>> pairs, dissim = ImagePairs.from_rdms(rng.random((9, 4)), rng.random(36))
    >>> ensemble = EnsembleRDMRegressor(FeatureReweightedRSARegressor(), cv=3, random_state=0)
    >>> ensemble.fit(pairs, dissim).predict(pairs).shape
    (36,)
    >>> len(ensemble.estimators_)
    3
    """

    def __init__(
        self,
        estimator: Any,
        *,
        n_estimators: int = 5,
        cv: Any = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.cv = cv
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> EnsembleRDMRegressor:
        """Fit the members.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Their dissimilarities, NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more, given to every member (with metadata routing if
            the estimator asks for weights). None: all alike.

        Returns
        -------
        self : EnsembleRDMRegressor
            The fitted ensemble. It is left as it was if a member cannot be fitted.

        Raises
        ------
        ValueError
            If ``n_estimators`` is not a positive int; if without ``cv`` the estimator has no
            ``random_state``, so that all members would be equal; if ``cv`` tests a pair whose two
            images are both trained on; if weights are given to an estimator that takes none; and
            whatever the estimator raises.
        """
        X, y, cv = of_pairs_and_cv(X, y, self.cv, sample_weight)
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight, keep_rows=True)
        training_sets = self._training_sets(pairs, y, cv)
        rng = check_random_state(self.random_state)
        members = [_with_own_seeds(clone(self.estimator), rng) for _ in training_sets]
        calls = (
            delayed(_fit_member)(
                member, pairs, y, rows, self._fit_params(take_weights(weights, rows))
            )
            for member, rows in zip(members, training_sets, strict=True)
        )
        self.estimators_ = collect(
            calls,
            total=len(members),
            verbose=self.verbose,
            desc="members",
            n_jobs=self.n_jobs,
        )
        self._training_pairs_ = TrainingPairs(keep_weighted(weights, pairs)[0])
        return self

    @property
    def _members(self) -> list[Any]:
        return [self.estimator]

    def _training_sets(self, pairs: ImagePairs, y: np.ndarray, cv: Any) -> list[Any]:
        """Rows of the pairs that each member is fitted on."""
        if cv is not None:
            return [train for train, _ in check_image_cv(cv, pairs, y)]
        if not isinstance(self.n_estimators, Integral) or self.n_estimators < 1:
            raise ValueError(f"n_estimators must be a positive int, got {self.n_estimators!r}.")
        if not _seed_names(self.estimator):
            raise ValueError(
                f"{self.estimator!r} has no random_state: {self.n_estimators} fits on the same "
                "pairs would be equal. Give cv, such as cv=5, to fit each on other images."
            )
        return [slice(None)] * int(self.n_estimators)


def _seed_names(estimator: Any) -> list[str]:
    """Names of its own ``random_state`` and of those of its parts."""
    return sorted(n for n in estimator.get_params() if f"__{n}".endswith("__random_state"))


def _with_own_seeds(estimator: Any, rng: RandomState) -> Any:
    return estimator.set_params(**{name: rng.randint(2**31) for name in _seed_names(estimator)})


def _fit_member(
    estimator: Any, pairs: ImagePairs, y: np.ndarray, rows: Any, fit_params: dict[str, Any]
) -> Any:
    return estimator.fit(pairs[rows], y[rows], **fit_params)
