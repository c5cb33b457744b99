"""Predict the dissimilarities of the Algonauts Project 2019, every choice made by image-wise folds.

Several twin networks, which differ in depth and in the measurements they are trained on, are
trained for some epochs. Which of them, after how many epochs, are averaged to predict a target is
chosen on images held out from the training set of each row of the tables: never on what the row
scores, though the list to choose from was made with scores of both sets in view.

    python benchmarks/algonauts2019.py select      # writes algonauts2019_choice.json
    python benchmarks/algonauts2019.py evaluate    # writes the tables
    python benchmarks/algonauts2019.py predict --images FOLDER --background grey --out submit.mat
    python benchmarks/algonauts2019.py --fast      # all three on simulated data, writes nothing

``predict`` trains what was chosen on both training sets and writes the RDMs of any folder of
images, in name order, in the challenge's submission format; twelve minutes on 2 slow cores.
``select`` trains 4,018 networks: four to six a second with ``--device cuda --n-jobs 16`` on an
H200, four a minute on 2 cores without AVX-512. ``select --part "from 92"`` chooses anew for
networks that are trained on the 92 images and predict the other set, and leaves the rest of the
file (392 networks, a hundred minutes on these cores); ``evaluate --part "other set"`` writes the
table of such rows only. With ``--cache FOLDER`` a step that was cut off goes on where it was, and
steps share what they trained.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from _candidates import (
    CANDIDATES,
    SETS,
    TARGETS,
    Candidate,
    Fold,
    Images,
    Runner,
    keep_memory,
    load_sets,
)
from _report import PACKAGES, RESULTS, write_report
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.stats import rankdata

from sklearn_rdm import ImagePairs, RDMDisplay, read_images
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_permutation_test,
    rdm_spearman_score,
)

mpl.use("agg")
import matplotlib.pyplot as plt

CHOICE = Path(__file__).parent / "algonauts2019_choice.json"
SUBMISSION = {
    "EVC_RDMs": "fmri_evc",
    "IT_RDMs": "fmri_it",
    "MEG_RDMs_early": "meg_early",
    "MEG_RDMs_late": "meg_late",
}
FROM = {f"from {n_images}": n_images for n_images in SETS}
FOLDS_OF = {f"folds of {n_images}": n_images for n_images in SETS}
PARTS = {"select": (*FOLDS_OF, *FROM, "new images"), "evaluate": (*FOLDS_OF, "other set")}
SEEDS = (0, 1, 2)
CATEGORY_SEEDS = SEEDS[:2]  # of the partitions of categories
PREDICTION_SEED = SEEDS[0]  # a second one changes little, and takes ten minutes on slow machines
FIRST_MEMBERS, MOST_MEMBERS = 3, 8
EVERY = slice(None)

Member = tuple[str, int]  # a candidate and after how many epochs
FoldName = tuple[int, int]  # seed of the partition, number


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", nargs="?", choices=("select", "evaluate", "predict"))
    parser.add_argument("--fast", action="store_true", help="all steps on simulated data")
    parser.add_argument(
        "--part", nargs="+", metavar="PART", help=f"what to do anew, default all: {PARTS}"
    )
    parser.add_argument("--images", help="folder of images to predict the RDMs of")
    parser.add_argument("--background", choices=("grey", "white", "black"), default="grey")
    parser.add_argument("--out", default="submit.mat")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where networks run, such as cuda")
    parser.add_argument("--cache", help="folder to keep activations and predictions in")
    options = parser.parse_args(argv)
    known = PARTS.get(options.step, ())
    parts = options.part or known
    if set(parts) - set(known):
        parser.error(f"--part must be some of {known}, got {parts}")
    keep_memory()
    with tempfile.TemporaryDirectory() as temporary:
        run = Runner(options.cache or temporary, options.n_jobs, device=options.device)
        if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
            run_simulated(Runner(temporary, 1, n_folds=3))
        elif options.step == "select":
            select(run, load_sets(), CANDIDATES, CHOICE, parts)
        elif options.step == "evaluate":
            evaluate(run, load_sets(), CANDIDATES, json.loads(CHOICE.read_text()), parts)
        elif options.step == "predict" and options.images:
            predict(run, options.images, options.background, options.out)
        else:
            parser.error("name a step: select, evaluate, or predict with --images FOLDER")


# select


def select(
    run: Runner,
    sets: dict[int, Images],
    candidates: dict[str, Candidate],
    file: Path,
    parts: Sequence[str] = PARTS["select"],
) -> None:
    """Choose members for rows of the tables, and for new images; other parts of the file stay."""
    choice: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for part in parts:
        if part in FOLDS_OF:
            choose_for_folds(run, FOLDS_OF[part], sets[FOLDS_OF[part]], candidates, choice)
        elif part in FROM:
            choose_by_categories(run, FROM[part], sets[FROM[part]], candidates, choice)
        else:
            choose_across(run, sets, candidates, choice)
        choice.setdefault("made with", {})[part] = {
            "date": time.strftime("%Y-%m-%d"),
            "seeds": SEEDS,
            "device": name_device(run.device),
            "versions": {package: version(package) for package in PACKAGES},
        }
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(choice, indent=1) + "\n")
        partial.replace(file)  # the old choice stays whole until the new one is


def name_device(device: str) -> str:
    is_cuda = torch.device(device).type == "cuda"
    return torch.cuda.get_device_name(device) if is_cuda else "the processor"


def choose_for_folds(
    run: Runner,
    n_images: int,
    images: Images,
    candidates: dict[str, Candidate],
    choice: dict[str, Any],
) -> None:
    """Choose for each fold of a set on its other folds, and score every network alone."""
    trials = leave_two_folds_out(run, images, candidates)
    choice |= choose_within(f"{n_images}", images, trials)
    choice.setdefault("alone", {})[f"{n_images}"] = score_alone(*trials.all_of(images))


def choose_by_categories(
    run: Runner,
    n_images: int,
    images: Images,
    candidates: dict[str, Candidate],
    choice: dict[str, Any],
) -> None:
    """Choose for another image set: by images of categories that were not trained on.

    Images beside those trained on would choose for more of the same; another set has other objects.
    """
    folds = [fold for seed in CATEGORY_SEEDS for fold in run.category_folds(images, seed)]
    splits = [(images[train], images.pairs[test], CATEGORY_SEEDS[0]) for train, test in folds]
    predicted = predict_splits(run, candidates, splits)
    observed = [images[test].dissim for _, test in folds]
    choice[f"{n_images}"] = choose_targets(predicted, observed)
    alone = choice.setdefault("alone by categories", {})
    alone[f"{n_images}"] = score_alone(predicted, observed)


def choose_across(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate], choice: dict[str, Any]
) -> None:
    """Choose for new images: each set predicted by networks that saw the other set only."""
    directions = [(sets[other], sets[name]) for name in sets for other in sets if other != name]
    splits = [(train, test.pairs, seed) for train, test in directions for seed in SEEDS]
    predicted = {
        member: [
            np.mean(dissims[k : k + len(SEEDS)], axis=0) for k in range(0, len(splits), len(SEEDS))
        ]
        for member, dissims in predict_splits(run, candidates, splits).items()
    }
    observed = [test.dissim for _, test in directions]
    choice["new images"] = choose_targets(predicted, observed)
    choice["alone across"] = {
        f"{name}": score_alone({m: [found[k]] for m, found in predicted.items()}, [observed[k]])
        for k, name in enumerate(sets)  # as directions are in the order of what is scored
    }


def predict_splits(
    run: Runner, candidates: dict[str, Candidate], splits: Sequence[tuple[Images, ImagePairs, int]]
) -> dict[Member, list[np.ndarray]]:
    """What every candidate predicts after each of its epochs; a split is (train, test, seed)."""
    jobs = [(candidate, *split) for candidate in candidates.values() for split in splits]
    found = iter(run.predict_all(jobs))
    predicted: dict[Member, list[np.ndarray]] = {}
    for name, candidate in candidates.items():
        for _ in splits:
            for n_epochs, dissim in zip(candidate.epochs, next(found), strict=True):
                predicted.setdefault((name, n_epochs), []).append(dissim)
    return predicted


@dataclass(frozen=True)
class FoldTrials:
    """What networks that were trained without the images of two folds predict of each of them."""

    folds: dict[FoldName, Fold]
    predicted: dict[Member, dict[tuple[FoldName, FoldName], np.ndarray]]  # [scored, other one]

    def others(self, fold: FoldName) -> list[FoldName]:
        """All other folds of the same partition."""
        return [other for other in self.folds if other[0] == fold[0] and other != fold]

    def all_of(
        self, images: Images
    ) -> tuple[dict[Member, list[np.ndarray]], list[dict[str, np.ndarray]]]:
        """Every prediction of each member, and what was measured."""
        scored = [fold for fold, _ in next(iter(self.predicted.values()))]
        observed = [images[self.folds[fold][1]].dissim for fold in scored]
        return {member: [*found.values()] for member, found in self.predicted.items()}, observed


def leave_two_folds_out(
    run: Runner, images: Images, candidates: dict[str, Candidate]
) -> FoldTrials:
    """Train every candidate without every two folds of each partition."""
    folds = named_folds(run, images)
    couples = [(a, b) for a, b in combinations(folds, 2) if a[0] == b[0]]
    splits = []
    for a, b in couples:
        train = np.intersect1d(folds[a][0], folds[b][0])
        held_out = np.concatenate([folds[a][1], folds[b][1]])
        splits.append((images[train], images.pairs[held_out], a[0]))
    trials = FoldTrials(folds, {})
    for member, dissims in predict_splits(run, candidates, splits).items():
        trial = trials.predicted.setdefault(member, {})
        for (first, second), dissim in zip(couples, dissims, strict=True):
            trial[first, second], trial[second, first] = np.split(dissim, [len(folds[first][1])])
    return trials


def named_folds(run: Runner, images: Images) -> dict[FoldName, Fold]:
    return {(seed, k): fold for seed in SEEDS for k, fold in enumerate(run.folds(images, seed))}


def choose_within(set_name: str, images: Images, trials: FoldTrials) -> dict[str, Any]:
    """Choose for each fold of an image set on the other ones.

    What networks trained without two folds predict of the one helps to choose for the other.
    """
    uses = {
        fold_name(set_name, fold): [(scored, fold) for scored in trials.others(fold)]
        for fold in trials.folds
    }
    return {
        use: choose_targets(
            {member: [found[o] for o in orders] for member, found in trials.predicted.items()},
            [images[trials.folds[scored][1]].dissim for scored, _ in orders],
        )
        for use, orders in uses.items()
    }


def score_alone(
    trials: dict[Member, list[np.ndarray]], observed: list[dict[str, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Every member's mean correlation with each target on images held out from it."""
    scores: dict[str, dict[str, float]] = {}
    for target in observed[0]:
        ranks = mean_ranks([dissim[target] for dissim in observed])
        for (name, n_epochs), parts in trials.items():
            scores.setdefault(f"{name}, {n_epochs} epochs", {})[target] = mean_score(ranks, parts)
    return scores


