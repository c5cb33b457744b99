"""Datasets of pairs and images: made for skorch's verbs, or given by a user to validate on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from skorch.dataset import Dataset, ValidSplit
from torch.utils.data import Subset

from sklearn_rdm._network._batches import PairDataset, PatternDataset
from sklearn_rdm._network._description import digests_of
from sklearn_rdm._network._pattern_training import in_float32, pattern_dataset
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._dissimilarities import check_dissimilarities
from sklearn_rdm._pairs._image_pairs import as_pairs, check_fit_pairs, of_pairs
from sklearn_rdm._pairs._patterns import check_fit_images
from sklearn_rdm._pairs._weights import keep_weighted

__all__ = ["gives_validation", "make_dataset", "own_validation", "pairs_to_predict"]

OURS = (PairDataset, PatternDataset)


def make_dataset(net: Any, X: Any, y: Any = None) -> Any:
    """Pairs or images, with what frozen layers make of them.

    Parameters
    ----------
    net : TwinTraining
        Its pooling, as fitted, makes one target of subjects.
    X : ImagePairs or what makes them, images, or a dataset
        As in ``fit``. A dataset of skorch holds pairs or images itself; ours stay as they are.
    y : array-like, ResponsePatterns or None
        As in ``fit``; one-dimensional targets are taken as they are. None: there are no targets.
    """
    if _is_ours(X):
        return X
    if isinstance(X, Dataset):
        X, y = X.X, X.y
    if isinstance(y, ResponsePatterns) and net.batching == "images":
        return pattern_dataset(net, *check_fit_images(X, y))
    X, y = of_pairs(X, y)
    pairs = as_pairs(X)
    if y is None:
        return _pair_dataset(net, pairs, np.full(len(pairs), np.nan))
    y = check_dissimilarities(y, len(pairs))
    target = y if y.ndim == 1 else net.subject_pooling_.transform(y)
    target = in_float32(target, slice(None), net.criterion)
    pooled: Any = ~np.isnan(target)
    if pooled.all():
        pooled = slice(None)  # which copies nothing
    elif not pooled.any():
        raise ValueError(
            f"none of {len(pairs)} pairs was measured by a subject that had two training pairs or "
            "more, from which its scale is learned. Give other pairs."
        )
    return _pair_dataset(net, pairs[pooled], target[pooled])


def pairs_to_predict(X: Any) -> Any:
    """What a dataset that skorch made holds, as pairs; all else as it is."""
    if not isinstance(X, Dataset) or _is_ours(X):
        return X
    return ImagePairs(X.X) if isinstance(X.y, ResponsePatterns) else X.X


def gives_validation(train_split: Any) -> bool:
    """Whether it is a function that gives data to validate on, as skorch's predefined_split."""
    is_splitter = hasattr(train_split, "split") or isinstance(train_split, ValidSplit)
    return callable(train_split) and not is_splitter


def own_validation(net: Any, X: ImagePairs, y: Any) -> Callable[[], Any] | None:
    """What ``train_split`` gives to validate on, to be made a dataset once the net is settled.

    Parameters
    ----------
    net : TwinTraining
        With a ``train_split``.
    X, y : ImagePairs, and dissimilarities or ResponsePatterns
        What is trained on.

    Returns
    -------
    make : callable or None
        None if ``train_split`` is a splitter, or None itself.

    Raises
    ------
    TypeError, ValueError
        If that is no dataset of pairs or images with targets, or shares an image with ``X``.
    """
    if not gives_validation(net.train_split):
        return None
    given = _given_data(net.train_split, X, y)
    try:
        if isinstance(y, ResponsePatterns) and isinstance(given.y, ResponsePatterns):
            pairs, target = check_fit_images(given.X, given.y)
            data: tuple[Any, Any] = given.X, target
        else:
            data = pairs, _ = check_fit_pairs(given.X, given.y)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the data that train_split validates on: {error}") from error
    _check_no_image_shared(keep_weighted(net._weights_of_pairs, X)[0], pairs)

    return partial(make_dataset, net, *data)


def _given_data(train_split: Any, X: Any, y: Any) -> Any:
    split = train_split(X, y)
    if not isinstance(split, tuple) or len(split) != 2 or split[0] is not X:
        raise ValueError(
            "a train_split that is a function must return what it was given and a dataset to "
            "validate on, as skorch.helper.predefined_split(Dataset(pairs, dissim)) does. To split "
            "the training data, give an image-wise splitter such as ImageShuffleSplit(1, "
            "test_size=0.2)."
        )
    given = split[1]
    if not isinstance(given, Dataset) or isinstance(given, OURS):
        raise TypeError(
            "train_split must give a skorch.dataset.Dataset(pairs, dissim), or Dataset(images, "
            f"patterns), to validate on, got a {type(given).__name__}."
        )
    return given


def _check_no_image_shared(trained: ImagePairs, validated: ImagePairs) -> None:
    ours, theirs = trained.used_images, validated.used_images
    if trained.images is validated.images:
        shared = np.isin(theirs, ours)
    else:
        shared = np.isin(digests_of(validated, theirs), digests_of(trained, ours))
    if shared.any():
        raise ValueError(
            f"train_split validates on {shared.sum()} images that are training images as well, the "
            f"first is image {theirs[shared.argmax()]} of the validation data. Leave the pairs of "
            "these images out of the training or of the validation data."
        )


def _pair_dataset(net: Any, pairs: ImagePairs, target: np.ndarray) -> PairDataset:
    return PairDataset(pairs, target, *net._network_inputs(pairs, pairs.used_images))


def _is_ours(X: Any) -> bool:
    return isinstance(X.dataset if isinstance(X, Subset) else X, OURS)
