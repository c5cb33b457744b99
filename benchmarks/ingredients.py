"""What each ingredient of the defaults adds: change one at a time, predict the other image set.

A network for early vision and one for late vision are trained on the 92 images of Algonauts 2019
and predict the RDMs of the 118, and the other way round. One setting at a time is changed. Nothing
is chosen by these figures: `algonauts2019.py` chooses within the training sets. A figure shows the
scores of all layers after all epochs, on held-out images of the training set. A second table is of
several layers trained together, a third of ideas that users can add to the library as it is, a
fourth of training on folds of a set with more measurements, or with the other set as well.

    python benchmarks/ingredients.py                 # an hour and a half on 2 slow cores
    python benchmarks/ingredients.py --part ideas    # one table only; or defaults, layers, sets
    python benchmarks/ingredients.py --fast          # seconds, on simulated data, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from _candidates import SETS, Fold, Images, load_sets
from _ideas import (
    with_adapters,
    with_attention,
    with_learned_reference,
    with_window,
)
from joblib import Parallel, delayed
from sklearn.base import clone
from torch import nn

from sklearn_rdm import (
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    ImagePairs,
    LayerEpochDisplay,
    LayerEpochSearchCV,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.losses import WhitenedCorrelationLoss
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import SubjectPooling

mpl.use("agg")
import matplotlib.pyplot as plt

LITE0 = {"backbone": "efficientnet_lite0", "image_size": 224, "max_epochs": 5, "random_state": 0}
NETWORKS: dict[str, dict[str, Any]] = {
    "early": {**LITE0, "layer": "block7", "freeze_up_to": "block4", "spatial_pooling": 7},
    "late": {**LITE0, "layer": "block14", "freeze_up_to": "block10", "spatial_pooling": 2},
}
TRAINED_ON = {"early": ("fmri_evc", "meg_early"), "late": ("fmri_it", "meg_late")}
LAYERS = {"early": ["block5", "block6", "block7"], "late": ["block11", "block12", "block14"]}
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "other seed": {"random_state": 1},
    "not trained": {"max_epochs": 0},
    "no reference": {"reference": None},
    "not trained, no reference": {"max_epochs": 0, "reference": None},
    "noise ratio 0.3": {"noise_ratio": 0.3},
    "noise ratio 1": {"noise_ratio": 1.0},
    "noise ratio 1, not trained": {"noise_ratio": 1.0, "max_epochs": 0},
    "reference: mean training image": {"reference": "mean"},
    "squared error": {"criterion": nn.MSELoss},
    "squared error, SGD at 0.005": {
        "criterion": nn.MSELoss,
        "optimizer": torch.optim.SGD,
        "lr": 0.005,
    },
    "whitened correlation": {"criterion": WhitenedCorrelationLoss},
    "learning rate 0.0003": {"lr": 3e-4},
    "2 epochs": {"max_epochs": 2},
    "10 epochs": {"max_epochs": 10},
    "maps not pooled": {"spatial_pooling": None},
    "maps pooled to one place": {"spatial_pooling": 1},
    "statistics of the batch": {"module__freeze_batch_norm": False},
    "nothing frozen": {"freeze_up_to": None},
    "subjects weighted by reliability": {
        "subject_pooling": SubjectPooling("zscore", subject_weight="reliability")
    },
    "ranks for a target": {"subject_pooling": SubjectPooling("rank")},
    "fMRI only": {"n_targets": 1},
    "mirrored images too": {"mirrored": True},
}
BLOCKS = {
    "early": {"layer": "_blocks.7", "freeze_up_to": "_blocks.4"},
    "late": {"layer": "_blocks.14", "freeze_up_to": "_blocks.10"},
}
SEVERAL = {
    "early": {"layer": ("block5", "block7", "block10")},
    "late": {"layer": ("block7", "block12", "block14"), "freeze_up_to": "block6"},
}
SINGLE_OF_SEVERAL = {"late": {"freeze_up_to": "block6"}}
SEVERAL_LAYERS: dict[str, dict[str, Any]] = {
    "none": {},
    "as much trained as for several": SINGLE_OF_SEVERAL,
    "several layers": SEVERAL,
    "noise ratio 1": {"noise_ratio": 1.0},
    "several layers, noise ratio 1": {**SEVERAL, "noise_ratio": 1.0},
}


def own(early: Callable[[], nn.Module], late: Callable[[], nn.Module]) -> dict[str, dict[str, Any]]:
    """Settings of networks of one's own, for both parts."""
    return {
        "early": {"backbone": early, **BLOCKS["early"]},
        "late": {"backbone": late, **BLOCKS["late"]},
    }


