"""The paper's models."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
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
    step = net.get_params_for("optimizer")
    assert (step["momentum"], step["weight_decay"]) == (0.9, 0.0005)


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


def test_a_step_is_that_of_matconvnet():
    """Velocity from the mean gradient of the batch, decay and momentum, in numpy."""
    data = make_rdm_regression(5, image_size=64, random_state=0)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    changes = {"weights": None, "image_size": 64, "random_state": 0, "batch_size": -1}
    net = make_agrawal2019("meg_early", layer="conv1", read_out=None, freeze_from=None, **changes)
    net.set_params(max_epochs=3, train_split=None).initialize()
    weight, bias = net.module_.trained_parameters()
    steps, gradients = [], []
    net.callbacks_.append(("look", _Recorder(weight, steps, gradients)))
    net.partial_fit(pairs, dissim)
    velocity, expected = 0, steps[0]
    for gradient, after in zip(gradients, steps[1:], strict=False):
        velocity = 0.9 * velocity - 0.0005 * expected - gradient
        expected = expected + 0.005 * velocity
        np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-7)
    assert len(gradients) == 3


class _Recorder(Callback):
    """Keeps the weights before each step, and the gradients that the optimizer is given."""

    def __init__(self, weight, steps, gradients):
        self.weight, self.steps, self.gradients = weight, steps, gradients

    def on_batch_begin(self, net, training=None, **kwargs):
        if training:
            self.steps.append(self.weight.detach().numpy().copy())

    def on_grad_computed(self, net, **kwargs):
        self.gradients.append(self.weight.grad.numpy().copy())

    def on_epoch_end(self, net, **kwargs):
        if len(self.gradients) == 3:
            self.steps.append(self.weight.detach().numpy().copy())
