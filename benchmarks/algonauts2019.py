"""Predict the dissimilarities of the Algonauts Project 2019, every choice made by image-wise folds.

Several twin networks, which differ in depth and in the measurements they are trained on, are
trained for some epochs. Which of them, after how many epochs, are averaged to predict a target is
chosen on images held out from the training set of each row of the tables: never on what is scored.

    python benchmarks/algonauts2019.py select      # writes algonauts2019_choice.json; an hour
    python benchmarks/algonauts2019.py evaluate    # writes the tables; half an hour
    python benchmarks/algonauts2019.py predict --images FOLDER --background grey --out submit.mat
    python benchmarks/algonauts2019.py --fast      # all three on simulated data, writes nothing

``predict`` trains what was chosen on both training sets and writes the RDMs of any folder of
images, in name order, in the challenge's submission format.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import PACKAGES, write_report
from joblib import Parallel, delayed
from scipy.io import loadmat, savemat

from sklearn_rdm import CorrelationLoss, ImagePairs, SiameseRDMRegressor, read_images
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_permutation_test,
    rdm_spearman_score,
)
from sklearn_rdm.model_selection import ImageKFold

CHOICE = Path(__file__).parent / "algonauts2019_choice.json"
TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
SUBMISSION = {
    "EVC_RDMs": "fmri_evc",
    "IT_RDMs": "fmri_it",
    "MEG_RDMs_early": "meg_early",
    "MEG_RDMs_late": "meg_late",
}
SETS = (92, 118)
SEEDS = (0, 1, 2)
MOST_MEMBERS = 5


@dataclass(frozen=True)
class Candidate:
    """A network to be trained, and after how many epochs it may be read out."""

    backbone: str
    layer: str
    freeze_up_to: str
    spatial_pooling: int
    trained_on: tuple[str, ...]
    epochs: tuple[int, ...] = (2, 5, 8)
    weights: str | None = "DEFAULT"
    image_size: int = 224


def _candidates(
    backbone: str, layer: str, freeze_up_to: str, spatial_pooling: int, *trained_on: str
) -> dict[str, Candidate]:
    return {
        f"{backbone} {layer}, {targets}": Candidate(
            f"efficientnet_{backbone}",
            layer,
            freeze_up_to,
            spatial_pooling,
            tuple(targets.split(" + ")),
        )
        for targets in trained_on
    }


EARLY = ("fmri_evc", "fmri_evc + meg_early", "meg_early", "meg_late")
LATE = ("fmri_it", "fmri_it + meg_late", "meg_late")
CANDIDATES = {
    **_candidates("lite0", "block7", "block4", 7, *EARLY),
    **_candidates("lite0", "block10", "block7", 7, "meg_early"),
    **_candidates("lite0", "block12", "block10", 4, "meg_late"),
    **_candidates("lite0", "block14", "block10", 2, *LATE),
    **_candidates("lite2", "block10", "block6", 7, "fmri_evc + meg_early", "meg_early"),
    **_candidates("lite2", "block19", "block14", 2, *LATE[1:]),
}


@dataclass(frozen=True)
class Images:
    """One image set with all its targets."""

    pairs: ImagePairs
    dissim: dict[str, np.ndarray]

    def __getitem__(self, rows: np.ndarray) -> Images:
        return Images(self.pairs[rows], {name: y[rows] for name, y in self.dissim.items()})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", nargs="?", choices=("select", "evaluate", "predict"))
    parser.add_argument("--fast", action="store_true", help="all steps on simulated data")
    parser.add_argument("--images", help="folder of images to predict the RDMs of")
    parser.add_argument("--background", choices=("grey", "white", "black"), default="grey")
    parser.add_argument("--out", default="submit.mat")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as memory:
        run = Runner(memory, options.n_jobs)
        if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
            run_simulated(Runner(memory, 1, n_outer=2, n_inner=2))
        elif options.step == "select":
            select(run, load_sets(), CANDIDATES, CHOICE)
        elif options.step == "evaluate":
            evaluate(run, load_sets(), CANDIDATES, json.loads(CHOICE.read_text()))
        elif options.step == "predict" and options.images:
            predict(run, options.images, options.background, options.out)
        else:
            parser.error("name a step: select, evaluate, or predict with --images FOLDER")


def load_sets() -> dict[int, Images]:
    sets = {}
    for n_images in SETS:
        data = {name: fetch_algonauts2019(n_images, name, image_size=224) for name in TARGETS}
        first = data[TARGETS[0]]
        pairs, _ = ImagePairs.from_rdms(first.images, first.rdms, background=first.background)
        dissim = {name: ImagePairs.from_rdms(d.images, d.rdms)[1] for name, d in data.items()}
        sets[n_images] = Images(pairs, dissim)
    return sets


class Runner:
    """Trains candidates in parallel, with frozen activations shared on disk."""

    def __init__(self, memory: str, n_jobs: int, n_outer: int = 5, n_inner: int = 3) -> None:
        self.memory, self.n_jobs = memory, n_jobs
        self.outer = ImageKFold(n_outer, shuffle=True, random_state=0)
        self.inner = ImageKFold(n_inner, shuffle=True, random_state=1)

    def predict_all(self, jobs: Sequence[tuple]) -> list[list[np.ndarray]]:
        """Predictions after each of a candidate's epochs.

        A job is (candidate, training images, pairs to predict, seed).
        """
        return Parallel(n_jobs=self.n_jobs, verbose=5)(
            delayed(_predict)(*job, self.memory) for job in jobs
        )


def _predict(
    candidate: Candidate, train: Images, pairs: ImagePairs, seed: int, memory: str
) -> list[np.ndarray]:
    net = SiameseRDMRegressor(
        candidate.backbone,
        candidate.layer,
        weights=candidate.weights,
        freeze_up_to=candidate.freeze_up_to,
        spatial_pooling=candidate.spatial_pooling,
        image_size=candidate.image_size,
        reference="background",
        criterion=CorrelationLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        batch_size=48,
        memory=memory,
        random_state=seed,
    )
    dissim = np.hstack([train.dissim[name] for name in candidate.trained_on])
    predicted = []
    for n_epochs in np.diff((0, *candidate.epochs)):
        net.set_params(max_epochs=int(n_epochs)).partial_fit(train.pairs, dissim)
        predicted.append(_standardised(net.predict(pairs)))
    return predicted


def _standardised(dissim: np.ndarray) -> np.ndarray:
    """Networks differ in the spread of their distances: each is to count alike in an average."""
    return (dissim - dissim.mean()) / dissim.std()


# select


def select(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate], file: Path
) -> None:
    """Choose members for every row of the tables, and for new images.

    Every choice is written when it is made: a run that was cut off goes on where it was.
    """
    choice = json.loads(file.read_text()) if file.exists() else {}

    def keep(name: str, make: Callable[[], dict[str, Any]]) -> None:
        if name not in choice:
            choice[name] = make()
            choice["made with"] = {
                "date": time.strftime("%Y-%m-%d"),
                "seed": SEEDS[0],
                "versions": {package: version(package) for package in PACKAGES},
            }
            file.write_text(json.dumps(choice, indent=1) + "\n")

    keep("new images", lambda: choose_across(run, sets, candidates))
    for name, images in sets.items():
        folds = list(run.outer.split(images.pairs))
        keep(f"{name}", lambda i=images, f=folds: choose_by_folds(run, i, f, candidates))
    for name, images in sets.items():
        for number, (train, _) in enumerate(run.outer.split(images.pairs)):
            part = images[train]
            folds = list(run.inner.split(part.pairs))
            keep(
                f"{name}, fold {number}",
                lambda p=part, f=folds: choose_by_folds(run, p, f, candidates),
            )


def choose_by_folds(
    run: Runner, images: Images, folds: Sequence[tuple], candidates: dict[str, Candidate]
) -> dict[str, Any]:
    """Choose by image-wise folds within one training set."""
    jobs = [
        (candidate, images[train], images.pairs[test], SEEDS[0])
        for candidate in candidates.values()
        for train, test in folds
    ]
    found = iter(run.predict_all(jobs))
    predicted = {}
    for name, candidate in candidates.items():
        by_fold = [next(found) for _ in folds]
        for k, n_epochs in enumerate(candidate.epochs):
            predicted[name, n_epochs] = [of_fold[k] for of_fold in by_fold]
    return {
        target: choose(predicted, [images.dissim[target][test] for _, test in folds])
        for target in images.dissim
    }


def choose_across(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate]
) -> dict[str, Any]:
    """Choose for new images: each set predicted by networks that saw the other set only."""
    directions = [(a, b) for a in sets.values() for b in sets.values() if a is not b]
    jobs = [
        (candidate, train, test.pairs, SEEDS[0])
        for candidate in candidates.values()
        for train, test in directions
    ]
    found = iter(run.predict_all(jobs))
    predicted = {}
    for name, candidate in candidates.items():
        both = [next(found) for _ in directions]
        for k, n_epochs in enumerate(candidate.epochs):
            predicted[name, n_epochs] = [one[k] for one in both]
    targets = next(iter(sets.values())).dissim
    return {
        target: choose(predicted, [test.dissim[target] for _, test in directions])
        for target in targets
    }


def choose(
    predicted: dict[tuple[str, int], list[np.ndarray]], observed: list[np.ndarray]
) -> dict[str, Any]:
    """Add the candidate that helps the average most, again and again (Caruana et al. 2004)."""
    members: list[tuple[str, int]] = []
    total = [np.zeros(len(y)) for y in observed]
    best = -np.inf
    while len(members) < MOST_MEMBERS:
        scores = {
            key: _mean_score(observed, [a + b for a, b in zip(total, found, strict=True)])
            for key, found in predicted.items()
        }
        key = max(scores, key=lambda name: scores[name])
        if scores[key] <= best:
            break
        best = scores[key]
        members.append(key)
        total = [a + b for a, b in zip(total, predicted[key], strict=True)]
    return {"members": members, "score": best}


def _mean_score(observed: list[np.ndarray], predicted: list[np.ndarray]) -> float:
    return float(
        np.mean([rdm_spearman_score(*both) for both in zip(observed, predicted, strict=True)])
    )


# evaluate


def evaluate(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate], choice: dict[str, Any]
) -> None:
    rows = score_rows(run, sets, candidates, choice)
    columns = (
        "scored",
        "trained on",
        "target",
        "% of ceiling",
        "seeds",
        "r",
        "p",
        "chance %",
        "members",
    )
    write_report("algonauts2019", "Algonauts 2019", TEXT, columns, rows)


TEXT = """
Every choice (network depth, measurements trained on, epoch, members of the average) was made by
image-wise folds within the training set of the row; see `benchmarks/algonauts2019_choice.json`.
EfficientNet-Lite0 with ImageNet weights, 224 px, reference: a blank of each set's background. *%
of ceiling*: 100 times the mean over 15 subjects of Spearman's r squared, over the challenge's
ceiling of the scored set; *seeds*: lowest and highest of three trainings; *r*: the signed mean
correlation; *p*: images shuffled 1,000 times, one-sided; *chance %*: the mean score of these.
Rows trained on folds hold out both images of a pair; their scores are means over 5 folds.
"""


def score_rows(
    run: Runner, sets: dict[int, Images], candidates: dict[str, Candidate], choice: dict[str, Any]
) -> list[list[Any]]:
    """Rows of the table: each set by networks trained on the other, then by its own folds."""
    rows = []
    for scored, images in sets.items():
        (other,) = (name for name in sets if name != scored)
        folds = list(run.outer.split(images.pairs))
        sources: dict[str, list[tuple]] = {
            f"{other}": [(sets[other], np.arange(len(images.pairs)), f"{other}")],
            f"{scored}, folds": [
                (images[train], test, f"{scored}, fold {number}")
                for number, (train, test) in enumerate(folds)
            ],
        }
        for trained_on, source in sources.items():
            if not all(name in choice for *_, name in source):
                print(f"{scored} by {trained_on}: not selected yet", flush=True)
                continue
            parts = [(train, test, choice[name]) for train, test, name in source]
            predicted = predict_chosen(run, images.pairs, parts, candidates)
            for target, dissim in images.dissim.items():
                tests = [test for _, test, _ in parts]
                rows.append(
                    [
                        f"{scored}",
                        trained_on,
                        target,
                        *summarise(images.pairs, dissim, tests, predicted[target]),
                        describe_members([chosen[target] for _, _, chosen in parts]),
                    ]
                )
                print(rows[-1], flush=True)
    return rows


def predict_chosen(
    run: Runner, pairs: ImagePairs, parts: Sequence[tuple], candidates: dict[str, Candidate]
) -> dict[str, list[list[np.ndarray]]]:
    """For every target, seed and part, the average of the members' predictions."""
    jobs, keys = [], []
    for number, (train, test, chosen) in enumerate(parts):
        for name in needed(chosen):
            epochs = epochs_needed(chosen, name)
            for seed in SEEDS:
                candidate = replace(candidates[name], epochs=epochs)
                jobs.append((candidate, train, pairs[test], seed))
                keys.append((number, name, seed, epochs))
    found = {}
    for (number, name, seed, epochs), results in zip(keys, run.predict_all(jobs), strict=True):
        for n_epochs, result in zip(epochs, results, strict=True):
            found[number, name, n_epochs, seed] = result
    return {
        target: [
            [
                np.mean([found[k, *member, seed] for member in chosen[target]["members"]], axis=0)
                for k, (_, _, chosen) in enumerate(parts)
            ]
            for seed in SEEDS
        ]
        for target in parts[0][2]
    }


