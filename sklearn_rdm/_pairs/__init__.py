"""Images, pairs of images with measured dissimilarities, and the checks of what users give."""

from sklearn_rdm._pairs._image_pairs import (
    ImagePairs,
)
from sklearn_rdm._pairs._images import (
    read_images,
)

__all__ = [
    "ImagePairs",
    "read_images",
]
