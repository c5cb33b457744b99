"""MATLAB files: one reader for the two unlike formats that share the suffix ``.mat``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from sklearn_rdm._extras import import_optional

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # MATLAB v7.3 puts a header of 512 bytes before it


def read_mat(path: Any) -> dict[str, np.ndarray]:
    """Read the top-level variables of a ``.mat`` file of any version, axes in MATLAB's order.

    Struct, cell and text variables of v7.3 files are left out; v5 ones come as scipy gives them.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(520)
    is_hdf5 = HDF5_SIGNATURE in (start[:8], start[512:])
    try:
        return _read_hdf5(path) if is_hdf5 else _read_mat5(path)
    except ImportError:
        raise
    except Exception as error:  # scipy's and h5py's errors for broken files have no common type
        raise ValueError(f"{str(path)!r} is no readable MATLAB file: {error}") from error


def _read_mat5(path: Path) -> dict[str, np.ndarray]:
    arrays = scipy.io.loadmat(path)
    return {key: value for key, value in arrays.items() if not key.startswith("__")}


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    h5py = import_optional("h5py", "data")
    with h5py.File(path) as file:
        return {
            key: item[()].T  # HDF5 lists MATLAB's column-major axes backwards
            for key, item in file.items()
            if isinstance(item, h5py.Dataset)
            and item.dtype.kind in "uif"
            and item.attrs.get("MATLAB_class", b"double") not in (b"char", b"cell", b"struct")
        }