def fold_name(set_name: str, fold: FoldName) -> str:
    return f"{set_name}, seed {fold[0]}, fold {fold[1]}"


def choose_targets(
    trials: dict[Member, list[np.ndarray]], observed: list[dict[str, np.ndarray]]
) -> dict[str, Any]:
    """Choose members for each target by their predictions of several sets of held-out images."""
    return {
        target: choose(trials, [dissim[target] for dissim in observed]) for target in observed[0]
    }


def choose(trials: dict[Member, list[np.ndarray]], observed: list[np.ndarray]) -> dict[str, Any]:
    """Average the best few, then add the member that helps most, again and again.

    Ensemble selection with sorted initialisation (Caruana et al. 2004). Beginning with several
    members keeps chance out of the first picks, which matter most when few images choose.
    """
    ranks = mean_ranks(observed)
    alone = {member: mean_score(ranks, parts) for member, parts in trials.items()}
    members = sorted(trials, key=lambda member: -alone[member])[:FIRST_MEMBERS]
    total = [np.sum(parts, axis=0) for parts in zip(*map(trials.get, members), strict=True)]
    best = mean_score(ranks, total)
    while len(members) < MOST_MEMBERS:
        sums = {
            member: [a + b for a, b in zip(total, parts, strict=True)]
            for member, parts in trials.items()
        }
        scores = {member: mean_score(ranks, parts) for member, parts in sums.items()}
        member = max(scores, key=lambda member: scores[member])
        if scores[member] <= best:
            break
        best, total = scores[member], sums[member]
        members.append(member)
    return {"members": members, "score": best}


