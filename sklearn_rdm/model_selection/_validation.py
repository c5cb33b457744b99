"""Images held out: the pairs of one split, a report on splits, and a matrix of held-out pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch, _safe_indexing, check_consistent_length
from sklearn.utils.parallel import delayed

from sklearn_rdm._pairs._dissimilarities import check_dissimilarities, count_pairs
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._progress import collect
from sklearn_rdm.model_selection._cv import (
    check_pairs_and_cv,
    images_of,
    of_pairs_and_cv,
)
from sklearn_rdm.model_selection._image_splits import (
    check_split,
    check_split_pairs,
    grouped_images,
    image_labels,
    leaks,
    no_labels,
    pairs_of,
    row_numbers,
    shuffled_images,
)
from sklearn_rdm.model_selection._splitters import ImageKFold

__all__ = ["cross_val_rdm", "image_train_test_split", "pairs_report"]


def image_train_test_split(
    X: Any,
    *arrays: Any,
    test_size: Any = None,
    train_size: Any = None,
    random_state: Any = None,
    stratify: Any = None,
    groups: Any = None,
    test_pairs: str = "both",
) -> list:
    """Split pairs, and arrays that belong to them, by image into training and held-out pairs.

    :func:`~sklearn.model_selection.train_test_split` over images: no training pair holds an image
    of a test pair. Pairs of one training and one held-out image are in neither part.

    Parameters
    ----------
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        Only images that occur in one of these pairs are split.
    *arrays : array-likes of length n_pairs
        Dissimilarities, weights, ..., split the same way.
    test_size : float or int, default=None
        Share (0 to 1) or number of *images* to hold out, at least 3; with ``groups``, of groups.
        None is what ``train_size`` leaves, or 0.25.
    train_size : float or int, default=None
        Share or number of images (groups) to train on. None is what ``test_size`` leaves.
    random_state : int, RandomState instance or None, default=None
        An int gives the same split at every call.
    stratify : bool or array-like of shape (n_images,), default=None
        Hold out the same share of every label; True takes ``X.image_groups``.
    groups : bool or array-like of shape (n_images,), default=None
        Hold out whole groups of images; True takes ``X.image_groups``. Not with ``stratify``.
    test_pairs : {"both", "any"}, default="both"
        Whether both images of a test pair are held out, or at least one.

    Returns
    -------
    splitting : list, length 2 * (1 + len(arrays))
        ``[X_train, X_test, array_train, array_test, ...]``; the parts of X are ImagePairs that
        share its images.

    Raises
    ------
    ValueError
        If fewer than 3 images are held out, or there is no training pair or fewer than two test
        pairs, or lengths differ.

    See Also
    --------
    ImageShuffleSplit : Several such splits, for cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import image_train_test_split
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(10), 1 - np.eye(10))
    >>> X_train, X_test, y_train, y_test = image_train_test_split(
    ...     pairs, dissim, test_size=0.3, random_state=0
    ... )
    >>> X_train.used_images, X_test.used_images
    (array([0, 1, 3, 5, 6, 7, 9]), array([2, 4, 8]))
    >>> len(y_train), len(y_test)
    (21, 3)
    """
    name = "image_train_test_split"
    if any(hasattr(array, "to_pairs") for array in arrays):
        raise TypeError(
            "image_train_test_split splits pairs, but response patterns are given per image: use "
            "sklearn.model_selection.train_test_split(images, patterns), whose samples are images."
        )
    pairs = check_split_pairs(X, name)
    check_consistent_length(pairs, *arrays)
    by_group, by_stratum = _is_given(groups), _is_given(stratify)
    if by_group and by_stratum:
        raise ValueError("give stratify or groups, not both: groups are held out whole.")
    if test_size is None and train_size is None:
        test_size = 0.25
    sizes = {"test_size": test_size, "train_size": train_size}
    if by_group:
        split_images = grouped_images(pairs, _labels(pairs, groups, name), random_state, **sizes)
    else:
        labels = _labels(pairs, stratify, name) if by_stratum else no_labels(pairs)
        split_images = next(shuffled_images(pairs, labels, 1, random_state, **sizes))
    split = pairs_of(pairs, *split_images, test_pairs)
    counts = len(split[0]), len(split[1])
    check_split(name, split_images[1], counts, "Change test_size or train_size")
    return [_safe_indexing(array, rows) for array in (pairs, *arrays) for rows in split]


def pairs_report(cv: Any, X: Any, y: Any = None) -> Bunch:
    """Count the pairs that a splitter trains on, tests, drops, and never tests.

    Parameters
    ----------
    cv : int, splitter or iterable of (train, test)
        A splitter of this module, an int is ``ImageKFold(cv)``; any other is reported too, with
        the test pairs that it leaks.
        Parts may be row numbers or boolean masks of the pairs.
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        The pairs to split; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
    y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times), \
