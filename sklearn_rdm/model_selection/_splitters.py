"""Splitters over images: which pairs train and which test when images are held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.utils import check_random_state

from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm.model_selection._image_splits import (
    Rows,
    check_split_pairs,
    image_labels,
    k_folds,
    no_labels,
    shuffled_images,
)
from sklearn_rdm.model_selection._image_splitter import ImageSplitter, KFoldSplitter, as_count


class ImageKFold(KFoldSplitter):
    """K folds of images: test on the pairs of held-out images, train on the pairs of the others.

    Folds of *pairs* would test on images that were trained on. Here the images that occur in a
    pair of X are cut into folds by :class:`~sklearn.model_selection.KFold`; a split trains on the
    pairs of two training images and tests on the pairs of two held-out images. Pairs of one of
    each are dropped: of a complete design with ``k`` folds, a split trains on about
    ``(1 - 1/k)^2`` of the pairs and tests on ``1/k^2``; ``1/k`` of them are tested in some split.

    Image sets that share no pair are split separately, so that every fold holds out a share of
    each set. A set of fewer than ``2 * n_splits`` images, which cannot give a pair to every fold,
    is held out whole.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2, with at least 3 images each.
    shuffle : bool, default=False
        Whether to shuffle the images first; if not, a fold is a run of successive images of each
        set. Shuffle when the images are ordered by category.
    random_state : int, RandomState instance or None, default=None
        The order when shuffling. An int gives the same folds at every call.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one. "any" tests more pairs,
        but a pair that shares an image with the training pairs is easier to predict.

    Raises
    ------
    ValueError
        By ``split``, if a fold holds out fewer than 3 images, or a sparse design leaves it no
        training pair or fewer than two test pairs.

    See Also
    --------
    RepeatedImageKFold : Less noise from the choice of folds, and more of the pairs tested.
    StratifiedImageKFold : When every fold should hold out a share of each category.
    GroupImageKFold : When images of one category should be held out together.
    ImageShuffleSplit : When the size of the test set matters, rather than testing every image.
    pairs_report : Counts the pairs that a splitter trains on, tests and drops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageKFold
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(6), 1 - np.eye(6))
    >>> for train, test in ImageKFold(2).split(pairs):
    ...     print(pairs[train].index.tolist(), pairs[test].index.tolist())
    [[3, 4], [3, 5], [4, 5]] [[0, 1], [0, 2], [1, 2]]
    [[0, 1], [0, 2], [1, 2]] [[3, 4], [3, 5], [4, 5]]
    """

    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        return k_folds(pairs, self._labels(pairs), self.n_splits, self.shuffle, self.random_state)

    def _labels(self, pairs: ImagePairs) -> np.ndarray:
        return no_labels(pairs)


class StratifiedImageKFold(ImageKFold):
    """K folds of images that hold out a share of every image group.

    As :class:`ImageKFold`, with :class:`~sklearn.model_selection.StratifiedKFold` on
    ``pairs.image_groups``: each fold has about the same share of every group (of every image set,
    if there are several that share no pair).

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2, with at least 3 images each.
    shuffle : bool, default=False
        Whether to shuffle the images of each group first.
    random_state : int, RandomState instance or None, default=None
        The order when shuffling. An int gives the same folds at every call.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Raises
    ------
    ValueError
        By ``split``: as :class:`ImageKFold`; if the pairs have no ``image_groups``; if every
        group has fewer than ``n_splits`` images. If only some have, scikit-learn warns.

    See Also
    --------
    GroupImageKFold : The opposite: whole groups are held out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import StratifiedImageKFold
    >>> pairs, dissim = ImagePairs.from_rdms(
    ...     np.eye(8), 1 - np.eye(8), image_groups=["face"] * 4 + ["house"] * 4
    ... )
    >>> for train, test in StratifiedImageKFold(2).split(pairs):
    ...     print(pairs[test].used_images)
    [0 1 4 5]
    [2 3 6 7]
    """

    def _labels(self, pairs: ImagePairs) -> np.ndarray:
        return image_labels(pairs, type(self).__name__)


class GroupImageKFold(KFoldSplitter):
    """K folds of images that keep the images of a group together.

    As :class:`ImageKFold`, with :class:`~sklearn.model_selection.GroupKFold` on
    ``pairs.image_groups``: does the model predict the dissimilarities of images of categories
    (or of image sets) that it was not trained on?

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of groups.
    shuffle : bool, default=False
        Whether to shuffle the groups first; if not, folds are made equally large.
    random_state : int, RandomState instance or None, default=None
        The order when shuffling. An int gives the same folds at every call.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Raises
    ------
    ValueError
        By ``split``: if the pairs have no ``image_groups``, or fewer groups than folds; if a fold
        holds out fewer than 3 images or leaves no training pair or fewer than two test pairs.

    See Also
    --------
    LeaveOneGroupOfImagesOut : One split per group.
    StratifiedImageKFold : The opposite: a share of every group is held out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import GroupImageKFold
    >>> pairs, dissim = ImagePairs.from_rdms(
    ...     np.eye(8), 1 - np.eye(8), image_groups=["face", "house"] * 4
    ... )
    >>> for train, test in GroupImageKFold(2).split(pairs):
    ...     print(pairs[test].used_images)
    [1 3 5 7]
    [0 2 4 6]
    """

    _advice = "Use a smaller n_splits, or merge small groups"

    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        images = pairs.used_images
        groups = image_labels(pairs, type(self).__name__)[images]
        folds = GroupKFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        for train, test in folds.split(images, groups=groups):
            yield images[train], images[test]


class LeaveOneGroupOfImagesOut(ImageSplitter):
    """One split per image group: its images are held out.

    As :class:`GroupImageKFold` with one group per fold; the groups are ``pairs.image_groups``,
    each of at least 3 images, in sorted order.

    Parameters
    ----------
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Raises
    ------
    ValueError
        By ``split``: if the pairs have no ``image_groups`` or only one group; if a group has
        fewer than 3 images, fewer than two pairs, or leaves no training pair.

    See Also
    --------
    GroupImageKFold : Several groups at a time: for many or small groups.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import LeaveOneGroupOfImagesOut
    >>> pairs, dissim = ImagePairs.from_rdms(
    ...     np.eye(6), 1 - np.eye(6), image_groups=["face", "house"] * 3
    ... )
    >>> cv = LeaveOneGroupOfImagesOut()
    >>> cv.get_n_splits(pairs)
    2
    >>> [pairs[test].used_images.tolist() for train, test in cv.split(pairs)]
    [[0, 2, 4], [1, 3, 5]]
    """

    _advice = "Merge small groups"

    def __init__(self, *, test_pairs: str = "both") -> None:
        self.test_pairs = test_pairs

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of groups among the images of X, which must be given."""
        pairs = check_split_pairs(X, type(self).__name__)
        return len(np.unique(image_labels(pairs, type(self).__name__)[pairs.used_images]))

    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        images = pairs.used_images
        groups = image_labels(pairs, type(self).__name__)[images]
        for train, test in LeaveOneGroupOut().split(images, groups=groups):
            yield images[train], images[test]


