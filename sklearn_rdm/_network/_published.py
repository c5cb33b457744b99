"""Models as published, in the terms of this package."""

from __future__ import annotations

from typing import Any

from torch import nn, optim

from sklearn_rdm._network._siamese import SiameseRDMRegressor
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.preprocessing import SubjectPooling

__all__ = ["make_agrawal2019"]

_ALEXNET = {"backbone": "alexnet", "layer": "fc8", "freeze_from": "conv5"}
_VGG = {"backbone": "vgg16", "layer": "fc8", "read_out": "fc7", "module__fully_convolutional": True}
_AGRAWAL2019: dict[str, dict[str, Any]] = {
    "meg_early": {**_ALEXNET, "read_out": "relu4", "batch_size": 16, "max_epochs": 164},
    "meg_late": {**_VGG, "batch_size": 16, "max_epochs": 13},
    "fmri_evc": {**_ALEXNET, "read_out": "relu3", "batch_size": 32, "max_epochs": 250},
    "fmri_it": {**_VGG, "freeze_up_to": "conv5_2", "batch_size": 32, "max_epochs": 116},
}


def make_agrawal2019(model: str, **params: Any) -> SiameseRDMRegressor:
    """Make one of the four twin networks of Agrawal (2019), with its published settings.

    Squared error, averaged over random mini-batches of pairs; gradient descent at 0.005 with
    momentum 0.9 and weight decay 0.0005; images of 224 pixels; no reference. The loss stands at
    the top of the network, and a layer below it is read out [1]_.

    Parameters
    ----------
    model : {"meg_early", "meg_late", "fmri_evc", "fmri_it"}
        What it was made to predict. Those of MEG rescale the subjects' mean z-scores by
        ``(z + 2) / 5``; those of fMRI do not.
    **params
        Parameters of :class:`SiameseRDMRegressor` that you want to change.

    Returns
    -------
    regressor : SiameseRDMRegressor
        Not fitted.

    Raises
    ------
    ValueError
        If ``model`` is none of the four.

    See Also
    --------
    SiameseRDMRegressor : Its defaults predict new images better, after a tenth of the epochs.

    Notes
    -----
    The paper chose read-out layer and number of epochs by the scores it reports. Its MEG late model
    was read out at images of 300 x 300 pixels: see the user guide.

    The paper names no momentum and no weight decay. Both are the defaults of ``cnn_train_dag`` of
    MatConvNet [3]_, which trains the example that the paper cites [2]_; whether its author changed
    them is not known. Without momentum, ``optimizer__momentum=0``, a step is ten times smaller in
    the long run.

    References
    ----------
    .. [1] A. Agrawal (2019). "Dissimilarity learning via Siamese network predicts brain imaging
       data".
    .. [2] K. Lenc. "siamese-mnist", https://github.com/lenck/siamese-mnist.
    .. [3] A. Vedaldi, K. Lenc (2015). "MatConvNet: convolutional neural networks for MATLAB". ACM
       Multimedia.

    Examples
    --------
    >>> from sklearn_rdm import make_agrawal2019
    >>> net = make_agrawal2019("meg_early", max_epochs=5)
    >>> net.backbone, net.read_out, net.lr, net.max_epochs
    ('alexnet', 'relu4', 0.005, 5)
    >>> net.get_params()["optimizer__momentum"]
    0.9
    """
    check_option("model", model, _AGRAWAL2019)
    training = {
        "image_size": 224,
        "reference": None,
        "batching": "pairs",
        "criterion": nn.MSELoss,
        "optimizer": optim.SGD,
        "optimizer__momentum": 0.9,
        "optimizer__weight_decay": 0.0005,
        "lr": 0.005,
        "subject_pooling": SubjectPooling("zscore", rescale=model.startswith("meg")),
    }
    return SiameseRDMRegressor(**training | _AGRAWAL2019[model] | params)
