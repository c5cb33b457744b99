import h5py
import numpy as np
import pytest
import scipy.io
from scipy.spatial.distance import squareform

from sklearn_rdm.io import read_rdms

VECTORS = np.arange(18.0).reshape(3, 6) + 1
SQUARE = np.array([squareform(vector) for vector in VECTORS])
NAMES = ["cat", "horse", "bus", "owl"]


def struct_array(shape, entries, names):
    structs = np.zeros(shape, dtype=[("RDM", "O"), ("name", "O"), ("color", "O")])
    for place, entry, name in zip(np.ndindex(shape), entries, names, strict=True):
        structs[place] = (entry, name, np.array([0.0, 0, 1]))
    return structs


def save(tmp_path, **variables):
    scipy.io.savemat(tmp_path / "x.mat", variables)
    return tmp_path / "x.mat"


@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
@pytest.mark.parametrize("entries", [SQUARE, VECTORS, VECTORS[:, None], VECTORS[:, :, None]])
def test_struct_and_cell_arrays(tmp_path, shape, entries):
    structs = struct_array(shape, entries, ["s1", "s2", "s10"])
    for variables in ({"RDMs": structs}, {"a": {"b": structs}}):
        data = read_rdms(save(tmp_path, **variables))
        np.testing.assert_array_equal(data.rdms, SQUARE)
        assert data.subjects == ["s1", "s2", "s10"]
    data = read_rdms(save(tmp_path, RDMs=structs["RDM"]))
    np.testing.assert_array_equal(data.rdms, SQUARE)
    assert data.subjects is None


def test_one_struct_and_the_names_inside_it(tmp_path):
    struct = {"RDM": SQUARE[0], "name": "IT", "labels": np.array(NAMES)}
    data = read_rdms(save(tmp_path, RDMs=struct))
    np.testing.assert_array_equal(data.rdms, SQUARE[0])
    assert (data.image_names, data.subjects) == (NAMES, ["IT"])


def test_the_colour_of_one_struct_is_not_taken_for_the_pairs_of_three_images(tmp_path):
    path = save(tmp_path, RDMs=struct_array((1, 1), SQUARE[:1], ["IT"]))
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, SQUARE[0])
    assert data.subjects == ["IT"]


def test_sessions_of_a_subject_stay_together(tmp_path):
    names = [f"IT | {who} | Session: {k}" for who in ("BE", "KO") for k in (1, 2)]
    structs = struct_array((1, 2, 2), SQUARE[[0, 1, 2, 0]], names)
    data = read_rdms(save(tmp_path, RDMs=structs))
    np.testing.assert_array_equal(data.rdms, SQUARE[[0, 1, 2, 0]].reshape(2, 2, 4, 4))
    assert data.subjects == ["IT | BE", "IT | KO"]


def test_matrices_of_different_sizes_are_named(tmp_path):
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = SQUARE[0], np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"x\.mat holds matrices of different shapes"):
        read_rdms(save(tmp_path, RDMs=cells))


def test_a_name_variable_can_be_chosen(tmp_path):
    path = save(tmp_path, rdms=SQUARE, what=np.array(NAMES, dtype=object), note="hello")
    assert read_rdms(path).image_names is None
    assert read_rdms(path, names_variable="what").image_names == NAMES
    with pytest.raises(ValueError, match=r"no text variable 'rdms', only \['note', 'what'\]"):
        read_rdms(path, names_variable="rdms")


def test_a_meadows_file_of_one_participant(tmp_path):
    path = tmp_path / "Meadows_objects_v_v2_cuddly-bunny_3_1D.mat"
    save(tmp_path, rdmutv=VECTORS[:1], stimuli=np.array(NAMES)).rename(path)
    data = read_rdms(path)
    np.testing.assert_array_equal(data.rdms, SQUARE[0])
    assert (data.image_names, data.subjects) == (NAMES, ["cuddly-bunny"])


