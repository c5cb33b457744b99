"""Splitters against brute force, in every scikit-learn tool, and what workers copy."""

import itertools
import os
import time
import warnings

import numpy as np
import psutil
import pytest
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import resample

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.metrics import rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
    StratifiedImageKFold,
    SubjectHoldOutRDMRegressor,
    cross_val_rdm,
    cross_val_subjects_score,
    image_train_test_split,
    pairs_report,
)


class DistanceRegressor(RegressorMixin, BaseEstimator):
    """Scaled distance of the images' features, remembering what it was trained on."""

    def __init__(self, power=1.0):
        self.power = power

    def fit(self, X, y, weight=None):
        assert weight is None or len(weight) == len(X)
        y = np.nanmean(y.reshape(len(y), -1), axis=1)
        distance = self._distance(X)
        self.images_seen_ = set(X.used_images.tolist())
        self.scale_ = distance @ y / (distance @ distance)
        return self

    def predict(self, X):
        return self.scale_ * self._distance(X)

    def _distance(self, X):
        features = X.images.reshape(len(X.images), -1)[X.index]
        return np.linalg.norm(features[:, 0] - features[:, 1], axis=1) ** self.power


def spearman(y_true, y_pred):
    columns = np.asarray(y_true).reshape(len(y_pred), -1).T
    return np.mean([spearmanr(column, y_pred, nan_policy="omit")[0] for column in columns])


SCORER = make_scorer(spearman)


def make_pairs(n_images=20, n_subjects=None, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n_images, 5))
    rdms = np.linalg.norm(images[:, None] - images[None], axis=2)
    if n_subjects is not None:
        rdms = np.stack([rdms + 0.3 * symmetric_noise(rng, n_images) for _ in range(n_subjects)])
    return ImagePairs.from_rdms(images, rdms, image_groups=groups)


def symmetric_noise(rng, n_images):
    noise = rng.normal(size=(n_images, n_images))
    return noise + noise.T


def two_sets(n_first=15, n_second=20, group=None):
    sets = [make_pairs(n, seed=n, groups=group and [group] * n) for n in (n_first, n_second)]
    pairs = ImagePairs.concatenate([pairs for pairs, _ in sets])
    return pairs, np.concatenate([dissim for _, dissim in sets])


def brute_force(pairs, train_images, test_images, test_pairs):
    """Loop over the pairs, as the definition reads."""
    combine = all if test_pairs == "both" else any
    train_images, test_images = set(train_images), set(test_images)
    train = [k for k, ij in enumerate(pairs.index) if all(i in train_images for i in ij)]
    test = [k for k, ij in enumerate(pairs.index) if combine(i in test_images for i in ij)]
    return train, test


def as_lists(splits):
    return [(train.tolist(), test.tolist()) for train, test in splits]


LABELS = np.array(["face", "house", "tool", "face"])[np.arange(24) % 4]
SLICED = slice(30, None)  # leaves the first images with few pairs or none

SPLITTERS = {
    "kfold": (
        ImageKFold(4, shuffle=True, random_state=3),
        lambda n, groups: KFold(4, shuffle=True, random_state=3).split(np.zeros(n)),
    ),
    "ordered": (ImageKFold(3), lambda n, groups: KFold(3).split(np.zeros(n))),
    "repeated": (
        RepeatedImageKFold(3, n_repeats=2, random_state=1),
        lambda n, groups: itertools.chain.from_iterable(
            KFold(3, shuffle=True, random_state=rng).split(np.zeros(n))
            for rng in [np.random.RandomState(1)] * 2
        ),
    ),
    "stratified": (
        StratifiedImageKFold(3, shuffle=True, random_state=0),
        lambda n, groups: StratifiedKFold(3, shuffle=True, random_state=0).split(groups, groups),
    ),
    "group": (
        GroupImageKFold(2),
        lambda n, groups: GroupKFold(2).split(groups, groups=groups),
    ),
    "group_shuffled": (
        GroupImageKFold(3, shuffle=True, random_state=5),
        lambda n, groups: GroupKFold(3, shuffle=True, random_state=5).split(groups, groups=groups),
    ),
    "leave_group": (
        LeaveOneGroupOfImagesOut(),
        lambda n, groups: LeaveOneGroupOut().split(groups, groups=groups),
    ),
    "shuffle_split": (
        ImageShuffleSplit(5, test_size=0.3, random_state=2),
        lambda n, groups: ShuffleSplit(5, test_size=0.3, random_state=2).split(np.zeros(n)),
    ),
    "shuffle_split_counts": (
        ImageShuffleSplit(3, test_size=7, train_size=9, random_state=2),
        lambda n, groups: ShuffleSplit(3, test_size=7, train_size=9, random_state=2).split(
            np.zeros(n)
        ),
    ),
}
by_splitter = pytest.mark.parametrize("name", SPLITTERS)


@by_splitter
@pytest.mark.parametrize("test_pairs", ["both", "any"])
@pytest.mark.parametrize("key", [slice(None), SLICED, slice(None, None, -1)])
def test_splits_equal_scikit_learn_on_images_then_brute_force(name, test_pairs, key):
    cv, image_splits = SPLITTERS[name]
    pairs = make_pairs(24, groups=LABELS)[0][key]
    images = pairs.used_images
    cv = clone_with(cv, test_pairs=test_pairs)
    expected = [
        brute_force(pairs, images[train], images[test], test_pairs)
        for train, test in image_splits(len(images), LABELS[images])
    ]
    assert as_lists(cv.split(pairs)) == expected
    assert cv.get_n_splits(pairs) == len(expected)


def clone_with(cv, **changes):
    params = {k: v for k, v in vars(cv).items() if not k.startswith("_")}
    return type(cv)(**{**params, **changes})


@by_splitter
@pytest.mark.parametrize("test_pairs", ["both", "any"])
@pytest.mark.parametrize("seed", range(3))
def test_no_training_pair_holds_an_image_of_the_held_out(name, test_pairs, seed):
    rng = np.random.default_rng(seed)
    pairs = make_pairs(24, groups=LABELS)[0]
    pairs = pairs[np.sort(rng.choice(len(pairs), 230, replace=False))]  # incomplete design
    cv = clone_with(SPLITTERS[name][0], test_pairs=test_pairs)
    for train, test in cv.split(pairs):
        trained_on = np.isin(pairs.index[test], pairs.index[train])
        assert not trained_on.all(axis=1).any()
        if test_pairs == "both":
            assert not trained_on.any()
        assert len(np.intersect1d(train, test)) == 0
        assert len(train) > 0
        assert len(test) > 1


