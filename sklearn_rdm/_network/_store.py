"""Activations of images on disk, found by content, for the runs of a search and of later days."""

from __future__ import annotations

import itertools
import json
import math
import os
import socket
import warnings
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from joblib import Memory

from sklearn_rdm._pairs._extras import versions_of
from sklearn_rdm._pairs._progress import counted, one_of
from sklearn_rdm._pairs._whole_files import whole_file

__all__ = ["ActivationStore", "StoredRows", "has_location"]

STORED_AT_ONCE = 256  # images; what a killed process loses at most
DIGEST_SIZE, CHECKSUM_SIZE = 16, 4  # bytes of a record: an image's digest, and a checksum
RECORD_SIZE = DIGEST_SIZE + CHECKSUM_SIZE
PROBE = "probe.npy"
PATIENCE = 600  # seconds without a new row after which a process no longer waits for another one
TOLERANCE = 1e-3  # of a row's length: other processors and threads round otherwise
# The packages whose code networks are made of.
CODE = ("torch", "torchvision", "timm", "efficientnet-lite-pytorch", "transformers")

# Rows whose checksum this process has seen to be right, by file, place, shape and record.
_seen: set[tuple[str, int, tuple[int, ...], bytes]] = set()
# Folders in which this process has compared the probe with what the network computes now.
_current: set[Path] = set()

Compute = Callable[[Sequence[int]], np.ndarray]  # rows of activations of images, by number


