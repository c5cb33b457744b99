import copy
import math
import pickle
import sys
import weakref
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, indexable, resample
from sklearn.utils.validation import _num_samples, check_array

from sklearn_rdm import ImagePairs
from sklearn_rdm._pairs._image_pairs import as_pairs, check_fit_pairs

SQUARE = squareform(np.arange(1.0, 7.0))  # pairs 01 02 03 12 13 23


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [5, 3, 1]),
        ([4, 0], [4, 0]),
        (np.array([2, 2]), [2, 2]),
        (np.array([-1]), [5]),
        (np.array([True, False, False, True, False, False]), [0, 3]),
        ([True, False, False, False, False, True], [0, 5]),
        ((np.array([1, 3]), Ellipsis), [1, 3]),
        ((slice(0, 2), Ellipsis), [0, 1]),
        (([5],), [5]),
    ],
)
def test_slices_hold_the_pairs_and_the_same_images(pairs, key, rows):
    subset = pairs[key]
    assert type(subset) is ImagePairs
    assert subset.images is pairs.images
    np.testing.assert_array_equal(subset.index, pairs.index[rows])
    assert subset.shape == (len(subset),) == (len(rows),)
    assert len(pairs) == 6


@pytest.mark.parametrize("key", [0, np.int64(2), (0, 1), (slice(None), 0), (), (0, Ellipsis)])
def test_keys_of_one_pair_or_two_axes_are_refused(pairs, key):
    with pytest.raises(TypeError, match="one axis|one pair is not a sample set"):
        pairs[key]


def test_keys_out_of_range_are_refused(pairs):
    with pytest.raises(IndexError):
        pairs[[6]]
    with pytest.raises(IndexError):
        pairs[np.ones(5, dtype=bool)]


def test_groups_and_left_out_pairs_stay_with_slices(images):
    rdm = SQUARE.copy()
    rdm[0, 1] = rdm[1, 0] = np.nan
    pairs = ImagePairs.from_rdms(images, rdm, image_groups=list("abab"))[0]
    subset = pairs[2:]
    assert subset.image_groups is pairs.image_groups
    assert subset.n_left_out == 1


def test_used_images_are_those_that_occur(pairs):
    np.testing.assert_array_equal(pairs.used_images, range(4))
    np.testing.assert_array_equal(pairs[3:4].used_images, [1, 2])


def test_scikit_learn_indexes_it_as_an_array(pairs):
    assert _num_samples(pairs) == 6
    assert indexable(pairs, np.zeros(6))[0] is pairs
    for key in [np.array([0, 5]), slice(0, 2), np.arange(6) > 3, [1, 2]]:
        subset = _safe_indexing(pairs, key)
        assert type(subset) is ImagePairs
        np.testing.assert_array_equal(subset.index, pairs.index[key])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        indexable(pairs, np.zeros(5))


def test_scikit_learns_splitting_and_resampling_keep_it(pairs):
    rows = np.arange(6)
    for parts in [
        train_test_split(pairs, rows, test_size=2, random_state=0),
        resample(pairs, rows, random_state=0) * 2,
    ]:
        for part, kept in [(parts[0], parts[-2]), (parts[-4], parts[-2])]:
            assert part.images is pairs.images
            assert len(part) in (len(kept), 4)
    part, kept = resample(pairs, rows, random_state=0)
    np.testing.assert_array_equal(part.index, pairs.index[kept])


def test_tools_that_need_numbers_get_a_message(pairs):
    for use in [
        np.asarray,
        check_array,
        lambda X: BaggingRegressor().fit(X, np.zeros(6)),
        lambda X: np.array(X, dtype=float),
    ]:
        with pytest.raises(TypeError, match="ImagePairs is not an array.*pairs.images"):
            use(pairs)


def test_size_counts_the_images_for_dask(pairs):
    assert sys.getsizeof(pairs) >= pairs.images.nbytes + pairs.index.nbytes
    assert weakref.ref(pairs)() is pairs
    large = ImagePairs(np.zeros((3, 1000, 1000)), [[0, 1]])
    assert 24_000_000 < sys.getsizeof(large) < 24_010_000