def mean_score(ranks: list[np.ndarray], predicted: list[np.ndarray]) -> float:
    """The same as the mean of ``rdm_spearman_score``, whose subjects were ranked once."""
    return float(np.mean([r @ unit_ranks(d) for r, d in zip(ranks, predicted, strict=True)]))


def mean_ranks(observed: list[np.ndarray]) -> list[np.ndarray]:
    return [unit_ranks(dissim).mean(axis=1) for dissim in observed]


def unit_ranks(dissim: np.ndarray) -> np.ndarray:
    ranks = rankdata(dissim, axis=0)
    ranks -= ranks.mean(axis=0)
    return ranks / np.linalg.norm(ranks, axis=0)


# evaluate


def evaluate(
    run: Runner,
    sets: dict[int, Images],
    candidates: dict[str, Candidate],
    choice: dict[str, Any],
    parts: Sequence[str],
) -> None:
    if "other set" in parts:
        rows, predicted = score_other_set(run, sets, candidates, choice)
        draw(sets, predicted, RESULTS / "algonauts2019.png")
        text = f"{TEXT}Networks ran on {name_device(run.device)}.\n"
        write_report("algonauts2019", "Trained on the other set", text, COLUMNS, rows)
    for n_images in (FOLDS_OF[part] for part in parts if part in FOLDS_OF):
        rows = score_folds(run, n_images, sets[n_images], candidates, choice)
        title = f"Trained on folds of the {n_images} images"
        text = f"{TEXT_FOLDS}Networks ran on {name_device(run.device)}.\n"
        write_report("algonauts2019", title, text, COLUMNS, rows, part=f"folds_{n_images}")
    title = "Networks to choose from"
    write_alone(choice["alone"], title, TEXT_ALONE, "networks")
    by_categories = choice["alone by categories"]
    write_alone(by_categories, f"{title}, by categories", TEXT_CATEGORIES, "categories")
    write_alone(choice["alone across"], f"{title}, across sets", TEXT_ACROSS, "across")


