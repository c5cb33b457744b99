"""How far a network in training has moved from the dissimilarities of the untrained one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from sklearn_rdm._network._batches import NetworkInputs, PairBatch
from sklearn_rdm._network._frozen import Kept
from sklearn_rdm._network._image_reader import open_images
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._pairs import ImagePairs

__all__ = ["departure", "untrained_features"]


def untrained_features(
    untrained: TwinNetwork, trained: TwinNetwork, pairs: ImagePairs, inputs: NetworkInputs
) -> np.ndarray:
    """What a network that was built anew reads of images, so that products are correlations.

    Parameters
    ----------
    untrained : TwinNetwork
        Built as ``trained`` was; it is given what the training images have settled.
    trained : TwinNetwork
        The network in training.
    pairs : ImagePairs
        The images, for their references.
    inputs : NetworkInputs
        What the frozen layers made of them, which are those of both networks.

    Returns
    -------
    features : ndarray of float32, shape (n_used_images, n_features)
        Of the read-out that is trained, minus the reference's.
    """
    untrained.take_settled(trained)
    device = trained.settled.device
    reader = open_images(untrained.to(device), pairs, keep=False, device=device)
    kept = Kept(inputs.inputs, inputs.images, inputs.places)
    return replace(reader, kept=kept).trained_unit_features(inputs.images)


def departure(y_pred: Tensor, batch: PairBatch) -> Tensor:
    """Mean squared difference between predicted and untrained dissimilarities of a batch.

    Parameters
    ----------
    y_pred : Tensor of shape (n_pairs,) or (n_triplets, 3)
        Predictions; what is infinite, beside a reference, does not count.
    batch : PairBatch
        Its pairs, in this order. Their weights, or those of their triplets, are theirs here too.
    """
    assert batch.untrained is not None
    predicted = y_pred.reshape(-1)
    counts = (~predicted.isinf()).to(predicted.dtype)
    if batch.weights is not None:
        weights = batch.weights.to(predicted.device, non_blocking=True)
        counts = counts * weights.repeat_interleave(len(predicted) // len(weights))
    before = batch.untrained.to(predicted.device, non_blocking=True)
    change = predicted.where(counts > 0, before) - before
    return (counts * change.square()).sum() / counts.sum()
