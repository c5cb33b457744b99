"""The paper's models."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_rdm import ImagePairs, make_agrawal2019
from sklearn_rdm.datasets import make_rdm_regression

MODELS = {
    "meg_early": ("alexnet", "relu4", "conv5", None, 16, 164),
    "meg_late": ("vgg16", "fc7", None, None, 16, 13),
    "fmri_evc": ("alexnet", "relu3", "conv5", None, 32, 250),
    "fmri_it": ("vgg16", "fc7", None, "conv5_2", 32, 116),
}


@pytest.mark.parametrize("model", MODELS)
def test_settings_are_the_published_ones(model):
    net = make_agrawal2019(model)
    of_network = (net.backbone, net.read_out, net.freeze_from, net.freeze_up_to)
    assert (*of_network, net.batch_size, net.max_epochs) == MODELS[model]
    assert (net.layer, net.image_size, net.lr, net.batching) == ("fc8", 224, 0.005, "pairs")
    assert (net.criterion, net.optimizer) == (nn.MSELoss, torch.optim.SGD)
    assert net.reference is None


def test_targets_of_meg_are_rescaled_those_of_fmri_are_not():
    y = np.random.default_rng(0).gamma(2.0, size=(45, 4))
    z = ((y - y.mean(axis=0)) / y.std(axis=0)).mean(axis=1)
    for model, expected in (("meg_late", (z + 2) / 5), ("fmri_it", z)):
        pooling = make_agrawal2019(model).subject_pooling
        np.testing.assert_allclose(pooling.fit_transform(y), expected)


def test_what_is_given_takes_the_place_of_what_is_published():
    data = make_rdm_regression(5, image_size=64, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    changes = {"weights": None, "image_size": 64, "max_epochs": 1, "random_state": 0}
    net = make_agrawal2019("meg_early", **changes).fit(pairs, dissim)
    assert len(net.history_) == 1
    assert net.predict(pairs).shape == (10,)


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match=r"model must be one of \['meg_early'.*got 'meg'"):
        make_agrawal2019("meg")
