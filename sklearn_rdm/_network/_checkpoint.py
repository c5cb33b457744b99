"""A training that was cut off goes on by the same call; one that is finished is not repeated."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from sklearn_rdm._network._description import (
    describe,
    describe_images,
    describe_pairs,
    differences,
    installed_versions,
)
from sklearn_rdm._network._processes import are_all_equal, is_first_process, wait_for_all
from sklearn_rdm._network._state_file import (
    DamagedFileError,
    NotPlainError,
    read_header,
    read_state,
    write_state,
)
from sklearn_rdm._network._termination import Termination
from sklearn_rdm._network._training_state import StateKeeper
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns

__all__ = ["Checkpoint", "NoCheckpoint", "make_checkpoint"]

SHARE = 0.1  # of the time of training that writing may take
SHOWN = 3  # differences that a message names
NOT_DECISIVE = {"checkpoint", "memory", "verbose", "warm_start", "device", "max_epochs"}
PROCESS_START = time.time()

_named: set[Path] = set()  # checkpoints of other calls that this process has warned of


class NoCheckpoint:
    """Keeps nothing."""

    advice = "partial_fit trains on from there, fit starts again."  # when it was interrupted

    def open(self, net: Any) -> None:
        """Find what is kept of a net's training, which has just been initialized."""

    def is_finished(self, net: Any) -> bool:  # noqa: ARG002
        """Whether this training was finished before, and the net has its result now."""
        return False

    def go_on(self, net: Any) -> None:
        """Give the net the state of its last kept epoch."""

    def end_epoch(self, net: Any) -> None:
        """Keep the state at the end of an epoch."""

    def finish(self, net: Any) -> None:
        """Keep the result."""

    def __enter__(self) -> NoCheckpoint:
        return self

    def __exit__(self, *_: Any) -> None:
        """Leave the training."""


class Checkpoint(NoCheckpoint):
    """Two files that one call finds again: its training so far, and its result.

    Their name is a hash of all that determines the training. Another call, or other versions, are
    another name: nothing of them is ever used, and nothing is written over.

    Parameters
    ----------
    folder : path
        Where they are.
    call : dict of str to str
        Describes the call.
    """

    advice = "partial_fit trains on from there, the same fit from its last checkpoint."

    def __init__(self, folder: Path, call: dict[str, str]) -> None:
        self.folder, self.call = folder, call
        self._termination = Termination()
        self._written, self._cost = time.monotonic(), 0.0
        self._warned = False

    def open(self, net: Any) -> None:
        # The weights to begin with: of a file, of a package, or random ones.
        self.call = {**self.call, "network": net.module_.trunk.key("whole")}
        name = blake2b(json.dumps(self.call, sort_keys=True).encode(), digest_size=16).hexdigest()
        self.unfinished = self.folder / f"{name}.training"
        self.finished = self.folder / f"{name}.fitted"
        self._keeper = StateKeeper(net)

    def is_finished(self, net: Any) -> bool:
        state = self._read(self.finished, net)
        if state is None:
            return False
        self._keeper.put_back(net, state, goes_on=False)
        self._forget_unfinished()
        return True

    def go_on(self, net: Any) -> None:
        state = self._read(self.unfinished, net)
        if state is None:
            self._warn_of_nearest()
            return
        os.utime(self.unfinished)  # in use: no other process names it as left behind
        self._keeper.put_back(net, state, goes_on=True)

    def end_epoch(self, net: Any) -> None:
        self._keeper.note_trained(net)
        is_due = SHARE * (time.monotonic() - self._written) >= self._cost
        if is_due or self._termination.is_asked:
            self._write(self.unfinished, net)
        self._termination.end_if_asked()

    def finish(self, net: Any) -> None:
        if self._write(self.finished, net):
            self._forget_unfinished()

    def __enter__(self) -> Checkpoint:
        self._termination.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self._termination.__exit__()

    def __reduce__(self) -> Any:
        return NoCheckpoint, ()  # a copy of the net is another training

    def _read(self, path: Path, net: Any) -> dict[str, Any] | None:
        """The state in a file, which all processes that train together must find."""
        wait_for_all()  # the first one may still be writing it
        state = self._read_file(path, net)
        if not are_all_equal(None if state is None else len(state["history"])):
            raise ValueError(
                f"the processes find different checkpoints in {self.folder}: give a folder that "
                "the processes of all machines share."
            )
        return state

    def _read_file(self, path: Path, net: Any) -> dict[str, Any] | None:
        """The state in a file; None if there is none, or a damaged one, which is warned of."""
        try:
            header, state = read_state(path, net.device)
        except FileNotFoundError:
            return None
        except (DamagedFileError, OSError) as error:
            reason = "is damaged" if isinstance(error, DamagedFileError) else f"({error})"
            warnings.warn(
                f"the checkpoint {path} {reason} and is not used: this part of the training is "
                "repeated.",
                stacklevel=4,
            )
            return None
        if header.get("call") != self.call:
            raise ValueError(
                f"{path} is the checkpoint of another call. They differ in "
                f"{_list(differences(header.get('call', {}), self.call))}. Move it away, or give "
                "another folder."
            )
        return state

    def _forget_unfinished(self) -> None:
        with contextlib.suppress(OSError):  # there is none, or it is not ours
            self.unfinished.unlink()

    def _write(self, path: Path, net: Any) -> bool:
        if not is_first_process():
            return False
        start = time.monotonic()
        header = {"call": self.call, "epoch": len(net.history_)}
        try:
            write_state(path, header, self._keeper.state(net))
        except (OSError, NotPlainError) as error:
            self._warn_not_written(len(net.history_), path, error)
            return False
        finally:
            self._written = time.monotonic()
            self._cost = self._written - start
        return True

    def _warn_not_written(self, epoch: int, path: Path, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"the state after epoch {epoch} was not written to {path}: {error}. Training goes on; "
            "if it is interrupted, the same call continues from the last state that was written.",
            stacklevel=5,
        )

    def _warn_of_nearest(self) -> None:
        """Say why a training that was cut off before this process began is not gone on with."""
        found = [(differences(call, self.call), path) for path, call in self._left_behind()]
        if not found:
            return
        differing, path = min(found, key=lambda pair: len(pair[0]))
        _named.add(path)
        warnings.warn(
            f"training starts from the beginning: no checkpoint in {self.folder} belongs to this "
            f"call. The most similar unfinished one differs in {_list(differing)}. Delete "
            f"{path.name} if you no longer need it.",
            stacklevel=4,
        )

    def _left_behind(self) -> list[tuple[Path, dict[str, str]]]:
        found = []
        for path in sorted(self.folder.glob("*.training")):
            try:
                if path not in _named and path.stat().st_mtime < PROCESS_START:
                    found.append((path, read_header(path)["call"]))
            except (OSError, DamagedFileError, KeyError):  # gone, or not ours
                continue
        return found