@by_splitter
def test_splitters_look_and_behave_like_scikit_learns(name):
    cv = SPLITTERS[name][0]
    pairs, dissim = make_pairs(24, groups=LABELS)
    assert repr(cv).startswith(f"{type(cv).__name__}(")
    assert "test_pairs='both'" in repr(cv)
    assert not hasattr(cv, "set_split_request")
    assert as_lists(cv.split(pairs, dissim)) == as_lists(clone(cv, safe=False).split(pairs))
    with pytest.raises(ValueError, match="takes no groups.*image_groups=labels"):
        next(cv.split(pairs, dissim, groups=np.zeros(len(pairs))))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(cv.split(pairs, dissim[1:]))


@by_splitter
@pytest.mark.parametrize("X", [np.arange(30), list(range(30)), None])
def test_what_has_no_images_is_refused(name, X):
    with pytest.raises(TypeError, match=r"must be given the ImagePairs .*ValidSplit"):
        next(SPLITTERS[name][0].split(X))


def test_repr_is_in_scikit_learns_form():
    assert repr(ImageKFold(3)) == (
        "ImageKFold(n_splits=3, random_state=None, shuffle=False, test_pairs='both')"
    )


def test_arrays_of_images_are_split_as_their_pairs():
    pairs = make_pairs(12)[0]
    cv = ImageKFold(3, shuffle=True, random_state=0)
    from_arrays = ImagePairs.from_arrays(pairs.images[pairs.index])
    assert as_lists(cv.split(pairs.images[pairs.index][..., None])) == as_lists(
        cv.split(from_arrays)
    )


def test_random_state_instances_advance_and_ints_do_not():
    pairs = make_pairs(20)[0]
    for make in [
        lambda rng: ImageKFold(4, shuffle=True, random_state=rng),
        lambda rng: RepeatedImageKFold(4, n_repeats=2, random_state=rng),
        lambda rng: ImageShuffleSplit(4, test_size=5, random_state=rng),
    ]:
        fixed, moving = make(0), make(np.random.RandomState(0))
        first, second = as_lists(moving.split(pairs)), as_lists(moving.split(pairs))
        assert as_lists(fixed.split(pairs)) == as_lists(fixed.split(pairs)) == first
        assert first != second


def test_repeats_differ():
    splits = as_lists(RepeatedImageKFold(4, n_repeats=2, random_state=0).split(make_pairs(20)[0]))
    assert splits[:4] != splits[4:]


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_fold_holds_out_a_share_of_each_image_set(shuffle):
    pairs, _ = two_sets(15, 20)
    cv = ImageKFold(5, shuffle=shuffle, random_state=0 if shuffle else None)
    for train, test in cv.split(pairs):
        held_out = np.setdiff1d(np.arange(35), pairs[train].used_images)
        assert ((held_out < 15).sum(), (held_out >= 15).sum()) == (3, 4)
        assert len(test) == 3 + 6
        if not shuffle:
            assert set(np.diff(held_out)) - {1} == {held_out[3] - held_out[2]}


@pytest.mark.parametrize("test_size", [0.2, 7])
def test_shuffle_split_holds_out_a_share_of_each_image_set(test_size):
    pairs, dissim = two_sets(15, 20)
    for _, test in ImageShuffleSplit(5, test_size=test_size, random_state=0).split(pairs):
        held_out = pairs[test].used_images
        assert ((held_out < 15).sum(), (held_out >= 15).sum()) == (3, 4)
    _, X_test, _, y_test = image_train_test_split(pairs, dissim, test_size=7, random_state=0)
    assert (X_test.used_images < 15).sum() == 3
    assert len(y_test) == len(X_test) == 9


def test_stratified_folds_share_out_each_group_of_each_set():
    sets = []
    for seed, n_images in enumerate([12, 18]):
        sets.append(make_pairs(n_images, seed=seed, groups=np.arange(n_images) % 2)[0])
    pairs = ImagePairs.concatenate(sets)
    for _, test in StratifiedImageKFold(3, shuffle=True, random_state=0).split(pairs):
        held_out = pairs[test].used_images
        share = [(held_out < 12) & (pairs.image_groups[held_out] == g) for g in (0, 1)]
        assert [s.sum() for s in share] == [2, 2]
        assert len(held_out) == 10


@pytest.mark.parametrize("cv", [ImageKFold(3), ImageShuffleSplit(4, test_size=4, random_state=0)])
def test_small_sets_are_held_out_whole_so_that_no_pair_of_them_is_lost(cv):
    """Each image is in one pair only: cutting sets would leave no pair to test on."""
    index = np.arange(24).reshape(12, 2)
    pairs = ImagePairs(np.eye(24), index)
    for train, test in cv.split(pairs):
        assert len(train) + len(test) == 12
        assert len(test) == (4 if isinstance(cv, ImageKFold) else 2)


