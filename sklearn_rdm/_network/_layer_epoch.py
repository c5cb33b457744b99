"""Choose the layer and the epoch of a training run by image-wise validation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.model_selection import ParameterGrid
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import delayed
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback

from sklearn_rdm._models._base import RDMMetaRegressor
from sklearn_rdm._network._image_reader import open_images
from sklearn_rdm._network._read_out import Layers
from sklearn_rdm._network._siamese import SiameseRDMRegressor
from sklearn_rdm._pairs._image_pairs import ImagePairs
from sklearn_rdm._pairs._progress import collect
from sklearn_rdm._pairs._weights import (
    check_weighted_pairs,
    take_weights,
)
from sklearn_rdm.callbacks import _averaged_weights
from sklearn_rdm.metrics import get_rdm_scorer
from sklearn_rdm.model_selection._cv import check_image_cv, of_pairs_and_cv

__all__ = ["LayerEpochSearchCV"]


def _has_network(search: LayerEpochSearchCV) -> bool:
    if hasattr(search, "best_layer_") and not hasattr(search, "best_estimator_"):
        raise AttributeError(
            "with refit=False and several splits no network is kept: use refit=True, or a "
            "splitter with one split."
        )
    return True


class LayerEpochSearchCV(RDMMetaRegressor):
    """Choose a network's read-out layer and number of epochs by cross-validation over images.

    In every fold the network is trained once, for all its ``max_epochs``; after each epoch every
    candidate layer predicts the dissimilarities of the fold's held-out images, all in one forward
    pass. The mean over folds is a surface of scores, layer by epoch. Its highest cell gives the
    read-out and the number of epochs with which a network is trained on all pairs. [1]_ chose both
    by the scores that it reported. To report a score, cross-validate the whole search, or test it
    on other images: then no image both chooses and is scored.

    Parameters
    ----------
    estimator : SiameseRDMRegressor
        The network to be trained; its ``layer`` is the one whose predictions the loss compares.
    layers : sequence of str, default=None
        Candidate read-outs, before, at or after ``layer``, named as for the estimator. If it trains
        several layers together, these may be one candidate, given as its ``layer`` is. None reads
        each network where it is trained, so that ``param_grid`` may hold ``layer``.
    param_grid : dict or list of dict, default=None
        Other parameters of the estimator to choose with the layer and the epoch, as in
        :class:`sklearn.model_selection.GridSearchCV`: how much to freeze, the learning rate. One
        network is trained per fold and combination.
    cv : int, splitter or iterable of (train, test), default=5
        Image-wise splits; an int is ``ImageKFold(cv)``.
    scoring : str or scorer, default="rdm_spearman"
        A name that :func:`sklearn_rdm.metrics.get_rdm_scorer` knows, or a scorer; greater is
        better. Subjects are scored one by one, never pooled. It chooses; the method ``score`` is
        Spearman's correlation whatever it is.
    refit : bool, default=True
        Train a network on all pairs for the chosen number of epochs. With False, and a ``cv`` of
        one split, the network of that split is kept with the weights of the chosen epoch, and
        nothing is trained again: no network then learns from the held-out images.
    n_jobs : int, default=None
        Folds trained at the same time; None means 1, -1 all cores.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    scores_ : ndarray of shape (n_splits, n_layers, n_epochs)
        Score of the held-out pairs of every split, with the chosen parameters. NaN where a layer's
        activations were constant, and after the epoch in which a callback stopped the training of
        that split.
    mean_scores_ : ndarray of shape (n_layers, n_epochs)
        Their mean over splits; NaN where any is.
    best_params_ : dict
        The chosen combination of ``param_grid``; empty without one. Of equals, the first.
    best_layer_ : str or sequence of str
        The layer of the highest mean score; of equals, the first in ``layers``.
    best_epoch_ : int
        Its epoch, counted from 1; of equals, the earliest.
    best_score_ : float
        The highest mean score. It is the best of many: too high an estimate for new images.
    best_estimator_ : SiameseRDMRegressor
        The network that predicts.
    cv_results_ : dict
        ``params``: the combinations of ``param_grid``; ``scores``: ndarray of shape
        (n_combinations, n_splits, n_layers, n_epochs), those of each.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Searches everything else; may contain this.
    LayerEpochDisplay : Draws the surface.

    Notes
    -----
    ``refit`` trains for ``best_epoch_`` epochs on all pairs, which takes more steps than the same
    number of epochs on a fold's training pairs. A learning-rate schedule of the estimator is
    followed from its start and cut off. With
    :class:`~sklearn_rdm.callbacks.WeightAveraging` the weights that are scored after an epoch are
    the mean that training would end with there.

    A candidate within the frozen layers (``freeze_up_to``) has one score for all epochs, and the
    frozen activations are then kept from before that candidate: leave it out if time matters.

    References
    ----------
    .. [1] A. Agrawal (2019). "Dissimilarity learning via Siamese network predicts brain imaging
       data".

    Examples
    --------
    >>> from sklearn_rdm import ImagePairs, LayerEpochSearchCV, SiameseRDMRegressor
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=9, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> net = SiameseRDMRegressor(
    ...     "alexnet", "conv3", weights=None, image_size=64, max_epochs=2, random_state=0
    ... )
    >>> search = LayerEpochSearchCV(net, ["conv2", "conv3"], cv=3).fit(pairs, dissim)
    >>> search.mean_scores_.shape
    (2, 2)
    >>> search.best_estimator_.read_out == search.best_layer_
    True
    """

    def __init__(
        self,
        estimator: Any,
        layers: Sequence[Layers] | None = None,
        *,
        param_grid: Any = None,
        cv: Any = 5,
        scoring: Any = "rdm_spearman",
        refit: bool = True,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.layers = layers
        self.param_grid = param_grid
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LayerEpochSearchCV:
        """Train a network per fold, choose, and train on all pairs.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            The training pairs; or the images, if ``y`` is :class:`ResponsePatterns`.
        y : array-like of shape (n_pairs[, n_subjects[, n_times]]), or ResponsePatterns
            Their dissimilarities, NaN where a subject has no value. Of response patterns, all
            pairs are made; other splitters than those of this library then split images.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more: in training, in the scores that choose, and in
            ``refit``. None: all alike.

        Returns
        -------
        self : LayerEpochSearchCV
            The fitted search. It is left as it was if a fold fails.

        Raises
        ------
        TypeError, ValueError
            If the estimator is not a :class:`SiameseRDMRegressor` or has no epoch, if ``layers`` is
            empty, unknown to the network or names a layer twice, if ``cv`` tests pairs whose two
            images are both trained on, if no cell of the surface is defined, and whatever the
            estimator raises.
        """
        scorer = get_rdm_scorer(self.scoring)
        candidates = list(ParameterGrid(self.param_grid or {}))
        layers = self._checked_layers(candidates)
        X, y, cv = of_pairs_and_cv(X, y, self.cv, sample_weight)
        pairs, y, weights = check_weighted_pairs(X, y, sample_weight, keep_rows=True)
        splits = list(check_image_cv(cv, pairs, y))
        keep = not self.refit and len(splits) == 1
        data = pairs, y, weights
        runs = self._train_all(candidates, layers, data, splits, scorer, keep)
        scores = _as_array([found for _, found in runs], len(candidates), len(splits))
        means = scores.mean(axis=1)
        if np.isnan(means).all():
            raise ValueError(
                f"no score of the layers {layers[0]} is defined: their activations, or the "
                "dissimilarities of the held-out pairs, are constant."
            )
        best, epoch, row = _first_highest(means)
        layer = layers[best][row]
        chosen = clone(self.estimator).set_params(**candidates[best])
        if self.refit:
            chosen.set_params(read_out=layer, max_epochs=epoch)
            final = chosen.fit(pairs, y, sample_weight=weights)
        elif keep:
            final = _predicting_by(layer, chosen, runs[best][0])
        self.cv_results_ = {"params": candidates, "scores": scores}
        self.scores_, self.mean_scores_ = scores[best], means[best]
        self.best_params_, self.best_layer_, self.best_epoch_ = candidates[best], layer, epoch
        self.best_score_ = float(means[best, row, epoch - 1])
        self.__dict__.pop("best_estimator_", None)
        if self.refit or keep:
            self.best_estimator_ = final
        return self

    def _train_all(
        self,
        candidates: Sequence[dict[str, Any]],
        layers: Sequence[Sequence[Layers]],
        data: tuple[Any, ...],
        splits: Sequence[Any],
        scorer: Any,
        keep: bool,
    ) -> list[Any]:
        """One network per candidate and split, with the scores of its layers and epochs."""
        calls = (
            delayed(_train)(
                clone(self.estimator).set_params(**params), read, data, split, scorer, keep
            )
            for params, read in zip(candidates, layers, strict=True)
            for split in splits
        )
        return collect(
            calls,
            total=len(candidates) * len(splits),
            verbose=self.verbose,
            desc="fits",
            note=partial(_best_so_far, n_splits=len(splits)),
            n_jobs=self.n_jobs,
        )

    @available_if(_has_network)
    def predict(self, X: Any) -> np.ndarray:
        """Predict dissimilarities with the chosen layer and epoch.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
            Any pairs.

        Returns
        -------
        dissim : ndarray of float32, shape (n_pairs,)
            ``1 - Pearson r`` of the activations, 0 to 2.
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(X)

    @available_if(_has_network)
    def transform(self, X: Any, *, background: Any = None) -> np.ndarray:
        """Predict the dissimilarity matrix of images.

        Parameters
        ----------
        X : array-like of shape (n_images, height, width, 3), paths, a folder, or ImagePairs
            Images; of pairs, all images of their array.
        background : str, (r, g, b) or sequence of one of these per image, default=None
            As in :meth:`SiameseRDMRegressor.transform`.

        Returns
        -------
        rdm : ndarray of float32, shape (n_images, n_images)
            Symmetric, zero diagonal.
        """
        check_is_fitted(self)
        return self.best_estimator_.transform(X, background=background)

    @available_if(_has_network)
    def embed(self, X: Any, *, background: Any = None) -> np.ndarray:
        """Compute the activations of images at the chosen layer.

        Parameters
        ----------
        X : array-like of shape (n_images, height, width, 3), paths, a folder, or ImagePairs
            As in :meth:`transform`.
        background : str, (r, g, b) or sequence of one of these per image, default=None
            As in :meth:`transform`.

        Returns
        -------
        activations : ndarray of float32, shape (n_images, n_features)
            As :meth:`SiameseRDMRegressor.embed` gives them.
        """
        check_is_fitted(self)
        return self.best_estimator_.embed(X, background=background)

    def _checked_layers(self, candidates: list[dict[str, Any]]) -> list[list[Layers]]:
        """Read-outs of each combination of parameters."""
        if not isinstance(self.estimator, SiameseRDMRegressor) or is_classifier(self.estimator):
            raise TypeError(
                "estimator must be a SiameseRDMRegressor, whose layers can be read out after every "
                f"epoch, got {self.estimator!r}. Search the layers of other models with "
                "GridSearchCV over LayerActivations."
            )
        for params in candidates:
            max_epochs = {"max_epochs": self.estimator.max_epochs, **params}["max_epochs"]
            if max_epochs < 1:
                raise ValueError(
                    f"max_epochs of the estimator must be at least 1, got {max_epochs}."
                )
        if self.layers is None:
            return [[params.get("layer", self.estimator.layer)] for params in candidates]
        one = isinstance(self.layers, str)
        layers = cast(list[Layers], [self.layers] if one else list(self.layers))
        if not layers or any(layer in layers[:place] for place, layer in enumerate(layers)):
            raise ValueError(f"layers must name at least one layer, each once, got {layers}.")
        return [layers] * len(candidates)


