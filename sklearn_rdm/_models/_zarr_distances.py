"""The dissimilarity matrix of images in blocks, computed by Dask and written to a zarr array."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_rdm._pairs._extras import import_optional

__all__ = ["is_zarr", "write_zarr_distances"]

BLOCK = 2048  # images of a block, if the images are not in blocks


def is_zarr(out: Any) -> bool:
    """Whether a path names a zarr array."""
    return out is not None and Path(out).suffix == ".zarr"


def write_zarr_distances(
    unit_features: Callable[..., np.ndarray], X: Any, out: Any, background: Any = None
) -> Any:
    """One minus the products of unit features of all images, in a zarr array of float32.

    Each block of images is read, and its features are computed, once, by whichever of Dask's
    workers; each block of the upper triangle is then written together with the one that mirrors it.

    Parameters
    ----------
    unit_features : callable
        Makes features of images, ``unit_features(images, background=background)``.
    X : dask.array.Array, or images
        A Dask array is taken in its own blocks of images; of others, all features are computed
        here.
    out : path
        The array appears under this name when it is whole.
    background : str, (r, g, b) or list of one of these per image, default=None
        As in :meth:`SiameseRDMRegressor.transform`.

    Returns
    -------
    rdm : zarr.Array of float32, shape (n_images, n_images)
        Opened to be read.

    Raises
    ------
    FileExistsError
        If there is one of this name: nothing is written over.
    """
    if Path(out).exists():
        raise FileExistsError(f"{os.fspath(out)} exists: delete it, or give another name.")
    dask, zarr = import_optional("dask", "dask"), import_optional("zarr", "dask")
    if type(X).__module__.split(".")[0] == "dask":
        sizes, features = _features_of_blocks(dask, unit_features, X, background)
    else:
        vectors = unit_features(X, background=background)
        sizes = [len(part) for part in np.split(vectors, range(BLOCK, len(vectors), BLOCK))]
        features = [*map(dask.delayed, np.split(vectors, np.cumsum(sizes)[:-1]))]
    partial = Path(f"{os.fspath(out)}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shape, chunks = (sum(sizes),) * 2, (max(sizes),) * 2
        zarr.open(partial, mode="w", shape=shape, chunks=chunks, dtype="float32")
        _compute(dask, _written_blocks(dask, partial, features, sizes))
        os.rename(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return zarr.open(Path(out), mode="r")


def _compute(dask: Any, tasks: list[Any]) -> None:
    """Run all tasks; if one fails in Dask's threads, after those that are at work have ended."""
    if dask.base.get_scheduler() is not None:  # the user's own, or workers
        dask.compute(tasks)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool, dask.config.set(pool=pool):
        dask.compute(tasks)


def _features_of_blocks(
    dask: Any, unit_features: Callable[..., np.ndarray], X: Any, background: Any
) -> tuple[list[int], list[Any]]:
    """Sizes of the blocks of images, and the features of each, to be computed."""
    X = X.rechunk({0: X.chunks[0][0], **dict.fromkeys(range(1, X.ndim), -1)})
    stops = np.cumsum(X.chunks[0]).tolist()
    compute = dask.delayed(unit_features, pure=False)  # the network is sent once, not with each
    tasks = []
    for start, stop, block in zip([0, *stops], stops, X.to_delayed().ravel(), strict=False):
        of_block = background[start:stop] if isinstance(background, list) else background
        tasks.append(dask.delayed(_named)(compute, block, start, of_block))
    return [*map(int, X.chunks[0])], tasks


def _named(
    unit_features: Callable[..., np.ndarray], images: np.ndarray, start: int, background: Any
) -> np.ndarray:
    try:
        return unit_features(np.asarray(images), background=background)
    except ValueError as error:
        where = f"images {start} to {start + len(images) - 1}, counted from {start}"
        raise ValueError(f"{where}: {error}") from error


def _written_blocks(dask: Any, path: Path, features: list[Any], sizes: list[int]) -> list[Any]:
    starts = np.cumsum([0, *sizes]).tolist()
    write = dask.delayed(_write_block)
    return [
        write(path, features[i], features[j], starts[i], starts[j])
        for i in range(len(features))
        for j in range(i, len(features))
    ]


def _write_block(path: Path, first: np.ndarray, second: np.ndarray, row: int, column: int) -> None:
    zarr = import_optional("zarr", "dask")
    block = np.clip(1 - first @ second.T, 0, 2)
    if row == column:
        np.fill_diagonal(block, 0)
    rdm = zarr.open(path, mode="r+")
    rdm[row : row + len(first), column : column + len(second)] = block
    if row != column:
        rdm[column : column + len(second), row : row + len(first)] = block.T
