"""The commands: each reads files, calls public functions, and writes files.

They name everything through ``sklearn_rdm``, which imports a part when it is first used: ``--help``
waits for no torch.
"""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sklearn_rdm
from sklearn_rdm._cli._checks import check_candidates, check_layers, check_names, check_output
from sklearn_rdm._cli._settings import read_settings, settings_text
from sklearn_rdm._displays._drawing import score_label
from sklearn_rdm._pairs._images import list_images
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm.io._labels import in_order

MODEL, SETTINGS, REPORT = "search.joblib", "settings.toml", "report.html"
CHECKPOINTS = "checkpoints"
MATRICES = (".mat", ".npz", ".npy", ".csv", ".h5", ".hdf5", ".pkl")
FIGURES = (".png", ".pdf", ".svg")


def demo(arguments: Namespace) -> None:
    """Write the data to files, then do what ``fit`` does with them."""
    if "SKLEARN_RDM_DATA" in os.environ:
        what = "Algonauts 2019, 92 images, fMRI of inferior temporal cortex"
        data = sklearn_rdm.datasets.fetch_algonauts2019(image_set=92, target="fmri_it")
        layer, frozen, background = "block14", ["block10", "block12"], data.background
    else:
        what = "simulated subjects (set SKLEARN_RDM_DATA for brain data)"
        data = sklearn_rdm.datasets.make_rdm_regression(n_images=60, random_state=0)
        layer, frozen, background = "block7", ["block3", "block5"], None
    out = Path(arguments.out)
    images, rdm = out / "images", out / "rdms.npz"
    _write_data(images, rdm, data)
    print(f"{what}: {images}, {rdm}")
    arguments.images, arguments.rdm = str(images), str(rdm)
    arguments.layer, arguments.background = layer, background
    arguments.search = {"freeze_up_to": frozen, "lr": [3e-4, 1e-3]}
    arguments.out = str(out / "model")
    fit(arguments)


def layers(arguments: Namespace) -> None:
    print(sklearn_rdm.list_layers(arguments.backbone))


def evaluate(arguments: Namespace) -> None:
    given = {"weights": _weights(arguments), "device": arguments.device}
    for path, suffixes in ((arguments.out, (".csv",)), (arguments.figure, FIGURES)):
        if path:
            check_output(path, suffixes)
    sklearn_rdm.metrics.get_rdm_scorer(arguments.scoring)  # a wrong name raises an error
    paths, rdms = _match(arguments)
    check_layers(
        sklearn_rdm.LayerActivations(arguments.backbone, arguments.layers, **given),
        arguments.background,
    )
    table = sklearn_rdm.score_layers(
        arguments.backbone,
        arguments.layers,
        *_read_pairs(arguments, paths, rdms),
        scoring=arguments.scoring,
        n_permutations=arguments.permutations,
        random_state=arguments.random_state,
        **given,
    )
    print(table.drop(columns="target").to_string(index=False, float_format="{:.3f}".format))
    if arguments.out:
        table.to_csv(arguments.out, index=False)
    if arguments.figure:
        label = score_label(arguments.scoring)
        display = sklearn_rdm.LayerScoresDisplay(table).plot(score_name=label)
        display.figure_.savefig(arguments.figure, dpi=150)


def fit(arguments: Namespace) -> None:
    out = Path(arguments.out)
    check_names(arguments.set, arguments.search)
    search = _search(arguments, out)
    paths, rdms = _match(arguments)
    check_candidates(search.estimator, dict(arguments.set), search.param_grid, arguments.background)
    pairs, dissim = _read_pairs(arguments, paths, rdms)
    settings = settings_text(arguments, _digest(pairs, dissim))
    if _is_finished(out, settings):
        print(f"{out} holds this fit already: {out / REPORT}")
        return
    train, test, y_train, y_test = _split(arguments, pairs, dissim)
    list(search.cv.split(train))  # too few images raise an error before anything is written
    out.mkdir(parents=True, exist_ok=True)
    _write_text(out / SETTINGS, settings)
    with sklearn_rdm.model_selection.search_progress(search, verbose=int(not arguments.quiet)):
        search.fit(train, y_train)
    print(f"chosen: {search.best_params_}, {search.best_score_:.3f} on held-out folds")
    search.best_estimator_.set_params(memory=None)  # predicting writes nothing to the folder
    _report(arguments, search, (train, test, y_test, _names(paths)), out / REPORT)
    with whole_file(out / MODEL) as partial:
        joblib.dump(search, partial)
    print(f"model: {out / MODEL}")


def predict(arguments: Namespace) -> None:
    check_output(arguments.out, MATRICES)
    search, settings = _read_model(arguments.model)
    paths = list_images(arguments.images)
    pairs = sklearn_rdm.ImagePairs(
        sklearn_rdm.read_images(paths, settings.size),
        background=arguments.background or settings.background,
    )
    names = None if arguments.out.lower().endswith(".npy") else _names(paths)
    sklearn_rdm.io.write_rdms(arguments.out, search.transform(pairs), image_names=names)
    print(f"{len(paths)} images, in the order of their names: {arguments.out}")


def report(arguments: Namespace) -> None:
    out = Path(arguments.out or Path(arguments.model) / REPORT)
    check_output(str(out), (".html",))
    search, settings = _read_model(arguments.model)
    paths, rdms = _match(settings)
    pairs, dissim = _read_pairs(settings, paths, rdms)
    kept = (Path(arguments.model) / SETTINGS).read_text(encoding="utf-8")
    if settings_text(settings, _digest(pairs, dissim)) != kept:
        raise ValueError(
            f"{settings.images} or {settings.rdm} has changed since the model was fitted, so that "
            "a report would describe other data. Put the files back, or fit again."
        )
    train, test, _, y_test = _split(settings, pairs, dissim)
    _report(settings, search, (train, test, y_test, _names(paths)), out)


