"""Preprocess image by image within pairs, and pool subjects' dissimilarities to one target."""

from sklearn_rdm.preprocessing._choices import choices_to_rdm
from sklearn_rdm.preprocessing._per_image import PerImage
from sklearn_rdm.preprocessing._pooling import SubjectPooling
from sklearn_rdm.preprocessing._similarity import to_dissimilarity

__all__ = [
    "PerImage",
    "SubjectPooling",
    "choices_to_rdm",
    "to_dissimilarity",
]