def test_dask_measures_the_images(pairs):
    dask_sizeof = pytest.importorskip("dask.sizeof", reason="dask is not installed")
    assert dask_sizeof.sizeof(pairs) >= pairs.images.nbytes


def test_pickling_and_copying_keep_everything(images):
    pairs = ImagePairs(images, [[0, 1], [2, 3]], image_groups=list("aabb"))
    for again in [pickle.loads(pickle.dumps(pairs)), copy.deepcopy(pairs), copy.copy(pairs)]:
        np.testing.assert_array_equal(again.images, images)
        np.testing.assert_array_equal(again.index, pairs.index)
        np.testing.assert_array_equal(again.image_groups, pairs.image_groups)
    assert joblib.hash(pairs) == joblib.hash(copy.deepcopy(pairs)) != joblib.hash(pairs[:1])


def test_repr_is_one_line(pairs):
    assert repr(pairs[:3]) == "ImagePairs(3 pairs of 4 images, images: uint8 (4, 6, 5, 3))"


def test_no_attribute_that_scikit_learn_or_skorch_would_read(pairs):
    for name in ["fit", "iloc", "device", "dtype", "__slots__", "keys"]:
        assert not hasattr(pairs, name)
    assert not isinstance(pairs, (tuple, list, dict))


def test_arrays_are_kept_without_a_copy(images, tmp_path):
    assert ImagePairs(images, [[0, 1]]).images is images
    mapped = np.lib.format.open_memmap(tmp_path / "i.npy", "w+", dtype="uint8", shape=images.shape)
    assert ImagePairs(mapped, [[0, 1]]).images is mapped


def test_other_kinds_of_arrays_become_plain_ones(images):
    subclass = images.view(type("Subclass", (np.ndarray,), {}))
    assert type(ImagePairs(subclass, [[0, 1]]).images) is np.ndarray
    assert ImagePairs([[0.0], [1.0]], [[0, 1]]).images.shape == (2, 1)
    assert ImagePairs(images, np.array([[0, 1]], dtype=np.uint8)).index.dtype == np.int32


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([0, 1], ValueError, r"shape \(n_pairs, 2\).*got \(2,\)"),
        ([[0, 1, 2]], ValueError, r"got \(1, 3\)"),
        (np.empty((0, 2), dtype=int), ValueError, r"n_pairs > 0, got \(0, 2\)"),
        ([[0.0, 1.0]], TypeError, "must hold integers.*float64"),
        ([[True, False]], TypeError, "must hold integers.*bool"),
        ([[0, 1], [0, 4]], ValueError, r"pair 1 is \[0, 4\], but there are 4 images.*0 to 3"),
        ([[-1, 0]], ValueError, r"pair 0 is \[-1, 0\]"),
        ([[0, 1], [2, 2]], ValueError, "pair 1 joins image 2 with itself"),
    ],
)
def test_wrong_indices_are_named(images, index, error, message):
    with pytest.raises(error, match=message):
        ImagePairs(images, index)


def of_two_sizes():
    return [np.zeros((height, 6, 3)) for height in (5, 5, 4)]


def as_objects(images):
    array = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        array[row] = image
    return array


TWO_SIZES = r"image 0 has shape \(5, 6, 3\) and image 2 \(4, 6, 3\): resize.*size="