def _write_data(images: Path, rdm: Path, data: Any) -> None:
    images.mkdir(parents=True, exist_ok=True)
    names = [f"{number:03d}.png" for number in range(len(data.images))]
    for name, image in zip(names, data.images, strict=True):
        Image.fromarray(image).save(images / name)
    sklearn_rdm.io.write_rdms(rdm, data.rdms, image_names=names)


def _match(arguments: Namespace) -> tuple[list[str], np.ndarray]:
    """Image files, and matrices in their order."""
    paths = list_images(arguments.images)
    rdms = _read_rdms(arguments, _names(paths))
    if rdms.shape[-1] != len(paths):
        raise ValueError(
            f"{arguments.rdm} has matrices of {rdms.shape[-1]} images, but {arguments.images} "
            f"holds {len(paths)} image files: give a folder of just the images that were measured."
        )
    if np.isnan(rdms[..., *np.triu_indices(len(paths), 1)]).all():
        raise ValueError(f"{arguments.rdm} holds no dissimilarity of these images: all are NaN.")
    return paths, rdms


def _names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def _read_pairs(arguments: Namespace, paths: list[str], rdms: np.ndarray) -> Any:
    images = sklearn_rdm.read_images(paths, arguments.size)
    return sklearn_rdm.ImagePairs.from_rdms(images, rdms, background=arguments.background)


def _read_rdms(arguments: Namespace, names: list[str]) -> np.ndarray:
    """Matrices in the order of the image files."""
    if arguments.columns:
        first, second, dissimilarity, *subject = arguments.columns
        read = sklearn_rdm.io.from_long_table(
            arguments.rdm,
            images=(first, second),
            dissimilarity=dissimilarity,
            subject=subject[0] if subject else None,
        )
    else:
        read = sklearn_rdm.io.read_rdms(arguments.rdm)
    if read.image_names is None:
        print(f"{arguments.rdm} names no image: its rows are taken in the order of the file names")
        return read.rdms
    return in_order(read.rdms, read.image_names, read.subjects, names, arguments.rdm).rdms


def _weights(arguments: Namespace) -> str | None:
    return None if arguments.weights.lower() == "none" else arguments.weights


def _digest(pairs: Any, dissim: np.ndarray) -> str:
    """Tells data from other data."""
    return str(joblib.hash([pairs.images, pairs.index, pairs.background, dissim]))


def _is_finished(out: Path, settings: str) -> bool:
    """Whether the folder holds what this call would make; another fit is not overwritten."""
    begun = (out / MODEL).exists() or any((out / CHECKPOINTS).glob("*"))
    if not (begun and (out / SETTINGS).exists()):
        return False
    if (out / SETTINGS).read_text(encoding="utf-8") != settings:
        raise ValueError(
            f"{out} holds a fit with other settings or data, see {out / SETTINGS}: give another "
            "--out, or delete the folder."
        )
    return (out / MODEL).exists()


def _split(arguments: Namespace, pairs: Any, dissim: np.ndarray) -> Any:
    """Training and held-out pairs, and their dissimilarities; all are both if none is held out."""
    if not arguments.test_size:
        return pairs, pairs, dissim, dissim
    return sklearn_rdm.model_selection.image_train_test_split(
        pairs, dissim, test_size=arguments.test_size, random_state=arguments.random_state
    )


def _search(arguments: Namespace, out: Path) -> GridSearchCV:
    network = sklearn_rdm.SiameseRDMRegressor(
        arguments.backbone,
        arguments.layer,
        weights=_weights(arguments),
        memory=str(out.absolute() / "activations"),
        checkpoint=str(out.absolute() / CHECKPOINTS),
        random_state=arguments.random_state,
        device=arguments.device,
        **dict(arguments.set),
    )
    return GridSearchCV(
        network,
        dict(arguments.search),
        cv=sklearn_rdm.model_selection.ImageKFold(
            arguments.folds, shuffle=True, random_state=arguments.random_state
        ),
        scoring=sklearn_rdm.metrics.get_rdm_scorer(arguments.scoring),
        n_jobs=arguments.jobs,
        error_score="raise",
    )


def _report(arguments: Namespace, search: GridSearchCV, held_out: Any, out: Path) -> None:
    train, test, y_test, names = held_out
    page = sklearn_rdm.report(
        search,
        test,
        y_test,
        train=train,
        baselines={"same layer, not trained": _untrained(search.best_estimator_).fit(train)},
        image_names=names,
        scoring=arguments.scoring,
        random_state=arguments.random_state,
    )
    page.save_as_html(out)
    print(page)
    print(f"report: {out}")


def _untrained(network: Any) -> Any:
    features = sklearn_rdm.LayerActivations(
        network.backbone,
        network.read_out or network.layer,
        weights=network.weights,
        image_size=network.image_size,
        reference=network.reference,
        spatial_pooling=network.spatial_pooling,
        device=network.device,
        memory=network.memory,
        random_state=network.random_state,
    )
    return make_pipeline(features, sklearn_rdm.FixedRSARegressor())


def _read_model(folder: str) -> tuple[Any, Namespace]:
    path = Path(folder) / MODEL
    if not path.exists():
        raise ValueError(f"{folder} holds no finished model ({MODEL}): run sklearn-rdm fit first.")
    settings = read_settings(Path(folder) / SETTINGS)
    try:
        return joblib.load(path), settings
    except Exception as error:  # unpickling raises whatever the bytes lead it to
        raise ValueError(
            f"{path} cannot be read: {error or type(error).__name__}. If the file was cut off or "
            "written by other versions of the packages, run sklearn-rdm fit again."
        ) from error


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        Path(partial).write_text(text, encoding="utf-8")