class _LayerScores(Callback):
    """Score every candidate layer on held-out pairs after every epoch."""

    def __init__(
        self,
        layers: Sequence[Layers],
        pairs: ImagePairs,
        y: np.ndarray,
        weights: np.ndarray | None,
        scorer: Any,
        keep: bool,
    ) -> None:
        self.layers, self.pairs, self.y = layers, pairs, y
        self.weighted = {} if weights is None else {"sample_weight": weights}
        self.scorer, self.keep = scorer, keep

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        self.scores_: list[list[float]] = []
        self.reader_ = open_images(
            net.module_,
            self.pairs,
            self.pairs.used_images,
            memory=net.memory,
            device=net.device,
        )
        self.best_score_, self.best_state_ = -np.inf, None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:  # noqa: ARG002
        with _averaged_weights(net):
            dissim = dict(zip(net.module_.all_read_outs, self._predict(), strict=True))
            scores = [self._score(dissim[net.module_.read_out_of(layer)]) for layer in self.layers]
            self.scores_.append(scores)
            highest = np.nanmax([-np.inf, *scores])
            if self.keep and highest > self.best_score_:
                self.best_score_ = highest
                self.best_state_ = copy.deepcopy(net.module_.state_dict())

    def _predict(self) -> np.ndarray:
        return self.reader_.predict_all(self.pairs)

    def _score(self, dissim: np.ndarray) -> float:
        if not np.isfinite(dissim).all():
            return np.nan
        return float(self.scorer(_Predicted(dissim), self.pairs, self.y, **self.weighted))


