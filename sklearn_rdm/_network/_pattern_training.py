"""What a network is trained on if responses were measured: images, and no list of their pairs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import Subset

from sklearn_rdm._network._batch_orders import OrderedPatternBatches, PatternBatches
from sklearn_rdm._network._batches import PatternDataset
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._pair_index import has_pair, sets_of_seen
from sklearn_rdm._pairs._unit_scale import exponents_of
from sklearn_rdm.model_selection._image_splits import row_numbers
from sklearn_rdm.preprocessing._pattern_pooling import pool_patterns, target_of_patterns

__all__ = ["batches_of_patterns", "in_float32", "pattern_dataset", "split_patterns"]

FAR = 100  # half ranges from zero, beyond which float32 would lose more than two digits


def split_patterns(net: Any, X: ImagePairs, y: ResponsePatterns) -> tuple[Any, Any]:
    """Split images into those that are trained on and validated on, as the net's hook does pairs.

    Parameters
    ----------
    net : TwinTraining
        Its pooling is fitted to the training images, and what the network learns of images before
        training is settled.
    X : ImagePairs
        All pairs of the images.
    y : ResponsePatterns
        Responses to them.
    """
    train, valid = _split_images(net._splitter, X, y)
    net._settle_pooling(pool_patterns, y, train)
    seen = y._seen_images()
    net._settle_mean_image(X, _in_pairs(seen, train))
    labelled = _learned(net, seen)
    for name, images in (("training", train), ("validation", train if valid is None else valid)):
        if not has_pair(labelled[:, images]):
            raise ValueError(
                f"no two {name} images were seen by a subject that has two training pairs or "
                "more, from which its scale is learned. Give more images, or another train_split."
            )
    dataset = pattern_dataset(net, X, y)
    net._settle(dataset, X, _in_pairs(labelled, train))
    if valid is None:
        return dataset, None
    used = dataset.kept.images
    parts = (np.searchsorted(used, np.intersect1d(used, part)) for part in (train, valid))
    train_part, valid_part = parts
    return Subset(dataset, train_part.tolist()), Subset(dataset, valid_part.tolist())


def pattern_dataset(net: Any, X: ImagePairs, y: ResponsePatterns) -> PatternDataset:
    """Images that a subject has seen whom the net's pooling has learned."""
    labelled = _learned(net, y._seen_images())
    used = _in_pairs(labelled, np.arange(len(y)))
    target = partial(_target, net.subject_pooling_, net.criterion)
    inputs = net._network_inputs(X, used)
    return PatternDataset(X, y[used], labelled[:, used], target, used, *inputs)


def batches_of_patterns(dataset: Any, batch_size: int | None, rng: Any) -> Any:
    """Batches of images: random ones to train on, or in order (``batch_size`` None)."""
    if isinstance(dataset, Subset):
        whole: Any = dataset.dataset
        seen = whole.seen[:, np.asarray(dataset.indices)]
    else:
        seen = dataset.seen
    if batch_size is None:
        return OrderedPatternBatches(seen)
    size = seen.shape[1] if batch_size == -1 else batch_size
    return PatternBatches(sets_of_seen(seen), seen, size, rng)


def in_float32(target: np.ndarray, train: Any, criterion: Any) -> np.ndarray:
    """The target as float32 can hold it, where the unit and the zero mean nothing to the loss.

    It is divided by a power of two, which is exact, once what is far from zero is moved there.
    """
    if not getattr(criterion, "any_unit", False):
        return target
    trained = target[train]
    low, high = (most.reduce(trained, initial=np.nan) for most in (np.fmin, np.fmax))
    middle = low / 2 + high / 2
    if getattr(criterion, "any_zero", False) and abs(middle) > FAR * (high / 2 - low / 2):
        target, low, high = target - middle, low - middle, high - middle
    return np.ldexp(target, -exponents_of(np.fmax(high, -low)))


def _target(
    pooling: Any, criterion: Any, patterns: ResponsePatterns, index: np.ndarray
) -> np.ndarray:
    target = target_of_patterns(pooling, patterns, index)
    return in_float32(target, slice(None), criterion)


def _split_images(
    train_split: Any, X: ImagePairs, y: ResponsePatterns
) -> tuple[np.ndarray, np.ndarray | None]:
    every = np.arange(len(y))
    if train_split is None:
        return every, None
    split = next(iter(train_split.split(X.images, y)))
    train, valid = (np.sort(row_numbers(part, len(y))) for part in split)
    both = np.intersect1d(train, valid)
    if len(both):
        raise ValueError(
            f"train_split validates on image {both[0]}, which is a training image as well. Use "
            "ImageShuffleSplit or another splitter of sklearn_rdm.model_selection."
        )
    return train, valid


def _in_pairs(seen: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Those of some images that a subject has seen with another of them, ascending."""
    sets = sets_of_seen(seen[:, images])
    return images[np.sort(np.concatenate([np.empty(0, dtype=np.intp), *sets]))]


def _learned(net: Any, seen: np.ndarray) -> np.ndarray:
    """Which images each subject has seen, of those whom the net's pooling has learned."""
    mean = getattr(net.subject_pooling_, "mean_", None)
    return seen if mean is None else seen[~np.isnan(mean)]