def needed(chosen: dict[str, Any]) -> list[str]:
    return sorted({name for one in chosen.values() for name, _ in one["members"]})


def epochs_needed(chosen: dict[str, Any], name: str) -> tuple[int, ...]:
    return tuple(sorted({n for one in chosen.values() for m, n in one["members"] if m == name}))


def summarise(
    pairs: ImagePairs, dissim: np.ndarray, tests: list[np.ndarray], by_seed: list[list[np.ndarray]]
) -> list[Any]:
    """Percent of the ceiling and its range over seeds, signed r, p and percent by chance."""
    _, ceiling = noise_ceiling(dissim, convention="algonauts2019")
    percents, signed = [], []
    for predicted in by_seed:
        each = [
            rdm_spearman_score(dissim[test], part, subject_average=False)
            for test, part in zip(tests, predicted, strict=True)
        ]
        percents.append(100 * float(np.mean(np.square(each))) / ceiling)
        signed.append(float(np.mean(each)))
    scored = np.concatenate(tests)
    null = rdm_permutation_test(
        pairs[scored],
        dissim[scored],
        np.concatenate([np.mean(part, axis=0) for part in zip(*by_seed, strict=True)]),
        n_permutations=1000,
        random_state=0,
    )
    chance = rdm_permutation_test(
        pairs[scored],
        dissim[scored],
        np.concatenate(by_seed[0]),
        metric=_squared,
        n_permutations=1000,
        random_state=0,
    )
    return [
        f"{np.mean(percents):.1f}",
        f"{min(percents):.1f} - {max(percents):.1f}",
        f"{np.mean(signed):.3f}",
        f"{null.pvalue:.3f}",
        f"{100 * chance.expected_score / ceiling:.1f}",
    ]