@pytest.mark.parametrize("contain", [list, as_objects, lambda images: pd.Series(list(images))])
def test_images_of_one_size_may_come_in_any_container(images, contain):
    np.testing.assert_array_equal(ImagePairs(contain(images)).images, images)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("folder", TypeError, "given as paths.*read_images"),
        (Path("folder"), TypeError, "given as paths"),
        (["a.png", "b.png"], TypeError, "given as paths"),
        (np.array(["a.png", "b.png"]), TypeError, "given as paths"),
        (np.zeros(4), ValueError, r"one numeric array.*float64 of shape \(4,\)"),
        (np.zeros((4, 2), dtype=complex), ValueError, "complex128"),
        (np.zeros((4, 2), dtype=object), ValueError, "object"),
        (np.array([[0.0], [np.nan]]), ValueError, "image 1 holds NaN or infinity"),
        (np.array([[np.inf], [0.0]]), ValueError, "image 0 holds NaN or infinity"),
        (pd.Series(["a.png", "b.png"]), TypeError, "given as paths"),
        ([], ValueError, r"got an empty one: float64 of shape \(0,\)"),
        (of_two_sizes(), ValueError, TWO_SIZES),
        (as_objects(of_two_sizes()), ValueError, TWO_SIZES),
        (pd.Series(of_two_sizes()), ValueError, TWO_SIZES),
        ([np.zeros((4, 5, 3)), np.zeros((4, 6, 3))], ValueError, r"image 1 \(4, 6, 3\)"),
    ],
)
def test_wrong_images_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        ImagePairs(wrong, [[0, 1]])


def test_wrong_groups_are_named(images):
    with pytest.raises(ValueError, match=r"one label per image, shape \(4,\), got \(3,\)"):
        ImagePairs(images, [[0, 1]], image_groups=[0, 1, 2])


def test_one_matrix_in_the_order_of_scipy(images):
    rdm = squareform(pdist(np.random.default_rng(0).normal(size=(4, 3))))
    pairs, dissim = ImagePairs.from_rdms(images, rdm)
    np.testing.assert_array_equal(dissim, squareform(rdm))
    assert pairs.index.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    np.testing.assert_array_equal(dissim, rdm[tuple(pairs.index.T)])
    assert dissim.dtype == np.float64
    assert pairs.n_left_out == 0


def test_condensed_and_square_say_the_same(images):
    square = np.stack([SQUARE, 2 * SQUARE, SQUARE**2])
    condensed = np.stack([squareform(rdm) for rdm in square])
    for rdms in [(square, condensed), (SQUARE, squareform(SQUARE))]:
        (first, dissim), (second, again) = (ImagePairs.from_rdms(images, r) for r in rdms)
        np.testing.assert_array_equal(first.index, second.index)
        np.testing.assert_array_equal(dissim, again)
    assert ImagePairs.from_rdms(images, condensed)[1].shape == (6, 3)
    assert ImagePairs.from_rdms(images, condensed[:1])[1].shape == (6, 1)
    assert ImagePairs.from_rdms(images, SQUARE.tolist())[1].shape == (6,)
    integers = ImagePairs.from_rdms(images, SQUARE.astype(int))[1]
    assert integers.dtype == np.float64


def test_the_diagonal_is_not_read(images):
    rdm = SQUARE.copy()
    np.fill_diagonal(rdm, [np.nan, np.inf, 5, -1])
    np.testing.assert_array_equal(ImagePairs.from_rdms(images, rdm)[1], squareform(SQUARE))


def test_three_images_and_three_subjects_are_square(images):
    """The shape (3, 3) of condensed rdms is also that of a matrix: three images have 3 pairs."""
    rdm = squareform([1.0, 2.0, 3.0])
    pairs, dissim = ImagePairs.from_rdms(images[:3], rdm)
    np.testing.assert_array_equal(dissim, [1, 2, 3])
    assert len(pairs) == 3
    pairs, dissim = ImagePairs.from_rdms(images[:2], [[0, 7], [7, 0]])
    np.testing.assert_array_equal(dissim, [7])
    pairs, dissim = ImagePairs.from_rdms(images[:2], [7])
    np.testing.assert_array_equal(dissim, [7])