def test_participants_of_a_meadows_file_are_matched_by_stimulus(tmp_path):
    order = [3, 0, 2]
    own = SQUARE[1][np.ix_(order, order)]
    path = save(
        tmp_path,
        rdmutv_shy_fox=VECTORS[:1],
        stimuli_shy_fox=np.array(NAMES),
        rdmutv_apt_owl=squareform(own)[None],
        stimuli_apt_owl=np.array(NAMES)[order],
    )
    data = read_rdms(path)
    expected = SQUARE[:2].copy()
    expected[1, 1, [0, 2, 3]] = expected[1, [0, 2, 3], 1] = np.nan
    np.testing.assert_array_equal(data.rdms, expected)
    assert (data.image_names, data.subjects) == (NAMES, ["shy-fox", "apt-owl"])


def test_struct_and_cell_arrays_of_v73_files(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        held = [file.create_dataset(f"#refs#/{k}", data=rdm) for k, rdm in enumerate(SQUARE)]
        texts = []
        for k in range(3):
            text = file.create_dataset(f"#refs#/t{k}", data=np.array([[115], [49 + k]], np.uint16))
            text.attrs["MATLAB_class"] = np.bytes_("char")
            texts.append(text)
        references = np.array([[item.ref] for item in held], dtype=h5py.ref_dtype)
        file["cells"] = references
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["RDMs/RDM"] = references
        file["RDMs/name"] = np.array([[item.ref] for item in texts], dtype=h5py.ref_dtype)
        file["RDMs"].attrs["MATLAB_class"] = np.bytes_("struct")
    for variable, subjects in [("RDMs", ["s1", "s2", "s3"]), ("cells", None)]:
        data = read_rdms(tmp_path / "x.mat", variable=variable)
        np.testing.assert_array_equal(data.rdms, SQUARE)
        assert data.subjects == subjects


def test_structs_in_cells_name_their_subjects(tmp_path):
    cells = np.empty((1, 3), dtype=object)
    for k, (rdm, name) in enumerate(zip(SQUARE, ["s1", "s2", "s10"], strict=True)):
        cells[0, k] = {"RDM": rdm, "name": name}
    data = read_rdms(save(tmp_path, RDMs=cells))
    np.testing.assert_array_equal(data.rdms, SQUARE)
    assert data.subjects == ["s1", "s2", "s10"]


def test_numbers_and_truth_values_beside_a_matrix_are_no_matrices(tmp_path):
    others = {"n_images": np.array(4), "done": np.array(True), "mask": np.eye(4, dtype=bool)}
    np.savez(tmp_path / "x.npz", measured=SQUARE[0], **others)
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.npz").rdms, SQUARE[0])


def test_a_meadows_participant_without_stimuli_is_named(tmp_path):
    path = save(tmp_path, rdmutv_shy_fox=VECTORS[:1])
    with pytest.raises(ValueError, match="has rdmutv_shy_fox, but no text variable stimuli_shy"):
        read_rdms(path)


def test_fields_of_structs_without_a_matrix_are_named(tmp_path):
    structs = np.zeros((1, 3), dtype=[("mymatrix", "O"), ("name", "O")])
    for k in range(3):
        structs[0, k] = (SQUARE[k], f"s{k}")
    with pytest.raises(ValueError, match=r"fields are \['mymatrix', 'name'\]: one must be called"):
        read_rdms(save(tmp_path, data=structs))


def test_an_empty_cell_is_named(tmp_path):
    cells = np.empty((1, 3), dtype=object)
    cells[0] = [SQUARE[0], np.zeros((0, 0)), SQUARE[2]]
    with pytest.raises(ValueError, match=r"entry 2 holds no numbers, shape \(0, 0\)"):
        read_rdms(save(tmp_path, c=cells))


def test_one_struct_of_several_subjects_names_none(tmp_path):
    struct = {"RDM": np.moveaxis(SQUARE, 0, -1), "name": "hIT"}
    data = read_rdms(save(tmp_path, RDMs=struct))
    np.testing.assert_array_equal(data.rdms, SQUARE)
    assert data.subjects is None
