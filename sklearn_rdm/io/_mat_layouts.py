"""The variables of ``.mat`` files that the MATLAB RSA toolbox and Meadows expect."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from sklearn_rdm.io._meadows import MEADOWS

__all__ = ["LAYOUTS"]

Labels = list[str] | None
COLOUR = np.zeros((1, 3))  # of a bar or a line, in the toolbox's figures
IDENTIFIER = re.compile(r"[A-Za-z0-9_]{1,50}")  # what a variable may be called after its prefix


def _arrays(rdms: np.ndarray, names: Labels, subjects: Labels) -> dict[str, np.ndarray]:
    """One array; labels as cells, as a MATLAB char matrix would pad all names to one length."""
    labels = {"image_names": names, "subjects": subjects}
    return {"rdms": rdms} | {key: _cells(texts) for key, texts in labels.items() if texts}


def _rsa_toolbox(rdms: np.ndarray, names: Labels, subjects: Labels) -> dict[str, np.ndarray]:
    """``RDMs(subject, session)`` with the fields ``RDM``, ``name`` and ``color``."""
    shape = rdms.shape[:2] if rdms.ndim == 4 else (1, -1)
    entries = rdms.reshape(-1, *rdms.shape[-2:])
    structs = np.empty(len(entries), dtype=[("RDM", "O"), ("name", "O"), ("color", "O")])
    called = _entry_names(rdms, subjects)
    for place, (rdm, name) in enumerate(zip(entries, called, strict=True)):
        structs[place] = (rdm, name, COLOUR)
    variables = {"RDMs": structs.reshape(shape)}
    return variables | ({"image_names": _cells(names)} if names else {})


def _entry_names(rdms: np.ndarray, subjects: Labels) -> list[str]:
    """One name an entry, with a number a session, as the toolbox's own files have them."""
    n_subjects = 1 if rdms.ndim == 2 else len(rdms)
    called = subjects or [f"RDM {k + 1}" for k in range(n_subjects)]
    if rdms.ndim < 4:
        return called
    return [f"{name} | Session: {k + 1}" for name in called for k in range(rdms.shape[1])]


def _meadows(rdms: np.ndarray, names: Labels, subjects: Labels) -> dict[str, np.ndarray]:
    """``rdmutv`` and ``stimuli``, of each participant with a name of its own."""
    if names is None or rdms.ndim > 3:
        raise ValueError(
            "layout='meadows' needs image_names, and one matrix a subject: it got rdms of shape "
            f"{rdms.shape} and {'no' if names is None else len(names)} image_names."
        )
    entries = rdms.reshape(-1, *rdms.shape[-2:])
    if len(entries) == 1 and subjects is None:
        return _participant(entries[0], names, "")
    variables: dict[str, np.ndarray] = {}
    for rdm, who in zip(entries, _identifiers(subjects, len(entries)), strict=True):
        variables |= _participant(rdm, names, who)
    return variables


def _identifiers(subjects: Labels, n_subjects: int) -> list[str]:
    """Names as variables have them: Meadows's "shy-fox" becomes "shy_fox"."""
    subjects = subjects or [f"subject-{k + 1}" for k in range(n_subjects)]
    identifiers = [name.replace("-", "_") for name in subjects]
    wrong = [name for name in subjects if not IDENTIFIER.fullmatch(name.replace("-", "_"))]
    if wrong or len(set(identifiers)) < len(identifiers):
        raise ValueError(
            "layout='meadows' names variables for the subjects: these must be different, of up to "
            f"50 letters, digits and hyphens, got {(wrong or subjects)[:5]}."
        )
    return identifiers


def _participant(rdm: np.ndarray, names: list[str], who: str) -> dict[str, np.ndarray]:
    """The images that a participant has, and their pairs."""
    others = ~np.eye(len(rdm), dtype=bool)
    seen = np.flatnonzero((~np.isnan(rdm) & others).any(axis=1))
    if len(seen) < 2:
        raise ValueError(f"subject {who!r} has no dissimilarity at all: leave it out.")
    i, j = np.triu_indices(len(seen), 1)
    stimuli = np.array([names[row] for row in seen])
    ending = f"{MEADOWS}{who}" if who else MEADOWS.rstrip("_")
    return {
        ending: rdm[np.ix_(seen, seen)][i, j][None],
        f"stimuli_{who}" if who else "stimuli": stimuli,
    }


def _cells(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=object)


Make = Callable[[np.ndarray, Labels, Labels], dict[str, np.ndarray]]
LAYOUTS: dict[str, Make] = {
    "arrays": _arrays,
    "rsa_toolbox": _rsa_toolbox,
    "meadows": _meadows,
}
