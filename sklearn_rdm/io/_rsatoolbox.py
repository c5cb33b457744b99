"""Matrices to and from the objects of rsatoolbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm.io._containers import as_texts
from sklearn_rdm.io._labels import as_labels, check_labels, in_order, refuse_time_courses
from sklearn_rdm.io._mat import as_square

__all__ = ["from_rsatoolbox", "to_rsatoolbox"]


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
    refuse_time_courses(rdms, "rsatoolbox.rdm.RDMs")
    names, subjects = as_labels(image_names), as_labels(subjects)
    check_labels(rdms, names, subjects)
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
        that holds a text of its own for each, else the only one that numbers them, other than in
        their order, else the only one that holds text.
    subject_descriptor : str, default=None
        The RDM descriptor that names the subjects. None takes ``"subject"``, else as for images.
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
        If there is no such descriptor, if several pattern descriptors may name the images and none
        is called ``"image"``, or if ``image_names`` asks for images that are not there.

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
    return in_order(rdms.get_matrices().astype(np.float64), names, subjects, image_names, source)


def _descriptor(descriptors: dict[str, Any], wanted: str | None, usual: str) -> list[str] | None:
    """Labels of the descriptor wanted, else of the usual one, else of the only one that may be."""
    if wanted is not None and wanted not in descriptors:
        raise ValueError(
            f"the RDMs have no descriptor {wanted!r}, only {sorted(descriptors)}: give one of "
            f"these as {usual}_descriptor (names_variable of read_rdms)."
        )
    names = [wanted] if wanted is not None else [usual] if usual in descriptors else None
    names = _naming(descriptors) if names is None else names
    if len(names) > 1 and usual == "image":
        raise ValueError(
            f"the RDMs have no descriptor 'image', but several that may name the images: "
            f"{sorted(names)}. Say which one does with image_descriptor= (names_variable= of "
            "read_rdms)."
        )
    return as_labels(descriptors[names[0]]) if len(names) == 1 else None


def _naming(descriptors: dict[str, Any]) -> list[str]:
    """Descriptors that tell all apart by text, or by numbers other than their order, else texts."""
    values = {key: np.asarray(value, object).ravel() for key, value in descriptors.items()}
    texts = [key for key, value in values.items() if as_texts(value)]
    distinct = [key for key in texts if len({*values[key]}) == len(values[key])]
    if distinct:
        return distinct
    numbers = {key: [*map(str, value)] for key, value in values.items()}
    in_order = [*map(str, range(len(next(iter(numbers.values()), []))))]
    numbering = [
        key
        for key, value in numbers.items()
        if len(set(value)) == len(value) and (key != "index" or value != in_order)
    ]
    return numbering or texts
