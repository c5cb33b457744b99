"""Scores of all models of a report, beside chance and the noise ceiling."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_rdm._displays import RDMScoresDisplay
from sklearn_rdm._displays._drawing import score_label
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._report._page import Section, figure, paragraph, table
from sklearn_rdm.metrics import noise_ceiling, rdm_bootstrap, rdm_permutation_test

__all__ = ["ModelScore", "Scores", "compute_scores"]

CHANCE = 0.95  # quantile of the scores after shuffling images


@dataclass(frozen=True)
class ModelScore:
    """The score of one model, its interval over images, and chance."""

    name: str
    score: float
    low: float
    high: float
    chance: float
    pvalue: float


@dataclass(frozen=True)
class Scores:
    """Scores of models by the same measure, of the same pairs."""

    scoring: str
    models: list[ModelScore]
    ceiling: tuple[float, float] | None

    def __str__(self) -> str:
        width = max(len(model.name) for model in self.models)
        lines = [
            f"{m.name:{width}}  {m.score:.3f}  ({m.low:.3f} to {m.high:.3f}, p = {m.pvalue:.3f})"
            for m in self.models
        ]
        return "\n".join([*lines, self.bounds])

    @property
    def bounds(self) -> str:
        """The ceiling in words."""
        if self.ceiling is None:
            return (
                "No noise ceiling: it needs two subjects or more with pairs in common, and a score "
                "that is not a share of it."
            )
        return "Noise ceiling: {:.3f} to {:.3f}".format(*self.ceiling)

    def section(self) -> Section:
        """Table and figure."""
        by_chance = "; ".join(f"{m.name}: {m.chance:.3f}" for m in self.models)
        rows = [[m.name, m.score, f"{m.low:.3f} to {m.high:.3f}", m.pvalue] for m in self.models]
        alt = "; ".join(f"{m.name} {m.score:.3f}" for m in self.models)
        return Section(
            "scores",
            "Scores",
            [
                table(
                    f"{score_label(self.scoring)} of these pairs, mean over subjects",
                    ["Model", "Score", "95 % interval over images", "p, images shuffled"],
                    rows,
                ),
                paragraph(f"{self.bounds} (what the best possible model would reach)."),
                paragraph(f"Chance, 95th percentile with images shuffled: {by_chance}."),
                figure(
                    self._draw(),
                    f"Bars of the scores: {alt}. {self.bounds}",
                    "Scores, their 95 % intervals over images, the noise ceiling and chance.",
                ),
            ],
        )

    def _draw(self) -> Any:
        # percentiles of a bootstrap need not enclose the score itself, which bars must have
        errors = [(min(m.low, m.score), max(m.high, m.score)) for m in self.models]
        display = RDMScoresDisplay(
            [m.score for m in self.models],
            names=[m.name for m in self.models],
            errors=errors,
            noise_ceiling=self.ceiling,
            null=[m.chance for m in self.models],
        )
        label = score_label(self.scoring)
        return display.plot(score_name=label, null_name="95th percentile of chance").figure_


def compute_scores(
    pairs: ImagePairs,
    y: np.ndarray,
    predictions: dict[str, np.ndarray],
    scoring: str,
    n_draws: int,
    random_state: Any,
) -> Scores:
    """Score predictions by name."""
    draws = {"scoring": scoring, "random_state": random_state}
    models = []
    for name, predicted in predictions.items():
        null = rdm_permutation_test(pairs, y, predicted, n_permutations=n_draws, **draws)
        boot = rdm_bootstrap(pairs, y, predicted, over="images", n_resamples=n_draws, **draws)
        low, high = map(float, boot.confidence_interval)
        known = null.null_distribution[~np.isnan(null.null_distribution)]
        chance = float(np.quantile(known, CHANCE)) if len(known) else np.nan
        models.append(ModelScore(name, null.score, low, high, chance, null.pvalue))
    return Scores(scoring, models, _ceiling(pairs, y, scoring))


def _ceiling(pairs: ImagePairs, y: np.ndarray, scoring: str) -> tuple[float, float] | None:
    with contextlib.suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        lower, upper = map(float, noise_ceiling(y, scoring=scoring, pairs=pairs))
        return (lower, upper) if np.isfinite([lower, upper]).all() else None
    return None
