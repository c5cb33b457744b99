"""A twin network written out plainly, to compare with, and the small data of its tests."""

import functools

import numpy as np
import pytest
import torch
import torchvision
from sklearn.base import clone
from sklearn.model_selection import KFold
from skorch.dataset import ValidSplit

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from tests.networks import (
    PLAIN,
    on_one_thread,
    plain_state,
)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


LITE = (127 / 255,) * 3, (128 / 255,) * 3


# The pixels an image of these networks is given, its read-out, and what it is normalised with.
BACKBONES = {
    "alexnet": {"layer": "conv4", "freeze_up_to": "conv2", "image_size": 64},
    "vgg16": {"layer": "conv5_2", "freeze_up_to": "conv4_1", "image_size": 32},
    "efficientnet_lite0": {"layer": "block9", "freeze_up_to": "block4", "image_size": 64},
}


MEAN_STD = {"alexnet": IMAGENET, "vgg16": IMAGENET, "efficientnet_lite0": LITE}


def plain_network(backbone, size):
    """The full network as its own package builds it, with no memory for what the tests replace."""
    if backbone == "efficientnet_lite0":
        package = pytest.importorskip("efficientnet_lite_pytorch")
        return package.EfficientNet.from_name("efficientnet-lite0", image_size=[size, size]).eval()
    with torch.device("meta"):
        return torchvision.models.get_model(backbone, weights=None).eval()


