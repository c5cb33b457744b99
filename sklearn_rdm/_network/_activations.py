"""Activations of a fixed network as features of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._features import Pooling, check_pooling, to_features
from sklearn_rdm._network._forward import Photographs, Run, compute_rows
from sklearn_rdm._network._frozen import keep_rows, store_key
from sklearn_rdm._network._references import (
    check_reference,
    find_references,
    mean_of_images,
    settle_reference,
)
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._store import has_location
from sklearn_rdm._network._trunk import Trunk
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._fit_tasks import FitTaskMixin
from sklearn_rdm._pairs._image_pairs import as_pairs
from sklearn_rdm._pairs._images import are_paths
from sklearn_rdm._pairs._lazy_images import LazyImages, as_lazy
from sklearn_rdm._pairs._leaks import TrainingPairs, warn_of_leak_in_validation
from sklearn_rdm._pairs._process import ONE_AT_A_TIME
from sklearn_rdm._pairs._progress import showing_progress

__all__ = ["LayerActivations"]


class LayerActivations(FitTaskMixin, TransformerMixin, BaseEstimator):
    """Activations of a fixed, pretrained network as features of images.

    The first step of every classical RSA baseline:
    ``make_pipeline(LayerActivations("alexnet", "conv5"), FixedRSARegressor())``.

    Parameters
    ----------
    backbone : str or callable, default="alexnet"
        As in :class:`SiameseRDMRegressor`, like all parameters that have the same name.
    layers : str or list of str, default=None
        Read-out layers; the activations of several are concatenated. None reads the input of the
        network's last layer with parameters.
    weights : str, path or None, default="DEFAULT"
        Weights of the network.
    image_size : int or (height, width), default=None
        Input size in pixels; None takes the weights' own resizing and centre crop.
    fully_convolutional : bool, default=False
        Whether AlexNet's and VGG's fully connected layers slide over maps of any size.
    reference : {"auto", "background", "mean", "white", "grey", "black"}, (r, g, b) or None, \
