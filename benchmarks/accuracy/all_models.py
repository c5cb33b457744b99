"""Score every kind of model on held-out images: four targets, two image sets, with the ceiling.

Image-wise 5-fold cross-validation on both training sets of the Algonauts Project 2019. Whatever a
model has to choose (layer, penalty, depth, epoch) it chooses in each fold by 2 inner image-wise
folds of the training images.

    python benchmarks/accuracy/all_models.py            # a quarter of an hour on one core
    python benchmarks/accuracy/all_models.py --fast     # simulated data, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from _report import write_report
from _sets import TARGETS, Images, load_sets, simulate_sets
from sklearn.model_selection import GridSearchCV
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
from sklearn_rdm.metrics import compare_rdm_scores, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm
from sklearn_rdm.preprocessing import PerImage

NETWORK: dict[str, Any] = {"backbone": "efficientnet_lite0", "image_size": 128}
LAYERS = [("block2", 7), ("block4", 7), ("block7", 7), ("block10", 7), ("block12", 4)]
SMALL_LAYERS = [("block7", 2), ("block14", 2)]  # whose features are given weights of their own
DEPTHS = [
    {"layer": ["block7"], "freeze_up_to": ["block4"], "spatial_pooling": [7]},
    {"layer": ["block14"], "freeze_up_to": ["block10"], "spatial_pooling": [2]},
]
OUTER = ImageKFold(5, shuffle=True, random_state=0)
INNER = ImageKFold(2, shuffle=True, random_state=1)
FIXED, TWIN = "fixed", "fine-tuned twin"
COLUMNS = ("images", "target", "model", "r", "95 % interval", "p against fixed", "lower ceiling")
TEXT = """
Image-wise 5-fold cross-validation on the training sets of Algonauts 2019: mean over folds of the
mean over 15 subjects of Spearman's r; interval, *p* (two-sided, Holm over the pairs of models) and
*lower ceiling* by `compare_rdm_scores`, over images and subjects, of the same pairs.
EfficientNet-Lite0 with ImageNet weights, 128 px, less a blank of the display's background. Settings
were chosen in each fold by 2 inner image-wise folds of the training images. The ceiling of MEG is
that of matrices averaged over time. Few pixels, folds and epochs, fixed before any score was seen,
keep the run short: the table compares models, and does not show how well the best can do.

- *fixed*: the best of blocks 2, 4, 7, 10, 12 and 14; *layers*: non-negative weights of their RDMs;
- *features*: FR-RSA on the features of block 7 or 14, maps averaged to 2 x 2;
- *linear twin*: low-rank projection of these, 10 or 30 components, 3 penalties, up to 1,000 steps;
- *fine-tuned twin*: the estimator's defaults; depth (block 7 behind 4, or 14 behind 10) and epoch
  (of 5) by `LayerEpochSearchCV`.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    fast = options.fast or "SKLEARN_RDM_DATA" not in os.environ
    rows = []
    with tempfile.TemporaryDirectory() as memory:
        for n_images, images in (simulated() if fast else load_sets()).items():
            features, columns = activations(images.pairs)
            models = feature_models(columns) | {TWIN: fine_tuned(memory)}
            for target, dissim in images.dissim.items():
                held_out = {
                    name: cross_val_rdm(
                        model,
                        images.pairs if name == TWIN else features,
                        dissim,
                        cv=OUTER,
                        n_jobs=options.n_jobs,
                    )
                    for name, model in models.items()
                }
                rows += [
                    [n_images, target, *row] for row in compare(images.pairs, dissim, held_out)
                ]
                print(*rows[-len(models) :], sep="\n", flush=True)
    if not fast:
        write_report("all_models", "All models", TEXT, COLUMNS, rows)
        check(rows)


def check(rows: list[list[Any]]) -> None:
    """Fine-tuned on some of the 92 images, a network predicts others better than a fixed layer."""
    r = {tuple(row[:3]): float(row[3]) for row in rows}
    for target in TARGETS:
        tuned, fixed = r[92, target, TWIN], r[92, target, FIXED]
        assert tuned > fixed, f"{target}: {tuned:.3f} is not above {fixed:.3f}"


