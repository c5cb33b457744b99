"""What each ingredient of the defaults adds: change one at a time, predict the other image set.

A network for early vision and one for late vision are trained on the 92 images of Algonauts 2019
and predict the RDMs of the 118, and the other way round. One setting at a time is changed. Nothing
is chosen by these figures.

    python benchmarks/accuracy/ingredients.py            # an hour on 2 slow cores
    python benchmarks/accuracy/ingredients.py penalty    # 10 minutes: pretrained_penalty
    python benchmarks/accuracy/ingredients.py trials     # 3 minutes on one core
    python benchmarks/accuracy/ingredients.py both_sets  # half an hour on one core
    python benchmarks/accuracy/ingredients.py --fast     # simulated data, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from _image_effects import ImageEffects
from _report import write_report
from _sets import DIRECTIONS, SETS, Images, join, load_sets, simulate_sets
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV
from torch import nn

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.losses import WhitenedCorrelationLoss
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm
from sklearn_rdm.preprocessing import SubjectPooling

Settings = dict[str, Any]
Changes = dict[str, Settings]
Sets = dict[int, Images]
Percents = dict[str, np.ndarray]  # of every change

LITE0 = {"backbone": "efficientnet_lite0", "image_size": 224, "max_epochs": 5, "random_state": 0}
NETWORKS: Changes = {
    "early": {**LITE0, "layer": "block7", "freeze_up_to": "block4", "spatial_pooling": 7},
    "late": {**LITE0, "layer": "block14", "freeze_up_to": "block10", "spatial_pooling": 2},
}
TRAINED_ON = {"early": ("fmri_evc", "meg_early"), "late": ("fmri_it", "meg_late")}
FOLDS = ImageKFold(5, shuffle=True, random_state=0)
CHANGES: Changes = {
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
PENALTIES = (0.0, 1.0, 10.0, 100.0)  # written down before any of them was tried
PENALTY_CHANGES: Changes = {
    "chosen by folds": {"searched": {"pretrained_penalty": PENALTIES}},
    **{f"{strength:g}": {"pretrained_penalty": strength} for strength in PENALTIES},
}
# All that follows of the trials was written down before any of them was run.
SEED_1 = ", seed 1"
TRIALS: Changes = {
    "none": {},
    "none, seed 1": {"random_state": 1},
    "not trained": {"max_epochs": 0},
    "late maps of 4 x 4": {"late": {"spatial_pooling": 4}},
    "late maps of 4 x 4, seed 1": {"late": {"spatial_pooling": 4, "random_state": 1}},
    "image effects apart": {"effects": "apart"},
    "image effects apart, seed 1": {"effects": "apart", "random_state": 1},
    "image effects alone": {"effects": "alone"},
}
MIXED = {"batching": "pairs", "batch_size": 3600, "max_epochs": 10}  # 20 steps, as the others
BOTH_SETS: Changes = {
    "one set": {"alone": True, "max_epochs": 10},
    "both sets": {},
    "both sets, pairs mixed": MIXED,
    "both sets, pairs mixed and balanced": {**MIXED, "balanced": True},
}
BOTH_SETS |= {name + SEED_1: {**change, "random_state": 1} for name, change in BOTH_SETS.items()}
BOTH_SETS["not trained"] = {"max_epochs": 0}
FAST = ("none", "not trained", "fMRI only", "mirrored images too", "chosen by folds")
FAST += ("late maps of 4 x 4, seed 1", "image effects apart", "image effects alone")
FAST_SETS = ("one set", "one set, seed 1", "both sets, pairs mixed and balanced")
TARGETS = [target for targets in TRAINED_ON.values() for target in targets]
COLUMNS = [f"{target}, {a} -> {b}" for target in TARGETS for a, b in DIRECTIONS]
SETS_COLUMNS = [f"{target} of {n_images}" for target in TARGETS for n_images in SETS]
TEXT = """
Percent of explainable variance (100 times the mean over 15 subjects of Spearman's r squared, over
the challenge's ceiling) of the other image set. *none*: EfficientNet-Lite0, 224 px, the estimator's
defaults for 5 epochs, one network trained on fMRI EVC and early MEG (read at `block7`, trained
behind `block4`, maps of 7 x 7), one on IT and late MEG (`block14`, behind `block10`, 2 x 2). Each
other row changes one setting. One seed; *other seed* shows how much is nothing: about one percent
for early vision, up to three for late vision. IT of the 118 images is near chance.
The ceiling of MEG is that of matrices averaged over time.
"""
PENALTY_TEXT = """
As in the table of ingredients, with `pretrained_penalty`: the loss plus this strength times the
mean squared difference between predicted and untrained dissimilarities. *chosen by folds*: the
strength with the best mean score of five folds over the training images, of those below it, which
were written down before any was tried. One seed; another one changes about one percent for early
vision, up to three for late vision. The ceiling of MEG is that of matrices averaged over time.
Command: `python benchmarks/accuracy/ingredients.py penalty`.
"""
TRIALS_TEXT = """
As in the table of ingredients; seed 0 where none is named. The seed made differences of up to (in
the order of the columns) {seeds}.
*late maps of 4 x 4*: *none* has 2 x 2. *image effects apart*: the pooled dissimilarity of images i
and j is `a_i + a_j + rest`, by least squares; ridge regression on the layer's features before
training predicts `a` of new images, the network is trained on the rest, and both are added.
*alone*: `a_i + a_j` only. All settings were written down before any of them was tried. The ceiling
of MEG is that of matrices averaged over time.
Command: `python benchmarks/accuracy/ingredients.py trials`.
"""
SETS_TEXT = """
The networks of the table of ingredients on held-out images, a fifth of each set at a time.
Percent: 100 times the mean over 5 folds of what is explained, over their mean ceiling, both of the
pairs of held-out images: not to be compared with tables of whole sets, as squares are the further
above zero by chance the fewer the images. *one set*: trained on the set that is scored; *both
sets*: on both. All are trained for 20 steps. Of mini-batches of images half hold images of one set,
half of the other, and the loss is free of a batch's weight, so that the sets count alike whatever
their pairs weigh. *pairs mixed*: batches of 3,600 random pairs of both sets; *balanced*: by
`sample_weight`, so that both sets count alike. All settings were written down before any was tried.
Seed 0 where none is named; the seed made differences of up to (by column) {seeds}.
The ceiling of MEG is that of matrices averaged over time.
Command: `python benchmarks/accuracy/ingredients.py both_sets`.
"""
TABLES = {
    "all": ("What each ingredient adds", TEXT, CHANGES),
    "penalty": ("Staying near the pretrained network", PENALTY_TEXT, PENALTY_CHANGES),
    "trials": ("Larger maps, and image effects apart", TRIALS_TEXT, TRIALS),
    "both_sets": ("Trained on one set or both", SETS_TEXT, BOTH_SETS),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=TABLES, default="all")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as memory:
        if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
            run_simulated(memory)
        else:
            record(options.part, load_sets(), memory, options.n_jobs)


def record(part: str, sets: Sets, memory: str, n_jobs: int) -> None:
    """Write the table of a part."""
    title, text, changes = TABLES[part]
    score, columns = score_changes, COLUMNS
    if part == "both_sets":
        score, columns = score_both_sets, SETS_COLUMNS
    found = score(changes, sets, memory, n_jobs)
    rows = [[name, *(f"{x:.1f}".replace("nan", "") for x in row)] for name, row in found.items()]
    text, suffix = text.format(seeds=differences_of_seeds(found)), None if part == "all" else part
    write_report("ingredients", title, text, ["change", *columns], rows, suffix)


def differences_of_seeds(found: Percents) -> str:
    """The largest differences between a row and the same with another seed, by column."""
    names = [name for name in found if name.endswith(SEED_1)]
    differences = [abs(found[name] - found[name.removesuffix(SEED_1)]) for name in names]
    return ", ".join(f"{x:.1f}" for x in np.nanmax(differences, axis=0)) if names else ""


def score_changes(changes: Changes, sets: Sets, memory: str, n_jobs: int) -> Percents:
    """Percent of explainable variance, one row per change."""
    jobs = [
        (memory, part, change, sets[a], sets[b])
        for change in changes.values()
        for part in NETWORKS
        for a, b in DIRECTIONS
    ]
    found = Parallel(n_jobs=n_jobs, verbose=5)(delayed(percents)(*job) for job in jobs)
    # Direction before target becomes target before direction.
    rows = np.reshape(found, (-1, 2, 2, 2)).transpose(0, 1, 3, 2).reshape(len(changes), -1)
    return dict(zip(changes, rows, strict=True))


def percents(memory: str, part: str, change: Settings, train: Images, test: Images) -> list[float]:
    """Percent of explainable variance of both targets of a network, on the other image set."""
    if part not in change and set(change) & set(NETWORKS):
        return [np.nan] * len(TRAINED_ON[part])  # it is the other network that is changed
    of_all = {name: value for name, value in change.items() if name not in NETWORKS}
    settings = NETWORKS[part] | of_all | change.get(part, {})
    targets = TRAINED_ON[part][: settings.pop("n_targets", None)]
    pairs, dissim = train.pairs, train.subjects(targets)
    if settings.pop("mirrored", False):
        pairs, dissim = with_mirrored(pairs), np.vstack([dissim, dissim])
    predicted = make_model(settings, memory).fit(pairs, dissim).predict(test.pairs)
    found = [explained(test.dissim[name], predicted) for name in TRAINED_ON[part]]
    return [100 * score / ceiling for score, ceiling in found]


def with_mirrored(pairs: ImagePairs) -> ImagePairs:
    images = np.ascontiguousarray(pairs.images[:, :, ::-1])
    mirrored = ImagePairs(images, pairs.index, background=pairs.background)
    return ImagePairs.concatenate([pairs, mirrored])


def make_model(settings: Settings, memory: str) -> Any:
    """A network, what searches one of its parameters, or what models image effects apart."""
    searched, effects = settings.pop("searched", None), settings.pop("effects", None)
    net = SiameseRDMRegressor(**settings, memory=memory)
    if searched:
        return GridSearchCV(net, searched, cv=FOLDS)
    return ImageEffects(net, alone=effects == "alone") if effects else net


def explained(dissim: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Mean squared correlation with each subject, and the challenge's ceiling of it."""
    each = rdm_spearman_score(dissim, predicted, subject_average=False)
    assert np.isfinite(each).all()
    _, ceiling = noise_ceiling(dissim, convention="algonauts2019")
    return float(np.mean(np.square(each))), ceiling


def score_both_sets(changes: Changes, *how: Any) -> Percents:
    """Percent of explainable variance on held-out images of both sets, one row per change."""
    return {
        name: np.concatenate([of_held_out(part, change, *how) for part in NETWORKS])
        for name, change in changes.items()
    }


def of_held_out(part: str, change: Settings, sets: Sets, memory: str, n_jobs: int) -> np.ndarray:
    """Percent of explainable variance of both targets of a network, each of both sets."""
    settings, targets = NETWORKS[part] | change, TRAINED_ON[part]
    alone, balanced = settings.pop("alone", False), settings.pop("balanced", False)
    joined, n_pairs = join([sets[n] for n in SETS]), [len(sets[n].pairs) for n in SETS]
    of_set, weights = (np.repeat(of_one, n_pairs) for of_one in (SETS, 1 / np.array(n_pairs)))
    folds = list(FOLDS.split(joined.pairs))
    by_set = {n: [[rows[of_set[rows] == n] for rows in fold] for fold in folds] for n in SETS}
    held_out = cross_val_rdm(
        make_model(settings, memory),
        joined.pairs,
        joined.subjects(targets),
        cv=sum(by_set.values(), []) if alone else folds,
        params={"sample_weight": weights} if balanced else None,
        n_jobs=n_jobs,
    )
    found = [
        [explained(joined.dissim[target][test], held_out.dissim[test]) for _, test in by_set[n]]
        for target in targets
        for n in SETS
    ]
    score, ceiling = np.mean(found, axis=1).T
    return np.asarray(100 * score / ceiling)


def run_simulated(memory: str) -> None:
    """Some changes on simulated data: that they run, not what they are worth."""
    tiny = {"backbone": "squeezenet1_1", "weights": None, "image_size": 64, "layer": "features.3"}
    for settings in NETWORKS.values():
        settings |= {**tiny, "max_epochs": 1, "freeze_up_to": "features.0"}
    sets, known = simulate_sets(), CHANGES | PENALTY_CHANGES | TRIALS
    found = score_changes({name: known[name] for name in FAST}, sets, memory, 1)
    assert np.isnan([*found.values()]).sum() == 4  # early vision where late maps are changed
    found = score_both_sets({name: BOTH_SETS[name] for name in FAST_SETS}, sets, memory, 1)
    assert len(differences_of_seeds(found).split()) == len(SETS_COLUMNS)
    assert np.isfinite([*found.values()]).all()


if __name__ == "__main__":
    main()