class RepeatedImageKFold(ImageSplitter):
    """:class:`ImageKFold`, shuffled anew ``n_repeats`` times.

    A pair is tested in a repeat with a chance of about ``1 / n_splits``, since both images must
    be held out together; repeats test more of the pairs (:func:`pairs_report` counts them).

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds of each repeat, at least 2, with at least 3 images each.
    n_repeats : int, default=10
        Number of repeats.
    random_state : int, RandomState instance or None, default=None
        The order of the images. An int gives the same folds at every call.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Raises
    ------
    ValueError
        By ``split``, as :class:`ImageKFold`; by ``split`` and ``get_n_splits``, if ``n_repeats``
        is not an integer of 1 or more.

    See Also
    --------
    ImageShuffleSplit : Independent random splits, of a size that you choose.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import RepeatedImageKFold
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(6), 1 - np.eye(6))
    >>> cv = RepeatedImageKFold(2, n_repeats=3, random_state=0)
    >>> cv.get_n_splits(), len(list(cv.split(pairs)))
    (6, 6)
    """

    _advice = "Use a smaller n_splits"

    def __init__(
        self,
        n_splits: int = 5,
        *,
        n_repeats: int = 10,
        random_state: Any = None,
        test_pairs: str = "both",
    ) -> None:
        self.n_splits = n_splits
        self.n_repeats = n_repeats
        self.random_state = random_state
        self.test_pairs = test_pairs

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return folds times repeats; the arguments, which scikit-learn passes, are ignored."""
        return as_count("n_splits", self.n_splits) * as_count("n_repeats", self.n_repeats)

    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        rng = check_random_state(self.random_state)
        for _ in range(as_count("n_repeats", self.n_repeats)):
            yield from k_folds(pairs, no_labels(pairs), self.n_splits, True, rng)


class ImageShuffleSplit(ImageSplitter):
    """Independent random splits of the images.

    As :class:`ImageKFold`, with :class:`~sklearn.model_selection.ShuffleSplit` over the images.
    Image sets that share no pair are drawn from each; one too small to give a pair to both
    parts is held out whole or not at all.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float or int, default=None
        Share (0 to 1) or number of *images* to hold out, at least 3; pairs of two held-out images
        are about the square of the share. None is what ``train_size`` leaves, or 0.1.
    train_size : float or int, default=None
        Share or number of images to train on. None is what ``test_size`` leaves.
    random_state : int, RandomState instance or None, default=None
        An int gives the same splits at every call.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Raises
    ------
    ValueError
        By ``split``, if fewer than 3 images are held out, or a sparse design leaves a split no
        training pair or fewer than two test pairs.

    See Also
    --------
    ImageKFold : Tests every image once.
    image_train_test_split : One split, of arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageShuffleSplit
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(10), 1 - np.eye(10))
    >>> for train, test in ImageShuffleSplit(2, test_size=0.4, random_state=0).split(pairs):
    ...     print(len(train), len(test), pairs[test].used_images)
    15 6 [2 4 8 9]
    15 6 [1 2 3 5]
    """

    _advice = "Change test_size or train_size"

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: Any = None,
        train_size: Any = None,
        random_state: Any = None,
        test_pairs: str = "both",
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.train_size = train_size
        self.random_state = random_state
        self.test_pairs = test_pairs

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of splits; the arguments, which scikit-learn passes, are ignored."""
        return as_count("n_splits", self.n_splits)

    def _iter_images(self, pairs: ImagePairs) -> Iterator[Rows]:
        sizes = {"test_size": self.test_size, "train_size": self.train_size}
        return shuffled_images(pairs, no_labels(pairs), self.n_splits, self.random_state, **sizes)
