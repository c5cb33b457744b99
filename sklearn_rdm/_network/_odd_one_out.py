"""The estimator that trains a twin network on choices of the odd one out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils import ClassifierTags
from sklearn.utils.metaestimators import available_if
from torch import Tensor
from torch.utils.data import Subset

from sklearn_rdm._models._odd_one_out import ChoiceScoreMixin
from sklearn_rdm._network._batch_orders import PairBatches
from sklearn_rdm._network._datasets import gives_validation
from sklearn_rdm._network._image_reader import ImageReader
from sklearn_rdm._network._pair_training import split_by_image, weighted_rows
from sklearn_rdm._network._read_out import Layers
from sklearn_rdm._network._siamese import SiameseRDMRegressor
from sklearn_rdm._network._training_options import check_fit_params, check_options
from sklearn_rdm._network._triplet_batches import (
    OrderedTripletBatches,
    TripletDataset,
    TripletImageBatches,
)
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._pairs import ImagePairs, ImageTriplets
from sklearn_rdm._pairs._leaks import warn_of_leak_in_validation
from sklearn_rdm._pairs._triplets import check_choices, check_triplets
from sklearn_rdm._pairs._weights import check_weights, keep_weighted
from sklearn_rdm.losses import OddOneOutLoss
from sklearn_rdm.preprocessing._pooling import as_pooling

__all__ = ["SiameseOddOneOutClassifier"]

TEMPERATURE = 0.1  # of correlations, which span 2 at most
AT_ONCE = 1 << 16  # triplets in evaluation, of the images of one data set


def _has_probabilities(net: Any) -> bool:
    criterion = getattr(net, "criterion", None)
    return criterion is OddOneOutLoss or isinstance(criterion, OddOneOutLoss)


class SiameseOddOneOutClassifier(ChoiceScoreMixin, SiameseRDMRegressor):
    """Fine-tune a pretrained CNN so that distances of its activations predict choices.

    Of three images, the two with the smallest distance ``d = 1 - Pearson r(f(x1), f(x2))`` are left
    together; the third is the odd one out. Training minimises the negative log likelihood of the
    choices, by a softmax over ``-d / T`` of the three pairs of a triplet [1]_ [2]_. Each image of a
    mini-batch is forwarded once, however many triplets contain it.

    It is a :class:`SiameseRDMRegressor` in all but what it learns from, and takes its parameters:
    ``freeze_up_to``, ``lr``, ``max_epochs``, ``memory``, ``train_split`` and so on.

    Parameters
    ----------
    backbone : str or callable, default="alexnet"
        As in :class:`SiameseRDMRegressor`.
    layer : str or sequence of str, default=None
        As in :class:`SiameseRDMRegressor`.
    batching : {"images", "triplets"}, default="images"
        "images" trains on all triplets among a mini-batch of images, which suits many triplets of
        few images; "triplets" on a mini-batch of random triplets, which suits triplets that hardly
        share images.
    batch_size : int, default=48
        Images or triplets of a mini-batch, as ``batching`` says.
    criterion : torch loss, default=OddOneOutLoss
        :class:`~sklearn_rdm.losses.OddOneOutLoss`, whose ``T`` is ``criterion__temperature``, 0.1
        unless given; or :class:`~sklearn_rdm.losses.TripletHingeLoss`, whose margin is
        ``criterion__margin``. One of your own has the attribute ``of_triplets = True``. It is
        called with dissimilarities, shape (n_triplets, 3), or, if it has ``of_similarities = True``
        as well, with their negatives, and with the choices.
    read_out, weights, freeze_up_to, freeze_from, image_size, reference, spatial_pooling, tokens, \
