"""Images that stay where they are, on disk or in files, until a row of them is read."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from sklearn_rdm._pairs._images import are_paths, check_size, list_images, read_image
from sklearn_rdm._pairs._lazy_rows import as_rows, is_in_memory, read_rows

__all__ = ["LazyImages"]


class LazyImages:
    """Images in an HDF5 dataset, zarr or Dask array, memory map or files, read when needed.

    Use it in place of an array of images. A slice reads nothing; one image, ``images[3]``, and
    ``np.asarray(images[rows])`` read these images alone. Networks read mini-batch by mini-batch,
    in threads that run ahead of them; what frozen layers make of the images is computed once, as
    always. Estimators of features read the images they need whole.

    HDF5 datasets, zarr and Dask arrays that are given to :class:`ImagePairs` or an estimator become
    lazy by themselves. Wrap them for scikit-learn's tools, which would read each fold whole:
    ``cross_val_score(net, LazyImages(dataset), patterns, cv=KFold(5))``.

    Parameters
    ----------
    source : HDF5 dataset, zarr or Dask array, memmap, list of paths, or folder
        Images of shape (n_images, height, width, 3), or image files. An HDF5 file is opened again
        in each process.
    size : int or (height, width), default=None
        What files are resized to, as in :func:`read_images`; None needs files of one size.

    Attributes
    ----------
    shape : tuple
        Shape that the array would have, ``(n_images, ...)``.
    dtype : dtype
        Its type.

    Raises
    ------
    TypeError, ValueError
        If the source is none of these. A file that is broken, or of another size than the first,
        is named when it is read.

    See Also
    --------
    read_images : Converts files to one array or memory map, with a progress bar. Worth it if images
        are read in many epochs and not frozen layers' activations are.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_rdm import LazyImages
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ["b.png", "a.png", "c.png"]:
    ...         Image.new("RGB", (20, 10)).save(Path(folder) / name)
    ...     images = LazyImages(folder, size=32)
    ...     print(images)
    ...     print(np.asarray(images[1:]).shape)
    LazyImages(3 images of shape (32, 32, 3), uint8, files, read when needed)
    (2, 32, 32, 3)
    """

    is_lazy = True

    def __init__(self, source: Any, size: Any = None) -> None:
        self.size = check_size(size)
        if are_paths(source):
            self.source: Any = list_images(source)
            first = read_image(self.source[0], self.size)
            self._image_shape, self.dtype = first.shape, first.dtype
        else:
            self.source = _check_source(source, size)
            self._image_shape = tuple(map(int, self.source.shape[1:]))
            self.dtype = np.dtype(self.source.dtype)
        self.rows = np.arange(len(self.source) if self._of_files else int(self.source.shape[0]))

    @property
    def _of_files(self) -> bool:
        return isinstance(self.source, list)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self._image_shape)

    @property
    def ndim(self) -> int:
        """Number of axes, that of the images too."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory: the row numbers."""
        return self.rows.nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):  # scikit-learn asks for X[rows, ...]
            if len(key) == 0 or any(k is not Ellipsis for k in key[1:]):
                raise TypeError(
                    f"lazy images are selected by image alone, got the key {key!r}: read them "
                    "first, np.asarray(images[rows])."
                )
            key = key[0]
        rows = self.rows[key]
        if np.ndim(rows) == 0:
            return self._read(np.array([rows]))[0]
        subset = copy.copy(self)
        subset.rows = rows
        return subset

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self._read(self.rows), dtype=dtype)

    def reshape(self, *shape: Any) -> np.ndarray:
        """Read all of these images, and reshape the array.

        Parameters
        ----------
        *shape : int
            As in numpy.

        Returns
        -------
        images : ndarray
            In memory.
        """
        return np.asarray(self).reshape(*shape)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        if not self._of_files:
            return read_rows(self.source, rows, 0)
        images = np.empty((len(rows), *self._image_shape), dtype=self.dtype)
        for place, row in enumerate(rows):
            image = read_image(self.source[row], self.size)
            if image.shape != self._image_shape:
                raise ValueError(
                    f"{self.source[row]!r} is {image.shape[:2]} pixels, {self.source[0]!r} is "
                    f"{self._image_shape[:2]}. Give size=(height, width) to resize all of them."
                )
            images[place] = image
        return images

    def __repr__(self) -> str:
        kind = "files" if self._of_files else type(self.source).__name__
        kind = {"Hdf5Rows": "HDF5 dataset", "Array": "array on disk"}.get(kind, kind)
        return (
            f"LazyImages({len(self)} images of shape {self._image_shape}, {self.dtype}, {kind}, "
            "read when needed)"
        )


def as_lazy(images: Any) -> Any:
    """Wrap what would be read whole otherwise; return all else as it is."""
    if isinstance(images, LazyImages | np.ndarray | list | tuple) or np.isscalar(images):
        return images
    module = type(images).__module__.split(".")[0]
    return LazyImages(images) if module in ("h5py", "zarr", "dask") else images


def _check_source(source: Any, size: Any) -> Any:
    if size is not None:
        raise ValueError("size is for image files: the images of an array have their size already.")
    shape, dtype = getattr(source, "shape", ()), getattr(source, "dtype", None)
    if len(shape) < 2 or not math.prod(shape) or np.dtype(dtype).kind not in "uif":
        raise TypeError(
            "source must be an HDF5 dataset, zarr or Dask array, memory map, folder or list of "
            f"image files, of images (n_images, height, width, 3), got {type(source).__name__}"
            + (f" of shape {tuple(shape)}." if shape else ".")
        )
    rows = as_rows(source)
    if is_in_memory(rows) and not isinstance(source, np.ndarray):
        raise TypeError(f"a {type(source).__name__} cannot be read row by row.")
    return rows
