import functools
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.stats import spearmanr

from sklearn_rdm import ImagePairs
from sklearn_rdm.datasets import _fetchers as datasets
from sklearn_rdm.datasets import fetch_algonauts2019, fetch_kriegeskorte92
from sklearn_rdm.datasets._simulated import CHANNELS, image_features
from tests.references import CEILINGS

TARGETS = ["fmri_evc", "fmri_it", "meg_early", "meg_late"]


def spearman_with(subjects, model):
    pairs = np.triu_indices(model.shape[-1], 1)
    return np.array([spearmanr(subject[pairs], model[pairs])[0] for subject in subjects])


def save_v5(path, arrays):
    scipy.io.savemat(path, arrays)


def save_v73(path, arrays):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")


@pytest.fixture(scope="module")
def timed_rdms():
    halves = np.random.default_rng(0).random((15, 20, 92, 92))
    rdms = halves + np.swapaxes(halves, -1, -2)
    rdms[..., range(92), range(92)] = 0
    return rdms


@pytest.fixture
def home(tmp_path):
    """A data home with the 92 images, image number in red, but no .mat files."""
    folder = tmp_path / "algonauts2019/Training_Data/92_Image_Set/92images"
    folder.mkdir(parents=True)
    for number in range(1, 93):
        Image.new("RGB", (12, 10), (2 * number, 0, 0)).save(folder / f"image_{number:02d}.jpg")
    (folder / "._image_01.jpg").write_bytes(b"what macOS leaves in archives")
    return tmp_path


def official(home, name):
    return home / "algonauts2019/Training_Data/92_Image_Set" / name


@pytest.mark.parametrize("save", [save_v5, save_v73])
def test_algonauts_reads_both_matlab_formats_with_and_without_time(home, timed_rdms, save):
    mean = timed_rdms.mean(axis=1)
    save(official(home, "target_fmri.mat"), {"EVC_RDMs": mean, "IT_RDMs": mean + 0})
    save(official(home, "target_meg.mat"), {"MEG_RDMs_early": timed_rdms, "MEG_RDMs_late": mean})
    fmri = fetch_algonauts2019(target="fmri_evc", data_home=home)
    assert_array_equal(fmri.rdms, mean)
    assert fmri.images.shape == (92, 10, 12, 3)
    assert_allclose(fmri.images[:, 5, 5, 0], 2 * np.arange(1, 93), atol=2)
    assert fmri.image_groups is None
    assert fmri.image_names[0] == "image_01.jpg"
    early = fetch_algonauts2019(target="meg_early", data_home=home, image_size=(6, 8))
    assert_allclose(early.rdms, mean)
    assert early.images.shape == (92, 6, 8, 3)
    timed = fetch_algonauts2019(target="meg_early", data_home=home, average_time=False)
    assert_array_equal(timed.rdms, timed_rdms)
    assert_array_equal(fetch_algonauts2019(target="meg_late", data_home=home).rdms, mean)
    for target in ("meg_late", "fmri_evc"):
        with pytest.raises(ValueError, match=r"no time axis \(shape \(15, 92, 92\)\)"):
            fetch_algonauts2019(target=target, data_home=home, average_time=False)


def test_algonauts_files_that_hold_something_else_are_refused(home):
    save_v5(official(home, "target_fmri.mat"), {"EVC_RDMs": np.zeros((15, 91, 91))})
    with pytest.raises(ValueError, match=r"EVC_RDMs of .* must have shape .*got \(15, 91, 91\)"):
        fetch_algonauts2019(data_home=home)
    with pytest.raises(ValueError, match=r"no variable 'IT_RDMs', only \['EVC_RDMs'\]"):
        fetch_algonauts2019(target="fmri_it", data_home=home)