class StoredRows:
    """Rows of activations in a file, read when they are indexed; an array to what indexes it.

    They are read, not mapped: a file that is cut short raises an error, and no signal.
    """

    def __init__(self, path: Path, n_rows: int, shape: Sequence[int]) -> None:
        self.path = path
        self.shape, self.dtype = (n_rows, *shape), np.dtype(np.float32)
        self.ndim, self.row_size = len(self.shape), 4 * math.prod(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        places = np.arange(len(self))[rows]
        out = np.empty((places.size, *self.shape[1:]), dtype=np.float32)
        with open(self.path, "rb", buffering=0) as file:
            for row, place in zip(out, places.flat, strict=True):
                self._read(file, int(place), row)
        return out.reshape(places.shape + self.shape[1:])

    def _read(self, file: Any, place: int, row: np.ndarray) -> None:
        file.seek(place * self.row_size)
        if file.readinto(memoryview(row).cast("B")) != self.row_size:
            raise OSError(
                f"{self.path} was cut short while it was in use: another program changed the cache "
                "of activations. Run the same call again, which computes what is missing."
            )


class ActivationStore:
    """The activations of one network's layers, one row an image.

    Two files that only grow: rows of activations, and one record a row, written after it, of the
    image's digest and a checksum. A row without its record, left by a killed process, is
    overwritten; a row that does not match its checksum is computed anew.

    Parameters
    ----------
    memory : str, path or joblib.Memory
        The folder that the user gave.
    key : str
        What the activations depend on besides the image and the installed packages.
    compute_probe : callable
        Makes the activations of an image that is always the same. They are kept beside the rows:
        if they change, so has the code of the network, and the rows are not used.
    """

    def __init__(self, memory: Any, key: str, compute_probe: Callable[[], np.ndarray]) -> None:
        location = _location(memory)
        assert location is not None
        versions = [f"{name} {number}" for name, number in versions_of(CODE).items()]
        name = sha256("\n".join([key, *versions]).encode()).hexdigest()[: 2 * DIGEST_SIZE]
        self.folder = _current_folder(Path(location) / "sklearn_rdm" / name, compute_probe)
        self.compute_probe = compute_probe
        self.rows_file = self.folder / "activations.float32"
        self.records_file = self.folder / "records"
        self.shape_file = self.folder / "shape.json"

    def rows(
        self, images: Sequence[int], digests: Sequence[bytes], compute: Compute
    ) -> tuple[Any, np.ndarray]:
        """Look images up, computing and adding those that are missing.

        Parameters
        ----------
        images : sequence of int
            Numbers of images, for ``compute``.
        digests : sequence of bytes
            What tells them apart.
        compute : callable
            Makes rows of activations of some of the numbers.

        Returns
        -------
        rows : StoredRows or ndarray
            To be indexed by arrays of places.
        places : ndarray of int, shape (n_images,)
            Where in ``rows`` the images are.
        """
        wanted = dict(zip(digests, images, strict=True))
        place = self._whole_rows(wanted)
        if len(place) < len(wanted):
            try:
                place = self._add(wanted, compute)
            except OSError as error:
                self._warn_not_kept(error)
                rows = self._in_memory(place, wanted, compute)
                place = {digest: i for i, digest in enumerate(wanted)}
                return rows, np.array([place[digest] for digest in digests])
        stored = StoredRows(self.rows_file, max(place.values()) + 1, self._shape())
        return stored, np.array([place[digest] for digest in digests])

    def _whole_rows(self, wanted: dict[bytes, int]) -> dict[bytes, int]:
        """Places of those of the wanted images that have a row, and a whole one."""
        records = self._records()
        place = {record[:DIGEST_SIZE]: i for i, record in enumerate(records)}
        found = {digest: place[digest] for digest in wanted if digest in place}
        shape = self._shape() if found else ()
        damaged = {d for d, i in found.items() if not self._is_whole(i, shape, records[i])}
        if damaged:
            warnings.warn(
                f"{len(damaged)} rows of the activations in {self.folder} are damaged: they are "
                "computed anew. Check the disk if this happens again.",
                stacklevel=2,
            )
        return {digest: i for digest, i in found.items() if digest not in damaged}

    def _is_whole(self, place: int, shape: tuple[int, ...], record: bytes) -> bool:
        """Whether a row matches its checksum, which each process reads once."""
        key = (str(self.rows_file), place, shape, record)
        if key not in _seen:
            row = StoredRows(self.rows_file, place + 1, shape)[place]
            if _record(record[:DIGEST_SIZE], row) != record:
                return False
            _seen.add(key)
        return True

    def _records(self) -> list[bytes]:
        try:
            n_whole = self.rows_file.stat().st_size // (4 * math.prod(self._shape()))
            content = self.records_file.read_bytes()[: RECORD_SIZE * n_whole]
        except (OSError, ValueError):  # none yet, or damaged: all are computed anew
            return []
        ends = range(RECORD_SIZE, len(content) + 1, RECORD_SIZE)
        return [content[end - RECORD_SIZE : end] for end in ends]

    def _shape(self) -> tuple[int, ...]:
        shape = json.loads(self.shape_file.read_text())
        if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"{self.shape_file} holds no shape.")
        return tuple(shape)

    def _add(self, wanted: dict[bytes, int], compute: Compute) -> dict[bytes, int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with _Turn(self.folder, self.rows_file):
            self._keep_probe()
            place, n_rows = self._whole_rows(wanted), len(self._records())
            missing = [digest for digest in wanted if digest not in place]
            starts = range(0, len(missing), STORED_AT_ONCE)
            for start in counted(starts, total=len(starts), desc="activations"):
                new = missing[start : start + STORED_AT_ONCE]
                with one_of(len(starts)):
                    rows = compute([wanted[digest] for digest in new])
                n_rows = self._n_rows_to_keep(n_rows, rows)
                self._append(n_rows, new, rows)
                place |= {digest: n_rows + i for i, digest in enumerate(new)}
                n_rows += len(new)
        return place

    def _n_rows_to_keep(self, n_rows: int, rows: np.ndarray) -> int:
        """None of those that are there if their shape, which is in a file, was damaged."""
        return n_rows if n_rows and self._shape() == rows.shape[1:] else 0

    def _keep_probe(self) -> None:
        if not (self.folder / PROBE).exists():
            with whole_file(self.folder / PROBE) as partial, open(partial, "wb") as file:
                np.save(file, self.compute_probe())
        _current.add(self.folder)

    def _append(self, n_rows: int, digests: Sequence[bytes], rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if n_rows == 0:
            _write_at(self.shape_file, 0, json.dumps(rows.shape[1:]).encode())
        records = [_record(digest, row) for digest, row in zip(digests, rows, strict=True)]
        _write_at(self.rows_file, n_rows * rows[0].nbytes, rows.data)
        _write_at(self.records_file, n_rows * RECORD_SIZE, b"".join(records))
        file, shape = str(self.rows_file), rows.shape[1:]
        _seen.update((file, n_rows + i, shape, record) for i, record in enumerate(records))

    def _in_memory(
        self, place: dict[bytes, int], wanted: dict[bytes, int], compute: Compute
    ) -> np.ndarray:
        """All rows, in the order of ``wanted``: those that can be read, and the rest computed."""
        missing = [digest for digest in wanted if digest not in place]
        found = dict(zip(missing, compute([wanted[digest] for digest in missing]), strict=True))
        if place:
            stored = StoredRows(self.rows_file, max(place.values()) + 1, self._shape())
            found |= {digest: stored[i] for digest, i in place.items()}
        return np.stack([found[digest] for digest in wanted])

    def _warn_not_kept(self, error: OSError) -> None:
        warnings.warn(
            f"activations cannot be saved in {self.folder}: {error}. They are computed in every "
            "call. Give a memory folder that you can write to.",
            stacklevel=3,
        )


def _current_folder(base: Path, compute_probe: Callable[[], np.ndarray]) -> Path:
    """The folder whose rows are those of the network as it computes now.

    One that is out of date is left alone, as another process may read it.
    """
    folders = (base.with_name(f"{base.name}-{generation}") for generation in itertools.count())
    return next(f for f in folders if f in _current or _is_current(f, compute_probe))


def _is_current(folder: Path, compute_probe: Callable[[], np.ndarray]) -> bool:
    try:
        stored = np.load(folder / PROBE)
    except OSError:
        return True  # a new one, or one that cannot be read
    except Exception:  # damaged: numpy's errors have no common type
        return False
    if _alike(stored, compute_probe()):
        _current.add(folder)
        return True
    warnings.warn(
        f"the activations in {folder} are not what the network computes now: its code has "
        "changed since. They are computed anew.",
        stacklevel=2,
    )
    return False


class _Turn:
    """One process at a time adds rows; others wait, and say for whom.

    A process that no longer adds rows is not waited for any longer than ``PATIENCE``.
    """

    def __init__(self, folder: Path, growing: Path) -> None:
        self.lock, self.holder, self.growing = FileLock(folder / "lock"), folder / "holder", growing

    def __enter__(self) -> None:
        try:
            self.lock.acquire(timeout=1)
        except Timeout:
            self._wait()
        self.holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")

    def __exit__(self, *_: Any) -> None:
        self.lock.release()

    def _wait(self) -> None:
        warnings.warn(
            f"waiting for {self._named_holder()}, which is adding to the activations in "
            f"{self.holder.parent}.",
            stacklevel=2,
        )
        size = self._size()
        while True:
            try:
                self.lock.acquire(timeout=PATIENCE)
                return
            except Timeout:
                if self._size() == size:
                    raise OSError(
                        f"{self._named_holder()} has held the lock for {PATIENCE} s without "
                        "adding a row; stop it if it hangs"
                    ) from None
                size = self._size()

    def _named_holder(self) -> str:
        return self.holder.read_text() if self.holder.exists() else "another process"

    def _size(self) -> int:
        return self.growing.stat().st_size if self.growing.exists() else 0


def has_location(memory: Any) -> bool:
    """Whether there is a folder to keep activations in."""
    return _location(memory) is not None


def _location(memory: Any) -> str | None:
    if memory is None or isinstance(memory, str):
        return memory
    if isinstance(memory, os.PathLike):
        return os.fspath(memory)
    if not isinstance(memory, Memory):
        raise TypeError(f"memory must be a folder or a joblib.Memory, got {memory!r}.")
    return memory.location


def _record(digest: bytes, row: np.ndarray) -> bytes:
    checksum = zlib.crc32(np.ascontiguousarray(row).data, zlib.crc32(digest))
    return digest + checksum.to_bytes(CHECKSUM_SIZE, "little")


def _alike(stored: np.ndarray, computed: np.ndarray) -> bool:
    if stored.shape != computed.shape:
        return False
    difference = np.linalg.norm((stored - computed).ravel())
    return bool(difference <= TOLERANCE * np.linalg.norm(computed.ravel()))


def _write_at(path: Path, position: int, content: bytes | memoryview) -> None:
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(position)
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
