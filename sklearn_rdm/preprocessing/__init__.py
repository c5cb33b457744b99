"""Preprocess image by image within pairs, and pool subjects' dissimilarities to one target."""

from sklearn_rdm.preprocessing._per_image import (
    PerImage,
)
from sklearn_rdm.preprocessing._pooling import (
    SubjectPooling,
)

__all__ = [
    "PerImage",
    "SubjectPooling",
]
