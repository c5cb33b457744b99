"""Photographs and feature arrays: decoding, checking and telling them apart by content."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps
from tqdm import tqdm

from sklearn_rdm._pairs._dissimilarities import check_not_masked
from sklearn_rdm._pairs._whole_files import check_not_cut, map_new_npy, whole_file

__all__ = ["read_images"]

COLOURS = {"white": 1.0, "grey": 0.5, "black": 0.0}
ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")  # Pillow's
DEEP_MODES = ("I", "F")
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_images(
    paths_or_folder: Any,
    size: Any = None,
    *,
    n_jobs: int | None = None,
    out: Any = None,
    verbose: int = 0,
) -> np.ndarray:
    """Decode image files into one array.

    Parameters
    ----------
    paths_or_folder : path or sequence of paths
        Files in this order, or a folder whose image files are taken in the order of their names as
        text: ``img_10.png`` comes before ``img_2.png``, with a warning.
    size : int or (height, width), default=None
        What every image is resized to (bicubic, the whole image, no crop), in pixels. None keeps
        the files' own size, which must then be the same for all.
    n_jobs : int, default=None
        Threads that decode; None means 1, -1 all cores.
    out : path, default=None
        A ``.npy`` file to write, for image sets larger than memory. It appears under this name
        only when it is whole.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Returns
    -------
    images : ndarray or memmap of uint8, shape (n_images, height, width, 3)
        RGB; a read-only memmap of the file if ``out`` is given.

    Raises
    ------
    ValueError
        If a file is missing, broken, truncated or transparent, or of another size than the first,
        or has more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (89 million, unless you change it);
        it is named.
    OSError
        If ``out`` cannot be written: its space is taken first, and nothing is left behind.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_rdm import read_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ["b.png", "a.png"]:
    ...         Image.new("RGB", (20, 10)).save(Path(folder) / name)
    ...     read_images(folder, size=32).shape
    (2, 32, 32, 3)
    """
    paths = list_images(paths_or_folder)
    size = check_size(size)
    decode = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
        delayed(read_image)(path, size) for path in paths
    )
    decoded = tqdm(decode, total=len(paths), desc="images", unit="img", disable=verbose <= 0)
    if out is None:
        return _fill(decoded, paths, lambda shape: np.empty(shape, dtype=np.uint8))
    with whole_file(out) as partial:
        _fill(decoded, paths, lambda shape: map_new_npy(partial, np.uint8, shape, out))
    return np.load(out, mmap_mode="r")


def read_image(path: Any, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one file to (height, width, 3) uint8, resized to ``size`` if one is given."""
    try:
        with Image.open(path) as file:
            _check_pixels(file)
            mode, transparent = file.mode, _is_transparent(file)
            pixels = _as_pixels(file, size)
    except Exception as error:  # Pillow's for broken files have no common type
        raise _cannot_read(path, error) from error
    if mode.startswith(DEEP_MODES):  # Pillow clips these to white
        raise ValueError(
            f"the image file {str(path)!r} has grey values of more than 8 bits (Pillow mode "
            f"{mode}): save it with 8 bits per channel."
        )
    if transparent:  # Pillow gives these pixels the colour that they hide, often black
        raise ValueError(
            f"the image file {str(path)!r} has transparent pixels: what colour they show depends "
            "on what lies behind them. Flatten it onto the colour of your display first, for "
            "instance with PIL.Image.alpha_composite."
        )
    return pixels