class _Predicted(RegressorMixin, BaseEstimator):
    """A fitted regressor that answers what was predicted before, for scorers to ask."""

    def __init__(self, dissim: np.ndarray) -> None:
        self.dissim = dissim

    def predict(self, X: Any) -> np.ndarray:  # noqa: ARG002
        return self.dissim


def _train(
    net: SiameseRDMRegressor,
    layers: list[Layers],
    data: tuple[ImagePairs, np.ndarray, np.ndarray | None],
    split: tuple[np.ndarray, np.ndarray],
    scorer: Any,
    keep: bool,
) -> tuple[Any, list[list[float]]]:
    """Train on one split; return the network if it is kept, and its scores by epoch and layer."""
    (pairs, y, weights), (train, test) = data, split
    held_out = pairs[test], y[test], take_weights(weights, test)
    scores = _LayerScores(layers, *held_out, scorer, keep)
    callbacks = [] if net.callbacks in (None, "disable") else list(net.callbacks)
    net.callbacks = [*callbacks, ("scores of all layers", scores)]
    net.set_params(module__candidates=tuple(layers))
    net.fit(pairs[train], y[train], sample_weight=take_weights(weights, train))
    if not keep:
        return None, scores.scores_
    if scores.best_state_ is not None:
        net.module_.load_state_dict(scores.best_state_)
    return net, scores.scores_


