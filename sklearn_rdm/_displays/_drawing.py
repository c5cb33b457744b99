"""What all displays share: matplotlib itself, axes, colours of missing values, legends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_rdm._pairs._extras import import_optional

NEUTRAL = "0.85"  # light grey: no value here
SCORE_NAMES = {
    "spearman": "Spearman's r",
    "pearson": "Pearson's r",
    "kendall_tau_a": "Kendall's tau-a",
    "rho_a": "rho-a",
    "whitened_pearson": "whitened Pearson's r",
    "whitened_cosine": "whitened cosine",
    "noise_normalized_r2": "noise-normalised R2",
}


def pyplot() -> Any:
    return import_optional("matplotlib.pyplot", "plot")


def score_label(scoring: str) -> str:
    """What a score is called on an axis, by the name of its scorer."""
    return SCORE_NAMES.get(scoring.removeprefix("rdm_"), scoring)


def one_axes(ax: Any, figsize: tuple[float, float]) -> Any:
    plt = pyplot()
    return plt.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def panels(
    ax: Any, n_panels: int, a_row: int, what: str, inches: Callable, **options: Any
) -> np.ndarray:
    """As many axes as panels, those given or new ones; ``inches`` are those of columns and rows."""
    if ax is not None:
        axes = np.array(ax, dtype=object).ravel()
        if len(axes) != n_panels:
            raise ValueError(f"{n_panels} {what} need {n_panels} axes, got {len(axes)}.")
        return axes
    columns = min(n_panels, a_row)
    rows = -(-n_panels // columns)
    size = inches(columns, rows)
    axes = pyplot().subplots(rows, columns, figsize=size, squeeze=False, **options)[1].ravel()
    for spare in axes[n_panels:]:
        spare.remove()
    return axes[:n_panels]


def image_style() -> dict[str, Any]:
    cmap = pyplot().get_cmap("viridis").with_extremes(bad=NEUTRAL)
    return {"cmap": cmap, "interpolation": "nearest"}


def legend_above(ax: Any) -> None:
    """Put the legend over the axes, in as few rows as their width allows, of one length."""
    inches = ax.get_position().width * ax.figure.get_figwidth()
    n_entries = len(ax.get_legend_handles_labels()[1])
    n_rows = math.ceil(n_entries / max(1, int(inches / 1.25)))
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=math.ceil(n_entries / n_rows),
        frameon=False,
        fontsize="small",
        handletextpad=0.4,
        columnspacing=1.2,
    )