def _as_pixels(file: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    ImageOps.exif_transpose(file, in_place=True)
    image = file.convert("RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.array(image)


def _check_pixels(image: Image.Image) -> None:
    """Raise an error, before any pixel is decoded, if there are more than Pillow's limit."""
    most, n_pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if most is not None and n_pixels > most:
        raise ValueError(
            f"it has {n_pixels:,} pixels, more than {most:,}. If you trust the file, set "
            "PIL.Image.MAX_IMAGE_PIXELS to a larger number, or to None"
        )


def _cannot_read(path: Any, error: Exception) -> ValueError:
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        reason = "there is not enough memory for it"
    advice = "" if isinstance(error, FileNotFoundError) else " Copy or export the file again."
    return ValueError(f"the image file {str(path)!r} cannot be read: {reason.rstrip('.')}.{advice}")


def _is_transparent(image: Image.Image) -> bool:
    has_alpha = image.mode in ALPHA_MODES or "transparency" in image.info
    if not has_alpha or image.mode.startswith(DEEP_MODES):
        return False
    return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)


def list_images(paths_or_folder: Any) -> list[str]:
    """Paths as given, or the image files of a folder, sorted as text."""
    if isinstance(paths_or_folder, str | os.PathLike):
        folder = Path(paths_or_folder)
        if not folder.is_dir():
            raise ValueError(f"{str(folder)!r} is not a folder; give a folder or a list of files.")
        shown = (p for p in folder.iterdir() if not p.name.startswith("."))  # not macOS's ._a.png
        paths = sorted(p for p in shown if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise ValueError(f"no image file ({', '.join(IMAGE_SUFFIXES)}) in {str(folder)!r}.")
        _warn_if_numbered(paths)
    else:
        paths = list(paths_or_folder)
        if not paths:
            raise ValueError("the list of image files is empty.")
    return [os.fspath(path) for path in paths]


def _warn_if_numbered(paths: Sequence[Path]) -> None:
    """Warn if text order is not that of the numbers in the names: a matrix may have the latter."""
    numbered = sorted(paths, key=lambda path: _as_text_and_numbers(path.name))
    for path, other in zip(paths, numbered, strict=True):
        if path != other:
            warnings.warn(
                f"the images in {str(path.parent)!r} are taken in the order of their names as "
                f"text, {path.name!r} before {other.name!r}. If rows of your matrices follow the "
                "numbers, fill these up with zeros, or give a list of files in your order.",
                stacklevel=2,
            )
            return


def _as_text_and_numbers(name: str) -> list[Any]:
    return [int(x) if k % 2 else x for k, x in enumerate(re.split(r"([0-9]+)", name))]


def are_paths(images: Any) -> bool:
    """Whether ``images`` names files (a folder, or a sequence of paths) and is not an array."""
    if isinstance(images, str | os.PathLike):
        return True
    is_listed = isinstance(images, Sequence) or getattr(images, "ndim", None) == 1
    return is_listed and len(images) > 0 and all(isinstance(p, str | os.PathLike) for p in images)


def check_size(size: Any) -> tuple[int, int] | None:
    """Return (height, width) of a size given as one int or two, None for None."""
    if size is None:
        return None
    height_width = tuple(size) if np.iterable(size) else (size, size)
    if len(height_width) != 2 or not all(
        isinstance(s, int | np.integer) and s > 0 for s in height_width
    ):
        raise ValueError(f"an image size must be a positive int or (height, width), got {size!r}.")
    return int(height_width[0]), int(height_width[1])


def check_images(images: Any) -> np.ndarray:
    """Return the images as one numeric array, unchanged if they are one already."""
    if are_paths(images):
        raise TypeError(
            "images are given as paths: decode them first with read_images(paths), or read them "
            "when needed with LazyImages(paths)."
        )
    if getattr(images, "is_lazy", False):
        return images
    images = as_array(images)
    if images.dtype.kind not in "uif" or images.ndim < 2 or images.size == 0:
        raise ValueError(
            "images must be one numeric array of shape (n_images, height, width, 3) or "
            f"(n_images, ...), got {'an empty one: ' if images.size == 0 else ''}{images.dtype} of "
            f"shape {images.shape}."
        )
    check_not_cut(images)
    # A memmap may be larger than memory: it is not read through here, but checked as it is used.
    if images.dtype.kind == "f" and type(images) is np.ndarray:
        finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
        if not finite.all():
            raise ValueError(f"image {finite.argmin()} holds NaN or infinity.")
    return images


def as_array(images: Any, *, in_pairs: bool = False) -> np.ndarray:
    """Return as one array what may be a list, or an array or column of objects, of images."""
    if type(images) in (np.ndarray, np.memmap) and images.dtype != object:
        return images
    check_not_masked(images, "images")
    try:
        array = np.asarray(images)
        holds_arrays = array.dtype == object and isinstance(next(array.flat, None), np.ndarray)
        return np.asarray(array.tolist()) if holds_arrays else array
    except ValueError as error:
        listed = [image for pair in images for image in pair] if in_pairs else list(images)
        raise _refused_sizes(listed, in_pairs) from error


def _refused_sizes(images: list[Any], in_pairs: bool) -> ValueError:
    """Error that names the first image of another shape."""
    shapes = [np.shape(image) for image in images]
    row = next(row for row, shape in enumerate(shapes) if shape != shapes[0])
    first, other = (f"{k % 2} of pair {k // 2}" if in_pairs else k for k in (0, row))
    return ValueError(
        f"images must have one size, but image {first} has shape {shapes[0]} and image {other} "
        f"{shapes[row]}: resize them. read_images(paths, size=(height, width)) does so for files."
    )


def image_digests(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return a 16-byte content hash (dtype, shape and bytes) of every image, dtype V16."""
    digests = []
    for image in images:
        check_not_cut(image)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{image.dtype.str}{image.shape}".encode())
        digest.update(np.ascontiguousarray(image).data)
        digests.append(np.frombuffer(digest.digest(), dtype="V16"))
    return np.concatenate(digests)


def _fill(decoded: Iterable[np.ndarray], paths: Sequence[str], allocate: Any) -> np.ndarray:
    images = np.empty(0)
    for row, image in enumerate(decoded):
        if row == 0:
            images = allocate((len(paths), *image.shape))
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{paths[row]!r} is {image.shape[:2]} pixels, {paths[0]!r} is "
                f"{images.shape[1:3]}. Give size=(height, width) to read_images, or of pairs of "
                "files to ImagePairs.from_arrays, to resize all of them."
            )
        images[row] = image
    return images


def as_colour(colour: Any) -> np.ndarray | None:
    """Return a colour given by name or as (r, g, b) in 0..1 as three floats, None if it is none."""
    if isinstance(colour, str):
        return np.full(3, COLOURS[colour]) if colour in COLOURS else None
    try:
        values = np.asarray(colour, dtype=float)
    except (TypeError, ValueError):
        return None
    is_colour = values.shape == (3,) and bool(((values >= 0) & (values <= 1)).all())
    return values if is_colour else None


def flatten_images(images: np.ndarray, n_features: int) -> np.ndarray:
    """Return the images as rows, after checking that each holds the numbers seen in fit."""
    features = images.reshape(len(images), -1)  # which reads lazy ones
    if features.shape[1] != n_features:
        raise ValueError(
            f"images of shape {images.shape[1:]} have {features.shape[1]} features each, but this "
            f"estimator was fitted on images of {n_features} features."
        )
    return features
