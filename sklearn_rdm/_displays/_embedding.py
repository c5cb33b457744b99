"""Maps of images by their dissimilarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import pdist, squareform

from sklearn_rdm._displays._drawing import legend_above, one_axes
from sklearn_rdm._pairs._dissimilarities import as_real, check_symmetric
from sklearn_rdm._pairs._image_pairs import check_groups

# Okabe and Ito's eight colours, told apart with every common form of colour blindness
GROUP_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
GROUP_MARKERS = "os^Dvp<>"


class RDMEmbeddingDisplay:
    """A map of the images, on which similar images lie close together.

    It is recommended to use :meth:`from_rdm`, which finds the places by multidimensional scaling.

    Parameters
    ----------
    coordinates : array-like of shape (n_images, 2)
        Place of each image; only distances have a meaning.
    images : array-like of shape (n_images, height, width, 3), default=None
        Photographs (uint8, or float in 0..1) drawn as markers; None draws dots.
    image_groups : array-like of shape (n_images,), default=None
        One label per image, shown by the colour (dots: also the shape) of its marker.
    stress : float, default=None
        Kruskal's stress-1 of the places, written under the map: 0 is a perfect picture of the
        dissimilarities, 0.2 a poor one.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    markers_ : list of matplotlib artists
        One per image, or one per group of dots.
    figure_ : matplotlib Figure
        The figure that holds the axes.

    See Also
    --------
    RDMDisplay : The matrix itself: every single dissimilarity, nothing distorted.

    References
    ----------
    Kruskal, J. B. (1964). Multidimensional scaling by optimizing goodness of fit to a nonmetric
    hypothesis. Psychometrika 29, 1-27.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import RDMEmbeddingDisplay
    >>> rdm = np.array([[0, 1, 2], [1, 0, 2], [2, 2, 0]])
    >>> display = RDMEmbeddingDisplay.from_rdm(rdm, image_groups=["face", "face", "house"])
    >>> len(display.coordinates)
    3
    """

    def __init__(
        self,
        coordinates: Any,
        *,
        images: Any = None,
        image_groups: Any = None,
        stress: float | None = None,
    ) -> None:
        self.coordinates = coordinates
        self.images = images
        self.image_groups = image_groups
        self.stress = stress

    @classmethod
    def from_rdm(
        cls,
        rdm: Any,
        *,
        images: Any = None,
        image_groups: Any = None,
        n_init: int = 8,
        random_state: Any = 0,
        ax: Any = None,
        **plot_params: Any,
    ) -> RDMEmbeddingDisplay:
        """Place the images by metric multidimensional scaling and draw them.

        Parameters
        ----------
        rdm : array-like of shape (n_images, n_images)
            Every dissimilarity, none of them negative: observed or predicted.
        images : array-like of shape (n_images, height, width, 3), default=None
            As in the constructor.
        image_groups : array-like of shape (n_images,), default=None
            As in the constructor.
        n_init : int, default=8
            Random starts; the best is kept.
        random_state : int, RandomState instance or None, default=0
            The random starts.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **plot_params : dict
            More parameters of :meth:`plot`.

        Returns
        -------
        display : RDMEmbeddingDisplay
            The drawn display.

        Raises
        ------
        ValueError
            If a dissimilarity is missing or negative, or the matrix is not square or symmetric.
        """
        from sklearn.manifold import smacof  # slow to import

        rdm = np.array(as_real(rdm, "rdm"))
        if rdm.ndim != 2 or rdm.shape[0] != rdm.shape[1]:
            raise ValueError(f"rdm must have shape (n_images, n_images), got {rdm.shape}.")
        check_symmetric(rdm, "rdm")
        rdm = (rdm + rdm.T) / 2  # but for rounding
        np.fill_diagonal(rdm, 0)
        if not (rdm >= 0).all():  # false for NaN too
            raise ValueError(
                "a map needs every dissimilarity, and none below 0: "
                f"{np.isnan(rdm).sum() // 2} pairs are NaN and {(rdm < 0).sum() // 2} negative. "
                "Keep images whose pairs are all known; do not z-score the dissimilarities."
            )
        places, _ = smacof(
            rdm,
            n_components=2,
            n_init=n_init,
            eps=1e-6,  # the default of scikit-learn from 1.7 on
            random_state=random_state,
            normalized_stress=False,
        )
        distances = pdist(places)
        misfit = ((distances - squareform(rdm, checks=False)) ** 2).sum()
        stress = float(np.sqrt(misfit / (distances**2).sum()))
        display = cls(places, images=images, image_groups=image_groups, stress=stress)
        return display.plot(ax, **plot_params)

    def plot(self, ax: Any = None, *, thumbnail_size: float = 24) -> RDMEmbeddingDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        thumbnail_size : float, default=24
            Longer side of an image on the figure, in points (1/72 inch).

        Returns
        -------
        display : RDMEmbeddingDisplay
            This object.

        Raises
        ------
        ValueError
            If images or groups do not match the coordinates.
        """
        places = np.asarray(self.coordinates, dtype=float)
        if places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"coordinates must have shape (n_images, 2), got {places.shape}.")
        groups = check_groups(self.image_groups, len(places))
        names = np.unique(groups) if groups is not None else np.array([])
        self.ax_ = one_axes(ax, figsize=(6.0, 6.0))
        self.figure_ = self.ax_.figure
        if self.images is None:
            self.markers_ = _dots(self.ax_, places, groups, names)
        else:
            self.markers_ = self._thumbnails(places, groups, names, thumbnail_size)
        self.ax_.set_aspect("equal", adjustable="datalim")
        self.ax_.margins(0.08)
        self.ax_.set(xticks=[], yticks=[])
        if self.stress is not None:
            self.ax_.set_xlabel(f"multidimensional scaling, stress {self.stress:.2f}")
        if len(names):
            legend_above(self.ax_)
        return self

    def _thumbnails(
        self, places: np.ndarray, groups: np.ndarray | None, names: np.ndarray, size: float
    ) -> list[Any]:
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        images = np.asarray(self.images)
        if images.ndim != 4 or len(images) != len(places) or images.shape[3] != 3:
            raise ValueError(
                f"images must have shape ({len(places)}, height, width, 3), got {images.shape}."
            )
        zoom = size / max(images.shape[1:3])
        colors = ["0.6"] * len(places) if groups is None else _colors(groups, names)
        for name, color in zip(names, _colors(names, names), strict=True):
            self.ax_.plot([], [], "s", color=color, label=str(name))
        # an invisible scatter gives the axes their limits
        self.ax_.scatter(*places.T, s=0)
        return [
            self.ax_.add_artist(
                AnnotationBbox(
                    OffsetImage(image, zoom=zoom, resample=True),
                    place,
                    pad=0.1,
                    bboxprops={"edgecolor": color, "linewidth": 1.5},
                )
            )
            for image, place, color in zip(images, places, colors, strict=True)
        ]


def _dots(ax: Any, places: np.ndarray, groups: np.ndarray | None, names: np.ndarray) -> list[Any]:
    if groups is None:
        return [ax.scatter(*places.T, s=30, color=GROUP_COLORS[0])]
    return [
        ax.scatter(
            *places[groups == name].T,
            s=36,
            color=color,
            marker=GROUP_MARKERS[g % len(GROUP_MARKERS)],
            edgecolor="0.2",
            lw=0.5,
            label=str(name),
        )
        for g, (name, color) in enumerate(zip(names, _colors(names, names), strict=True))
    ]


def _colors(groups: np.ndarray, names: np.ndarray) -> list[str]:
    return [GROUP_COLORS[g % len(GROUP_COLORS)] for g in np.searchsorted(names, groups)]
