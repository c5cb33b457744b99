"""The matrices among a file's variables, also inside MATLAB's structs and cells, with names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import count_images
from sklearn_rdm.io._budget import Budget
from sklearn_rdm.io._mat import as_square
from sklearn_rdm.io._meadows import MEADOWS, MEADOWS_FILE

RDM_FIELDS = ("rdm", "rdms", "rdmutv", "dissimilarities", "dissimilarity")
IMAGE_KEYS = ("image_names", "stimuli", "conds", "conditions", "labels", "names", "imagenames")
SUBJECT_KEYS = ("subjects", "participants", "subject_names")


def find_rdms(
    arrays: dict[str, Any],
    variable: str | None,
    names_variable: str | None,
    path: Path,
    budget: Budget,
) -> tuple[np.ndarray, list[str] | None, list[str] | None]:
    """Return square matrices, image names and subjects of a file's variables."""
    arrays = dict(_flatten(arrays))
    if variable is None and any(key.startswith(MEADOWS) for key in arrays):
        return _participants(arrays, path, budget)
    value = _choose(arrays, variable, path)
    rdms, subjects = unpack(value, str(path))
    if subjects is not None and len(subjects) != (len(rdms) if rdms.ndim > 2 else 1):
        subjects = None  # one struct of several matrices, whose name is that of the area
    names = _find_names(arrays, names_variable, rdms.shape[-1], path)
    subjects = _first_texts(arrays, SUBJECT_KEYS) or subjects
    participant = MEADOWS_FILE.match(path.name)
    if subjects is None and participant and (rdms.ndim == 2 or len(rdms) == 1):
        subjects = [participant[1]]
    return rdms, names, subjects


def unpack(value: np.ndarray, source: str) -> tuple[np.ndarray, list[str] | None]:
    """Square matrices of an array, a cell array or a struct array; subjects if it names them.

    A struct or cell array of 4 x 2 entries gives (4, 2, n, n): subjects, and their sessions.
    """
    if value.dtype.names:
        subjects = _subjects(value.squeeze()) if "name" in value.dtype.names else None
        field = _rdm_field(value)
        if field is None:
            raise ValueError(
                f"{source} holds structs whose fields are {[*value.dtype.names]}: one must be "
                f"called {', '.join(RDM_FIELDS[:2])} or {RDM_FIELDS[-1]}, and hold numbers."
            )
        return _stack(value[field].squeeze(), source), subjects
    if value.dtype == object:
        return _stack(value.squeeze(), source), _subjects_of_cells(value)
    return as_square(value, source), None


