"""What a trained twin network predicts of pairs and images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNetRegressor
from skorch.utils import to_device, to_numpy
from torch import Tensor

from sklearn_rdm._models._distances import (
    unit_distances,
    unit_pair_distances,
    unit_square_distances,
    write_unit_square_distances,
)
from sklearn_rdm._models._zarr_distances import is_zarr, write_zarr_distances
from sklearn_rdm._network._batches import PairBatch
from sklearn_rdm._network._datasets import pairs_to_predict
from sklearn_rdm._network._image_reader import ImageReader, open_images
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._store import has_location
from sklearn_rdm._network._training_loss import name_constant
from sklearn_rdm._pairs._image_pairs import as_pairs
from sklearn_rdm._pairs._progress import showing_progress
from sklearn_rdm.metrics._strips import Distances

__all__ = ["TwinPredictions"]


class TwinPredictions(NeuralNetRegressor):
    """Predictions of all pairs at once, which skorch would make mini-batch by mini-batch."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict dissimilarities.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...) or (n_pairs, 2) of paths
            Any pairs. Each distinct image is forwarded once.

        Returns
        -------
        dissim : ndarray of float32, shape (n_pairs,)
            ``1 - Pearson r`` of the activations (attenuated by ``noise_ratio``), 0 to 2.
        """
        if isinstance(X, torch.utils.data.Dataset | PairBatch):  # of skorch's callbacks
            return np.concatenate([to_numpy(y) for y in self.forward_iter(X)])
        check_is_fitted(self)
        pairs = as_pairs(X)
        if len(pairs) == 0:
            return np.empty(0, dtype=np.float32)
        used = pairs.used_images
        return unit_pair_distances(
            self._unit_features(pairs, used), np.searchsorted(used, pairs.index)
        )

    def transform(self, X: Any, *, out: Any = None, background: Any = None) -> np.ndarray:
        """Predict the dissimilarity matrix of images.

        Parameters
        ----------
        X : array-like of shape (n_images, height, width, 3), paths, a folder, or ImagePairs
            Images; of pairs, all images of their array.
        out : path, default=None
            A ``.npy`` file to write, for matrices larger than memory, or a ``.zarr`` array, which
            Dask writes block by block; a Dask array of images is then read and computed by Dask's
            workers in its own blocks. The file appears under this name only once it is complete.
        background : str, (r, g, b) or sequence of one of these per image, default=None
            Colour of the display behind the images, as in :class:`ImagePairs`; None takes that of
            the pairs. Read if the activations of a blank image of this colour are subtracted
            (``reference``).

        Returns
        -------
        rdm : ndarray or memmap of float32, shape (n_images, n_images)
            As :meth:`predict` of all pairs; symmetric, zero diagonal. A read-only memmap of the
            file if ``out`` is given, or a zarr array.

        Raises
        ------
        ValueError
            If a file cannot be decoded, an image has constant activations, or the background that
            is subtracted is not known.
        OSError
            If ``out`` cannot be written: its disk space is reserved first, and no partial file is
            left. If ``out`` is a zarr array that exists: it is not overwritten.
        ImportError
            If dask or zarr is not installed, for a zarr array.
        """
        check_is_fitted(self)
        if is_zarr(out):
            return write_zarr_distances(self._unit_features, X, out, background)
        features = self._unit_features(X, background=background)
        if out is not None:
            return write_unit_square_distances(features, out)
        return unit_square_distances(features)

    def embed(self, X: Any, *, background: Any = None) -> np.ndarray:
        """Compute the activations of images at the read-out layer.

        Parameters
        ----------
        X : array-like of shape (n_images, height, width, 3), paths, a folder, or ImagePairs
            As in :meth:`transform`.
        background : str, (r, g, b) or sequence of one of these per image, default=None
            As in :meth:`transform`.

        Returns
        -------
        activations : ndarray of float32, shape (n_images, n_features)
            Flattened with channels first, as torchvision returns them; minus the reference's.
        """
        check_is_fitted(self)
        with shard_threads(), showing_progress(self.verbose):
            reader = self._open(X, background=background)
            return reader.features(np.arange(len(reader.photographs)))

    @property
    def layer_weights_(self) -> np.ndarray:
        check_is_fitted(self)
        return to_numpy(self.module_.trained.weights)

    def forward_iter(self, X: Any, training: bool = False, device: Any = "cpu") -> Iterator[Tensor]:
        """Predict pairs in their order, mini-batch by mini-batch.

        ``predict`` gives the same numbers, but computes each image only once even if the pairs fill
        several mini-batches.

        Parameters
        ----------
        X : ImagePairs or what makes them, or a dataset of pairs
            As in ``predict``.
        training : bool, default=False
            Whether the network is in training mode: read out at ``layer``, with gradients.
        device : str, default="cpu"
            Where the predictions are put.

        Yields
        ------
        dissim : Tensor of float32, shape (n_pairs_of_batch,)
            Correlation distances, 0 to 2.

        Raises
        ------
        ValueError
            If an image has constant activations.
        """
        check_is_fitted(self)
        for batch in self._batches_to_predict(X):
            with shard_threads():
                predicted = self.evaluation_step(batch, training=training)
            if torch.isnan(predicted).any():
                self._raise_constant(batch[0])
            yield to_device(predicted, device=device)

    def _batches_to_predict(self, X: Any) -> Any:
        if isinstance(X, PairBatch):  # skorch's BatchScoring
            return [(X, None)]
        return self.get_iterator(self.get_dataset(pairs_to_predict(X)))

    def infer(self, x: PairBatch, **_: Any) -> Tensor:
        """Predict the pairs of one mini-batch.

        Parameters
        ----------
        x : mini-batch
            The first item of what ``net.get_iterator(net.get_dataset(pairs, dissim))`` yields.
        **_ : dict
            Ignored.

        Returns
        -------
        dissim : Tensor of float32, shape (n_pairs,)
            Correlation distances, 0 to 2.

        Raises
        ------
        TypeError
            If it is no mini-batch.
        """
        if not isinstance(x, PairBatch):
            raise TypeError(
                "infer takes the first item of a mini-batch, as net.get_iterator(net.get_dataset("
                f"pairs, dissim)) gives them, got a {type(x).__name__}. To predict pairs, call "
                "predict."
            )
        return self.module_(x.to(self.device))

    def _open(self, X: Any, rows: np.ndarray | None = None, background: Any = None) -> ImageReader:
        """What is needed to read images; frozen layers' activations are kept if memory is given."""
        return open_images(
            self.module_,
            X,
            rows,
            keep=has_location(self.memory),
            memory=self.memory,
            device=self.device,
            background=background,
        )

    def _open_distances(self, images: Any) -> Distances:
        """Predictions between any of these images, which are forwarded once."""
        check_is_fitted(self)
        return partial(unit_distances, self._unit_features(images))

    def _unit_features(
        self, X: Any, rows: np.ndarray | None = None, background: Any = None
    ) -> np.ndarray:
        """Features of images whose products are correlations; constant ones raise an error."""
        with shard_threads(), showing_progress(self.verbose):
            reader = self._open(X, rows, background)
            rows = np.arange(len(reader.photographs)) if rows is None else rows
            features = reader.unit_features(rows)
        undefined = np.isnan(features[:, 0])
        if undefined.any():
            image = rows[undefined.argmax()]
            raise ValueError(name_constant(image, self.module_.predicting.name))
        return features