def test_pairs_without_a_value_are_left_out_and_counted(images):
    rdms = np.stack([SQUARE, SQUARE])
    rdms[:, 0, 1] = rdms[:, 1, 0] = np.nan
    rdms[0, 2, 3] = rdms[0, 3, 2] = np.nan
    pairs, dissim = ImagePairs.from_rdms(images, rdms)
    assert pairs.n_left_out == 1
    assert pairs.index.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    np.testing.assert_array_equal(dissim[:, 1], [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(np.isnan(dissim[:, 0]), [0, 0, 0, 0, 1])


def test_float32_rounding_is_symmetric_enough(images):
    rdm = SQUARE.astype(np.float32)
    rdm[0, 1] = np.nextafter(rdm[0, 1], np.float32(2))
    assert len(ImagePairs.from_rdms(images, rdm)[1]) == 6


def spoiled(*entries):
    rdm = SQUARE.copy()
    for i, j, value in entries:
        rdm[i, j] = value
    return rdm


@pytest.mark.parametrize(
    ("rdms", "error", "message"),
    [
        (spoiled((1, 3, 9)), ValueError, r"symmetric, but rdms\[1, 3\] = 9.0 and rdms\[3, 1\] = 5"),
        (spoiled((1, 3, np.nan)), ValueError, r"rdms\[1, 3\] = nan and rdms\[3, 1\] = 5.0"),
        (
            np.stack([SQUARE, spoiled((0, 2, 9))]),
            ValueError,
            r"rdms\[1, 0, 2\] = 9.0 and rdms\[1, 2, 0\] = 2.0",
        ),
        (spoiled((0, 3, np.inf), (3, 0, np.inf)), ValueError, r"rdms\[0, 3\] is infinite"),
        (
            np.stack([SQUARE, spoiled((0, 3, -np.inf), (3, 0, -np.inf))]),
            ValueError,
            r"rdms\[1, 0, 3\] is infinite",
        ),
        ([1, 2, 3, 4, np.inf, 6], ValueError, r"rdms\[1, 3\] is infinite"),
        (np.zeros((3, 3)), ValueError, r"\(4, 4\).*condensed 6 .*, got \(3, 3\)"),
        (np.zeros(5), ValueError, r"got \(5,\)"),
        (np.zeros((2, 2, 2, 4, 4)), ValueError, r"got \(2, 2, 2, 4, 4\)"),
        (np.zeros((2, 2, 2, 6)), ValueError, r"got \(2, 2, 2, 6\)"),
        (
            np.stack([[SQUARE, SQUARE], [SQUARE, spoiled((0, 2, 9))]]),
            ValueError,
            r"rdms\[1, 1, 0, 2\] = 9.0 and rdms\[1, 1, 2, 0\] = 2.0",
        ),
        (
            np.stack([[SQUARE, spoiled((0, 3, np.inf), (3, 0, np.inf))]] * 2),
            ValueError,
            r"rdms\[0, 1, 0, 3\] is infinite",
        ),
        (np.full((4, 4), "a"), TypeError, "rdms must be real numbers"),
        (np.full((4, 4), np.nan), ValueError, "no dissimilarity at all"),
        (np.zeros((0, 4, 4)), ValueError, "no dissimilarity at all"),
        (None, TypeError, "rdms must be real numbers"),
    ],
)
def test_wrong_matrices_are_named(images, rdms, error, message):
    with pytest.raises(error, match=message):
        ImagePairs.from_rdms(images, rdms)


def test_time_courses_are_square_or_condensed(images):
    rdms = SQUARE * np.arange(1.0, 7).reshape(3, 2, 1, 1)
    pairs, dissim = ImagePairs.from_rdms(images, rdms)
    assert dissim.shape == (6, 3, 2)
    assert dissim.flags.c_contiguous
    for subject, time in np.ndindex(3, 2):
        np.testing.assert_array_equal(dissim[:, subject, time], squareform(rdms[subject, time]))
    condensed = rdms[..., *np.triu_indices(4, 1)]
    np.testing.assert_array_equal(ImagePairs.from_rdms(images, condensed)[1], dissim)
    np.testing.assert_array_equal(pairs.to_rdms(dissim), rdms)
    np.testing.assert_array_equal(pairs.to_rdms(dissim.mean(axis=2)), rdms.mean(axis=1))


def test_three_images_and_three_times_are_square(images):
    """Condensed time courses (n_subjects, 3, 3) of three images would look like matrices."""
    rdms = np.stack([squareform([1.0, 2.0, 3.0])] * 2)
    assert ImagePairs.from_rdms(images[:3], rdms)[1].shape == (3, 2)
    assert ImagePairs.from_rdms(images[:3], np.ones((2, 4, 3)))[1].shape == (3, 2, 4)


def test_a_pair_is_left_out_only_if_nobody_has_it_at_any_time(images):
    rdms = SQUARE * np.ones((3, 2, 1, 1))
    rdms[:, :, 0, 1] = rdms[:, :, 1, 0] = np.nan
    rdms[:, :, 2, 3] = rdms[:, :, 3, 2] = np.nan
    rdms[1, 1, 2, 3] = rdms[1, 1, 3, 2] = 7
    pairs, dissim = ImagePairs.from_rdms(images, rdms)
    assert pairs.n_left_out == 1
    assert pairs.index.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    np.testing.assert_array_equal(np.argwhere(~np.isnan(dissim[4])), [[1, 1]])
    np.testing.assert_array_equal(pairs.to_rdms(dissim), rdms)


@pytest.mark.parametrize("leading", [(), (1,), (3,), (3, 2), (1, 1)])
def test_matrices_come_back(images, leading):
    rdms = SQUARE * np.arange(math.prod(leading)).reshape(*leading, 1, 1) if leading else SQUARE
    pairs, dissim = ImagePairs.from_rdms(images, rdms)
    np.testing.assert_array_equal(pairs.to_rdms(dissim), rdms)
    shuffled = np.random.default_rng(0).permutation(6)
    np.testing.assert_array_equal(pairs[shuffled].to_rdms(dissim[shuffled]), rdms)
    part = pairs[:2].to_rdms(dissim[:2])
    expected = np.full((4, 4), np.nan)
    np.fill_diagonal(expected, 0)
    expected = np.broadcast_to(expected, rdms.shape).copy()
    for i, j in [(0, 1), (0, 2)]:
        expected[..., i, j] = expected[..., j, i] = rdms[..., i, j]
    np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([0.1, 0.2, 0.9], r"images 0 and 1 are .* pairs \[0, 2\].*average repeated trials first"),
        ([0.1, 0.2, np.nan], "images 0 and 1"),
        ([[0.1, 0.1], [0.2, 0.2], [0.1, 0.3]], "images 0 and 1"),
        ([1e-9, 3e-9, 2e-9], "images 0 and 1"),
    ],
)
@pytest.mark.parametrize("again", [(0, 1), (1, 0)])
def test_a_pair_with_two_values_is_refused(images, values, match, again):
    with pytest.raises(ValueError, match=match):
        ImagePairs(images, [(0, 1), (1, 2), again]).to_rdms(values)


