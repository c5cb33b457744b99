"""Scores of one training run over layers and epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_rdm._displays._drawing import image_style, one_axes
from sklearn_rdm._pairs._dissimilarities import as_real


class LayerEpochDisplay:
    """The scores of one training run, layer by epoch, with the chosen cell marked.

    Parameters
    ----------
    surface : array-like of shape (n_layers, n_epochs)
        Validation score of every candidate layer after every epoch; NaN where none.
    layers : sequence of str
        Names of the layers, from the input up.
    epochs : array-like of shape (n_epochs,), default=None
        Their numbers; None counts from 1.
    chosen : (str, int), default=None
        The layer and the epoch that were selected; None marks no cell.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    im_ : matplotlib AxesImage
        The heat map.
    mark_ : matplotlib Patch or None
        The frame of the chosen cell.
    colorbar_ : matplotlib Colorbar
        The scale of the scores.
    figure_ : matplotlib Figure
        The figure that holds the axes.

    See Also
    --------
    LayerEpochSearchCV : Computes the surface.
    RDMScoresDisplay : Final scores of several models beside the noise ceiling.

    Examples
    --------
    >>> from sklearn_rdm import LayerEpochDisplay
    >>> surface = [[0.10, 0.12, 0.11], [0.15, 0.22, 0.19]]
    >>> display = LayerEpochDisplay(surface, layers=["conv1", "conv2"], chosen=("conv2", 2))
    >>> display.plot().ax_.get_title()
    'chosen: conv2, epoch 2 (0.22)'
    """

    def __init__(
        self,
        surface: Any,
        *,
        layers: Sequence[str],
        epochs: Any = None,
        chosen: tuple[str, int] | None = None,
    ) -> None:
        self.surface = surface
        self.layers = layers
        self.epochs = epochs
        self.chosen = chosen

    @classmethod
    def from_estimator(cls, search: Any, **plot_params: Any) -> LayerEpochDisplay:
        """Draw what a search over layers and epochs found.

        Parameters
        ----------
        search : LayerEpochSearchCV
            A fitted search.
        **plot_params : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : LayerEpochDisplay
            The drawn mean over splits, with the chosen cell marked.
        """
        layers = [search.best_layer_] if search.layers is None else search.layers
        layers = [layers] if isinstance(layers, str) else layers
        chosen = _name(search.best_layer_), search.best_epoch_
        return cls(search.mean_scores_, layers=[*map(_name, layers)], chosen=chosen).plot(
            **plot_params
        )

    def plot(
        self,
        ax: Any = None,
        *,
        score_name: str = "validation score",
        im_kwargs: dict[str, Any] | None = None,
    ) -> LayerEpochDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        score_name : str, default="validation score"
            Label of the colour bar.
        im_kwargs : dict, default=None
            Passed to ``Axes.imshow``.

        Returns
        -------
        display : LayerEpochDisplay
            This object.

        Raises
        ------
        ValueError
            If layers or epochs do not match the surface, or the chosen cell is not in it.
        """
        surface, epochs = self._checked()
        n_layers, n_epochs = surface.shape
        size = (min(9.0, max(4.2, 2.2 + 0.22 * n_epochs)), max(2.4, 1.4 + 0.28 * n_layers))
        self.ax_ = one_axes(ax, figsize=size)
        self.figure_ = self.ax_.figure
        style = {**image_style(), "aspect": "auto", "origin": "lower"}
        self.im_ = self.ax_.imshow(surface, **{**style, **(im_kwargs or {})})
        self.ax_.set(xlabel="epoch", ylabel="layer")
        self.ax_.set_yticks(range(n_layers), list(self.layers))
        ticks = _round_ticks(epochs)
        self.ax_.set_xticks(ticks, [str(epochs[tick]) for tick in ticks])
        self.colorbar_ = self.figure_.colorbar(self.im_, ax=self.ax_, label=score_name)
        self.mark_ = None if self.chosen is None else self._mark(surface, epochs)
        return self

    def _mark(self, surface: np.ndarray, epochs: np.ndarray) -> Any:
        from matplotlib.patches import Rectangle

        layer, epoch = self.chosen  # type: ignore[misc]  # plot asks only if there is one
        row, column = list(self.layers).index(layer), int(np.flatnonzero(epochs == epoch)[0])
        self.ax_.set_title(
            f"chosen: {layer}, epoch {epoch} ({surface[row, column]:.2f})", fontsize="medium"
        )
        corner = (column - 0.5, row - 0.5)
        # white around the frame's own colour shows on every colour of the map
        self.ax_.add_patch(Rectangle(corner, 1, 1, fill=False, ec="w", lw=4, clip_on=False))
        return self.ax_.add_patch(
            Rectangle(corner, 1, 1, fill=False, ec="#D55E00", lw=2, clip_on=False)
        )

    def _checked(self) -> tuple[np.ndarray, np.ndarray]:
        surface = as_real(self.surface, "surface")
        if surface.ndim != 2 or len(surface) != len(self.layers):
            raise ValueError(
                f"surface must have shape ({len(self.layers)}, n_epochs), one row per layer, got "
                f"{surface.shape}."
            )
        n_epochs = surface.shape[1]
        epochs = np.arange(1, n_epochs + 1) if self.epochs is None else np.asarray(self.epochs)
        if epochs.shape != (n_epochs,):
            raise ValueError(f"epochs must have shape ({n_epochs},), got {epochs.shape}.")
        if self.chosen is not None:
            layer, epoch = self.chosen
            if layer not in self.layers or epoch not in epochs:
                raise ValueError(
                    f"the chosen cell {self.chosen!r} is not in the surface: layers are "
                    f"{list(self.layers)}, epochs {epochs[0]} to {epochs[-1]}."
                )
        return surface, epochs


def _round_ticks(epochs: np.ndarray) -> np.ndarray:
    """Places of about ten epochs with round numbers, or of all if these are few."""
    steps = [factor * 10**power for power in range(6) for factor in (1, 2, 5)]
    step = next(step for step in steps if np.ptp(epochs) <= 12 * step)
    return np.flatnonzero(epochs % step == 0)


def _name(layer: str | Sequence[str]) -> str:
    """One label, also of several layers that are read out together."""
    return layer if isinstance(layer, str) else " + ".join(layer)