def plain_inputs(images, backbone):
    mean, std = (np.array(values, dtype=np.float32) for values in MEAN_STD[backbone])
    pixels = (images.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@functools.cache
def initialised(backbone, **params):
    """A net that is built once and trained on by every test that asks for it."""
    params = PLAIN | BACKBONES[backbone] | params
    params["weights"] = "DEFAULT" if backbone == "efficientnet_lite0" else None
    return SiameseRDMRegressor(
        backbone, **params, max_epochs=1, lr=1e-3, random_state=0, warm_start=True
    ).initialize()


BATCHES = {"images": 3, "pairs": 8}  # of 6 images, 15 pairs: two batches


def _names(state):
    return {name.removeprefix("trunk.network.") for name in state}


def _with(values, place, value):
    changed = np.array(values, dtype=float)
    changed[place] = value
    return changed


def _photographs(change):
    return lambda pairs, y: (ImagePairs(change(pairs.images), pairs.index), y)


# What is wrong -> parameters, pairs and dissimilarities made of good ones, error, its message.
REFUSED = {
    "NaN": (
        {},
        lambda X, y: (X, _with(y, 4, np.nan)),
        ValueError,
        "1 of 28 pairs have no .* pair 4",
    ),
    "infinity": ({}, lambda X, y: (X, _with(y, (5, 1), np.inf)), ValueError, "pair 5 is infinite"),
    "wrong length": ({}, lambda X, y: (X, y[:-1]), ValueError, r"\(28,\),.* got \(27, 3\)"),
    "wrong shape": ({}, lambda X, y: (X, y[..., None, None]), ValueError, r"got \(28, 3, 1, 1\)"),
    "no targets": ({}, lambda X, y: (X, None), ValueError, "required"),
    "equal targets": ({}, lambda X, y: (X, np.full(28, 0.3)), ValueError, r"all .* equal \(0.3\)"),
    "equal subject": ({}, lambda X, y: (X, _with(y, (..., 2), 1)), ValueError, "of subject 2 are"),
    "two images": ({}, lambda X, y: (X[:1], y[:1]), ValueError, "2 images make 1 pair"),
    "no pairs": ({}, lambda X, y: (X.images, y), ValueError, r"ImagePairs, an array \(n_pairs, 2"),
    "grey": ({}, _photographs(lambda i: i[..., 0]), ValueError, r"RGB .* got \(8, 48, 48\)"),
    "channels first": ({}, _photographs(lambda i: i.transpose(0, 3, 1, 2)), ValueError, "RGB"),
    "features": ({}, _photographs(lambda i: i.reshape(8, -1)), ValueError, "RGB"),
    "int16": ({}, _photographs(lambda i: i.astype(np.int16)), ValueError, "uint8 .* got int16"),
    "0..255 floats": ({}, _photographs(lambda i: i.astype(float)), ValueError, "divide by 255"),
    "one pixel": (
        {},
        _photographs(lambda i: _with(i / 255, (7, 0, 0, 0), 1.5)),
        ValueError,
        "must be in 0..1, got 0..1.5",
    ),
    "unknown layer": (
        {"layer": "relu9"},
        None,
        ValueError,
        "no layer 'relu9'. Did you mean .* Valid",
    ),
    "unknown frozen": ({"freeze_up_to": "pool"}, None, ValueError, "no layer 'pool'"),
    "freeze_up_to": (
        {"freeze_up_to": ["conv1"]},
        None,
        ValueError,
        r"freeze_up_to must be None or the name of one layer, got \['conv1'\]",
    ),
    "all frozen": ({"freeze_up_to": "relu3"}, None, ValueError, "nothing is left to train"),
    "all frozen behind": ({"freeze_from": "conv1"}, None, ValueError, "nothing is left to train"),
    "unknown backbone": ({"backbone": "alexnot"}, None, ValueError, "unknown backbone 'alexnot'"),
    "missing weights": ({"weights": "no.pth"}, None, FileNotFoundError, "no weights file 'no.pth'"),
    "unknown weights": ({"weights": "V7"}, None, ValueError, "weights='V7' is not known"),
    "image size": ({"image_size": -3}, None, ValueError, "image size must be a positive int"),
    "batching": ({"batching": "all"}, None, ValueError, "batching must be one of .*'all'"),
    "batch size 0": ({"batch_size": 0}, None, ValueError, "batch_size must be a positive int"),
    "batch size 2.5": ({"batch_size": 2.5}, None, ValueError, "batch_size must be .* got 2.5"),
    "one image a batch": ({"batch_size": 1}, None, ValueError, "no measured pair has all its"),
    "precision": ({"precision": "int8"}, None, ValueError, "precision must be one of .*'int8'"),
    "reference": ({"reference": "red"}, None, ValueError, "reference must be .*'red'"),
    "device": ({"device": None}, None, ValueError, "device must name where .* got None"),
    "spatial_pooling": (
        {"spatial_pooling": 0},
        None,
        ValueError,
        "spatial_pooling must be .* got 0",
    ),
    "spatial_pooling, shape": ({"spatial_pooling": (2, 2, 2)}, None, ValueError, "spatial_pooling"),
    "spatial_pooling, kind": ({"spatial_pooling": "7"}, None, ValueError, "spatial_pooling must"),
    "negative noise": ({"noise_ratio": -0.1}, None, ValueError, "noise_ratio must be .* got -0.1"),
    "noise NaN": ({"noise_ratio": np.nan}, None, ValueError, "noise_ratio must be .* got nan"),
    "infinite noise": ({"noise_ratio": np.inf}, None, ValueError, "noise_ratio must be .* got inf"),
    "noise, kind": ({"noise_ratio": "1"}, None, ValueError, "noise_ratio must be .* got '1'"),
    "read_out": ({"read_out": "conv9"}, None, ValueError, "has no layer 'conv9'"),
    "reference range": ({"reference": (0, 0, 255)}, None, ValueError, "reference must be"),
    "train_split int": ({"train_split": 5}, None, ValueError, "train_split must be .* got 5"),
    "train_split pairs": (
        {"train_split": KFold(3)},
        None,
        ValueError,
        "holds out pairs, not images",
    ),
    "train_split skorch": ({"train_split": ValidSplit(3)}, None, ValueError, "skorch's own splits"),
    "pooling": ({"subject_pooling": "sum"}, None, ValueError, "method must be one of .*'sum'"),
    "memory": ({"memory": 3, "freeze_up_to": "conv1"}, None, TypeError, "memory must be a folder"),
    "lr": (
        {"lr": 1e30},
        None,
        ValueError,
        r"loss became nan in epoch \d+: .* lower lr than 1e\+30",
    ),
}


def load_anew(net, path):
    net.save_params(f_params=path)
    loaded = clone(net).initialize()
    loaded.load_params(f_params=path)
    return loaded


MODULES = {"alexnet": "features.8", "vgg16": "features.26", "efficientnet_lite0": "_blocks.9"}


def plain_activations(network, module, inputs):
    """Read one module by a hook, up to there where the rest of the network is not needed."""
    found = []
    hook = network.get_submodule(module).register_forward_hook(
        lambda _, __, output: found.append(output.clone())  # the next layer may work in place
    )
    (network.features if hasattr(network, "features") else network)(inputs)
    hook.remove()
    return found[0].flatten(1)


def plain_distances(first, second, noise=0.0):
    """1 - Pearson's r of every row of one matrix with that row of the other, of noisy patterns."""
    distances = []
    for a, b in zip(first, second, strict=True):
        a, b = a - a.mean(), b - b.mean()
        distances.append(
            1 - (a * b).sum() / (((a**2).sum() + noise) * ((b**2).sum() + noise)).sqrt()
        )
    return torch.stack(distances)


@on_one_thread
def plain_step(backbone, images, step, *, module=None, reference=None, noise=0.0):
    """Loss and gradients of one mini-batch, by two branches with the same weights."""
    network = plain_network(backbone, images.shape[1])
    network.load_state_dict(plain_state(step["weights"]), strict=False, assign=True)

    def branch(images):
        inputs = plain_inputs(images, backbone)
        return plain_activations(network, module or MODULES[backbone], inputs)

    branches = [branch(images[side]) for side in step["index"].T]
    if reference is not None:
        blank = branch(np.full((1, *images.shape[1:]), 255 * reference))
        branches = [activations - blank for activations in branches]
    loss = ((plain_distances(*branches, noise) - step["target"]) ** 2).mean()
    loss.backward()
    gradients = {f"trunk.network.{k}": p.grad for k, p in network.named_parameters()}
    return loss.item(), gradients


def assert_equals_textbook(backbone, net, pairs, y, recorder, *, n_steps=2, **distance):
    assert len(recorder.steps_) == n_steps
    z = (y - y.mean(axis=0)) / y.std(axis=0)
    targets = pairs.to_rdms((z.mean(axis=1) + 2) / 5)
    for step in recorder.steps_:
        np.testing.assert_allclose(step["target"], targets[tuple(step["index"].T)], rtol=1e-6)
        loss, gradients = plain_step(backbone, pairs.images, step, **distance)
        assert step["loss"] == pytest.approx(loss, rel=1e-4)
        trained = {name for name, p in net.module_.named_parameters() if p.requires_grad}
        largest = max(gradients[name].norm() for name in trained)
        for name, gradient in step["gradients"].items():
            assert (gradient is None) == (name not in trained)
            if name in trained:
                expected = gradients[name]
                # A bias that the reference's own cancels has a gradient of 0, and rounding.
                size = expected.norm() if expected.norm() > 1e-6 * largest else largest
                assert (gradient - expected).norm() < 1e-4 * size, name