@pytest.mark.parametrize("again", [(0, 1), (1, 0)])
@pytest.mark.parametrize("value", [0.5, np.nan, np.float32(0.5) + np.float32(1e-7)])
def test_a_pair_that_says_the_same_twice_fits_a_matrix(images, again, value):
    first = np.nan if np.isnan(value) else 0.5
    rdm = ImagePairs(images, [(0, 1), (1, 2), again]).to_rdms([first, 0.2, value])
    expected = [[0, first, np.nan], [first, 0, 0.2], [np.nan, 0.2, 0]]
    np.testing.assert_allclose(rdm[:3, :3], expected, rtol=1e-6)
    np.testing.assert_array_equal(rdm, rdm.T)


def test_no_pair_makes_a_matrix_that_says_nothing(pairs):
    assert np.isnan(pairs[:0].to_rdms([])).sum() == 12


def test_too_few_values_for_a_matrix_are_refused(pairs):
    with pytest.raises(ValueError, match="got 5 dissimilarities for 6 pairs"):
        pairs.to_rdms(np.zeros(5))


def test_equal_images_are_found_by_content(images):
    index = np.array([[2, 0], [0, 1], [3, 2], [1, 3]])
    pairs = ImagePairs.from_arrays(images[index])
    np.testing.assert_array_equal(pairs.images, images[[2, 0, 1, 3]])  # order of appearance
    np.testing.assert_array_equal(pairs.images[pairs.index], images[index])
    assert pairs.images.dtype == np.uint8


