"""Dissimilarity matrices to and from a file of any format, told by its suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.io._budget import Budget, named
from sklearn_rdm.io._containers import find_rdms
from sklearn_rdm.io._labels import as_labels, check_labels, in_order
from sklearn_rdm.io._mat import as_square
from sklearn_rdm.io._mat_layouts import LAYOUTS
from sklearn_rdm.io._rdm_files import (
    RSATOOLBOX,
    read_arrays,
    read_rsatoolbox,
    write_arrays,
    write_rsatoolbox,
)
from sklearn_rdm.io._rsatoolbox import from_rsatoolbox, to_rsatoolbox

__all__ = ["read_rdms", "write_rdms"]


def read_rdms(
    path: Any,
    *,
    variable: str | None = None,
    names_variable: str | None = None,
    image_names: Any = None,
    max_bytes: int | None = None,
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
        - ``.mat`` from Meadows (``rdmutv``, ``stimuli``), of one or several participants, or
          ``.json`` ("tree") from Meadows;
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
    max_bytes : int, default=None
        How much memory the file may take, counted as float64. None allows 50 times its size, and
        256 MB at least: a small damaged file can ask for any amount.

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
        If the file is broken or of another kind, takes more memory than ``max_bytes``, has no
        ``variable`` of this name (those it has are listed), or holds no dissimilarity matrices:
        these are symmetric, and not infinite. If it has data in other files (HDF5 links).
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
    budget = Budget(path, max_bytes)
    with named(path):
        if path.suffix.lower() in RSATOOLBOX:
            theirs = read_rsatoolbox(path, budget)
            return from_rsatoolbox(theirs, image_descriptor=names_variable, image_names=image_names)
        arrays = read_arrays(path, budget)
        rdms, names, subjects = find_rdms(arrays, variable, names_variable, path, budget)
        return in_order(rdms, names, subjects, image_names, repr(str(path)))


def write_rdms(
    path: Any,
    rdms: Any,
    *,
    image_names: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    layout: str = "arrays",
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
    layout : {"arrays", "rsa_toolbox", "meadows"}, default="arrays"
        The variables of a ``.mat`` file: ``rdms``, ``image_names`` and ``subjects``; the struct
        array ``RDMs`` of the MATLAB RSA toolbox (``RDMs(i).RDM``, ``.name``, ``.color``, one row
        of sessions a subject for time courses); or ``rdmutv`` and ``stimuli`` of Meadows, with
        one such pair of variables a subject if there are several.

    Raises
    ------
    ValueError
        If the matrices are not symmetric or hold infinity, the names do not fit them, or the
        format cannot hold what is given.
    OSError
        If the disk is full, the folder is missing or may not be written; nothing is left behind.

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
    _check_layout(layout, path)
    names, subjects = as_labels(image_names), as_labels(subjects)
    check_labels(rdms, names, subjects)
    if path.suffix.lower() in RSATOOLBOX:
        write_rsatoolbox(path, to_rsatoolbox(rdms, image_names=names, subjects=subjects))
    else:
        write_arrays(path, rdms, names, subjects, layout)


def _check_layout(layout: str, path: Path) -> None:
    check_option("layout", layout, LAYOUTS)
    if layout != "arrays" and path.suffix.lower() != ".mat":
        raise ValueError(f"layout={layout!r} is one of .mat files, got {str(path)!r}.")