default="auto"
        An image whose activations are subtracted from those of every image: a blank one of this
        colour (0..1) or of each image's own background (:class:`ImagePairs` holds it), or the
        pixel-wise mean of the images given to ``fit``. "auto" is "background" if the images given
        to ``fit`` state theirs, and none if they do not: as in :class:`SiameseRDMRegressor`, so
        that a baseline and a trained network differ by training alone.
    spatial_pooling : int or (height, width), default=None
        Maps are averaged to this many places per channel; smaller ones, and vectors, stay
        as they are. None keeps all places.
    tokens : {"all", "cls", "mean"}, default="all"
        Which tokens of a transformer are kept: all, the class token, or the mean of those of the
        patches. Layers that are vectors stay as they are.
    layout : {"channels_first", "channels_last", "tokens", "vector"}, dict or None, default=None
        Which axes of activations are which, for all layers with this number of axes or for layers
        by name, where this cannot be detected: ``(n_images, n_channels, height, width)``,
        ``(n_images, height, width, n_channels)``, ``(n_images, n_tokens, n_channels)``,
        ``(n_images, n_features)``.
    n_prefix_tokens : int, default=None
        How many tokens come before those of the patches, the first of them a class token. None
        detects it.
    device : str, default="cpu"
        Where the network runs.
    memory : str, path or joblib.Memory, default=None
        Folder in which activations of images are kept; shared by folds, candidates and workers.
    random_state : int, RandomState or None, default=None
        Seeds random weights (``weights=None``).
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    layer_slices_ : dict of str to slice
        The features that each layer fills.
    n_features_out_ : int
        Number of features per image.
    reference_ : str, (r, g, b) or None
        As given; instead of "auto", "background" or None, whichever holds for the images of
        ``fit``.
    mean_image_ : Tensor of shape (1, 3, height, width) or None
        With ``reference="mean"``, the mean input over the images of ``fit``.
    preprocessing_ : Preprocessing
        How photographs become the network's input.
    trunk_ : Trunk
        The network up to its last read-out layer.

    See Also
    --------
    SiameseRDMRegressor : Trains the network instead of reading it out as it is.
    PerImage : Scales these features, fitted on the images of the training pairs only.

    Examples
    --------
    >>> from sklearn_rdm import LayerActivations
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> images = make_rdm_regression(n_images=4, random_state=0).images
    >>> features = LayerActivations("alexnet", "conv2", weights=None, random_state=0)
    >>> features.fit_transform(images).shape
    (4, 139968)
    """

    def __init__(
        self,
        backbone: Any = "alexnet",
        layers: Any = None,
        *,
        weights: Any = "DEFAULT",
        image_size: Any = None,
        fully_convolutional: bool = False,
        reference: Any = "auto",
        spatial_pooling: Any = None,
        tokens: str = "all",
        layout: Any = None,
        n_prefix_tokens: int | None = None,
        device: str = "cpu",
        memory: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.image_size = image_size
        self.fully_convolutional = fully_convolutional
        self.reference = reference
        self.spatial_pooling = spatial_pooling
        self.tokens = tokens
        self.layout = layout
        self.n_prefix_tokens = n_prefix_tokens
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> LayerActivations:  # noqa: ARG002
        """Load the network; nothing but the reference is learned.

        Parameters
        ----------
        X : ImagePairs, array-like of images or of their paths, or a folder
            Of shape ``(n_images, height, width, 3)`` or ``(n_images,)``, or for pairs
            ``(n_pairs, 2, height, width, 3)`` or ``(n_pairs, 2)``.
            Read for ``reference="auto"`` and "mean" only; of pairs, the images that occur in one.
        y : None
            Ignored.

        Returns
        -------
        self : LayerActivations
            Ready to transform.

        Raises
        ------
        TypeError, ValueError
            If the backbone or a layer is unknown (the valid names are listed), if a factory
            returns no :class:`torch.nn.Module`, or if the weights or the reference do not fit.
        OSError
            If weights must be downloaded and cannot be, or a weights file is missing.
        ImportError
            If the extra that holds the backbone, or reads the weights file, is not installed.
        """
        layers = _as_list(self.layers)
        check_reference(self.reference)
        pooling = check_pooling(self.spatial_pooling, self.tokens)
        if not layers:
            raise ValueError("layers is empty: name at least one, or give None for the last.")
        X = _pairs_or_images(X)
        with ONE_AT_A_TIME:
            sizes = self._load(layers, pooling)
        self.reference_ = settle_reference(self.reference, X)
        self.mean_image_ = None
        if isinstance(self.reference, str) and self.reference == "mean":
            photographs = Photographs(X, self.preprocessing_)
            rows = _used_rows(X, len(photographs))
            self.mean_image_ = mean_of_images(photographs.load, rows)
        if isinstance(X, ImagePairs):
            self._training_pairs_ = TrainingPairs(X)
        ends = np.cumsum(sizes).tolist()
        names = [layer or node for layer, node in zip(layers, self.trunk_.layers, strict=True)]
        self.layer_slices_ = {
            name: slice(end - size, end) for name, size, end in zip(names, sizes, ends, strict=True)
        }
        self.n_features_out_ = ends[-1]
        return self

    def _load(self, layers: list[str | None], pooling: Pooling) -> list[int]:
        """Build the network up to these layers; how many features each of them has."""
        backbone = load_backbone(
            self.backbone,
            self.weights,
            image_size=self.image_size,
            fully_convolutional=self.fully_convolutional,
            random_state=self.random_state,
        )
        self.preprocessing_ = backbone.preprocessing
        stated = {"layout": self.layout, "n_prefix_tokens": self.n_prefix_tokens}
        self.trunk_ = Trunk(backbone, layers, **stated).requires_grad_(False)
        self.trunk_.to(device=self.device)
        blank = torch.zeros(1, 3, *self.preprocessing_.size, device=self.device)
        with torch.no_grad():
            return [features.shape[1] for features in self._layer_features(blank, pooling)]

    def transform(self, X: Any) -> Any:
        """Compute the activations of images.

        Parameters
        ----------
        X : ImagePairs, array-like of images or of their paths, or a folder
            Photographs, in the shapes of :meth:`fit`.

        Returns
        -------
        features : ImagePairs or ndarray of float32, shape (n_images, n_features)
            For pairs, the same pairs with features in the place of images (of images that occur in
            a pair only); for images, their features in the order given.

        Raises
        ------
        ValueError
            If these are not RGB photographs, uint8 or float in 0..1, or a file cannot be decoded.
        """
        check_is_fitted(self, "trunk_")
        X = _pairs_or_images(X)
        warn_of_leak_in_validation(self, X)
        photographs = Photographs(X, self.preprocessing_)
        rows = _used_rows(X, len(photographs))
        with shard_threads(), showing_progress(self.verbose):
            features = self._features(X, photographs, rows)
        if not isinstance(X, ImagePairs):
            return features
        groups = None if X.image_groups is None else X.image_groups[rows]
        return ImagePairs(features, np.searchsorted(rows, X.index), image_groups=groups)

    def _features(self, X: Any, photographs: Photographs, rows: np.ndarray) -> np.ndarray:
        run: Run = self._run
        load, device = photographs.load, self.device
        if has_location(self.memory):
            pooling = check_pooling(self.spatial_pooling, self.tokens)
            settings = f"{self.preprocessing_}{pooling}{self.trunk_.axes}"
            key = store_key(self.trunk_, "whole", settings, device)
            kept = keep_rows(run, photographs, rows, memory=self.memory, key=key, device=device)
            load, run, device = kept.load, _as_it_is, "cpu"
        references = find_references(
            self.reference_, X, len(photographs), self.preprocessing_, self.mean_image_
        )
        if references is not None:
            values = references.values(self._run, self.device).to(device)
            run = references.subtracted(run, values)
        return compute_rows(load, run, rows, device)

    def _run(self, inputs: Tensor, _: np.ndarray) -> Tensor:
        pooling = check_pooling(self.spatial_pooling, self.tokens)
        return torch.cat(self._layer_features(inputs, pooling), dim=1)

    def _layer_features(self, inputs: Tensor, pooling: Pooling) -> list[Tensor]:
        layers = zip(self.trunk_(inputs), self.trunk_.axes, strict=True)
        return [to_features(values, axes, pooling) for values, axes in layers]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _as_list(layers: Any) -> list[str | None]:
    names = [layers] if not isinstance(layers, Iterable) or isinstance(layers, str) else [*layers]
    if not all(isinstance(name, str | None) for name in names):
        raise ValueError(
            f"layers must be None, the name of a layer, or names of several, got {layers!r}."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"layers names a layer twice: {layers!r}. Give each once.")
    return names


def _pairs_or_images(X: Any) -> Any:
    """Pairs of what is given as two images, or two paths, each; all else as it is."""
    X = as_lazy(X)
    if isinstance(X, ImagePairs | LazyImages) or are_paths(X):
        return X
    X = X if isinstance(X, np.ndarray) else np.asarray(X)
    are_pairs = X.ndim in (2, 5) and X.shape[1] == 2 and (X.ndim == 5 or X.dtype.kind in "UO")
    return as_pairs(X) if are_pairs else X


def _used_rows(X: Any, n_images: int) -> np.ndarray:
    """Which of the images are needed."""
    return X.used_images if isinstance(X, ImagePairs) else np.arange(n_images)


def _as_it_is(inputs: Tensor, _: np.ndarray) -> Tensor:
    return inputs