def write_alone(
    scores: dict[str, dict[str, dict[str, float]]], title: str, text: str, part: str
) -> None:
    """Write what each network reached on held-out images of its own set."""
    sets = sorted(scores, key=int)
    members = list(dict.fromkeys(member for name in sets for member in scores[name]))
    targets = list(scores[sets[0]][members[0]])
    columns = ("network", *(f"{target}, {name}" for target in targets for name in sets))
    missing = dict.fromkeys(targets, "-")  # not a candidate when this set was chosen for
    rows = [
        [member, *(scores[name].get(member, missing)[t] for t in targets for name in sets)]
        for member in members
    ]
    write_report("algonauts2019", title, text, columns, rows, part=part)


COLUMNS = (
    "scored",
    "trained on",
    "target",
    "% of ceiling",
    "seeds",
    "seeds averaged",
    "folds joined",
    "other subjects",
    "r",
    "p",
    "chance %",
    "members",
)
TEXT_CATEGORIES = """
As the table of networks to choose from, but with whole categories held out: mean of Spearman's r
with 15 subjects over four folds of two categories each, in two partitions.
"""
TEXT_ACROSS = """
As the table of networks to choose from, but each set is predicted by networks trained on the other:
Spearman's r with the scored set's 15 subjects, of the mean prediction of three seeds. What predicts
new images is chosen by these; no row of the tables is.
"""
TEXT_ALONE = """
Mean of Spearman's r with 15 subjects on held-out images of the set that the network was trained on:
three fifths of the images train, two fifths are predicted, ten times for each of three partitions.
By these scores, and those of averages, networks are chosen (`algonauts2019.py select`); they are
not scores to be compared with those of others. The name tells the layer that is trained and read,
and the measurements trained on; *human IT* is that of Kriegeskorte et al. (2008) for the 92 images,
*reliability* weights subjects by their agreement with the others, *whitened* trains with
`WhitenedCorrelationLoss`, *noise* with a `noise_ratio` (1 or 0.3, see `_candidates.py`).
"""


