"""Every reader of the library, valid files for it, and ways to damage them."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["READERS", "damaged", "outcome"]

N_IMAGES = 7
NAMES = [f"image_{k}.png" for k in range(N_IMAGES)]
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000000)
TOKENS = (b"NaN", b"1e999", b"-1", b'"', b"[", b"{", b",", b"\n", b"\0", b"\xff", b"9" * 400, b"")


def rdms() -> np.ndarray:
    points = np.random.default_rng(0).random((3, N_IMAGES, 4))
    return np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)


@dataclass(frozen=True)
class Reader:
    """A format: its valid files, how it is read, and how it is packed again after a damage."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    repack: Callable[[random.Random, bytes], bytes] | None = None
    is_text: bool = False


# --- valid files -------------------------------------------------------------------------------


def written(suffix: str, write: Callable[[Path], Any]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path)
        return path.read_bytes()


def our_file(suffix: str, **names: Any) -> bytes:
    from sklearn_rdm.io import write_rdms

    def write(path: Path) -> None:
        write_rdms(path, rdms()[0] if suffix == ".csv" else rdms(), **names)

    return written(suffix, write)


def matlab_files() -> list[bytes]:
    import scipy.io

    structs = np.zeros((1, 3), dtype=[("RDM", "O"), ("name", "O"), ("color", "O")])
    structs[0] = [(rdm, f"s{k}", np.ones(3)) for k, rdm in enumerate(rdms())]
    upper = rdms()[:, *np.triu_indices(N_IMAGES, 1)]
    variables = [
        {"RDMs": structs},
        {"RDMs": structs["RDM"], "note": "cells"},
        {"rdmutv": upper[:1], "stimuli": np.array(NAMES)},
        {"rdms": rdms(), "image_names": np.array(NAMES, dtype=object)},
    ]
    seeds = [written(".mat", lambda path, v=v: scipy.io.savemat(path, v)) for v in variables]
    both = {"rdms": rdms()[0], "names": np.array(NAMES)}
    for given in ({"format": "4"}, {"do_compression": True}):
        seeds.append(written(".mat", lambda path, g=given: scipy.io.savemat(path, both, **g)))
    return seeds


def matlab_hdf5_files() -> list[bytes]:
    import h5py

    def write(path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            held = [file.create_dataset(f"#refs#/{k}", data=rdm) for k, rdm in enumerate(rdms())]
            file["RDMs/RDM"] = np.array([[item.ref] for item in held], dtype=h5py.ref_dtype)
            file["RDMs"].attrs["MATLAB_class"] = np.bytes_("struct")
            file.create_dataset("note", data=np.zeros((50, 50)), compression="gzip")

    return [written(".mat", write)]


def long_table() -> bytes:
    i, j = np.triu_indices(N_IMAGES, 1)
    lines = ["subject,image_1,image_2,dissimilarity"]
    for subject, rdm in enumerate(rdms()):
        lines += [
            f"s{subject},{NAMES[a]},{NAMES[b]},{rdm[a, b]}" for a, b in zip(i, j, strict=True)
        ]
    return "\n".join(lines).encode() + b"\n"


def meadows_files() -> list[bytes]:
    upper = rdms()[:, *np.triu_indices(N_IMAGES, 1)].tolist()
    stimuli = [{"name": name, "id": name} for name in NAMES]
    trees = [
        {"tasks": [{"task": {"task_type": "multiarrange"}, "rdm": vector, "stimuli": stimuli}]}
        for vector in upper
    ]
    return [json.dumps(content).encode() for content in (trees[0], {"a": trees[0], "b": trees[1]})]


def image_files(suffix: str) -> list[bytes]:
    from PIL import Image

    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)]
    images = [Image.fromarray(array) for array in arrays]
    files = [written(suffix, image.save) for image in images]
    if suffix == ".tif":
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
            save = images[0].save
            files.append(written(suffix, lambda p, c=compression, s=save: s(p, compression=c)))
    if suffix == ".png":
        files.append(written(suffix, images[0].quantize(8).save))
    return files