def _as_array(found: list[list[list[float]]], n_candidates: int, n_splits: int) -> np.ndarray:
    """Scores by epoch and layer of every training, (n_candidates, n_splits, n_layers, n_epochs)."""
    n_epochs = max(len(scores) for scores in found)
    array = np.full((len(found), len(found[0][0]), n_epochs), np.nan)
    for place, scores in zip(array, found, strict=True):
        place[:, : len(scores)] = np.transpose(scores)
    return array.reshape(n_candidates, n_splits, *array.shape[1:])


def _best_so_far(runs: list[tuple[Any, list[list[float]]]], n_splits: int) -> str:
    """The highest mean over splits of the candidates that are through."""
    n_through = len(runs) // n_splits
    if not n_through:
        return ""
    found = [scores for _, scores in runs[: n_through * n_splits]]
    means = _as_array(found, n_through, n_splits).mean(axis=1)
    return f"best {np.nanmax([-np.inf, *means.flat]):.3f}"


def _first_highest(means: np.ndarray) -> tuple[int, int, int]:
    """Candidate, epoch (from 1) and layer of the highest mean; the first of equals, in turn."""
    by_epoch = means.transpose(0, 2, 1)
    candidate, column, row = np.unravel_index(np.nanargmax(by_epoch), by_epoch.shape)
    return int(candidate), int(column) + 1, int(row)


def _predicting_by(layer: Layers, estimator: SiameseRDMRegressor, net: Any) -> Any:
    """The network that was trained with candidates, as if it had one of them as its read-out.

    Built anew, without what only other candidates need, so that its parameters describe it.
    """
    final = estimator.set_params(read_out=layer).initialize()
    final.module_.take_over(net.module_, read_out=layer)
    for learned in ("history_", "rng_", "subject_pooling_"):
        setattr(final, learned, getattr(net, learned))
    return final
