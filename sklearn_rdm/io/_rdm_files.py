"""The formats of files that hold dissimilarity matrices, one pair of functions for each suffix."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm.io._budget import Budget, named
from sklearn_rdm.io._hdf5 import read_parts
from sklearn_rdm.io._mat import read_mat
from sklearn_rdm.io._mat_layouts import LAYOUTS
from sklearn_rdm.io._meadows import read_meadows_json

RSATOOLBOX = {".h5": "hdf5", ".hdf5": "hdf5", ".pkl": "pkl"}  # its name of each format

PARTS = ("dissimilarities", "pattern_descriptors", "rdm_descriptors")  # of its HDF5 files

# Cells without a value, as pandas, R and databases write them. An image may have such a name.
MISSING = ["", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
CELL = 64  # bytes that pandas takes for a cell of text


def read_arrays(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Read all arrays of a file by their names; what a format names none is ``rdms``."""
    readers = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".mat": _read_matlab,
        ".csv": _read_csv,
        ".json": read_meadows_json,
    }
    return readers[_known_suffix(path, readers)](path, budget)


def write_arrays(
    path: Path,
    rdms: np.ndarray,
    names: list[str] | None,
    subjects: list[str] | None,
    layout: str = "arrays",
) -> None:
    """Write square matrices with their labels; the file appears once it is whole."""

    def write_mat(file: Any, *given: Any) -> None:
        scipy.io.savemat(file, LAYOUTS[layout](*given), do_compression=True)

    writers = {".npy": _write_npy, ".npz": _write_npz, ".mat": write_mat, ".csv": _write_csv}
    write = writers[_known_suffix(path, writers)]
    with whole_file(path) as partial, open(partial, "wb") as file:
        write(file, rdms, names, subjects)


def read_long(path: Path, labels: list[str], dissimilarity: str, budget: Budget) -> Any:
    """Read a table with one row per pair; of its ``labels`` only empty ones are missing."""
    pandas = import_optional("pandas", "pandas")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with named(path):
        _count_cells(path, separator, budget)
        table = pandas.read_csv(
            path,
            sep=separator,
            dtype=dict.fromkeys([*labels, dissimilarity], str),  # pandas may round numbers
            keep_default_na=False,
            na_values=dict.fromkeys(labels, [""]) | {dissimilarity: MISSING},
        )
        if dissimilarity in table and len(table):
            table[dissimilarity] = _as_numbers(table[dissimilarity].to_numpy(dtype=object))
        return table


def _count_cells(path: Path, separator: str, budget: Budget) -> None:
    """Count what a table takes, whose first line says how many cells each of its lines becomes."""
    with open(path, "rb") as file:
        first = file.readline()
        _check_separator(first, separator)
        n_columns = 1 + first.count(separator.encode())
        n_lines = 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    budget.spend(n_lines * n_columns, f"a table of {n_lines} lines and {n_columns} columns", CELL)


def _check_separator(first_line: bytes, separator: str) -> None:
    """Refuse tables whose cells are separated by something else, as spreadsheets may do."""
    others = [other for other in ",;\t" if other.encode() in first_line]
    if others and separator not in others:
        raise ValueError(
            f"its cells are separated by {others[-1]!r}, not {separator!r}: save it with "
            f"{separator!r} between cells, and with points in numbers"
        )


def _read_matlab(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file, whose vectors are matrices of one row or one column."""
    arrays = read_mat(path, budget).items()
    return {key: x.ravel() if x.ndim == 2 and 1 in x.shape else x for key, x in arrays}


def read_rsatoolbox(path: Path, budget: Budget) -> Any:
    """Read an ``rsatoolbox.rdm.RDMs``; a pickle can run code, as any pickle."""
    rdm = import_optional("rsatoolbox.rdm", "rsatoolbox")
    with named(path, "an rsatoolbox"):
        if RSATOOLBOX[path.suffix.lower()] == "hdf5":
            parts = read_parts(path, PARTS, budget)
            return rdm.rdms_from_dict({**parts, "descriptors": {}, "dissimilarity_measure": None})
        with open(path, "rb") as file:  # rsatoolbox leaves a file open that it is given by name
            return rdm.load_rdm(file, "pkl")


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


def _read_npy(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    with named(path), open(path, "rb") as file:
        return {"rdms": _read_array(file, budget.file_size, "the array", budget)}


def _read_npz(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    arrays = {}
    with named(path):
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not written by numpy.savez, or not whole")
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name, dot, suffix = member.filename.rpartition(".")
                if suffix == "npy":
                    with archive.open(member) as file:
                        arrays[name] = _read_array(file, member.file_size, repr(name), budget)
    return arrays


def _read_array(file: Any, n_bytes: int, what: str, budget: Budget) -> np.ndarray:
    """An array in numpy's format, in a file of this many bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"{what} is in the unknown version {version} of numpy's format")
    first = version == (1, 0)
    read_header = getattr(np.lib.format, f"read_array_header_{1 if first else 2}_0")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(
            f"{what} holds Python objects, which could run code: save numbers, and names as text, "
            "numpy.array(names, dtype=str)"
        )
    n_values = math.prod(shape)
    budget.spend(n_values, what, dtype.itemsize)
    stated, found = n_values * dtype.itemsize, n_bytes - file.tell()
    if min(shape, default=0) < 0 or stated != found:
        raise ValueError(f"{what} states {stated} bytes of content, but has {found}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_csv(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    pandas = import_optional("pandas", "pandas")
    with named(path):
        _count_cells(path, ",", budget)
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
        other = sorted(map(str, {*rows} ^ {*columns}))
        raise ValueError(
            f"{str(path)!r}: its first row and first column must name the same images, each once. "
            + (f"Only one of them has {other[:5]}." if other else "A name is repeated.")
            + " A table with one row per pair is read by from_long_table (sklearn-rdm: --columns)."
        )
    values = table.mask(table.isin(MISSING)).to_numpy(dtype=object)[1:, 1:]
    with named(path):
        values = _as_numbers(values)
    place = {name: column for column, name in enumerate(columns)}
    return {"rdms": values[:, [place[name] for name in rows]], "image_names": np.array(rows)}


def _as_numbers(cells: np.ndarray) -> np.ndarray:
    """Numbers of cells of text, the nearest float64 of each; Python would read "1_5" as 15."""
    odd = [cell for cell in cells.ravel() if isinstance(cell, str) and "_" in cell]
    if odd:
        raise ValueError(f"could not convert string to float: {odd[0]!r}")
    return cells.astype(np.float64)


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
