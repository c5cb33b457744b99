"""Meadows files in JSON, as the variables that Meadows writes to ``.mat`` files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_rdm.io._budget import Budget, named

__all__ = ["MEADOWS", "MEADOWS_FILE", "read_meadows_json"]

MEADOWS = "rdmutv_"  # then the participant, in files of several
MEADOWS_FILE = re.compile(r"Meadows_.*_([a-z]+-[a-z]+)_")
TIMES = 8  # what a text of numbers takes as Python's objects


def read_meadows_json(path: Path, budget: Budget) -> dict[str, np.ndarray]:
    """Vectors of dissimilarities and names of stimuli of each arrangement of each participant."""
    with named(path, "a Meadows"):
        budget.spend(TIMES * budget.file_size, "its text", itemsize=1)
        arrangements = list(_arrangements(json.loads(path.read_bytes()), path))
        if not arrangements:
            raise ValueError("it holds no multi-arrangement task with an 'rdm' and its 'stimuli'")
        arrays = {}
        for name, vector, stimuli in arrangements:
            arrays[MEADOWS + name] = np.array(vector, dtype=np.float64)
            arrays[f"stimuli_{name}"] = np.array(stimuli, dtype=str)
    return arrays


def _arrangements(content: Any, path: Path) -> Iterator[tuple[str, Any, list[str]]]:
    """Who arranged what, the vector, the names of its stimuli."""
    if not isinstance(content, dict):
        raise ValueError("it is no object with 'tasks', or with one such object a participant")
    if "tasks" in content:
        found = MEADOWS_FILE.match(path.name)
        content = {found[1] if found else path.stem: content}
    for participant, session in content.items():
        tasks = session.get("tasks", []) if isinstance(session, dict) else []
        arranged = [task for task in tasks if "rdm" in task and "stimuli" in task]
        for number, task in enumerate(arranged):
            name = _task_name(task, number)
            who = participant if len(arranged) == 1 else f"{participant} | {name}"
            yield who, task["rdm"], [str(stimulus["name"]) for stimulus in task["stimuli"]]


def _task_name(task: dict[str, Any], number: int) -> str:
    """The task's name, and its number as two may have one name."""
    return f"{task.get('task', {}).get('name', 'task')} {number + 1}"
