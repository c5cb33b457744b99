import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import squareform

from sklearn_rdm import ImagePairs
from sklearn_rdm.io import (
    from_long_table,
    to_long_table,
    to_rsatoolbox,
)

NAMES = ["cat", "dog", "a longer name", "Überraschung"]


ASYMMETRIC = squareform(np.arange(1.0, 7))
ASYMMETRIC[0, 1] = 9


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
        ({"image_2": ["b", "c", None]}, "row 2 of the table has no name"),
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


@pytest.mark.parametrize("convert", [to_long_table, to_rsatoolbox])
def test_asymmetric_and_infinite_matrices_are_refused(convert):
    infinite = squareform([1, np.inf, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"rdms\[0, 1\] = 9.0 and rdms\[1, 0\] = 1.0\. If both"):
        convert(np.pad(ASYMMETRIC, (0, 1)))
    for given in (infinite, squareform(infinite)):
        with pytest.raises(ValueError, match=r"rdms\[0, 2\] is infinite"):
            convert(given)
    with pytest.raises(ValueError, match=r"rdms\[1, 0, 2\] is infinite"):
        convert([infinite * 0.5 if k else squareform(np.ones(6)) for k in range(2)])


ODD_NAMES = ["NA", "None", "null", "nan"]


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
    with pytest.raises(ValueError, match=r"row 3 of .*x\..* has no name"):
        from_long_table(path, subject="subject")


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_an_empty_long_table_is_named(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_text("")
    with pytest.raises(ValueError, match=rf"x\{suffix}' cannot be read as a"):
        from_long_table(tmp_path / f"x{suffix}")


def test_values_are_read_to_the_last_bit_and_text_among_them_is_named(tmp_path):
    values = np.random.default_rng(0).random(45)
    table = to_long_table(values)
    table.to_csv(tmp_path / "x.csv", index=False)
    data = from_long_table(tmp_path / "x.csv", image_names=range(10))
    np.testing.assert_array_equal(data.rdms, squareform(values))
    for text in ("one", "1_5"):
        table["dissimilarity"] = table["dissimilarity"].astype(object)
        table.loc[2, "dissimilarity"] = text
        table.to_csv(tmp_path / "x.csv", index=False)
        with pytest.raises(ValueError, match=rf"x\.csv' cannot be read as a \.csv file.*{text}"):
            from_long_table(tmp_path / "x.csv")


def test_a_table_of_a_header_alone_holds_no_pair(tmp_path):
    (tmp_path / "x.csv").write_text("image_1,image_2,dissimilarity\n")
    with pytest.raises(ValueError, match="x.csv"):
        from_long_table(tmp_path / "x.csv")


def numbered(**columns):
    table = {"image_1": [1, 1, 2], "image_2": [2, 3, 3], "dissimilarity": [0.1, 0.2, 0.3]}
    return pd.DataFrame(table | columns)


def test_whole_numbers_are_one_name_whether_pandas_keeps_them_as_float_or_not():
    expected = from_long_table(numbered())
    for image_2 in ([2.0, 3.0, 3.0], pd.array([2, 3, 3], dtype="Int64")):
        data = from_long_table(numbered(image_2=image_2))
        np.testing.assert_array_equal(data.rdms, expected.rdms)
        assert data.image_names == ["1", "2", "3"]
    data = from_long_table(numbered(who=[4.0, 4.0, 10.0]), subject="who", image_names=[1, 2, 3])
    assert data.subjects == ["10", "4"]
    with pytest.raises(ValueError, match="in two ways, '2' and '2.0'"):
        from_long_table(numbered(image_1=[0.5, 0.5, 2]))


@pytest.mark.parametrize(
    ("one", "other"), [("cat", " cat"), ("\xe9toile", "e\u0301toile"), ("7", "7.0"), ("7", "7 ")]
)
def test_a_name_in_two_ways_is_not_two_images(tmp_path, one, other):
    table = numbered(image_1=[one, one, "b"], image_2=["b", "c", "c"])
    from_long_table(table)
    table.loc[1, "image_1"] = other
    table.to_csv(tmp_path / "x.csv", index=False)
    for given in (table, tmp_path / "x.csv"):
        with pytest.raises(ValueError, match="the name of an image in two ways"):
            from_long_table(given)


@pytest.mark.parametrize("unit", [1, 1e-12, 1e12])
def test_two_values_of_a_pair_are_told_in_any_unit(unit):
    table = numbered(dissimilarity=np.array([0.1, 0.2, 0.3]) * unit)
    again = table.assign(dissimilarity=table.dissimilarity * (1 + 1e-9))
    from_long_table(pd.concat([table, again]))
    with pytest.raises(ValueError, match="two different dissimilarities"):
        from_long_table(pd.concat([table, table.assign(dissimilarity=0.2 * unit)]))


@pytest.mark.parametrize(
    "values", [pd.to_timedelta([1, 2, 3], unit="s"), np.arange(3) * 1j, list("abc")]
)
def test_what_is_no_number_in_a_table_raises_an_error(values):
    with pytest.raises(TypeError, match="'dissimilarity' of the table must be real numbers"):
        from_long_table(numbered(dissimilarity=values))


def test_what_is_no_table_raises_an_error():
    with pytest.raises(TypeError, match="pandas.DataFrame or the path of a file, got dict"):
        from_long_table({"image_1": ["a"]})


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_named(tmp_path, separator):
    numbered().to_csv(tmp_path / "x.csv", sep=separator, decimal=",", index=False)
    with pytest.raises(ValueError, match=re.escape(f"cells are separated by {separator!r}")):
        from_long_table(tmp_path / "x.csv")
