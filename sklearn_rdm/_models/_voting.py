"""The mean prediction of different estimators.

``_BaseComposition`` is scikit-learn's way of giving the parameters of a list of named estimators
(``name__parameter``). It has no public name; imbalanced-learn, sktime and others build on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.utils import Bunch, Tags, get_tags
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.parallel import Parallel, delayed

from sklearn_rdm._models._base import RDMRegressorMixin
from sklearn_rdm._models._member_average import MemberAverageMixin
from sklearn_rdm._pairs._image_pairs import check_fit_pairs
from sklearn_rdm._pairs._leaks import TrainingPairs

__all__ = ["VotingRDMRegressor"]


class VotingRDMRegressor(MemberAverageMixin, RDMRegressorMixin, RegressorMixin, _BaseComposition):
    """Average the predictions of different estimators, such as networks, layers or baselines.

    Predicts ``w_1 d_1 + ... + w_m d_m`` with ``d_k`` the dissimilarities that estimator ``k``
    predicts, and weights that add to 1.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and regressors of this package, or pipelines that end in one. Clones are fitted; one
        that is fitted already can be kept by :class:`sklearn.frozen.FrozenEstimator`. Parameters
        are searched as ``name__parameter``.
    weights : array-like of shape (n_estimators,), default=None
        How much each counts: not negative, and scaled so that they add to 1. None counts all alike.
    n_jobs : int, default=None
        Estimators fitted at the same time; None means 1, -1 all cores.
    verbose : int, default=0
        Above 0 reports progress, as in joblib.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted estimators, in the order given.
    named_estimators_ : Bunch
        The same by name.

    See Also
    --------
    EnsembleRDMRegressor : Several fits of one estimator.
    CalibratedRDMRegressor : Brings different estimators to one unit before they are averaged.
    sklearn.ensemble.VotingRegressor : The same for samples that are not pairs.

    Notes
    -----
    Predictions are averaged as they are. One with ten times the spread of the others decides the
    average alone: wrap each in a :class:`CalibratedRDMRegressor` unless all have one unit.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import CalibratedRDMRegressor, FixedRSARegressor, ImagePairs
    >>> from sklearn_rdm import VotingRDMRegressor
    >>> rng = np.random.default_rng(0)
    >>> pairs, dissim = ImagePairs.from_rdms(rng.random((9, 4)), rng.random(36))
    >>> model = VotingRDMRegressor(
    ...     [
    ...         ("correlation", CalibratedRDMRegressor(FixedRSARegressor())),
    ...         ("euclidean", CalibratedRDMRegressor(FixedRSARegressor("euclidean"))),
    ...     ]
    ... )
    >>> model.fit(pairs, dissim).predict(pairs).shape
    (36,)
    """

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]],
        *,
        weights: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.n_jobs = n_jobs
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, with ``deep`` also those of the estimators.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add ``name`` and ``name__parameter`` of every estimator.

        Returns
        -------
        params : dict
            Values by name.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> VotingRDMRegressor:
        """Set parameters of the ensemble or of its estimators.

        Parameters
        ----------
        **params : dict
            A parameter, ``name=estimator`` to put another in its place, or ``name__parameter``.

        Returns
        -------
        self : VotingRDMRegressor
            The ensemble.
        """
        self._set_params("estimators", **params)
        return self

    def fit(self, X: Any, y: Any) -> VotingRDMRegressor:
        """Fit every estimator on all pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Their dissimilarities, NaN where a subject has no value.

        Returns
        -------
        self : VotingRDMRegressor
            The fitted ensemble. It is left as it was if an estimator cannot be fitted.

        Raises
        ------
        ValueError
            If there is no estimator, two have one name, or ``weights`` are not one number of at
            least 0 for each; and whatever an estimator raises.
        """
        names = self._checked_names()
        self._checked_weights()
        pairs, y = check_fit_pairs(X, y)
        self.estimators_ = list(
            Parallel(n_jobs=self.n_jobs, verbose=self.verbose)(
                delayed(_fit_one)(clone(estimator), pairs, y) for estimator in self._members
            )
        )
        self.named_estimators_ = Bunch(**dict(zip(names, self.estimators_, strict=True)))
        self._training_pairs_ = TrainingPairs(pairs)
        return self

    @property
    def _members(self) -> list[Any]:
        return [estimator for _, estimator in self.estimators]

    def _average(self, predicted: Sequence[np.ndarray]) -> np.ndarray:
        return np.average(predicted, axis=0, weights=self._checked_weights())

    def _checked_names(self) -> list[str]:
        if not self.estimators:
            raise ValueError("estimators must hold at least one (name, estimator), got none.")
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in self.estimators):
            raise ValueError(
                "estimators must be a list of (name, estimator), such as [('fixed', model), ...], "
                f"got {self.estimators!r}."
            )
        names = [name for name, _ in self.estimators]
        self._validate_names(names)
        return names

    def _checked_weights(self) -> np.ndarray | None:
        if self.weights is None:
            return None
        weights = np.asarray(self.weights, dtype=np.float64)
        n_estimators = len(self.estimators)
        if weights.shape != (n_estimators,) or not (weights >= 0).all() or not weights.any():
            raise ValueError(
                f"weights must be {n_estimators} numbers of at least 0, one for each estimator and "
                f"not all 0, got {self.weights!r}."
            )
        return weights

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = [get_tags(estimator) for estimator in self._members]
        if inner:
            tags.input_tags, tags.target_tags = inner[0].input_tags, inner[0].target_tags
        tags.target_tags.required = True
        tags.non_deterministic = any(each.non_deterministic for each in inner)
        return tags


def _fit_one(estimator: Any, pairs: Any, y: np.ndarray) -> Any:
    return estimator.fit(pairs, y)
