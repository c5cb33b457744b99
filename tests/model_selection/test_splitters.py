import itertools
import os
import time

import numpy as np
import psutil
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import resample

from sklearn_rdm import ImagePairs
from sklearn_rdm.model_selection import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
    StratifiedImageKFold,
)
from tests.model_selection.problems import (
    GRID,
    SCORER,
    DistanceRegressor,
    as_lists,
    clone_with,
    make_pairs,
    spearman,
    two_sets,
)


def brute_force(pairs, train_images, test_images, test_pairs):
    """Loop over the pairs, as the definition reads."""
    combine = all if test_pairs == "both" else any
    train_images, test_images = set(train_images), set(test_images)
    train = [k for k, ij in enumerate(pairs.index) if all(i in train_images for i in ij)]
    test = [k for k, ij in enumerate(pairs.index) if combine(i in test_images for i in ij)]
    return train, test


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