def simulated() -> dict[int, Images]:
    """One target and a tiny network: that every kind of model runs, not how well it predicts."""
    NETWORK.update(backbone="squeezenet1_1", weights=None, image_size=64, random_state=0)
    LAYERS[:], SMALL_LAYERS[:] = [("features.3", 4)], [("features.3", 1), ("features.4", 1)]
    DEPTHS[:] = [{"layer": [layer], "max_epochs": [1]} for layer, _ in SMALL_LAYERS]
    OUTER.n_splits = 3
    n_images, images = next(iter(simulate_sets().items()))
    return {n_images: Images(images.pairs, dict([*images.dissim.items()][:1]))}


def activations(pairs: ImagePairs) -> tuple[ImagePairs, list[slice]]:
    """Features of all layers side by side, and the columns of each."""
    blocks = [
        LayerActivations(
            layers=[layer], reference="background", spatial_pooling=pooling, **NETWORK
        ).fit_transform(pairs)
        for layer, pooling in LAYERS + SMALL_LAYERS
    ]
    ends = np.cumsum([0, *(block.images.shape[1] for block in blocks)])
    features = ImagePairs(np.hstack([block.images for block in blocks]), pairs.index)
    return features, [slice(*ends[i : i + 2].tolist()) for i in range(len(blocks))]


def feature_models(columns: list[slice]) -> dict[str, Any]:
    """The models of fixed activations, each with what it chooses among."""
    small = columns[len(LAYERS) :]
    rank = {
        "lineartwinrsaregressor__n_components": [10, 30],
        "lineartwinrsaregressor__alpha": [0.1, 1, 10],
    }
    return {
        FIXED: search(FixedRSARegressor(), columns),
        "layers": LayerWeightedRSARegressor([part.stop - part.start for part in columns]),
        "features": search(FeatureReweightedRSARegressor(random_state=0), small),
        "linear twin": search(LinearTwinRSARegressor(), small, rank),
    }


def search(model: Any, columns: list[slice], grid: dict[str, list] | None = None) -> GridSearchCV:
    choices = {"perimage__transformer__kw_args": [{"columns": part} for part in columns]}
    return GridSearchCV(
        make_pipeline(PerImage(FunctionTransformer(take)), model),
        choices | (grid or {}),
        cv=INNER,
        scoring=rdm_spearman_scorer,
        error_score="raise",
    )


def take(features: np.ndarray, columns: slice) -> np.ndarray:
    return features[:, columns]


def fine_tuned(memory: str) -> LayerEpochSearchCV:
    net = SiameseRDMRegressor(**NETWORK | {"max_epochs": 5, "random_state": 0}, memory=memory)
    return LayerEpochSearchCV(net, param_grid=DEPTHS, cv=INNER)


def compare(pairs: ImagePairs, dissim: np.ndarray, held_out: dict[str, Any]) -> list[list[Any]]:
    """One row per model, all scored on the same folds."""
    tests = held_out[FIXED].test_indices
    scored = np.concatenate(tests)
    ends = np.cumsum([len(test) for test in tests])[:-1]
    result = compare_rdm_scores(
        pairs[scored],
        dissim[scored],
        {name: predicted.dissim[scored] for name, predicted in held_out.items()},
        folds=np.split(np.arange(len(scored)), ends),
        random_state=0,
    )
    assert np.isfinite(result.scores).all()
    against = result.pvalues_holm[result.names.index(FIXED)]
    return [
        [
            name,
            f"{score:.3f}",
            f"{low:.3f} - {high:.3f}",
            "" if name == FIXED else f"{p:.3f}",
            f"{result.noise_ceiling:.3f}",
        ]
        for name, score, (low, high), p in zip(
            result.names, result.scores, result.confidence_intervals, against, strict=True
        )
    ]


if __name__ == "__main__":
    main()