or ResponsePatterns, default=None
        Their dissimilarities, NaN where a subject has no value, to count pairs per subject.

    Returns
    -------
    report : Bunch
        ``n_pairs``; per split, shape (n_splits,): ``n_train``, ``n_test``, ``n_dropped`` (in
        neither part), ``n_test_images`` (images of the test pairs) and ``n_leaked`` (test pairs of
        which both images occur in training pairs); per pair, shape (n_pairs,): ``times_trained``
        and ``times_tested``; ``n_never_tested``; ``description``, all this in words. With y also
        ``n_train_by_subject`` and ``n_test_by_subject``, shape (n_splits, n_subjects): a subject
        with fewer than two pairs is left out of what is learned, or has no score.

    See Also
    --------
    cross_val_rdm : The held-out predictions, which are NaN for pairs that are never tested.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageKFold, pairs_report
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(30), 1 - np.eye(30))
    >>> print(pairs_report(ImageKFold(5), pairs).description)
    435 pairs of 30 images, 5 splits
    per split: trained on 276 (63%), tested 15 (3%) of 6 images, dropped 144 (33%)
    over all splits: 75 pairs tested (17%), 360 never tested (83%)
    """
    cv = ImageKFold(int(cv)) if isinstance(cv, int | np.integer) else cv
    X, y, cv = of_pairs_and_cv(X, y, cv)
    pairs = check_split_pairs(X, "pairs_report")
    y = None if y is None else check_dissimilarities(y, len(pairs))
    splits = [
        tuple(row_numbers(part, len(pairs)) for part in split)
        for split in (cv.split(pairs, y) if hasattr(cv, "split") else cv)
    ]
    times_trained, times_tested = np.zeros((2, len(pairs)), dtype=np.intp)
    for train, test in splits:
        times_trained[train] += 1
        times_tested[test] += 1
    n_train = np.array([len(train) for train, _ in splits])
    n_test = np.array([len(test) for _, test in splits])
    report = Bunch(
        n_pairs=len(pairs),
        n_train=n_train,
        n_test=n_test,
        n_dropped=len(pairs) - n_train - n_test,
        n_test_images=np.array([len(pairs[test].used_images) for _, test in splits]),
        n_leaked=np.array([leaks(pairs, *split).sum() for split in splits]),
        times_trained=times_trained,
        times_tested=times_tested,
        n_never_tested=int((times_tested == 0).sum()),
    )
    if y is not None:
        report.n_train_by_subject = np.array([count_pairs(y[train]) for train, _ in splits])
        report.n_test_by_subject = np.array([count_pairs(y[test]) for _, test in splits])
    report.description = _describe(report, len(pairs.used_images))
    return report


def cross_val_rdm(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
) -> Bunch:
    """Predict every pair by models that were trained without its images.

    What :func:`~sklearn.model_selection.cross_val_predict` is for samples. That one raises an error
    for folds of images, since they test a pair never or several times; here, predictions of a pair
    that several splits test are averaged. Each split is another model: where models differ in
    scale, score split by split (``test_dissims``) or use a rank correlation.

    Parameters
    ----------
    estimator : estimator with ``fit(X, y)`` and ``predict(X)``
        Cloned for every split; a search makes this a nested cross-validation.
    X : ImagePairs of n_pairs, or array that ``ImagePairs.from_arrays`` takes
        The labelled pairs; or the images, if ``y`` is :class:`~sklearn_rdm.ResponsePatterns`.
    y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or \
