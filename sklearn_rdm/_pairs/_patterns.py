"""Measured response patterns as the target: a sequence of images, of which any pair has a distance.

Nothing here holds a number per pair but what a caller asks for.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._lazy_rows import as_rows, is_in_memory, read_rows
from sklearn_rdm._pairs._noise_precision import whiteners
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm._pairs._pair_index import AllPairs, check_index, renumber
from sklearn_rdm._pairs._pattern_checks import (
    check_directions,
    check_gaps,
    check_layout,
    check_seen,
    check_shapes,
)
from sklearn_rdm._pairs._pattern_distances import (
    METRICS,
    Features,
    pair_distances,
    signed_features,
    square_distances,
)

__all__ = ["ResponsePatterns"]

BLOCK = 2**22  # numbers in a block of features: 32 MB
LARGE = 2**32  # bytes of dissimilarities of all pairs that are worth a warning


class ResponsePatterns:
    """Responses measured to images, as the target: samples are images, not pairs.

    Give it as ``y`` where you have response patterns (voxels, sensors, neurons) and no
    dissimilarities yet. Every scikit-learn tool slices it by image, as it slices an array, so that
    its own splitters hold out images: ``cross_val_score(net, images, patterns, cv=KFold(5))``.
    Regressors, their ``score``, scorers and splitters take ``(images, patterns)`` wherever they
    take ``(pairs, dissim)``. :class:`SiameseRDMRegressor` computes the dissimilarities of each
    mini-batch; scores and noise ceilings of many images are computed block by block. Other
    regressors and tests make all pairs of these images, which a few thousand images allow; of more,
    :meth:`to_pairs` draws a random part.

    Parameters
    ----------
    patterns : array-like, or list of array-like
        One array for one subject, or a list with one per subject. Each has shape ``(n_images,
        n_channels)``, or a shape named by ``layout``. Subjects may differ in channels, runs and
        kind of array: ndarray, memmap, HDF5 dataset, zarr or Dask array. All but ndarrays are
        read row by row, when needed. A row of NaN is an image that this subject has not seen.
    metric : {"correlation", "euclidean", "cosine", "mahalanobis", "crossnobis"}, \
