"""The command line: what it writes is what the package reads, and what it refuses."""

import shutil

import joblib
import numpy as np
import pytest
from PIL import Image

import sklearn_rdm
from sklearn_rdm._cli import _commands, main
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.io import read_rdms, to_long_table, write_rdms

N_IMAGES = 12
NETWORK = ["--backbone", "alexnet", "--weights", "none", "--size", "64"]
FIT = [*NETWORK, "--layer", "conv2", "--set", "image_size=64", "max_epochs=1", "--folds", "2"]
FIT += ["--search", "lr=1e-4,1e-3", "--quiet"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder of images, and a matrix file whose rows are in another order than the files."""
    folder = tmp_path_factory.mktemp("study")
    data = make_rdm_regression(N_IMAGES, 3, image_size=64, random_state=0)
    (folder / "images").mkdir()
    names = [f"{i:02d}.png" for i in range(N_IMAGES)]
    for name, image in zip(names, data.images, strict=True):
        Image.fromarray(image).save(folder / "images" / name)
    order = np.random.default_rng(0).permutation(N_IMAGES)
    shuffled = data.rdms[:, order][:, :, order]
    write_rdms(folder / "rdm.npz", shuffled, image_names=[names[i] for i in order])
    table = to_long_table(shuffled, image_names=[names[i] for i in order])
    table.to_csv(folder / "long.csv", index=False)
    write_rdms(folder / "ordered.npy", data.rdms)
    return folder, data


@pytest.fixture(scope="module")
def model(study):
    folder, _ = study
    out = folder / "model"
    given = ["fit", str(folder / "images"), str(folder / "rdm.npz"), *FIT, "--out", str(out)]
    assert main(given) == 0
    return out, given


def test_model_is_what_python_reads_and_predicts_the_same(study, model, tmp_path):
    folder, data = study
    search = joblib.load(model[0] / "search.joblib")
    expected = search.transform(data.images)
    for name in ("rdm.mat", "rdm.npz", "rdm.csv", "rdm.h5", "rdm.npy"):
        out = tmp_path / name
        assert main(["predict", str(model[0]), str(folder / "images"), "--out", str(out)]) == 0
        read = read_rdms(out)
        np.testing.assert_allclose(read.rdms.reshape(expected.shape), expected, atol=1e-6)
        assert name == "rdm.npy" or read.image_names[:2] == ["00.png", "01.png"]


def test_fit_equals_the_same_calls_in_python(study, model):
    from sklearn.model_selection import GridSearchCV

    _, data = study
    pairs, dissim = sklearn_rdm.ImagePairs.from_rdms(data.images, data.rdms)
    train, _, y, _ = sklearn_rdm.model_selection.image_train_test_split(
        pairs, dissim, test_size=0.25, random_state=0
    )
    network = sklearn_rdm.SiameseRDMRegressor(
        "alexnet", "conv2", weights=None, image_size=64, max_epochs=1, random_state=0
    )
    search = GridSearchCV(
        network,
        {"lr": [1e-4, 1e-3]},
        cv=sklearn_rdm.model_selection.ImageKFold(2, shuffle=True, random_state=0),
        scoring=sklearn_rdm.metrics.rdm_spearman_scorer,
    ).fit(train, y)
    ours = joblib.load(model[0] / "search.joblib")
    assert ours.best_params_ == search.best_params_
    assert ours.best_score_ == search.best_score_
    np.testing.assert_array_equal(ours.transform(data.images), search.transform(data.images))
    assert isinstance(ours.scoring, type(search.scoring))


def test_fit_again_fits_nothing_and_another_fit_is_not_overwritten(model, capsys):
    out, given = model
    written = (out / "search.joblib").stat().st_mtime_ns
    assert main(given) == 0
    assert "holds this fit already" in capsys.readouterr().out
    assert main([*given, "--folds", "3"]) == 1
    assert "other settings or data" in capsys.readouterr().err
    assert (out / "search.joblib").stat().st_mtime_ns == written


def test_fit_goes_on_where_a_fit_was_stopped(study, model, tmp_path):
    """A folder with settings but without a model is one whose fit was interrupted."""
    out = tmp_path / "model"
    out.mkdir()
    (out / "settings.toml").write_text((model[0] / "settings.toml").read_text())
    assert main([*model[1][:-1], str(out)]) == 0
    assert (out / "search.joblib").exists()


def test_settings_of_a_model_make_the_same_model(study, model, tmp_path):
    out = tmp_path / "again"
    settings = str(model[0] / "settings.toml")
    assert main(["fit", "--settings", settings, "--out", str(out), "--quiet"]) == 0
    assert (out / "settings.toml").read_text() == (model[0] / "settings.toml").read_text()
    first, again = (joblib.load(m / "search.joblib") for m in (model[0], out))
    np.testing.assert_array_equal(
        first.transform(study[1].images), again.transform(study[1].images)
    )


def test_report_is_written_again(model, tmp_path):
    out = tmp_path / "page.html"
    assert main(["report", str(model[0]), "--out", str(out)]) == 0
    assert out.read_text() == (model[0] / "report.html").read_text()


def test_report_of_other_data_is_refused(study, model, tmp_path, capsys):
    folder, data = study
    copied = tmp_path / "model"
    shutil.copytree(model[0], copied)
    settings = copied / "settings.toml"
    settings.write_text(settings.read_text().replace("rdm.npz", "other.npz"))
    write_rdms(folder / "other.npz", data.rdms + 1)
    assert main(["report", str(copied)]) == 1
    assert "has changed since the model was fitted" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0, 4, 2000])
def test_a_model_that_was_cut_off_is_named(model, tmp_path, capsys, keep):
    copied = tmp_path / "model"
    shutil.copytree(model[0], copied)
    content = (copied / "search.joblib").read_bytes()
    (copied / "search.joblib").write_bytes(content[:keep])
    for command in (
        ["predict", copied, tmp_path, "--out", tmp_path / "rdm.npz"],
        ["report", copied],
    ):
        assert main(list(map(str, command))) == 1
        (error,) = capsys.readouterr().err.splitlines()
        assert "search.joblib cannot be read: " in error
        assert "run sklearn-rdm fit again" in error


def test_evaluate_reads_tables_and_matrices_alike(study, tmp_path, capsys):
    folder, data = study
    tables = []
    for number, (rdm, more) in enumerate(
        [
            ("rdm.npz", []),
            ("ordered.npy", []),
            ("long.csv", ["--columns", "image_1", "image_2", "dissimilarity", "subject"]),
        ]
    ):
        out = tmp_path / f"{number}.csv"
        given = ["evaluate", str(folder / "images"), str(folder / rdm), *NETWORK, *more]
        given += ["--layers", "conv1", "conv2", "--permutations", "20", "--out", str(out)]
        assert main([*given, "--figure", str(tmp_path / "figure.png")]) == 0
        tables.append(out.read_text())
    assert tables[0] == tables[1] == tables[2]
    assert (tmp_path / "figure.png").exists()
    assert "conv2" in capsys.readouterr().out


def test_layers_are_listed(capsys):
    assert main(["layers", "alexnet"]) == 0
    assert {"conv4", "features.3"} <= set(capsys.readouterr().out.split())


def demonstrate(monkeypatch, out):
    """What ``demo`` writes to files, and what it then asks ``fit`` for."""
    asked = []
    monkeypatch.setattr(_commands, "fit", asked.append)
    assert main(["demo", "--out", str(out), "--quiet"]) == 0
    return asked[0]


def test_demo_fits_simulated_subjects_from_files(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SKLEARN_RDM_DATA", raising=False)
    asked = demonstrate(monkeypatch, tmp_path / "demo")
    data = make_rdm_regression(n_images=60, random_state=0)
    paths, rdms = _commands._match(asked)
    pairs, dissim = _commands._read_pairs(asked, paths, rdms)
    np.testing.assert_array_equal(pairs.images, data.images)
    np.testing.assert_allclose(pairs.to_rdms(dissim), data.rdms, atol=1e-12)
    assert _commands._names(paths)[:2] == ["000.png", "001.png"]
    assert "simulated subjects (set SKLEARN_RDM_DATA for brain data)" in capsys.readouterr().out
    search = _commands._search(asked, tmp_path / "demo" / "model")
    layers = {layer.alias for layer in sklearn_rdm.list_layers("efficientnet_lite0")}
    assert {search.estimator.layer, *search.param_grid["freeze_up_to"]} <= layers
    assert (search.estimator.max_epochs, search.get_params()["cv"].get_n_splits()) == (12, 5)


@pytest.mark.data
def test_demo_fits_brains_where_there_are_data(load_algonauts, tmp_path, monkeypatch):
    asked = demonstrate(monkeypatch, tmp_path / "demo")
    data = load_algonauts(image_set=92, target="fmri_it")
    pairs, dissim = _commands._read_pairs(asked, *_commands._match(asked))
    np.testing.assert_array_equal(pairs.images, data.images)
    np.testing.assert_allclose(pairs.to_rdms(dissim), data.rdms, atol=1e-12)
    assert (asked.background, asked.layer) == (data.background, "block14")


def test_evaluate_prints_without_writing(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, data = study
    given = ["evaluate", str(folder / "images"), str(folder / "rdm.npz"), *NETWORK]
    assert main([*given, "--layers", "conv2", "--permutations", "0"]) == 0
    pairs, dissim = sklearn_rdm.ImagePairs.from_rdms(data.images, data.rdms)
    table = sklearn_rdm.score_layers(
        "alexnet", ["conv2"], pairs, dissim, weights=None, n_permutations=0, random_state=0
    )
    assert f"{table['score'][0]:.3f}" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_without_a_test_set_all_images_are_trained_on(study, model, tmp_path):
    out = tmp_path / "model"
    assert main([*model[1][:-1], str(out), "--test-size", "0"]) == 0
    search = joblib.load(out / "search.joblib")
    pairs, dissim = sklearn_rdm.ImagePairs.from_rdms(study[1].images, study[1].rdms)
    params = search.best_estimator_.get_params()
    network = sklearn_rdm.SiameseRDMRegressor(
        "alexnet", "conv2", weights=None, image_size=64, max_epochs=1, random_state=0
    ).set_params(lr=params["lr"])
    expected = network.fit(pairs, dissim).transform(pairs.images)
    np.testing.assert_array_equal(search.transform(pairs.images), expected)
