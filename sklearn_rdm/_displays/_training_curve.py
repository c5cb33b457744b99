"""Losses of one training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from sklearn_rdm._displays._drawing import one_axes
from sklearn_rdm._displays._embedding import GROUP_COLORS

STYLES = ("o-", "s--", "^:", "D-.")  # told apart without colours
NAMES = {"train_loss": "training", "valid_loss": "validation"}


class TrainingCurveDisplay:
    """Training and validation loss by epoch, with the epoch that was kept.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    curves : dict of str to array-like of shape (n_epochs,)
        Values by epoch, by the name of the curve; NaN where there is none.
    epochs : array-like of shape (n_epochs,), default=None
        Their numbers; None counts from 1.
    chosen : int, default=None
        Number of the epoch whose weights were kept; None marks none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    lines_ : list of matplotlib Line2D
        One per curve.
    mark_ : matplotlib Line2D or None
        The line of the chosen epoch.
    figure_ : matplotlib Figure
        The figure that holds the axes.

    See Also
    --------
    LayerEpochDisplay : Scores of candidate layers by epoch.

    Examples
    --------
    >>> from sklearn_rdm import TrainingCurveDisplay
    >>> curves = {"training": [0.9, 0.6, 0.4], "validation": [0.9, 0.7, 0.8]}
    >>> display = TrainingCurveDisplay(curves, chosen=2).plot()
    >>> [line.get_label() for line in display.lines_]
    ['training', 'validation']
    """

    def __init__(
        self, curves: Mapping[str, Any], *, epochs: Any = None, chosen: int | None = None
    ) -> None:
        self.curves = curves
        self.epochs = epochs
        self.chosen = chosen

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, curves: Any = None, **plot_params: Any
    ) -> TrainingCurveDisplay:
        """Draw the history of a fitted network.

        Parameters
        ----------
        estimator : SiameseRDMRegressor, or a search over one
            Fitted. Of a search, the network that it trained last, on all pairs.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        curves : sequence of str, default=None
            Entries of ``history_`` to draw, such as those that
            :class:`skorch.callbacks.EpochScoring` adds. None draws the training loss, and the
            validation loss if there is one.
        **plot_params : dict
            More parameters of :meth:`plot`.

        Returns
        -------
        display : TrainingCurveDisplay
            The drawn display. The epoch of the lowest validation loss is marked if a callback
            restored its weights (``EarlyStopping(load_best=True)``, ``Checkpoint`` with
            ``load_best=True``); else the last epoch was kept, and none is marked.

        Raises
        ------
        ValueError
            If the estimator has no history, or the history no such entry.
        """
        net = getattr(estimator, "best_estimator_", estimator)
        history = list(getattr(net, "history_", None) or [])
        if not history:
            raise ValueError(
                f"{type(estimator).__name__} has no history of epochs: give a fitted "
                "SiameseRDMRegressor, or a search over one."
            )
        known = {name for row in history for name in row}
        names = [name for name in NAMES if name in known] if curves is None else list(curves)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"history_ has no {unknown}; it has {sorted(known)}.")
        values = {
            NAMES.get(name, name): [row.get(name, np.nan) for row in history] for name in names
        }
        return cls(values, chosen=_restored(net, history)).plot(ax, **plot_params)

    def plot(self, ax: Any = None, *, score_name: str = "loss") -> TrainingCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        score_name : str, default="loss"
            Label of the axis of values.

        Returns
        -------
        display : TrainingCurveDisplay
            This object.

        Raises
        ------
        ValueError
            If there is no curve, or the curves or epochs differ in length.
        """
        curves = {name: np.asarray(values, dtype=float) for name, values in self.curves.items()}
        lengths = {name: len(values) for name, values in curves.items()}
        n_epochs = max(lengths.values(), default=0)
        epochs = np.arange(1, n_epochs + 1) if self.epochs is None else np.asarray(self.epochs)
        if set(lengths.values()) != {len(epochs)} or not n_epochs:
            raise ValueError(
                f"every curve must have one value per epoch: {len(epochs)} epochs, curves of "
                f"lengths {lengths}."
            )
        self.ax_ = one_axes(ax, figsize=(4.8, 3.2))
        self.figure_ = self.ax_.figure
        self.lines_ = [
            self.ax_.plot(epochs, values, style, color=color, label=name)[0]
            for (name, values), style, color in zip(
                curves.items(), cycle(STYLES), cycle(GROUP_COLORS)
            )
        ]
        self.mark_ = None
        if self.chosen is not None:
            label = f"kept: epoch {self.chosen}"
            self.mark_ = self.ax_.axvline(self.chosen, color="0.4", ls=":", label=label)
        self.ax_.set(xlabel="epoch", ylabel=score_name)
        self.ax_.locator_params(axis="x", integer=True, min_n_ticks=1)
        self.ax_.legend(frameon=False, fontsize="small")
        self.ax_.spines[["top", "right"]].set_visible(False)
        return self


def _restored(net: Any, history: list[dict[str, Any]]) -> int | None:
    """The epoch whose weights a callback of skorch put back when training ended."""
    for _, callback in getattr(net, "callbacks_", ()):
        if getattr(callback, "load_best", False):
            saved = getattr(callback, "event_name", "")  # of Checkpoint
            epochs = [row["epoch"] for row in history if row.get(saved)]
            return getattr(callback, "best_epoch_", epochs[-1] if epochs else None)
    return None
