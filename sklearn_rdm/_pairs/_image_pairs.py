"""Pairs of images that share one array of images, and the checks of what users give as pairs.

The first file of the flow images -> pairs -> network -> dissimilarities -> score: it knows
neither networks nor scores.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import (
    as_numbers,
    as_real,
    check_dissimilarities,
    check_not_masked,
    check_varying,
    labelled_pairs,
)
from sklearn_rdm._pairs._images import (
    COLOURS,
    as_array,
    as_colour,
    check_images,
    image_digests,
    read_images,
)
from sklearn_rdm._pairs._lazy_images import as_lazy
from sklearn_rdm._pairs._pair_index import AllPairs, Index, check_index, used_images

__all__ = ["ImagePairs"]

PER_IMAGE = ("image_groups", "background")
REPEAT_TOLERANCE = 1e-5  # of the largest absolute dissimilarity: float32 predictions pass


class ImagePairs:
    """Pairs of images: one sample is two row numbers into a shared array of images.

    Every scikit-learn tool slices it as it slices an array. A slice holds fewer pairs and the
    *same* ``images`` object, so that folds, workers and pipelines share one copy.

    Parameters
    ----------
    images : ndarray or memmap of shape (n_images, height, width, 3) or (n_images, ...)
        Photographs as uint8 in 0..255 or float in 0..1, or one feature array per image. HDF5
        datasets, zarr and Dask arrays, and :class:`LazyImages` of files, are read when needed.
    index : array-like of int, shape (n_pairs, 2), default=None
        Rows of ``images`` that each pair compares; the order within a pair has no meaning. None
        takes all pairs, upper triangle row by row, and stores no index.
    image_groups : array-like of shape (n_images,), default=None
        One label per image (category, stimulus set), read by the group and stratified splitters.
    background : str, (r, g, b) or sequence of one of these per image, default=None
        Colour of the display that the images were shown on: "white", "grey", "black", or red,
        green and blue in 0..1; read by estimators with ``reference="background"``. Kept as an
        ndarray of shape (n_images, 3).

    Attributes
    ----------
    shape : tuple
        ``(n_pairs,)``.
    index : ndarray of int32, shape (n_pairs, 2)
        As given; of all pairs, computed at each access.
    used_images : ndarray of int
        Rows of the images that occur in a pair, ascending.
    n_left_out : int
        Pairs that :meth:`from_rdms` left out because no subject has a dissimilarity for them.

    Raises
    ------
    TypeError, ValueError
        If the arrays have the wrong kind, shape or range; the message names the entry.

    See Also
    --------
    read_images : Decode image files to the array that this class holds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> images = np.random.default_rng(0).random((4, 8, 8, 3))
    >>> rdm = np.array([[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]])
    >>> pairs, dissim = ImagePairs.from_rdms(images, rdm)
    >>> pairs
    ImagePairs(6 pairs of 4 images, images: float64 (4, 8, 8, 3))
    >>> pairs[dissim > 3].index.tolist()
    [[1, 2], [1, 3], [2, 3]]
    """

    def __init__(
        self, images: Any, index: Any = None, *, image_groups: Any = None, background: Any = None
    ) -> None:
        self.images = check_images(as_lazy(images))
        n_images = len(self.images)
        self._index: Index = AllPairs(n_images) if index is None else check_index(index, n_images)
        self.image_groups = check_groups(image_groups, n_images)
        self.background = check_background(background, n_images)
        self.n_left_out = 0
        self.digests: np.ndarray | None = None  # of the images' content, where it was looked at

    @classmethod
    def from_rdms(
        cls, images: Any, rdms: Any, *, image_groups: Any = None, background: Any = None
    ) -> tuple[ImagePairs, np.ndarray]:
        """Make pairs, and their dissimilarities, of images and dissimilarity matrices.

        Parameters
        ----------
        images : array-like of shape (n_images, ...)
            As in the constructor; image ``i`` belongs to row ``i`` of the matrices.
        rdms : array-like
            ``(n, n)`` or condensed ``(n * (n - 1) / 2,)`` for one subject, ``(n_subjects, n, n)``
            or ``(n_subjects, n * (n - 1) / 2)`` for several, ``(n_subjects, n_times, n, n)`` or
            ``(n_subjects, n_times, n * (n - 1) / 2)`` for time courses. Condensed order is the
            upper triangle row by row, as in scipy and rsatoolbox; what could be either (3 images
            have 3 pairs) is read as square. The diagonal is not read.
        image_groups, background : default=None
            As in the constructor.

        Returns
        -------
        pairs : ImagePairs
            The pairs that at least one subject has at one time point or more, upper triangle row
            by row.
        dissim : ndarray of float64
            Their dissimilarities, of shape ``(n_pairs,)``, ``(n_pairs, n_subjects)`` or
            ``(n_pairs, n_subjects, n_times)``; NaN where this subject has no value.
        """
        images = check_images(as_lazy(images))
        if hasattr(rdms, "get_matrices"):
            raise TypeError(
                "rdms are an object of rsatoolbox: give the array "
                "sklearn_rdm.io.from_rsatoolbox(rdms).rdms."
            )
        dissim, index, n_left_out = labelled_pairs(as_numbers(rdms, "rdms"), len(images))
        pairs = cls(images, image_groups=image_groups, background=background)
        pairs._index = pairs._index if index is None else index
        pairs.n_left_out = n_left_out
        return pairs, dissim

    @classmethod
    def from_arrays(
        cls, X: Any, *, size: Any = None, background: Any = None, n_jobs: int | None = None
    ) -> ImagePairs:
        """Find the distinct images among the two sides of every pair.

        Parameters
        ----------
        X : array-like of shape (n_pairs, 2, ...) or (n_pairs, 2)
            Two image or feature arrays per pair, or two paths of image files.
        size : int or (height, width), default=None
            What files are resized to; None needs files of one size.
        background : str or (r, g, b), default=None
            As in the constructor, of all images.
        n_jobs : int, default=None
            Threads that decode files.

        Returns
        -------
        pairs : ImagePairs
            Images with equal content are stored once, in order of first appearance.
        """
        X = np.asarray(as_array(X, in_pairs=True))
        if X.ndim < 2 or X.shape[1] != 2 or len(X) == 0:
            raise ValueError(
                "pairs must be an ImagePairs, an array (n_pairs, 2, ...) of two images each, or "
                f"an array (n_pairs, 2) of image paths; got an array of shape {X.shape}. Of images "
                "and matrices, pairs, dissim = ImagePairs.from_rdms(images, rdms) makes pairs, of "
                "images alone ImagePairs(images). Response patterns take scorers of this package, "
                "such as rdm_spearman_scorer."
            )
        flat = X.reshape(2 * len(X), *X.shape[2:])
        rows = np.arange(len(flat))
        if X.ndim == 2:
            if X.dtype.kind not in "UO" or not all(isinstance(p, str | os.PathLike) for p in flat):
                raise ValueError(
                    f"an array of shape {X.shape} must hold image paths, got {X.dtype}. Row "
                    "numbers of an image array are given as ImagePairs(images, index)."
                )
            paths, rows = np.unique(flat.astype(str), return_inverse=True)
            flat = read_images(paths.tolist(), size, n_jobs=n_jobs)
        first, inverse, digests = _distinct(flat)
        order = np.unique(inverse[rows], return_index=True)[1].argsort()
        rank = np.empty(len(first), dtype=np.intp)
        rank[order] = np.arange(len(first))
        index = rank[inverse[rows]].reshape(-1, 2)
        pairs = cls(flat[first[order]], index, background=background)
        pairs.digests = digests[order]
        return pairs

    @classmethod
    def concatenate(cls, pairs: Sequence[ImagePairs]) -> ImagePairs:
        """Join image sets that share no pair into one training set.

        Parameters
        ----------
        pairs : sequence of ImagePairs
            Sets whose images have one shape and dtype, and of which all or none have
            ``image_groups``, and a ``background``. Sets that hold the same ``images`` object are
            joined without a copy.

        Returns
        -------
        pairs : ImagePairs
            Images and pairs in the order given; concatenate the targets the same way.
        """
        pairs = list(pairs)
        kinds = {(p.images.shape[1:], p.images.dtype) for p in pairs}
        if len(kinds) != 1:
            raise ValueError(
                "image sets to concatenate must have one shape and dtype, got "
                f"{[f'{p.images.dtype} {p.images.shape}' for p in pairs]}. Read them at one size: "
                "read_images(folder, size)."
            )
        if all(p.images is pairs[0].images for p in pairs):
            joined = copy.copy(pairs[0])
            joined._index = np.concatenate([p.index for p in pairs])
            for name in PER_IMAGE:
                values = [getattr(p, name) for p in pairs]
                if not all(np.array_equal(v, values[0]) for v in values):
                    raise ValueError(f"sets that hold the same images must have the same {name}.")
            return joined
        starts = np.cumsum([0] + [len(p.images) for p in pairs])
        joined = cls(
            np.concatenate([p.images for p in pairs]),
            np.concatenate([p.index + start for p, start in zip(pairs, starts, strict=False)]),
            **{name: _join_per_image(name, pairs) for name in PER_IMAGE},
        )
        joined.n_left_out = sum(p.n_left_out for p in pairs)
        return joined

    def to_rdms(self, dissim: Any) -> np.ndarray:
        """Put one value per pair into square matrices, the inverse of :meth:`from_rdms`.

        Parameters
        ----------
        dissim : array-like
            Observed or predicted dissimilarities of these pairs, of shape ``(n_pairs,)``,
            ``(n_pairs, n_subjects)`` or ``(n_pairs, n_subjects, n_times)``.

        Returns
        -------
        rdms : ndarray
            Of shape ``(n_images, n_images)``, ``(n_subjects, n_images, n_images)`` or
            ``(n_subjects, n_times, n_images, n_images)``; symmetric, zero diagonal, NaN for
            pairs that are not among these.

        Raises
        ------
        ValueError
            If a pair occurs twice, in either order, with different values: average repeated
            trials first.
        """
        dissim = as_real(dissim, "dissimilarities")
        if len(dissim) != len(self):
            raise ValueError(f"got {len(dissim)} dissimilarities for {len(self)} pairs.")
        n_images, index = len(self.images), self.index
        rdms = np.full((*dissim.shape[1:], n_images, n_images), np.nan)
        first, second = np.sort(index, axis=1).T
        rdms[..., first, second] = np.moveaxis(dissim, 0, -1)
        _check_repeats(index, dissim, np.moveaxis(rdms[..., first, second], -1, 0))
        rdms[..., second, first] = rdms[..., first, second]
        rdms[..., range(n_images), range(n_images)] = 0
        return rdms

    @property
    def shape(self) -> tuple[int]:
        return (len(self._index),)

    @property
    def index(self) -> np.ndarray:
        return np.asarray(self._index)

    @property
    def used_images(self) -> np.ndarray:
        return used_images(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Any) -> ImagePairs:
        if isinstance(key, tuple):  # scikit-learn asks for X[rows, ...]
            if len(key) == 0 or any(k is not Ellipsis for k in key[1:]):
                raise TypeError(f"ImagePairs has one axis, its pairs; got the key {key!r}.")
            key = key[0]
        if isinstance(key, int | np.integer):
            raise TypeError(f"one pair is not a sample set: use pairs[{key}:{key} + 1].")
        if not isinstance(key, slice):
            key = np.asarray(key) if np.size(key) else np.empty(0, dtype=np.intp)
            if key.ndim != 1:
                raise TypeError(f"ImagePairs has one axis, its pairs; got a {key.ndim}-d array.")
        subset = copy.copy(self)
        if isinstance(key, np.ndarray) or key != slice(None):
            subset._index = self._index[key]
        return subset

    def __sizeof__(self) -> int:
        # Dask scatters, instead of copying into every task, only what reports its size.
        return object.__sizeof__(self) + self.images.nbytes + getattr(self._index, "nbytes", 0)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "ImagePairs is not an array: this tool needs one row of numbers per sample. Use an "
            "estimator of sklearn_rdm, or pairs.images and pairs.index."
        )

    def __repr__(self) -> str:
        lazy = ", read when needed" if getattr(self.images, "is_lazy", False) else ""
        return (
            f"ImagePairs({len(self)} pairs of {len(self.used_images)} images, "
            f"images: {self.images.dtype} {self.images.shape}{lazy})"
        )


def as_pairs(X: Any) -> ImagePairs:
    """Return ``X`` if it is ImagePairs already, else what ``from_arrays`` makes of it."""
    return X if isinstance(X, ImagePairs) else ImagePairs.from_arrays(X)


def of_pairs(X: Any, y: Any) -> tuple[Any, Any]:
    """Pairs and their dissimilarities, of images and response patterns too."""
    return y.to_pairs(X) if hasattr(y, "to_pairs") else (X, y)


def pairs_within(index: np.ndarray, images: Any) -> np.ndarray:
    """Rows of the pairs of two of these images, given as numbers or as a mask."""
    images = np.asarray(images)
    images = np.flatnonzero(images) if images.dtype == bool else images
    return np.flatnonzero(np.isin(index, images).all(axis=1))


def check_fit_pairs(X: Any, y: Any) -> tuple[ImagePairs, np.ndarray]:
    """Check what is given to a ``fit``: pairs of three or more images, targets that vary."""
    X, y = of_pairs(X, y)
    pairs = as_pairs(X)
    y = check_dissimilarities(y, len(pairs))
    n_images = len(pairs.used_images)
    if n_images < 3:
        raise ValueError(
            f"{n_images} images make {len(pairs)} pair(s): at least 3 images (3 pairs) are needed "
            "to learn how dissimilarities vary."
        )
    check_varying(y)
    return pairs, y


def check_groups(image_groups: Any, n_images: int) -> np.ndarray | None:
    """Return one label per image as an array, None if there are none."""
    if image_groups is None:
        return None
    check_not_masked(image_groups, "image_groups")
    image_groups = np.asarray(image_groups)
    if image_groups.shape != (n_images,):
        raise ValueError(
            f"image_groups must have one label per image, shape ({n_images},), got "
            f"{image_groups.shape}."
        )
    return image_groups


def _distinct(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row of every distinct image, every image's place among those, and their digests."""
    digests = image_digests(images)
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), dtype=np.intp)
    rank[order] = np.arange(len(first))
    return first[order], rank[inverse], digests[first[order]]


