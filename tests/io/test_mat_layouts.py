import shutil
import subprocess

import numpy as np
import pytest
import scipy.io
from scipy.spatial.distance import squareform

from sklearn_rdm.io import read_rdms, write_rdms

NAMES = ["cat", "horse", "Überraschung", "owl"]
RDMS = np.array([squareform(vector) for vector in np.arange(18.0).reshape(3, 6) + 1])
SUBJECTS = ["shy-fox", "apt-owl", "cuddly-bunny"]
TIMED = np.stack([RDMS, 2 * RDMS], axis=1)


def test_the_struct_array_of_the_rsa_toolbox(tmp_path):
    write_rdms(tmp_path / "x.mat", RDMS, image_names=NAMES, subjects=SUBJECTS, layout="rsa_toolbox")
    structs = scipy.io.loadmat(tmp_path / "x.mat")["RDMs"]
    assert structs.shape == (1, 3)
    assert structs.dtype.names == ("RDM", "name", "color")
    for k in range(3):
        np.testing.assert_array_equal(structs[0, k]["RDM"], RDMS[k])
        assert structs[0, k]["name"] == [SUBJECTS[k]]
        assert structs[0, k]["color"].shape == (1, 3)
    data = read_rdms(tmp_path / "x.mat")
    np.testing.assert_array_equal(data.rdms, RDMS)
    assert (data.image_names, data.subjects) == (NAMES, SUBJECTS)


@pytest.mark.parametrize(
    ("rdms", "shape", "names"),
    [
        (RDMS[0], (1, 1), ["RDM 1"]),
        (TIMED, (3, 2), [f"RDM {s} | Session: {t}" for s in (1, 2, 3) for t in (1, 2)]),
    ],
)
def test_one_matrix_and_sessions_as_structs(tmp_path, rdms, shape, names):
    write_rdms(tmp_path / "x.mat", rdms, layout="rsa_toolbox")
    structs = scipy.io.loadmat(tmp_path / "x.mat")["RDMs"]
    assert structs.shape == shape
    assert [struct["name"][0] for struct in structs.ravel()] == names
    np.testing.assert_array_equal(read_rdms(tmp_path / "x.mat").rdms, rdms)


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="Octave is not installed")
@pytest.mark.parametrize(
    ("layout", "code"),
    [
        ("arrays", "printf('%s %s %g', subjects{2}, image_names{4}, rdms(2, 1, 3))"),
        ("rsa_toolbox", "printf('%s %s %g', RDMs(2).name, image_names{4}, RDMs(2).RDM(1, 3))"),
        ("meadows", "printf('apt-owl %s %g', strtrim(stimuli_apt_owl(4, :)), rdmutv_apt_owl(2))"),
    ],
)
def test_octave_reads_every_layout(tmp_path, layout, code):
    names = ["cat", "horse", "a longer name", "owl"]  # Octave pads bytes, not letters
    write_rdms(tmp_path / "x.mat", RDMS, image_names=names, subjects=SUBJECTS, layout=layout)
    command = ["octave-cli", "--eval", f"load('x.mat'); {code};"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"apt-owl owl {RDMS[1, 0, 2]:g}"


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="Octave is not installed")
@pytest.mark.parametrize("version", ["-v6", "-v7", "-v4"])
def test_what_octave_writes_is_read(tmp_path, version):
    rows = "; ".join(" ".join(map(str, row)) for row in RDMS[1])
    if version == "-v4":
        code = f"rdm = [{rows}]; save('{version}', 'x.mat', 'rdm')"
    else:
        code = f"RDMs(2) = struct('RDM', [{rows}], 'name', 'owl'); RDMs(1).RDM = 2 * RDMs(2).RDM;"
        code += f" RDMs(1).name = 'fox'; save('{version}', 'x.mat', 'RDMs')"
    subprocess.run(["octave-cli", "--eval", code], cwd=tmp_path, check=True)
    data = read_rdms(tmp_path / "x.mat")
    expected = RDMS[1] if version == "-v4" else np.stack([2 * RDMS[1], RDMS[1]])
    np.testing.assert_array_equal(data.rdms, expected)
    assert data.subjects == (None if version == "-v4" else ["fox", "owl"])


