"""The networks that algonauts2019.py chooses among, and how they are trained in parallel.

A module of its own, so that what worker processes are given can be found by its name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import joblib
import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklearn_rdm import CalibratedRDMRegressor, ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import fetch_algonauts2019, fetch_kriegeskorte92
from sklearn_rdm.losses import CorrelationLoss, WhitenedCorrelationLoss
from sklearn_rdm.model_selection import GroupImageKFold, ImageKFold
from sklearn_rdm.preprocessing import SubjectPooling

TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
SETS = (92, 118)
CATEGORY_FOLDS = 4  # of the eight categories, two in each
KEPT_MEMORY = 300_000_000  # bytes

Fold = tuple[np.ndarray, np.ndarray]  # training and test pairs


@dataclass(frozen=True)
class Candidate:
    """A network to be trained, and after how many epochs it may be read out."""

    backbone: str
    layer: str | tuple[str, ...]
    freeze_up_to: str
    spatial_pooling: int
    trained_on: tuple[str, ...]
    epochs: tuple[int, ...]
    weights: str | None = "DEFAULT"
    image_size: int = 224
    criterion: type[nn.Module] = CorrelationLoss
    subject_weight: str | None = None
    noise_ratio: float = 0.0


EARLY = ("fmri_evc", "meg_early")
EARLY_MEG = ("meg_early",)
MEG = ("meg_early", "meg_late")
LATE = ("fmri_it", "meg_late")
LATE_MEG = ("meg_late",)
LATE_FMRI = ("fmri_it",)
EVC = ("fmri_evc",)
MORE_IT = ("fmri_it", "human_it")  # the latter is known of the 92 images only
MORE_LATE = ("fmri_it", "meg_late", "human_it")
LITE0, LITE1, LITE2 = (f"efficientnet_lite{size}" for size in range(3))
CANDIDATES = {
    "Lite0 block7, EVC + early": Candidate(LITE0, "block7", "block4", 7, EARLY, (2, 5, 10)),
    "Lite0 block7, early": Candidate(LITE0, "block7", "block4", 7, EARLY_MEG, (2, 5, 12)),
    "Lite0 block10, EVC + early": Candidate(LITE0, "block10", "block7", 7, EARLY, (5, 12)),
    "Lite0 block10, early": Candidate(LITE0, "block10", "block7", 7, EARLY_MEG, (2, 5, 12)),
    "Lite2 block10, EVC + early": Candidate(LITE2, "block10", "block6", 7, EARLY, (2, 5, 12)),
    "Lite2 block10, early": Candidate(LITE2, "block10", "block6", 7, EARLY_MEG, (2, 5, 12)),
    "Lite2 block14, early": Candidate(LITE2, "block14", "block10", 7, EARLY_MEG, (5, 12)),
    "Lite0 block12, late": Candidate(LITE0, "block12", "block10", 4, LATE_MEG, (2, 5, 8)),
    "Lite0 block14, late": Candidate(LITE0, "block14", "block10", 2, LATE_MEG, (2, 5, 8)),
    "Lite2 block17, late": Candidate(LITE2, "block17", "block14", 4, LATE_MEG, (3, 8)),
    "Lite0 block14, IT": Candidate(LITE0, "block14", "block10", 2, LATE_FMRI, (2, 5, 8)),
    "Lite0 block14, IT + late": Candidate(LITE0, "block14", "block10", 2, LATE, (2, 5, 8)),
    "Lite2 block19, IT + late": Candidate(LITE2, "block19", "block14", 2, LATE, (2, 5, 8)),
    "Lite0 block7, EVC": Candidate(LITE0, "block7", "block4", 7, EVC, (2, 5, 10)),
    "Lite0 block7, late": Candidate(LITE0, "block7", "block4", 7, LATE_MEG, (5, 12)),
    "Lite0 block14, IT + human IT": Candidate(LITE0, "block14", "block10", 2, MORE_IT, (5, 10)),
    "Lite2 block10, EVC + early, reliability": Candidate(
        LITE2, "block10", "block6", 7, EARLY, (5, 12), subject_weight="reliability"
    ),
    "Lite0 block12, late, whitened": Candidate(
        LITE0, "block12", "block10", 4, LATE_MEG, (5, 12), criterion=WhitenedCorrelationLoss
    ),
    "Lite0 block14, IT + late, whitened": Candidate(
        LITE0, "block14", "block10", 2, LATE, (5, 10), criterion=WhitenedCorrelationLoss
    ),
    "Lite2 block19, IT + late, whitened": Candidate(
        LITE2, "block19", "block14", 2, LATE, (5, 10), criterion=WhitenedCorrelationLoss
    ),
    "Lite0 block14, IT + late + human IT, whitened": Candidate(
        LITE0, "block14", "block10", 2, MORE_LATE, (10, 20), criterion=WhitenedCorrelationLoss
    ),
    "Lite0 block10, early, longer": Candidate(LITE0, "block10", "block7", 7, EARLY_MEG, (20, 30)),
    "Lite0 block12, late, longer": Candidate(LITE0, "block12", "block10", 4, LATE_MEG, (12, 20)),
    "Lite0 block14, late, longer": Candidate(LITE0, "block14", "block10", 2, LATE_MEG, (12, 20)),
    "Lite1 block10, early": Candidate(LITE1, "block10", "block6", 7, EARLY_MEG, (5, 12, 20)),
    "Lite1 block10, EVC + early": Candidate(LITE1, "block10", "block6", 7, EARLY, (5, 12)),
    "Lite1 block17, late": Candidate(LITE1, "block17", "block14", 4, LATE_MEG, (3, 8)),
    "Lite1 block19, IT + late, whitened": Candidate(
        LITE1, "block19", "block14", 2, LATE, (5, 10), criterion=WhitenedCorrelationLoss
    ),
    "Lite0 block7, early, noise": Candidate(
        LITE0, "block7", "block4", 7, EARLY_MEG, (5, 12), noise_ratio=1.0
    ),
    "Lite1 block10, early, noise": Candidate(
        LITE1, "block10", "block6", 7, EARLY_MEG, (5, 12, 20), noise_ratio=1.0
    ),
    "Lite0 block7, EVC + early, noise": Candidate(
        LITE0, "block7", "block4", 7, EARLY, (2, 5, 10), noise_ratio=1.0
    ),
    "Lite0 block7, EVC, noise": Candidate(
        LITE0, "block7", "block4", 7, EVC, (2, 5, 10), noise_ratio=0.3
    ),
    "Lite0 block12, late, noise": Candidate(
        LITE0, "block12", "block10", 4, LATE_MEG, (5, 12), noise_ratio=0.3
    ),
    "Lite0 block14, IT + human IT, noise": Candidate(
        LITE0, "block14", "block10", 2, MORE_IT, (5, 10), noise_ratio=0.3
    ),
    "Lite0 blocks 5, 7, 10, EVC + early, noise": Candidate(
        LITE0, ("block5", "block7", "block10"), "block4", 7, EARLY, (5, 10, 20), noise_ratio=1.0
    ),
    "Lite1 blocks 7, 10, 14, early, noise": Candidate(
        LITE1,
        ("block7", "block10", "block14"),
        "block6",
        7,
        EARLY_MEG,
        (5, 12, 20),
        noise_ratio=1.0,
    ),
    "Lite0 blocks 7, 12, 14, late, noise": Candidate(
        LITE0, ("block7", "block12", "block14"), "block6", 4, LATE_MEG, (5, 12), noise_ratio=0.3
    ),
    **{
        f"Lite{net[-1]} blocks {', '.join(map(str, blocks))}, {what}, noise": Candidate(
            net,
            tuple(f"block{block}" for block in blocks),
            f"block{frozen}",
            pooling,
            targets,
            epochs,
            noise_ratio=noise,
        )
        for net, blocks, frozen, pooling, what, targets, epochs, noise in (
            (LITE0, (5, 7, 10), 4, 7, "early", EARLY_MEG, (10, 20, 30), 1.0),
            (LITE0, (2, 4, 7), 2, 7, "EVC + early", EARLY, (5, 10, 20), 1.0),
            (LITE0, (5, 7, 10), 4, 7, "early + late", MEG, (5, 10, 20), 1.0),
            (LITE0, (5, 7, 10), 4, 7, "late", LATE_MEG, (2, 5, 10), 1.0),
            (LITE0, (7, 10, 14), 6, 4, "early + late", MEG, (5, 10), 0.3),
            (LITE0, (10, 12, 14), 8, 2, "IT + late", LATE, (2, 5, 10), 0.3),
            (LITE0, (10, 12, 14), 8, 2, "IT + human IT", MORE_IT, (5, 10), 0.3),
            (LITE1, (7, 10, 14), 6, 7, "EVC + early", EARLY, (5, 12, 20), 1.0),
            (LITE1, (10, 14, 17), 8, 4, "late", LATE_MEG, (3, 8), 0.3),
            (LITE1, (14, 17, 19), 10, 2, "IT + late", LATE, (5, 10), 0.3),
            (LITE2, (6, 10, 14), 6, 7, "early", EARLY_MEG, (5, 12, 20), 1.0),
            (LITE2, (10, 14, 17), 8, 4, "late", LATE_MEG, (3, 8), 0.3),
        )
    },
}


@dataclass(frozen=True)
class Images:
    """One image set with all its targets, and what else may be trained on."""

    pairs: ImagePairs
    dissim: dict[str, np.ndarray]
    more_dissim: dict[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, rows: np.ndarray | slice) -> Images:
        return Images(
            self.pairs[rows],
            {name: y[rows] for name, y in self.dissim.items()},
            {name: y[rows] for name, y in self.more_dissim.items()},
        )

    def subjects(self, names: Sequence[str]) -> np.ndarray:
        """All subjects of these measurements, as far as this set has them, side by side."""
        known = self.dissim | self.more_dissim
        return np.hstack([known[name] for name in names if name in known])


def load_sets() -> dict[int, Images]:
    sets = {}
    for n_images in SETS:
        data = {name: fetch_algonauts2019(n_images, name, image_size=224) for name in TARGETS}
        first = data[TARGETS[0]]
        pairs, _ = ImagePairs.from_rdms(
            first.images,
            first.rdms,
            image_groups=first.image_groups,
            background=first.background,
        )
        dissim = {name: ImagePairs.from_rdms(d.images, d.rdms)[1] for name, d in data.items()}
        sets[n_images] = Images(pairs, dissim)
    for name in ("human_it", "monkey_it", "behaviour"):
        data = fetch_kriegeskorte92(name)  # the same 92 images in the same order
        _, sets[92].more_dissim[name] = ImagePairs.from_rdms(data.images, data.rdms)
    return sets


class Runner:
    """Trains candidates in parallel; keeps frozen activations and all predictions on disk."""

    def __init__(self, cache: str, n_jobs: int, n_folds: int = 5, device: str = "cpu") -> None:
        self.cache, self.n_jobs, self.n_folds, self.device = cache, n_jobs, n_folds, device
        self.predict = joblib.Memory(cache, verbose=0).cache(_predict, ignore=["cache"])

    def folds(self, images: Images, seed: int) -> list[Fold]:
        """Training and test pairs: every seed has its own folds."""
        splitter = ImageKFold(self.n_folds, shuffle=True, random_state=seed)
        return list(splitter.split(images.pairs))

    def category_folds(self, images: Images, seed: int) -> list[Fold]:
        """As ``folds``, but every fold holds out whole categories."""
        splitter = GroupImageKFold(CATEGORY_FOLDS, shuffle=True, random_state=seed)
        return list(splitter.split(images.pairs))

    def predict_all(self, jobs: Sequence[tuple]) -> list[list[np.ndarray]]:
        """Predictions after each of a candidate's epochs, on one scale for all networks.

        A job is (candidate, training images, pairs to predict, seed).
        """
        # The longest first: workers then end at nearly the same time.
        order = sorted(range(len(jobs)), key=lambda k: -_training_time(jobs[k][0]))
        found = Parallel(n_jobs=self.n_jobs, verbose=5)(
            delayed(self.predict)(*jobs[k], self.device, self.cache) for k in order
        )
        by_job = dict(zip(order, found, strict=True))
        return [by_job[k] for k in range(len(jobs))]


def _training_time(candidate: Candidate) -> int:
    """Roughly, in epochs of a network of one layer."""
    several = not isinstance(candidate.layer, str)
    return candidate.epochs[-1] * (2 if several else 1)


def keep_memory() -> None:
    """Let worker processes keep memory for the next step, which saves a tenth of their time.

    Read by glibc as a process starts: others do not know these variables.
    """
    for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD", "TOP_PAD"):
        os.environ.setdefault(f"MALLOC_{name}_", str(KEPT_MEMORY))


def _predict(
    candidate: Candidate, train: Images, pairs: ImagePairs, seed: int, device: str, cache: str
) -> list[np.ndarray]:
    net = SiameseRDMRegressor(
        candidate.backbone,
        candidate.layer,
        weights=candidate.weights,
        freeze_up_to=candidate.freeze_up_to,
        spatial_pooling=candidate.spatial_pooling,
        noise_ratio=candidate.noise_ratio,
        image_size=candidate.image_size,
        reference="background",
        criterion=candidate.criterion,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        batch_size=48,
        subject_pooling=SubjectPooling("zscore", subject_weight=candidate.subject_weight),
        memory=cache,
        device=device,
        random_state=seed,
    )
    dissim = train.subjects(candidate.trained_on)
    # Pooled alone, so that it has the same scale for all networks.
    one_target = np.nanmean(dissim, axis=1, keepdims=True)
    predicted = []
    for n_epochs in np.diff((0, *candidate.epochs)):
        net.set_params(max_epochs=int(n_epochs)).partial_fit(train.pairs, dissim)
        scaled = CalibratedRDMRegressor(FrozenEstimator(net)).fit(train.pairs, one_target)
        predicted.append(scaled.predict(pairs))
    return predicted
