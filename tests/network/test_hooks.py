"""Hooks hear each call of each module, clone what they hear, and stop a network in time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from sklearn_rdm._network._hooks import all_calls, clone, install_hooks, pick, read_calls

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """One module called three times, then a function in place, then a module that fails."""

    def __init__(self):
        super().__init__()
        self.step, self.failing = nn.Linear(3, 3), Failing()

    def forward(self, x):
        for _ in range(3):
            x = self.step(x)
        return self.failing(x.relu_())


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("not for this size")


def by_hand(network, x, n_calls):
    for _ in range(n_calls):
        x = network.step(x)
    return x


def test_calls_are_numbered_and_cloned_before_what_works_in_place():
    network = Recurrent()
    remove = install_hooks(network)
    wanted = [("step", 0), ("step", 2)]
    with torch.no_grad():
        values = read_calls(network, X, wanted)
        for path, call in wanted:
            torch.testing.assert_close(values[path, call], by_hand(network, X, call + 1))
    assert set(values) == set(wanted)
    remove()
    with pytest.raises(RuntimeError, match="not for this size"):
        read_calls(network, X, wanted)


def test_an_error_behind_what_is_needed_is_kept():
    network = Recurrent()
    install_hooks(network)
    calls = all_calls(network, X)
    assert str(calls.error) == "not for this size"
    assert list(calls.ends) == [("step", 0), ("step", 1), ("step", 2)]
    assert all_calls(network, X, until=("step", 1)).error is None


def test_without_a_reader_the_hooks_do_nothing():
    network = nn.Sequential(nn.Linear(3, 2))
    expected = network(X)
    install_hooks(network)
    torch.testing.assert_close(network(X), expected, rtol=0, atol=0)


def test_threads_read_their_own_calls():
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    install_hooks(network)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda s: read_calls(network, s * X, [("0", 0)])["0", 0], range(64)))
    for scale, value in enumerate(read):
        torch.testing.assert_close(value, network[0](scale * X))


def test_items_are_picked_by_number_key_and_attribute():
    class Named(tuple):
        hidden = property(lambda self: self[1])

    value = {"a": (1, Named((2, 3)))}
    assert pick(value, ("a", 1, "hidden")) == 3
    assert pick(value, ()) is value


@dataclass
class Activations:
    hidden: torch.Tensor
    index: int = 3


class Named(dict):
    """A dict that torch takes for one leaf."""


def test_copies_share_no_tensor():
    tensors = [torch.full((2,), float(number)) for number in range(4)]
    value = {"a": (Activations(tensors[0]), 1), "b": Named(c=[tensors[1], None]), "d": tensors[2]}
    copied = clone(value)
    for tensor in tensors:
        tensor.add_(10)
    assert isinstance(copied["b"], Named)
    assert copied["a"][0].index == 3
    assert copied["a"][1] == 1
    assert copied["b"]["c"][1] is None
    read = [copied["a"][0].hidden, copied["b"]["c"][0], copied["d"]]
    assert [v.tolist() for v in read] == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    assert value["a"][0].hidden is tensors[0]


class Catching(nn.Module):
    """Goes on without a part that fails within another one."""

    def __init__(self):
        super().__init__()
        self.outer, self.last = Outer(), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.outer(x))


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.failing = Failing()

    def forward(self, x):
        try:
            return self.failing(x)
        except RuntimeError:
            return 2 * x


def test_a_call_that_failed_has_no_value_and_those_around_it_have():
    network = Catching()
    install_hooks(network)
    calls = all_calls(network, X)
    assert list(calls.ends) == [("outer", 0), ("last", 0)]
    torch.testing.assert_close(calls.values["outer", 0], 2 * X)
    torch.testing.assert_close(calls.values["last", 0], network.last(2 * X))