IDEAS: dict[str, dict[str, Any]] = {
    "none": {},
    "five seeds averaged": {"n_seeds": 5},
    "distilled from five seeds": {"n_seeds": 5, "distilled": True},
    "attention": own(partial(with_attention, 7), partial(with_attention, 14)),
    "Gaussian window": own(partial(with_window, 7), partial(with_window, 14)),
    "low-rank adapters": own(partial(with_adapters, 5, 7), partial(with_adapters, 11, 14)),
    "reference: grey for all images": {"reference": "grey"},
    "learned reference": {
        **own(partial(with_learned_reference, 7), partial(with_learned_reference, 14)),
        "reference": None,
    },
    "one linear head": {"head": FeatureReweightedRSARegressor(cv=5, random_state=0)},
    "a linear head for each subject": {
        "head": FeatureReweightedRSARegressor(cv=5, random_state=0, subject_pooling=None)
    },
}
PARTS = ("defaults", "layers", "ideas", "sets")
FAST = (
    "none",
    "not trained",
    "attention",
    "low-rank adapters",
    "learned reference",
    "distilled from five seeds",
    "a linear head for each subject",
)
N_FOLDS = 5
DIRECTIONS = ((118, 92), (92, 118))
COLUMNS = (
    "change",
    *(
        f"{target}, {a} -> {b}"
        for targets in TRAINED_ON.values()
        for target in targets
        for a, b in DIRECTIONS
    ),
)
TEXT = """
![Scores of layers after each epoch](../results/ingredients.svg)

Percent of explainable variance (100 times the mean over 15 subjects of Spearman's r squared, over
the challenge's ceiling) of the other image set. *none*: EfficientNet-Lite0, 224 px, the estimator's
defaults for 5 epochs, one network trained on fMRI EVC and early MEG (read at `block7`, trained
behind `block4`, maps of 7 x 7), one on IT and late MEG (`block14`, behind `block10`, 2 x 2). Each
other row changes one setting. One seed; *other seed* shows how much is nothing: about one percent
for early vision, two to four for late vision. IT of the 118 images is near chance.

The figure: networks of the same kind, trained on fMRI and MEG of one set for 10 epochs; mean over 5
image-wise folds of the correlation with all subjects of both, after each epoch, read at each layer.
"""
TEXT_IDEAS = """
As the table of the ingredients, of one run: *five seeds averaged* (`EnsembleRDMRegressor`);
*distilled*: one network trained on what these five predict of the training pairs; *attention*: a
learned gain of each of 7 x 7 places of the map; *Gaussian window*: the same, of learned width
around the centre; *low-rank adapters*: of rank 8, beside convolutions of one pixel that are held,
as all others are; *learned reference*: what is subtracted is learned, and begins as the response to
grey; *linear head*: the trained network's activations are weighed by
`FeatureReweightedRSARegressor`, for the mean over subjects or for each subject, whose predictions
are averaged. Attention, window, adapters and learned reference are networks as users write them
(`benchmarks/_ideas.py`).
"""
TEXT_LAYERS = """
As the table of the ingredients, of one run: blocks 5, 7 and 10 (early vision) or 7, 12 and 14 (late
vision) trained together, behind block 4 or 6, in place of block 7 or 14 behind block 4 or 10; *as
much trained as for several*: block 14 behind block 6.
"""