default="correlation"
        With ``x_i`` the pattern of image ``i``, averaged over runs, and ``p`` channels:

        - "correlation": ``1 - Pearson r(x_i, x_j)``, in 0..2.
        - "cosine": ``1 - x_i . x_j / (|x_i| |x_j|)``, in 0..2.
        - "euclidean": ``|x_i - x_j|^2 / p``, squared and per channel as in rsatoolbox, in squared
          units of the patterns.
        - "mahalanobis": ``(x_i - x_j)' P (x_i - x_j) / p`` with the noise precision ``P``.
        - "crossnobis": the mean over couples of runs ``r != q`` of ``d_r' P d_q / p``, where
          ``d_r = x_ri - x_rj`` [1]_. Unbiased, so it may be negative; its expectation is 0 for
          images with the same response. ``P`` is the identity if no noise is given.

    layout : str, default=None
        The axes of each array: "image channel", "run image channel", "image channel time" or "run
        image channel time". None reads two axes as "image channel", and three as "run image
        channel" for "crossnobis" and "image channel time" for the others.
    seen : array-like of bool, shape (n_subjects, n_images) or (n_images,), default=None
        Which images each subject has seen. None: all but those whose row is NaN.
    noise_precision, noise_covariance : array-like of shape (n_channels, n_channels), default=None
        Precision (inverse covariance) or covariance of the noise between channels; for several
        subjects a list with one per subject. For "mahalanobis" and "crossnobis"; give one of the
        three kinds of noise.
    noise_residuals : array-like of shape (n_observations, n_channels), default=None
        Residuals of your first-level model or of trials around their mean; a list for several
        subjects. Their covariance, over ``n_observations - 1``, is shrunk.
    shrinkage : {"diagonal", "identity"}, default="diagonal"
        What the covariance of the residuals is shrunk to: its diagonal [2]_, or a multiple of the
        identity [3]_. The strength is estimated from the residuals.
    time_average : bool, default=False
        Whether dissimilarities are averaged over the time points, or kept for each.

    Attributes
    ----------
    shape : tuple
        ``(n_images,)``.
    n_subjects : int
        Number of subjects.
    n_times : int or None
        Number of time points; None if the patterns have no time or are averaged over it.
    metric : str
        As given.
    rows : ndarray of int of shape (n_images,)
        The row of each image in the arrays.

    Raises
    ------
    TypeError, ValueError
        If the arrays have the wrong kind or shape, hold infinity or some NaN in a row, a pattern
        is constant ("correlation") or zero ("cosine"), there are fewer than two runs
        ("crossnobis"), or the noise does not fit. Arrays on disk are checked as they are read.

    See Also
    --------
    ImagePairs : The samples if dissimilarities were measured.

    References
    ----------
    .. [1] Walther, A. et al. Reliability of dissimilarity measures for multi-voxel pattern
       analysis. NeuroImage 137, 188-200 (2016).
    .. [2] Schaefer, J. & Strimmer, K. A shrinkage approach to large-scale covariance matrix
       estimation. Stat. Appl. Genet. Mol. Biol. 4, 32 (2005).
    .. [3] Ledoit, O. & Wolf, M. A well-conditioned estimator for large-dimensional covariance
       matrices. J. Multivar. Anal. 88, 365-411 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ResponsePatterns
    >>> rng = np.random.default_rng(0)
    >>> patterns = ResponsePatterns([rng.random((5, 20)), rng.random((5, 30))])
    >>> patterns
    ResponsePatterns(5 images, 2 subjects with 20 and 30 channels, metric='correlation')
    >>> patterns[[0, 3]].dissimilarities([[0, 1]]).shape
    (1, 2)
    >>> patterns.to_rdms().shape
    (2, 5, 5)
    """

    def __init__(
        self,
        patterns: Any,
        metric: str = "correlation",
        *,
        layout: str | None = None,
        seen: Any = None,
        noise_precision: Any = None,
        noise_covariance: Any = None,
        noise_residuals: Any = None,
        shrinkage: str = "diagonal",
        time_average: bool = False,
    ) -> None:
        check_option("metric", metric, METRICS)
        several = isinstance(patterns, list | tuple)  # an array is one subject
        self.patterns = [as_rows(p) for p in (patterns if several else [patterns])]
        self.metric, self.time_average = metric, bool(time_average)
        self.layout = check_layout(layout, metric, self.patterns)
        self.rows = np.arange(check_shapes(self.patterns, self.layout, metric))
        self.seen = check_seen(seen, len(self.patterns), len(self.rows))
        noise = {
            "noise_precision": noise_precision,
            "noise_covariance": noise_covariance,
            "noise_residuals": noise_residuals,
        }
        self._whiteners = whiteners(metric, self.n_channels, several, shrinkage, noise)
        for subject, array in enumerate(self.patterns):
            if is_in_memory(array):
                for _ in self._blocks(subject):
                    pass

    def dissimilarities(self, index: Any = None) -> np.ndarray:
        """Compute the dissimilarities of pairs of these images.

        Parameters
        ----------
        index : array-like of int, shape (n_pairs, 2), default=None
            The two images of each pair, as positions from 0 to ``n_images - 1``. None takes all
            pairs, upper triangle row by row.

        Returns
        -------
        dissim : ndarray of float64, shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            NaN where a subject has not seen both images.

        Raises
        ------
        TypeError
            If the index holds other than integers.
        ValueError
            If the index is not of this shape or range, or joins an image with itself.
        """
        if index is None:
            index = places = np.asarray(AllPairs(len(self)))
            used = np.arange(len(self))
        else:
            index = check_index(index, len(self))
            used, places = renumber(index)
        columns = [
            [_pairs_of(features, known, places) for features in courses]
            for known, courses in (self._features(s, used) for s in range(self.n_subjects))
        ]
        dissim = np.moveaxis(np.asarray(columns), -1, 0)
        return dissim if self.n_times else dissim.mean(axis=2)

    def to_rdms(self) -> np.ndarray:
        """Compute the square matrices of all images.

        Returns
        -------
        rdms : ndarray of float64
            Of shape ``(n_subjects, n_images, n_images)`` or ``(n_subjects, n_times, n_images,
            n_images)``; symmetric, zero diagonal, NaN where a subject has not seen both images.
        """
        n_images, every = len(self), np.arange(len(self))
        rdms = np.full((self.n_subjects, self.n_times or 1, n_images, n_images), np.nan)
        for subject in range(self.n_subjects):
            known, courses = self._features(subject, every)
            place = np.ix_(known, known)
            for time in range(rdms.shape[1]):
                at = courses if self.n_times is None else [courses[time]]
                rdms[subject, time][place] = sum(map(square_distances, at)) / len(at)
        rdms[..., every, every] = 0
        return rdms if self.n_times else rdms[:, 0]

    def to_pairs(
        self, images: Any, *, n_pairs: int | None = None, random_state: Any = 0, **per_image: Any
    ) -> tuple[ImagePairs, np.ndarray]:
        """Make pairs of the images and their dissimilarities, all or a random part.

        Every tool of this package takes them. A random part is for tools that would need all pairs
        of too many images: other regressors, Kendall's tau-a, permutation tests and bootstraps.
        :func:`~sklearn_rdm.metrics.rdm_sampling_error` estimates how far a score of the part
        may be from that of all pairs.

        Parameters
        ----------
        images : array-like of shape (n_images, ...)
            The images that the responses are to, in the same order.
        n_pairs : int, default=None
            How many of the ``n_images (n_images - 1) / 2`` pairs are drawn, each as likely and
            once. None, or as many as there are, takes all.
        random_state : int, RandomState instance or None, default=0
            Seed of the draw: the same for all models that you compare. None: others at each call.
        **per_image : dict
            ``image_groups`` and ``background``, as in :class:`ImagePairs`.

        Returns
        -------
        pairs : ImagePairs
            The pairs, upper triangle row by row, without those that no subject has seen.
        dissim : ndarray of float64, shape (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Their dissimilarities.

        Raises
        ------
        ValueError
            If the numbers of images differ, no subject has seen both images of one of the pairs, or
            ``n_pairs`` is not a whole number above 0.

        Warns
        -----
        UserWarning
            If the dissimilarities take more than 4 GB.
        """
        self._check_images(images)
        index = _draw_pairs(len(self), n_pairs, random_state)
        if index is None:
            self._warn_of_size()
        pairs = ImagePairs(images, index, **per_image)
        dissim = self.dissimilarities(index)
        known = ~np.isnan(dissim).reshape(len(dissim), -1).all(axis=1)
        if not known.any():
            raise ValueError("no subject has seen two of these images: there is no dissimilarity.")
        pairs = pairs if known.all() else pairs[known]
        pairs.n_left_out = int((~known).sum())
        return pairs, dissim[known]

    def _warn_of_size(self) -> None:
        """Tell how much memory all pairs take, if that is much."""
        n_pairs = len(self) * (len(self) - 1) // 2
        n_bytes = 8 * n_pairs * self.n_subjects * (self.n_times or 1)
        if n_bytes > LARGE:
            warnings.warn(
                f"the dissimilarities of all {n_pairs:,} pairs of {len(self):,} images take "
                f"{n_bytes / 1e9:.1f} GB. SiameseRDMRegressor, FixedRSARegressor, noise_ceiling "
                "and the scores of estimators need no list of all pairs. Give other tools a random "
                "part of them: patterns.to_pairs(images, n_pairs=10**6, random_state=0).",
                UserWarning,
                stacklevel=3,
            )

    def _of_subjects(self, subjects: np.ndarray) -> ResponsePatterns:
        """The responses of some of the subjects."""
        some = copy.copy(self)
        some.patterns = [self.patterns[subject] for subject in subjects]
        some._whiteners = [self._whiteners[subject] for subject in subjects]
        some.seen = None if self.seen is None else self.seen[subjects]
        return some

    def _check_images(self, images: Any) -> None:
        """Raise an error unless there is one image for each row of responses."""
        if isinstance(images, ImagePairs):
            raise TypeError(
                "samples are pairs, but response patterns are given per image: give the array of "
                "images, or patterns.dissimilarities(pairs.index)."
            )
        if len(images) != len(self):
            raise ValueError(
                f"got {len(images)} images and response patterns to {len(self)}: give one row of "
                "responses per image, in the same order."
            )

    def _blocks(self, subject: int) -> Iterator[tuple[np.ndarray, Features]]:
        """Iterate over the features of one subject's images, in blocks of rows.

        Squared distances of these are the subject's dissimilarities, averaged over the time points.

        Parameters
        ----------
        subject : int
            Number of the subject.

        Yields
        ------
        places : ndarray of int
            Positions of the images of the block that the subject has seen.
        features : Features
            Their features.
        """
        shape = self.patterns[subject].shape
        step = max(BLOCK * shape[self._image_axis] // int(np.prod(shape)), 1)
        for start in range(0, len(self), step):
            places = np.arange(start, min(start + step, len(self)))
            known, courses = self._features(subject, places)
            yield places[known], _average(courses)

    def _seen_images(self) -> np.ndarray:
        """Which images each subject has seen, bool (n_subjects, n_images).

        Rows of NaN are found by one pass over the arrays.
        """
        seen = np.zeros((self.n_subjects, len(self)), dtype=bool)
        for subject in range(self.n_subjects):
            for places, _ in self._blocks(subject):
                seen[subject, places] = True
        return seen

    def _paired_images(self) -> np.ndarray:
        """Images that a subject has seen together with another one."""
        seen = self._seen_images()
        return np.flatnonzero(seen[seen.sum(axis=1) > 1].any(axis=0))

    def _courses(self, subject: int) -> tuple[np.ndarray, list[Features]]:
        """Images that a subject has seen, and their features at each time point, all in memory.

        Time points that are averaged count as one.
        """
        known, courses = self._features(subject, np.arange(len(self)))
        return np.flatnonzero(known), courses if self.n_times else [_average(courses)]

    def _features(self, subject: int, places: np.ndarray) -> tuple[np.ndarray, list[Features]]:
        """Which of these images the subject has seen, and their features at each time."""
        rows = self.rows[places]
        known = np.ones(len(rows), bool) if self.seen is None else self.seen[subject, rows].copy()
        x = self._read(subject, rows[known])
        known[known] = filled = check_gaps(x, rows[known], subject, self.metric)
        x = x[:, filled]
        if self.metric != "crossnobis":  # an image is averaged over the runs that have it
            x = _mean_of_runs(x)
        whitener = self._whiteners[subject]
        courses = [
            signed_features(x[..., time], self.metric, whitener) for time in range(x.shape[3])
        ]
        check_directions(courses, rows[known], subject, self.metric)
        return known, courses

    def _read(self, subject: int, rows: np.ndarray) -> np.ndarray:
        """Patterns as float64 (n_runs, n_images, n_channels, n_times)."""
        x = read_rows(self.patterns[subject], rows, self._image_axis).astype(np.float64)
        axes = self.layout.split()
        x = x if axes[0] == "run" else x[np.newaxis]
        return x if axes[-1] == "time" else x[..., np.newaxis]

    @property
    def _image_axis(self) -> int:
        return self.layout.split().index("image")

    @property
    def shape(self) -> tuple[int]:
        return (len(self.rows),)

    @property
    def n_subjects(self) -> int:
        return len(self.patterns)

    @property
    def n_channels(self) -> list[int]:
        """Channels of each subject."""
        axis = self.layout.split().index("channel")
        return [int(array.shape[axis]) for array in self.patterns]

    @property
    def n_times(self) -> int | None:
        has_times = self.layout.endswith("time") and not self.time_average
        return int(self.patterns[0].shape[-1]) if has_times else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> ResponsePatterns:
        if isinstance(key, tuple):  # scikit-learn asks for y[rows, ...]
            if len(key) == 0 or any(k is not Ellipsis for k in key[1:]):
                raise TypeError(f"ResponsePatterns has one axis, its images; got the key {key!r}.")
            key = key[0]
        if not isinstance(key, slice):
            key = np.asarray(key) if np.size(key) else np.empty(0, dtype=np.intp)
            key = key[np.newaxis] if key.ndim == 0 else key  # one image stays a sequence of images
            if key.ndim != 1 or key.dtype.kind not in "uib":
                raise TypeError(
                    "images are selected by whole numbers, a slice or one bool per image, got "
                    f"{key.dtype} of shape {key.shape}."
                )
        subset = copy.copy(self)
        subset.rows = self.rows[key]
        return subset

    def __sizeof__(self) -> int:
        # Dask scatters, instead of copying into every task, only what reports its size.
        held = [p.nbytes for p in self.patterns if isinstance(p, np.ndarray)]
        return object.__sizeof__(self) + self.rows.nbytes + sum(held)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "ResponsePatterns is not an array: this tool needs numbers. Use an estimator or score "
            "of sklearn_rdm, or give patterns.dissimilarities() or patterns.to_rdms()."
        )

    def __repr__(self) -> str:
        channels = " and ".join(map(str, dict.fromkeys(self.n_channels)))
        subjects = f"{self.n_subjects} subject{'s' if self.n_subjects > 1 else ''}"
        times = f", {self.n_times} time points" if self.n_times else ""
        lazy = "" if all(map(is_in_memory, self.patterns)) else ", read from disk when needed"
        return (
            f"ResponsePatterns({len(self)} images, {subjects} with {channels} channels{times}, "
            f"metric={self.metric!r}{lazy})"
        )


def check_fit_images(X: Any, y: ResponsePatterns) -> tuple[ImagePairs, ResponsePatterns]:
    """Check images and responses that are given to a ``fit``; the images as all their pairs."""
    y._check_images(X)
    if len(y) < 3:
        raise ValueError(
            f"got {len(y)} images: at least 3 (3 pairs) are needed to learn how dissimilarities "
            "vary."
        )
    return ImagePairs(X), y


def _draw_pairs(n_images: int, n_pairs: int | None, random_state: Any) -> np.ndarray | None:
    """Index of a random part of all pairs, in their order; None if it is all of them."""
    if n_pairs is None:
        return None
    if not isinstance(n_pairs, Integral) or isinstance(n_pairs, bool) or n_pairs < 1:
        raise ValueError(f"n_pairs must be a whole number of pairs, 1 or more, got {n_pairs!r}.")
    every = AllPairs(n_images)
    if n_pairs >= len(every):
        return None
    return every.draw(n_pairs, random_state)


def _pairs_of(features: Features, known: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Distances of pairs of images, of which some have no features."""
    distances = np.full(len(index), np.nan)
    both = known[index].all(axis=1)
    row = np.cumsum(known) - 1
    if both.any():
        distances[both] = pair_distances(features, row[index[both]])
    return distances


def _average(courses: Sequence[Features]) -> Features:
    """Features whose distance is the mean over these: signed squares add up side by side."""
    if len(courses) == 1:
        return courses[0]
    plus, minus = (np.hstack(side) for side in zip(*(f.sides for f in courses), strict=True))
    return Features(np.hstack([plus, minus]) / np.sqrt(len(courses)), plus.shape[1])


def _mean_of_runs(x: np.ndarray) -> np.ndarray:
    missing = np.isnan(x).all(axis=(2, 3))[..., np.newaxis, np.newaxis]
    return (np.where(missing, 0, x).sum(axis=0) / (~missing).sum(axis=0))[np.newaxis]
