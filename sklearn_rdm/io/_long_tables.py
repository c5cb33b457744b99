"""Matrices to and from long tables, one row a pair."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_rdm._pairs._dissimilarities import as_real
from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm.io._budget import Budget
from sklearn_rdm.io._labels import (
    as_labels,
    check_labels,
    check_spellings,
    distinct_labels,
    refuse_time_courses,
)
from sklearn_rdm.io._mat import as_square
from sklearn_rdm.io._rdm_files import read_long

__all__ = ["from_long_table", "to_long_table"]


def from_long_table(
    table: Any,
    *,
    images: tuple[str, str] = ("image_1", "image_2"),
    dissimilarity: str = "dissimilarity",
    subject: str | None = None,
    image_names: Any = None,
    max_bytes: int | None = None,
) -> Bunch:
    """Make dissimilarity matrices of a table with one row per pair of images.

    Parameters
    ----------
    table : pandas.DataFrame or path
        Or a ``.csv`` or ``.tsv`` file, in which "NA", "nan" or an empty cell is a missing value,
        but "NA" a name like any other. The two images of a row may come in either order; rows that
        compare an image with itself are not read.
    images : tuple of two str, default=("image_1", "image_2")
        The columns that name the two images.
    dissimilarity : str, default="dissimilarity"
        The column of values.
    subject : str, default=None
        The column that names the subject; None means one subject.
    image_names : sequence of str, default=None
        All images, in the order wanted; the table need not name every one. None takes
        the images of the table, sorted as text.
    max_bytes : int, default=None
        How much memory a file may take. None allows 50 times its size, and 256 MB at least. A
        DataFrame is not limited.

    Returns
    -------
    data : Bunch
        ``rdms``: float64 ``(n_images, n_images)``, or ``(n_subjects, n_images, n_images)`` if
        ``subject`` is given; symmetric, zero diagonal, NaN where the table has no such pair.
        ``image_names`` and ``subjects``: lists of str, ``subjects`` sorted, None without
        ``subject``.

    Raises
    ------
    TypeError, ValueError
        If a column or an image is unknown, a name is written in two ways ("cat" and " cat", 1 and
        1.0), a value is no real number or infinite, or a pair has two different values for one
        subject (average repeated trials first); the message names it. If a file is broken, or takes
        more memory than it may.
    ImportError
        If pandas is not installed.

    See Also
    --------
    read_rdms : For files that hold whole matrices.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_rdm.io import from_long_table
    >>> table = pd.DataFrame(
    ...     {"image_1": ["cat", "dog"], "image_2": ["dog", "car"], "dissimilarity": [0.2, 0.9]}
    ... )
    >>> from_long_table(table, image_names=["cat", "dog", "car"]).rdms
    array([[0. , 0.2, nan],
           [0.2, 0. , 0.9],
           [nan, 0.9, 0. ]])
    """
    columns = [*images, *([subject] if subject else [])]
    if not isinstance(table, str | os.PathLike):
        return _from_table(table, columns, dissimilarity, image_names, "the table", None)
    path = Path(table)
    budget = Budget(path, max_bytes)
    table = read_long(path, columns, dissimilarity, budget)
    return _from_table(table, columns, dissimilarity, image_names, repr(str(path)), budget)


def _from_table(
    table: Any,
    columns: list[str],
    dissimilarity: str,
    image_names: Any,
    source: str,
    budget: Budget | None,
) -> Bunch:
    """Matrices of a table whose columns name the two images, and maybe the subject."""
    _check_columns(table, columns, dissimilarity, source)
    first, second = (_texts(table[column]) for column in columns[:2])
    names = distinct_labels(
        np.union1d(first, second) if image_names is None else image_names, "image_names"
    )
    check_spellings(names, source)
    rows = {name: row for row, name in enumerate(names)}
    unknown = sorted({*first, *second} - set(rows))
    if unknown:
        raise ValueError(f"{source} has images that are not in image_names: {unknown[:5]}.")
    subjects, which = _subjects(table, columns[2:])
    if budget is not None:
        n_values = len(subjects) * len(names) ** 2
        budget.spend(n_values, f"{source}: matrices of {len(subjects)} x {len(names)} images")
    i, j = (np.array([rows[name] for name in side], dtype=np.intp) for side in (first, second))
    values = as_real(table[dissimilarity], f"{dissimilarity!r} of {source}")
    _check_not_infinite(i, j, values, names, source)
    rdms = np.full((len(subjects), len(names), len(names)), np.nan)
    rdms[which, i, j] = rdms[which, j, i] = values
    _check_repeats(rdms, which, i, j, values, names, source)
    rdms[:, range(len(names)), range(len(names))] = 0
    if len(columns) == 2:
        return Bunch(rdms=rdms[0], image_names=names, subjects=None)
    return Bunch(rdms=rdms, image_names=names, subjects=subjects.tolist())


def _subjects(table: Any, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Names of subjects, and which of them each row is of; one without a column of them."""
    if not columns:
        return np.array([""]), np.zeros(len(table), dtype=np.intp)
    who = _texts(table[columns[0]])
    return np.unique(who.astype(str), return_inverse=True)