def test_a_small_set_beside_a_large_one_is_held_out_whole():
    pairs, _ = two_sets(4, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = pairs_report(ImageKFold(5, shuffle=True, random_state=0), pairs)
    small = (pairs.index < 4).all(axis=1)
    assert (report.times_tested[small] == 1).all()
    assert (report.times_trained[small] == 4).all()


def test_too_few_images_are_refused():
    for n_images, n_splits, advice in [
        (8, 4, "n_splits <= 2, or give more images"),
        (14, 5, "n_splits <= 4"),
        (5, 2, "Give at least 6"),
        (3, 2, "Give at least 6"),
    ]:
        pairs, dissim = make_pairs(n_images)
        with pytest.raises(ValueError, match=rf"{n_images} images.*{advice}"):
            next(ImageKFold(n_splits).split(pairs))
        with pytest.raises(ValueError, match="fewer than 3 images"):
            next(RepeatedImageKFold(n_splits).split(pairs))
    assert len(list(ImageKFold(4).split(make_pairs(12)[0]))) == 4
    pairs, dissim = make_pairs(20)
    with pytest.raises(ValueError, match="2 of 20 images would be held out.*larger test_size"):
        next(ImageShuffleSplit().split(pairs))
    with pytest.raises(ValueError, match="1 of 20 images would be held out"):
        image_train_test_split(pairs, dissim, test_size=1)
    with pytest.raises(ValueError, match="2 of 20 images would be held out"):
        next(ImageShuffleSplit(test_size=2, test_pairs="any").split(pairs))
    groups = np.repeat(["a", "b", "c"], [9, 9, 2])
    labelled = ImagePairs(pairs.images, pairs.index, image_groups=groups)
    with pytest.raises(ValueError, match=r"split 2 of LeaveOneGroup.* holds out 2 image.*Merge"):
        next(LeaveOneGroupOfImagesOut().split(labelled))
    with pytest.raises(
        ValueError, match=r"split 2 of GroupImageKFold.* holds out 2 image.*smaller"
    ):
        next(GroupImageKFold(3).split(labelled))


def test_a_bad_last_fold_is_found_before_the_first_is_trained():
    groups = np.repeat(["a", "b", "c"], [9, 9, 2])
    pairs = make_pairs(20, groups=groups)[0]
    with pytest.raises(ValueError, match="split 2"):
        next(LeaveOneGroupOfImagesOut().split(pairs))


def test_sparse_designs_without_test_pairs_are_refused_with_advice():
    ring = ImagePairs(np.eye(12), np.column_stack([np.arange(12), np.roll(np.arange(12), 1)]))
    apart = [(i, j) for i in range(12) for j in range(i) if (i - j) % 4]
    never_within = ImagePairs(np.eye(12), np.array(apart))
    cv = ImageKFold(4, shuffle=True, random_state=0)
    with pytest.raises(ValueError, match=r"holds out 3 images, but \d of the given.*test_pairs"):
        next(cv.split(ring))
    assert len(list(clone_with(cv, test_pairs="any").split(ring))) == 4
    groups = np.arange(12) % 4
    labelled = ImagePairs(never_within.images, never_within.index, image_groups=groups)
    with pytest.raises(ValueError, match="holds out 3 images, but 0 of the given pairs"):
        next(LeaveOneGroupOfImagesOut().split(labelled))
    assert len(list(LeaveOneGroupOfImagesOut(test_pairs="any").split(labelled))) == 4


def test_designs_without_training_pairs_are_refused():
    star = ImagePairs(np.eye(9), [[0, j] for j in range(1, 9)], image_groups=[0] + [0, 1] * 4)
    with pytest.raises(ValueError, match="leaves no pair to train on"):
        list(LeaveOneGroupOfImagesOut(test_pairs="any").split(star))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (ImageKFold(1), "k-fold cross-validation requires at least one train/test split"),
        (ImageKFold(3, random_state=0), "has no effect since shuffle is False"),
        (ImageKFold(2, test_pairs="all"), "test_pairs must be 'both' or 'any', got 'all'"),
        (RepeatedImageKFold(3, n_repeats=0), "n_repeats must be an integer, 1 or more, got 0"),
        (RepeatedImageKFold(2, n_repeats=3.5), "n_repeats must be an integer, 1 or more, got 3.5"),
        (ImageShuffleSplit(test_size=1.5), "test_size=1.5 should be"),
        (StratifiedImageKFold(2), "StratifiedImageKFold needs a label per image"),
        (GroupImageKFold(2), "GroupImageKFold needs a label per image"),
        (LeaveOneGroupOfImagesOut(), "LeaveOneGroupOfImagesOut needs a label per image"),
    ],
)
def test_wrong_parameters_are_named(cv, message):
    with pytest.raises(ValueError, match=message):
        next(cv.split(make_pairs(20)[0]))


@pytest.mark.parametrize(
    ("cv", "name"),
    [
        (RepeatedImageKFold(2, n_repeats=3.5), "n_repeats"),
        (RepeatedImageKFold(2, n_repeats=-1), "n_repeats"),
        (RepeatedImageKFold(2.5), "n_splits"),
        (ImageKFold(2.5), "n_splits"),
        (GroupImageKFold("2"), "n_splits"),
        (ImageShuffleSplit(2.5), "n_splits"),
    ],
)
def test_a_number_of_splits_is_an_integer(cv, name):
    with pytest.raises(ValueError, match=f"{name} must be an integer, 1 or more, got"):
        cv.get_n_splits()
    assert RepeatedImageKFold(np.int64(2), n_repeats=np.int64(3)).get_n_splits() == 6


