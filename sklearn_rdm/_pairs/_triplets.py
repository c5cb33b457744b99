"""Triplets of images, of which a person chose the odd one out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import check_not_masked
from sklearn_rdm._pairs._image_pairs import check_groups
from sklearn_rdm._pairs._images import check_images

__all__ = ["ImageTriplets"]

# The two other images, whose similarity speaks for each of the three being the odd one out.
OTHERS = np.array([[1, 2], [0, 2], [0, 1]])


class ImageTriplets:
    """Triplets of images: one sample is three row numbers into a shared array of images.

    The answer to a sample, ``y``, is the place (0, 1 or 2) of the image that was chosen as the odd
    one out. Splitters of :mod:`sklearn_rdm.model_selection` hold out images of triplets as they
    do of pairs: a test triplet has three held-out images.

    Parameters
    ----------
    images : ndarray or memmap of shape (n_images, ...)
        Photographs, or one feature array per image, as in :class:`ImagePairs`.
    index : array-like of int, shape (n_triplets, 3)
        Rows of ``images``, three different ones in each triplet.
    anchored : bool, default=False
        Whether the first image is a reference, to which one of the other two was chosen as the
        more similar one (two-alternative choice). It is then never the odd one out.
    image_groups : array-like of shape (n_images,), default=None
        One label per image, read by the group and stratified splitters.

    Attributes
    ----------
    shape : tuple
        ``(n_triplets,)``.

    Raises
    ------
    TypeError, ValueError
        If the arrays have the wrong kind, shape or range, or a triplet holds an image twice.

    See Also
    --------
    ImagePairs : Images whose dissimilarity was measured.
    OddOneOutAlignment : A linear transform of features that predicts the choices.
    SiameseOddOneOutClassifier : A network that is tuned on the choices.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImageTriplets
    >>> images = np.random.default_rng(0).random((5, 8, 8, 3))
    >>> triplets, choices = ImageTriplets.from_odd_one_out(images, [[0, 1, 4], [3, 2, 0]])
    >>> triplets
    ImageTriplets(2 triplets of 5 images, images: float64 (5, 8, 8, 3))
    >>> triplets.index.tolist(), choices.tolist()
    ([[0, 1, 4], [0, 2, 3]], [2, 0])
    """

    digests: None = None  # of the images' content, which ImagePairs may know

    def __init__(
        self, images: Any, index: Any, *, anchored: bool = False, image_groups: Any = None
    ) -> None:
        self.images = check_images(images)
        self.index = _check_index(index, len(self.images))
        self.anchored = bool(anchored)
        self.image_groups = check_groups(image_groups, len(self.images))

    @classmethod
    def from_odd_one_out(
        cls, images: Any, trials: Any, *, image_groups: Any = None
    ) -> tuple[ImageTriplets, np.ndarray]:
        """Read trials that list the odd one out last, as those of THINGS do.

        Parameters
        ----------
        images : array-like of shape (n_images, ...)
            As in the constructor.
        trials : array-like of int, shape (n_trials, 3)
            Rows of the two images that were left together, then of the one that was chosen.
        image_groups : default=None
            As in the constructor.

        Returns
        -------
        triplets : ImageTriplets
            The images of each trial in ascending order, so that the order says nothing.
        choices : ndarray of int, shape (n_trials,)
            Place of the odd one out within each triplet, 0 to 2.
        """
        trials = _check_index(trials, len(check_images(images)))
        index = np.sort(trials, axis=1)
        choices = (index == trials[:, 2:]).argmax(axis=1)
        return cls(images, index, image_groups=image_groups), choices

    @classmethod
    def from_references(
        cls,
        images: Any,
        references: Any,
        alternatives: Any,
        chosen: Any,
        *,
        image_groups: Any = None,
    ) -> tuple[ImageTriplets, np.ndarray]:
        """Read two-alternative choices, as those of NIGHTS: which one is more like a reference.

        Parameters
        ----------
        images : array-like of shape (n_images, ...)
            As in the constructor.
        references : array-like of int, shape (n_trials,)
            Rows of the references.
        alternatives : array-like of int, shape (n_trials, 2)
            Rows of the two alternatives.
        chosen : array-like of int, shape (n_trials,)
            0 or 1: which alternative was called more similar.
        image_groups : default=None
            As in the constructor.

        Returns
        -------
        triplets : ImageTriplets
            ``anchored``: each reference, then its alternatives.
        choices : ndarray of int, shape (n_trials,)
            Place of the alternative that was *not* chosen, 1 or 2.
        """
        index = np.column_stack([references, alternatives])
        chosen = np.asarray(chosen)
        if chosen.shape != (len(index),) or not np.isin(chosen, (0, 1)).all():
            raise ValueError(
                f"chosen must hold 0 or 1 for each of the {len(index)} trials, which alternative "
                f"is more like the reference, got shape {chosen.shape}, values "
                f"{np.unique(chosen)[:5].tolist()}."
            )
        triplets = cls(images, index, anchored=True, image_groups=image_groups)
        return triplets, 2 - chosen.astype(np.intp)

    @property
    def shape(self) -> tuple[int]:
        return (len(self.index),)

    @property
    def used_images(self) -> np.ndarray:
        """Rows of the images that occur in a triplet, ascending."""
        return np.unique(self.index)

    @property
    def _index(self) -> np.ndarray:
        """The triplets, as splitters read pairs."""
        return self.index

    @property
    def pair_index(self) -> np.ndarray:
        """Rows of the two other images, for each image of each triplet: (n_triplets, 3, 2)."""
        return self.index[:, OTHERS]

    @property
    def possible(self) -> np.ndarray:
        """Whether each of the three places can be the odd one out: all but a reference's."""
        return np.array([not self.anchored, True, True])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> ImageTriplets:
        if isinstance(key, tuple) and key and all(k is Ellipsis for k in key[1:]):
            key = key[0]  # scikit-learn asks for X[rows, ...]
        if not isinstance(key, slice | tuple):
            key = np.asarray(key) if np.size(key) else np.empty(0, dtype=np.intp)
        if not isinstance(key, slice) and (isinstance(key, tuple) or key.ndim != 1):
            raise TypeError(
                "ImageTriplets has one axis, its triplets: use triplets[3:4] for one, a list of "
                f"rows or a mask for several, got {key!r}."
            )
        subset = copy.copy(self)
        subset.index = self.index[key]
        return subset

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.images.nbytes + self.index.nbytes

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "ImageTriplets is no array and no pairs: give it to an estimator of choices, "
            "SiameseOddOneOutClassifier (a network) or OddOneOutAlignment (features), or make a "
            "matrix for estimators of pairs by sklearn_rdm.preprocessing.choices_to_rdm."
        )

    def __repr__(self) -> str:
        return (
            f"ImageTriplets({len(self)} triplets of {len(self.used_images)} images, "
            f"images: {self.images.dtype} {self.images.shape})"
        )


