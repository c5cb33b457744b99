"""Test pairs whose two images were both trained on, which scikit-learn's own splitters make."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._pair_index import AllPairs, Index, blocks, used_images
from sklearn_rdm._pairs._triplets import ImageTriplets

__all__ = [
    "ImageLeakWarning",
    "TrainingPairs",
    "training_pairs",
    "warn_of_leak",
    "warn_of_leak_in_validation",
]

# Where scikit-learn predicts held-out samples without a scorer of ours: by a scorer of its own, for
# StackingRegressor, or where a pipeline transforms them before its last step scores them.
PREDICTING = ("_score", "cross_val_predict", "_fit_and_predict", "Pipeline.score")
WARNED_ALREADY = ("PairsScorer._score", "RDMRegressorMixin.score")


class ImageLeakWarning(UserWarning):
    """Test pairs hold images that were trained on: the score is too high for new images.

    Scorers and ``score`` warn if the scored pairs are not training pairs, but compare images that
    the estimator was fitted to.

    See Also
    --------
    ImageKFold : Holds out images, and so all pairs that contain them.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_rdm.model_selection import ImageLeakWarning
    >>> warnings.filterwarnings("error", category=ImageLeakWarning)  # stop at the first
    """


class TrainingPairs:
    """The pairs, or triplets, that an estimator was fitted to, as far as telling leaks takes.

    Images are known again by the array that they lie in, which slices share, or by their content
    where arrays or paths were given as pairs. A copy of the estimator in another process or file
    knows none, and warns of nothing.
    """

    def __init__(self, pairs: ImagePairs | ImageTriplets) -> None:
        self.images: Callable[[], Any] = weakref.ref(pairs.images)
        self.index: Index = pairs._index
        self.digests = pairs.digests

    def leak_into(self, X: Any) -> bool:
        """Whether new pairs are made of two training images each, some of them at least.

        Or new triplets of three.
        """
        is_known = isinstance(X, ImagePairs | ImageTriplets)
        if not is_known and self.digests is None:
            return False
        pairs = X if is_known else as_pairs(X)
        number = self._numbers_of_images(pairs)
        if number is None or len(pairs) == 0:
            return False
        if isinstance(self.index, AllPairs) or self.index is pairs._index:
            return False  # no pair of two training images is new
        used = used_images(self.index)
        n_images = int(max(number.max(), used.max(initial=0))) + 1
        trained = np.zeros(n_images + 1, dtype=bool)  # the last one for images that are new: -1
        trained[used] = True
        found = (number[block] for _, block in blocks(pairs._index))
        index = np.concatenate([block[trained[block].all(axis=1)] for block in found])
        known = np.isin(_as_numbers(index, n_images), _as_numbers(self.index, n_images))
        return not known.all()

    def _numbers_of_images(self, pairs: ImagePairs | ImageTriplets) -> np.ndarray | None:
        """What each image of other pairs is numbered here: -1 if it is new; None if not known."""
        if self.images() is pairs.images:
            return np.arange(len(pairs.images))
        if self.digests is None or pairs.digests is None:
            return None
        number = {digest.tobytes(): i for i, digest in enumerate(self.digests)}
        return np.array([number.get(digest.tobytes(), -1) for digest in pairs.digests])

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, _: dict[str, Any]) -> None:
        self.images = _no_images
        self.index = np.empty((0, 2), dtype=np.int32)
        self.digests = None


def warn_of_leak(estimator: Any, X: Any) -> None:
    """Warn if pairs that are scored are made of images that the estimator was fitted to."""
    known = training_pairs(estimator)
    if known is not None and known.leak_into(X):
        sample = "triplets" if isinstance(X, ImageTriplets) else "pairs"
        warnings.warn(
            f"the scored {sample} compare images that were trained on: a split of {sample} holds "
            "out no image, and its scores are too high for new ones. Give cv=ImageKFold(5), or "
            "another splitter of sklearn_rdm.model_selection. If this is meant, silence "
            "sklearn_rdm.model_selection.ImageLeakWarning.",
            ImageLeakWarning,
            stacklevel=3,
        )


def warn_of_leak_in_validation(estimator: Any, X: Any) -> None:
    """The same for a prediction, if it is scikit-learn's of held-out samples."""
    known = training_pairs(estimator)
    if known is None or not known.leak_into(X):
        return
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_code.co_qualname
        if name in WARNED_ALREADY:
            return
        if name in PREDICTING and frame.f_globals.get("__name__", "").startswith("sklearn."):
            warn_of_leak(estimator, X)
            return
        frame = frame.f_back  # type: ignore[assignment]


def training_pairs(estimator: Any) -> TrainingPairs | None:
    """Of an estimator, of the first step of a pipeline that keeps them, or of a search's best."""
    for inner in ("best_estimator_", "estimator_"):
        if hasattr(estimator, inner):
            return training_pairs(getattr(estimator, inner))
    for _, step in getattr(estimator, "steps", ()):
        known = training_pairs(step)
        if known is not None:
            return known
    return getattr(estimator, "_training_pairs_", None)


def _as_numbers(index: np.ndarray, n_images: int) -> np.ndarray:
    """One number per pair or triplet, whatever the order of its images."""
    numbers = np.zeros(len(index), dtype=np.int64)
    for column in np.sort(index, axis=1).T:
        numbers = numbers * n_images + column
    return numbers


def _no_images() -> None:
    return None
