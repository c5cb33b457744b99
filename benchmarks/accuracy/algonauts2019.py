"""Predict the dissimilarities of the Algonauts Project 2019 by one fixed recipe.

Five twin networks on EfficientNet-Lite0; a target is predicted by the mean of one to three.
Beside the recipe stands the mean of six blocks that were not trained at all.

    python benchmarks/accuracy/algonauts2019.py evaluate   # each set from the other; the table
    python benchmarks/accuracy/algonauts2019.py predict --images FOLDER --background grey \
        --out submit.mat
    python benchmarks/accuracy/algonauts2019.py --fast     # both on simulated data, writes nothing

``predict`` trains on both image sets and writes the RDMs of any folder of images, in name order, in
the challenge's submission format. ``evaluate`` trains ten networks a seed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _report import write_report
from _sets import DIRECTIONS, PIXELS, TARGETS, Images, join, load_sets, simulate_sets
from joblib import Parallel, delayed
from scipy.io import loadmat, savemat
from sklearn.frozen import FrozenEstimator

from sklearn_rdm import (
    CalibratedRDMRegressor,
    ImagePairs,
    SiameseRDMRegressor,
    VotingRDMRegressor,
    read_images,
)
from sklearn_rdm.metrics import noise_ceiling, rdm_permutation_test, rdm_spearman_score

SUBMISSION = {
    "EVC_RDMs": "fmri_evc",
    "IT_RDMs": "fmri_it",
    "MEG_RDMs_early": "meg_early",
    "MEG_RDMs_late": "meg_late",
}
SEED = 0  # of predict
KEPT_MEMORY = 300_000_000  # bytes
COMMON: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "image_size": PIXELS,
}
EVC_AND_EARLY = ("fmri_evc", "meg_early")
EARLY_AND_LATE = ("meg_early", "meg_late")
IT_AND_LATE = ("fmri_it", "meg_late")
LOW: dict[str, Any] = {"spatial_pooling": 7, "noise_ratio": 1.0}
NETWORKS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "block 7": (EVC_AND_EARLY, {**LOW, "layer": "block7", "freeze_up_to": "block4"}),
    "blocks 5, 7, 10": (
        EVC_AND_EARLY,
        {**LOW, "layer": ("block5", "block7", "block10"), "freeze_up_to": "block4"},
    ),
    "blocks 2, 4, 7": (
        EVC_AND_EARLY,
        {**LOW, "layer": ("block2", "block4", "block7"), "freeze_up_to": "block2"},
    ),
    "blocks 5, 7, 10, MEG": (
        EARLY_AND_LATE,
        {**LOW, "layer": ("block5", "block7", "block10"), "freeze_up_to": "block4"},
    ),
    "block 14": (
        IT_AND_LATE,
        {"spatial_pooling": 2, "layer": "block14", "freeze_up_to": "block10"},
    ),
}
EARLY_VISION = ("block 7", "blocks 5, 7, 10", "blocks 2, 4, 7")
RECIPE = {
    "fmri_evc": EARLY_VISION,
    "meg_early": EARLY_VISION,
    "fmri_it": ("block 14",),
    "meg_late": ("block 14", "blocks 5, 7, 10, MEG"),
}
UNTRAINED = {"block2": 7, "block4": 7, "block7": 7, "block10": 7, "block12": 4, "block14": 2}
COLUMNS = (
    "scored",
    "target",
    "recipe, %",
    "seeds",
    "untrained, %",
    "other subjects, %",
    "recipe, r",
    "untrained, r",
    "p",
)
TEXT = """
Each set is predicted by networks trained on the other. *%*: 100 times the mean over 15 subjects of
Spearman's r squared, over the challenge's ceiling of the scored set; *r*: the signed mean.
*Recipe*: the mean of the predictions of a target's networks; *seeds*: lowest and highest mean over
seeds, of {seeds}. *Untrained*: the mean of six blocks of EfficientNet-Lite0 with ImageNet weights,
with reference. All distances have the mean and spread of the training pairs
(`CalibratedRDMRegressor`) before they are averaged. *Other subjects*: the mean of 14 measured
subjects for the 15th. The ceiling of MEG is that of matrices averaged over time. *p*: images
shuffled 1,000 times, one-sided, of the first seed.