def check_choices(triplets: Any, y: Any) -> np.ndarray:
    """Int (n_triplets,) of places of the odd one out; what is no triplets raises an error."""
    check_triplets(triplets)
    check_not_masked(y, "choices")
    choices = np.asarray(y)
    if choices.shape != (len(triplets),) or choices.size == 0:
        raise ValueError(
            f"choices must have shape ({len(triplets)},), the place of the odd one out in each "
            f"triplet, got {choices.shape}."
        )
    if choices.dtype.kind not in "uifb":
        raise TypeError(f"choices must be whole numbers, places from 0 to 2, got {choices.dtype}.")
    allowed = np.flatnonzero(triplets.possible)
    if not np.isin(choices, allowed).all():
        wrong = (~np.isin(choices, allowed)).argmax()
        raise ValueError(
            f"the choice of triplet {wrong} is {choices[wrong]}, but the odd one out must be one "
            f"of the places {allowed.tolist()}."
        )
    return choices.astype(np.intp)


def check_triplets(triplets: Any) -> None:
    """Refuse what is no ImageTriplets."""
    if not isinstance(triplets, ImageTriplets):
        raise TypeError(
            f"triplets must be ImageTriplets, got {type(triplets).__name__}: give "
            "ImageTriplets(images, index), or what from_odd_one_out or from_references makes."
        )


def _check_index(index: Any, n_images: int) -> np.ndarray:
    check_not_masked(index, "triplets")
    index = np.asarray(index)
    if index.ndim != 2 or index.shape[1] != 3 or len(index) == 0:
        raise ValueError(
            f"triplets must have shape (n_triplets, 3), n_triplets > 0, got {index.shape}."
        )
    if index.dtype.kind not in "ui":
        raise TypeError(f"triplets must hold integers, row numbers of images, got {index.dtype}.")
    outside = ((index < 0) | (index >= n_images)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"triplet {outside.argmax()} is {index[outside.argmax()].tolist()}, but there are "
            f"{n_images} images: rows must be from 0 to {n_images - 1}."
        )
    in_order = np.sort(index, axis=1)
    twice = (in_order[:, 1:] == in_order[:, :-1]).any(axis=1)
    if twice.any():
        raise ValueError(
            f"triplet {twice.argmax()} is {index[twice.argmax()].tolist()}: it needs three "
            "different images. Leave such trials out."
        )
    return index.astype(np.intp)
