import zipfile

import numpy as np
import pandas as pd
import pytest
import rsatoolbox
from scipy.spatial.distance import squareform

from sklearn_rdm.io import (
    read_rdms,
    to_long_table,
    to_rsatoolbox,
    write_rdms,
)

NAMES = ["cat", "dog", "a longer name", "Überraschung"]


ASYMMETRIC = squareform(np.arange(1.0, 7))
ASYMMETRIC[0, 1] = 9


def test_csv_is_a_labelled_square_table(tmp_path, rdms):
    names = ["001", "dog", "10", "2"]
    write_rdms(tmp_path / "rdm.csv", rdms[1], image_names=names)
    table = pd.read_csv(tmp_path / "rdm.csv", dtype=str).set_index("Unnamed: 0").astype(float)
    np.testing.assert_array_equal(table.to_numpy(), rdms[1])
    data = read_rdms(tmp_path / "rdm.csv", image_names=names[::-1])
    np.testing.assert_array_equal(data.rdms, rdms[1][::-1, ::-1])
    table[table.columns[::-1]].to_csv(tmp_path / "rdm.csv")
    np.testing.assert_array_equal(read_rdms(tmp_path / "rdm.csv").rdms, rdms[1])
    (tmp_path / "rdm.csv").write_text(",a,b\na,0,1\nc,1,0\n")
    with pytest.raises(ValueError, match="must name the same images.*from_long_table"):
        read_rdms(tmp_path / "rdm.csv")


def test_images_are_put_in_the_order_wanted(tmp_path, rdms):
    write_rdms(tmp_path / "x.npz", rdms, image_names=NAMES)
    data = read_rdms(tmp_path / "x.npz", image_names=["dog", "cat", "Überraschung"])
    np.testing.assert_array_equal(data.rdms, rdms[:, [1, 0, 3]][:, :, [1, 0, 3]])
    with pytest.raises(ValueError, match=r"has no image \['cow'\]"):
        read_rdms(tmp_path / "x.npz", image_names=["dog", "cow"])
    with pytest.raises(ValueError, match=r"names \['dog'\] more than once"):
        read_rdms(tmp_path / "x.npz", image_names=["dog", "dog"])
    np.save(tmp_path / "x.npy", rdms)
    with pytest.raises(ValueError, match="does not name its images"):
        read_rdms(tmp_path / "x.npy", image_names=NAMES)


