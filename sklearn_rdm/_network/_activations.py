"""Compute activations once per image, keep them, and give them out as features."""

from __future__ import annotations

import json
import math
import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from joblib import Memory
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_memory
from torch import Tensor

from sklearn_rdm._network._accelerator import BATCH_SIZE, is_host
from sklearn_rdm._network._backbones import Preprocessing, load_backbone
from sklearn_rdm._network._layouts import to_features
from sklearn_rdm._network._references import (
    References,
    check_reference,
    find_references,
    mean_of_images,
    settle_reference,
)
from sklearn_rdm._network._shards import SHARD_SIZE, map_in_threads, pad_to_shard, shard_threads
from sklearn_rdm._network._trunk import Trunk, check_spatial_pooling
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs
from sklearn_rdm._pairs._images import (
    are_paths,
    check_images,
    image_digests,
    list_images,
    read_image,
)
from sklearn_rdm._pairs._process import ONE_AT_A_TIME

__all__ = [
    "LayerActivations",
    "allocate",
    "check_image_source",
    "compute_rows",
    "keep_frozen",
    "load_photographs",
]

MEMORY_BUDGET = 2 << 30  # bytes of one array of activations; a larger one goes to a temporary file
STORED_AT_ONCE = 256  # images; what a killed process loses at most


