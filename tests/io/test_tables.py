import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import h5py
import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import scipy.io
from PIL import Image
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm import ImagePairs, read_images
from sklearn_rdm._models._distances import unit_square_distances, write_unit_square_distances
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm.io import (
    from_long_table,
    from_rsatoolbox,
    read_rdms,
    to_long_table,
    to_rsatoolbox,
    write_rdms,
)

NAMES = ["cat", "dog", "a longer name", "Überraschung"]


ASYMMETRIC = squareform(np.arange(1.0, 7))
ASYMMETRIC[0, 1] = 9


@pytest.fixture
def rdms():
    rng = np.random.default_rng(0)
    rdms = np.array([squareform(pdist(rng.standard_normal((4, 5)))) for _ in range(3)])
    rdms[1, 0, 2] = rdms[1, 2, 0] = np.nan
    return rdms


def save_v73(path, **arrays):
    """As MATLAB does: a header of 512 bytes, then HDF5 with axes in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".MAT"])
def test_written_matrices_and_names_are_read_back_equal(tmp_path, rdms, suffix):
    path = tmp_path / f"rdms{suffix}"
    write_rdms(path, rdms, image_names=NAMES, subjects=["s1", "s2", "s10"])
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, rdms)
    assert data.image_names == NAMES
    assert data.subjects == ["s1", "s2", "s10"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_files_without_names(tmp_path, rdms, suffix):
    for given, expected in [(rdms, rdms), (rdms[0], rdms[0]), (squareform(rdms[0]), rdms[0])]:
        write_rdms(tmp_path / f"rdms{suffix}", given)
        data = read_rdms(tmp_path / f"rdms{suffix}")
        np.testing.assert_array_equal(data.rdms, expected)
        assert data.image_names is None
        assert data.subjects is None


def test_csv_is_a_labelled_square_table(tmp_path, rdms):
    names = ["001", "dog", "10", "2"]
    write_rdms(tmp_path / "rdm.csv", rdms[1], image_names=names)
    table = pd.read_csv(tmp_path / "rdm.csv", dtype={0: str}).set_index("Unnamed: 0")
    np.testing.assert_array_equal(table.to_numpy(), rdms[1])
    data = read_rdms(tmp_path / "rdm.csv", image_names=names[::-1])
    np.testing.assert_array_equal(data.rdms, rdms[1][::-1, ::-1])
    table[table.columns[::-1]].to_csv(tmp_path / "rdm.csv")
    np.testing.assert_array_equal(read_rdms(tmp_path / "rdm.csv").rdms, rdms[1])
    (tmp_path / "rdm.csv").write_text(",a,b\na,0,1\nc,1,0\n")
    with pytest.raises(ValueError, match="must name the same images"):
        read_rdms(tmp_path / "rdm.csv")


@pytest.mark.parametrize("save", [save_v73, lambda path, **x: scipy.io.savemat(path, x)])
def test_matlab_files_of_both_kinds_and_all_shapes(tmp_path, rdms, save):
    condensed = rdms[:, *np.triu_indices(4, 1)]
    timed = np.stack([rdms, rdms + 1], axis=1)
    arrays = {
        "subjects_first": (rdms, rdms),
        "subjects_last": (rdms.transpose(1, 2, 0), rdms),
        "timed": (timed, timed),
        "condensed": (condensed, rdms),
        "row": (condensed[:1], rdms[0]),
        "column": (condensed[:1].T, rdms[0]),
    }
    save(tmp_path / "x.mat", **{name: given for name, (given, _) in arrays.items()})
    for name, (_, expected) in arrays.items():
        read = read_rdms(tmp_path / "x.mat", variable=name).rdms
        np.testing.assert_array_equal(
            np.where(np.eye(4, dtype=bool), 0, read), np.where(np.eye(4, dtype=bool), 0, expected)
        )
    with pytest.raises(ValueError, match=r"no array 'rdms', only \['column'.*variable="):
        read_rdms(tmp_path / "x.mat")


def test_text_in_v73_files_is_left_out(tmp_path, rdms):
    save_v73(tmp_path / "x.mat", rdms=rdms)
    with h5py.File(tmp_path / "x.mat", "r+") as file:
        file["name"] = np.array([[72], [105]], dtype=np.uint16)
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("struct")
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, rdms)


@pytest.mark.parametrize("save", [save_v73, lambda path, **x: scipy.io.savemat(path, x)])
def test_truncated_matlab_file_is_named(tmp_path, rdms, save):
    save(tmp_path / "x.mat", rdms=rdms)
    whole = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.mat' is no readable MATLAB file"):
        read_rdms(tmp_path / "x.mat")


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
    with pytest.raises(ValueError, match=match):
        write_rdms(tmp_path / path, rdms, image_names=names)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, rdms):
    write_rdms(tmp_path / "x.csv", rdms[0], image_names=NAMES)
    with pytest.raises(ValueError, match="one .* matrix"):
        write_rdms(tmp_path / "x.csv", rdms, image_names=NAMES)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.csv").rdms, rdms[0])


def test_long_table_there_and_back(rdms, tmp_path):
    table = to_long_table(rdms, image_names=NAMES, subjects=["s1", "s2", "s3"])
    assert len(table) == 3 * 6 - 1
    for i, j, who in [(0, 1, 0), (1, 3, 2)]:
        row = table.query(f"image_1 == {NAMES[i]!r} and image_2 == {NAMES[j]!r}")
        assert row.set_index("subject").dissimilarity[f"s{who + 1}"] == rdms[who, i, j]
    shuffled = table.sample(frac=1, random_state=0)
    flipped = shuffled.rename(columns={"image_1": "image_2", "image_2": "image_1"})
    table.to_csv(tmp_path / "x.tsv", sep="\t", index=False)
    for given in (table, shuffled, flipped, tmp_path / "x.tsv"):
        data = from_long_table(given, subject="subject", image_names=NAMES)
        np.testing.assert_array_equal(data.rdms, rdms)
        assert data.subjects == ["s1", "s2", "s3"]
    by_name = from_long_table(table, subject="subject")
    order = np.argsort(NAMES)
    np.testing.assert_array_equal(by_name.rdms, rdms[:, order][:, :, order])
    assert by_name.image_names == sorted(NAMES)


def test_long_table_of_one_subject_with_numbers_for_names():
    table = pd.DataFrame({"a": [1, 2, 2], "b": [2, 3, 2], "d": [0.5, 0.7, 0.0]})
    data = from_long_table(table, images=("a", "b"), dissimilarity="d", image_names=[3, 2, 1, 0])
    expected = [[0, 0.7, np.nan], [0.7, 0, 0.5], [np.nan, 0.5, 0]]
    np.testing.assert_array_equal(data.rdms[:3, :3], expected)
    assert np.isnan(data.rdms[3, :3]).all()
    pairs, dissim = ImagePairs.from_rdms(np.zeros((4, 2)), data.rdms)
    assert dissim.tolist() == [0.7, 0.5]
    assert pairs.n_left_out == 4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"image_2": ["b", "c", "a"]}, "'a' and 'b' have two different"),
        ({"image_2": ["b", "c", None]}, "row 2 of the table lacks a name"),
        ({"image_1": ["a", "b", "z"]}, r"not in image_names: \['z'\]"),
        ({"dissimilarity": None}, "has no column 'dissimilarity'"),
        ({"dissimilarity": [1, np.inf, 3]}, "of 'a' and 'c', row 1 of the table, is infinite"),
    ],
)
def test_bad_long_tables_are_refused(change, match):
    columns = {"image_1": ["a", "a", "b"], "image_2": ["b", "c", "c"], "dissimilarity": [1, 2, 3]}
    columns = {key: value for key, value in (columns | change).items() if value is not None}
    with pytest.raises(ValueError, match=match):
        from_long_table(pd.DataFrame(columns), image_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="no rows"):
        from_long_table(pd.DataFrame(columns | {"dissimilarity": 0}).iloc[:0])


def test_rsatoolbox_agrees_on_pairs_and_names(rdms):
    theirs = to_rsatoolbox(
        rdms, image_names=NAMES, subjects=["s1", "s2", "s3"], dissimilarity_measure="euclidean"
    )
    _, dissim = ImagePairs.from_rdms(np.zeros((4, 2)), rdms)
    np.testing.assert_array_equal(theirs.get_vectors(), dissim.T)
    np.testing.assert_array_equal(theirs.get_matrices(), rdms)
    assert theirs.subset_pattern("image", "dog").n_cond == 1
    assert theirs.subset("subject", "s2").n_rdm == 1
    data = from_rsatoolbox(theirs, image_names=NAMES[::-1])
    np.testing.assert_array_equal(data.rdms, rdms[:, ::-1, ::-1])
    assert data.subjects == ["s1", "s2", "s3"]


def test_rsatoolbox_matrices_made_by_rsatoolbox():
    measurements = np.random.default_rng(0).standard_normal((5, 7))
    dataset = rsatoolbox.data.Dataset(measurements, obs_descriptors={"stim": list("abcde")})
    theirs = rsatoolbox.rdm.calc_rdm(dataset, method="correlation", descriptor="stim")
    ours = from_rsatoolbox(theirs, image_descriptor="stim", image_names=list("edcba"))
    np.testing.assert_allclose(ours.rdms[0], 1 - np.corrcoef(measurements[::-1]), atol=1e-12)
    assert from_rsatoolbox(theirs).image_names == list("abcde")
    with pytest.raises(ValueError, match=r"no descriptor 'image', only \['index', 'stim'\]"):
        from_rsatoolbox(theirs, image_descriptor="image")
    theirs.pattern_descriptors["kind"] = list("vwxyz")
    with pytest.raises(ValueError, match=r"several that hold text: \['kind', 'stim'\]"):
        from_rsatoolbox(theirs)


def test_rsatoolbox_matrices_without_names():
    theirs = rsatoolbox.rdm.RDMs(np.arange(1.0, 7)[None])
    assert from_rsatoolbox(theirs).image_names is None
    with pytest.raises(ValueError, match="pattern descriptors .* does not name"):
        from_rsatoolbox(theirs, image_names=list("abcd"))


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


def test_an_hdf5_file_that_links_to_another_is_named(tmp_path, rdms):
    write_rdms(tmp_path / "a.h5", rdms, image_names=list("abcd"))
    for name in ("x.h5", "x.mat"):
        with h5py.File(tmp_path / name, "w") as file:
            file["rdms"] = h5py.ExternalLink(str(tmp_path / "a.h5"), "dissimilarities")
        with pytest.raises(ValueError, match=r"x\..* link to another file"):
            read_rdms(tmp_path / name)


def test_names_that_differ_by_folder_or_extension_are_matched_with_a_warning(tmp_path, rdms):
    write_rdms(tmp_path / "x.npz", rdms, image_names=["a.png", "b.png", "c.png", "d.v2"])
    with pytest.warns(UserWarning, match="'in/b.jpg' is taken for 'b.png'"):
        data = read_rdms(tmp_path / "x.npz", image_names=["in/b.jpg", "a.png", "d.v2"])
    np.testing.assert_array_equal(data.rdms, rdms[:, [1, 0, 3]][:, :, [1, 0, 3]])
    assert data.image_names == ["in/b.jpg", "a.png", "d.v2"]
    with pytest.raises(ValueError, match=r"has no image \['x/a.gif', 'y/a.gif'\]"):
        read_rdms(tmp_path / "x.npz", image_names=["x/a.gif", "y/a.gif"])


@pytest.mark.parametrize(
    ("package", "call", "extra"),
    [
        ("h5py", lambda path: read_rdms(path), "data"),
        ("pandas", lambda path: to_long_table(np.zeros((3, 3))), "pandas"),
        ("rsatoolbox.rdm", lambda path: to_rsatoolbox(np.zeros((3, 3))), "rsatoolbox"),
    ],
)
def test_missing_package_names_its_extra(monkeypatch, tmp_path, rdms, package, call, extra):
    save_v73(tmp_path / "x.mat", rdms=rdms)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'sklearn-rdm\[{extra}\]'"):
        call(tmp_path / "x.mat")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (3, 1), (1, 1)])
def test_time_courses_are_written_and_read(tmp_path, rdms, suffix, shape):
    timed = np.stack([rdms, 2 * rdms], axis=1)[: shape[0], : shape[1]]
    names = {} if suffix == ".npy" else {"subjects": ["a", "b", "c"][: shape[0]]}
    write_rdms(tmp_path / f"rdms{suffix}", timed, **names)
    data = read_rdms(tmp_path / f"rdms{suffix}")
    np.testing.assert_array_equal(data.rdms, timed)
    assert data.subjects == names.get("subjects")


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


# Arrays of one shape that may be read in two ways, and what is no dissimilarity matrix


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


def test_as_many_subjects_last_as_images_are_not_taken_for_subjects_first(tmp_path):
    rdms = np.array([squareform(np.random.default_rng(k).random(10)) for k in range(5)])
    scipy.io.savemat(tmp_path / "x.mat", {"rdms": rdms.T})
    with pytest.raises(ValueError, match=r"symmetric.*if the first two are, transpose: rdms\.T"):
        read_rdms(tmp_path / "x.mat")
    write_rdms(tmp_path / "x.mat", rdms.T.T)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, rdms)


@pytest.mark.parametrize("convert", [to_long_table, to_rsatoolbox])
def test_asymmetric_and_infinite_matrices_are_refused(convert):
    infinite = squareform([1, np.inf, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"rdms\[0, 1\] = 9.0 and rdms\[1, 0\] = 1.0\.$"):
        convert(np.pad(ASYMMETRIC, (0, 1)))
    for given in (infinite, squareform(infinite)):
        with pytest.raises(ValueError, match=r"rdms\[0, 2\] is infinite"):
            convert(given)
    with pytest.raises(ValueError, match=r"rdms\[1, 0, 2\] is infinite"):
        convert([infinite * 0.5 if k else squareform(np.ones(6)) for k in range(2)])


@pytest.mark.parametrize("spoilt", [ASYMMETRIC, squareform([1, np.inf, 2, 3, 4, 5])])
def test_a_file_of_asymmetric_or_infinite_matrices_is_named(tmp_path, spoilt):
    np.save(tmp_path / "x.npy", spoilt)
    with pytest.raises(ValueError, match=r"x\.npy must be"):
        read_rdms(tmp_path / "x.npy")


def test_what_the_diagonal_holds_is_kept(tmp_path, rdms):
    np.fill_diagonal(rdms[0], [np.nan, np.inf, 5, -1])
    write_rdms(tmp_path / "x.npz", rdms)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.npz").rdms, rdms)


# Names that pandas takes for missing values

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


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t"), (".TSV", "\t")])
def test_names_like_missing_values_come_back_from_a_long_table(tmp_path, rdms, suffix, separator):
    path = tmp_path / f"x{suffix}"
    table = to_long_table(rdms, image_names=ODD_NAMES, subjects=["NA", "b", "c"])
    for missing in ("", "NA", "nan"):
        table.loc[0, "dissimilarity"] = np.nan
        table.to_csv(path, sep=separator, index=False, na_rep=missing)
        data = from_long_table(path, subject="subject", image_names=ODD_NAMES)
        assert data.subjects == ["NA", "b", "c"]
        assert np.isnan(data.rdms[0, 0, 1])
        np.testing.assert_array_equal(data.rdms[1:], rdms[1:])
    table.loc[3, "image_1"] = ""
    table.to_csv(path, sep=separator, index=False)
    with pytest.raises(ValueError, match="row 3 of the table lacks a name"):
        from_long_table(path, subject="subject")


# Broken files


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
    with pytest.raises(ValueError, match=r"x\.csv' is no readable \.csv file.*'one'"):
        read_rdms(tmp_path / "x.csv")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_an_empty_long_table_is_named(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_text("")
    with pytest.raises(ValueError, match=rf"x\{suffix}' is no readable"):
        from_long_table(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".csv"])
def test_a_missing_file_is_missing_and_not_broken(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        read_rdms(tmp_path / f"none{suffix}")


# Files that appear once they are whole


def write_matrix(folder, out):
    rdm = squareform(np.arange(300 * 299 / 2))
    write_rdms(out, rdm)
    return read_rdms(out).rdms, rdm


def write_images(folder, out):
    return read_images(folder / "images", out=out), read_images(folder / "images")


def write_distances(folder, out):
    vectors = np.random.default_rng(0).random((2100, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return write_unit_square_distances(vectors, out), unit_square_distances(vectors)


@pytest.mark.parametrize("write", [write_matrix, write_images, write_distances])
def test_two_threads_write_one_file_whole(tmp_path, write):
    (tmp_path / "images").mkdir()
    for k in range(30):
        Image.new("RGB", (40, 40), (k, k, k)).save(tmp_path / "images" / f"{k:02d}.png")
    (tmp_path / "out").mkdir()
    out, start = tmp_path / "out" / "x.npy", Barrier(4)

    def run(_):
        start.wait()
        return write(tmp_path, out)

    with ThreadPoolExecutor(4) as pool:
        for written, expected in pool.map(run, range(4)):
            np.testing.assert_allclose(written, expected, atol=1e-12)
    assert [path.name for path in out.parent.iterdir()] == ["x.npy"]


def test_two_writers_have_their_own_files_and_leave_none_after_an_error(tmp_path):
    path = tmp_path / "x.txt"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path}
        first.write_text("first")
        second.write_text("second")
        assert not path.exists()
    assert path.read_text() == "first"
    with contextlib.suppress(KeyError), whole_file(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_is_written(tmp_path, rdms):
    (tmp_path / "plain.txt").write_text("")
    write_rdms(tmp_path / "x.npy", rdms)
    assert (tmp_path / "x.npy").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_masked_entries_are_missing(tmp_path, rdms):
    masked = np.ma.masked_equal(rdms[0], rdms[0, 0, 1])
    write_rdms(tmp_path / "rdm.npy", masked)
    written = read_rdms(tmp_path / "rdm.npy").rdms
    np.testing.assert_array_equal(np.isnan(written), masked.mask)
