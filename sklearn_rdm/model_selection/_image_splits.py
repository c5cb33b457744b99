"""What splits of images need: units that stay together, the pairs of a split, its checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import (
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from sklearn_rdm._pairs import ImagePairs, ImageTriplets, ResponsePatterns
from sklearn_rdm._pairs._image_pairs import as_pairs
from sklearn_rdm._pairs._pair_index import (
    as_places,
    count_touching,
    count_within,
    image_sets,
    rows_touching,
    rows_within,
    sets_of_seen,
)

MIN_HELD_OUT = 3  # images: two make one pair, and one pair has no correlation

Rows = tuple[np.ndarray, np.ndarray]


def check_split_pairs(X: Any, name: str) -> Any:
    """Return X as pairs, or triplets; what has no images gets an error that names the splitter."""
    if isinstance(X, ImageTriplets):
        return X
    if not isinstance(X, ImagePairs) and np.ndim(X) < 2:
        what = f"an array of shape {np.shape(X)}" if np.ndim(X) else repr(X)
        raise TypeError(
            f"{name} splits images, so it must be given the ImagePairs themselves as X, not "
            f"{what}. A tool that passes row numbers to its splitter, as skorch's ValidSplit does, "
            "cannot hold out images."
        )
    return as_pairs(X)


def pairs_of(
    pairs: ImagePairs, train_images: np.ndarray, test_images: np.ndarray, test_pairs: str
) -> Rows:
    """Rows of the pairs of two training images, and of both (any) held-out images."""
    _check_test_pairs(test_pairs)
    rows_of_test = rows_within if test_pairs == "both" else rows_touching
    return rows_within(pairs._index, train_images), rows_of_test(pairs._index, test_images)


def count_pairs_of(
    pairs: ImagePairs, train_images: np.ndarray, test_images: np.ndarray, test_pairs: str
) -> tuple[int, int]:
    """How many rows :func:`pairs_of` gives."""
    _check_test_pairs(test_pairs)
    count_test = count_within if test_pairs == "both" else count_touching
    return count_within(pairs._index, train_images), count_test(pairs._index, test_images)


def count_couples(_: Any, train_images: np.ndarray, test_images: np.ndarray) -> tuple[int, int]:
    """How many pairs training and held-out images make."""
    n_train, n_test = len(train_images), len(test_images)
    return n_train * (n_train - 1) // 2, n_test * (n_test - 1) // 2


def connected_images(X: Any, y: ResponsePatterns) -> ImagePairs:
    """As few pairs of the images as connect those that subjects have seen together."""
    y._check_images(X)
    sets = sets_of_seen(y._seen_images())
    if not sets:
        raise ValueError("no subject has seen two of these images: there is nothing to split.")
    stars = [np.column_stack(np.broadcast_arrays(images[0], images[1:])) for images in sets]
    return ImagePairs(X, np.concatenate(stars))


def _check_test_pairs(test_pairs: Any) -> None:
    if test_pairs not in ("both", "any"):
        raise ValueError(f"test_pairs must be 'both' or 'any', got {test_pairs!r}.")


def row_numbers(part: Any, n_pairs: int) -> np.ndarray:
    """Rows of pairs, from their numbers or from a mask of all pairs."""
    part = np.asarray(part)
    return np.arange(n_pairs)[part] if part.size else np.empty(0, dtype=np.intp)


def leaks(pairs: ImagePairs, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Whether both images of each test pair occur in training pairs."""
    trained = np.zeros(len(pairs.images), dtype=bool)
    trained[pairs._index[train]] = True
    return trained[pairs._index[test]].all(axis=1)


def check_split(name: str, test_images: np.ndarray, n_pairs: tuple[int, int], advice: str) -> None:
    """Refuse splits whose numbers of training and test pairs are too small.

    ``advice`` says what to change.
    """
    n_train, n_test = n_pairs
    if len(test_images) < MIN_HELD_OUT:
        raise ValueError(
            f"{name} holds out {len(test_images)} image(s), but at least {MIN_HELD_OUT} are "
            f"needed: the one pair of two images has no correlation. {advice}, or give more images."
        )
    if n_test < 2:
        raise ValueError(
            f"{name} holds out {len(test_images)} images, but {n_test} of the given pairs to "
            f"test on, too few for a correlation. {advice}, test on the pairs of which at least "
            "one image is held out (test_pairs='any'), or give more pairs."
        )
    if n_train == 0:
        raise ValueError(
            f"{name} leaves no pair to train on: no given pair joins two training images. Hold out "
            "fewer images at a time (larger n_splits, smaller test_size), or give more pairs."
        )


