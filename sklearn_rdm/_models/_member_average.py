"""The average of what several fitted estimators predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_rdm._pairs._image_pairs import as_pairs

__all__ = ["MemberAverageMixin"]


def _all_transform(average: MemberAverageMixin) -> bool:
    members = getattr(average, "estimators_", average._members)
    return all(hasattr(member, "transform") for member in members)


class MemberAverageMixin:
    """Predictions and matrices that are means over ``estimators_``."""

    estimators_: list[Any]

    @property
    @abstractmethod
    def _members(self) -> list[Any]:
        """The estimators that clones are fitted of."""

    def predict(self, X: Any) -> np.ndarray:
        """Average what the members predict.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Any pairs.

        Returns
        -------
        dissim : ndarray of shape (n_pairs,)
            The (weighted) mean of the members' predictions, in their unit.
        """
        check_is_fitted(self)
        pairs = as_pairs(X)
        return self._average([member.predict(pairs) for member in self.estimators_])

    @available_if(_all_transform)
    def transform(self, X: Any) -> np.ndarray:
        """Average the dissimilarity matrices that the members predict.

        There is a transform if all members have one.

        Parameters
        ----------
        X : array-like of shape (n_images, ...), or ImagePairs
            Images, as the members take them; of pairs, all images of their array.

        Returns
        -------
        rdm : ndarray of shape (n_images, n_images)
            Symmetric, with zero diagonal.
        """
        check_is_fitted(self)
        return self._average([member.transform(X) for member in self.estimators_])

    def _average(self, predicted: Sequence[np.ndarray]) -> np.ndarray:
        return np.mean(predicted, axis=0)
