"""What each ingredient of the defaults adds: change one at a time, predict the other image set.

A network for early vision and one for late vision are trained on the 92 images of Algonauts 2019
and predict the RDMs of the 118, and the other way round. One setting at a time is changed. Nothing
is chosen by these figures.

    python benchmarks/accuracy/ingredients.py         # an hour on 2 slow cores
    python benchmarks/accuracy/ingredients.py penalty # 10 minutes: strengths of pretrained_penalty
    python benchmarks/accuracy/ingredients.py --fast  # simulated data, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from _report import write_report
from _sets import DIRECTIONS, Images, load_sets, simulate_sets
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV
from torch import nn

from sklearn_rdm import (
    ImagePairs,
    SiameseRDMRegressor,
)
from sklearn_rdm.losses import WhitenedCorrelationLoss
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import SubjectPooling

LITE0 = {"backbone": "efficientnet_lite0", "image_size": 224, "max_epochs": 5, "random_state": 0}
NETWORKS: dict[str, dict[str, Any]] = {
    "early": {**LITE0, "layer": "block7", "freeze_up_to": "block4", "spatial_pooling": 7},
    "late": {**LITE0, "layer": "block14", "freeze_up_to": "block10", "spatial_pooling": 2},
}
TRAINED_ON = {"early": ("fmri_evc", "meg_early"), "late": ("fmri_it", "meg_late")}
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
PENALTIES = (0.0, 1.0, 10.0, 100.0)  # written down before any of them was tried
PENALTY_CHANGES: dict[str, dict[str, Any]] = {
    "chosen by folds": {"searched": {"pretrained_penalty": PENALTIES}},
    **{f"{strength:g}": {"pretrained_penalty": strength} for strength in PENALTIES},
}
FAST = ("none", "not trained", "fMRI only", "mirrored images too", "chosen by folds")
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
Percent of explainable variance (100 times the mean over 15 subjects of Spearman's r squared, over
the challenge's ceiling) of the other image set. *none*: EfficientNet-Lite0, 224 px, the estimator's
defaults for 5 epochs, one network trained on fMRI EVC and early MEG (read at `block7`, trained
behind `block4`, maps of 7 x 7), one on IT and late MEG (`block14`, behind `block10`, 2 x 2). Each
other row changes one setting. One seed; *other seed* shows how much is nothing: about one percent
for early vision, two to four for late vision. IT of the 118 images is near chance.
The ceiling of MEG is that of matrices averaged over time.
"""

PENALTY_TABLE = ("Staying near the pretrained network", """
As in the table of ingredients, with `pretrained_penalty`: the loss plus this strength times the
mean squared difference between predicted and untrained dissimilarities. *chosen by folds*: the
strength with the best mean score of five folds over the training images, of those below it, which
were written down before any was tried. One seed; another one changes about one percent for early
vision, two to four for late vision. The ceiling of MEG is that of matrices averaged over time.
Command: `python benchmarks/accuracy/ingredients.py penalty`.
""", "penalty")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "penalty"), default="all")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as memory:
        if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
            run_simulated(memory)
            return
        is_penalty = options.part == "penalty"
        changes = PENALTY_CHANGES if is_penalty else CHANGES
        rows = score_changes(changes, load_sets(), memory, options.n_jobs)
    table = PENALTY_TABLE if is_penalty else ("What each ingredient adds", TEXT, None)
    write_report("ingredients", *table[:2], COLUMNS, rows, part=table[2])


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
    searched = settings.pop("searched", {})
    net = SiameseRDMRegressor(**settings, memory=memory)
    if searched:
        net = GridSearchCV(net, searched, cv=ImageKFold(5, shuffle=True, random_state=0))
    predicted = net.fit(pairs, dissim).predict(test.pairs)
    scores = []
    for name in TRAINED_ON[part]:
        each = rdm_spearman_score(test.dissim[name], predicted, subject_average=False)
        _, ceiling = noise_ceiling(test.dissim[name], convention="algonauts2019")
        scores.append(100 * float(np.mean(np.square(each))) / ceiling)
    return scores


def run_simulated(memory: str) -> None:
    """Some changes on simulated data: that they run, not what they are worth."""
    tiny = {"backbone": "squeezenet1_1", "weights": None, "image_size": 64, "layer": "features.3"}
    for settings in NETWORKS.values():
        settings |= {**tiny, "max_epochs": 1, "freeze_up_to": "features.0"}
    changes = {name: (CHANGES | PENALTY_CHANGES)[name] for name in FAST}
    score_changes(changes, simulate_sets(), memory, n_jobs=1)


if __name__ == "__main__":
    main()
