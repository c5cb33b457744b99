"""Dissimilarity matrices to and from the files and tables that labs keep them in.

Every reader returns a :class:`~sklearn.utils.Bunch` with ``rdms``, ``image_names`` and
``subjects``: row ``i`` of the matrices is image ``image_names[i]``, which makes a wrong order
visible instead of silent.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._images import IMAGE_SUFFIXES
from sklearn_rdm.io._containers import as_texts, find_rdms
from sklearn_rdm.io._mat import as_square
from sklearn_rdm.io._rdm_files import (
    RSATOOLBOX,
    read_arrays,
    read_long,
    read_rsatoolbox,
    write_arrays,
    write_rsatoolbox,
)

__all__ = [
    "from_long_table",
    "from_rsatoolbox",
    "read_rdms",
    "to_long_table",
    "to_rsatoolbox",
    "write_rdms",
]


def read_rdms(
    path: Any,
    *,
    variable: str | None = None,
    names_variable: str | None = None,
    image_names: Any = None,
) -> Bunch:
    """Read dissimilarity matrices from a file.

    Parameters
    ----------
    path : path
        One of

        - ``.npy`` or ``.npz``;
        - ``.mat`` of any MATLAB version (v7.3 needs the extra ``data``): arrays, cell arrays, and
          struct arrays of the MATLAB RSA toolbox (``RDMs(i).RDM``, ``RDMs(i).name``). Struct
          arrays of 4 x 2 entries are read as 4 subjects with 2 sessions each;
        - ``.mat`` from Meadows (``rdmutv``, ``stimuli``), of one or several participants;
        - ``.csv``, one square table with image names in its first row and column (extra
          ``pandas``);
        - ``.h5``, ``.hdf5`` or ``.pkl`` from rsatoolbox (extra ``rsatoolbox``). A ``.pkl`` file
          can run any code when it is read: open only files that you trust.
    variable : str, default=None
        Which array of a ``.npz`` or ``.mat`` file, ``"struct.field"`` inside a struct. None takes
        ``"rdms"``, else the only one that can hold matrices.
    names_variable : str, default=None
        Which variable of a ``.npz`` or ``.mat`` file, or pattern descriptor of an rsatoolbox file,
        names the images. None takes ``"image_names"``, ``"stimuli"`` or another usual name.
    image_names : sequence of str, default=None
        The order in which the images are wanted, for instance that of your image files. Needs a
        file that names its images. Names that differ only by a folder or a file extension are
        matched, with a warning.

    Returns
    -------
    data : Bunch
        ``rdms``: float64 ``(n_images, n_images)``, ``(n_subjects, n_images, n_images)`` or
        ``(n_subjects, n_times, n_images, n_images)``, condensed vectors made square, any
        dissimilarity, NaN where missing (sessions take the place of times);
        ``image_names`` and ``subjects``: lists of str, None if the file has none.

    Raises
    ------
    ValueError
        If the file is broken or of another kind, lacks ``variable`` (those it has are listed) or
        holds no dissimilarity matrices: these are symmetric, and not infinite.
    ImportError
        If the file needs an optional package; the extra to install is named.

    See Also
    --------
    from_long_table : For tables with one row per pair of images.
    sklearn_rdm.ImagePairs.from_rdms : Makes pairs and targets of images and these matrices.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_rdm.io import read_rdms, write_rdms
    >>> rdm = [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rdms(f"{folder}/rdm.npz", rdm, image_names=["cat", "dog", "car"])
    ...     data = read_rdms(f"{folder}/rdm.npz", image_names=["car", "cat", "dog"])
    >>> data.rdms
    array([[0., 2., 3.],
           [2., 0., 1.],
           [3., 1., 0.]])
    """
    path = Path(path)
    if path.suffix.lower() in RSATOOLBOX:
        theirs = read_rsatoolbox(path)
        return from_rsatoolbox(theirs, image_descriptor=names_variable, image_names=image_names)
    rdms, names, subjects = find_rdms(read_arrays(path), variable, names_variable, path)
    return _ordered(rdms, names, subjects, image_names, os.fspath(path))


def write_rdms(
    path: Any,
    rdms: Any,
    *,
    image_names: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
) -> None:
    """Write dissimilarity matrices to a file that :func:`read_rdms` reads.

    Parameters
    ----------
    path : path
        ``.npy`` (no names), ``.npz``, ``.mat`` (MATLAB v5, at most 2 GB), ``.csv`` (one matrix
        with image names, extra ``pandas``), or ``.h5``, ``.hdf5`` or ``.pkl`` for rsatoolbox. A
        file of this name is replaced once the new one is whole.
    rdms : array-like
        As in :meth:`sklearn_rdm.ImagePairs.from_rdms`: square or condensed, one or several
        subjects; time courses must be square, ``(n_subjects, n_times, n, n)``.
    image_names, subjects : sequence of str, default=None
        One name per image and per subject.

    Raises
    ------
    ValueError
        If the matrices are not symmetric or hold infinity, the names do not fit them, or the
        format cannot hold what is given.

    See Also
    --------
    to_long_table : One row per pair of images, for pandas and R.
    to_rsatoolbox : For inference with rsatoolbox.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_rdm.io import read_rdms, write_rdms
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rdms(f"{folder}/rdm.mat", [0.5, 1.0, 0.25])
    ...     read_rdms(f"{folder}/rdm.mat").rdms.shape
    (3, 3)
    """
    path, rdms = Path(path), as_square(rdms, "rdms")
    names, subjects = _as_labels(image_names), _as_labels(subjects)
    _check_labels(rdms, names, subjects)
    if path.suffix.lower() in RSATOOLBOX:
        write_rsatoolbox(path, to_rsatoolbox(rdms, image_names=names, subjects=subjects))
    else:
        write_arrays(path, rdms, names, subjects)


def from_long_table(
    table: Any,
    *,
    images: tuple[str, str] = ("image_1", "image_2"),
    dissimilarity: str = "dissimilarity",
    subject: str | None = None,
    image_names: Any = None,
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
        All images, in the order wanted, which may include some that the table lacks. None takes
        the images of the table, sorted as text.

    Returns
    -------
    data : Bunch
        ``rdms``: float64 ``(n_images, n_images)``, or ``(n_subjects, n_images, n_images)`` if
        ``subject`` is given; symmetric, zero diagonal, NaN where the table has no such pair.
        ``image_names`` and ``subjects``: lists of str, ``subjects`` sorted, None without
        ``subject``.

    Raises
    ------
    ValueError
        If a column or an image is unknown, a value is infinite, or a pair has two different values
        for one subject (average repeated trials first); the message names it. If a file is broken.
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
    table = _read_table(table, [*images, *([subject] if subject else [])], dissimilarity)
    first, second = (table[column].astype(str).to_numpy(dtype=object) for column in images)
    if image_names is None:
        image_names = np.union1d(first, second)
    names = _distinct_labels(image_names, "image_names")
    rows = {name: row for row, name in enumerate(names)}
    unknown = sorted({*first, *second} - set(rows))
    if unknown:
        raise ValueError(f"the table has images that are not in image_names: {unknown[:5]}.")
    who = table[subject].astype(str).to_numpy(dtype=object) if subject else np.full(len(table), "")
    subjects, which = np.unique(who.astype(str), return_inverse=True)
    i, j = (np.array([rows[name] for name in side], dtype=np.intp) for side in (first, second))
    values = table[dissimilarity].to_numpy(dtype=np.float64)
    _check_not_infinite(i, j, values, names)
    rdms = np.full((len(subjects), len(names), len(names)), np.nan)
    rdms[which, i, j] = rdms[which, j, i] = values
    _check_repeats(rdms, which, i, j, values, names)
    rdms[:, range(len(names)), range(len(names))] = 0
    if subject is None:
        return Bunch(rdms=rdms[0], image_names=names, subjects=None)
    return Bunch(rdms=rdms, image_names=names, subjects=subjects.tolist())


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
    _refuse_time_courses(rdms, "a long table")
    names = _as_labels(range(rdms.shape[-1]) if image_names is None else image_names)
    _check_labels(rdms, names, _as_labels(subjects))
    i, j = np.triu_indices(rdms.shape[-1], 1)
    values = rdms[..., i, j]
    columns = {"image_1": np.array(names)[i], "image_2": np.array(names)[j]}
    if rdms.ndim == 3:
        columns = {key: np.tile(column, len(rdms)) for key, column in columns.items()}
        who = _as_labels(range(len(rdms)) if subjects is None else subjects)
        columns = {"subject": np.repeat(np.array(who), len(i))} | columns
    table = pandas.DataFrame(columns | {"dissimilarity": values.ravel()})
    return table.dropna(subset="dissimilarity").reset_index(drop=True)


def to_rsatoolbox(
    rdms: Any,
    *,
    image_names: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    dissimilarity_measure: str | None = None,
) -> Any:
    """Make an ``rsatoolbox.rdm.RDMs``, for its inference and its plots.

    Parameters
    ----------
    rdms : array-like
        As in :meth:`sklearn_rdm.ImagePairs.from_rdms`: square or condensed, one or several
        subjects. Of time courses, give one time point, ``rdms[:, t]``, or the mean over time.
    image_names, subjects : sequence of str, default=None
        Become the pattern descriptor ``"image"`` and the RDM descriptor ``"subject"``.
    dissimilarity_measure : str, default=None
        What the numbers are, for instance ``"correlation"``; rsatoolbox only shows it.

    Returns
    -------
    rdms : rsatoolbox.rdm.RDMs
        The same pairs in the same order: both libraries go through the upper triangle row by row.

    Raises
    ------
    ImportError
        If rsatoolbox is not installed.
    ValueError
        If the names do not fit the matrices, or these have a time axis, are not symmetric or hold
        infinity.

    See Also
    --------
    from_rsatoolbox : The way back.

    Examples
    --------
    >>> from sklearn_rdm.io import to_rsatoolbox
    >>> theirs = to_rsatoolbox([0.2, 0.7, 0.9], image_names=["cat", "dog", "car"])
    >>> theirs.n_cond
    3
    """
    rsatoolbox_rdm = import_optional("rsatoolbox.rdm", "rsatoolbox")
    rdms = as_square(rdms, "rdms")
    _refuse_time_courses(rdms, "rsatoolbox.rdm.RDMs")
    names, subjects = _as_labels(image_names), _as_labels(subjects)
    _check_labels(rdms, names, subjects)
    return rsatoolbox_rdm.RDMs(
        rdms[..., *np.triu_indices(rdms.shape[-1], 1)],
        dissimilarity_measure=dissimilarity_measure,
        pattern_descriptors=None if names is None else {"image": names},
        rdm_descriptors=None if subjects is None else {"subject": subjects},
    )


def from_rsatoolbox(
    rdms: Any,
    *,
    image_descriptor: str | None = None,
    subject_descriptor: str | None = None,
    image_names: Any = None,
) -> Bunch:
    """Take the matrices and names out of an ``rsatoolbox.rdm.RDMs``.

    Parameters
    ----------
    rdms : rsatoolbox.rdm.RDMs
        Dissimilarities of several conditions; each is one image here.
    image_descriptor : str, default=None
        The pattern descriptor that names the images. None takes ``"image"``, else the only one
        that holds text.
    subject_descriptor : str, default=None
        The RDM descriptor that names the subjects. None takes ``"subject"``, else the only one
        that holds text.
    image_names : sequence of str, default=None
        The order in which the images are wanted; None keeps that of ``rdms``.

    Returns
    -------
    data : Bunch
        ``rdms``: float64 ``(n_rdm, n_images, n_images)``; ``image_names`` and ``subjects``: lists
        of str, or None if there is no such descriptor.

    Raises
    ------
    ValueError
        If there is no such descriptor, if several pattern descriptors hold text and none is called
        ``"image"``, or if ``image_names`` asks for images that are not there.

    See Also
    --------
    to_rsatoolbox : The way there.

    Examples
    --------
    >>> from sklearn_rdm.io import from_rsatoolbox, to_rsatoolbox
    >>> theirs = to_rsatoolbox([0.2, 0.7, 0.9], image_names=["cat", "dog", "car"])
    >>> from_rsatoolbox(theirs, image_names=["car", "cat", "dog"]).rdms
    array([[[0. , 0.7, 0.9],
            [0.7, 0. , 0.2],
            [0.9, 0.2, 0. ]]])
    """
    names = _descriptor(rdms.pattern_descriptors, image_descriptor, "image")
    subjects = _descriptor(rdms.rdm_descriptors, subject_descriptor, "subject")
    source = f"rsatoolbox RDMs with pattern descriptors {sorted(rdms.pattern_descriptors)}"
    return _ordered(rdms.get_matrices().astype(np.float64), names, subjects, image_names, source)


def _descriptor(descriptors: dict[str, Any], wanted: str | None, usual: str) -> list[str] | None:
    """Labels of the descriptor wanted, else of the usual one, else of the only one with text."""
    if wanted is not None and wanted not in descriptors:
        raise ValueError(
            f"the RDMs have no descriptor {wanted!r}, only {sorted(descriptors)}: give one of "
            f"these as {usual}_descriptor (names_variable of read_rdms)."
        )
    texts = [key for key, value in descriptors.items() if as_texts(np.asarray(value, object))]
    if wanted is None and usual not in descriptors and len(texts) > 1 and usual == "image":
        raise ValueError(
            f"the RDMs have no descriptor 'image', but several that hold text: {sorted(texts)}. "
            "Say which one names the images with image_descriptor= (names_variable= of read_rdms)."
        )
    only = texts[0] if len(texts) == 1 else usual
    return _as_labels(descriptors.get(wanted or (usual if usual in descriptors else only)))


def _read_table(table: Any, labels: list[str], dissimilarity: str) -> Any:
    """Return a DataFrame that has these columns and no row without its labels."""
    if isinstance(table, str | os.PathLike):
        table = read_long(Path(table), labels, dissimilarity)
    missing = [column for column in [*labels, dissimilarity] if column not in table.columns]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}, only {list(table.columns)}.")
    if len(table) == 0:
        raise ValueError("the table has no rows.")
    unlabelled = table[labels].isna().any(axis=1).to_numpy()
    if unlabelled.any():
        raise ValueError(f"row {unlabelled.argmax()} of the table has no name in {labels}.")
    return table


def _check_not_infinite(i: Any, j: Any, values: Any, names: list[str]) -> None:
    infinite = (i != j) & np.isinf(values)
    if infinite.any():
        row = infinite.argmax()
        raise ValueError(
            f"the dissimilarity of {names[i[row]]!r} and {names[j[row]]!r}, row {row} of the "
            "table, is infinite: it must be finite, or NaN where it is missing."
        )


def _check_repeats(rdms: Any, which: Any, i: Any, j: Any, values: Any, names: list[str]) -> None:
    differs = (i != j) & ~np.isclose(rdms[which, i, j], values, equal_nan=True)
    if differs.any():
        row = differs.argmax()
        raise ValueError(
            f"{names[i[row]]!r} and {names[j[row]]!r} have two different dissimilarities for one "
            "subject. Average repeated trials first, or name the column of subjects."
        )


def _ordered(rdms: Any, names: Any, subjects: Any, wanted: Any, source: str) -> Bunch:
    """Bunch of matrices whose images are put in the order ``wanted``."""
    _check_labels(rdms, names, subjects)
    if wanted is not None:
        wanted = _distinct_labels(wanted, "image_names")
        if names is None:
            raise ValueError(f"{source} does not name its images: they cannot be put in order.")
        order = _match(wanted, _distinct_labels(names, source), source)
        rdms, names = rdms[..., order, :][..., order], wanted
    return Bunch(rdms=rdms, image_names=names, subjects=subjects)


def _check_labels(rdms: np.ndarray, names: Any, subjects: Any) -> None:
    if names is not None and len(names) != rdms.shape[-1]:
        raise ValueError(f"{len(names)} image_names for matrices of {rdms.shape[-1]} images.")
    n_subjects = len(rdms) if rdms.ndim > 2 else 1
    if subjects is not None and len(subjects) != n_subjects:
        raise ValueError(f"{len(subjects)} subjects' names for {n_subjects} matrices.")


def _refuse_time_courses(rdms: np.ndarray, holder: str) -> None:
    if rdms.ndim > 3:
        raise ValueError(
            f"{holder} has no time axis, but rdms have shape {rdms.shape}: convert one time point, "
            "rdms[:, t], or rdms.mean(axis=1). write_rdms keeps time courses."
        )


def _match(wanted: list[str], names: list[str], source: str) -> list[int]:
    """Rows of the images wanted, whose names may differ by a folder or an extension."""
    rows = {name: row for row, name in enumerate(names)}
    unknown = [name for name in wanted if name not in rows]
    if not unknown:
        return [rows[name] for name in wanted]
    bare, ours = {_bare(name): row for name, row in rows.items()}, [_bare(name) for name in wanted]
    ambiguous = len(bare) < len(rows) or len(set(ours)) < len(ours)
    if ambiguous or not set(ours) <= set(bare):
        raise ValueError(f"{source} has no image {unknown[:5]}, but {names[:5]} ...")
    warnings.warn(
        f"{unknown[0]!r} is taken for {names[bare[_bare(unknown[0])]]!r} of {source}: names were "
        "matched without their folders and file extensions.",
        UserWarning,
        stacklevel=4,
    )
    return [bare[name] for name in ours]


def _bare(name: str) -> str:
    """The name without folders, of either system, and without an image file's extension."""
    name = re.split(r"[\\/]", name.strip())[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def _as_labels(labels: Any) -> list[str] | None:
    """List of str of names from a sequence or an array."""
    return None if labels is None else [str(label) for label in np.asarray(labels, object).ravel()]


def _distinct_labels(labels: Any, source: str) -> list[str]:
    names = _as_labels(labels) or []
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{source} names {sorted(repeated)[:5]} more than once.")
    return names