def test_feature_arrays_may_have_one_axis():
    features = np.random.default_rng(0).normal(size=(3, 5))
    index = np.array([[0, 1], [1, 2]])
    pairs = ImagePairs.from_arrays(features[index])
    np.testing.assert_array_equal(pairs.images[pairs.index], features[index])
    assert len(pairs.images) == 3


def test_paths_may_be_objects_and_resized(image_files):
    names = ["a.png", "b.PNG", "c.bmp"]
    paths = [[image_files / names[0], image_files / names[1]], [image_files / n for n in names[1:]]]
    assert ImagePairs.from_arrays(paths, size=8, n_jobs=2).images.shape == (3, 8, 8, 3)


def test_copies_of_a_file_are_one_image(image_files):
    (image_files / "copy.png").write_bytes((image_files / "a.png").read_bytes())
    names = [["a.png", "d.png"], ["d.png", "copy.png"], ["copy.png", "c.bmp"]]
    pairs = ImagePairs.from_arrays([[str(image_files / name) for name in pair] for pair in names])
    assert pairs.index.tolist() == [[0, 1], [1, 0], [0, 2]]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(4), r"must be an ImagePairs, an array.*got an array of shape \(4,\)"),
        (np.zeros((4, 3, 8)), r"got an array of shape \(4, 3, 8\)"),
        (np.array([[0, 1], [1, 2]]), r"must hold image paths.*ImagePairs\(images, index\)"),
        (np.array([[0, "a.png"]], dtype=object), "must hold image paths"),
        (np.full((1, 2, 3), 0.5), "joins image 0 with itself"),
        (np.array([[[0.0], [np.nan]]]), "holds NaN or infinity"),
        ([of_two_sizes()[:2], of_two_sizes()[1:]], r"0 of pair 0 has .*image 1 of pair 1 \(4"),
    ],
)
def test_wrong_arrays_are_named(X, message):
    with pytest.raises(ValueError, match=message):
        ImagePairs.from_arrays(X)


def test_missing_file_of_a_pair_is_named(image_files):
    with pytest.raises(ValueError, match="no_such.png.*cannot be read"):
        ImagePairs.from_arrays([[str(image_files / "a.png"), str(image_files / "no_such.png")]])


def test_as_pairs_keeps_pairs_and_reads_arrays(pairs, images):
    assert as_pairs(pairs) is pairs
    np.testing.assert_array_equal(as_pairs(images[pairs.index]).images, images)


def test_sets_are_joined_without_pairs_across(images):
    first, dissim = ImagePairs.from_rdms(images, SQUARE, image_groups=list("abab"))
    second = ImagePairs(images[::-1].copy(), [[0, 3]], image_groups=list("cccd"))
    joined = ImagePairs.concatenate([first, second])
    np.testing.assert_array_equal(joined.images, np.concatenate([images, images[::-1]]))
    assert joined.index.tolist() == [*first.index.tolist(), [4, 7]]
    assert joined.image_groups.tolist() == list("ababcccd")
    np.testing.assert_array_equal(
        joined.images[joined.index],
        np.concatenate([p.images[p.index] for p in (first, second)]),
    )
    assert len(ImagePairs.concatenate(iter([first, second]))) == 7


def test_slices_of_one_set_are_joined_without_a_copy(pairs):
    joined = ImagePairs.concatenate([pairs[:2], pairs[4:]])
    assert joined.images is pairs.images
    np.testing.assert_array_equal(joined.index, pairs.index[[0, 1, 4, 5]])


def test_left_out_pairs_of_sets_add_up(images):
    rdm = spoiled((0, 1, np.nan), (1, 0, np.nan))
    sets = [ImagePairs.from_rdms(images.copy(), rdm)[0] for _ in range(2)]
    assert ImagePairs.concatenate(sets).n_left_out == 2


