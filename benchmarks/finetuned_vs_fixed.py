"""Compare fine-tuned and fixed layers on the dissimilarities of held-out images.

Image-wise 5-fold cross-validation on the Algonauts 2019 92-image set, for all four targets. The
fine-tuned network's layer, freezing depth and learning rate are chosen in each outer fold by an
inner image-wise search on its training images; the fixed layer is the best on the *scored* pairs,
which favours the baseline. Without SKLEARN_RDM_DATA, and with --fast, simulated data are used.

    python benchmarks/finetuned_vs_fixed.py            # about half an hour on 2 cores
    python benchmarks/finetuned_vs_fixed.py --fast     # a minute, writes nothing
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CorrelationLoss,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_spearman_scorer,
)
from sklearn_rdm.model_selection import ImageKFold

BACKBONE = "efficientnet_lite0"
TARGETS = ("fmri_evc", "fmri_it", "meg_early", "meg_late")
LAYERS = ("block2", "block4", "block7", "block10", "block13", "block14", "head")
REFERENCES = (None, "white")  # the 92 objects were shown on white
GRID = [
    {"layer": ["block7"], "freeze_up_to": ["block4"], "lr": [3e-4, 1e-3]},
    {"layer": ["block14"], "freeze_up_to": ["block10"], "lr": [3e-4, 1e-3]},
]
COLUMNS = (
    "target",
    "fine-tuned",
    "best fixed layer",
    "which layer",
    "lower ceiling",
    "upper ceiling",
    "p (permuted images)",
)
TEXT = f"""
Mean over 15 subjects of Spearman's correlation of observed and predicted dissimilarities of pairs
of held-out images, mean over 5 image-wise folds; 92-image set of Algonauts 2019; EfficientNet-Lite0
with ImageNet weights.

*Fine-tuned*: `CorrelationLoss`, AdamW, 12 epochs, `reference="white"`; read-out, freezing depth and
learning rate chosen in each outer fold by 3 inner image-wise folds on its training images, among
{[dict(c) for c in GRID]}. *Best fixed layer*: the same network untrained, the best of layers
{list(LAYERS)} with and without the white reference, looked up on the scored pairs, which favours
it. *Ceiling*: rsatoolbox's bounds, of the same pairs. *p*: one-sided, 1,000 relabellings of the
images of each fold's predicted pairs.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    fast = parser.parse_args(argv).fast or "SKLEARN_RDM_DATA" not in os.environ
    rows = []
    with tempfile.TemporaryDirectory() as memory:
        for target, pairs, dissim in load(fast):
            rows.append(compare(target, pairs, dissim, memory, fast))
            print(dict(zip(COLUMNS, rows[-1], strict=True)), flush=True)
    for target, finetuned, fixed, *_ in rows:
        assert finetuned > fixed, f"{target}: {finetuned:.3f} is not above {fixed:.3f}"
    if not fast:
        from _report import write_report

        write_report("finetuned_vs_fixed", "Fine-tuned against fixed layers", TEXT, COLUMNS, rows)


def load(fast: bool) -> Iterator[tuple[str, ImagePairs, np.ndarray]]:
    if fast:
        data = make_rdm_regression(n_images=40, random_state=0)
        yield "simulated", *ImagePairs.from_rdms(data.images, data.rdms)
        return
    for target in TARGETS:
        data = fetch_algonauts2019(92, target)
        yield target, *ImagePairs.from_rdms(data.images, data.rdms)


def compare(
    target: str, pairs: ImagePairs, dissim: np.ndarray, memory: str, fast: bool
) -> list[Any]:
    """One row of the table."""
    references = REFERENCES[:1] if fast else REFERENCES
    search = GridSearchCV(
        SiameseRDMRegressor(
            BACKBONE,
            reference=references[-1],
            criterion=CorrelationLoss,
            optimizer=torch.optim.AdamW,
            batch_size=48,
            max_epochs=12,
            memory=memory,
            random_state=0,
        ),
        GRID[0] if fast else GRID,
        cv=ImageKFold(3, shuffle=True, random_state=1),
        scoring=rdm_spearman_scorer,
    )
    folds = list(ImageKFold(2 if fast else 5, shuffle=True, random_state=0).split(pairs))
    held_out = np.full(len(pairs), np.nan)
    for train, test in folds:
        held_out[test] = search.fit(pairs[train], dissim[train]).predict(pairs[test])
        print(target, search.best_params_, flush=True)
    fixed = {
        f"{layer}, reference {reference}": fixed_scores(pairs, dissim, folds, layer, reference)
        for layer in LAYERS
        for reference in references
    }
    best = max(fixed, key=lambda name: np.mean(fixed[name]))
    tests = [test for _, test in folds]
    ceilings = [
        noise_ceiling(dissim[test], convention="rsatoolbox", metric="spearman") for test in tests
    ]
    null = rdm_permutation_test(
        pairs[np.concatenate(tests)],
        dissim[np.concatenate(tests)],
        held_out[np.concatenate(tests)],
        n_permutations=1000,
        random_state=0,
    )
    finetuned = np.mean([rdm_spearman_score(dissim[test], held_out[test]) for test in tests])
    return [
        target,
        float(finetuned),
        float(np.mean(fixed[best])),
        best,
        *np.mean(ceilings, axis=0).tolist(),
        float(null.pvalue),
    ]


def fixed_scores(
    pairs: ImagePairs, dissim: np.ndarray, folds: Any, layer: str, reference: str | None
) -> list[float]:
    """Score a layer of the untrained network on the pairs of each fold."""
    model = make_pipeline(
        LayerActivations(BACKBONE, layer, reference=reference), FixedRSARegressor("correlation")
    )
    predicted = model.fit(pairs, dissim).predict(pairs)
    return [rdm_spearman_score(dissim[test], predicted[test]) for _, test in folds]


if __name__ == "__main__":
    main()