TEXT = """
![Observed and predicted matrices](../results/algonauts2019.png)

Every choice (network depth, measurements trained on, epoch, members of the average) was made by
image-wise folds within the training set of the row; see `benchmarks/algonauts2019_choice.json`. The
list that was chosen from was made with scores of both sets in view.
EfficientNet-Lite0, -Lite1 and -Lite2 with ImageNet weights, 224 px, reference: a blank of each
set's background; every network's distances have the same mean and spread over its own training
pairs (`CalibratedRDMRegressor`). Members were chosen by how they predict images of categories that
they were not trained on (two partitions of the eight categories of the training set into four
folds), and are then trained on the whole of it. *% of ceiling*: 100 times the mean over 15 subjects
of Spearman's r squared, over the challenge's ceiling of the scored set; *seeds*: lowest and highest
of three trainings; *seeds averaged*: that of the mean of their predictions; *other subjects*: the
percent that the mean of 14 measured subjects reaches for the 15th, on all images of the set; *r*:
the signed mean correlation of one; *p*: images shuffled 1,000 times, one-sided; *chance %*: the
mean score of these, of the first seed; *members*: how often a network was chosen, over seeds. The
figure: observed, mean over subjects, and predicted, mean over seeds; ranks of dissimilarities,
images sorted by the categories of `categories.csv`.
"""
TEXT_FOLDS = """
As the table of rows trained on the other set, but by folds, which hold out both images of a pair.
For each fold, members are chosen by networks trained without it and one of the four others, which
they predict, and are then trained on all four. Scores are means over 5 folds, and each seed cuts
its own folds; *folds joined*: held-out pairs of all folds scored as one vector, whose square is
less raised by chance than that of a fold's few pairs; in brackets, lowest and highest of three
seeds. *p* takes the networks of each fold as they are, and is somewhat too small.
"""


def score_other_set(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate], choice: dict[str, Any]
) -> tuple[list[list[Any]], dict[tuple[int, str], np.ndarray]]:
    """Rows of each set predicted by networks trained on the other, and these predictions."""
    rows, mean_predicted = [], {}
    for scored, images in sets.items():
        (other,) = (name for name in sets if name != scored)
        parts = [Part(seed, EVERY, EVERY, choice[f"{other}"]) for seed in SEEDS]
        predicted = predict_chosen(run, sets[other], images.pairs, parts, candidates)
        rows += score_targets(f"{scored}", f"{other}", images, parts, predicted)
        mean_predicted |= {(scored, t): np.mean(found, axis=0) for t, found in predicted.items()}
    return rows, mean_predicted


def score_folds(
    run: Runner,
    n_images: int,
    images: Images,
    candidates: dict[str, Candidate],
    choice: dict[str, Any],
) -> list[list[Any]]:
    """Rows of a set predicted fold by fold, by networks trained on its other folds."""
    parts = [
        Part(fold[0], *pairs, choice[fold_name(f"{n_images}", fold)])
        for fold, pairs in named_folds(run, images).items()
    ]
    predicted = predict_chosen(run, images, images.pairs, parts, candidates)
    return score_targets(f"{n_images}", f"{n_images}, folds", images, parts, predicted)


def score_targets(
    scored: str,
    trained_on: str,
    images: Images,
    parts: list[Part],
    predicted: dict[str, list[np.ndarray]],
) -> list[list[Any]]:
    rows = []
    for target, dissim in images.dissim.items():
        numbers = summarise(images.pairs, dissim, parts, predicted[target])
        members = describe_members([part.chosen[target] for part in parts])
        rows.append([scored, trained_on, target, *numbers, members])
        print(rows[-1], flush=True)
    return rows


@dataclass(frozen=True)
class Part:
    """Pairs that are trained on and predicted, and the networks chosen for that."""

    seed: int
    train: np.ndarray | slice
    test: np.ndarray | slice
    chosen: dict[str, Any]


def predict_chosen(
    run: Runner,
    train: Images,
    pairs: ImagePairs,
    parts: Sequence[Part],
    candidates: dict[str, Candidate],
) -> dict[str, list[np.ndarray]]:
    """For every target and part, the average of the members' predictions."""
    jobs, keys = [], []
    for number, part in enumerate(parts):
        for name in needed(part.chosen):
            jobs.append((candidates[name], train[part.train], pairs[part.test], part.seed))
            keys.append((number, name))
    found = {}
    for (number, name), results in zip(keys, run.predict_all(jobs), strict=True):
        for n_epochs, result in zip(candidates[name].epochs, results, strict=True):
            found[number, name, n_epochs] = result
    return {
        target: [
            np.mean([found[k, *member] for member in part.chosen[target]["members"]], axis=0)
            for k, part in enumerate(parts)
        ]
        for target in parts[0].chosen
    }


def needed(chosen: dict[str, Any]) -> list[str]:
    return sorted({name for one in chosen.values() for name, _ in one["members"]})


