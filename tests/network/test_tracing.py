"""The graph of a network against its own forward pass, and what is told of its edges."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from sklearn_rdm._network import _tracing
from sklearn_rdm._network._tracing import (
    ancestors,
    call_name,
    defaults,
    descendants,
    last_cut,
    left_as_it_was,
    operations,
    penultimate,
    settings,
    subgraph,
    targets,
    trace,
    with_constants,
    within,
)

ROOT = Path(__file__).parents[2]


class Net(nn.Module):
    """A residual block, a layer called twice, a weight of its own, and work in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.inner = nn.Conv2d(4, 4, 1)
        self.gain = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(4, 2)

    def forward(self, x, scale=2.0):
        x = self.act(self.conv(x))
        y = self.act(self.inner(x)) + x
        y.mul_(scale)
        z = y * self.gain.abs()
        return self.head(z.mean((2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def nodes(network):
    return trace(network).nodes


def names_of(nodes, found):
    name = {node: name for name, node in nodes.items()}
    return {name[node] for node in found if node in name}


def test_the_graph_computes_what_the_network_does(network, nodes):
    images = torch.rand(2, 3, 5, 5)
    graph = subgraph(nodes, None, [nodes["head"]])
    (found,) = fx.GraphModule(network, graph)(images)
    assert torch.equal(found, network(images))


def test_calls_of_modules_are_numbered(network):
    traced = trace(network)
    assert traced.calls["act", 0] is traced.nodes["act"]
    assert traced.calls["act", 1] is traced.nodes["act_1"]


def test_edges_pass_on_work_in_place(nodes):
    """``y.mul_(2)`` returns nothing that is used, and yet all that follows depends on it."""
    assert "mul_" in names_of(nodes, ancestors([nodes["head"]]))
    assert nodes["mul_"] in nodes["mul"].all_input_nodes


def test_ancestors_and_descendants_are_each_others_reverse(nodes):
    for node in nodes.values():
        for other in nodes.values():
            assert (other in ancestors([node])) == (node in descendants(other))
    behind = ancestors([nodes["head"]], behind={nodes["add"]})
    assert names_of(nodes, behind).isdisjoint({"conv", "inner", "act", "add"})


def test_parts_of_a_graph_joined_are_the_whole(network, nodes):
    images = torch.rand(2, 3, 5, 5)
    first = fx.GraphModule(network, subgraph(nodes, None, [nodes["act"]]))
    then = fx.GraphModule(network, subgraph(nodes, nodes["act"], [nodes["add"], nodes["head"]]))
    (kept,) = first(images)
    before = kept.clone()
    added, output = then(kept)
    assert torch.equal(output, network(images))
    assert torch.equal(kept, before)
    inner = network.act(network.inner(kept)) + kept  # before mul_ doubles it
    assert torch.equal(added, inner)


def test_constants_go_with_the_layers_that_use_them(nodes):
    of_image = ["x", "conv", "act", "inner", "act_1", "add", "mul_", "mul", "mean", "head"]
    found = with_constants([nodes["mul"]], of_image, nodes)
    assert names_of(nodes, found) == {"mul", "abs", "gain"}
    assert targets(found) == {"gain"}


def test_the_cut_is_behind_the_last_frozen_layer_that_all_passes_through(nodes):
    order = [n for n in nodes if nodes[n] in descendants(nodes["x"])]
    outputs = [nodes["head"]]
    up_to = {name: order[: order.index(name) + 1] for name in order}
    assert last_cut(nodes, order, outputs, up_to["act"]) == "act"
    assert last_cut(nodes, order, outputs, up_to["inner"]) == "act"  # the sum needs act as well
    assert last_cut(nodes, order, outputs, up_to["add"]) == "add"
    assert last_cut(nodes, order, outputs, []) == "x"


def test_the_input_of_the_last_layer(network, nodes):
    assert penultimate(nodes, network) == "mean"
    reshaped = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(2, 2), nn.Flatten())
    assert penultimate(trace(reshaped).nodes, reshaped) == "0"
    empty = nn.Sequential(nn.ReLU())
    with pytest.raises(ValueError, match="no layer with parameters"):
        penultimate(trace(empty).nodes, empty)


class TwoInputs(nn.Module):
    def forward(self, images, mask, scale=1):
        return images * mask * scale


def test_defaults_of_other_inputs(network):
    assert defaults(network) == {"scale": 2.0}
    with pytest.raises(ValueError, match="TwoInputs needs more than one input: mask besides"):
        defaults(TwoInputs())


def test_operations_are_the_same_for_a_copy_and_others_for_another_setting(network):
    def lines(net):
        return [*operations(fx.GraphModule(net, trace(net).nodes["head"].graph))]

    before = lines(network)
    assert lines(Net().eval()) == before
    network.conv.stride = (2, 2)
    assert lines(network) != before
    assert settings(network.conv) == settings(nn.Conv2d(3, 4, 3, padding=1, stride=2))


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [("a", "a", True), ("a.b", "a", True), ("ab", "a", False), ("a", "a.b", False)],
)
def test_within(name, path, expected):
    assert within(name, path) is expected


FORKED_WHILE_TRACING = """
import os, signal, threading, time
import torch
from tests.networks import TinyNetwork, make_pairs, tiny_net

inside, enough = threading.Event(), threading.Event()


class Slow(TinyNetwork):
    def forward(self, x):
        if isinstance(x, torch.fx.Proxy):
            inside.set()
            enough.wait()
        return super().forward(x)


pairs, y = make_pairs()
expected = tiny_net().fit(pairs, y).predict(pairs)
slow = tiny_net(backbone=Slow)
thread = threading.Thread(target=slow.initialize, daemon=True)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    found = tiny_net(image_size=44).fit(pairs, y).predict(pairs[:3])  # is traced and checked anew
    same = tiny_net().fit(pairs, y).predict(pairs)
    os._exit(7 if len(found) == 3 and (same == expected).all() else 8)
for _ in range(600):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.05)
else:
    os.kill(child, signal.SIGKILL)
assert ended and os.waitstatus_to_exitcode(status) == 7
enough.set()
thread.join()
assert (slow.fit(pairs, y).predict(pairs) == expected).all()  # the parent's tracing went on
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_that_is_forked_while_another_thread_traces():
    subprocess.run([sys.executable, "-c", FORKED_WHILE_TRACING], check=True, cwd=ROOT, timeout=120)


def test_names_of_calls():
    assert call_name(("a.b", 0), ()) == "a.b"
    assert call_name(("a.b", 2), ("a.b_1",)) == "a.b_2"
    assert call_name(("a.b", 1), ("a.b_1",)) == "a.b__1"
    assert call_name(("a.b_1", 0), ("a.b_1",)) == "a.b_1"


class Caching(nn.Module):
    """Keeps values of its forward pass, as networks do with position encodings."""

    def __init__(self):
        super().__init__()
        self.conv, self.encoding, self.kept, self.by_name = nn.Conv2d(3, 4, 3), None, [], {}

    def forward(self, x):
        x = self.conv(x)
        if self.encoding is None:
            self.encoding = torch.arange(x.shape[-1]).float()
        if "mean" not in self.by_name:
            self.by_name["mean"] = x.mean() * 0 + 5
        self.kept.append(x)
        self.last = x
        return x + self.encoding + self.by_name["mean"] + torch.tensor([[1.0], [2.0]]).sum()


def test_a_trace_leaves_the_network_as_it_was():
    network = Caching().eval()
    graph = fx.GraphModule(network, next(iter(trace(network).nodes.values())).graph)
    assert (network.encoding, network.kept, network.by_name) == (None, [], {})
    assert not hasattr(network, "last")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(graph(x), network(x))


def test_constants_of_the_graph_stay_in_the_network():
    network = nn.Linear(1, 1)
    with left_as_it_was(network):
        network.constant, network.bias = torch.ones(1), None
    assert network.constant == 1
    assert network.bias is not None


class Withheld(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        with torch.no_grad():
            x = self.stem(x)
        return self.last(x)


def test_a_network_that_withholds_gradients_is_not_traced():
    with pytest.raises(ValueError, match="without gradients"):
        trace(Withheld())
    with torch.no_grad():  # around the trace, this says nothing of the network
        assert "0" in trace(nn.Sequential(nn.Linear(2, 2))).nodes


def test_all_public_functions_are_tested_here():
    assert set(_tracing.__all__) <= {*globals(), "Trace"}
