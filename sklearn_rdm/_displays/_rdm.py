"""Dissimilarity matrices as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sklearn_rdm._displays._drawing import image_style, panels
from sklearn_rdm._pairs._dissimilarities import (
    as_real,
    average,
    average_times,
    check_symmetric,
)
from sklearn_rdm._pairs._image_pairs import ImagePairs, as_pairs, check_groups, of_pairs
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.metrics._checks import to_pairs

SCALES = {None: "{}", "rank": "{} (rank, 0 to 1)"}
PANELS_A_ROW = 4


class RDMDisplay:
    """One or several RDMs as images beside each other, with one colour scale.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`. The diagonal and
    the pairs without a value are drawn in grey: nothing was measured there.

    Parameters
    ----------
    rdms : array-like of shape (n_images, n_images) or (n_rdms, n_images, n_images)
        Square dissimilarity matrices; NaN where a pair has no value.
    names : sequence of str, default=None
        Title of each panel.
    image_groups : array-like of shape (n_images,), default=None
        One label per image; :meth:`plot` brings the images of a group together.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_rdms,)
        One panel per RDM.
    ims_ : list of matplotlib AxesImage
        The drawn matrices.
    colorbar_ : matplotlib Colorbar or None
        The colour bar that all panels share.
    figure_ : matplotlib Figure
        The figure that holds the panels.

    See Also
    --------
    RDMEmbeddingDisplay : The same matrix as a map of the images: to see which images are alike.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import RDMDisplay
    >>> observed = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> display = RDMDisplay([observed, observed**2], names=["observed", "predicted"])
    >>> display.plot(scale="rank").axes_.shape
    (2,)
    """

    def __init__(
        self, rdms: Any, *, names: Sequence[str] | None = None, image_groups: Any = None
    ) -> None:
        self.rdms = rdms
        self.names = names
        self.image_groups = image_groups

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        ax: Any = None,
        scale: str | None = "rank",
        image_groups: Any = None,
        **plot_params: Any,
    ) -> RDMDisplay:
        """Draw the RDM that a fitted estimator predicts, beside the observed one if it is given.

        Parameters
        ----------
        estimator : object with ``transform`` and ``predict``
            A fitted estimator of sklearn_rdm, or a search over one.
        X : ImagePairs or array-like
            Images (or pairs: their images), as ``estimator.transform`` takes them. With ``y``:
            pairs, as ``estimator.predict`` takes them, or the images of response patterns.
        y : array-like or ResponsePatterns, default=None
            Observed dissimilarities of the pairs, as in :meth:`from_predictions`; None draws the
            prediction alone.
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one per panel; None makes a new figure.
        scale : {"rank", None}, default="rank"
            As in :meth:`plot`.
        image_groups : array-like of shape (n_images,), default=None
            One label per image; None takes those of the pairs, if they have any.
        **plot_params : dict
            More parameters of :meth:`plot`.

        Returns
        -------
        display : RDMDisplay
            The drawn display.
        """
        if y is not None:
            X, y = of_pairs(X, y)
            pairs = as_pairs(X)
            return cls.from_predictions(
                pairs,
                y,
                estimator.predict(pairs),
                ax=ax,
                scale=scale,
                image_groups=image_groups,
                **plot_params,
            )
        rdm = np.asarray(estimator.transform(X))
        if image_groups is None and isinstance(X, ImagePairs) and X.image_groups is not None:
            # transform gives one row per image, or per image that occurs in a pair
            rows = slice(None) if len(rdm) == len(X.images) else X.used_images
            image_groups = X.image_groups[rows]
        display = cls(rdm, names=["predicted"], image_groups=image_groups)
        return display.plot(ax, scale=scale, **plot_params)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        y_true: Any,
        y_pred: Any,
        *,
        ax: Any = None,
        scale: str | None = "rank",
        image_groups: Any = None,
        **plot_params: Any,
    ) -> RDMDisplay:
        """Draw the observed and the predicted RDM of the same pairs.

        Parameters
        ----------
        X : ImagePairs or array-like
            The pairs, or the images of response patterns; only images that occur in a pair are
            drawn.
        y_true : array-like or ResponsePatterns
            Observed dissimilarities ``(n_pairs,)``, ``(n_pairs, n_subjects)`` or ``(n_pairs,
            n_subjects, n_times)``; time points and subjects are averaged for the figure.
        y_pred : array-like of shape (n_pairs,)
            Predicted dissimilarities; NaN where a pair was never predicted. With response patterns
            also (n_images, n_images).
        ax : sequence of two matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        scale : {"rank", None}, default="rank"
            As in :meth:`plot`. Observed and predicted rarely share units: ranks compare them.
        image_groups : array-like of shape (n_images,), default=None
            One label per image of ``X.images``; None takes those of the pairs, if any.
        **plot_params : dict
            More parameters of :meth:`plot`.

        Returns
        -------
        display : RDMDisplay
            The drawn display.
        """
        X, y_true, (y_pred,), _ = to_pairs(X, y_true, [y_pred])
        pairs = as_pairs(X)
        y_true = average_times(as_real(y_true, "y_true"))
        if y_true.ndim == 2:
            y_true = average(y_true)
        used = pairs.used_images
        rdms = [pairs.to_rdms(y)[np.ix_(used, used)] for y in (y_true, y_pred)]
        groups = pairs.image_groups if image_groups is None else np.asarray(image_groups)
        display = cls(
            np.stack(rdms),
            names=["observed", "predicted"],
            image_groups=None if groups is None else groups[used],
        )
        return display.plot(ax, scale=scale, **plot_params)

    def plot(
        self,
        ax: Any = None,
        *,
        scale: str | None = None,
        sort_groups: bool = True,
        label: str = "dissimilarity",
        colorbar: bool = True,
        im_kwargs: dict[str, Any] | None = None,
    ) -> RDMDisplay:
        """Draw the matrices.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of Axes, default=None
            Where to draw, one per RDM; None makes a new figure.
        scale : {"rank", None}, default=None
            "rank" replaces the values of each RDM by their ranks, from 0 (smallest) to 1, so that
            matrices in different units share the colours. None draws the values.
        sort_groups : bool, default=True
            Bring the images of a group together, in the sorted order of the labels, with lines
            between groups. Has no effect without ``image_groups``.
        label : str, default="dissimilarity"
            What the colours mean, with the unit.
        colorbar : bool, default=True
            Whether to draw the colour bar.
        im_kwargs : dict, default=None
            Passed to ``Axes.imshow``.

        Returns
        -------
        display : RDMDisplay
            This object.

        Raises
        ------
        ValueError
            If the matrices are not square, or not symmetric where ranks are drawn, or names, groups
            or axes do not match them.
        """
        rdms = self._scaled(scale)
        groups = check_groups(self.image_groups, rdms.shape[-1])
        if groups is not None and sort_groups:
            order = np.argsort(groups, kind="stable")
            rdms, groups = rdms[:, order][:, :, order], groups[order]
        self.axes_ = panels(ax, len(rdms), PANELS_A_ROW, "RDMs", _inches, layout="compressed")
        self.figure_ = self.axes_[0].figure
        style = {**image_style(), **_limits(rdms), **(im_kwargs or {})}
        self.ims_ = [a.imshow(rdm, **style) for a, rdm in zip(self.axes_, rdms, strict=True)]
        for row, panel in enumerate(self.axes_):
            panel.set_title("" if self.names is None else self.names[row], fontsize="medium")
            first = row % PANELS_A_ROW == 0
            if groups is not None and sort_groups:
                _mark_groups(panel, groups, labels=first)
            else:
                panel.locator_params(integer=True)
                panel.set_ylabel("image" if first else "")
                panel.set_xlabel("image" if row >= len(rdms) - PANELS_A_ROW else "")
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(
                self.ims_[0], ax=list(self.axes_), label=SCALES[scale].format(label), shrink=0.8
            )
        return self

    def _scaled(self, scale: str | None) -> np.ndarray:
        """Return checked copies, (n_rdms, n, n), with NaN on the diagonal."""
        rdms = np.array(as_real(self.rdms, "rdms"))
        rdms = rdms[None] if rdms.ndim == 2 else rdms
        if rdms.ndim != 3 or rdms.shape[1] != rdms.shape[2]:
            raise ValueError(
                "rdms must have shape (n_images, n_images) or (n_rdms, n_images, n_images), got "
                f"{np.shape(self.rdms)}. ImagePairs.to_rdms makes them from one value per pair."
            )
        if self.names is not None and len(self.names) != len(rdms):
            raise ValueError(f"got {len(self.names)} names for {len(rdms)} RDMs.")
        check_option("scale", scale, SCALES)
        rdms[:, np.eye(rdms.shape[-1], dtype=bool)] = np.nan
        if scale is None:
            return rdms
        check_symmetric(rdms)
        return np.stack([_ranked(rdm) for rdm in rdms])


def _inches(columns: int, rows: int) -> tuple[float, float]:
    return 2.8 * columns + 1.2, 3.0 * rows + 0.3


def _limits(rdms: np.ndarray) -> dict[str, float]:
    finite = rdms[np.isfinite(rdms)]
    return {"vmin": finite.min(), "vmax": finite.max()} if finite.size else {}


def _ranked(rdm: np.ndarray) -> np.ndarray:
    """Average ranks of the values of the upper triangle, from 0 to 1; NaN stays."""
    upper = np.triu_indices(len(rdm), 1)
    values = rdm[upper]
    known = ~np.isnan(values)
    values[known] = (rankdata(values[known]) - 1) / max(known.sum() - 1, 1)
    ranked = np.full_like(rdm, np.nan)
    ranked[upper] = values
    ranked.T[upper] = values
    return ranked


def _mark_groups(panel: Any, groups: np.ndarray, *, labels: bool) -> None:
    """Lines between the groups of sorted images, and their names at the left."""
    names, starts, sizes = np.unique(groups, return_index=True, return_counts=True)
    for start in starts[1:]:
        panel.axhline(start - 0.5, color="w", lw=1)
        panel.axvline(start - 0.5, color="w", lw=1)
    panel.set(xticks=[], yticks=[])
    if labels:
        centres = starts + (sizes - 1) / 2
        panel.set_yticks(centres, [str(name) for name in names], fontsize="small")
        panel.tick_params(axis="y", length=0)