def no_more_epochs(
    chosen: dict[str, Any], candidates: dict[str, Candidate]
) -> dict[str, Candidate]:
    """Candidates that end after the last epoch that is read out."""
    epochs: dict[str, set[int]] = {}
    for one in chosen.values():
        for name, n_epochs in one["members"]:
            epochs.setdefault(name, set()).add(n_epochs)
    return {
        name: replace(candidates[name], epochs=tuple(sorted(each))) for name, each in epochs.items()
    }


def summarise(
    pairs: ImagePairs, dissim: np.ndarray, parts: Sequence[Part], predicted: list[np.ndarray]
) -> list[Any]:
    """The numbers of one row of the table, from percent of the ceiling to chance."""
    by_others, ceiling = noise_ceiling(dissim, convention="algonauts2019")
    by_seed: dict[int, list[np.ndarray]] = {}
    nulls: dict[Any, list[np.ndarray]] = {rdm_spearman_score: [], _squared: []}
    for number, (part, found) in enumerate(zip(parts, predicted, strict=True)):
        scored = dissim[part.test]
        by_seed.setdefault(part.seed, []).append(
            rdm_spearman_score(scored, found, subject_average=False)
        )
        if part.seed == SEEDS[0]:
            for metric, found_null in nulls.items():
                found_null.append(
                    rdm_permutation_test(
                        pairs[part.test], scored, found, scoring=metric, random_state=number
                    ).null_distribution
                )
    percents = [100 * float(np.mean(np.square(each))) / ceiling for each in by_seed.values()]
    averaged = joined = "-"
    if len(parts) == len(SEEDS):  # all seeds predict the same pairs
        average = _squared(dissim[parts[0].test], np.mean(predicted, axis=0))
        averaged = f"{100 * average / ceiling:.1f}"
    else:
        each = [100 * one / ceiling for one in _joined_scores(dissim, parts, predicted)]
        joined = f"{np.mean(each):.1f} ({min(each):.1f} - {max(each):.1f})"
    signed = [float(np.mean(each)) for each in by_seed.values()]
    null, chance = (np.mean(each, axis=0) for each in nulls.values())
    p_value = (1 + np.sum(null >= signed[0])) / (1 + len(null))
    return [
        f"{np.mean(percents):.1f}",
        f"{min(percents):.1f} - {max(percents):.1f}",
        averaged,
        joined,
        f"{100 * by_others / ceiling:.1f}",
        f"{np.mean(signed):.3f}",
        f"{p_value:.3f}",
        f"{100 * np.mean(chance) / ceiling:.1f}",
    ]


def _joined_scores(
    dissim: np.ndarray, parts: Sequence[Part], predicted: list[np.ndarray]
) -> list[float]:
    """Score the pairs of all folds as one vector, for every seed."""
    by_seed = [[k for k, part in enumerate(parts) if part.seed == seed] for seed in SEEDS]
    return [
        _squared(
            np.concatenate([dissim[parts[k].test] for k in folds]),
            np.concatenate([predicted[k] for k in folds]),
        )
        for folds in by_seed
    ]


def _squared(y_true: Any, y_pred: Any, *, subject_average: bool = True) -> Any:
    each = np.square(rdm_spearman_score(y_true, y_pred, subject_average=False))
    return float(np.mean(each)) if subject_average else each


def describe_members(chosen: list[dict[str, Any]]) -> str:
    """Members with the number of times they were chosen, over all folds."""
    names = [name for one in chosen for name, _ in one["members"]]
    return ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))


def draw(sets: dict[int, Images], predicted: dict[tuple[int, str], np.ndarray], path: Path) -> None:
    """Draw the mean observed matrix of each set and target beside the predicted one."""
    shape = 2 * len(sets), len(predicted) // len(sets)
    figure, axes = plt.subplots(*shape, figsize=(11, 11), layout="constrained", squeeze=False)
    for number, ((scored, target), dissim) in enumerate(predicted.items()):
        row, column = divmod(number, shape[1])
        above, below = axes[2 * row : 2 * row + 2, column]
        images = sets[scored]
        RDMDisplay.from_predictions(
            images.pairs, images.dissim[target], dissim, ax=[above, below], colorbar=False
        )
        above.set_title(f"{target}, {scored} images: observed", fontsize="small")
    figure.savefig(path, dpi=75)
    plt.close(figure)
    with Image.open(path) as whole:
        few_colours = whole.convert("RGB").quantize(32)
    few_colours.save(path, optimize=True)  # a quarter of the bytes


# predict


