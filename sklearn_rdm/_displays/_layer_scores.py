"""Scores of layers against several targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_rdm._displays._drawing import one_axes, panels
from sklearn_rdm._displays._embedding import GROUP_COLORS

COLUMNS = ("target", "layer", "score", "ceiling_lower", "ceiling_upper", "chance")
PANELS_A_ROW = 3
LEGEND_ROOM = 0.35  # of the height that scores and ceiling take


class LayerScoresDisplay:
    """The score of every layer, one panel per target, with its noise ceiling and chance.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`score_layers` returns: one row per target and layer, with the columns
        ``target``, ``layer``, ``score``, ``ceiling_lower``, ``ceiling_upper`` and ``chance``; NaN
        where there is no ceiling, or chance was not computed.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_targets,)
        One panel per target.
    lines_ : list of matplotlib Line2D
        The scores.
    ceilings_ : list of matplotlib Patch or None
        The bands of the noise ceilings.
    chances_ : list of matplotlib Line2D or None
        The lines of chance.
    figure_ : matplotlib Figure
        The figure that holds the axes.

    See Also
    --------
    score_layers : Makes the table.
    LayerEpochDisplay : Layers of a network that is trained, by epoch.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_rdm import LayerScoresDisplay
    >>> table = pd.DataFrame(
    ...     {
    ...         "target": "early visual cortex",
    ...         "layer": ["conv1", "conv2"],
    ...         "score": [0.2, 0.3],
    ...         "ceiling_lower": 0.4,
    ...         "ceiling_upper": 0.5,
    ...         "chance": 0.05,
    ...     }
    ... )
    >>> LayerScoresDisplay(table).plot().axes_[0].get_title()
    'early visual cortex'
    """

    def __init__(self, table: Any) -> None:
        self.table = table

    def plot(self, ax: Any = None, *, score_name: str = "Spearman's r") -> LayerScoresDisplay:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one per target; None makes a new figure.
        score_name : str, default="Spearman's r"
            Label of the axis of scores.

        Returns
        -------
        display : LayerScoresDisplay
            This object.

        Raises
        ------
        ValueError
            If the table is empty or a column is missing, or there is not one axes per target.
        """
        missing = [name for name in COLUMNS if name not in self.table]
        if missing or len(self.table) == 0:
            raise ValueError(
                f"the table must be one of score_layers, with rows and the columns {COLUMNS}: it "
                f"has {len(self.table)} rows, and no columns {missing}."
            )
        targets = list(self.table.groupby("target", sort=False))
        self.axes_ = _panels(ax, len(targets), int(self.table["layer"].nunique()))
        self.figure_ = self.axes_[0].figure
        drawn = [_draw(a, *target) for a, target in zip(self.axes_, targets, strict=True)]
        self.lines_, self.ceilings_, self.chances_ = map(list, zip(*drawn, strict=True))
        self.axes_[0].set_ylabel(score_name)
        _add_legend(self.axes_[0])
        return self


def _panels(ax: Any, n_targets: int, n_layers: int) -> np.ndarray:
    if ax is None and n_targets == 1:
        ax = one_axes(None, (max(4.0, 1.5 + 0.3 * n_layers), 3.6))

    def inches(columns: int, rows: int) -> tuple[float, float]:
        return columns * max(2.6, 0.8 + 0.2 * n_layers) + 0.6, 3.4 * rows

    options = {"sharey": True, "layout": "constrained"}
    return panels(ax, n_targets, PANELS_A_ROW, "targets", inches, **options)


def _add_legend(ax: Any) -> None:
    """Above scores and ceiling, which it would hide: the axis is made longer for it."""
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + LEGEND_ROOM * (top - bottom))
    ax.legend(loc="upper right", frameon=False, fontsize="small")


def _draw(ax: Any, target: Any, rows: Any) -> tuple[Any, Any, Any]:
    at = np.arange(len(rows))
    ceiling = chance = None
    lower, upper = rows["ceiling_lower"].iloc[0], rows["ceiling_upper"].iloc[0]
    if np.isfinite([lower, upper]).all():
        ceiling = ax.axhspan(lower, upper, color="0.8", lw=0, zorder=0, label="noise ceiling")
    if rows["chance"].notna().any():
        (chance,) = ax.plot(
            at, rows["chance"], color="#D55E00", ls="--", lw=1.4, label="95th percentile of chance"
        )
    (line,) = ax.plot(at, rows["score"], "o-", color=GROUP_COLORS[0], label="layer")
    ax.axhline(0, color="k", lw=0.8)
    ax.set_title(str(target), fontsize="medium")
    ax.set_xticks(at, list(map(str, rows["layer"])), rotation=60, ha="right", fontsize="small")
    for text in ax.get_xticklabels():
        text.set_rotation_mode("anchor")
    ax.spines[["top", "right"]].set_visible(False)
    return line, ceiling, chance