def test_scipy_reads_structs_as_objects(tmp_path):
    write_rdms(tmp_path / "x.mat", RDMS, image_names=NAMES, subjects=SUBJECTS, layout="rsa_toolbox")
    read = scipy.io.loadmat(tmp_path / "x.mat", struct_as_record=False, squeeze_me=True)
    assert [struct.name for struct in read["RDMs"]] == SUBJECTS
    np.testing.assert_array_equal([struct.RDM for struct in read["RDMs"]], RDMS)
    assert list(read["image_names"]) == NAMES


def test_a_meadows_file_of_one_participant(tmp_path):
    path = tmp_path / "Meadows_objects_v_v2_cuddly-bunny_3_1D.mat"
    write_rdms(path, RDMS[0], image_names=NAMES, layout="meadows")
    arrays = scipy.io.loadmat(path)
    np.testing.assert_array_equal(arrays["rdmutv"], [squareform(RDMS[0])])
    assert [name.strip() for name in arrays["stimuli"]] == NAMES
    data = read_rdms(path)
    assert (data.image_names, data.subjects) == (NAMES, ["cuddly-bunny"])
    np.testing.assert_array_equal(data.rdms, RDMS[0])
    meadows = pytest.importorskip("rsatoolbox.io.meadows")
    theirs = meadows.load_rdms(str(path), sort=False)
    np.testing.assert_array_equal(theirs.get_matrices()[0], RDMS[0])


def test_rsatoolbox_reads_a_meadows_file_of_several_participants(tmp_path):
    meadows = pytest.importorskip("rsatoolbox.io.meadows")
    path = tmp_path / "Meadows_objects_v_v2_arrangement_1D.mat"
    write_rdms(path, RDMS, image_names=NAMES, subjects=SUBJECTS, layout="meadows")
    theirs = meadows.load_rdms(str(path), sort=False)
    np.testing.assert_array_equal(theirs.get_matrices(), RDMS)
    assert list(theirs.rdm_descriptors["participant"]) == SUBJECTS
    assert [name.strip() for name in theirs.pattern_descriptors["conds"]] == NAMES


def test_participants_of_a_meadows_file_have_their_own_images(tmp_path):
    partial = RDMS.copy()
    partial[1, 2] = partial[1, :, 2] = np.nan
    write_rdms(tmp_path / "x.mat", partial, image_names=NAMES, subjects=SUBJECTS, layout="meadows")
    arrays = scipy.io.loadmat(tmp_path / "x.mat")
    assert arrays["rdmutv_apt_owl"].shape == (1, 3)
    assert [name.strip() for name in arrays["stimuli_apt_owl"]] == ["cat", "horse", "owl"]
    data = read_rdms(tmp_path / "x.mat")
    partial[1, 2, 2] = 0
    np.testing.assert_array_equal(data.rdms, partial)
    assert (data.image_names, data.subjects) == (NAMES, SUBJECTS)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"layout": "meadow"}, "layout must be one of"),
        ({"layout": "meadows"}, r"needs image_names.*\(3, 4, 4\) and no image_names"),
        ({"layout": "meadows", "image_names": NAMES, "subjects": ["a b", "c", "d"]}, r"'a b'"),
        ({"layout": "meadows", "image_names": NAMES, "subjects": ["a-b", "a_b", "d"]}, "different"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_and_leaves_no_file(tmp_path, given, match):
    with pytest.raises(ValueError, match=match):
        write_rdms(tmp_path / "x.mat", RDMS, **given)
    with pytest.raises(ValueError, match=r"one of \.mat files, got .*x\.npz"):
        write_rdms(tmp_path / "x.npz", RDMS, layout="rsa_toolbox")
    assert list(tmp_path.iterdir()) == []