class LayerActivations(TransformerMixin, BaseEstimator):
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
default=None
        An image whose activations are subtracted from those of every image: a blank one of this
        colour (0..1) or of each image's own background (:class:`ImagePairs` holds it; "auto": if
        that given to ``fit`` does), or the pixel-wise mean of the images given to ``fit``.
    spatial_pooling : int or (height, width), default=None
        Maps are averaged to this many places per channel; smaller ones, and layers without a
        map, stay as they are. None keeps all places.
    device : str, default="cpu"
        Where the network runs.
    memory : str, path or joblib.Memory, default=None
        Folder in which activations of images are kept; shared by folds, candidates and workers.
        Those of paths and folders are not: decode these first, with :func:`read_images`.
    random_state : int, RandomState or None, default=None
        Seeds random weights (``weights=None``).

    Attributes
    ----------
    layer_slices_ : dict of str to slice
        The features that each layer fills.
    n_features_out_ : int
        Number of features per image.
    reference_ : str, (r, g, b) or None
        As given; of "auto", what the images given to ``fit`` made of it.
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
        reference: Any = None,
        spatial_pooling: Any = None,
        device: str = "cpu",
        memory: Any = None,
        random_state: Any = None,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.image_size = image_size
        self.fully_convolutional = fully_convolutional
        self.reference = reference
        self.spatial_pooling = spatial_pooling
        self.device = device
        self.memory = memory
        self.random_state = random_state

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
        one = self.layers is None or isinstance(self.layers, str)
        layers = [self.layers] if one else list(self.layers)
        check_reference(self.reference)
        pooling = check_spatial_pooling(self.spatial_pooling)
        if not layers:
            raise ValueError("layers is empty: name at least one, or give None for the last.")
        X = _pairs_or_images(X)
        with ONE_AT_A_TIME:
            sizes = self._load(layers, pooling)
        self.reference_ = settle_reference(self.reference, X)
        self.mean_image_ = None
        if isinstance(self.reference, str) and self.reference == "mean":
            images, rows = _used_images(X)
            self.mean_image_ = mean_of_images(load_photographs(images, self.preprocessing_), rows)
        ends = np.cumsum(sizes).tolist()
        names = [layer or node for layer, node in zip(layers, self.trunk_.layers, strict=True)]
        self.layer_slices_ = {
            name: slice(end - size, end) for name, size, end in zip(names, sizes, ends, strict=True)
        }
        self.n_features_out_ = ends[-1]
        return self

    def _load(self, layers: list[str | None], pooling: tuple[int, int] | None) -> list[int]:
        """Build the network up to these layers; how many features each of them has."""
        backbone = load_backbone(
            self.backbone,
            self.weights,
            image_size=self.image_size,
            fully_convolutional=self.fully_convolutional,
            random_state=self.random_state,
        )
        self.preprocessing_ = backbone.preprocessing
        self.trunk_ = Trunk(backbone, layers).requires_grad_(False)
        self.trunk_.to(device=self.device)
        blank = torch.zeros(1, 3, *self.preprocessing_.size, device=self.device)
        with torch.no_grad():
            return [features.shape[1] for features in self._features(blank, pooling)]

    def transform(self, X: Any) -> Any:
        """Compute the activations of images.

        Parameters
        ----------
        X : ImagePairs, array-like of images or of their paths, or a folder
            Photographs, in the shapes of :meth:`fit`.

        Returns
        -------
        features : ImagePairs or ndarray of float32, shape (n_images, n_features)
            For pairs, the same pairs of the features of their images (other images of the array
            are neither computed nor kept); for images, their features in the order given.

        Raises
        ------
        ValueError
            If these are no RGB photographs, uint8 or float in 0..1, or a file cannot be decoded.
        """
        check_is_fitted(self, "trunk_")
        X = _pairs_or_images(X)
        images, rows = _used_images(X)
        references = find_references(
            self.reference_, X, len(images), self.preprocessing_, self.mean_image_
        )
        load = load_photographs(images, self.preprocessing_)

        def compute(some: np.ndarray) -> np.ndarray:
            return compute_rows(self._flat_activations, load, some, self.device)

        settings = f"{self.preprocessing_}{check_spatial_pooling(self.spatial_pooling) or ''}"
        folder = store_folder(self.memory, self.trunk_, "whole", settings, self.device)
        with shard_threads():
            if folder is None or are_paths(images):
                features = compute(rows)
            else:
                stored, places = stored_rows(folder, images, rows, compute)
                features = allocate((len(places), *stored.shape[1:]))
                np.take(stored, places, axis=0, out=features, mode="clip")  # "raise" copies
            if references is not None:
                self._subtract(features, references, rows)
        if not isinstance(X, ImagePairs):
            return features
        groups = None if X.image_groups is None else X.image_groups[rows]
        return ImagePairs(features, np.searchsorted(rows, X.index), image_groups=groups)

    def _flat_activations(self, inputs: Tensor) -> Tensor:
        pooling = check_spatial_pooling(self.spatial_pooling)
        return torch.cat(self._features(inputs, pooling), dim=1)

    def _features(self, inputs: Tensor, pooling: tuple[int, int] | None) -> list[Tensor]:
        read = zip(self.trunk_(inputs), self.trunk_.layouts, strict=True)
        return [to_features(values, layout, pooling) for values, layout in read]

    def _subtract(self, features: np.ndarray, references: References, rows: np.ndarray) -> None:
        subtracted = compute_rows(
            self._flat_activations,
            lambda some: references.images[some],
            np.arange(len(references.images)),
            self.device,
        )
        for start in range(0, len(rows), SHARD_SIZE):  # all at once would need a copy of features
            shard = slice(start, start + SHARD_SIZE)
            features[shard] -= subtracted[references.of_image[rows[shard]]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _pairs_or_images(X: Any) -> Any:
    """Pairs of what is given as two images, or two paths, each; all else as it is."""
    if isinstance(X, ImagePairs) or are_paths(X):
        return X
    X = X if isinstance(X, np.ndarray) else np.asarray(X)
    are_pairs = X.ndim in (2, 5) and X.shape[1] == 2 and (X.ndim == 5 or X.dtype.kind in "UO")
    return as_pairs(X) if are_pairs else X


def _used_images(X: Any) -> tuple[Any, np.ndarray]:
    """Images, and which of them are needed."""
    if isinstance(X, ImagePairs):
        return X.images, X.used_images
    images = check_image_source(X)
    return images, np.arange(len(images))


def check_image_source(images: Any) -> Any:
    """Return an image array, or a list of the paths of image files."""
    return list_images(images) if are_paths(images) else check_images(images)


def load_photographs(images: Any, preprocessing: Preprocessing) -> Callable[[np.ndarray], Tensor]:
    """Return what makes network inputs of some rows of an image array or of a list of paths."""
    if are_paths(images):
        return lambda rows: torch.cat([preprocessing(read_image(images[i])[None]) for i in rows])
    return lambda rows: preprocessing(images[rows])


def compute_rows(
    function: Callable[[Tensor], Tensor],
    load: Callable[[np.ndarray], Tensor],
    rows: np.ndarray,
    device: Any = "cpu",
    *,
    subtracted: Tensor | None = None,
    subtracted_of: np.ndarray | None = None,
    finish: Callable[[Tensor], Tensor] | None = None,
) -> np.ndarray:
    """Stack ``function(load(shard))`` over shards of ``rows``, without gradients, as float32.

    Parameters
    ----------
    function, load, device
        The network, what makes its inputs of some rows, and where it runs.
    rows : ndarray of int
        What to load.
    subtracted, subtracted_of : Tensor and ndarray of int, shape (len(rows),), default=None
        Values to subtract from the results, and which of them from those of each row.
    finish : callable, default=None
        What is done with the results of a shard then.
    """
    size = SHARD_SIZE if is_host(device) else BATCH_SIZE
    starts = range(0, len(rows), size)

    def load_padded(start: int) -> Tensor:
        return pad_to_shard(load(rows[start : start + size]))

    def run(start: int, inputs: Tensor) -> np.ndarray:
        shard = slice(start, start + size)
        with torch.no_grad():
            values = function(inputs.to(device, non_blocking=True)).float()
            if subtracted is not None and subtracted_of is not None:
                which = pad_to_shard(torch.from_numpy(subtracted_of[shard])).to(device)
                values = values - subtracted[which]
            if finish is not None:
                values = finish(values)
            return values[: len(rows[shard])].cpu().numpy()

    first = run(0, load_padded(0))
    out = allocate((len(rows), *first.shape[1:]))
    out[: len(first)] = first

    def load_and_fill(start: int) -> None:
        out[start : start + size] = run(start, load_padded(start))

    if is_host(device):
        for _ in map_in_threads(load_and_fill, starts[1:]):
            pass
    else:  # one forward pass at a time, while threads decode what follows
        for start, inputs in zip(starts[1:], map_in_threads(load_padded, starts[1:]), strict=True):
            out[start : start + size] = run(start, inputs)
    return out


def allocate(shape: Sequence[int]) -> np.ndarray:
    """Empty float32 array, in a temporary file if it exceeds the budget."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= MEMORY_BUDGET:
        return np.empty(shape, dtype=np.float32)
    handle, path = tempfile.mkstemp(prefix="sklearn_rdm_")
    os.close(handle)
    array = np.memmap(path, np.float32, "w+", shape=tuple(shape))
    weakref.finalize(array, os.unlink, path)  # until then worker processes can map it by its name
    return array


def keep_frozen(
    trunk: Trunk,
    images: np.ndarray,
    rows: np.ndarray,
    preprocessing: Preprocessing,
    *,
    memory: Any = None,
    device: Any = "cpu",
) -> tuple[Any, np.ndarray]:
    """Compute what the frozen prefix makes of some images, once.

    Parameters
    ----------
    trunk, preprocessing
        The cut network and what feeds it.
    images, rows : ndarray
        Photographs, and which of them are needed.
    memory : str, path or joblib.Memory, default=None
        Where the result is kept and looked up first, if any layer is frozen.

    Returns
    -------
    inputs : array-like
        Inputs of ``trunk.suffix``, to be indexed by arrays of places.
    places : ndarray of int, shape (len(rows),)
        Where in ``inputs`` the images are.
    """
    load = load_photographs(images, preprocessing)

    def compute(some: np.ndarray) -> np.ndarray:
        return compute_rows(trunk.prefix, load, some, device)

    if trunk.has_prefix:
        folder = store_folder(memory, trunk, "prefix", preprocessing, device)
        if folder is not None:
            return stored_rows(folder, images, rows, compute)
    elif 12 * len(rows) * np.prod(preprocessing.size) > MEMORY_BUDGET:
        return _Photographs(load), rows  # decoding again is cheaper than reading floats from disk
    return compute(rows), np.arange(len(rows))


class _Photographs:
    """Network inputs made of photographs each time they are asked for."""

    def __init__(self, load: Callable[[np.ndarray], Tensor]) -> None:
        self.load = load

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.load(rows).numpy()


def store_folder(
    memory: Any, trunk: Trunk, part: Literal["prefix", "whole"], settings: Any, device: Any
) -> Path | None:
    """Folder of one network's activations below a joblib memory, None without one.

    ``settings`` are what the activations depend on besides the network, such as preprocessing; on
    a GPU, they are rounded otherwise.
    """
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    if not isinstance(memory, Memory):
        raise TypeError(f"memory must be a folder or a joblib.Memory, got {memory!r}.")
    if memory.location is None:
        return None
    where = "" if is_host(device) else torch.device(device).type
    key = f"{trunk.key(part)}{settings}{where}"
    name = image_digests([np.frombuffer(key.encode(), np.uint8)])[0]
    return Path(memory.location) / "sklearn_rdm" / name.tobytes().hex()


def stored_rows(
    folder: Path,
    images: np.ndarray,
    rows: np.ndarray,
    compute: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Look images up by content in a store on disk, computing and adding those it lacks.

    The store is two files that only grow: rows of activations, and one digest per row that is
    written after its row. A row without its digest, left by a killed process, is overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests = [digest.tobytes() for digest in image_digests(images[row] for row in rows)]
    with FileLock(folder / "lock"):
        place = {digest: i for i, digest in enumerate(_stored_digests(folder))}
        missing = {d: row for d, row in zip(digests, rows, strict=True) if d not in place}
        for start in range(0, len(missing), STORED_AT_ONCE):
            new = list(missing)[start : start + STORED_AT_ONCE]
            _append(folder, len(place), new, compute(np.array([missing[d] for d in new])))
            place |= {digest: len(place) + i for i, digest in enumerate(new)}
    shape = json.loads((folder / "shape.json").read_text())
    activations = np.memmap(
        folder / "activations.float32", np.float32, "r", shape=(len(place), *shape)
    )
    return activations, np.array([place[digest] for digest in digests])


def _stored_digests(folder: Path) -> list[bytes]:
    try:
        shape = json.loads((folder / "shape.json").read_text())
        n_whole = (folder / "activations.float32").stat().st_size // (4 * math.prod(shape))
        content = (folder / "digests").read_bytes()[: 16 * n_whole]
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    return [content[i : i + 16] for i in range(0, len(content) - 15, 16)]


def _append(folder: Path, n_stored: int, digests: list[bytes], activations: np.ndarray) -> None:
    if n_stored == 0:
        (folder / "shape.json").write_text(json.dumps(activations.shape[1:]))
    _write_at(folder / "activations.float32", n_stored * activations[0].nbytes, activations.data)
    _write_at(folder / "digests", n_stored * 16, b"".join(digests))


def _write_at(path: Path, position: int, content: bytes | memoryview) -> None:
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(position)
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