def test_labels_that_cannot_be_shared_out_are_refused():
    pairs = make_pairs(20, groups=np.arange(20) // 2)[0]
    with pytest.raises(ValueError, match="n_splits=3 folds cannot share out 20 images.* are 2"):
        next(StratifiedImageKFold(3).split(pairs))
    with pytest.raises(ValueError, match="greater than the number of groups: 10"):
        next(GroupImageKFold(11).split(pairs))
    with pytest.raises(ValueError, match="merge rare labels"):
        image_train_test_split(pairs, stratify=np.arange(20) == 0)


def test_image_train_test_split_cuts_every_array():
    pairs, dissim = make_pairs(20, n_subjects=3)
    weight = list(range(len(pairs)))
    parts = image_train_test_split(pairs, dissim, weight, test_size=0.3, random_state=1)
    X_train, X_test, y_train, y_test, w_train, w_test = parts
    assert X_train.images is X_test.images is pairs.images
    assert set(X_train.used_images).isdisjoint(X_test.used_images)
    assert (len(X_train), len(X_test)) == (14 * 13 // 2, 6 * 5 // 2)
    np.testing.assert_array_equal(y_train, dissim[w_train])
    np.testing.assert_array_equal(X_test.index, pairs.index[w_test])
    np.testing.assert_array_equal(y_test, dissim[w_test])
    image_train, image_test = train_test_split(np.arange(20), test_size=0.3, random_state=1)
    np.testing.assert_array_equal(X_test.used_images, np.sort(image_test))


def test_image_train_test_split_defaults_and_any():
    pairs = make_pairs(20)[0]
    X_train, X_test = image_train_test_split(pairs, random_state=0)
    assert (len(X_train.used_images), len(X_test.used_images)) == (15, 5)
    X_train, X_any = image_train_test_split(pairs, random_state=0, test_pairs="any")
    assert len(X_train) + len(X_any) == len(pairs)
    X_train, X_test = image_train_test_split(pairs, train_size=12, random_state=0)
    assert (len(X_train.used_images), len(X_test.used_images)) == (12, 8)


def test_image_train_test_split_by_label():
    labels = np.repeat(["a", "b", "c", "d"], 5)
    pairs = make_pairs(20, groups=labels)[0]
    _, X_test = image_train_test_split(pairs, test_size=0.4, random_state=0, stratify=True)
    np.testing.assert_array_equal(
        np.unique(labels[X_test.used_images], return_counts=True)[1], [2, 2, 2, 2]
    )
    X_train, X_test = image_train_test_split(pairs, test_size=0.5, random_state=0, groups=labels)
    assert len(X_test.used_images) == 10
    assert set(labels[X_train.used_images]).isdisjoint(labels[X_test.used_images])
    with pytest.raises(ValueError, match="not both"):
        image_train_test_split(pairs, groups=True, stratify=True)
    with pytest.raises(ValueError, match=r"one per image, shape \(20,\), got \(3,\)"):
        image_train_test_split(pairs, stratify=[0, 1, 2])
    with pytest.raises(ValueError, match="needs a label per image"):
        image_train_test_split(make_pairs(20)[0], groups=True)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        image_train_test_split(pairs, np.zeros(20))


def test_report_counts_what_the_definition_says():
    pairs = make_pairs(50)[0]
    report = pairs_report(ImageKFold(5), pairs)
    assert report.n_pairs == 1225
    assert report.n_train.tolist() == [40 * 39 // 2] * 5
    assert report.n_test.tolist() == [45] * 5
    assert report.n_dropped.tolist() == [400] * 5
    assert report.n_test_images.tolist() == [10] * 5
    assert report.n_never_tested == 1225 - 225 == (report.times_tested == 0).sum()
    assert report.times_trained.sum() == 5 * 780
    assert not report.n_leaked.any()
    assert "LEAK" not in report.description
    assert "1000 never tested (82%)" in report.description


def test_report_names_the_leak_of_folds_of_pairs():
    report = pairs_report(KFold(5, shuffle=True, random_state=0), make_pairs(20)[0])
    assert (report.n_leaked == 38).all()
    assert "LEAK: 38 (20%)" in report.description
    splits = list(ImageKFold(3).split(make_pairs(20)[0]))
    assert not pairs_report(splits, make_pairs(20)[0]).n_leaked.any()


def test_report_and_predictions_take_boolean_masks():
    pairs, dissim = make_pairs(12)
    rows = list(ImageKFold(3).split(pairs))
    masks = [[np.isin(range(66), part) for part in split] for split in rows]
    by_mask, by_row = pairs_report(masks, pairs), pairs_report(rows, pairs)
    assert by_mask.description == by_row.description
    for name in ("n_train", "n_test", "n_dropped", "n_leaked", "times_trained", "times_tested"):
        np.testing.assert_array_equal(by_mask[name], by_row[name])
    held_out = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=masks)
    for (train, test), *given in zip(
        rows, held_out.train_indices, held_out.test_indices, strict=True
    ):
        np.testing.assert_array_equal(given[0], train)
        np.testing.assert_array_equal(given[1], test)
    with pytest.raises(IndexError):
        pairs_report([(masks[0][0][:-1], masks[0][1])], pairs)


def test_report_counts_the_pairs_of_each_subject():
    pairs, dissim = make_pairs(12, n_subjects=3)
    dissim[~(pairs.index < 4).all(axis=1), 0] = np.nan
    report = pairs_report(ImageKFold(3), pairs, np.stack([dissim, dissim], axis=2))
    assert report.n_train_by_subject.tolist() == [[0, 28, 28], [6, 28, 28], [6, 28, 28]]
    assert report.n_test_by_subject.tolist() == [[6, 6, 6], [0, 6, 6], [0, 6, 6]]
    assert "per split and subject: trained on 0 to 28, tested 0 to 6" in report.description
    assert "n_train_by_subject" not in pairs_report(ImageKFold(3), pairs)
    with pytest.raises(ValueError, match=r"shape \(66,\)"):
        pairs_report(ImageKFold(3), pairs, dissim[:-1])


class SometimesSilent(DistanceRegressor):
    """Predicts NaN for the pairs of image 0."""

    def predict(self, X):
        return np.where((X.index == 0).any(axis=1), np.nan, super().predict(X))


@pytest.mark.parametrize("test_pairs", ["both", "any"])
def test_a_prediction_of_nan_is_none(test_pairs):
    pairs, dissim = make_pairs(12)
    cv = ImageKFold(3, test_pairs=test_pairs)
    full = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=cv)
    held_out = cross_val_rdm(SometimesSilent(), pairs, dissim, cv=cv)
    silent = (pairs.index == 0).any(axis=1)
    assert not held_out.dissim_counts[silent].any()
    np.testing.assert_array_equal(np.isnan(held_out.dissim), held_out.dissim_counts == 0)
    np.testing.assert_array_equal(held_out.dissim[~silent], full.dissim[~silent])
    np.testing.assert_array_equal(held_out.dissim_counts[~silent], full.dissim_counts[~silent])
    assert not held_out.counts[0].any()
    assert sum(np.isnan(dissims).sum() for dissims in held_out.test_dissims) > 0


class SilentOnce(DistanceRegressor):
    """Predicts NaN if it was trained on image 11."""

    def predict(self, X):
        return super().predict(X) * (np.nan if 11 in self.images_seen_ else 1)


def test_predictions_beside_nan_are_averaged():
    pairs, dissim = make_pairs(12)
    cv = ImageKFold(3, test_pairs="any")
    held_out = cross_val_rdm(SilentOnce(), pairs, dissim, cv=cv)
    train, test = list(cv.split(pairs))[2]
    expected = np.full(66, np.nan)
    expected[test] = DistanceRegressor().fit(pairs[train], dissim[train]).predict(pairs[test])
    np.testing.assert_array_equal(held_out.dissim, expected)
    assert held_out.dissim_counts.sum() == len(test)


def test_works_in_cross_validation():
    pairs, dissim = make_pairs(20, n_subjects=2)
    cv = ImageKFold(4, shuffle=True, random_state=0)
    result = cross_validate(
        DistanceRegressor(), pairs, dissim, cv=cv, scoring=SCORER, return_estimator=True
    )
    for (train, test), fitted, score in zip(
        cv.split(pairs), result["estimator"], result["test_score"], strict=True
    ):
        assert fitted.images_seen_ == set(pairs[train].used_images)
        assert fitted.images_seen_.isdisjoint(pairs[test].used_images)
        expected = clone(fitted).fit(pairs[train], dissim[train]).predict(pairs[test])
        assert score == pytest.approx(spearman(dissim[test], expected))
    np.testing.assert_allclose(
        cross_val_score(DistanceRegressor(), pairs, dissim, cv=cv, scoring=SCORER, n_jobs=2),
        result["test_score"],
    )


GRID = {"power": [0.5, 1.0, 4.0]}


def test_works_in_searches_nested_too():
    pairs, dissim = make_pairs(30)
    search = GridSearchCV(
        DistanceRegressor(), GRID, cv=ImageKFold(3, shuffle=True, random_state=0), n_jobs=2
    )
    search.fit(pairs, dissim)
    assert search.best_params_ == {"power": 1.0}
    assert search.best_score_ == pytest.approx(1)
    assert search.n_splits_ == 3
    scores = cross_val_score(search.set_params(n_jobs=1), pairs, dissim, cv=ImageKFold(3))
    np.testing.assert_allclose(scores, 1)
    labelled = ImagePairs(pairs.images, pairs.index, image_groups=np.arange(30) % 3)
    by_group = GridSearchCV(DistanceRegressor(), GRID, cv=LeaveOneGroupOfImagesOut())
    assert by_group.fit(labelled, dissim).n_splits_ == 3


def test_nested_folds_never_see_outer_images():
    pairs, dissim = make_pairs(30)
    for train, test in ImageKFold(3).split(pairs):
        inner = pairs[train]
        for inner_train, inner_test in ImageKFold(3).split(inner):
            seen = np.union1d(inner[inner_train].used_images, inner[inner_test].used_images)
            assert np.intersect1d(seen, pairs[test].used_images).size == 0
            assert len(inner[inner_test].used_images) >= 6


@pytest.mark.parametrize(
    "cv",
    [
        ImageKFold(3),
        ImageKFold(3, shuffle=True, random_state=0),
        RepeatedImageKFold(3, n_repeats=2, random_state=0),
    ],
)
def test_works_in_halving_search(cv):
    pairs, dissim = make_pairs(30)
    search = HalvingGridSearchCV(
        DistanceRegressor(), GRID, cv=cv, min_resources=30, factor=3, random_state=0
    ).fit(pairs, dissim)
    assert search.best_params_ == {"power": 1.0}


def test_halving_search_refuses_folds_that_would_change():
    pairs, dissim = make_pairs(30)
    for cv in [ImageKFold(3, shuffle=True), RepeatedImageKFold(3), ImageShuffleSplit(test_size=5)]:
        search = HalvingGridSearchCV(DistanceRegressor(), GRID, cv=cv)
        with pytest.raises(ValueError, match="must yield consistent folds"):
            search.fit(pairs, dissim)


def test_works_in_pipelines_targets_and_resampling():
    pairs, dissim = make_pairs(20)
    cv = ImageKFold(4)
    plain = cross_val_score(DistanceRegressor(), pairs, dissim, cv=cv)
    piped = make_pipeline(FunctionTransformer(), DistanceRegressor())
    np.testing.assert_allclose(cross_val_score(piped, pairs, dissim, cv=cv), plain)
    grid = {"distance__power": [1.0, 3.0]}
    pipeline = Pipeline([("as_is", "passthrough"), ("distance", DistanceRegressor())])
    assert GridSearchCV(pipeline, grid, cv=cv).fit(pairs, dissim).best_params_ == {
        "distance__power": 1.0
    }
    scaled = TransformedTargetRegressor(
        DistanceRegressor(), transformer=StandardScaler(with_mean=False)
    )
    np.testing.assert_allclose(cross_val_score(scaled, pairs, dissim, cv=cv), plain)
    X_train, X_test, y_train, _ = train_test_split(pairs, dissim, random_state=0)
    X_again, y_again = resample(pairs, dissim, random_state=0)
    for part, target in [(X_train, y_train), (X_again, y_again)]:
        assert isinstance(part, ImagePairs)
        assert part.images is pairs.images
        distances = np.linalg.norm(np.diff(pairs.images[part.index], axis=1)[:, 0], axis=1)
        np.testing.assert_allclose(target, distances)
    assert len(X_train) + len(X_test) == len(pairs)


def held_out_by_hand(pairs, dissim, splits):
    """One sum and one count per cell of the matrix, pair by pair."""
    n_images = len(pairs.images)
    total, counts = np.zeros((2, n_images, n_images))
    for train, test in splits:
        fitted = DistanceRegressor().fit(pairs[train], dissim[train])
        for (i, j), value in zip(pairs.index[test], fitted.predict(pairs[test]), strict=True):
            for cell in [(i, j), (j, i)]:
                total[cell] += value
                counts[cell] += 1
    with np.errstate(invalid="ignore"):
        mean = total / counts
    np.fill_diagonal(mean, 0)
    return mean, counts


@pytest.mark.parametrize(
    "cv",
    [
        ImageKFold(3),
        ImageKFold(3, test_pairs="any"),
        RepeatedImageKFold(3, n_repeats=4, random_state=0),
    ],
)
@pytest.mark.parametrize("key", [slice(None), slice(10, None)])
@pytest.mark.parametrize("n_subjects", [None, 3])
def test_held_out_rdm_averages_repeats(cv, key, n_subjects):
    pairs, dissim = make_pairs(15, n_subjects=n_subjects)
    pairs, dissim = pairs[key], dissim[key]
    held_out = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=cv)
    splits = list(cv.split(pairs))
    mean, counts = held_out_by_hand(pairs, dissim, splits)
    np.testing.assert_allclose(held_out.rdm, mean)
    np.testing.assert_array_equal(held_out.counts, counts)
    assert held_out.counts.dtype.kind == "i"
    np.testing.assert_array_equal(
        held_out.dissim_counts, counts[pairs.index[:, 0], pairs.index[:, 1]]
    )
    np.testing.assert_array_equal(np.isnan(held_out.dissim), held_out.dissim_counts == 0)
    for (train, test), *given in zip(
        splits, held_out.train_indices, held_out.test_indices, held_out.test_dissims, strict=True
    ):
        np.testing.assert_array_equal(given[0], train)
        np.testing.assert_array_equal(given[1], test)
        assert given[2].shape == test.shape
    if cv.test_pairs == "any":
        assert not np.isnan(held_out.dissim).any()


