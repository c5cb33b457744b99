"""The formats of files that hold dissimilarity matrices, one pair of functions for each suffix."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm.io._mat import read_mat

RSATOOLBOX = {".h5": "hdf5", ".hdf5": "hdf5", ".pkl": "pkl"}  # its name of each format

# Cells without a value, as pandas, R and databases write them. An image may have such a name.
MISSING = ["", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file by their names; what a format names none is ``rdms``."""
    readers = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_matlab, ".csv": _read_csv}
    return readers[_known_suffix(path, readers)](path)


def write_arrays(
    path: Path, rdms: np.ndarray, names: list[str] | None, subjects: list[str] | None
) -> None:
    """Write square matrices with their labels; the file appears once it is whole."""
    writers = {".npy": _write_npy, ".npz": _write_npz, ".mat": _write_mat, ".csv": _write_csv}
    write = writers[_known_suffix(path, writers)]
    with whole_file(path) as partial, open(partial, "wb") as file:
        write(file, rdms, names, subjects)


def read_long(path: Path, labels: list[str], dissimilarity: str) -> Any:
    """Read a table with one row per pair; of its ``labels`` only empty ones are missing."""
    pandas = import_optional("pandas", "pandas")
    # pandas 2 loses the last digit of numbers by default; later versions deprecate the parameter
    exact = {"float_precision": "round_trip"} if int(pandas.__version__.split(".")[0]) < 3 else {}
    with _named(path):
        return pandas.read_csv(
            path,
            **exact,
            sep="\t" if path.suffix.lower() == ".tsv" else ",",
            dtype=dict.fromkeys(labels, str),
            keep_default_na=False,
            na_values=dict.fromkeys(labels, [""]) | {dissimilarity: MISSING},
        )


def _read_matlab(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file, whose vectors are matrices of one row or one column."""
    arrays = read_mat(path).items()
    return {key: x.ravel() if x.ndim == 2 and 1 in x.shape else x for key, x in arrays}


def read_rsatoolbox(path: Path) -> Any:
    """Read an ``rsatoolbox.rdm.RDMs``; a pickle can run code, as any pickle."""
    rdm = import_optional("rsatoolbox.rdm", "rsatoolbox")
    with _named(path):
        if RSATOOLBOX[path.suffix.lower()] == "hdf5":
            _check_hdf5(path)
        return rdm.load_rdm(os.fspath(path), RSATOOLBOX[path.suffix.lower()])


def write_rsatoolbox(path: Path, rdms: Any) -> None:
    """Write an ``rsatoolbox.rdm.RDMs``; the file appears once it is whole."""
    with whole_file(path) as partial:
        try:
            rdms.save(os.fspath(partial), RSATOOLBOX[path.suffix.lower()])
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{str(path)!r}: rsatoolbox writes only ASCII names to HDF5, got {error.object!r}. "
                "Write a .pkl, .npz or .mat file, or rename."
            ) from error


def _check_hdf5(path: Path) -> None:
    """Raise an error if the file reaches into other files."""
    h5py = import_optional("h5py", "data")

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise ValueError(f"dataset {name!r} lies in another file.")
        for key in item if isinstance(item, h5py.Group) else ():
            if isinstance(item.get(key, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{name}/{key} is a link to another file.")

    with h5py.File(path) as file:
        check("", file)
        file.visititems(check)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors that its content causes, which have no common type."""
    try:
        yield
    except (ImportError, MemoryError, OSError):  # not the content's fault; no file, no permission
        raise
    except Exception as error:
        kind = path.suffix.lower()
        raise ValueError(f"{str(path)!r} is no readable {kind} file: {error}") from error


def _read_npy(path: Path) -> dict[str, np.ndarray]:
    # numpy.load takes any other file for a pickle, and advises to allow these.
    with _named(path), open(path, "rb") as file:
        return {"rdms": np.lib.format.read_array(file, allow_pickle=False)}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with _named(path), open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not written by numpy.savez, or not whole.")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    pandas = import_optional("pandas", "pandas")
    with _named(path):
        table = pandas.read_csv(path, header=None, dtype=str, keep_default_na=False)
    cells = table.to_numpy(dtype=object)
    rows, columns = list(cells[1:, 0]), list(cells[0, 1:])
    if _is_number(cells[0, 0]):
        raise ValueError(
            f"{str(path)!r} has a number in its first cell, {cells[0, 0]}, but its first row and "
            "first column must name the images. A table without names is an array: "
            "numpy.loadtxt(path, delimiter=',')."
        )
    if len(set(rows)) != len(rows) or sorted(map(str, rows)) != sorted(map(str, columns)):
        raise ValueError(
            f"{str(path)!r}: its first row and first column must name the same images."
        )
    values = table.mask(table.isin(MISSING)).to_numpy(dtype=object)[1:, 1:]
    with _named(path):
        values = values.astype(np.float64)
    rdm = values[:, [columns.index(name) for name in rows]]
    return {"rdms": rdm, "image_names": np.array(rows)}


def _is_number(cell: Any) -> bool:
    try:
        return bool(np.isfinite(float(cell)))  # an empty cell is NaN
    except ValueError:
        return False


def _write_npy(file: Any, rdms: np.ndarray, names: Any, subjects: Any) -> None:
    if names is not None or subjects is not None:
        raise ValueError("a .npy file holds no names: write a .npz file, or leave the names out.")
    np.save(file, rdms)


def _write_npz(file: Any, rdms: np.ndarray, names: Any, subjects: Any) -> None:
    labels = {"image_names": names, "subjects": subjects}
    arrays: dict[str, Any] = {"rdms": rdms}
    arrays |= {key: np.array(value) for key, value in labels.items() if value is not None}
    np.savez_compressed(file, **arrays)


def _write_mat(file: Any, rdms: np.ndarray, names: Any, subjects: Any) -> None:
    # As cells: a MATLAB char matrix would pad all names to one length.
    labels = {"image_names": names, "subjects": subjects}
    given = {key: np.array(value, dtype=object) for key, value in labels.items() if value}
    scipy.io.savemat(file, {"rdms": rdms, **given}, do_compression=True)


def _write_csv(file: Any, rdms: np.ndarray, names: list[str] | None, subjects: Any) -> None:
    pandas = import_optional("pandas", "pandas")
    if rdms.ndim != 2 or names is None or subjects is not None:
        raise ValueError(
            f"a .csv file holds one (n, n) matrix and its image_names, got rdms {rdms.shape}. "
            "Write a .npz file, or to_long_table(rdms).to_csv(path)."
        )
    pandas.DataFrame(rdms, index=names, columns=names).to_csv(file)


def _known_suffix(path: Path, formats: dict[str, Any]) -> str:
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise ValueError(
            f"{str(path)!r} is none of the formats {', '.join([*formats, *RSATOOLBOX])}."
        )
    return suffix