def _join_per_image(name: str, pairs: Sequence[ImagePairs]) -> np.ndarray | None:
    values = [getattr(p, name) for p in pairs]
    if len({v is None for v in values}) != 1:
        raise ValueError(f"all or none of the image sets must have {name}.")
    return None if values[0] is None else np.concatenate(values)


def _check_repeats(index: np.ndarray, dissim: np.ndarray, kept: np.ndarray) -> None:
    """Refuse pairs whose value is not the one that the same two images have as another pair."""
    tolerance = REPEAT_TOLERANCE * np.abs(dissim[np.isfinite(dissim)]).max(initial=0)
    same = np.isclose(kept, dissim, rtol=0, atol=tolerance, equal_nan=True)
    differs = ~same.all(axis=tuple(range(1, same.ndim)))
    if differs.any():
        images = np.sort(index[differs.argmax()])
        rows = np.flatnonzero((np.sort(index, axis=1) == images).all(axis=1))
        raise ValueError(
            f"images {images[0]} and {images[1]} are compared by the pairs {rows[:5].tolist()}, "
            "whose dissimilarities differ, but a matrix holds one: average repeated trials first."
        )


def check_background(background: Any, n_images: int) -> np.ndarray | None:
    """Return one colour per image, shape (n_images, 3), None if there are none."""
    if background is None:
        return None
    colour = as_colour(background)
    if colour is not None:
        return np.tile(colour, (n_images, 1))
    colours = [as_colour(c) for c in background] if np.iterable(background) else []
    if len(colours) != n_images or any(c is None for c in colours):
        raise ValueError(
            f"background must be one of {[*COLOURS]} or (r, g, b) in 0..1, for all images or as a "
            f"sequence of {n_images}, one per image, got {background!r}."
        )
    return np.array(colours)