def test_held_out_rdm_options():
    pairs, dissim = make_pairs(18)
    default = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=4)
    parallel = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=ImageKFold(4), n_jobs=2)
    np.testing.assert_array_equal(default.rdm, parallel.rdm)
    assert len(cross_val_rdm(DistanceRegressor(), pairs, dissim).test_indices) == 5
    weight = np.ones(len(pairs))
    weighted = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=4, params={"weight": weight})
    np.testing.assert_array_equal(default.rdm, weighted.rdm)
    search = GridSearchCV(DistanceRegressor(), GRID, cv=ImageKFold(3))
    nested = cross_val_rdm(search, pairs, dissim, cv=4)
    tested = nested.dissim_counts > 0
    np.testing.assert_allclose(nested.dissim[tested], dissim[tested])


class RecordingRegressor(DistanceRegressor):
    """Accepts any parameter of fit, and predicts how many entries it was given."""

    def fit(self, X, y, w):
        self.n_entries_ = np.size(w)
        return super().fit(X, y)

    def predict(self, X):
        return np.full(len(X), float(self.n_entries_))


@pytest.mark.parametrize(
    "value", [3, 3.0, np.float64(3), np.int64(3), np.array(3.0), list, "w", [1, 2]]
)
def test_what_is_not_one_value_per_pair_is_passed_whole(value):
    pairs, dissim = make_pairs(9)
    held_out = cross_val_rdm(RecordingRegressor(), pairs, dissim, cv=3, params={"w": value})
    np.testing.assert_array_equal(np.concatenate(held_out.test_dissims), np.size(value))


