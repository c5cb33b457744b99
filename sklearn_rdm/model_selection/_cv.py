"""The splits of what is given as ``cv``: none may test on images that were trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._dissimilarities import check_dissimilarities
from sklearn_rdm._pairs._image_pairs import as_pairs, pairs_within
from sklearn_rdm._pairs._weights import check_samples_are_pairs
from sklearn_rdm.model_selection._image_splits import Rows, leaks, row_numbers
from sklearn_rdm.model_selection._image_splitter import ImageSplitter
from sklearn_rdm.model_selection._splitters import ImageKFold

__all__ = ["check_image_cv", "check_pairs_and_cv", "images_of", "of_pairs_and_cv"]


def check_image_cv(cv: Any, pairs: ImagePairs, y: np.ndarray) -> list[Rows]:
    """Return the splits of ``cv`` (None and int mean ImageKFold); folds of pairs raise an error."""
    if cv is None or isinstance(cv, int | np.integer):
        cv = ImageKFold(5 if cv is None else int(cv))
    splits = [
        (row_numbers(train, len(pairs)), row_numbers(test, len(pairs)))
        for train, test in check_cv(cv).split(pairs, y)
    ]
    if not splits:
        raise ValueError(f"cv={cv!r} gives no split.")
    for number, (train, test) in enumerate(splits):
        leaked = leaks(pairs, train, test)
        if leaked.any():
            i, j = pairs.index[test[leaked.argmax()]]
            raise ValueError(
                f"split {number} of cv tests the pair of images {i} and {j}, which both occur in "
                f"its training pairs ({leaked.sum()} such pairs): it holds out pairs, not images. "
                "Use ImageKFold or another splitter of sklearn_rdm.model_selection."
            )
    return splits


def check_pairs_and_cv(X: Any, y: Any, cv: Any) -> tuple[ImagePairs, np.ndarray, list[Rows]]:
    """Pairs, dissimilarities and checked splits of pairs, of images and response patterns too.

    Of images and response patterns, samples are images: other splitters than those of this module,
    and lists of rows, split the images.
    """
    X, y, cv = of_pairs_and_cv(X, y, cv)
    pairs = as_pairs(X)
    dissim = check_dissimilarities(y, len(pairs))
    return pairs, dissim, check_image_cv(cv, pairs, dissim)


def of_pairs_and_cv(X: Any, y: Any, cv: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """Pairs, dissimilarities and splits of pairs, of images and response patterns too."""
    check_samples_are_pairs(y, sample_weight)
    if not hasattr(y, "to_pairs"):
        return X, y, cv
    pairs, dissim = y.to_pairs(X)
    if not (cv is None or isinstance(cv, int | np.integer | ImageSplitter)):
        splits = check_cv(cv).split(np.zeros(len(y)))
        cv = [tuple(pairs_within(pairs.index, rows) for rows in split) for split in splits]
    return pairs, dissim, cv


def images_of(pairs: ImagePairs, rows: np.ndarray) -> np.ndarray:
    """Rows of the images of pairs that are all pairs of these images."""
    images = np.unique(pairs.index[rows])
    if len(pairs_within(pairs.index, images)) != len(rows):
        raise ValueError(
            "a split of images and response patterns must hold all pairs of its images: give "
            "test_pairs='both', or pairs and their dissimilarities, patterns.to_pairs(images)."
        )
    return images