def predict(run: Runner, folder: str, background: str, out: str) -> None:
    """Write the RDMs of a folder of images, by networks trained on both sets."""
    start = time.time()
    sets, choice = load_sets(), json.loads(CHOICE.read_text())["new images"]
    both = join(list(sets.values()))
    new = ImagePairs(read_images(folder, 224), background=background)
    rdms = average_rdms(run, both, new, choice, CANDIDATES)
    write_submission(out, {name: rdms[target] for name, target in SUBMISSION.items()})
    for target in TARGETS:
        print(target, choice[target]["members"])
    print(f"{len(new.images)} images on {background}: {out}, {time.time() - start:.0f} s")


def write_submission(out: str, rdms: dict[str, np.ndarray]) -> None:
    """Write all matrices to one MATLAB file, which appears when it is whole."""
    partial = Path(f"{out}.part")
    with partial.open("wb") as file:
        savemat(file, rdms)
    partial.replace(out)


def join(sets: list[Images]) -> Images:
    """All image sets as one training set."""
    pairs = ImagePairs.concatenate([images.pairs for images in sets])
    dissim = {t: np.concatenate([images.dissim[t] for images in sets]) for t in sets[0].dissim}
    more = {name for images in sets for name in images.more_dissim}
    return Images(pairs, dissim, {name: join_known(sets, name) for name in sorted(more)})


def join_known(sets: list[Images], name: str) -> np.ndarray:
    """A measurement of all sets' pairs, NaN for sets without it."""
    known = [images.more_dissim.get(name) for images in sets]
    n_subjects = max(dissim.shape[1] for dissim in known if dissim is not None)
    return np.concatenate(
        [
            np.full((len(images.pairs), n_subjects), np.nan) if dissim is None else dissim
            for images, dissim in zip(sets, known, strict=True)
        ]
    )


def average_rdms(
    run: Runner,
    train: Images,
    new: ImagePairs,
    chosen: dict[str, Any],
    candidates: dict[str, Candidate],
) -> dict[str, np.ndarray]:
    """RDM of each target, from 0 to 1: the average over members."""
    part = Part(PREDICTION_SEED, EVERY, EVERY, chosen)
    shortest = no_more_epochs(chosen, candidates)
    rdms = {}
    for target, (dissim,) in predict_chosen(run, train, new, [part], shortest).items():
        low, high = dissim.min(), dissim.max()
        rdms[target] = new.to_rdms((dissim - low) / (high - low))
    return rdms


def run_simulated(run: Runner) -> None:
    """Every step on simulated data: that it runs, not how well it predicts."""
    sets = {}
    for seed, n_images in enumerate(SETS):
        data = make_rdm_regression(n_images=16, image_size=64, random_state=seed)
        pairs, dissim = ImagePairs.from_rdms(
            data.images, data.rdms, image_groups=data.image_groups, background="grey"
        )
        sets[n_images] = Images(pairs, {"simulated": dissim})
    sets[92].more_dissim["of one set"] = dissim[:, :2]
    trained_on = ("simulated", "of one set")
    tiny = Candidate("squeezenet1_1", "features.3", "features.0", 4, trained_on, (1, 2), None, 64)
    candidates = {"fire3": tiny, "fire4": replace(tiny, layer="features.4")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "choice.json"
        select(run, sets, candidates, file)
        choice = json.loads(file.read_text())
    rows, across = score_other_set(run, sets, candidates, choice)
    assert len(rows) == 2
    for n_images, images in sets.items():
        assert len(score_folds(run, n_images, images, candidates, choice)) == 1
    dissim = sets[92].dissim["simulated"]
    by_ranks = mean_score(mean_ranks([dissim]), [dissim[:, 0]])
    assert np.isclose(by_ranks, rdm_spearman_score(dissim, dissim[:, 0]))
    new = ImagePairs(sets[92].pairs.images[:5], background="white")
    rdms = average_rdms(run, join(list(sets.values())), new, choice["new images"], candidates)
    assert rdms["simulated"].shape == (5, 5)
    assert np.isfinite(rdms["simulated"]).all()
    with tempfile.TemporaryDirectory() as folder:
        draw(sets, across, Path(folder) / "matrices.png")
        write_submission(f"{folder}/submit.mat", dict.fromkeys(SUBMISSION, rdms["simulated"]))
        assert np.array_equal(loadmat(f"{folder}/submit.mat")["IT_RDMs"], rdms["simulated"])


if __name__ == "__main__":
    main()
