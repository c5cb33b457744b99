"""The estimator that trains a twin network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sklearn_rdm._models._base import RDMRegressorMixin
from sklearn_rdm._network._checkpoint import make_checkpoint
from sklearn_rdm._network._export import ExportMixin
from sklearn_rdm._network._predictions import TwinPredictions
from sklearn_rdm._network._read_out import Layers
from sklearn_rdm._network._shown_parameters import ShownParameters
from sklearn_rdm._network._training import TwinTraining
from sklearn_rdm._network._training_options import check_fit_params, check_options
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._patterns import check_fit_images
from sklearn_rdm._pairs._weights import check_samples_are_pairs, check_weighted_pairs
from sklearn_rdm.losses import CorrelationLoss

__all__ = ["SiameseRDMRegressor"]


class SiameseRDMRegressor(
    RDMRegressorMixin, ExportMixin, ShownParameters, TwinPredictions, TwinTraining
):
    """Fine-tune a pretrained CNN so that distances of its activations predict dissimilarities.

    Two branches with shared weights see the two images of a pair. The prediction is
    ``1 - Pearson r(f(x1), f(x2))`` with ``f`` the flattened activations of one layer, from 0 to 2;
    gradient descent brings it near the observed dissimilarity [1]_. The defaults are the settings
    that predicted new images best; those of the paper are in :func:`make_agrawal2019`.
    Each image of a mini-batch passes the network once, not once per pair.

    It is a :class:`skorch.NeuralNetRegressor`: ``callbacks``, ``optimizer__*``, ``warm_start``,
    ``partial_fit``, ``save_params`` and so on work as documented there, and all its parameters are
    accepted here.

    Parameters
    ----------
    backbone : str or callable, default="alexnet"
        A torchvision classification network, "efficientnet_lite0" (1, 2), a network of timm as
        "timm/resnet18.a1_in1k", or a factory or module class that returns a
        :class:`torch.nn.Module`. timm's networks see images as timm prepares them. Other
        networks of your own see images resized to 224 x 224 (or ``image_size``) and scaled by
        ImageNet's mean and standard deviation, unless their ``pretrained_cfg`` says otherwise.
        Parameters that they freeze (``requires_grad=False``) stay frozen.
        :func:`list_layers` lists the layers.
    layer : str or sequence of str, default=None
        Layer whose distances are trained to predict: a node name as in torchvision's feature
        extraction, a module name (its last node), or, for AlexNet and VGG, a name of the papers
        ("conv4", "relu5_2", "pool5", "fc7"). Of a module that is called several times, ``name_1``
        is the second call. None takes the input of the last layer with parameters. Several layers
        are joined: the activations of each are centred, scaled so that all layers have the same
        mean squared length over the training images before training, multiplied by a learned weight
        of 0 or more, and concatenated.
    read_out : str, default=None
        Layer used for prediction, ``transform`` and ``embed``, if different from ``layer``. Layers
        after ``layer`` stay as pretrained.
    weights : str, path or None, default="DEFAULT"
        A name of torchvision's weights, a ``.pth`` or ``.safetensors`` file, or None for random
        weights.
    freeze_up_to : str, default=None
        Layers from the input up to and including this one are not trained. Their activations are
        computed once per image in each ``fit``.
    freeze_from : str, default=None
        This layer and all after it are not trained.
    image_size : int or (height, width), default=None
        Images are resized to this many pixels, without a crop. None takes the resizing and centre
        crop that the weights were trained with.
    reference : {"auto", "background", "mean", "white", "grey", "black"}, (r, g, b) or None, \
