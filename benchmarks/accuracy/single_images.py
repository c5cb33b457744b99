"""How much of the measured dissimilarities belongs to single images, and to weak responses.

Of every target of Algonauts 2019, the mean over subjects is split by least squares into
`a_i + a_j`, where each image has one number, and the rest. Both are compared with every subject.
The numbers `a` are then predicted on held-out images from the strength of the responses of a
network that was not trained on them: the length of its centred activations minus those of a blank,
in seven blocks. This claims nothing of a model of pairs: it says what such a model has to explain.

    python benchmarks/accuracy/single_images.py            # fifteen seconds on 2 cores
    python benchmarks/accuracy/single_images.py --fast  # simulated data, writes nothing
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from _sets import load_sets, simulate_sets
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import ImagePairs, LayerActivations
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import RepeatedImageKFold
from sklearn_rdm.preprocessing import SubjectPooling

LITE0 = {"backbone": "efficientnet_lite0", "image_size": 224, "spatial_pooling": 7}
TINY = {"backbone": "alexnet", "weights": None, "image_size": 64, "random_state": 0}
BLOCKS = ["block1", "block2", "block4", "block7", "block10", "block12", "block14"]
COLUMNS = (
    "images",
    "target",
    "explainable r squared",
    "of single images, %",
    "of the rest, %",
    "strength in block7",
    "predicted by strengths, r",
    "other subjects, r",
)
TEXT = """
*Explainable*: mean over 15 subjects of the squared Spearman correlation with the mean of all
subjects, the challenge's ceiling. *Of single images*: the share of it that the least-squares fit
`a_i + a_j` to that mean reaches; *of the rest*: what the mean minus this fit reaches (the two
overlap, as shares of squared rank correlations do). *Strength in block7*: Pearson's correlation of
`a` with the logarithm of the length of EfficientNet-Lite0's centred activations minus those of a
blank, over images: negative, where images with weak responses are far from all others. *Predicted
by strengths*: mean over 3 x 5 image-wise folds of Spearman's r with the subjects, of `a_i + a_j`
as predicted for held-out images by ridge regression on the logarithms in 7 blocks; *other
subjects*: r of the mean of 14 subjects with the 15th, on all pairs. MEG: matrices averaged over
time.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    fast = parser.parse_args(argv).fast or "SKLEARN_RDM_DATA" not in os.environ
    network, layers = (TINY, ["conv1", "conv2"]) if fast else (LITE0, BLOCKS)
    middle = layers.index("block7") if "block7" in layers else 0
    rows = []
    for name, images in (simulate_sets() if fast else load_sets()).items():
        strengths = response_strengths(images.pairs, network, layers)
        for target, dissim in images.dissim.items():
            rows.append([f"{name}", target, *describe(images.pairs, dissim, strengths, middle)])
            print(rows[-1], flush=True)
    assert np.isfinite([row[2:] for row in rows]).all()
    if not fast:
        from _report import write_report

        write_report("single_images", "What belongs to single images", TEXT, COLUMNS, rows)


def response_strengths(pairs: ImagePairs, network: dict[str, Any], layers: list[str]) -> np.ndarray:
    """Logarithm of the length of centred activations minus a blank's, (n_images, n_layers)."""
    activations = LayerActivations(layers=layers, reference="background", **network)
    features = activations.fit_transform(pairs).images
    lengths = [features[:, part].std(axis=1) for part in activations.layer_slices_.values()]
    return np.log(np.column_stack(lengths))


def describe(
    pairs: ImagePairs, dissim: np.ndarray, strengths: np.ndarray, middle: int
) -> list[float]:
    """The numbers of one row of the table."""
    mean = dissim.mean(axis=1)
    _, explainable = noise_ceiling(dissim, convention="algonauts2019")
    effects, constant = image_effects(pairs, mean)
    additive = constant + effects[pairs.index].sum(axis=1)
    np.testing.assert_allclose((mean - additive) @ additive, 0, atol=1e-6)  # least squares
    others = [
        rdm_spearman_score(dissim[:, s], np.delete(dissim, s, axis=1).mean(axis=1))
        for s in range(dissim.shape[1])
    ]
    return [
        float(explainable),
        100 * squared_score(dissim, additive) / explainable,
        100 * squared_score(dissim, mean - additive) / explainable,
        float(np.corrcoef(effects, strengths[:, middle])[0, 1]),
        predicted_score(pairs, dissim, strengths),
        float(np.mean(others)),
    ]


def image_effects(pairs: ImagePairs, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Least-squares ``a`` (n_images,) of ``y = b + a_i + a_j``, NaN of images without pairs."""
    used, local = np.unique(pairs.index, return_inverse=True)
    design = np.zeros((len(y), len(used)))
    np.add.at(design, (np.arange(len(y))[:, None], local.reshape(-1, 2)), 1)
    fit = LinearRegression().fit(design, y)
    effects = np.full(len(pairs.images), np.nan)
    effects[used] = fit.coef_
    return effects, float(fit.intercept_)


def predicted_score(pairs: ImagePairs, dissim: np.ndarray, strengths: np.ndarray) -> float:
    """Mean over folds of the score of effects that strengths predict for held-out images."""
    scores = []
    for train, test in RepeatedImageKFold(n_splits=5, n_repeats=3, random_state=0).split(pairs):
        target = SubjectPooling("zscore").fit_transform(dissim[train])
        effects, _ = image_effects(pairs[train], target)
        seen = ~np.isnan(effects)
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
        predicted = ridge.fit(strengths[seen], effects[seen]).predict(strengths)
        scores.append(rdm_spearman_score(dissim[test], predicted[pairs.index[test]].sum(axis=1)))
    return float(np.mean(scores))


def squared_score(dissim: np.ndarray, predicted: np.ndarray) -> float:
    each = rdm_spearman_score(dissim, predicted, subject_average=False)
    return float(np.mean(np.square(each)))


if __name__ == "__main__":
    main()
