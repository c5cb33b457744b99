"""Names of images and subjects, and matrices put into their order."""

import numpy as np
import pytest

from sklearn_rdm.io._labels import (
    as_labels,
    check_labels,
    distinct_labels,
    in_order,
    refuse_time_courses,
)


@pytest.fixture
def rdms():
    values = np.random.default_rng(0).random((2, 3, 3))
    return values + values.swapaxes(1, 2)


NAMES = ["cat.png", "dog.png", "owl.png"]


def test_matrices_are_put_in_the_order_wanted(rdms):
    found = in_order(rdms, NAMES, ["s1", "s2"], ["owl.png", "cat.png", "dog.png"], "file")
    np.testing.assert_array_equal(found.rdms, rdms[:, [2, 0, 1]][:, :, [2, 0, 1]])
    assert found.image_names == ["owl.png", "cat.png", "dog.png"]
    assert found.subjects == ["s1", "s2"]


def test_some_of_the_images(rdms):
    found = in_order(rdms, NAMES, None, ["owl.png", "dog.png"], "file")
    np.testing.assert_array_equal(found.rdms[:, 0, 1], rdms[:, 2, 1])
    assert found.rdms.shape == (2, 2, 2)


def test_no_order_wanted_leaves_matrices_as_they_are(rdms):
    assert in_order(rdms, None, None, None, "file").rdms is rdms


def test_names_may_differ_by_folder_and_extension_with_a_warning(rdms):
    with pytest.warns(UserWarning, match="'a/owl.JPG' is taken for 'owl.png' of file"):
        found = in_order(rdms, NAMES, None, ["a/owl.JPG", "b\\cat", "dog.png"], "file")
    np.testing.assert_array_equal(found.rdms, rdms[:, [2, 0, 1]][:, :, [2, 0, 1]])


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (None, NAMES, "file does not name its images"),
        (NAMES, ["emu.png"], r"file has no image \['emu.png'\]"),
        (["a/x.png", "b/x.png", "y"], ["x.jpg"], r"file has no image \['x.jpg'\]"),
        (NAMES, ["cat.png", "cat.png"], "image_names names .* more than once"),
        (["cat.png"] * 3, NAMES, "file names .* more than once"),
        (NAMES[:2], None, "file: 2 image_names for matrices of 3 images"),
    ],
)
def test_names_that_do_not_fit(rdms, names, wanted, message):
    with pytest.raises(ValueError, match=message):
        in_order(rdms, names, None, wanted, "file")


def test_one_name_per_subject(rdms):
    check_labels(rdms, NAMES, ["s1", "s2"])
    check_labels(rdms[0], NAMES, ["s1"])
    with pytest.raises(ValueError, match="^3 subjects' names for 2 matrices"):
        check_labels(rdms, NAMES, ["s1", "s2", "s3"])


def test_time_courses_are_refused_where_there_is_no_axis_for_them(rdms):
    refuse_time_courses(rdms, "a table")
    with pytest.raises(ValueError, match=r"a table has no time axis.*\(1, 2, 3, 3\)"):
        refuse_time_courses(rdms[np.newaxis], "a table")


def test_labels_become_texts():
    assert as_labels(None) is None
    assert as_labels(np.array([1, 2])) == ["1", "2"]
    assert distinct_labels(("a", "b"), "file") == ["a", "b"]


def test_accents_may_be_letters_of_their_own_as_macos_writes_them(rdms):
    names = ["\xe9toile", "owl", "m\xfcll"]
    with pytest.warns(UserWarning, match="is taken for"):
        found = in_order(rdms, names, None, ["mu\u0308ll.png", "owl.png", "e\u0301toile.png"], "x")
    np.testing.assert_array_equal(found.rdms, rdms[:, [2, 1, 0]][:, :, [2, 1, 0]])