def test_sets_that_cannot_be_joined_are_named(images):
    pairs = ImagePairs(images, [[0, 1]])
    for other in [images[:, :5], images.astype(float) / 255]:
        with pytest.raises(ValueError, match=r"one shape and dtype.*uint8 \(4, 6, 5, 3\)"):
            ImagePairs.concatenate([pairs, ImagePairs(other, [[0, 1]])])
    with pytest.raises(ValueError, match="all or none of the image sets must have image_groups"):
        ImagePairs.concatenate([pairs, ImagePairs(images.copy(), [[0, 1]], image_groups=[0] * 4)])
    with pytest.raises(ValueError, match="image sets to concatenate"):
        ImagePairs.concatenate([])


def test_fit_takes_pairs_and_any_subjects(pairs):
    checked, y = check_fit_pairs(pairs, list(range(6)))
    assert checked is pairs
    assert y.dtype == np.float64
    columns = np.column_stack([np.arange(6.0), np.arange(6.0) ** 2])
    columns[0, 0] = np.nan
    np.testing.assert_array_equal(check_fit_pairs(pairs, columns)[1], columns)


def timed(*entries):
    y = np.arange(24.0).reshape(6, 2, 2) ** 2
    for pair, subject, time, value in entries:
        y[pair, subject, time] = value
    return y


def test_fit_takes_time_courses_with_gaps(pairs):
    y = timed((2, 1, slice(None), np.nan), (slice(None), 0, 1, np.nan), (slice(None), 1, 0, 5))
    np.testing.assert_array_equal(check_fit_pairs(pairs, y)[1], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "dissimilarities are required"),
        (np.zeros(5), r"shape \(6,\), \(6, n_subjects\) or .*n_times.*got \(5,\)"),
        (np.zeros((6, 2, 2, 2)), r"got \(6, 2, 2, 2\)"),
        (np.zeros((6, 2, 0)), r"got \(6, 2, 0\)"),
        (np.zeros((6, 0)), r"got \(6, 0\)"),
        ([0, 1, 2, 3, np.inf, 5], "pair 4 is infinite"),
        ([0, 1, np.nan, 3, 4, np.nan], "2 of 6 pairs have no dissimilarity.*first is pair 2"),
        (np.full((6, 2), [1, np.nan]), r"of subject 0 are equal \(1.0\)"),
        (np.where(np.eye(6), 1, np.nan), "no subject has two of these 6 pairs"),
        (np.ones(6), r"all dissimilarities are equal \(1.0\)"),
        (np.column_stack([np.arange(6), np.ones(6)]), "dissimilarities of subject 1 are equal"),
        (timed((4, 1, 0, np.inf)), r"dissimilarity y\[4, 1, 0\] of pair 4 is infinite"),
        (timed((2, 0, 0, np.nan), (2, slice(None), slice(None), np.nan)), "1 of 6 .* pair 2"),
        (timed((slice(None), 1, slice(None), [3, 4])), "subject 1 are equal at every time point"),
        (
            timed((slice(None), 1, 0, range(6)), (slice(None), 1, 1, range(0, -6, -1))),
            "subject 1 are equal at every time point, or on average",
        ),
    ],
)
def test_wrong_dissimilarities_are_named(pairs, y, message):
    with pytest.raises(ValueError, match=message):
        check_fit_pairs(pairs, y)


def test_two_images_are_too_few_to_fit(pairs):
    with pytest.raises(ValueError, match=r"2 images make 1 pair\(s\): at least 3 images"):
        check_fit_pairs(pairs[:1], [1.0])


def test_equal_dissimilarities_beside_missing_ones_are_named_by_value(pairs):
    y = np.column_stack([np.full(6, 2.5), np.arange(6)])
    y[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"of subject 0 are equal \(2.5\)"):
        check_fit_pairs(pairs, y)


@pytest.mark.parametrize("key", [np.array(1), np.array([[0, 1]])])
def test_keys_with_other_than_one_axis_are_refused(pairs, key):
    with pytest.raises(TypeError, match="one axis"):
        pairs[key]