@pytest.mark.parametrize("as_type", [list, np.asarray, lambda w: np.column_stack([w, w])])
def test_values_per_pair_are_cut_to_the_training_pairs(as_type):
    pairs, dissim = make_pairs(9)
    params = {"w": as_type(range(len(pairs)))}
    held_out = cross_val_rdm(RecordingRegressor(), pairs, dissim, cv=3, params=params)
    sizes = [np.size(as_type(train)) for train in held_out.train_indices]
    np.testing.assert_array_equal([given[0] for given in held_out.test_dissims], sizes)


def test_held_out_rdm_refuses_leaks_and_bad_targets():
    pairs, dissim = make_pairs(15)
    with pytest.raises(ValueError, match="it holds out pairs, not images. Use ImageKFold"):
        cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=KFold(5))
    with pytest.raises(ValueError, match=r"shape \(105,\), \(105, n_subjects\) or"):
        cross_val_rdm(DistanceRegressor(), pairs, dissim[1:])
    with pytest.raises(ValueError, match="fewer than 3 images"):
        cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=6)
    with pytest.raises(ValueError, match="gives no split"):
        cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=[])


def test_poisoned_held_out_images_and_targets_change_no_fit():
    pairs, dissim = make_pairs(15)
    cv = ImageKFold(3)
    clean = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=cv)
    for (train, test), predicted in zip(cv.split(pairs), clean.test_dissims, strict=True):
        held_out = pairs[test].used_images
        poisoned, target = pairs.images.copy(), dissim.copy()
        target[np.isin(pairs.index, held_out).any(axis=1)] = 1e9
        scale = DistanceRegressor().fit(pairs[train], dissim[train]).scale_
        poisoned[held_out] = 1e9
        dirty = ImagePairs(poisoned, pairs.index)
        assert DistanceRegressor().fit(dirty[train], target[train]).scale_ == scale
        assert len(predicted) == len(test)


class SubjectRecorder(DistanceRegressor):
    """Remembers the columns it was given, and scores by the columns it is given."""

    def fit(self, X, y, weight=None):
        self.columns_, self.n_pairs_ = y[0], len(y)
        return super().fit(X, y)

    def score(self, X, y):
        return float(y[0, 0])


def test_double_hold_out_fits_and_scores_disjoint_subjects():
    pairs, dissim = make_pairs(15, n_subjects=4)
    dissim = np.tile(np.arange(4.0), (len(pairs), 1)) + 10 * np.arange(len(pairs))[:, None]
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=[2])
    result = cross_validate(
        regressor, pairs, dissim, cv=ImageKFold(3), return_estimator=True, return_indices=True
    )
    for fitted, train, test, score in zip(
        result["estimator"],
        result["indices"]["train"],
        result["indices"]["test"],
        result["test_score"],
        strict=True,
    ):
        assert fitted.estimator_.columns_.tolist() == dissim[train[0], [0, 1, 3]].tolist()
        assert score == dissim[test[0], 2]


def test_double_hold_out_over_all_folds_equals_loops():
    pairs, dissim = make_pairs(18, n_subjects=5)
    dissim[::7, 0] = np.nan
    cv, subject_cv = ImageKFold(3), LeaveOneOut()
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=cv, subject_cv=subject_cv, scoring=SCORER
    )
    assert scores.shape == (5, 3)
    for s, k in itertools.product(range(5), range(3)):
        train, test = list(cv.split(pairs))[k]
        others = [c for c in range(5) if c != s]
        fitted = DistanceRegressor().fit(pairs[train], dissim[train][:, others])
        has = ~np.isnan(dissim[test, s])
        expected = spearmanr(fitted.predict(pairs[test]), dissim[test, s], nan_policy="omit")[0]
        assert has.any()
        assert scores[s, k] == pytest.approx(expected)
    parallel = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=3, subject_cv=subject_cv, scoring=SCORER, n_jobs=2
    )
    np.testing.assert_array_equal(scores, parallel)


