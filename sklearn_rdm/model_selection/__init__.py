"""Cross-validation over images: splitters, held-out RDMs, and subjects held out as well.

A pair has two images, so folds of pairs would test on images that were trained on. Everything here
holds out images, and works in every scikit-learn tool that takes ``cv``.
"""

from sklearn_rdm._pairs._leaks import ImageLeakWarning
from sklearn_rdm.model_selection._bootstrap import cross_val_bootstrap
from sklearn_rdm.model_selection._permutation import cross_val_permutation_test
from sklearn_rdm.model_selection._progress import search_progress
from sklearn_rdm.model_selection._splitters import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
    StratifiedImageKFold,
)
from sklearn_rdm.model_selection._subjects import (
    SubjectHoldOutRDMRegressor,
    cross_val_subjects_score,
)
from sklearn_rdm.model_selection._validation import (
    cross_val_rdm,
    image_train_test_split,
    pairs_report,
)

__all__ = [
    "GroupImageKFold",
    "ImageKFold",
    "ImageLeakWarning",
    "ImageShuffleSplit",
    "LeaveOneGroupOfImagesOut",
    "RepeatedImageKFold",
    "StratifiedImageKFold",
    "SubjectHoldOutRDMRegressor",
    "cross_val_bootstrap",
    "cross_val_permutation_test",
    "cross_val_rdm",
    "cross_val_subjects_score",
    "image_train_test_split",
    "pairs_report",
    "search_progress",
]