def test_algonauts_categories_are_matched_by_name_not_by_row(home):
    save_v5(official(home, "target_fmri.mat"), {"EVC_RDMs": np.zeros((2, 92, 92))})
    rows = [f"image_{i:02d}.jpg,{i % 5}" for i in range(92, 0, -1)]
    official(home, "categories.csv").write_text("\n".join(["image,category", *rows]))
    assert_array_equal(fetch_algonauts2019(data_home=home).image_groups, np.arange(1, 93) % 5)
    official(home, "categories.csv").write_text("\n".join(["image,category", *rows[:-1]]))
    with pytest.raises(ValueError, match=r"no category for 'image_01\.jpg'"):
        fetch_algonauts2019(data_home=home)


def test_missing_algonauts_data_say_what_to_do(home, monkeypatch):
    with pytest.raises(FileNotFoundError) as error:
        fetch_algonauts2019(data_home=home)
    folder = str(official(home, ""))
    expected = ["algonauts.csail.mit.edu", folder, "92images", "SKLEARN_RDM_DATA"]
    assert all(text in str(error.value) for text in [*expected, "make_rdm_regression"])
    save_v5(official(home, "target_fmri.mat"), {"EVC_RDMs": np.zeros((2, 92, 92))})
    official(home, "92images/image_07.jpg").unlink()
    monkeypatch.setenv("SKLEARN_RDM_DATA", str(home))
    with pytest.raises(FileNotFoundError, match=r"image_07\.jpg' does not exist\. The"):
        fetch_algonauts2019()


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match=r"image_set must be one of \[92, 118\], got 78"):
        fetch_algonauts2019(78)
    with pytest.raises(ValueError, match=r"'fmri_it', 'meg_early', 'meg_late'\], got 'x'"):
        fetch_algonauts2019(target="x")
    with pytest.raises(ValueError, match=r"'human_it', .*'behaviour'\], got 'x'"):
        fetch_kriegeskorte92("x")


def test_data_home_is_argument_then_environment_then_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SKLEARN_RDM_DATA", str(tmp_path / "environment"))
    for data_home, expected in [("~/argument", "~/argument"), (None, tmp_path / "environment")]:
        with pytest.raises(OSError, match=str(Path(expected).expanduser())):
            fetch_algonauts2019(data_home=data_home)
    monkeypatch.delenv("SKLEARN_RDM_DATA")
    with pytest.raises(OSError, match=str(tmp_path / "cache" / "sklearn_rdm" / "algonauts2019")):
        fetch_algonauts2019()