The recipe, all of EfficientNet-Lite0, 10 epochs each. EVC and early MEG: the mean of three networks
of early blocks (7; 5, 7 and 10; 2, 4 and 7), trained on both targets with noise. IT: block 14,
trained on IT and late MEG. Late MEG: half that, half blocks 5, 7 and 10 trained on early and late
MEG with noise. Networks and averages were written down before these scores were computed, and none
was chosen by them; that early blocks with noise suit early vision, and late blocks late vision, was
known from earlier work on the same two sets.
"""

Job = tuple[str, Images, int]  # network, trained on, seed


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", nargs="?", choices=("evaluate", "predict"))
    parser.add_argument("--fast", action="store_true", help="both steps on simulated data")
    parser.add_argument("--images", help="folder of images to predict the RDMs of")
    parser.add_argument("--background", choices=("grey", "white", "black"), default="grey")
    parser.add_argument("--out", default="submit.mat")
    parser.add_argument("--n-seeds", type=int, default=1, help="of evaluate")
    parser.add_argument("--n-jobs", type=int, default=2)
    options = parser.parse_args(argv)
    keep_memory()
    if options.fast or "SKLEARN_RDM_DATA" not in os.environ:
        run_simulated()
    elif options.step == "evaluate":
        rows = evaluate(load_sets(), range(options.n_seeds), options.n_jobs)
        text = TEXT.format(seeds=options.n_seeds)
        write_report("algonauts2019", "Trained on the other set", text, COLUMNS, rows)
    elif options.step == "predict" and options.images:
        predict(options)
    else:
        parser.error("name a step: evaluate, or predict with --images FOLDER")


def keep_memory() -> None:
    """Let worker processes keep memory for the next step, which saves a tenth of their time.

    Read by glibc as a process starts: others do not know these variables.
    """
    for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD", "TOP_PAD"):
        os.environ.setdefault(f"MALLOC_{name}_", str(KEPT_MEMORY))


def fit_networks(jobs: Sequence[Job], n_jobs: int) -> list[FrozenEstimator]:
    """The trained networks, calibrated."""
    return list(Parallel(n_jobs=n_jobs, verbose=5)(delayed(fit_network)(*job) for job in jobs))


def fit_network(name: str, train: Images, seed: int) -> FrozenEstimator:
    targets, settings = NETWORKS[name]
    net = SiameseRDMRegressor(**COMMON, **settings, random_state=seed)
    return calibrated(net, train.pairs, train.subjects(targets))


def calibrated(net: SiameseRDMRegressor, train: ImagePairs, dissim: np.ndarray) -> FrozenEstimator:
    """A network trained on all subjects, on one scale for all networks.

    Scaled to the mean of the subjects, whose z-scores have the same spread for all targets.
    """
    trained = FrozenEstimator(net.fit(train, dissim))
    mean = dissim.mean(axis=1, keepdims=True)
    return FrozenEstimator(CalibratedRDMRegressor(trained).fit(train, mean))


def average(names: Sequence[str], fitted: dict[str, FrozenEstimator], train: Images) -> Any:
    """The mean of networks that are trained already."""
    members = [(name, fitted[name]) for name in names]
    return VotingRDMRegressor(members).fit(train.pairs, train.subjects(TARGETS))


def recipes(fitted: dict[str, FrozenEstimator], train: Images) -> dict[str, Any]:
    """What predicts each target; targets that share their networks share them here."""
    voting = {names: average(names, fitted, train) for names in set(RECIPE.values())}
    return {target: voting[names] for target, names in RECIPE.items()}


def untrained_mean(train: Images) -> Any:
    """The mean of several blocks with the weights that they came with."""
    one_target = train.subjects(TARGETS)
    fitted = {
        layer: calibrated(
            SiameseRDMRegressor(
                **COMMON | {"layer": layer, "spatial_pooling": pooling, "max_epochs": 0}
            ),
            train.pairs,
            one_target,
        )
        for layer, pooling in UNTRAINED.items()
    }
    return average(list(UNTRAINED), fitted, train)


def evaluate(sets: dict[int, Images], seeds: Sequence[int], n_jobs: int) -> list[list[Any]]:
    """Rows of each set predicted by networks trained on the other."""
    keys = [(way, seed, name) for way in DIRECTIONS for seed in seeds for name in NETWORKS]
    jobs = [(name, sets[train], seed) for (train, _), seed, name in keys]
    found = dict(zip(keys, fit_networks(jobs, n_jobs), strict=True))
    rows = []
    for way in DIRECTIONS:
        train, test = (sets[n_images] for n_images in way)
        untrained = untrained_mean(train).predict(test.pairs)
        by_seed = [recipes({name: found[way, s, name] for name in NETWORKS}, train) for s in seeds]
        for target in TARGETS:
            recipe = [models[target].predict(test.pairs) for models in by_seed]
            rows.append([way[1], target, *summarise(test, target, recipe, untrained)])
            print(rows[-1], flush=True)
    return rows


def summarise(
    test: Images, target: str, recipe: Sequence[np.ndarray], untrained: np.ndarray
) -> list[str]:
    """The figures of one row."""
    dissim = test.dissim[target]
    others, ceiling = noise_ceiling(dissim, convention="algonauts2019")
    percents = [100 * squared(dissim, each) / ceiling for each in recipe]
    shuffled = rdm_permutation_test(test.pairs, dissim, recipe[0], random_state=0)
    return [
        f"{np.mean(percents):.1f}",
        f"{min(percents):.1f} - {max(percents):.1f}",
        f"{100 * squared(dissim, untrained) / ceiling:.1f}",
        f"{100 * others / ceiling:.1f}",
        f"{np.mean([rdm_spearman_score(dissim, each) for each in recipe]):.3f}",
        f"{rdm_spearman_score(dissim, untrained):.3f}",
        f"{shuffled.pvalue:.3f}",
    ]


def squared(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    each = rdm_spearman_score(y_true, y_pred, subject_average=False)
    return float(np.mean(np.square(each)))


def predict(options: argparse.Namespace) -> None:
    """Write the RDMs of a folder of images, by networks trained on both sets."""
    start = time.perf_counter()
    new = ImagePairs(read_images(options.images, PIXELS), background=options.background)
    rdms = predict_rdms(join([*load_sets().values()]), new, options.n_jobs)
    write_submission(options.out, rdms)
    print(f"{len(new.images)} images: {options.out}, {time.perf_counter() - start:.0f} s")


def predict_rdms(train: Images, new: ImagePairs, n_jobs: int) -> dict[str, np.ndarray]:
    """RDM of each target, from 0 to 1."""
    jobs = [(name, train, SEED) for name in NETWORKS]
    fitted = dict(zip(NETWORKS, fit_networks(jobs, n_jobs), strict=True))
    models = recipes(fitted, train)
    predicted = {target: model.predict(new) for target, model in models.items()}
    return {t: new.to_rdms((d - d.min()) / np.ptp(d)) for t, d in predicted.items()}


def write_submission(out: str, rdms: dict[str, np.ndarray]) -> None:
    """Write all matrices to one MATLAB file, which appears when it is whole."""
    partial = Path(f"{out}.part")
    with partial.open("wb") as file:
        savemat(file, {name: rdms[target] for name, target in SUBMISSION.items()})
    partial.replace(out)


def run_simulated() -> None:
    """Both steps on simulated data: that they run, not how well they predict."""
    COMMON.update(backbone="squeezenet1_1", weights=None, image_size=64)
    for _, settings in NETWORKS.values():
        settings.update(layer="features.4", freeze_up_to="features.0")
    COMMON["max_epochs"] = 1
    UNTRAINED.clear()
    UNTRAINED["features.3"] = 4
    sets = simulate_sets()
    assert len(evaluate(sets, [SEED], n_jobs=1)) == 2 * len(TARGETS)
    new = ImagePairs(sets[92].pairs.images[:5], background="white")
    rdms = predict_rdms(join([*sets.values()]), new, n_jobs=1)
    with tempfile.TemporaryDirectory() as folder:
        write_submission(f"{folder}/submit.mat", rdms)
        written = loadmat(f"{folder}/submit.mat")
    for name, target in SUBMISSION.items():
        assert rdms[target].shape == (5, 5)
        assert np.array_equal(written[name], rdms[target])  # false for NaN


if __name__ == "__main__":
    main()