def as_texts(value: Any) -> list[str] | None:
    """Texts of a char matrix (without its padding), a cell array or a list; None if no text."""
    value = np.asarray(value)
    if value.dtype.kind in "US":
        return [_text(row).rstrip() for row in value.ravel()]
    if value.dtype != object or value.size == 0:
        return None
    cells = [cell.ravel() if isinstance(cell, np.ndarray) else cell for cell in value.ravel()]
    if all(isinstance(c, str) or getattr(c, "dtype", np.dtype(float)).kind == "U" for c in cells):
        return ["".join(cell) for cell in cells]
    return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _flatten(arrays: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Variables, and as ``struct.field`` those inside structs of one element."""
    for key, value in arrays.items():
        inner = value.dtype.names if value.size == 1 else None
        field = _rdm_field(value) if inner else None
        if not inner or field:
            yield key, value
        if inner:
            fields = {f"{key}.{name}": value.item()[k] for k, name in enumerate(inner)}
            fields.pop(f"{key}.{field}", None)
            yield from _flatten({k: np.asarray(v) for k, v in fields.items()})


def _rdm_field(value: np.ndarray) -> str | None:
    """The field that holds the matrices; a struct that only leads to another has none."""
    for name in value.dtype.names or ():
        cells = np.asarray(value[name]).ravel()
        if name.lower() in RDM_FIELDS and cells.size and _is_numeric(cells[0]):
            return str(name)
    return None


def _is_numeric(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "uif"


def _stack(cells: Any, source: str) -> np.ndarray:
    """Matrices of an array of cells, its axes first."""
    cells = np.asarray(cells)
    parts = [_one(cell, f"{source}, entry {k + 1}") for k, cell in enumerate(cells.ravel())]
    sizes = sorted({part.shape for part in parts})
    if len(sizes) != 1:
        raise ValueError(
            f"{source} holds matrices of different shapes, {sizes[:3]}: choose matrices of "
            "the same images, or put them into one array with NaN where a subject has no value."
        )
    return np.stack(parts).reshape(*cells.shape, *sizes[0])


def _one(cell: Any, source: str) -> np.ndarray:
    cell = np.asarray(cell)
    if cell.dtype.names or cell.dtype == object:
        return unpack(cell, source)[0]
    return as_square(cell.squeeze(), source)


def _subjects(structs: np.ndarray) -> list[str] | None:
    """One name for each entry; for entries of subjects x sessions what a subject's names share."""
    names = as_texts(structs["name"])
    if names is None:
        return None
    rows = np.array(names, dtype=object).reshape(structs.shape or (1,))
    return [_common(list(row)) for row in rows] if rows.ndim == 2 else names


def _subjects_of_cells(cells: np.ndarray) -> list[str] | None:
    """Names of structs in cells."""
    structs = [np.asarray(cell) for cell in cells.ravel()]
    if not all(s.size == 1 and "name" in (s.dtype.names or ()) for s in structs):
        return None
    return as_texts(np.array([s["name"].item() for s in structs] + [None], dtype=object)[:-1])


def _common(names: list[str]) -> str:
    """What names share: of "hIT | BE | Session: 1" and "... Session: 2" it is "hIT | BE"."""
    first, *others = (name.split(" | ") for name in names)
    shared = [part for part in first if all(part in other for other in others)]
    return " | ".join(shared) or names[0]


def _holds_rdms(value: np.ndarray) -> bool:
    if value.dtype.names:
        return _rdm_field(value) is not None
    if value.dtype == object:
        cells = [np.asarray(cell) for cell in value.ravel()]
        return bool(cells) and all(cell.ndim > 0 and _holds_rdms(cell) for cell in cells)
    if not _is_numeric(value) or value.ndim == 0:
        return False
    square = value.ndim > 1 and (
        value.shape[-1] == value.shape[-2] or (value.ndim > 2 and value.shape[0] == value.shape[1])
    )
    condensed = value.ndim <= 2 and max(count_images(n) or 0 for n in value.shape[-2:]) > 2
    return (square and value.size > 1) or condensed


def _choose(arrays: dict[str, Any], variable: str | None, path: Path) -> np.ndarray:
    """Return the array called ``variable``; without one ``"rdms"``, else the only one."""
    numeric = [key for key, value in arrays.items() if as_texts(value) is None]
    if variable is None:
        fitting = [key for key in numeric if _holds_rdms(arrays[key])]
        # A field called RDM tells more than a shape: the three numbers of a colour could be pairs.
        told = [key for key in fitting if arrays[key].dtype.names]
        only = next((keys for keys in (told, fitting) if len(keys) == 1), numeric)
        variable = "rdms" if "rdms" in arrays or len(only) != 1 else only[0]
    if variable not in arrays:
        raise ValueError(
            f"{str(path)!r} has no array {variable!r}, only {sorted(numeric)}. Choose one with "
            "variable=, or save the one that is meant, or all stacked, as 'rdms'."
        )
    return np.asarray(arrays[variable])


def _find_names(
    arrays: dict[str, Any], variable: str | None, n_images: int, path: Path
) -> list[str] | None:
    if variable is None:
        return _first_texts(arrays, IMAGE_KEYS, n_images)
    names = as_texts(arrays[variable]) if variable in arrays else None
    if names is None:
        texts = sorted(key for key, value in arrays.items() if as_texts(value))
        raise ValueError(f"{str(path)!r} has no text variable {variable!r}, only {texts}.")
    return names


def _first_texts(
    arrays: dict[str, Any], keys: tuple[str, ...], size: int | None = None
) -> list[str] | None:
    """Texts of the first of these variables; of the uncertain names only one of fitting size."""
    for wanted in keys:
        for key, value in arrays.items():
            texts = as_texts(value) if key.rpartition(".")[2].lower() == wanted else None
            if texts and (size is None or wanted in IMAGE_KEYS[:2] or len(texts) == size):
                return texts
    return None


def _participants(
    arrays: dict[str, Any], path: Path, budget: Budget
) -> tuple[np.ndarray, list[str], list[str] | None]:
    """Meadows files of several participants, each with own stimuli; NaN where one has no pair."""
    who = [key.removeprefix(MEADOWS) for key in arrays if key.startswith(MEADOWS)]
    seen = [_stimuli(arrays, participant, path) for participant in who]
    names = list(dict.fromkeys(name for stimuli in seen for name in stimuli))
    budget.spend(len(who) * len(names) ** 2, f"matrices of {len(who)} x {len(names)} images")
    place = {name: row for row, name in enumerate(names)}
    rdms = np.full((len(who), len(names), len(names)), np.nan)
    for rdm, participant, stimuli in zip(rdms, who, seen, strict=True):
        source = f"{MEADOWS}{participant} of {str(path)!r}"
        square = as_square(arrays[MEADOWS + participant].ravel(), source)
        if square.shape != (len(stimuli),) * 2 or len(set(stimuli)) != len(stimuli):
            raise ValueError(
                f"{source} has shape {square.shape}, but its {len(stimuli)} stimuli are "
                f"{stimuli[:5]} ..., of which {len(set(stimuli))} are different."
            )
        rows = [place[name] for name in stimuli]
        rdm[np.ix_(rows, rows)] = square
    rdms[:, range(len(names)), range(len(names))] = 0
    if path.suffix.lower() == ".mat":  # whose names can't hold a "-"
        who = [participant.replace("_", "-") for participant in who]
    return rdms, names, who


def _stimuli(arrays: dict[str, Any], participant: str, path: Path) -> list[str]:
    value = arrays.get(f"stimuli_{participant}", arrays.get("stimuli"))
    names = None if value is None else as_texts(value)
    if names is None:
        raise ValueError(
            f"{str(path)!r} has rdmutv_{participant}, but no text variable stimuli_{participant} "
            "or stimuli that names its images."
        )
    return names
