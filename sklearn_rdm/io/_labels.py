"""Names of images and subjects, and matrices put into their order."""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_rdm._pairs._images import IMAGE_SUFFIXES

__all__ = [
    "as_labels",
    "check_labels",
    "check_spellings",
    "distinct_labels",
    "in_order",
    "refuse_time_courses",
]


def in_order(rdms: Any, names: Any, subjects: Any, wanted: Any, source: str) -> Bunch:
    """Bunch of matrices whose images are put in the order ``wanted``."""
    check_labels(rdms, names, subjects, source)
    if wanted is not None:
        wanted = distinct_labels(wanted, "image_names")
        if names is None:
            raise ValueError(f"{source} does not name its images: they cannot be put in order.")
        order = _match(wanted, distinct_labels(names, source), source)
        rdms, names = rdms[..., order, :][..., order], wanted
    return Bunch(rdms=rdms, image_names=names, subjects=subjects)


def check_labels(rdms: np.ndarray, names: Any, subjects: Any, source: str = "") -> None:
    source = source and f"{source}: "
    if names is not None and len(names) != rdms.shape[-1]:
        raise ValueError(
            f"{source}{len(names)} image_names for matrices of {rdms.shape[-1]} images."
        )
    n_subjects = len(rdms) if rdms.ndim > 2 else 1
    if subjects is not None and len(subjects) != n_subjects:
        raise ValueError(f"{source}{len(subjects)} subjects' names for {n_subjects} matrices.")


def refuse_time_courses(rdms: np.ndarray, holder: str) -> None:
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
        raise ValueError(
            f"{source} has no image {unknown[:5]}; it has {names[:5]} ... Give the same names to "
            "both: folders, file extensions and spaces around them may differ."
        )
    warnings.warn(
        f"{unknown[0]!r} is taken for {names[bare[_bare(unknown[0])]]!r} of {source}: names were "
        "matched without their folders, file extensions and spaces around them.",
        UserWarning,
        stacklevel=4,
    )
    return [bare[name] for name in ours]


def _bare(name: str) -> str:
    """The name without folders, of either system, and without an image file's extension.

    Accents are composed: macOS names files with an accent as a letter of its own.
    """
    name = re.split(r"[\\/]", unicodedata.normalize("NFC", name.strip()))[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def as_labels(labels: Any) -> list[str] | None:
    """List of str of names from a sequence or an array."""
    return None if labels is None else [str(label) for label in np.asarray(labels, object).ravel()]


def distinct_labels(labels: Any, source: str) -> list[str]:
    names = as_labels(labels) or []
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{source} names {sorted(repeated)[:5]} more than once.")
    return names


def check_spellings(names: list[str], source: str) -> None:
    """Refuse names that differ by spaces, the coding of accents, or as "1" and "1.0" do."""
    first: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFC", name.strip()))
        if first.setdefault(plain, name) != name:
            raise ValueError(
                f"{source} writes the name of an image in two ways, {ascii(first[plain])} and "
                f"{ascii(name)}, which would be two images: write it in one."
            )
