"""From images that are held out, which a splitter chooses, to the pairs of each split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any

from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length

from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm.model_selection._image_splits import (
    Rows,
    check_split,
    check_split_pairs,
    connected_images,
    count_couples,
    count_pairs_of,
    pairs_of,
)

__all__ = ["ImageSplitter", "KFoldSplitter", "as_count"]


class ImageSplitter(BaseCrossValidator):
    """Turns training and held-out images, which the subclasses choose, into pairs."""

    test_pairs: str
    _advice = "Use fewer splits"

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Rows]:
        """Generate the pairs to train on and to test on, one split after the other.

        Parameters
        ----------
        X : ImagePairs of n_pairs, array that ``ImagePairs.from_arrays`` takes, or images
            Only images that occur in one of these pairs are split. Images, if y are patterns.
        y : array-like of shape (n_pairs, ...) or ResponsePatterns, default=None
            Not read; its length is checked.
        groups : None
            Must be None: labels belong to images, ``ImagePairs(..., image_groups=labels)``.

        Yields
        ------
        train, test : ndarray of int
            Rows of X, ascending: pairs, or images if y are patterns.

        Raises
        ------
        ValueError
            If a split holds out fewer than 3 images, or leaves no pair to train on or fewer than
            two to test on. Every split is checked before the first is given.
        """
        name = type(self).__name__
        of_images = isinstance(y, ResponsePatterns)
        pairs = connected_images(X, y) if of_images else check_split_pairs(X, name)
        if y is not None and not of_images:
            check_consistent_length(pairs, y)
        if groups is not None:
            raise ValueError(
                f"{name} takes no groups: a pair has two images, each with its own "
                "label. Give labels per image: ImagePairs(images, index, image_groups=labels)."
            )
        held_out = list(self._iter_images(pairs))
        for number, (train_images, test_images) in enumerate(held_out):
            some = (pairs, train_images, test_images)
            counts = count_couples(*some) if of_images else count_pairs_of(*some, self.test_pairs)
            check_split(f"split {number} of {name}", test_images, counts, self._advice)
        for train_images, test_images in held_out:
            if of_images:
                yield train_images, test_images
                continue
            yield pairs_of(pairs, train_images, test_images, self.test_pairs)

    @abstractmethod
    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        """Training and held-out rows of ``pairs.images``."""


class KFoldSplitter(ImageSplitter):
    """What the splitters with ``n_splits`` folds of images have in common."""

    _advice = "Use a smaller n_splits"

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        test_pairs: str = "both",
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self.test_pairs = test_pairs

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of folds; the arguments, which scikit-learn passes, are ignored."""
        return as_count("n_splits", self.n_splits)


def as_count(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer, 1 or more, got {value!r}.")
    return int(value)