def test_double_hold_out_keeps_the_storrs_split_sizes():
    pairs, dissim = make_pairs(20, n_subjects=6)
    subjects = ShuffleSplit(2, test_size=2, train_size=3, random_state=0)
    images = ImageShuffleSplit(2, test_size=4, random_state=0)
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=images, subject_cv=subjects, scoring=SCORER
    )
    assert scores.shape == (2, 2)
    assert (scores > 0.5).all()


def test_double_hold_out_in_a_search():
    pairs, dissim = make_pairs(30, n_subjects=4)
    search = GridSearchCV(
        SubjectHoldOutRDMRegressor(DistanceRegressor(), [0, 1], scoring=SCORER),
        {"estimator__power": [1.0, -1.0]},
        cv=ImageKFold(3),
    ).fit(pairs, dissim)
    assert search.best_params_ == {"estimator__power": 1.0}
    assert search.best_estimator_.train_subjects_.tolist() == [2, 3]
    assert not hasattr(search.best_estimator_, "transform")


def test_double_hold_out_leaves_out_pairs_that_the_subjects_lack():
    pairs, dissim = make_pairs(9, n_subjects=2)
    dissim[:20, 1] = np.nan
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=0).fit(pairs, dissim)
    assert regressor.estimator_.columns_ == dissim[20, 1]
    with pytest.raises(ValueError, match=r"subjects \[1\] have no dissimilarity"):
        regressor.fit(pairs[:20], dissim[:20])


@pytest.mark.parametrize("name", ["rdm_spearman", "spearman", "neg_mean_squared_error"])
def test_double_hold_out_takes_scorers_by_name(name):
    pairs, dissim = make_pairs(12, n_subjects=2)
    scorer = rdm_spearman_scorer if "spearman" in name else get_scorer(name)
    for_each = [
        cross_val_subjects_score(
            DistanceRegressor(), pairs, dissim, cv=3, subject_cv=2, scoring=scoring
        )
        for scoring in (name, scorer)
    ]
    np.testing.assert_array_equal(*for_each)
    assert np.isfinite(for_each[0]).all()
    regressor = SubjectHoldOutRDMRegressor(DistanceRegressor(), scoring=name).fit(pairs, dissim)
    assert regressor.score(pairs, dissim) == scorer(regressor, pairs, dissim[:, :1])
    regressor.set_params(scoring="rdm_spearmint")
    with pytest.raises(ValueError, match="'rdm_spearmint' is no RDM scorer; the names are"):
        regressor.score(pairs, dissim)


def test_double_hold_out_is_undefined_where_subjects_lack_the_images():
    pairs, dissim = make_pairs(12, n_subjects=4)
    dissim[~(pairs.index < 4).all(axis=1), 0] = np.nan
    for y in (dissim, np.stack([dissim, dissim], axis=2)):
        with pytest.warns(UndefinedMetricWarning, match=r"test subjects \[0\] .* 6 test pairs"):
            scores = cross_val_subjects_score(
                DistanceRegressor(), pairs, y, cv=3, subject_cv=4, scoring="rdm_spearman"
            )
        assert np.argwhere(np.isnan(scores)).tolist() == [[0, 1], [0, 2]]
    only_first = [([0], [1, 2, 3])]
    with pytest.warns(UndefinedMetricWarning, match=r"training subjects \[0\] .* 28 training"):
        scores = cross_val_subjects_score(
            DistanceRegressor(), pairs, dissim, cv=3, subject_cv=only_first, scoring=SCORER
        )
    assert np.isnan(scores).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    "model",
    [
        FixedRSARegressor(),
        LayerWeightedRSARegressor(),
        LinearTwinRSARegressor(3),
        FeatureReweightedRSARegressor(alphas=10),
        FeatureReweightedRSARegressor(alphas=10, subject_pooling=None),
    ],
)
def test_folds_without_a_subject_are_fitted_to_the_others(model):
    """What the subject's absence does is what its removal does."""
    pairs, dissim = make_pairs(12, n_subjects=4)
    dissim[~(pairs.index < 4).all(axis=1), 0] = np.nan
    cv = ImageKFold(3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"subjects \[0\] .* left out", UserWarning)
        held_out = cross_val_rdm(model, pairs, dissim, cv=cv)
    train, test = next(cv.split(pairs))
    alone = clone(model).fit(pairs[train], dissim[train, 1:]).predict(pairs[test])
    np.testing.assert_allclose(held_out.test_dissims[0], alone)
    assert all(np.isfinite(dissims).all() for dissims in held_out.test_dissims)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"test_subjects": 3}, "test_subjects must be columns 0 to 2"),
        ({"test_subjects": [0.5]}, "test_subjects must be columns"),
        ({"test_subjects": [-1]}, "test_subjects must be columns"),
        ({"test_subjects": [0, 1, 2]}, "no subject in common"),
        ({"test_subjects": 0, "train_subjects": [0, 1]}, "no subject in common"),
    ],
)
def test_double_hold_out_names_wrong_subjects(params, message):
    pairs, dissim = make_pairs(9, n_subjects=3)
    with pytest.raises(ValueError, match=message):
        SubjectHoldOutRDMRegressor(DistanceRegressor(), **params).fit(pairs, dissim)
    with pytest.raises(ValueError, match="two or more subjects"):
        SubjectHoldOutRDMRegressor(DistanceRegressor()).fit(pairs, dissim[:, 0])


class WorkerReport(DistanceRegressor):
    """Touches every image at the same time as another worker, and measures its memory."""

    def __init__(self, meeting=None):
        super().__init__()
        self.meeting = meeting

    def fit(self, X, y, weight=None):
        self.checksum_ = int(X.images.sum(dtype=np.int64))
        self._meet("touched")  # both hold all images now
        memory = psutil.Process().memory_full_info()
        self.report_ = {
            "pid": os.getpid(),
            "is_memmap": isinstance(X.images, np.memmap),
            "has_file": getattr(X.images, "filename", None) is not None,
            "is_shared": X[::2].images is X.images,
            "anonymous": memory.rss - memory.shared,
            "pss": memory.pss,
            "checksum": self.checksum_,
        }
        self._meet("measured")
        return self

    def _meet(self, moment):
        (self.meeting / f"{moment}-{os.getpid()}").touch()
        deadline = time.monotonic() + 60
        while len(list(self.meeting.glob(f"{moment}-*"))) < 2:
            assert time.monotonic() < deadline, "the other worker did not come"
            time.sleep(0.01)


