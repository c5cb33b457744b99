import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    train_test_split,
)

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import (
    GroupImageKFold,
    ImageKFold,
    ImageShuffleSplit,
    LeaveOneGroupOfImagesOut,
    RepeatedImageKFold,
    StratifiedImageKFold,
    cross_val_rdm,
    image_train_test_split,
    pairs_report,
)
from tests.model_selection.problems import (
    GRID,
    SCORER,
    DistanceRegressor,
    make_pairs,
    make_timed_pairs,
    two_sets,
)


@pytest.mark.parametrize("test_size", [0.2, 7])
def test_shuffle_split_holds_out_a_share_of_each_image_set(test_size):
    pairs, dissim = two_sets(15, 20)
    for _, test in ImageShuffleSplit(5, test_size=test_size, random_state=0).split(pairs):
        held_out = pairs[test].used_images
        assert ((held_out < 15).sum(), (held_out >= 15).sum()) == (3, 4)
    _, X_test, _, y_test = image_train_test_split(pairs, dissim, test_size=7, random_state=0)
    assert (X_test.used_images < 15).sum() == 3
    assert len(y_test) == len(X_test) == 9


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
    assert pairs_report(5, pairs).description == report.description
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


def test_the_two_algonauts_sets_together_make_the_papers_number_of_pairs():
    pairs = ImagePairs.concatenate(
        [ImagePairs.from_rdms(np.eye(118)[:n], 1 - np.eye(n))[0] for n in (92, 118)]
    )
    report = pairs_report(ImageKFold(5, shuffle=True, random_state=0), pairs)
    assert report.n_pairs == 4186 + 6903 == 11089
    assert report.n_test_images.tolist() == [42] * 5


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