def _squared(y_true: Any, y_pred: Any, *, subject_average: bool = True) -> Any:
    each = np.square(rdm_spearman_score(y_true, y_pred, subject_average=False))
    return float(np.mean(each)) if subject_average else each


def describe_members(chosen: list[dict[str, Any]]) -> str:
    """Members with the number of times they were chosen, over all folds."""
    names = [name for one in chosen for name, _ in one["members"]]
    return ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))


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
    targets = sets[0].dissim
    return Images(
        pairs, {t: np.concatenate([images.dissim[t] for images in sets]) for t in targets}
    )


def average_rdms(
    run: Runner,
    train: Images,
    new: ImagePairs,
    chosen: dict[str, Any],
    candidates: dict[str, Candidate],
) -> dict[str, np.ndarray]:
    """RDM of each target: distances from 0 to 2, those of its members standardised and averaged."""
    predicted = predict_chosen(run, new, [(train, slice(None), chosen)], candidates)
    rdms = {}
    for target, by_seed in predicted.items():
        dissim = np.mean([parts[0] for parts in by_seed], axis=0)
        low, high = dissim.min(), dissim.max()
        rdms[target] = new.to_rdms((dissim - low) / (high - low))
    return rdms


def run_simulated(run: Runner) -> None:
    """Every step on simulated data: that it runs, not how well it predicts."""
    sets = {}
    for seed, n_images in enumerate(SETS):
        data = make_rdm_regression(n_images=14, image_size=64, random_state=seed)
        pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, background="grey")
        sets[n_images] = Images(pairs, {"simulated": dissim})
    tiny = Candidate("alexnet", "conv2", "conv1", 4, ("simulated",), (1, 2), None, 64)
    candidates = {"conv2": tiny, "conv3": replace(tiny, layer="conv3")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "choice.json"
        select(run, sets, candidates, file)
        choice = json.loads(file.read_text())
    rows = score_rows(run, sets, candidates, choice)
    assert len(rows) == 4
    new = ImagePairs(sets[92].pairs.images[:5], background="white")
    rdms = average_rdms(run, join(list(sets.values())), new, choice["new images"], candidates)
    assert rdms["simulated"].shape == (5, 5)
    assert np.isfinite(rdms["simulated"]).all()
    with tempfile.TemporaryDirectory() as folder:
        write_submission(f"{folder}/submit.mat", dict.fromkeys(SUBMISSION, rdms["simulated"]))
        assert np.array_equal(loadmat(f"{folder}/submit.mat")["IT_RDMs"], rdms["simulated"])


if __name__ == "__main__":
    main()