@pytest.mark.parametrize(
    ("path", "rdms", "names", "match"),
    [
        ("x.txt", np.zeros((3, 3)), None, "none of the formats"),
        ("x.npy", np.zeros((3, 3)), ["a", "b", "c"], "holds no names"),
        ("x.csv", np.zeros((2, 3, 3)), ["a", "b", "c"], "to_long_table"),
        ("x.npz", np.zeros((3, 3)), ["a", "b"], "2 image_names for matrices of 3 images"),
        ("x.npz", np.zeros(5), None, r"n_pairs = n \* \(n - 1\) / 2, got \(5,\)"),
        ("x.npz", ["a", "b"], None, "must be real numbers"),
        ("x.npz", ASYMMETRIC, None, r"symmetric, but rdms\[0, 1\] = 9.0 and rdms\[1, 0\] = 1.0"),
        ("x.npz", [1, np.inf, 2], None, r"rdms\[0, 2\] is infinite"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_and_leaves_no_file(tmp_path, path, rdms, names, match):
    with pytest.raises((TypeError, ValueError), match=match):
        write_rdms(tmp_path / path, rdms, image_names=names)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, rdms):
    write_rdms(tmp_path / "x.csv", rdms[0], image_names=NAMES)
    with pytest.raises(ValueError, match="one .* matrix"):
        write_rdms(tmp_path / "x.csv", rdms, image_names=NAMES)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.csv").rdms, rdms[0])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".pkl"])
def test_rsatoolbox_files_there_and_back(tmp_path, rdms, suffix):
    path = tmp_path / f"rdms{suffix}"
    write_rdms(path, rdms, image_names=list("abcd"), subjects=["a", "b", "c"])
    theirs = rsatoolbox.rdm.load_rdm(str(path), "pkl" if suffix == ".pkl" else "hdf5")
    np.testing.assert_array_equal(theirs.dissimilarities, rdms[:, *np.triu_indices(4, 1)])
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, rdms)
    assert (data.image_names, data.subjects) == (list("abcd"), ["a", "b", "c"])


def test_names_that_rsatoolbox_cannot_write_are_named(tmp_path, rdms):
    with pytest.raises(ValueError, match=r"x\.h5': rsatoolbox writes only ASCII names"):
        write_rdms(tmp_path / "x.h5", rdms, image_names=NAMES)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_by_folder_or_extension_are_matched_with_a_warning(tmp_path, rdms):
    write_rdms(tmp_path / "x.npz", rdms, image_names=["a.png", "b.png", "c.png", "d.v2"])
    with pytest.warns(UserWarning, match="'in/b.jpg' is taken for 'b.png'"):
        data = read_rdms(tmp_path / "x.npz", image_names=["in/b.jpg", "a.png", "d.v2"])
    np.testing.assert_array_equal(data.rdms, rdms[:, [1, 0, 3]][:, :, [1, 0, 3]])
    assert data.image_names == ["in/b.jpg", "a.png", "d.v2"]
    with pytest.raises(ValueError, match=r"has no image \['x/a.gif', 'y/a.gif'\]"):
        read_rdms(tmp_path / "x.npz", image_names=["x/a.gif", "y/a.gif"])


def test_time_courses_are_refused_where_there_is_no_place_for_them(tmp_path, rdms):
    timed = np.stack([rdms, rdms], axis=1)
    for convert in (to_long_table, to_rsatoolbox):
        with pytest.raises(ValueError, match=r"no time axis.*\(3, 2, 4, 4\).*rdms\[:, t\]"):
            convert(timed)
        convert(timed[:, 0])
    with pytest.raises(ValueError, match=r"one \(n, n\) matrix"):
        write_rdms(tmp_path / "x.csv", timed, image_names=NAMES)
    with pytest.raises(ValueError, match=r"\(n_subjects, n_times, n, n\).*got \(3, 2, 6\)"):
        write_rdms(tmp_path / "x.npz", timed[..., *np.triu_indices(4, 1)])
    assert list(tmp_path.iterdir()) == []


def test_csv_without_names_is_refused_and_does_not_lose_an_image(tmp_path, rdms):
    path = tmp_path / "plain.csv"
    np.savetxt(path, rdms[0], delimiter=",")
    with pytest.raises(ValueError, match=r"plain.csv.*number in its first cell.*numpy.loadtxt"):
        read_rdms(path)


@pytest.mark.parametrize("n_images", [4, 6])
def test_as_many_condensed_subjects_as_pairs_are_not_taken_for_a_matrix(tmp_path, n_images):
    n_pairs = n_images * (n_images - 1) // 2
    condensed = np.random.default_rng(0).random((n_pairs, n_pairs))
    np.save(tmp_path / "x.npy", condensed)
    match = rf"symmetric, but.*read as square, of {n_pairs} images.*pairs of {n_images} images"
    with pytest.raises(ValueError, match=f"x.npy must be {match}.*squareform"):
        read_rdms(tmp_path / "x.npy")
    for convert in (to_long_table, to_rsatoolbox, lambda rdms: write_rdms("x.npz", rdms)):
        with pytest.raises(ValueError, match=match):
            convert(condensed)
    square = np.array([squareform(row) for row in condensed])
    assert len(to_long_table(square)) == condensed.size


@pytest.mark.parametrize("spoilt", [ASYMMETRIC, squareform([1, np.inf, 2, 3, 4, 5])])
def test_a_file_of_asymmetric_or_infinite_matrices_is_named(tmp_path, spoilt):
    np.save(tmp_path / "x.npy", spoilt)
    with pytest.raises(ValueError, match=r"x\.npy must be"):
        read_rdms(tmp_path / "x.npy")


def test_what_the_diagonal_holds_is_kept(tmp_path, rdms):
    np.fill_diagonal(rdms[0], [np.nan, np.inf, 5, -1])
    write_rdms(tmp_path / "x.npz", rdms)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.npz").rdms, rdms)


ODD_NAMES = ["NA", "None", "null", "nan"]


def test_names_like_missing_values_come_back_from_a_square_table(tmp_path, rdms):
    write_rdms(tmp_path / "x.csv", rdms[1], image_names=ODD_NAMES)
    data = read_rdms(tmp_path / "x.csv", image_names=ODD_NAMES[::-1])
    np.testing.assert_array_equal(data.rdms, rdms[1][::-1, ::-1])
    (tmp_path / "x.csv").write_text(",NA,b,c\nNA,0,NA,1\nb,,0,nan\nc,1,NaN,0\n")
    data = read_rdms(tmp_path / "x.csv")
    assert data.image_names == ["NA", "b", "c"]
    np.testing.assert_array_equal(np.isnan(data.rdms[0]), [False, True, False])
    assert np.isnan(data.rdms[1, 2])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "bytes"])