def _texts(column: Any) -> np.ndarray:
    """Names as text; whole numbers without a point, which pandas adds beside missing ones."""
    values = column.to_numpy()
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        column = column.astype(np.int64)
    return column.astype(str).to_numpy(dtype=object)


def to_long_table(
    rdms: Any,
    *,
    image_names: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
) -> Any:
    """Make a table with one row per pair of images, the inverse of :func:`from_long_table`.

    Parameters
    ----------
    rdms : array-like
        As in :meth:`sklearn_rdm.ImagePairs.from_rdms`: square or condensed, one or several
        subjects. Of time courses, give one time point, ``rdms[:, t]``, or the mean over time.
    image_names, subjects : sequence of str, default=None
        One name per image and per subject; None numbers them from 0.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``image_1``, ``image_2``, ``dissimilarity``, and ``subject`` if ``rdms`` has a
        subject axis. Upper triangle row by row; pairs that are NaN are left out.

    Raises
    ------
    ValueError
        If the names do not fit the matrices, or these have a time axis, are not symmetric or hold
        infinity.
    ImportError
        If pandas is not installed.

    See Also
    --------
    write_rdms : Keeps matrices in fewer bytes.

    Examples
    --------
    >>> from sklearn_rdm.io import to_long_table
    >>> to_long_table([0.2, 0.7, 0.9], image_names=["cat", "dog", "car"])
      image_1 image_2  dissimilarity
    0     cat     dog            0.2
    1     cat     car            0.7
    2     dog     car            0.9
    """
    pandas = import_optional("pandas", "pandas")
    rdms = as_square(rdms, "rdms")
    refuse_time_courses(rdms, "a long table")
    names = as_labels(range(rdms.shape[-1]) if image_names is None else image_names)
    check_labels(rdms, names, as_labels(subjects))
    i, j = np.triu_indices(rdms.shape[-1], 1)
    values = rdms[..., i, j]
    columns = {"image_1": np.array(names)[i], "image_2": np.array(names)[j]}
    if rdms.ndim == 3:
        columns = {key: np.tile(column, len(rdms)) for key, column in columns.items()}
        who = as_labels(range(len(rdms)) if subjects is None else subjects)
        columns = {"subject": np.repeat(np.array(who), len(i))} | columns
    table = pandas.DataFrame(columns | {"dissimilarity": values.ravel()})
    return table.dropna(subset="dissimilarity").reset_index(drop=True)


def _check_columns(table: Any, labels: list[str], dissimilarity: str, source: str) -> None:
    """Check that it is a DataFrame with these columns, and no row without its labels."""
    if not isinstance(table, import_optional("pandas", "pandas").DataFrame):
        raise TypeError(
            f"table must be a pandas.DataFrame or the path of a file, got {type(table).__name__}."
        )
    missing = [column for column in [*labels, dissimilarity] if column not in table.columns]
    if missing:
        raise ValueError(
            f"{source} has no column {missing[0]!r}, only {list(table.columns)[:20]}. Name the "
            "columns with images=, dissimilarity= and subject=."
        )
    if len(table) == 0:
        raise ValueError(f"{source} has no rows.")
    unlabelled = table[labels].isna().any(axis=1).to_numpy()
    if unlabelled.any():
        raise ValueError(f"row {unlabelled.argmax()} of {source} has no name in {labels}.")


def _check_not_infinite(i: Any, j: Any, values: Any, names: list[str], source: str) -> None:
    infinite = (i != j) & np.isinf(values)
    if infinite.any():
        row = infinite.argmax()
        raise ValueError(
            f"the dissimilarity of {names[i[row]]!r} and {names[j[row]]!r}, row {row} of "
            f"{source}, is infinite: it must be finite, or NaN where it is missing."
        )


def _check_repeats(
    rdms: Any, which: Any, i: Any, j: Any, values: Any, names: list[str], source: str
) -> None:
    differs = (i != j) & ~np.isclose(rdms[which, i, j], values, atol=0, equal_nan=True)
    if differs.any():
        row = differs.argmax()
        raise ValueError(
            f"{source}: {names[i[row]]!r} and {names[j[row]]!r} have two different "
            "dissimilarities for one subject. Average repeated trials first, or name the "
            "column of subjects."
        )
