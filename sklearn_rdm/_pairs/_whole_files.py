"""Files that appear under their name only once they are whole, and whose space is taken first.

A full disk is an error that names the file. Without the space taken first it would be a signal
that ends the process, as soon as something is written to a memory map.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import mmap
import os
import re
import shutil
import socket
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["check_not_cut", "map_new", "map_new_npy", "whole_file"]

HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
PARTIAL = re.compile(r"\.([0-9a-f]{8})-([0-9]+)-[0-9a-f]{8}\.partial$")  # host, process, writer
# posix_fallocate where a file system can't, for instance some that are mounted over a network.
CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
ZEROS = bytes(1 << 20)
ADVICE = "Free space on this disk, or write to another one"

_open: set[Path] = set()  # what this process writes now


@contextlib.contextmanager
def whole_file(path: Any) -> Iterator[Path]:
    """Give a new path beside ``path`` to write to; it takes that name if the block ends well.

    Its bytes are on the disk before it does. Links are followed, the permissions of a file that is
    replaced are kept, and what killed writers of this file left is removed.
    """
    path = Path(os.path.realpath(path))
    _remove_litter(path)
    # No name that others write to as well; tempfile would let nobody but the owner read the file.
    writer = f"{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial = path.with_name(f"{path.name}.{writer}.partial")
    _open.add(partial)
    try:
        yield partial
        _replace(partial, path)
    except OSError as error:
        raise _named(error, partial, path) from error
    finally:
        _open.discard(partial)
        partial.unlink(missing_ok=True)


def map_new_npy(path: Path, dtype: Any, shape: Sequence[int], name: Any) -> np.ndarray:
    """A new ``.npy`` file in a memory map, all of its space taken; errors call it ``name``."""
    dtype = np.dtype(dtype)
    header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(shape)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        _take_space(file, file.tell() + _n_bytes(dtype, shape), name)
    return np.lib.format.open_memmap(path, "r+")


def map_new(path: str, dtype: Any, shape: Sequence[int], advice: str = ADVICE) -> np.ndarray:
    """A new file without a header in a memory map, all of its space taken."""
    with open(path, "wb") as file:
        _take_space(file, _n_bytes(np.dtype(dtype), shape), path, advice)
    return np.memmap(path, dtype, "r+", shape=tuple(shape))


def check_not_cut(array: Any) -> None:
    """Raise an error if an array is in a memory map of a file that was cut short since.

    To read it would end the process.
    """
    while isinstance(array, np.ndarray) and getattr(array, "_mmap", None) is None:
        array = array.base
    if not isinstance(array, np.memmap):
        return
    mapped = array._mmap  # type: ignore[attr-defined] # numpy has no other name for it
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    if mapped.size() < start + len(mapped):
        raise OSError(
            f"{array.filename} was cut short while it was in use, to {mapped.size()} of "
            f"{start + len(mapped)} bytes: another program changed it. Make the file again."
        )


def _n_bytes(dtype: np.dtype, shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=object)) * dtype.itemsize


def _take_space(file: Any, n_bytes: int, name: Any, advice: str = ADVICE) -> None:
    """Make a file this long, with its space on the disk taken."""
    try:
        file.flush()
        if not _allocate(file.fileno(), n_bytes):
            _write_zeros(file, n_bytes)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: {n_bytes / 1e6:,.1f} MB are needed. {advice}",
            os.fspath(name),
        ) from error


def _allocate(descriptor: int, n_bytes: int) -> bool:
    """Whether the file system could take the space at once."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        return False
    return True


def _write_zeros(file: Any, n_bytes: int) -> None:
    """Fill a file up to its length."""
    file.seek(0, os.SEEK_END)
    for start in range(file.tell(), n_bytes, len(ZEROS)):
        file.write(ZEROS[: n_bytes - start])
    file.flush()
    os.fsync(file.fileno())  # some file systems look for the space only now


def _replace(partial: Path, path: Path) -> None:
    with open(partial, "r+b") as file:
        os.fsync(file.fileno())
    if path.exists():
        shutil.copymode(path, partial)
    os.replace(partial, path)
    if hasattr(os, "O_DIRECTORY"):  # the new name is on the disk as well
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _named(error: OSError, partial: Path, path: Path) -> OSError:
    """An error that names the file that users know, and how much of it was written."""
    if error.filename not in (None, str(partial)):
        return error
    if not partial.exists():
        return type(error)(error.errno, error.strerror, str(path))
    code = error.errno or errno.EIO  # numpy's has none
    return OSError(
        code,
        f"{os.strerror(code)}: {partial.stat().st_size / 1e6:,.1f} MB were written, and are "
        f"removed. {ADVICE}",
        str(path),
    )


def _remove_litter(path: Path) -> None:
    """Remove what killed writers of this file left beside it."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        if left not in _open and _is_abandoned(left):
            with contextlib.suppress(OSError):  # another process was faster, or owns it
                left.unlink()


def _is_abandoned(partial: Path) -> bool:
    """Whether the process that wrote it, on this computer, has ended."""
    found = PARTIAL.search(partial.name)
    if found is None or found[1] != HOST or os.name != "posix":
        return False
    return int(found[2]) == os.getpid() or not _is_running(int(found[2]))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # on POSIX: sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True