noise_ratio, pretrained_penalty, optimizer, lr, max_epochs, subject_pooling, train_split, memory, \
checkpoint, precision, random_state, device, verbose, module : optional
        As in :class:`SiameseRDMRegressor`, with its defaults. ``subject_pooling`` has no effect,
        ``reference="auto"`` subtracts nothing, and ``train_split`` must be a splitter or None.
    **kwargs
        As in :class:`SiameseRDMRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (3,)
        The places of the odd one out: 0, 1, 2.
    layer_weights_ : ndarray of shape (n_layers,)
        As in :class:`SiameseRDMRegressor`.
    module_, history_, network_options_, rng_, subject_pooling_
        As in :class:`SiameseRDMRegressor`; nothing is pooled.

    See Also
    --------
    OddOneOutAlignment : A linear transform of fixed features: fast, and the baseline to beat.
    sklearn_rdm.preprocessing.choices_to_rdm : Many choices as one dissimilarity matrix.

    References
    ----------
    .. [1] C. Y. Zheng, F. Pereira, C. I. Baker, M. N. Hebart (2019). "Revealing interpretable
       object representations from human behavior". ICLR.
    .. [2] L. Muttenthaler, J. Dippel, L. Linhardt, R. A. Vandermeulen, S. Kornblith (2023). "Human
       alignment of neural network representations". ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rdm import ImageTriplets, SiameseOddOneOutClassifier
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    >>> trials = [[0, 1, 5], [2, 4, 3], [0, 2, 1], [3, 5, 4]]  # the odd one out is the last
    >>> triplets, choices = ImageTriplets.from_odd_one_out(images, trials)
    >>> net = SiameseOddOneOutClassifier(
    ...     "alexnet", "conv2", weights=None, image_size=64, max_epochs=2, random_state=0
    ... )
    >>> net.fit(triplets, choices).predict(triplets).shape
    (4,)
    >>> net.transform(images).shape
    (6, 6)
    """

    batchings = {"images": TripletImageBatches, "triplets": PairBatches}

    def __init__(
        self,
        backbone: Any = "alexnet",
        layer: Layers = None,
        *,
        batching: str = "images",
        batch_size: int = 48,
        criterion: Any = OddOneOutLoss,
        read_out: Layers = None,
        weights: Any = "DEFAULT",
        freeze_up_to: str | None = None,
        freeze_from: str | None = None,
        image_size: Any = None,
        reference: Any = "auto",
        spatial_pooling: Any = None,
        tokens: str = "all",
        noise_ratio: float = 0.0,
        pretrained_penalty: float = 0.0,
        optimizer: Any = torch.optim.AdamW,
        lr: float = 0.001,
        max_epochs: int = 10,
        subject_pooling: Any = "zscore",
        train_split: Any = None,
        memory: Any = None,
        checkpoint: Any = None,
        precision: str | None = None,
        random_state: Any = None,
        device: Any = "cpu",
        verbose: int = 0,
        module: Any = TwinNetwork,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            backbone=backbone,
            layer=layer,
            read_out=read_out,
            weights=weights,
            freeze_up_to=freeze_up_to,
            freeze_from=freeze_from,
            image_size=image_size,
            reference=reference,
            spatial_pooling=spatial_pooling,
            tokens=tokens,
            noise_ratio=noise_ratio,
            pretrained_penalty=pretrained_penalty,
            batching=batching,
            batch_size=batch_size,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            subject_pooling=subject_pooling,
            train_split=train_split,
            memory=memory,
            checkpoint=checkpoint,
            precision=precision,
            random_state=random_state,
            device=device,
            verbose=verbose,
            module=module,
            **kwargs,
        )

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any
    ) -> SiameseOddOneOutClassifier:
        """Train the network.

        Parameters
        ----------
        X : ImageTriplets
            The training triplets, of photographs.
        y : array-like of int, shape (n_triplets,)
            Place of the odd one out in each, 0 to 2.
        sample_weight : array-like of shape (n_triplets,), default=None
            How much each triplet counts in the loss of a mini-batch, 0 or more: a weight of 2 is a
            triplet given twice; 0 is a triplet left out. None: all alike.
        **fit_params : dict
            ``epochs`` in place of ``max_epochs``; nothing else.

        Returns
        -------
        self : SiameseOddOneOutClassifier
            The fitted estimator. It is left as it was if the input raises an error.

        Raises
        ------
        TypeError, ValueError
            If X is not an ImageTriplets, a choice is not a place in its triplet, ``criterion`` is
            not a loss of triplets, or as in :meth:`SiameseRDMRegressor.fit`.
        """
        super().fit(X, y, sample_weight, **fit_params)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the odd one out.

        Parameters
        ----------
        X : ImageTriplets
            Any triplets. Each distinct image is forwarded once.

        Returns
        -------
        choices : ndarray of int, shape (n_triplets,)
            The place of the image beside the most similar pair; -1 for a tie, which scores count
            as wrong.
        """
        dissim = self._dissimilarities(X)
        tied = (dissim == dissim.min(axis=1, keepdims=True)).sum(axis=1) > 1
        return np.where(tied, -1, dissim.argmin(axis=1))

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each image to be chosen as the odd one out.

        There are probabilities if ``criterion`` is :class:`~sklearn_rdm.losses.OddOneOutLoss`.

        Parameters
        ----------
        X : ImageTriplets
            As in :meth:`predict`.

        Returns
        -------
        probability : ndarray of shape (n_triplets, 3)
            The softmax of ``-d / T``: rows sum to 1; 0 for a reference.
        """
        return softmax(-self._dissimilarities(X) / self.criterion_.temperature, axis=1)

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(3)

    def initialize_criterion(self) -> SiameseOddOneOutClassifier:
        """Make the loss (called by ``initialize``).

        Raises
        ------
        ValueError
            If ``criterion`` is not a loss of triplets.
        """
        super().initialize_criterion()
        if not getattr(self.criterion_, "of_triplets", False):
            raise ValueError(
                f"criterion must be a loss of triplets, got {self.criterion!r}. Give "
                "OddOneOutLoss or TripletHingeLoss of sklearn_rdm.losses."
            )
        return self

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Let the temperature suit correlations unless it is given (called by skorch)."""
        params = super().get_params_for(prefix)
        if prefix == "criterion" and self.criterion is OddOneOutLoss:
            params.setdefault("temperature", TEMPERATURE)
        return params

    def get_split_datasets(self, X: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Split into training and validation triplets by image."""
        if self.train_split is None:
            self._check_monitored()
        train, valid = split_by_image(self, X, y)
        weighted_rows(self, train)  # the criterion must take weights, if there are any
        self.subject_pooling_ = as_pooling(self.subject_pooling)
        pairs, learned = _pairs_of(X), X[train].used_images
        self._settle_mean_image(pairs, learned)
        dataset = TripletDataset(X, y, *self._network_inputs(pairs, X.used_images))
        weights = self._weights_of_pairs
        dataset.weights = None if weights is None else np.asarray(weights, np.float32)
        self._settle(dataset, pairs, learned)
        if valid is None:
            return dataset, None
        return Subset(dataset, train.tolist()), Subset(dataset, valid.tolist())

    def infer(self, x: Any, **_: Any) -> Tensor:
        """Predict the three dissimilarities of each triplet of one mini-batch."""
        dissim = super().infer(x).reshape(-1, 3)
        return dissim.where(torch.tensor(x.possible, device=dissim.device), torch.inf)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags, tags.regressor_tags = ClassifierTags(), None
        return tags

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, fit_params: dict[str, Any]
    ) -> tuple[Any, np.ndarray, dict[str, Any]]:
        check_fit_params(fit_params, "triplets and choices.")
        y = check_choices(X, y)
        X, y, weights = keep_weighted(check_weights(sample_weight, len(y)), X, y)
        check_options(self, X.images)
        if gives_validation(self.train_split):
            raise ValueError(
                "train_split must be None or an image-wise splitter such as ImageShuffleSplit(1, "
                f"test_size=0.2), got {self.train_split!r}: other triplets to validate on cannot "
                "be given."
            )
        return X, y, fit_params if weights is None else fit_params | {"sample_weight": weights}

    def _loss_of_targets(self, y_pred: Tensor, y_true: Any, X: Any, training: bool) -> Any:
        if getattr(self.criterion_, "of_similarities", False):
            y_pred = -y_pred
        return super()._loss_of_targets(y_pred, y_true, X, training)

    def _batches(self, dataset: Any, batch_size: int | None, drop_last: bool) -> Any:
        if batch_size is None:
            size = self.batch_size if self.batching == "triplets" else AT_ONCE
            return OrderedTripletBatches(len(dataset), size if size > 0 else AT_ONCE)
        return super()._batches(dataset, batch_size, drop_last)

    def _open(self, X: Any, rows: np.ndarray | None = None, background: Any = None) -> ImageReader:
        images = X.images if isinstance(X, ImageTriplets) else X
        return super()._open(images, rows, background)

    def _dissimilarities(self, X: Any) -> np.ndarray:
        """Of the two images beside each of a triplet, (n_triplets, 3); inf beside a reference."""
        if isinstance(X, torch.utils.data.Dataset):  # skorch's callbacks score their own data
            return np.concatenate([y.numpy(force=True) for y in self.forward_iter(X)])
        check_triplets(X)
        if len(X) == 0:
            return np.empty((0, 3), dtype=np.float32)
        warn_of_leak_in_validation(self, X)
        dissim = super().predict(_pairs_of(X)).reshape(-1, 3)
        return np.where(X.possible, dissim, np.inf)


def _pairs_of(triplets: ImageTriplets) -> ImagePairs:
    """The three pairs of each triplet, one after another."""
    return ImagePairs(triplets.images, triplets.pair_index.reshape(-1, 2))
