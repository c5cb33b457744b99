"""Images, pairs of images with measured dissimilarities, and the checks of what users give."""

from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._images import read_images
from sklearn_rdm._pairs._lazy_images import LazyImages
from sklearn_rdm._pairs._patterns import ResponsePatterns
from sklearn_rdm._pairs._triplets import ImageTriplets

__all__ = [
    "ImagePairs",
    "LazyImages",
    "ImageTriplets",
    "ResponsePatterns",
    "read_images",
]
