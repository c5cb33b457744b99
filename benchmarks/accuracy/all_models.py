"""Score every model on held-out images: four targets, two image sets, with the ceiling.

Image-wise 5-fold cross-validation on both training sets of the Algonauts Project 2019. Whatever a
model has to choose (layer, reference, number of weights, penalty, epoch) it chooses in each fold by
3 inner image-wise folds on the training images. Without SKLEARN_RDM_DATA, and with --fast,
simulated data are used.

    python benchmarks/accuracy/all_models.py            # about an hour on 2 cores
    python benchmarks/accuracy/all_models.py --fast     # a minute, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerEpochSearchCV,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression
from sklearn_rdm.losses import CorrelationLoss
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_bootstrap,
    rdm_spearman_score,
    rdm_spearman_scorer,
)
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import PerImage

BACKBONE = "efficientnet_lite0"
TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
LAYERS = ("block2", "block4", "block7", "block10", "block12", "block14")
TWIN = "fine-tuned twin"
CHOSEN = "perimage__transformer__kw_args"
FEATURE_LAYERS = ("block7", "block14")  # for models whose weights multiply with the features
DEPTHS = [
    {"layer": ["block7"], "freeze_up_to": ["block4"], "spatial_pooling": [7]},
    {"layer": ["block14"], "freeze_up_to": ["block10"], "spatial_pooling": [2]},
]
INNER = ImageKFold(3, shuffle=True, random_state=1)

TEXT = f"""
Image-wise 5-fold cross-validation: mean over folds of the mean over 15 subjects of Spearman's r,
with its 95 % interval by bootstrap over images, on the training sets of Algonauts 2019.
EfficientNet-Lite0 with ImageNet weights, 224 px; *reference* is a blank of the display's
background (white for the 92, grey for the 118). Every model chose its own settings in each fold,
by 3 inner image-wise folds of the training images:

- *fixed*: layer among {list(LAYERS)}, maps averaged to 7 x 7 or 2 x 2, with or without reference;
  *looked up*: the best of these on the scored pairs themselves, which no one may do;
- *layers, NNLS*: non-negative weights of these layers' RDMs, maps averaged to 2 x 2, with or
  without reference;
- *features*: FR-RSA on the features of {list(FEATURE_LAYERS)}, maps pooled to 2 x 2, with
  reference, by ridge or non-negative ridge regression;
- *linear twin*: low-rank projection of the same features, 10 or 30 components, three penalties;
- *fine-tuned twin*: `CorrelationLoss`, AdamW at 1e-3, batches of 48 images, reference; depth
  among {[depth["layer"][0] for depth in DEPTHS]} and epoch (of 8) by `LayerEpochSearchCV`.

*Ceiling*: rsatoolbox's bounds of the same pairs, mean over folds.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
        run_simulated()
        return
    with tempfile.TemporaryDirectory() as memory:
        jobs = []
        for images in (92, 118):
            features, places = computed(load(images, TARGETS[0])[0])
            models = feature_models(places)
            for target in TARGETS:
                pairs, dissim = load(images, target)
                jobs += [
                    ((images, target, name), m, features, dissim) for name, m in models.items()
                ]
                jobs.append(((images, target, TWIN), fine_tuned(memory), pairs, dissim))
        results = Parallel(n_jobs=options.n_jobs, verbose=10)(
            delayed(evaluate)(*job) for _, *job in sorted(jobs, key=lambda job: job[0][2] != TWIN)
        )
    keys = [key for key, *_ in sorted(jobs, key=lambda job: job[0][2] != TWIN)]
    found = dict(zip(keys, results, strict=True))
    for target in TARGETS:
        tuned, fixed = (found[92, target, name]["score"] for name in (TWIN, "fixed"))
        assert tuned > fixed, f"{target}: {tuned:.3f} is not above {fixed:.3f}"
    from _report import write_report

    columns = ("images", "model", *TARGETS)
    write_report("all_models", "All models", TEXT, columns, table(found, [*models, TWIN]))


def table(found: dict[tuple, dict[str, Any]], models: list[str]) -> list[list[str]]:
    """Rows of models, and of the ceiling, for each image set."""
    rows = []
    for images in (92, 118):
        for name in models:
            cells = [describe(found[images, target, name]) for target in TARGETS]
            rows.append([f"{images}", name, *cells])
        first = [found[images, target, models[0]] for target in TARGETS]
        ceilings = [f"{one['lower']:.3f} - {one['upper']:.3f}" for one in first]
        rows.append([f"{images}", "*ceiling*", *ceilings])
    return rows


def describe(one: dict[str, float]) -> str:
    return f"{one['score']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def evaluate(
    model: Any, pairs: ImagePairs, dissim: np.ndarray, n_splits: int = 5, n_resamples: int = 1000
) -> dict[str, float]:
    """Score one model by its predictions for held-out images."""
    folds = list(ImageKFold(n_splits, shuffle=True, random_state=0).split(pairs))
    tests = [test for _, test in folds]
    if isinstance(model, list):
        predicted = look_up(model, pairs, dissim, tests)
    else:
        predicted = np.full(len(pairs), np.nan)
        for train, test in folds:
            predicted[test] = clone(model).fit(pairs[train], dissim[train]).predict(pairs[test])
    scored = np.concatenate(tests)
    data = pairs[scored], dissim[scored], predicted[scored]
    ends = np.cumsum([len(test) for test in tests])[:-1]
    by_fold = np.split(np.arange(len(scored)), ends)
    interval = rdm_bootstrap(
        *data, over="images", n_resamples=n_resamples, folds=by_fold, random_state=0
    )
    ceilings = [noise_ceiling(dissim[test], convention="rsatoolbox") for test in tests]
    low, high = interval.confidence_interval
    lower, upper = np.mean(ceilings, axis=0)
    return {
        "score": interval.score,
        "low": low,
        "high": high,
        "lower": lower,
        "upper": upper,
    }


