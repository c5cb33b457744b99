"""Matrices as files hold them: both formats that share the suffix ``.mat``, and every layout."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from scipy.spatial.distance import squareform

from sklearn_rdm._pairs._dissimilarities import (
    as_real,
    check_not_infinite,
    check_symmetric,
    count_images,
    warn_of_similarity,
)
from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm.io._budget import Budget, named
from sklearn_rdm.io._hdf5 import open_item
from sklearn_rdm.io._mat5 import checked_mat

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # MATLAB v7.3 puts a header of 512 bytes before it
DEEPEST = 20  # structs and cells inside each other


def read_mat(path: Any, budget: Budget | None = None) -> dict[str, np.ndarray]:
    """Read the top-level variables of a ``.mat`` file of any version, axes in MATLAB's order.

    Structs, cells and text come as scipy gives them, from v7.3 files as well.
    """
    path = Path(path)
    budget = budget or Budget(path)
    with open(path, "rb") as file:
        start = file.read(520)
    is_hdf5 = HDF5_SIGNATURE in (start[:8], start[512:])
    with named(path, "a MATLAB"):
        return _read_hdf5(path, budget) if is_hdf5 else _read_mat5(path, budget)


def as_square(rdms: Any, source: str) -> np.ndarray:
    """Return float64 (..., n, n) of square matrices or condensed vectors, symmetric and finite.

    Off the diagonal, that is: what it holds is kept. NaN is a missing value.
    """
    rdms = as_real(rdms, source)
    square = _make_square(rdms, source)
    check_symmetric(square, source, _other_reading(rdms.shape))
    warn_of_similarity(square, source)
    check_not_infinite(square[(..., *np.triu_indices(square.shape[-1], 1))], source)
    return square


def _other_reading(shape: tuple[int, ...]) -> str:
    """Advice on what may be vectors, where ``as_square`` reads this shape as a matrix."""
    n_images = count_images(shape[-1])
    if n_images is None or shape[-2:] != shape[-1:] * 2:
        return ""
    return (
        f" Shape {shape} is read as square, of {shape[-1]} images. If the last axis is the "
        f"{shape[-1]} pairs of {n_images} images, make each vector square first, with "
        "scipy.spatial.distance.squareform."
    )


def _make_square(rdms: np.ndarray, source: str) -> np.ndarray:
    if rdms.ndim == 0:
        raise ValueError(f"{source} must hold matrices, got one number.")
    if rdms.size == 0:
        raise ValueError(
            f"{source} holds no numbers, shape {rdms.shape}: leave it out, or give NaN for a "
            "subject without values."
        )
    rdms = np.ascontiguousarray(rdms)
    if rdms.ndim >= 2 and rdms.shape[-1] == rdms.shape[-2]:
        return rdms
    if rdms.ndim >= 3 and rdms.shape[0] == rdms.shape[1]:  # MATLAB's habit: subjects last
        return np.ascontiguousarray(rdms.T)
    if rdms.ndim == 3 and len(rdms) == 1 and rdms.shape[1] > rdms.shape[2]:
        rdms = rdms[0].T  # 1 x pairs x subjects, as the MATLAB toolbox's vectorizeRDMs has them
    if rdms.ndim > 2 or count_images(rdms.shape[-1]) is None:
        raise ValueError(
            f"{source} must have shape (n, n), (n_subjects, n, n), (n_subjects, n_times, n, n), "
            f"(n_pairs,) or (n_subjects, n_pairs), n_pairs = n * (n - 1) / 2, got {rdms.shape}."
        )
    if rdms.ndim == 2:
        _warn_if_transposed(rdms.shape, source)
    square = np.array([squareform(vector) for vector in np.atleast_2d(rdms)])
    return square[0] if rdms.ndim == 1 else square


def _warn_if_transposed(shape: tuple[int, ...], source: str) -> None:
    """Warn of vectors that may rather be columns, as files of pairs x subjects have them."""
    n_images, other = (count_images(size) for size in shape[::-1])
    if other is not None and other > max(n_images or 0, 2):
        warnings.warn(
            f"{source} of shape {shape} is read as {shape[0]} subjects and the pairs of {n_images} "
            f"images. If it holds {shape[1]} subjects and the pairs of {other} images, transpose "
            "it.",
            UserWarning,
            stacklevel=5,
        )


def _read_mat5(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    arrays = scipy.io.loadmat(io.BytesIO(checked_mat(path.read_bytes(), budget)))
    return {key: value for key, value in arrays.items() if isinstance(value, np.ndarray)}


def _read_hdf5(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    h5py = import_optional("h5py", "data")
    with h5py.File(path) as file:
        arrays = {key: _convert(file, key, budget) for key in file if not key.startswith("#")}
    return {key: value for key, value in arrays.items() if value is not None}


def _convert(parent: Any, key: Any, budget: Budget, depth: int = 0) -> np.ndarray | None:
    """One variable in the form that scipy gives it, HDF5's backward axes turned round."""
    h5py = import_optional("h5py", "data")
    item = open_item(parent, key, budget)
    if depth > DEEPEST:
        raise ValueError(f"variable {item.name!r} is nested more than {DEEPEST} deep")
    if isinstance(item, h5py.Group):
        return _convert_struct(item, budget, depth)
    kind = item.attrs.get("MATLAB_class", b"double")
    if h5py.check_ref_dtype(item.dtype) is not None:  # text is of dtype object as well
        return _follow(item, budget, depth)
    if item.dtype.kind not in "uif" or item.attrs.get("MATLAB_empty", 0):
        return None
    values = np.asarray(item[()]).T
    return _as_text(values) if bytes(kind) == b"char" else values


def _convert_struct(group: Any, budget: Budget, depth: int) -> np.ndarray | None:
    """A struct of one element holds its fields, a struct array references for each field."""
    fields: dict[str, np.ndarray] = {}
    for key in group:
        value = _convert(group, key, budget, depth + 1)
        is_array = value is not None and value.dtype == object
        one_for_each = is_array and "MATLAB_class" not in group[key].attrs
        fields[key] = value if value is not None and one_for_each else _in_cell(value)
    if len({value.shape for value in fields.values()}) != 1:
        return None
    shape = next(iter(fields.values())).shape
    structs = np.empty(shape, dtype=[(key, object) for key in fields])
    for key, value in fields.items():
        structs[key] = value
    return structs


def _in_cell(value: Any) -> np.ndarray:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = np.zeros((0, 0)) if value is None else value
    return cell


def _follow(item: Any, budget: Budget, depth: int) -> np.ndarray:
    references = item[()].T
    cells = np.empty(references.shape, dtype=object)
    for place, reference in np.ndenumerate(references):
        value = _convert(item.file, reference, budget, depth + 1)
        cells[place] = np.zeros((0, 0)) if value is None else value
    return cells


def _as_text(codes: np.ndarray) -> np.ndarray:
    return np.array(["".join(map(chr, row)) for row in np.atleast_2d(codes)])