@pytest.mark.data
@pytest.mark.parametrize("image_set", [92, 118])
@pytest.mark.parametrize("target", TARGETS)
def test_algonauts_reproduces_the_ceilings_of_the_challenge(data_home, image_set, target):
    data = fetch_algonauts2019(image_set, target, image_size=16)
    assert data.rdms.shape == (15, image_set, image_set)
    assert_allclose(data.rdms, np.swapaxes(data.rdms, 1, 2), atol=1e-12)
    assert_array_equal(data.rdms[:, range(image_set), range(image_set)], 0)
    ceiling = np.mean(spearman_with(data.rdms, data.rdms.mean(axis=0)) ** 2)
    assert round(ceiling, 4) == CEILINGS[image_set, target]
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, image_groups=data.image_groups)
    assert dissim.shape == (image_set * (image_set - 1) // 2, 15)
    assert len(set(pairs.image_groups)) == 8


@pytest.mark.data
@pytest.mark.parametrize(("image_set", "pixels"), [(92, 175), (118, 300)])
def test_algonauts_images_are_those_of_the_rows(data_home, image_set, pixels):
    data = fetch_algonauts2019(image_set)
    assert data.images.shape == (image_set, pixels, pixels, 3)
    folder = data_home / f"algonauts2019/Training_Data/{image_set}_Image_Set/{image_set}images"
    for row in (0, 9, image_set - 1):
        path = folder / f"image_{row + 1:0{len(str(image_set))}d}.jpg"
        assert_array_equal(data.images[row], np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.data
@pytest.mark.parametrize(
    ("target", "n_subjects"),
    [("human_it", 4), ("human_it_group", 1), ("monkey_it", 1), ("behaviour", 16)],
)
def test_kriegeskorte_matrices_have_the_structure_of_the_paper(data_home, target, n_subjects):
    data = fetch_kriegeskorte92(target, image_size=20)
    assert data.images.shape == (92, 20, 20, 3)
    assert data.rdms.shape == (n_subjects, 92, 92)
    assert len(data.subjects) == len(set(data.subjects)) == n_subjects
    assert_array_equal(data.rdms, np.swapaxes(data.rdms, 1, 2))
    animate = data.category_flags[:, data.category_names.index("animate")]
    assert animate.sum() == 48
    _, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    same_side = (animate[:, None] == animate)[np.triu_indices(92, 1)]
    assert dissim[same_side].mean() < dissim[~same_side].mean()


@pytest.mark.data
def test_kriegeskorte_images_categories_and_sessions(data_home):
    data = fetch_kriegeskorte92("human_it", average_sessions=False)
    assert data.images.shape == (92, 175, 175, 3)
    assert data.rdms.shape == (4, 2, 92, 92)
    assert_allclose(data.rdms.mean(1), fetch_kriegeskorte92().rdms)
    group = fetch_kriegeskorte92("human_it_group").rdms
    assert spearman_with(group, data.rdms.mean((0, 1)))[0] > 0.9999
    faces = np.char.endswith(data.image_groups, "face")
    assert_array_equal(faces, data.category_flags[:, data.category_names.index("face")])
    assert len(set(data.image_groups)) == 6
    with pytest.raises(ValueError, match="'behaviour' has no sessions"):
        fetch_kriegeskorte92("behaviour", average_sessions=False)


@pytest.mark.data
def test_kriegeskorte_objects_are_those_of_algonauts_in_the_same_order(data_home):
    white = fetch_algonauts2019().images
    grey = fetch_kriegeskorte92().images.astype(int)
    shape = (white < 240).any(-1).reshape(92, -1)
    same = (np.abs(grey - grey[:, :1, :1]).max(-1) > 8).reshape(92, -1)
    nearest = np.corrcoef(shape, same)[:92, 92:].argmax(axis=1)
    assert (nearest == np.arange(92)).mean() > 0.95  # chance: 0.01


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a stand-in for rsatoolbox's repository, with the hashes of its files."""
    root, n = tmp_path / "server", 92
    objects = np.zeros((1, n), dtype=[("category", object), ("image", object)])
    fig1 = np.zeros((1, 2), dtype=[("name", object), ("RDM", object)])
    for i in range(n):
        objects[0, i] = f"category {i % 6}", np.full((9, 9, 3), i, dtype=np.uint8)
    for i in range(2):
        fig1[0, i] = f"rdm {i}", np.arange(n * (n - 1) / 2)[None] + i
    contents = {
        "stimuli_92objs": objects,
        "RDMs_mIT_hIT_fig1": fig1,
        "categoryVectors": np.zeros((n, 12), dtype=np.uint8),
        "categoryLabels": np.array([[f"flag {i}" for i in range(12)]], dtype=object),
    }
    files = {}
    for name, (commit, _) in datasets.KRIEGESKORTE_FILES.items():
        path = root / commit / "demos/92imageData" / name
        path.parent.mkdir(parents=True)
        scipy.io.savemat(path, contents)
        files[name] = commit, hashlib.sha256(path.read_bytes()).hexdigest()
    handler = functools.partial(QuietHandler, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(datasets, "RSATOOLBOX_URL", f"http://127.0.0.1:{httpd.server_port}")
        monkeypatch.setattr(datasets, "KRIEGESKORTE_FILES", files)
        yield root
        httpd.shutdown()


def served(root, name=datasets.KRIEGESKORTE_STIMULI):
    return next(root.rglob(name))


def test_download_is_kept_and_used_without_network(server, tmp_path, monkeypatch):
    home = tmp_path / "home"
    data = fetch_kriegeskorte92("monkey_it", data_home=home)
    assert data.rdms.shape == (1, 92, 92)
    assert data.rdms[0, 0, :4].tolist() == [0, 0, 1, 2]
    assert data.images[:, 0, 0, 0].tolist() == list(range(92))
    assert data.image_groups[7] == "category 1"
    assert [p.name for p in (home / "kriegeskorte2008").iterdir()] == [
        datasets.KRIEGESKORTE_STIMULI
    ]
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setattr(datasets, "RSATOOLBOX_URL", "http://127.0.0.1:9")
    again = fetch_kriegeskorte92("monkey_it", data_home=home, download_if_missing=False)
    assert_array_equal(again.rdms, data.rdms)


@pytest.mark.parametrize("fault", ["corrupted", "missing", "refused"])
def test_failed_download_is_one_error_and_leaves_nothing(server, tmp_path, monkeypatch, fault):
    if fault == "corrupted":
        served(server).write_bytes(served(server).read_bytes()[:-10])
    elif fault == "missing":
        served(server).unlink()
    else:
        monkeypatch.setattr(datasets, "RSATOOLBOX_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"could not be downloaded from http://127.*by hand"):
        fetch_kriegeskorte92("monkey_it", data_home=tmp_path / "home")
    assert list((tmp_path / "home").rglob("*.*")) == []


def test_a_broken_local_file_is_replaced_or_named(server, tmp_path):
    path = tmp_path / "kriegeskorte2008" / datasets.KRIEGESKORTE_STIMULI
    path.parent.mkdir()
    path.write_bytes(served(server).read_bytes()[:100])
    with pytest.raises(FileNotFoundError, match=r"is not the published file \(SHA-256 differs\)"):
        fetch_kriegeskorte92("monkey_it", data_home=tmp_path, download_if_missing=False)
    assert fetch_kriegeskorte92("monkey_it", data_home=tmp_path).rdms.shape == (1, 92, 92)
    assert path.read_bytes() == served(server).read_bytes()


def test_missing_file_or_pooch_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="is missing, and download_if_missing is False"):
        fetch_kriegeskorte92(data_home=tmp_path, download_if_missing=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pooch: pip install 'sklearn-rdm\[data\]'"):
        fetch_kriegeskorte92(data_home=tmp_path)


@pytest.mark.data
def test_published_hashes_are_those_of_the_real_files(data_home):
    for name, (_, digest) in datasets.KRIEGESKORTE_FILES.items():
        content = (data_home / "kriegeskorte2008" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_features_are_what_the_docstring_says():
    def features(image):
        cells = image_features(np.asarray(image, dtype=np.uint8)[None])[0].reshape(-1, 4, 4)
        return dict(zip(CHANNELS, cells, strict=True))

    half = np.zeros((128, 128, 3))
    half[:64] = [200, 60, 20]
    for name, value in [
        ("luminance", 280 / 3),
        ("red-green", 140),
        ("blue-yellow", 20 - 130),
    ]:
        mean, scale, _ = CHANNELS[name]
        assert_allclose(features(half)[name][:2], (value / 255 - mean) / scale)
        assert_allclose(features(half)[name][2:], -mean / scale)
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    directions = {0: x, 45: (x + y) / np.sqrt(2), 90: y, 135: (y - x) / np.sqrt(2)}
    for cycles, band in [(4, "coarse"), (12, "fine")]:
        for degrees, along in directions.items():
            wave = np.sin(2 * np.pi * cycles * along / 128)
            grating = 127 + 100 * np.repeat(wave[..., None], 3, axis=2)
            energy = {name: cells.mean() for name, cells in features(grating).items()}
            filters = [name for name in CHANNELS if name.split()[0] in ("coarse", "fine")]
            assert max(filters, key=energy.get) == f"{band} {degrees}"