TEXT_SETS = """
Mean over 5 image-wise folds of Spearman's r with the 15 subjects, and the lowest and highest fold:
the networks of row *none* of the table of the ingredients, trained on the other four folds alone,
with all images of the other set, or with what Kriegeskorte et al. (2008) measured of the 92 images
(human and monkey IT) and people's arrangements of these by similarity (*behaviour*), side by side
with the challenge's IT and late MEG.
"""
MORE_TRAINED_ON: dict[str, tuple[str, ...]] = {
    "human IT too": ("human_it",),
    "human and monkey IT too": ("human_it", "monkey_it"),
    "behaviour too": ("behaviour",),
    "human IT and behaviour too": ("human_it", "behaviour"),
}
COLUMNS_SETS = (
    "trained on",
    *(f"{t}, {n}" for ts in TRAINED_ON.values() for t in ts for n in SETS),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--part", nargs="+", choices=PARTS)
    options = parser.parse_args(argv)
    parts = options.part or PARTS
    with tempfile.TemporaryDirectory() as memory:
        if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
            run_simulated(memory)
            return
        from _report import RESULTS, write_report

        sets = load_sets()
        if "defaults" in parts:
            searches = {
                (part, name): search_layers(part, memory, images, options.n_jobs)
                for part in NETWORKS
                for name, images in sets.items()
            }
            draw(searches, RESULTS / "ingredients.svg")
            rows = score_changes(CHANGES, sets, memory, options.n_jobs)
            write_report("ingredients", "What each ingredient adds", TEXT, COLUMNS, rows)
        if "layers" in parts:
            rows = score_changes(SEVERAL_LAYERS, sets, memory, options.n_jobs)
            title = "What several layers add"
            write_report("ingredients", title, TEXT_LAYERS, COLUMNS, rows, part="layers")
        if "ideas" in parts:
            rows = score_changes(IDEAS, sets, memory, options.n_jobs)
            title = "What other ideas add"
            write_report("ingredients", title, TEXT_IDEAS, COLUMNS, rows, part="ideas")
        if "sets" in parts:
            rows = score_training_sets(sets, memory, options.n_jobs)
            title = "What other images and measurements add"
            write_report("ingredients", title, TEXT_SETS, COLUMNS_SETS, rows, part="sets")


def score_changes(
    changes: dict[str, dict[str, Any]], sets: dict[int, Images], memory: str, n_jobs: int
) -> list[list[str]]:
    """Rows of a table: percent of explainable variance, one change at a time."""
    jobs = [
        (memory, part, change, sets[a], sets[b])
        for change in changes.values()
        for part in NETWORKS
        for a, b in DIRECTIONS
    ]
    found = Parallel(n_jobs=n_jobs, verbose=5)(delayed(percents)(*job) for job in jobs)
    assert np.isfinite(found).all()
    rows = []
    # Direction before target becomes target before direction.
    for name, by_part in zip(changes, np.reshape(found, (-1, 2, 2, 2)), strict=True):
        rows.append([name, *(f"{x:.1f}" for x in by_part.transpose(0, 2, 1).ravel())])
        print(rows[-1])
    return rows


def percents(
    memory: str, part: str, change: dict[str, Any], train: Images, test: Images
) -> list[float]:
    """Percent of explainable variance of both targets of a network, on the other image set."""
    of_all = {name: value for name, value in change.items() if name not in NETWORKS}
    settings = NETWORKS[part] | of_all | change.get(part, {})
    n_seeds, distilled = settings.pop("n_seeds", 1), settings.pop("distilled", False)
    head = settings.pop("head", None)
    targets = TRAINED_ON[part][: settings.pop("n_targets", None)]
    pairs, dissim = train.pairs, np.hstack([train.dissim[name] for name in targets])
    if settings.pop("mirrored", False):
        mirrored = ImagePairs(
            np.ascontiguousarray(pairs.images[:, :, ::-1]),
            pairs.index,
            image_groups=pairs.image_groups,
            background=pairs.background,
        )
        pairs = ImagePairs.concatenate([pairs, mirrored])
        dissim = np.vstack([dissim, dissim])
    model = net = SiameseRDMRegressor(**settings, memory=memory)
    if n_seeds > 1:
        model = EnsembleRDMRegressor(net, n_estimators=n_seeds, random_state=0)
    model.fit(pairs, dissim)
    if distilled:
        model = net.fit(pairs, model.predict(pairs))
    predicted = model.predict(test.pairs)
    if head is not None:
        predicted = predict_by_head(head, net, pairs, dissim, test.pairs)
    scores = []
    for name in TRAINED_ON[part]:
        each = rdm_spearman_score(test.dissim[name], predicted, subject_average=False)
        _, ceiling = noise_ceiling(test.dissim[name], convention="algonauts2019")
        scores.append(100 * float(np.mean(np.square(each))) / ceiling)
    return scores


def predict_by_head(
    head: FeatureReweightedRSARegressor,
    net: SiameseRDMRegressor,
    train: ImagePairs,
    dissim: np.ndarray,
    test: ImagePairs,
) -> np.ndarray:
    """Weigh the activations of a trained network, by the pairs that it was trained on."""
    on_train, on_test = (ImagePairs(net.embed(pairs), pairs.index) for pairs in (train, test))
    return clone(head).fit(on_train, dissim).predict(on_test)


def score_training_sets(sets: dict[int, Images], memory: str, n_jobs: int) -> list[list[str]]:
    """Rows of a table: what networks trained on folds of a set gain by more data."""
    everywhere = [(part, name) for part in NETWORKS for name in sets]
    settings = [("other folds", *place, False, ()) for place in everywhere]
    settings += [("the other set too", *place, True, ()) for place in everywhere]
    settings += [(label, "late", 92, False, more) for label, more in MORE_TRAINED_ON.items()]
    found = Parallel(n_jobs=n_jobs, verbose=5)(
        delayed(fold_scores)(memory, part, name, sets, fold, other_set, more)
        for _, part, name, other_set, more in settings
        for fold in ImageKFold(N_FOLDS, shuffle=True, random_state=0).split(sets[name].pairs)
    )
    assert np.isfinite(found).all()
    cells: dict[str, dict[str, str]] = {}
    by_setting = np.reshape(found, (len(settings), N_FOLDS, 2)).transpose(0, 2, 1)
    for (label, part, name, *_), by_target in zip(settings, by_setting, strict=True):
        for target, folds in zip(TRAINED_ON[part], by_target, strict=True):
            text = f"{folds.mean():.3f} ({folds.min():.3f} - {folds.max():.3f})"
            cells.setdefault(label, {})[f"{target}, {name}"] = text
    rows = [[label, *(row.get(c, "-") for c in COLUMNS_SETS[1:])] for label, row in cells.items()]
    print(*rows, sep="\n")
    return rows


def fold_scores(
    memory: str,
    part: str,
    name: int,
    sets: dict[int, Images],
    fold: Fold,
    other_set: bool,
    more: tuple[str, ...],
) -> list[float]:
    """Score of a fold, both targets, by a network trained on the others, or on more as well."""
    train, test = (sets[name][rows] for rows in fold)
    others = [images for number, images in sets.items() if number != name]
    parts = [train, *others] if other_set else [train]
    pairs = ImagePairs.concatenate([images.pairs for images in parts])
    dissim = np.vstack([images.subjects(TRAINED_ON[part] + more) for images in parts])
    net = SiameseRDMRegressor(**NETWORKS[part], memory=memory).fit(pairs, dissim)
    predicted = net.predict(test.pairs)
    return [rdm_spearman_score(test.dissim[target], predicted) for target in TRAINED_ON[part]]


def search_layers(part: str, memory: str, images: Images, n_jobs: int) -> LayerEpochSearchCV:
    """Score every layer after every epoch, on the targets that are trained on."""
    net = SiameseRDMRegressor(**NETWORKS[part], memory=memory)
    net.set_params(max_epochs=2 * net.max_epochs)
    cv = ImageKFold(N_FOLDS, shuffle=True, random_state=0)
    search = LayerEpochSearchCV(net, LAYERS[part], cv=cv, refit=False, n_jobs=n_jobs)
    return search.fit(images.pairs, np.hstack([images.dissim[n] for n in TRAINED_ON[part]]))


def draw(searches: dict[tuple[str, int], LayerEpochSearchCV], path: Path) -> None:
    mpl.rcParams |= {"svg.hashsalt": path.name, "svg.fonttype": "none"}
    figure, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained")
    for ax, ((part, name), search) in zip(axes.flat, searches.items(), strict=True):
        LayerEpochDisplay.from_estimator(search, ax=ax, score_name="Spearman's r")
        ax.set_title(f"{' + '.join(TRAINED_ON[part])}, {name} images")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def run_simulated(memory: str) -> None:
    """Some changes and the search, on simulated data: that they run, not what they are worth."""
    tiny = {"backbone": "squeezenet1_1", "weights": None, "image_size": 64, "layer": "features.3"}
    for settings in NETWORKS.values():
        settings |= {**tiny, "max_epochs": 1, "freeze_up_to": "features.0"}
    LAYERS.update(early=["features.3"], late=["features.3", "features.4"])
    sets = simulate_sets()
    every = CHANGES | IDEAS
    score_changes({name: every[name] for name in FAST}, sets, memory, n_jobs=1)
    score_training_sets(sets, memory, n_jobs=1)
    for part in NETWORKS:
        search = search_layers(part, memory, sets[92], n_jobs=1)
        assert search.best_layer_ in LAYERS[part]


def simulate_sets() -> dict[int, Images]:
    sets = {}
    for seed, n_images in enumerate((92, 118)):
        data = make_rdm_regression(n_images=15, image_size=64, random_state=seed)
        pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, background="grey")
        sets[n_images] = Images(pairs, {n: dissim for ns in TRAINED_ON.values() for n in ns})
    return sets


if __name__ == "__main__":
    main()
