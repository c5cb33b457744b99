"""Score every model on held-out images: four targets, two image sets, with ceiling and chance.

Image-wise 5-fold cross-validation on both training sets of the Algonauts Project 2019. Whatever a
model has to choose (layer, reference, number of weights, penalty, epoch) it chooses in each fold by
3 inner image-wise folds on the training images. Without SKLEARN_RDM_DATA, and with --fast,
simulated data are used.

    python benchmarks/all_models.py            # about an hour on 2 cores
    python benchmarks/all_models.py --fast     # a minute, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CorrelationLoss,
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
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_bootstrap,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_spearman_scorer,
)
from sklearn_rdm.model_selection import ImageKFold

BACKBONE = "efficientnet_lite0"
TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
LAYERS = ("block2", "block4", "block7", "block10", "block12", "block14")
FEATURE_LAYERS = ("block7", "block14")  # for models whose weights multiply with the features
DEPTHS = (
    {"layer": "block7", "freeze_up_to": "block4", "spatial_pooling": 7},
    {"layer": "block14", "freeze_up_to": "block10", "spatial_pooling": 2},
)
READ_OUTS = {"block7": ["block5", "block6", "block7"], "block14": ["block12", "block13", "block14"]}
INNER = ImageKFold(3, shuffle=True, random_state=1)

TEXT = f"""
Image-wise 5-fold cross-validation: mean over folds of the mean over 15 subjects of Spearman's r,
with its 95 % interval by bootstrap over images, on the training sets of Algonauts 2019.
EfficientNet-Lite0 with ImageNet weights, 224 px; *reference* is a blank of the display's
background (white for the 92, grey for the 118). Every model chose its own settings in each fold,
by 3 inner image-wise folds of the training images:

- *fixed*: layer among {list(LAYERS)}, with or without reference, maps as they are or pooled to 7
  x 7; *looked up*: the best of these on the scored pairs themselves, which no one may do;
- *layers, NNLS* and *components, NNLS*: non-negative weights of these layers' RDMs, and of 10
  principal components in each, with or without reference;
- *features*: FR-RSA on the features of {list(FEATURE_LAYERS)}, maps pooled to 2 x 2, with
  reference, by ridge, fractional ridge, or non-negative ridge regression;
- *linear twin*: low-rank projection of the same features, 10 or 30 components, three penalties;
- *fine-tuned twin*: `CorrelationLoss`, AdamW at 1e-3, batches of 48 images, reference; depth
  among {[d["layer"] for d in DEPTHS]}, read-out and epoch (of 8) by `LayerEpochSearchCV`.

*Ceiling*: rsatoolbox's bounds of the same pairs, mean over folds. *Chance*: the 95th percentile
of the scores of the same predictions with their images shuffled ({{n}} times), the highest of all
models. *n.s.*: the one-sided p of this test is above .05.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    fast = options.fast or "SKLEARN_RDM_DATA" not in os.environ
    n_resamples = 20 if fast else 1000
    with tempfile.TemporaryDirectory() as memory:
        models = simulated_models() if fast else brain_models(memory)
        problems = [("simulated", "simulated")] if fast else list(product((92, 118), TARGETS))
        jobs = [(*problem, name) for problem in problems for name in models]
        results = Parallel(n_jobs=options.n_jobs, verbose=10)(
            delayed(evaluate)(*problem, models[name], n_resamples) for *problem, name in jobs
        )
    found = dict(zip(jobs, results, strict=True))
    for key, result in found.items():
        print(*key, {k: np.round(v, 3) for k, v in result.items()})
        assert np.isfinite(result["score"]), key
    for target in () if fast else TARGETS:
        tuned, fixed = (found[92, target, name]["score"] for name in ("fine-tuned twin", "fixed"))
        assert tuned > fixed, f"{target}: {tuned:.3f} is not above {fixed:.3f}"
    if not fast:
        from _report import write_report

        columns = ("images", "model", *TARGETS)
        text = TEXT.format(n=f"{n_resamples:,}")
        write_report("all_models", "All models", text, columns, table(found, list(models)))


def table(found: dict[tuple, dict[str, Any]], models: list[str]) -> list[list[str]]:
    """Rows of models, and of ceiling and chance, for each image set."""
    rows = []
    for images in (92, 118):
        for name in models:
            cells = [describe(found[images, target, name]) for target in TARGETS]
            rows.append([f"{images}", name, *cells])
        first = [found[images, target, models[0]] for target in TARGETS]
        ceilings = [f"{one['lower']:.3f} - {one['upper']:.3f}" for one in first]
        chance = [max(found[images, t, name]["chance"] for name in models) for t in TARGETS]
        rows.append([f"{images}", "*ceiling*", *ceilings])
        rows.append([f"{images}", "*chance*", *(f"{value:.3f}" for value in chance)])
    return rows


def describe(one: dict[str, Any]) -> str:
    doubt = "" if one["p"] <= 0.05 else " n.s."
    return f"{one['score']:.3f} [{one['low']:.3f}, {one['high']:.3f}]{doubt}"


