"""Scores of all layers of a fixed network, from one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_rdm._models import FixedRSARegressor
from sklearn_rdm._network._activations import LayerActivations
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._dissimilarities import check_dissimilarities
from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._image_pairs import as_pairs
from sklearn_rdm.metrics import get_rdm_scorer, noise_ceiling, rdm_permutation_test

__all__ = ["score_layers"]

CHANCE = 0.95  # quantile of the scores after shuffling images


def score_layers(
    backbone: Any,
    layers: Sequence[str],
    pairs: Any,
    dissim: Any,
    *,
    scoring: str = "spearman",
    metric: str = "correlation",
    n_permutations: int = 1000,
    random_state: Any = 0,
    n_jobs: int | None = None,
    **params: Any,
) -> Any:
    """Score many layers of a fixed network against one or several targets.

    Every image passes the network once for all layers and targets. The prediction of a layer is the
    distance of its activations, as in ``make_pipeline(LayerActivations(backbone, layer),
    FixedRSARegressor(metric))``. Nothing is learned, so all pairs may be scored. But the score of
    the best of many layers is too high an estimate for new images: choose the layer on images that
    you do not report.

    Parameters
    ----------
    backbone : str or callable
        As in :class:`LayerActivations`.
    layers : sequence of str
        Names of layers, each once.
    pairs : ImagePairs, or array-like of shape (n_pairs, 2, ...)
        The pairs of images; or the images, if ``dissim`` is :class:`ResponsePatterns`.
    dissim : array-like, ResponsePatterns, or dict of str to one of these
        Measured dissimilarities of the pairs, ``(n_pairs,)``, ``(n_pairs, n_subjects)`` or
        ``(n_pairs, n_subjects, n_times)``; or several targets (areas, tasks) by name. NaN where a
        subject has no value.
    scoring : str, default="spearman"
        A name of :func:`sklearn_rdm.metrics.get_rdm_scorer`.
    metric : str, default="correlation"
        Distance of activations, as in :class:`FixedRSARegressor`.
    n_permutations : int, default=1000
        Shuffles of the images for the column ``chance``; 0 leaves it NaN.
    random_state : int, RandomState or None, default=0
        Seed of the shuffles, and of random weights (``weights=None``). None: others at each call.
    n_jobs : int, default=None
        Processes that shuffle, as everywhere in joblib.
    **params : dict
        More parameters of :class:`LayerActivations`: ``weights``, ``image_size``, ``reference``,
        ``spatial_pooling``, ``memory``, ``device``.

    Returns
    -------
    table : pandas.DataFrame
        One row per target and layer, layers in the order given. Columns: ``target``, ``layer``;
        ``score``, the mean over subjects; ``ceiling_lower`` and ``ceiling_upper``, the noise
        ceiling of the target in units of the score, NaN for one subject; ``chance``, the 95th
        percentile of the scores after shuffling images.

    Raises
    ------
    ValueError
        If a layer is unknown or named twice, there is no target, a target has another number of
        pairs, or ``scoring`` or ``metric`` is unknown.
    ImportError
        If pandas is not installed.

    See Also
    --------
    LayerScoresDisplay : Draws the table.
    LayerEpochSearchCV : Chooses a layer on held-out images, with training.

    Examples
    --------
    >>> from sklearn_rdm import ImagePairs, score_layers
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=8, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> table = score_layers(
    ...     "alexnet", ["conv1", "conv2"], pairs, dissim,
    ...     weights=None, image_size=64, n_permutations=20, random_state=0,
    ... )
    >>> table[["target", "layer"]].to_numpy().tolist()
    [['dissimilarity', 'conv1'], ['dissimilarity', 'conv2']]
    """
    pandas = import_optional("pandas", "pandas")
    layers, scorer = _distinct(layers), get_rdm_scorer(scoring)
    pairs, targets = _by_name(pairs, dissim)
    network = LayerActivations(backbone, layers, random_state=random_state, **params)
    features = network.fit_transform(pairs)
    columns = zip(layers, network.layer_slices_.values(), strict=True)
    models = {layer: _fixed(features, where, metric) for layer, where in columns}
    ceilings = {target: _ceiling(*of_target, scoring) for target, of_target in targets.items()}
    draws = {"n_permutations": n_permutations, "random_state": random_state, "n_jobs": n_jobs}
    return pandas.DataFrame(
        [
            {"target": target, "layer": layer, "score": scorer(model, of_layer, y)}
            | ceilings[target]
            | {"chance": _chance(of_layer, y, model.predict(of_layer), scorer, **draws)}
            for target, (of_target, y) in targets.items()
            for layer, (model, every) in models.items()
            for of_layer in [every if of_target is pairs else _with_index(every, of_target)]
        ]
    )


def _distinct(layers: Sequence[str]) -> list[str]:
    layers = [layers] if isinstance(layers, str) else list(layers)
    if not layers or len(set(layers)) != len(layers):
        raise ValueError(f"layers must name at least one layer, each once, got {layers}.")
    return layers


def _by_name(X: Any, dissim: Any) -> tuple[ImagePairs, dict[str, tuple[ImagePairs, np.ndarray]]]:
    """Pairs of all images that are needed, and each target's pairs and dissimilarities."""
    targets = dissim if isinstance(dissim, Mapping) else {"dissimilarity": dissim}
    if not targets:
        raise ValueError("dissim is empty: give one target, or a dict of targets by name.")
    if all(hasattr(y, "to_pairs") for y in targets.values()):
        return ImagePairs(X), {name: y.to_pairs(X) for name, y in targets.items()}
    pairs = as_pairs(X)
    return pairs, {
        name: (pairs, check_dissimilarities(y, len(pairs))) for name, y in targets.items()
    }


def _with_index(pairs: ImagePairs, other: ImagePairs) -> ImagePairs:
    return ImagePairs(pairs.images, other.index)


def _fixed(features: ImagePairs, where: slice, metric: Any) -> tuple[Any, ImagePairs]:
    """The untrained model of one layer, and the pairs of the features that it takes."""
    of_layer = ImagePairs(features.images[:, where], features.index)
    return FixedRSARegressor(metric).fit(of_layer), of_layer


def _ceiling(pairs: ImagePairs, y: np.ndarray, scoring: str) -> dict[str, float]:
    lower = upper = np.nan  # of one subject, without common pairs, or of a normalised score
    with contextlib.suppress(ValueError):
        lower, upper = map(float, noise_ceiling(y, scoring=scoring, pairs=pairs))
    return {"ceiling_lower": lower, "ceiling_upper": upper}


def _chance(
    pairs: ImagePairs, y: np.ndarray, predicted: np.ndarray, scorer: Any, **draws: Any
) -> float:
    if draws["n_permutations"] == 0:
        return np.nan
    null = rdm_permutation_test(pairs, y, predicted, scoring=scorer, **draws).null_distribution
    return float(np.quantile(null, CHANCE))
