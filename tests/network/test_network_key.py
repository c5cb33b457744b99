"""The check of a network against itself is done once a process, and anew for a changed one."""

import sys
from types import ModuleType

import pytest
import torch
from sklearn.model_selection import GridSearchCV
from torch import nn

from sklearn_rdm import LayerActivations
from sklearn_rdm._network import _cut
from sklearn_rdm._network._network_key import network_key
from sklearn_rdm.model_selection import ImageKFold
from tests.networks import TinyNetwork, make_images, make_pairs, tiny_net

FACTOR = 2.0
helpers = ModuleType("helpers_of_a_user")


def double(x):
    return x * FACTOR


def keep(x):
    return x


helpers.act = keep


class Own(nn.Module):
    """A network whose code is in several places."""

    def __init__(self, scale=1):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = scale
        self.register_buffer("shift", torch.zeros(1), persistent=False)

    def forward(self, x):
        return helpers.act(self.end(double(self.conv(x)) + self.shift))

    def end(self, x):
        return torch.relu(x * self.scale)


@pytest.fixture
def checked(monkeypatch):
    """Names of the networks that were run to be looked at."""
    names = []

    def run_twice(network, images, until, name):
        names.append(name)
        return original(network, images, until, name)

    original = _cut.run_twice
    monkeypatch.setattr(_cut, "run_twice", run_twice)
    monkeypatch.setattr(_cut, "_checked", {})
    return names


def test_fits_of_a_search_look_at_the_network_once(checked):
    pairs, y = make_pairs(12)
    search = GridSearchCV(tiny_net(), {"lr": [0.01, 0.1]}, cv=ImageKFold(3)).fit(pairs, y)
    assert checked == ["TinyNetwork"]
    again = tiny_net(**search.best_params_).fit(pairs, y)
    assert (again.predict(pairs) == search.predict(pairs)).all()


@pytest.mark.parametrize(
    "params",
    [{"layer": "relu2"}, {"image_size": 44}, {"random_state": 1}, {"freeze_up_to": "relu1"}],
    ids=str,
)
def test_another_network_is_looked_at(checked, params):
    tiny_net().initialize()
    tiny_net(**params).initialize()
    tiny_net(**params).initialize()
    assert len(checked) == 2


def key(network=None):
    network = network or Own()
    with torch.no_grad():
        network.conv.weight.fill_(1)
        network.conv.bias.fill_(1)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return network_key(network, dict(tensors), "")


def patched_own(monkeypatch, what):
    module = sys.modules[__name__]
    changes = {
        "global constant": lambda: monkeypatch.setattr(module, "FACTOR", 3.0),
        "global function": lambda: monkeypatch.setattr(module, "double", lambda x: x + x),
        "function of a module": lambda: monkeypatch.setattr(helpers, "act", lambda x: x - 1),
        "method": lambda: monkeypatch.setattr(Own, "end", lambda self, x: x),
        "forward": lambda: monkeypatch.setattr(Own, "forward", lambda self, x: self.conv(x)),
        "forward of a package": lambda: monkeypatch.setattr(
            nn.Conv2d, "forward", lambda self, x: self._conv_forward(x, self.weight, None)
        ),
    }
    changes[what]()


@pytest.mark.parametrize(
    "what",
    [
        "global constant",
        "global function",
        "function of a module",
        "method",
        "forward",
        "forward of a package",
    ],
)
def test_changed_code_is_another_network(monkeypatch, what):
    before = key()
    assert key() == before is not None
    patched_own(monkeypatch, what)
    assert key() != before


def test_changed_settings_and_values_are_another_network():
    before, padded, shifted, instance = key(), Own(), Own(), Own()
    padded.conv.padding = (1, 1)
    shifted.shift.fill_(1)
    instance.end = torch.nn.functional.gelu
    keys = [before, key(Own(scale=2)), key(padded), key(shifted), key(instance)]
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_what_cannot_be_told_from_others_is_looked_at_each_time(checked):
    hooked, told_by_place = Own(), Own()
    hooked.conv.register_forward_hook(lambda *_: None)
    told_by_place.lock = object()
    assert key(hooked) is None
    assert key(told_by_place) is None
    for _ in range(2):
        LayerActivations(with_lock, "relu3", image_size=48).fit(make_images(2))
    assert checked == ["TinyNetwork"] * 2


def with_lock():
    network = TinyNetwork()
    network.conv1.lock = object()
    return network


def test_a_redefined_class_is_found_out(checked):
    """Both trace to the same graph; the second one changes a value that has two names."""

    def define(second):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3)
                self.last = nn.Conv2d(4, 4, 1)

            def forward(self, x):
                x = self.conv(x)
                kept = x
                if second:
                    x += 1
                else:
                    x = x + 1
                return self.last(kept)

        return Net

    images = make_images(2)
    read = {"layers": "last", "image_size": 24, "random_state": 0}
    first = LayerActivations(define(False), **read).fit_transform(images)
    with pytest.warns(UserWarning, match="cannot be cut"):
        second = LayerActivations(define(True), **read).fit_transform(images)
    assert abs(second - first).max() > 0.1
    assert checked[:2] == ["Net"] * 2