def weights_files(suffix: str) -> list[bytes]:
    import torch

    state = {"first.weight": torch.ones(4, 3, 2, 2), "first.bias": torch.ones(4)}
    if suffix == ".safetensors":
        from safetensors.torch import save

        return [save(state)]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return [buffer.getvalue()]


# --- readers -----------------------------------------------------------------------------------


def read_rdms(path: Path) -> Any:
    from sklearn_rdm.io import read_rdms

    read = read_rdms(path).rdms
    assert read.dtype == np.float64
    assert read.shape[-1] == read.shape[-2]
    return read


def read_table(path: Path) -> Any:
    from sklearn_rdm.io import from_long_table

    return from_long_table(path, subject="subject")


def read_image(path: Path) -> Any:
    from sklearn_rdm import read_images

    return read_images([path])


def read_weights(path: Path) -> Any:
    from sklearn_rdm._network._weight_files import read_state_dict

    return read_state_dict(path)


STORED = np.random.default_rng(0).random((6, 20)).astype(np.float32)
STORE_FILES = ("activations.float32", "records", "shape.json", "probe.npy")


def use_store(folder: Path) -> tuple[Path, np.ndarray]:
    """Rows as a store gives them; what it can't look up is computed."""
    from sklearn_rdm._network import _store

    _store._seen.clear()
    _store._current.clear()
    store = _store.ActivationStore(folder, "key", lambda: np.ones(3, np.float32))
    digests = [row.tobytes()[: _store.DIGEST_SIZE] for row in STORED]
    rows, places = store.rows(range(len(STORED)), digests, lambda some: STORED[list(some)])
    return store.folder, rows[places]


def store_files() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store, _ = use_store(Path(folder))
        return [name.encode() + b"\n" + (store / name).read_bytes() for name in STORE_FILES]


def read_store(path: Path) -> Any:
    """Put a damaged file into a store, and look all rows up twice."""
    content = path.read_bytes()
    name, _, damaged_part = content.partition(b"\n")
    folder = path.parent / "store"
    shutil.rmtree(folder, ignore_errors=True)
    store, _ = use_store(folder)
    known = name.decode(errors="replace")
    (store / (known if known in STORE_FILES else "records")).write_bytes(damaged_part)
    for _ in range(2):
        _, rows = use_store(folder)
        np.testing.assert_array_equal(rows, STORED)
    return rows


# --- damages -----------------------------------------------------------------------------------


def damage(rng: random.Random, content: bytes, is_text: bool = False) -> bytes:
    """Damage a file in one to three ways."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        ways = [cut, flip_bits, set_bytes, set_number, clear, move, *([put_token] * 4 * is_text)]
        content = rng.choice(ways)(rng, content) or b"\0"
    return content


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def flip_bits(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    new = rng.randbytes(rng.randint(1, 8))
    return content[:start] + new + content[start + len(new) :]


def set_number(rng: random.Random, content: bytes) -> bytes:
    """A size, a type or an offset that cannot be."""
    order, kind = rng.choice("<>"), rng.choice("HIQ")
    number = rng.choice(NUMBERS) % (1 << 8 * struct.calcsize(kind))
    new = struct.pack(order + kind, number if rng.random() < 0.7 else rng.randrange(256))
    start = rng.randrange(len(content)) // 4 * 4
    return content[:start] + new + content[start + len(new) :]


def clear(rng: random.Random, content: bytes) -> bytes:
    start, size = rng.randrange(len(content)), rng.choice((4, 16, 512, 4096))
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def move(rng: random.Random, content: bytes) -> bytes:
    """Remove, double or insert a part."""
    start, size = rng.randrange(len(content)), rng.choice((1, 4, 8, 100, 1000))
    part = content[start : start + size]
    new = rng.choice((b"", part + part, rng.randbytes(size)))
    return content[:start] + new + content[start + size :]


def put_token(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.choice(TOKENS) + content[start + rng.randrange(4) :]


def repack_npz(rng: random.Random, content: bytes) -> bytes:
    """Damage an array inside an archive whose checksums are right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            part = old.read(name)
            packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            new.writestr(name, damage(rng, part) if name == chosen else part, packed)
    return out.getvalue()