def report_of(estimator, X, y):
    return estimator.report_


def measure_workers(pairs, y, folder):
    folder.mkdir()
    search = GridSearchCV(
        WorkerReport(),
        {"meeting": [folder]},
        cv=ImageKFold(2),
        scoring=report_of,
        refit=False,
        n_jobs=2,
        error_score="raise",
    )
    results = search.fit(pairs, y).cv_results_
    return {
        name: np.array([results[f"split{k}_test_{name}"][0] for k in (0, 1)])
        for name in ("pid", "is_memmap", "has_file", "is_shared", "anonymous", "pss", "checksum")
    }


def test_workers_map_the_images_and_copy_none(tmp_path):
    """128 MB of images: two workers share one mapping; an ndarray subclass shows what a copy is."""
    megabyte = 2**20
    images = np.random.default_rng(0).integers(0, 255, (32, 1024, 1024, 4), dtype=np.uint8)
    pairs, dissim = ImagePairs.from_rdms(images, 1 - np.eye(32))
    mapped = measure_workers(pairs, dissim, tmp_path / "mapped")
    copied_pairs = pairs[:]
    copied_pairs.images = images.view(type("Subclass", (np.ndarray,), {}))
    copied = measure_workers(copied_pairs, dissim, tmp_path / "copied")
    assert len(set(mapped["pid"])) == 2
    assert mapped["is_memmap"].all()
    assert mapped["has_file"].all()
    assert mapped["is_shared"].all()
    assert not copied["is_memmap"].any()
    assert (mapped["checksum"] == images.sum(dtype=np.int64)).all()
    more = (copied["anonymous"].mean() - mapped["anonymous"].mean()) / megabyte
    assert more > 100
    assert (copied["pss"].sum() - mapped["pss"].sum()) / megabyte > 100


def test_a_memmap_given_by_the_user_stays_on_its_file(tmp_path):
    images = np.lib.format.open_memmap(
        tmp_path / "images.npy", "w+", dtype=np.uint8, shape=(12, 512, 512, 1)
    )
    images[:] = np.random.default_rng(0).integers(0, 255, images.shape)
    pairs, dissim = ImagePairs.from_rdms(images, 1 - np.eye(12))
    mapped = measure_workers(pairs, dissim, tmp_path / "meeting")
    assert mapped["is_memmap"].all()
    assert (mapped["checksum"] == images.sum(dtype=np.int64)).all()


def test_the_two_algonauts_sets_together_make_the_papers_number_of_pairs():
    pairs = ImagePairs.concatenate(
        [ImagePairs.from_rdms(np.eye(118)[:n], 1 - np.eye(n))[0] for n in (92, 118)]
    )
    report = pairs_report(ImageKFold(5, shuffle=True, random_state=0), pairs)
    assert report.n_pairs == 4186 + 6903 == 11089
    assert report.n_test_images.tolist() == [42] * 5


@pytest.mark.data
def test_on_the_92_images_and_15_subjects(load_algonauts):
    data = load_algonauts(92, "fmri_it")
    category = data.image_groups
    features = (category[:, None] == np.unique(category)).astype(float)
    pairs, dissim = ImagePairs.from_rdms(features, data.rdms, image_groups=category)
    scores = cross_val_subjects_score(
        DistanceRegressor(),
        pairs,
        dissim,
        cv=StratifiedImageKFold(4, shuffle=True, random_state=0),
        subject_cv=3,
        scoring=SCORER,
    )
    assert scores.shape == (3, 4)
    assert scores.mean() > 0.1  # categories explain human IT
    held_out = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=ImageKFold(2))
    assert np.isnan(held_out.rdm).sum() == 2 * 46 * 46
    assert held_out.counts.sum() == 2 * 46 * 45


# Time courses


def make_timed_pairs(n_images, n_subjects):
    pairs, dissim = make_pairs(n_images, n_subjects=n_subjects)
    noise = np.random.default_rng(0).standard_normal((*dissim.shape, 3))
    return pairs, dissim[:, :, None] + 0.1 * noise


def test_time_courses_go_through_every_tool():
    pairs, dissim = make_timed_pairs(15, 4)
    scores = cross_val_score(DistanceRegressor(), pairs, dissim, cv=ImageKFold(3), scoring=SCORER)
    assert scores.shape == (3,)
    search = GridSearchCV(
        DistanceRegressor(), {"power": [0.5, 1]}, cv=ImageKFold(3), scoring=SCORER
    )
    assert np.isfinite(search.fit(pairs, dissim).cv_results_["mean_test_score"]).all()
    held_out = cross_val_rdm(DistanceRegressor(), pairs, dissim, cv=3)
    tested = held_out.dissim_counts > 0
    by_time = rdm_spearman_score(dissim[tested], held_out.dissim[tested], time_average=False)
    assert by_time.shape == (3,)
    assert image_train_test_split(pairs, dissim, random_state=0)[2].shape[1:] == (4, 3)
    with pytest.raises(ValueError, match="105, n_subjects, n_times"):
        cross_val_rdm(DistanceRegressor(), pairs, dissim[1:])


def test_subjects_are_held_out_with_their_time_courses():
    pairs, dissim = make_timed_pairs(12, 4)
    dissim[3, [0, 1]] = np.nan
    regressor = SubjectHoldOutRDMRegressor(SubjectRecorder(), test_subjects=[2, 3])
    regressor.fit(pairs, dissim)
    np.testing.assert_array_equal(regressor.estimator_.columns_, dissim[0, :2])
    assert regressor.estimator_.n_pairs_ == len(pairs) - 1
    scores = cross_val_subjects_score(
        DistanceRegressor(), pairs, dissim, cv=3, subject_cv=2, scoring=SCORER
    )
    assert scores.shape == (2, 3)
    train, test = next(ImageKFold(3).split(pairs))
    kept = test[~np.isnan(dissim[test][:, :2]).all(axis=(1, 2))]
    fitted = DistanceRegressor().fit(pairs[train], dissim[train][:, 2:])
    expected = rdm_spearman_score(dissim[kept][:, :2], fitted.predict(pairs[kept]))
    assert scores[0, 0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="two or more subjects, got"):
        regressor.fit(pairs, dissim[:, :1])