(n_pairs, n_subjects, n_times), or ResponsePatterns
        Their dissimilarities; NaN where a subject has no value.
    cv : int, splitter or iterable of (train, test), default=None
        None is ``ImageKFold(5)``, an int ``ImageKFold(cv)``. ``RepeatedImageKFold`` or
        ``test_pairs="any"`` predict more of the pairs. With response patterns, scikit-learn's
        splitters and rows are of images.
    n_jobs : int, default=None
        Splits fitted at the same time; None means 1, -1 all cores. The images are memory-mapped
        by the workers, not copied.
    verbose : int, default=0
        Above 0 shows a progress bar.
    params : dict, default=None
        Passed to ``fit``; an entry of length n_pairs is cut to the training pairs.

    Returns
    -------
    held_out : Bunch
        ``rdm``, shape (n_images, n_images): mean held-out prediction, NaN where there is none,
        zero diagonal; ``counts``, shape (n_images, n_images): number of predictions averaged;
        ``dissim`` and ``dissim_counts``, shape (n_pairs,): the same for the pairs of X, NaN and 0
        where there is none; ``train_indices``, ``test_indices`` and ``test_dissims``: lists of
        the rows of X, and of the predictions, of each split; with response patterns, rows of the
        images. A prediction that is NaN counts as none.

    Raises
    ------
    ValueError
        If y has the wrong shape, or cv tests a pair whose two images are both trained on.

    See Also
    --------
    pairs_report : Tells before fitting how many pairs will be predicted.
    sklearn_rdm.CalibratedRDMRegressor : Puts the folds' predictions on one scale; wrap a network
        in it before its joined predictions are scored.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImagePairs
    >>> from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm
    >>> from sklearn.base import BaseEstimator
    >>> class MeanDistance(BaseEstimator):
    ...     def fit(self, X, y):
    ...         self.mean_ = np.mean(y)
    ...         return self
    ...     def predict(self, X):
    ...         return np.full(len(X), self.mean_)
    >>> pairs, dissim = ImagePairs.from_rdms(np.eye(6), 1 - np.eye(6))
    >>> held_out = cross_val_rdm(MeanDistance(), pairs, dissim, cv=ImageKFold(2))
    >>> held_out.rdm[0]
    array([ 0.,  1.,  1., nan, nan, nan])
    >>> held_out.counts[0]
    array([0, 1, 1, 0, 0, 0])
    """
    patterns = y
    pairs, y, splits = check_pairs_and_cv(X, y, cv)
    calls = (
        delayed(_fit_predict)(clone(estimator), pairs, y, train, test, params or {})
        for train, test in splits
    )
    test_dissims = collect(calls, total=len(splits), verbose=verbose, desc="folds", n_jobs=n_jobs)
    counts = np.zeros(len(pairs), dtype=np.intp)
    total = np.zeros((len(pairs), *test_dissims[0].shape[1:]))
    for (_, test), predicted in zip(splits, test_dissims, strict=True):
        known = ~np.isnan(predicted.reshape(len(test), -1)).any(axis=1)
        counts[test[known]] += 1
        total[test[known]] += predicted[known]
    mean = np.full_like(total, np.nan)
    mean[counts > 0] = (total[counts > 0].T / counts[counts > 0]).T
    rows = splits
    if hasattr(patterns, "to_pairs"):
        rows = [(images_of(pairs, train), images_of(pairs, test)) for train, test in splits]
    return Bunch(
        rdm=pairs.to_rdms(mean),
        counts=np.nan_to_num(pairs.to_rdms(counts)).astype(np.intp),
        dissim=mean,
        dissim_counts=counts,
        train_indices=[train for train, _ in rows],
        test_indices=[test for _, test in rows],
        test_dissims=test_dissims,
    )


def _fit_predict(
    estimator: Any,
    pairs: ImagePairs,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    params: dict[str, Any],
) -> np.ndarray:
    cut = {
        name: _safe_indexing(value, train) if _is_per_pair(value, len(pairs)) else value
        for name, value in params.items()
    }
    return np.asarray(estimator.fit(pairs[train], y[train], **cut).predict(pairs[test]))


def _is_per_pair(value: Any, n_pairs: int) -> bool:
    """Whether a value has one entry per pair; numpy's scalars have a shape, but no entries."""
    if isinstance(value, str | bytes | dict | type):
        return False
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) > 0 and shape[0] == n_pairs
    return hasattr(value, "__len__") and len(value) == n_pairs


def _is_given(labels: Any) -> bool:
    return not (labels is None or labels is False)


def _labels(pairs: ImagePairs, labels: Any, name: str) -> np.ndarray:
    """Labels of all images, given or (True) of the pairs."""
    if labels is True:
        return image_labels(pairs, name)
    labels = np.asarray(labels)
    if labels.shape != (len(pairs.images),):
        raise ValueError(
            f"{name}: labels to stratify or group by must be one per image, shape "
            f"({len(pairs.images)},), got {labels.shape}."
        )
    return labels


def _describe(report: Bunch, n_images: int) -> str:
    def share(n_pairs: Any) -> str:
        return f"{n_pairs:.0f} ({n_pairs / report.n_pairs:.0%})"

    lines = [
        f"{report.n_pairs} pairs of {n_images} images, {len(report.n_train)} splits",
        f"per split: trained on {share(report.n_train.mean())}, tested "
        f"{share(report.n_test.mean())} of {report.n_test_images.mean():.0f} images, dropped "
        f"{share(report.n_dropped.mean())}",
        f"over all splits: {report.n_pairs - report.n_never_tested} pairs tested "
        f"({1 - report.n_never_tested / report.n_pairs:.0%}), {report.n_never_tested} never tested "
        f"({report.n_never_tested / report.n_pairs:.0%})",
    ]
    if "n_train_by_subject" in report:
        trained, tested = report.n_train_by_subject, report.n_test_by_subject
        lines.append(
            f"per split and subject: trained on {trained.min()} to {trained.max()}, tested "
            f"{tested.min()} to {tested.max()}"
        )
    if report.n_leaked.any():
        lines.append(
            f"LEAK: {share(report.n_leaked.mean())} test pairs per split join images that were "
            "trained on"
        )
    return "\n".join(lines)
