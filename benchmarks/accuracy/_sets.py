"""The two image sets of Algonauts 2019, each with all that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_rdm import ImagePairs
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression

TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
SETS = (92, 118)
DIRECTIONS = ((118, 92), (92, 118))  # trained on, scored
PIXELS = 224


@dataclass(frozen=True)
class Images:
    """One image set with all its targets."""

    pairs: ImagePairs
    dissim: dict[str, np.ndarray]

    def subjects(self, targets: Sequence[str]) -> np.ndarray:
        """All subjects of these measurements, side by side."""
        return np.hstack([self.dissim[target] for target in targets])


def load_sets() -> dict[int, Images]:
    return {n_images: _load(n_images) for n_images in SETS}


def _load(n_images: int) -> Images:
    data = {target: fetch_algonauts2019(n_images, target, image_size=PIXELS) for target in TARGETS}
    dissim = {target: ImagePairs.from_rdms(d.images, d.rdms)[1] for target, d in data.items()}
    one = data[TARGETS[0]]
    pairs, _ = ImagePairs.from_rdms(one.images, one.rdms, background=one.background)
    return Images(pairs, dissim)


def simulate_sets() -> dict[int, Images]:
    """Sets of 15 images of 64 pixels, to see that a script runs."""
    return {n_images: _simulate(seed) for seed, n_images in enumerate(SETS)}


def _simulate(seed: int) -> Images:
    data = make_rdm_regression(n_images=15, image_size=64, random_state=seed)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms, background="grey")
    return Images(pairs, dict.fromkeys(TARGETS, dissim))


def join(sets: Sequence[Images]) -> Images:
    """All image sets as one training set."""
    dissim = {t: np.concatenate([images.dissim[t] for images in sets]) for t in TARGETS}
    return Images(ImagePairs.concatenate([images.pairs for images in sets]), dissim)
