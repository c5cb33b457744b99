"""What is wrong with a call is said in one line, before anything long starts."""

import numpy as np
import pytest
from PIL import Image

import sklearn_rdm
from sklearn_rdm._cli import _commands, main
from sklearn_rdm._cli._checks import (
    _candidates,
    check_candidates,
    check_layers,
    check_names,
    check_output,
)
from sklearn_rdm.io import write_rdms

NETWORK = ["--backbone", "alexnet", "--weights", "none"]


def make_images(folder, n_images):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_images):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.jpg")
    return [f"{i:02d}.jpg" for i in range(n_images)]


def square(n_images):
    values = np.random.default_rng(0).random((n_images, n_images))
    return (values + values.T) * (1 - np.eye(n_images))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Ten images and their matrix, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    write_rdms("rdm.npz", square(10), image_names=make_images(tmp_path / "images", 10))
    return tmp_path


def error_of(capsys, *given):
    """The only line that a call writes to the error stream, warnings left out."""
    assert main(list(map(str, given))) == 1
    lines = capsys.readouterr().err.splitlines()
    (error,) = [line for line in lines if not line.startswith("sklearn-rdm: warning: ")]
    return error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--search", "lr=abc"], "lr must be a number, 0 or more, got 'abc'"),
        (["--search", "lr=1e-3,-1"], "lr must be a number, 0 or more, got -1"),
        (["--set", "max_epochs=1.5"], "max_epochs must be a whole number, 0 or more, got 1.5"),
        (["--set", "max_epoch=1"], "max_epoch is not a parameter of SiameseRDMRegressor. Did you"),
        (["--search", "max_epoch=1,2"], "Did you mean max_epochs?"),
        (["--search", "freeze_up_to=None,conv9"], "freeze_up_to=conv9 cannot be used: "),
        (["--search", "freeze_up_to=conv1,conv2"], "freeze_up_to=conv2 cannot be used: "),
        (["--search", "subject_pooling=zscore,abc"], "subject_pooling=abc cannot be used: "),
        (["--layer", "conv9"], "has no layer 'conv9'"),
        (["--search", "lr=1e-3", "lr=1e-4"], "lr is given more than once by --set and --search"),
        (["--search", "lr=1e-3,1e-4", "--set", "lr=0.1"], "lr is given more than once"),
        (["--set", "layer=conv1"], "layer cannot be given by --set: give it as --layer"),
        (["--set", "random_state=1"], "give it as --random-state"),
        (["--set", "memory=here"], "memory cannot be given: it is a folder within that of --out"),
        (["--backbone", "alexnett"], "alexnett"),
        (["--weights", "none.pth"], "none.pth"),
        (["--device", "no_device"], "no_device"),
        (["--scoring", "spearmann"], "spearmann"),
        (["--folds", "1"], "n_splits"),
        (["--folds", "9"], "9"),
        (["--test-size", "2"], "test_size"),
    ],
)
def test_a_fit_that_cannot_work_says_so_and_writes_nothing(study, capsys, given, message):
    call = ["fit", "images", "rdm.npz", *NETWORK, "--layer", "conv2", "--out", "model"]
    assert message in error_of(capsys, *call, "--quiet", *given)
    assert sorted(path.name for path in study.iterdir()) == ["images", "rdm.npz"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--layers", "conv1", "conv9"], "has no layer 'conv9'"),
        (["--layers", "conv1", "--out", "table.xls"], "'table.xls', must end in .csv"),
        (["--layers", "conv1", "--figure", "no/layers.png"], "there is no folder"),
        (["--layers", "conv1", "--scoring", "spearmann"], "spearmann"),
    ],
)
def test_an_evaluation_that_cannot_work_reads_no_image(study, capsys, monkeypatch, given, message):
    monkeypatch.setattr(sklearn_rdm, "read_images", lambda *_: pytest.fail("images were read"))
    assert message in error_of(capsys, "evaluate", "images", "rdm.npz", *NETWORK, *given)


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("truncated image", "'images/03.jpg' cannot be read: "),
        ("size", "other.npy has matrices of 9 images, but images holds 10 image files"),
        ("names", "other.npz has no image ['00.jpg', '01.jpg'"),
        ("nan", "other.npy holds no dissimilarity of these images: all are NaN"),
        ("no matrix", "no_rdm.npy"),
        ("three images", "images"),
    ],
)
def test_data_that_do_not_fit_are_named(study, capsys, command, spoil, message):
    rdm = "other.npy"
    if spoil == "truncated image":
        rdm, path = "rdm.npz", study / "images" / "03.jpg"
        path.write_bytes(path.read_bytes()[:700])
    elif spoil == "size":
        write_rdms(rdm, square(9))
    elif spoil == "names":
        rdm = "other.npz"
        write_rdms(rdm, square(10), image_names=[f"image {i}" for i in range(10)])
    elif spoil == "nan":
        write_rdms(rdm, np.full((10, 10), np.nan))
    elif spoil == "no matrix":
        rdm = "no_rdm.npy"
    else:
        for i in range(2, 10):
            (study / "images" / f"{i:02d}.jpg").unlink()
        write_rdms(rdm, square(2))
    options = ["--layer", "conv2", "--out", "model", "--quiet"]
    given = options if command == "fit" else ["--layers", "conv2"]
    assert message in error_of(capsys, command, "images", rdm, *NETWORK, *given)
    assert not (study / "model").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("rdm.xlsx", "'rdm.xlsx', must end in .mat"),
        ("no/rdm.mat", "there is no folder"),
        ("folder.mat", "'folder.mat' cannot be written: it is a folder"),
    ],
)
def test_a_prediction_that_cannot_be_written_is_not_computed(study, capsys, out, message):
    (study / "folder.mat").mkdir()
    assert message in error_of(capsys, "predict", "model", "images", "--out", out)
    assert ".html" in error_of(capsys, "report", "model", "--out", "report.pdf")


def test_names_are_given_once_in_a_mapping_too():
    check_names({"lr": 0.1}, {"layer": ["conv1", "conv2"]})
    check_names([("lr", 0.1)], [("freeze_up_to", [None])])
    with pytest.raises(ValueError, match="lr is given more than once"):
        check_names({"lr": 0.1}, {"lr": [0.1]})


def test_every_value_is_tried_and_layers_together():
    search = {"layer": ["a", "b"], "freeze_up_to": ["c", "d"], "lr": [1, 2, 3], "tokens": ["e"]}
    tried = list(_candidates(search))
    assert len(tried) == 4 + 2
    assert {(one["layer"], one["freeze_up_to"]) for one in tried} == {
        *(("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
    }
    assert {one["lr"] for one in tried} == {1, 2, 3}
    assert list(_candidates({})) == [{}]


def test_what_works_passes_and_leaves_the_network_alone(tmp_path):
    network = sklearn_rdm.SiameseRDMRegressor(
        "alexnet", "conv2", weights=None, image_size=64, random_state=0, memory=tmp_path / "m"
    )
    search = {"lr": [0, 1e-3, 1], "freeze_up_to": [None, "conv1"], "noise_ratio": [0, 0.5]}
    check_candidates(network, {"max_epochs": 3}, search, None)
    assert not hasattr(network, "module_")
    assert list(tmp_path.iterdir()) == []
    check_layers(sklearn_rdm.LayerActivations("alexnet", ["conv1"], weights=None), "grey")
    check_output(str(tmp_path / "a.MAT"), _commands.MATRICES)