def repack_mat(rng: random.Random, content: bytes) -> bytes:
    """Damage variables inside of compressed elements whose checksums are right."""
    header, place, parts = content[:128], 128, []
    while place + 8 <= len(content) and 0 not in content[:4]:
        kind, size = struct.unpack_from("<II", content, place)
        element = content[place + 8 : place + 8 + size]
        place += 8 + size
        inner = zlib.decompress(element) if kind == 15 else struct.pack("<II", kind, size) + element
        packed = zlib.compress(damage(rng, inner))
        parts.append(struct.pack("<II", 15, len(packed)) + packed)
    return header + b"".join(parts) if parts else damage(rng, content)


def repack_png(rng: random.Random, content: bytes) -> bytes:
    """Damage chunks of an image, with the right checksums."""
    out, place = [content[:8]], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        kind, part = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        if part and rng.random() < 0.4:
            part = damage(rng, part)
        check = struct.pack(">I", zlib.crc32(kind + part))
        out.append(struct.pack(">I", len(part)) + kind + part + check)
        place += 12 + size
    return b"".join(out)


LABELS = {"image_names": NAMES, "subjects": ["a", "b", "c"]}
READERS = {
    "npy": Reader(".npy", lambda: [our_file(".npy")], read_rdms),
    "npz": Reader(".npz", lambda: [our_file(".npz", **LABELS)], read_rdms, repack_npz),
    "MATLAB v4, v5": Reader(".mat", matlab_files, read_rdms, repack_mat),
    "MATLAB v7.3": Reader(".mat", matlab_hdf5_files, read_rdms),
    "csv, square": Reader(
        ".csv", lambda: [our_file(".csv", image_names=NAMES)], read_rdms, is_text=True
    ),
    "csv, long table": Reader(".csv", lambda: [long_table()], read_table, is_text=True),
    "Meadows json": Reader(".json", meadows_files, read_rdms, is_text=True),
    "rsatoolbox pkl": Reader(".pkl", lambda: [our_file(".pkl", **LABELS)], read_rdms),
    "rsatoolbox h5": Reader(".h5", lambda: [our_file(".h5", **LABELS)], read_rdms),
    "png": Reader(".png", lambda: image_files(".png"), read_image, repack_png),
    "jpg": Reader(".jpg", lambda: image_files(".jpg"), read_image),
    "tif": Reader(".tif", lambda: image_files(".tif"), read_image),
    "pth": Reader(".pth", lambda: weights_files(".pth"), read_weights, repack_npz),
    "safetensors": Reader(".safetensors", lambda: weights_files(".safetensors"), read_weights),
    "store of activations": Reader(".store", store_files, read_store),
}


@cache
def seeds_of(reader: str) -> list[bytes]:
    return READERS[reader].seeds()


def damaged(number: int, folder: Path) -> tuple[str, Path]:
    """The damaged file of this number, always the same, and which reader is for it."""
    names = list(READERS)
    reader = names[number % len(names)]
    kind, rng = READERS[reader], random.Random(number)
    seed = rng.choice(seeds_of(reader))
    if kind.repack is not None and rng.random() < 0.5:
        content = kind.repack(rng, seed)
    else:
        content = damage(rng, seed, kind.is_text)
    path = folder / f"damaged{kind.suffix}"
    path.write_bytes(content)
    return reader, path


def outcome(reader: str, path: Path) -> tuple[str, str]:
    """``read``, ``named`` for one error that names the file, or the kind of fault; and details."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[reader].read(path)
    except (ValueError, OSError) as error:
        is_named = path.name in str(error)
        return "named" if is_named else "unnamed", "" if is_named else _short(error)
    except Exception as error:
        return "raw", _short(error)
    return "read", ""


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:100]}"