def k_folds(
    pairs: ImagePairs, labels: np.ndarray, n_splits: int, shuffle: bool, random_state: Any
) -> Iterator[Rows]:
    """Training and held-out images of folds that share out every label of every image set."""
    images = pairs.used_images
    plain = KFold(n_splits, shuffle=shuffle, random_state=random_state)  # its errors come first
    if len(images) < MIN_HELD_OUT * n_splits:
        most = len(images) // MIN_HELD_OUT
        raise ValueError(
            f"n_splits={n_splits} folds of {len(images)} images hold out fewer than "
            f"{MIN_HELD_OUT} images, and the one pair of two images has no correlation. "
            + (f"Use n_splits <= {most}, or give" if most > 1 else "Give at least 6, or")
            + " more images."
        )
    unit, strata = _units(pairs, 2 * n_splits, labels[images])
    largest = np.bincount(strata).max()
    if largest < n_splits:
        raise ValueError(
            f"n_splits={n_splits} folds cannot share out {len(images)} images: the most that can "
            f"be (images of one label in one set that shares pairs, or whole small sets) are "
            f"{largest}. Use n_splits <= {largest}, or merge labels."
        )
    several = StratifiedKFold(n_splits, shuffle=shuffle, random_state=random_state)
    for train, test in (several if strata.any() else plain).split(strata, strata):
        yield images[np.isin(unit, train)], images[np.isin(unit, test)]


def shuffled_images(
    pairs: ImagePairs, labels: np.ndarray, n_splits: int, random_state: Any, **sizes: Any
) -> Iterator[Rows]:
    """Training and held-out images of random splits with a share of every label of every set."""
    images = pairs.used_images
    n_train, n_test = map(len, next(ShuffleSplit(1, **sizes, random_state=0).split(images)))
    if n_test < MIN_HELD_OUT:
        raise ValueError(
            f"{n_test} of {len(images)} images would be held out, but at least {MIN_HELD_OUT} are "
            "needed: the one pair of two images has no correlation. Use a larger test_size."
        )
    unit, strata = _units(pairs, -(-2 * len(images) // min(n_train, n_test)), labels[images])
    if np.bincount(strata).min() < 2 and strata.any():
        raise ValueError(
            "a label to stratify by occurs on only one image (of its set that shares pairs), which "
            "cannot be in both parts: merge rare labels."
        )
    if len(strata) < len(images):  # numbers of images mean nothing for sets held out whole
        sizes = {name: _share(size, len(images)) for name, size in sizes.items()}
    splitter = StratifiedShuffleSplit if strata.any() else ShuffleSplit
    splits = splitter(n_splits, **sizes, random_state=random_state)
    for train, test in splits.split(strata, strata):
        yield images[np.isin(unit, train)], images[np.isin(unit, test)]


def grouped_images(pairs: ImagePairs, groups: np.ndarray, random_state: Any, **sizes: Any) -> Rows:
    """Training and held-out images of one random split of the groups."""
    images = pairs.used_images
    splitter = GroupShuffleSplit(1, **sizes, random_state=random_state)
    train, test = next(splitter.split(images, groups=groups[images]))
    return images[train], images[test]


def image_labels(pairs: ImagePairs, name: str) -> np.ndarray:
    """Return the image groups, or say that ``name`` needs them."""
    if pairs.image_groups is None:
        raise ValueError(
            f"{name} needs a label per image, and these pairs have none: "
            "ImagePairs(images, index, image_groups=labels) or "
            "ImagePairs.from_rdms(images, rdms, image_groups=labels)."
        )
    return pairs.image_groups


def no_labels(pairs: ImagePairs) -> np.ndarray:
    """One label for all images."""
    return np.zeros(len(pairs.images), dtype=np.intp)


def _units(pairs: ImagePairs, smallest: int, labels: np.ndarray) -> Rows:
    """Return the unit of every used image, and the stratum of every unit.

    A unit is what is held out together: an image, or all images of a set (that share no pair with
    others) smaller than ``smallest``. Strata are the sets, each by label; the small sets count to
    the largest set.
    """
    n_images = len(labels)
    component = image_sets(as_places(pairs._index, pairs.used_images))
    _, first, size = np.unique(component, return_index=True, return_counts=True)
    is_small = (size < min(smallest, n_images))[component]
    images, unit = np.unique(
        np.where(is_small, first[component], np.arange(n_images)), return_inverse=True
    )
    image_set = np.where(is_small, size.argmax(), component)
    label = np.unique(labels, return_inverse=True)[1]
    strata = np.unique(image_set * n_images + label, return_inverse=True)[1]
    return unit, strata[images]


def _share(size: Any, n_images: int) -> Any:
    return size / n_images if isinstance(size, int | np.integer) else size