def make_checkpoint(
    net: Any, pairs: ImagePairs, y: Any, epochs: int | None = None, sample_weight: Any = None
) -> Checkpoint | NoCheckpoint:
    """The checkpoint of a call of ``fit``, made before any random number is drawn.

    Raises
    ------
    TypeError, ValueError, OSError
        If the folder cannot be written, or if the call could not be told from others.
    """
    if net.checkpoint is None:
        return NoCheckpoint()
    folder = _made_folder(net.checkpoint)
    call = _describe_parameters(net)
    call["max_epochs"] = str(net.max_epochs if epochs is None else epochs)
    call["device"] = torch.device(net.device).type
    describe_data = describe_images if isinstance(y, ResponsePatterns) else describe_pairs
    call |= {**describe_data(pairs), "y": describe(y), "sample_weight": describe(sample_weight)}
    call |= installed_versions()
    call["Python"] = ".".join(platform.python_version_tuple()[:2])
    return Checkpoint(folder, call)


def _made_folder(folder: Any) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"checkpoint must be a folder, or None, got {folder!r}.")
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint must be a folder, but {path} is a file. Give a folder.")
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(
            f"checkpoint: you may not write to the folder {path}. Give another one."
        )
    return path


def _describe_parameters(net: Any) -> dict[str, str]:
    if net.random_state is None:
        raise ValueError(
            "checkpoint needs a random_state: with None, each fit draws other random numbers, so "
            "that none can continue another. Give random_state=0."
        )
    described = {}
    for name, value in sorted(net.get_params(deep=False).items()):
        if name in NOT_DECISIVE:
            continue
        try:
            described[name] = describe(value)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"checkpoint cannot recognise {name} in another session: {error}."
            ) from error
    return described


def _list(differing: list[str]) -> str:
    more = len(differing) - SHOWN
    return ", ".join(differing[:SHOWN]) + (f" and {more} more items" if more > 0 else "")