def test_an_empty_list_selects_no_pair(pairs):
    assert len(pairs[[]]) == 0


def test_slices_of_one_set_must_have_the_same_groups(images):
    sets = [ImagePairs(images, [[0, 1]], image_groups=list(g)) for g in ["aabb", "abab"]]
    with pytest.raises(ValueError, match="image_groups"):
        ImagePairs.concatenate(sets)


@pytest.mark.parametrize("X", [np.zeros((0, 2, 4)), np.empty((0, 2), dtype=str)])
def test_no_pairs_at_all_are_refused(X):
    with pytest.raises(ValueError, match="got an array of shape"):
        ImagePairs.from_arrays(X)


def test_no_images_at_all_are_refused():
    with pytest.raises(ValueError, match=r"one numeric array.*\(0, 3\)"):
        ImagePairs(np.zeros((0, 3)), [[0, 1]])
    with pytest.raises(ValueError, match="needs 2 images, got 1"):
        ImagePairs.from_rdms(np.zeros((1, 3)), [[0.0]])


def test_masked_entries_of_a_matrix_are_missing(images):
    pairs, dissim = ImagePairs.from_rdms(images, np.ma.masked_equal(SQUARE, 4))
    np.testing.assert_array_equal(dissim, [1, 2, 3, 5, 6])
    assert pairs.n_left_out == 1


def test_without_an_index_all_pairs_are_taken():
    pairs = ImagePairs(np.zeros((4, 2)))
    assert pairs.index.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    with pytest.raises(ValueError, match="a pair needs 2 images, got 1"):
        ImagePairs(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("background", "colours"),
    [
        ("grey", [[0.5] * 3] * 3),
        ((0.1, 0.2, 0.3), [[0.1, 0.2, 0.3]] * 3),
        (["white", "black", (0, 0, 1)], [[1, 1, 1], [0, 0, 0], [0, 0, 1]]),
        (np.zeros((3, 3)), np.zeros((3, 3))),
    ],
)
def test_backgrounds_are_kept_as_one_colour_per_image(background, colours):
    pairs, _ = ImagePairs.from_rdms(np.zeros((3, 2)), np.arange(3.0), background=background)
    assert np.array_equal(pairs.background, colours)
    assert np.array_equal(pairs[:1].background, colours)
    joined = ImagePairs.concatenate([pairs, ImagePairs(np.ones((2, 2)), background="white")])
    assert np.array_equal(joined.background, [*colours, [1] * 3, [1] * 3])
    with pytest.raises(ValueError, match="all or none of the image sets must have background"):
        ImagePairs.concatenate([pairs, ImagePairs(np.ones((2, 2)))])
    same = ImagePairs(pairs.images, background="black")
    if not np.array_equal(same.background, pairs.background):
        with pytest.raises(ValueError, match="must have the same background"):
            ImagePairs.concatenate([pairs, same])


@pytest.mark.parametrize(
    "background", ["green", 0.5, (0, 0, 255), ["white", "grey"], [["a"], "grey", "grey"]]
)
def test_what_is_no_background_is_refused(background):
    with pytest.raises(ValueError, match="background must be one of"):
        ImagePairs(np.zeros((3, 2)), background=background)


def test_pairs_of_arrays_and_of_files_may_state_their_background(images, image_files):
    index = [[0, 1], [1, 2], [2, 3]]
    names = [["a.png", "d.png"], ["d.png", "c.bmp"]]
    paths = [[str(image_files / name) for name in pair] for pair in names]
    for X in (images[index], paths):
        pairs = ImagePairs.from_arrays(X, background="grey")
        np.testing.assert_array_equal(pairs.background, np.full((len(pairs.images), 3), 0.5))


def test_matrices_of_rsatoolbox_are_pointed_to_their_reader(images):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    theirs = rsatoolbox.rdm.RDMs(np.arange(6.0)[None])
    with pytest.raises(TypeError, match="from_rsatoolbox"):
        ImagePairs.from_rdms(images, theirs)