def look_up(
    models: list[Any], pairs: ImagePairs, dissim: np.ndarray, tests: list[np.ndarray]
) -> np.ndarray:
    """Take the models that learn nothing that are best on the scored pairs themselves."""

    def score(predicted: np.ndarray) -> float:
        return np.mean([rdm_spearman_score(dissim[test], predicted[test]) for test in tests])

    return max((model.fit(pairs).predict(pairs) for model in models), key=score)


def load(images: int, target: str) -> tuple[ImagePairs, np.ndarray]:
    data = fetch_algonauts2019(images, target)
    return ImagePairs.from_rdms(data.images, data.rdms, background=data.background)


def run_simulated() -> None:
    """Every kind of model on simulated data: that it runs, not how well it predicts."""
    data = make_rdm_regression(n_images=16, image_size=64, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    small: dict[str, Any] = {"weights": None, "image_size": 64, "random_state": 0}
    activations = LayerActivations("alexnet", ["conv1", "conv2"], spatial_pooling=2, **small)
    features = activations.fit_transform(pairs)
    places = activations.layer_slices_
    sizes = [columns.stop - columns.start for columns in places.values()]
    net = SiameseRDMRegressor("alexnet", "conv3", max_epochs=2, **small)
    models: dict[str, Any] = {
        "fixed, looked up": [FixedRSARegressor(), FixedRSARegressor("euclidean")],
        "layers, NNLS": LayerWeightedRSARegressor(sizes),
        "features, ridge": FeatureReweightedRSARegressor(random_state=0),
        "linear twin": LinearTwinRSARegressor(3),
    }
    found = {name: evaluate(m, features, dissim, 2, 20) for name, m in models.items()}
    search = LayerEpochSearchCV(net, param_grid={"layer": ["conv2", "conv3"]}, cv=2)
    found[TWIN] = evaluate(search, pairs, dissim, 2, 20)
    for name, result in found.items():
        assert np.isfinite(list(result.values())).all(), name


def brain_features() -> dict[tuple, LayerActivations]:
    """Every layer with and without reference, maps averaged to 7 x 7 and to 2 x 2 places."""
    return {
        (reference, pooling): LayerActivations(
            BACKBONE,
            list(LAYERS),
            image_size=224,
            reference=reference,
            spatial_pooling=pooling,
        )
        for reference, pooling in product((None, "background"), (7, 2))
    }


def computed(pairs: ImagePairs) -> tuple[ImagePairs, dict[tuple, slice]]:
    """Features of all kinds side by side, computed once, and where each layer of each kind is."""
    blocks, places, start = [], {}, 0
    for kind, activations in brain_features().items():
        blocks.append(activations.fit_transform(pairs).images)
        for layer, columns in activations.layer_slices_.items():
            places[*kind, layer] = slice(start + columns.start, start + columns.stop)
        start += blocks[-1].shape[1]
    return ImagePairs(np.hstack(blocks), pairs.index), places


def take(features: np.ndarray, columns: slice) -> np.ndarray:
    return features[:, columns]


def feature_models(places: dict[tuple, slice]) -> dict[str, Any]:
    """The models of fixed activations, each with what it chooses among."""

    def search(last: Any, columns: list[slice], grid: dict[str, list] | None = None) -> Any:
        return GridSearchCV(
            make_pipeline(PerImage(FunctionTransformer(take)), last),
            {CHOSEN: [{"columns": some} for some in columns], **(grid or {})},
            cv=INNER,
            scoring=rdm_spearman_scorer,
            error_score="raise",
        )

    single = list(places.values())
    whole = [
        slice(places[reference, 2, LAYERS[0]].start, places[reference, 2, LAYERS[-1]].stop)
        for reference in (None, "background")
    ]
    deep = [places["background", 2, layer] for layer in FEATURE_LAYERS]
    sizes = [places[None, 2, layer] for layer in LAYERS]
    sizes = [columns.stop - columns.start for columns in sizes]
    features, nnls = FeatureReweightedRSARegressor, LayerWeightedRSARegressor
    rank = {
        "lineartwinrsaregressor__n_components": [10, 30],
        "lineartwinrsaregressor__alpha": [0.1, 1, 10],
    }
    fixed = search(FixedRSARegressor(), single)
    every = ParameterGrid(fixed.param_grid)
    return {
        "fixed, looked up": [clone(fixed.estimator).set_params(**one) for one in every],
        "fixed": fixed,
        "layers, NNLS": search(nnls(sizes), whole),
        "features, ridge": search(features(random_state=0), deep),
        "features, non-negative": search(features(penalty="nonnegative", random_state=0), deep),
        "linear twin": search(LinearTwinRSARegressor(), deep, rank),
    }


def fine_tuned(memory: str) -> LayerEpochSearchCV:
    net = SiameseRDMRegressor(
        BACKBONE,
        image_size=224,
        reference="background",
        criterion=CorrelationLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        batch_size=48,
        max_epochs=8,
        memory=memory,
        random_state=0,
    )
    return LayerEpochSearchCV(net, param_grid=DEPTHS, cv=INNER)


if __name__ == "__main__":
    main()
