"""What a network is trained on if dissimilarities were measured: pairs, split by image."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Subset

from sklearn_rdm._network._batches import PairDataset
from sklearn_rdm._network._datasets import make_dataset
from sklearn_rdm._network._pattern_training import in_float32
from sklearn_rdm._network._weighted_loss import check_takes_weights
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._weights import take_weights
from sklearn_rdm.model_selection._image_splits import leaks, row_numbers
from sklearn_rdm.preprocessing._pooling import fit_pooling

__all__ = ["split_by_image", "split_pairs", "weighted_rows"]


def split_pairs(net: Any, X: ImagePairs, y: np.ndarray) -> tuple[Any, Any]:
    """Split pairs into those that are trained on and validated on, as the net's hook does.

    Parameters
    ----------
    net : TwinTraining
        Its pooling is fitted to the training pairs, and what the network learns of images before
        training is settled.
    X, y : ImagePairs and ndarray
        Pairs and their dissimilarities.
    """
    train, valid = split_by_image(net, X, y)
    learned = weighted_rows(net, train)
    net._settle_pooling(fit_pooling, y, learned, take_weights(net._weights_of_pairs, learned))
    target = net.subject_pooling_.transform(y)
    pooled = _has_target(net, target)
    _check_pooled(pooled, train, valid)
    net._settle_mean_image(X, X[learned].used_images)
    dataset = _labelled_dataset(net, X, target, pooled, train)
    trained = dataset.X if valid is None else X[train[pooled[train]]]
    net._settle(dataset, X, trained.used_images)
    if valid is None:
        return dataset, None
    place = np.cumsum(pooled) - 1
    train_part, valid_part = (place[rows[pooled[rows]]].tolist() for rows in (train, valid))
    return Subset(dataset, train_part), Subset(dataset, valid_part)


def split_by_image(net: Any, X: Any, y: Any) -> tuple[Any, np.ndarray | None]:
    """Rows of the pairs to train on, all without copying any, and to validate on, if any."""
    if net._splitter is None:
        return slice(None), None
    split = next(iter(net._splitter.split(X, y)))
    train, valid = (row_numbers(part, len(X)) for part in split)
    _check_no_leak(X, train, valid)
    return train, valid


def weighted_rows(net: Any, train: Any) -> Any:
    """Those of the training pairs that have a weight."""
    weights = net._weights_of_pairs
    if weights is None:
        return train
    check_takes_weights(net.criterion_)
    rows = np.arange(len(weights))[train]
    return rows[weights[rows] > 0]


def _has_target(net: Any, target: np.ndarray) -> np.ndarray:
    known = ~np.isnan(target)
    return known if net._weights_of_pairs is None else known & (net._weights_of_pairs > 0)


def _labelled_dataset(
    net: Any, X: ImagePairs, target: np.ndarray, pooled: np.ndarray, train: Any
) -> PairDataset:
    """The pairs that have a target, with what frozen layers make of their images."""
    target = in_float32(target, train, net.criterion)
    labelled = slice(None) if pooled.all() else pooled  # which copies nothing
    dataset = make_dataset(net, X[labelled], target[labelled])
    weights = net._weights_of_pairs
    dataset.weights = None if weights is None else np.float32(weights[labelled])
    return dataset


def _check_no_leak(pairs: Any, train: np.ndarray, valid: np.ndarray) -> None:
    leaked = leaks(pairs, train, valid)
    if leaked.any():
        *others, last = pairs.index[valid[leaked.argmax()]].tolist()
        sample, both = ("pair", "both") if len(others) == 1 else ("triplet", "all")
        raise ValueError(
            f"train_split validates on the {sample} of images {', '.join(map(str, others))} and "
            f"{last}, which {both} occur in its training {sample}s: it holds out {sample}s, not "
            "images. Use ImageShuffleSplit or another splitter of sklearn_rdm.model_selection."
        )


def _check_pooled(pooled: np.ndarray, train: Any, valid: np.ndarray | None) -> None:
    for part, rows in (("training", train), ("validation", train if valid is None else valid)):
        if not pooled[rows].any():
            raise ValueError(
                f"no {part} pair was measured by a subject that has two training pairs or more, "
                "from which its scale is learned. Give more pairs, or another train_split."
            )
