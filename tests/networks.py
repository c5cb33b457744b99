"""Small networks, data and recorders that tests of the twin network share."""

import functools

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_rdm import ImagePairs, LayerActivations, SiameseRDMRegressor
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm.datasets import make_rdm_regression

# A loss and steps that the textbook below can write out.
PLAIN = {"criterion": nn.MSELoss, "optimizer": torch.optim.SGD}


class TinyNetwork(nn.Module):
    """Everything a network of photographs has, in a hundredth of a second."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=2)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(12)
        self.relu2 = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.conv3 = nn.Conv2d(12, 12, 3)
        self.relu3 = nn.ReLU()
        self.fc = nn.Linear(12 * 8 * 8, 10)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.relu3(self.conv3(self.drop(x))).flatten(1))


class OneChannel(nn.Module):
    """Sees a uniform image as a constant map."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 5)

    def forward(self, x):
        return self.conv(x)


class TwoLayers(nn.Module):
    """Two layers of one number of weights, so that a wrong one can have the right size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 6)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


def tiny_net(**params):
    defaults = {"layer": "relu3", "image_size": 48, "max_epochs": 1, "random_state": 0}
    defaults |= {"backbone": TinyNetwork, "batch_size": 4, "lr": 0.1}
    return SiameseRDMRegressor(**PLAIN | defaults | params)


@functools.cache
def make_data(n_images=8, image_size=48, n_subjects=3):
    return make_rdm_regression(n_images, n_subjects, image_size=image_size, random_state=0)


def make_pairs(n_images=8, image_size=48):
    data = make_data(n_images, image_size)
    return ImagePairs.from_rdms(data.images, data.rdms)


def weights(net):
    state = net.module_.state_dict().items()
    return {name: value.clone() for name, value in state if name != "settled"}


def same_bits(first, second):
    first, second = (w if isinstance(w, dict) else weights(w) for w in (first, second))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


class Recorder(Callback):
    """Keeps what every step was given and what came of it."""

    def on_train_begin(self, net, **kwargs):
        self.initial_, self.steps_ = weights(net), []

    def on_grad_computed(self, net, batch, named_parameters, **kwargs):
        pairs, target = batch
        self.steps_.append(
            {
                "index": pairs.images[pairs.index.numpy()],
                "images": pairs.images,
                "target": target.clone(),
                "weights": weights(net),
                "gradients": {
                    k: None if p.grad is None else p.grad.clone() for k, p in named_parameters
                },
            }
        )

    def on_batch_end(self, net, training, loss, y_pred, **kwargs):
        if training:
            self.steps_[-1] |= {"loss": loss.item(), "y_pred": y_pred.detach().clone()}


def record_fit(net, pairs, y):
    recorder = Recorder()
    net.set_params(callbacks=[("recorder", recorder)])
    net.initialize_callbacks().fit(pairs, y)  # skorch does not, in a net that is set up already
    return recorder


def plain_state(net):
    state = net if isinstance(net, dict) else weights(net)
    prefix = "trunk.network."
    return {k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)}


def on_one_thread(function):
    """PyTorch's threads sum in another order: single rectifiers at their kink would flip."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(n_threads)

    return wrapped


def on_backgrounds(pairs):
    """The same pairs, every other image with a white background, the others with a grey one."""
    colours = np.where(np.arange(len(pairs.images)) % 2, "white", "grey")
    return ImagePairs(pairs.images, pairs.index, background=colours)


# A network of one layer after another, and its activations by hand

SIZE = 24


class Small(nn.Module):
    """A network whose first layers work in place, as in most networks."""

    def __init__(self, stride=2):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 5, stride=stride)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        x = self.second(self.relu(self.first(x)))
        return self.head(self.pool(x).flatten(1))


def make_images(n_images, seed=0, size=SIZE):
    shape = (n_images, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def features_of(layer="second", **options):
    options = {"weights": None, "image_size": SIZE, "random_state": 0, **options}
    return LayerActivations(options.pop("backbone", Small), layer, **options)


def by_hand(images, layer="second", size=SIZE, seed=0):
    """Activations by the network's own modules, all images in one batch."""
    backbone = load_backbone(Small, None, image_size=size, random_state=seed)
    network, x = backbone.network, backbone.preprocessing(images)
    with torch.no_grad():
        first = network.first(x)
        relu = first.clamp(min=0)
        second = network.second(relu)
        pool = network.pool(second)
        head = network.head(pool.flatten(1))
    layers = {"first": first, "relu": relu, "second": second, "pool": pool, "head": head}
    return layers[layer].flatten(1).numpy()


def assert_close(actual, expected):
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