default="auto"
        An image whose activations are subtracted from those of every image before the correlation:
        what all images share because of their common background then no longer counts as
        similarity. A blank one of this colour (0..1), "background" for a blank one of each image's
        own ``ImagePairs.background``, or "mean" for the pixel-wise mean of the training images.
        "auto" is "background" if the training pairs state theirs, and none if they do not.
        Held-out images are never read for it.
    spatial_pooling : int or (height, width), default=None
        Maps are averaged to this many places per channel before the correlation; smaller ones,
        and vectors, stay as they are. None keeps all places.
    tokens : {"all", "cls", "mean"}, default="all"
        Which tokens of a transformer are correlated: all, the class token, or the mean of those of
        the patches. Layers that are vectors stay as they are.
    noise_ratio : float, default=0.0
        The variance of independent noise that is assumed in measured patterns, over the mean
        variance of the activations of the training images before training. Noise attenuates
        correlations, most of all those of images to which the response is weak [2]_: with ``x`` the
        centred activations of an image minus the reference's, and ``s`` the ratio times the mean of
        ``|x|**2``, the prediction is ``1 - x1 @ x2 / sqrt((|x1|**2 + s) * (|x2|**2 + s))``. 0 is
        Pearson's correlation; 1 predicts early visual responses better, see the user guide.
    pretrained_penalty : float, default=0.0
        How strongly training is held near the dissimilarities of the untrained network. Added to
        the loss of a mini-batch is ``pretrained_penalty * mean((d - d_0)**2)`` over its pairs, with
        ``d`` the prediction and ``d_0`` that of the network as it was built, by ``layer``. It acts
        on training only; ``valid_loss`` is without it. Search it on a logarithmic scale: with
        :class:`~sklearn_rdm.losses.CorrelationLoss`, 1 to 100.
    batching : {"images", "pairs"}, default="images"
        "images" trains on all labelled pairs among a mini-batch of images (never mixing image sets
        that share no pair), "pairs" on a mini-batch of random pairs, as in [1]_.
    batch_size : int, default=48
        Images or pairs of a mini-batch, as ``batching`` says.
    criterion : torch loss, default=CorrelationLoss
        Called with predicted and observed dissimilarities of a mini-batch, shape (n_pairs,).
        :class:`~sklearn_rdm.losses.CorrelationLoss` is free of scale; :class:`torch.nn.MSELoss` is
        the paper's. One with the attribute ``needs_index = True`` is also given the images of each
        pair, (n_pairs, 2).
    optimizer : torch optimizer, default=torch.optim.AdamW
        Its own parameters are given as ``optimizer__weight_decay`` and so on.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Passes over the images or pairs.
    subject_pooling : str or SubjectPooling, default="zscore"
        How subjects, the columns of ``y`` (averaged over time points), become one target, learned
        on the training pairs only: "zscore" is the paper's mean over subjects of z-scores, rescaled
        by ``(z + 2) / 5``; see :class:`sklearn_rdm.preprocessing.SubjectPooling`. A one-dimensional
        ``y`` is the target as it is.
    train_split : splitter or function, default=None
        Chooses the validation pairs of ``fit`` (for early stopping, schedulers, checkpoints): those
        of the first split of an image-wise splitter of :mod:`sklearn_rdm.model_selection`, or other
        data, ``skorch.helper.predefined_split(skorch.dataset.Dataset(pairs, dissim))``, none of
        whose images may be a training image.
    memory : str, path or joblib.Memory, default=None
        Folder that keeps the activations of frozen layers, found by image content and shared by
        the folds, candidates and workers of a search, and by later sessions.
    checkpoint : str or path, default=None
        Folder in which ``fit`` saves its training after epochs (in at most a tenth of the time) and
        its result. The same call, with the same data and package versions, continues after the last
        saved epoch, or reads the result; its weights are bit for bit those of an uninterrupted
        training. Any number of fits may share a folder, also those of a search. It needs a
        ``random_state``. ``partial_fit``, and a ``fit`` that continues an earlier one
        (``warm_start``), do not use it.
    precision : {None, "float32", "bf16"}, default=None
        "bf16" runs trained layers in bfloat16 where that is safe (autocast).
    random_state : int, RandomState or None, default=None
        Seeds mini-batches, random weights and dropout. The same int gives the same weights bit for
        bit, with any number of threads and in any worker; with None, two fits differ.
    device : str, default="cpu"
        Where the network runs, e.g. "cuda".
    verbose : int, default=0
        Above 0 prints a line per epoch, and shows a bar while activations are computed.
    module : type, default=TwinNetwork
        The class of the network.
    **kwargs
        All other parameters of :class:`skorch.NeuralNet`, and of the network as ``module__...``:

        - ``module__freeze_batch_norm=True``: the statistics of batch normalisation stay as
          pretrained also in trained layers. With False, a prediction in training depends on the
          other images of the batch.
        - ``module__dropout=False``: whether dropout and stochastic depth of trained layers are
          active in training, where these are modules.
        - ``module__fully_convolutional=False``: of AlexNet and VGG, whether fully connected layers
          slide over larger maps (the paper's toolbox) or see a pooled map (torchvision).
        - ``module__layout=None``, ``module__n_prefix_tokens=None``: which axes of activations are
          which, and how many tokens are not patches, where this cannot be detected; see
          :class:`LayerActivations`.

    Attributes
    ----------
    module_ : TwinNetwork
        The trained network.
    subject_pooling_ : SubjectPooling
        The pooling as fitted on the training pairs.
    layer_weights_ : ndarray of shape (n_layers,)
        The weights of the layers that are trained together, 1 before training.
    network_options_ : dict
        The parameters that the network was built with: ``partial_fit`` raises an error for others.
    history_ : skorch.history.History
        Losses and times of every epoch.
    rng_ : RandomState
        The random numbers that draw mini-batches; ``partial_fit`` continues them.

    See Also
    --------
    make_agrawal2019 : The models and the training of the paper.
    FixedRSARegressor : The same read-out of a fixed network, the baseline to beat.
    sklearn_rdm.model_selection.ImageKFold : Cross-validation that holds out images, not pairs.

    References
    ----------
    .. [1] A. Agrawal (2019). "Dissimilarity learning via Siamese network predicts brain imaging
       data".
    .. [2] C. Spearman (1904). "The proof and measurement of association between two things",
       American Journal of Psychology 15, 72-101.

    Examples
    --------
    >>> from sklearn_rdm import ImagePairs, SiameseRDMRegressor
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=6, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> net = SiameseRDMRegressor(
    ...     "alexnet", "conv2", weights=None, image_size=64, max_epochs=2, random_state=0
    ... )
    >>> net.fit(pairs, dissim).predict(pairs).shape
    (15,)
    >>> net.transform(data.images).shape
    (6, 6)
    """

    def __init__(
        self,
        backbone: Any = "alexnet",
        layer: Layers = None,
        *,
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
        batching: str = "images",
        batch_size: int = 48,
        criterion: Any = CorrelationLoss,
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
        self.backbone = backbone
        self.layer = layer
        self.read_out = read_out
        self.weights = weights
        self.freeze_up_to = freeze_up_to
        self.freeze_from = freeze_from
        self.image_size = image_size
        self.reference = reference
        self.spatial_pooling = spatial_pooling
        self.tokens = tokens
        self.noise_ratio = noise_ratio
        self.pretrained_penalty = pretrained_penalty
        self.batching = batching
        self.subject_pooling = subject_pooling
        self.memory = memory
        self.checkpoint = checkpoint
        self.precision = precision
        self.random_state = random_state
        super().__init__(
            module,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            device=device,
            verbose=verbose,
            **kwargs,
        )

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any
    ) -> SiameseRDMRegressor:
        """Train the network.

        Parameters
        ----------
        X : ImagePairs, or array-like of shape (n_pairs, 2, ...) or (n_pairs, 2) of paths
            The training pairs.
        y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
            Their observed dissimilarities, in any unit and range (``criterion`` compares them with
            correlation distances, 0 to 2); NaN where a subject has no value.
        sample_weight : array-like of shape (n_pairs,), default=None
            How much each pair counts, 0 or more: in the loss of a mini-batch a weight of 2 is a
            pair given twice; 0 is a pair left out. ``criterion`` must take weights, as those of
            :mod:`sklearn_rdm.losses` do, or have torch's ``reduction``. None: all alike.
        **fit_params : dict
            ``epochs`` in place of ``max_epochs``; nothing else.

        Returns
        -------
        self : SiameseRDMRegressor
            The fitted estimator. If the input raises an error, or if you interrupt training
            (Ctrl-C) in its first epoch, it is left as it was. If you interrupt it later, it keeps
            the weights reached so far.

        Raises
        ------
        TypeError
            If another keyword is given.
        ValueError
            If there are fewer than 3 images, if dissimilarities are missing, infinite or all
            equal, if a layer is unknown or named twice, if nothing is left to train, if weights do
            not fit, if an image has constant activations (and ``noise_ratio`` is 0), if the loss
            stops being finite, or if ``criterion`` cannot weight pairs. With ``checkpoint``, if a
            parameter holds ``random_state=None``, or an object that has no content to recognise it
            by in another session.
        OSError
            If the folder ``checkpoint`` cannot be made or written to.

        Warns
        -----
        UserWarning
            If subjects are left out because they have fewer than two of the training pairs; pairs
            that only they have are then left out as well. If training is interrupted. With
            ``checkpoint``, if training starts from the beginning although the folder holds an
            unfinished one, because that is damaged or of a call that differs in what is named; if
            the state after an epoch, or a part of a callback's state, cannot be written.
        """
        X, y, fit_params = self._checked(X, y, sample_weight, fit_params)
        if self.warm_start and self.initialized_:
            return self.partial_fit(X, y, **fit_params)
        checkpoint = make_checkpoint(self, X, y, **fit_params)
        with self._undone_on_error():
            self.initialize()
            return self._train(X, y, checkpoint=checkpoint, **fit_params)

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,  # noqa: ARG002  # scikit-learn's
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> SiameseRDMRegressor:
        """Train on from the present weights for ``max_epochs`` more epochs.

        Parameters
        ----------
        X, y : as in :meth:`fit`
            The subjects' pooling of the first call is kept.
        classes : None
            Ignored.
        sample_weight : array-like of shape (n_pairs,), default=None
            As in :meth:`fit`.
        **fit_params : dict
            As in :meth:`fit`.

        Returns
        -------
        self : SiameseRDMRegressor
            The fitted estimator. It is left as it was if the input raises an error, as in
            :meth:`fit`.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`fit`, and if parameters of the network other than ``freeze_up_to`` and
            ``freeze_from`` were changed since it was built. Change these two to unfreeze layers
            gradually: the weights are kept, and the optimizer starts afresh.
        """
        X, y, fit_params = self._checked(X, y, sample_weight, fit_params)
        with self._undone_on_error():
            if self.initialized_:
                self._check_built()
            else:
                self.initialize()
            return self._train(X, y, **fit_params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def _n_subtasks(self, **fit_params: Any) -> int:
        """Epochs, for the bars of scikit-learn's callbacks."""
        return int(fit_params.get("epochs") or self.max_epochs)

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, fit_params: dict[str, Any]
    ) -> tuple[ImagePairs, np.ndarray, dict[str, Any]]:
        """Pairs, dissimilarities and options to train on, once all that is given was looked at."""
        check_fit_params(
            fit_params,
            "pairs and dissimilarities. Subjects are weighted by "
            "subject_pooling=SubjectPooling(subject_weight=...).",
        )
        weights = None
        if isinstance(y, ResponsePatterns) and self.batching == "images":
            check_samples_are_pairs(y, sample_weight)
            X, y = check_fit_images(X, y)
        else:
            X, y, weights = check_weighted_pairs(X, y, sample_weight, keep_rows=True)
        check_options(self, X.images)
        return X, y, fit_params if weights is None else fit_params | {"sample_weight": weights}