def test_a_broken_file_is_named(tmp_path, rdms, suffix, damage):
    path = tmp_path / f"broken{suffix}"
    names = None if suffix == ".npy" else NAMES
    write_rdms(path, rdms[0], image_names=names)
    whole = path.read_bytes()
    content = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "text": b"0,1\n1\n",
        "bytes": bytes(range(256)),
    }
    path.write_bytes(content[damage])
    with pytest.raises(ValueError, match=rf"broken\{suffix}'") as caught:
        read_rdms(path)
    assert "allow_pickle" not in str(caught.value)


def test_text_among_the_values_of_a_csv_file_is_named(tmp_path):
    (tmp_path / "x.csv").write_text(",a,b\na,0,one\nb,one,0\n")
    with pytest.raises(ValueError, match=r"x\.csv' cannot be read as a .csv file.*'one'"):
        read_rdms(tmp_path / "x.csv")


def test_others_may_read_what_is_written(tmp_path, rdms):
    (tmp_path / "plain.txt").write_text("")
    write_rdms(tmp_path / "x.npy", rdms)
    assert (tmp_path / "x.npy").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_masked_entries_are_missing(tmp_path, rdms):
    masked = np.ma.masked_equal(rdms[0], rdms[0, 0, 1])
    write_rdms(tmp_path / "rdm.npy", masked)
    written = read_rdms(tmp_path / "rdm.npy").rdms
    np.testing.assert_array_equal(np.isnan(written), masked.mask)


def test_an_unknown_version_and_objects_of_numpys_format_are_named(tmp_path, rdms):
    np.save(tmp_path / "x.npy", rdms)
    content = bytearray((tmp_path / "x.npy").read_bytes())
    content[6] = 9
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy.* unknown version \(9, 0\) of numpy's format"):
        read_rdms(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", rdms=rdms, image_names=np.array(NAMES, dtype=object))
    with pytest.raises(ValueError, match=r"x\.npz.*'image_names' holds Python objects"):
        read_rdms(tmp_path / "x.npz")


def test_what_is_no_array_in_an_npz_file_is_left_out(tmp_path, rdms):
    np.savez(tmp_path / "x.npz", rdms=rdms)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("read_me.txt", "measured in May")
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.npz").rdms, rdms)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (";a;b\na;0;1\nb;1;0\n", "cells are separated by ';', not ','"),
        (";a;b\na;0,0;1,5\nb;1,5;0,0\n", "cells are separated by ';'.* points in numbers"),
        (", a, b\na,0,1\nb,1,0\n", r"Only one of them has \[' a', ' b', 'a', 'b'\]"),
        (",a,a\na,0,1\na,1,0\n", "each once. A name is repeated"),
    ],
)
def test_what_is_wrong_with_a_square_table_is_said(tmp_path, text, match):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"x\.csv'.*{match}"):
        read_rdms(tmp_path / "x.csv")