def evaluate(
    images: Any, target: str, model: Callable[[], Any], n_resamples: int
) -> dict[str, float]:
    """Score one model on one target of one image set."""
    pairs, dissim = load(images, target)
    n_splits = 2 if images == "simulated" else 5
    folds = list(ImageKFold(n_splits, shuffle=True, random_state=0).split(pairs))
    tests = [test for _, test in folds]
    candidates = model()
    if isinstance(candidates, list):
        predicted = look_up(candidates, pairs, dissim, tests)
    else:
        predicted = np.full(len(pairs), np.nan)
        for train, test in folds:
            predicted[test] = (
                clone(candidates).fit(pairs[train], dissim[train]).predict(pairs[test])
            )
    scored = np.concatenate(tests)
    ends = np.cumsum([len(test) for test in tests])[:-1]
    interval = rdm_bootstrap(
        pairs[scored],
        dissim[scored],
        predicted[scored],
        over="images",
        folds=np.split(np.arange(len(scored)), ends),
        n_resamples=n_resamples,
        random_state=0,
    )
    null = rdm_permutation_test(
        pairs[scored],
        dissim[scored],
        predicted[scored],
        n_permutations=n_resamples,
        random_state=0,
    )
    ceilings = [
        noise_ceiling(dissim[test], convention="rsatoolbox", metric="spearman") for test in tests
    ]
    low, high = interval.confidence_interval
    lower, upper = np.mean(ceilings, axis=0)
    return {
        "score": interval.score,
        "low": low,
        "high": high,
        "p": null.pvalue,
        "chance": float(np.nanpercentile(null.null_distribution, 95)),
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


def load(images: Any, target: str) -> tuple[ImagePairs, np.ndarray]:
    if images == "simulated":
        data = make_rdm_regression(n_images=24, image_size=64, random_state=0)
        return ImagePairs.from_rdms(data.images, data.rdms, background="grey")
    data = fetch_algonauts2019(images, target)
    return ImagePairs.from_rdms(data.images, data.rdms, background=data.background)


def brain_models(memory: str) -> dict[str, Callable[[], Any]]:
    """Each model as a function, so that every fold and worker makes its own."""

    def activations(layers: Any, **options: Any) -> LayerActivations:
        return LayerActivations(BACKBONE, layers, image_size=224, memory=memory, **options)

    def search(last: Any, layers: Any, grid: dict[str, list]) -> GridSearchCV:
        features = activations(layers, reference="background", spatial_pooling=2)
        return GridSearchCV(
            make_pipeline(features, last),
            grid,
            cv=INNER,
            scoring=rdm_spearman_scorer,
            error_score="raise",
        )

    every = activations(list(LAYERS), spatial_pooling=2).fit(None).layer_slices_
    sizes = [s.stop - s.start for s in every.values()]
    references: dict[str, list] = {"layeractivations__reference": [None, "background"]}
    one_layer: dict[str, list] = {"layeractivations__layers": list(FEATURE_LAYERS)}
    fixed = references | {
        "layeractivations__layers": list(LAYERS),
        "layeractivations__spatial_pooling": [None, 7],
    }
    twin = {"lineartwinrsaregressor__n_components": [10, 30]} | {
        "lineartwinrsaregressor__alpha": [0.01, 0.1, 1.0]
    }
    features = FeatureReweightedRSARegressor
    return {
        "fixed, looked up": lambda: [
            search(FixedRSARegressor(), "block7", fixed).estimator.set_params(**params)
            for params in ParameterGrid(fixed)
        ],
        "fixed": lambda: search(FixedRSARegressor(), "block7", fixed),
        "layers, NNLS": lambda: search(LayerWeightedRSARegressor(sizes), list(LAYERS), references),
        "components, NNLS": lambda: search(
            LayerWeightedRSARegressor(sizes, n_components=10), list(LAYERS), references
        ),
        "features, ridge": lambda: search(features(random_state=0), "block7", one_layer),
        "features, fractional": lambda: search(
            features(penalty="fractional", random_state=0), "block7", one_layer
        ),
        "features, non-negative": lambda: search(
            features(penalty="nonnegative", random_state=0), "block7", one_layer
        ),
        "linear twin": lambda: search(LinearTwinRSARegressor(), "block7", one_layer | twin),
        "fine-tuned twin": lambda: DepthLayerEpochSearch(
            SiameseRDMRegressor(
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
            ),
            DEPTHS,
        ),
    }


def simulated_models() -> dict[str, Callable[[], Any]]:
    """One model of each kind, small."""
    small: dict[str, Any] = {"weights": None, "image_size": 64, "random_state": 0}

    def features() -> LayerActivations:
        return LayerActivations("alexnet", "conv2", spatial_pooling=2, **small)

    return {
        "fixed": lambda: make_pipeline(features(), FixedRSARegressor()),
        "layers, NNLS": lambda: make_pipeline(features(), LayerWeightedRSARegressor([256, 512])),
        "features, ridge": lambda: make_pipeline(
            features(), FeatureReweightedRSARegressor(random_state=0)
        ),
        "linear twin": lambda: make_pipeline(features(), LinearTwinRSARegressor(3)),
        "fine-tuned twin": lambda: LayerEpochSearchCV(
            SiameseRDMRegressor("alexnet", "conv3", max_epochs=2, **small),
            ["conv2", "conv3"],
            cv=2,
        ),
    }


class DepthLayerEpochSearch(BaseEstimator):
    """Choose among trained depths by the best cell of their surfaces, then train on all pairs."""

    def __init__(self, estimator: Any, depths: Sequence[dict[str, Any]]) -> None:
        self.estimator = estimator
        self.depths = depths

    def fit(self, pairs: ImagePairs, dissim: np.ndarray) -> SiameseRDMRegressor:
        """Return the network that predicts."""
        searches = [
            LayerEpochSearchCV(
                clone(self.estimator).set_params(**depth),
                READ_OUTS[depth["layer"]],
                cv=INNER,
                refit=False,
            ).fit(pairs, dissim)
            for depth in self.depths
        ]
        best = max(searches, key=lambda search: search.best_score_)
        final = clone(best.estimator)
        final.set_params(read_out=best.best_layer_, max_epochs=best.best_epoch_)
        return final.fit(pairs, dissim)


if __name__ == "__main__":
    main()
