import threading
import time
from functools import partial

import pytest
import torch
from torch import nn

from sklearn_rdm._network import _shards
from sklearn_rdm._network._shards import (
    SHARD_SIZE,
    map_in_threads,
    pad_to_shard,
    run_in_shards,
    shard_threads,
)


@pytest.fixture(params=[1, 2, 3])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 6, 3, stride=2),
            nn.Flatten(),
            nn.Linear(6 * 6 * 6, 50),
        ).eval()


def images(n_images, size=15):
    return torch.randn(n_images, 3, size, size, generator=torch.Generator().manual_seed(n_images))


def forward_and_gradients(function, inputs, parameters):
    output = function(inputs)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    loss = (output * weights).sum() + output.square().mean()
    return output.detach(), torch.autograd.grad(loss, parameters)


def relative_error(first, second):
    return float((first - second).norm() / second.norm())


# Images: one, less than a shard, just one, one more, several shards
@pytest.mark.parametrize("n_images", [1, 7, 8, 9, 30])
def test_forward_and_gradients_equal_plain_pytorch(n_threads, n_images):
    net, inputs = network(), images(n_images)
    parameters = list(net.parameters())
    output, gradients = forward_and_gradients(net, inputs.clone(), parameters)
    with shard_threads():
        sharded = partial(run_in_shards, net, parameters=parameters)
        our_output, our_gradients = forward_and_gradients(sharded, inputs, parameters)
    assert our_output.shape == (n_images, 50)
    assert relative_error(our_output, output) < 1e-5
    for ours, plain in zip(our_gradients, gradients, strict=True):
        assert relative_error(ours, plain) < 1e-5


@pytest.mark.parametrize("n_images", [7, 30])
def test_first_layer_may_work_in_place(n_threads, n_images):
    # as the rectifier behind a frozen convolution of AlexNet or VGG
    net, inputs = nn.Sequential(nn.ReLU(inplace=True), network()), images(n_images)
    given, parameters = inputs.clone(), list(net.parameters())
    _, gradients = forward_and_gradients(net, inputs.clone(), parameters)
    with shard_threads():
        sharded = partial(run_in_shards, net, parameters=parameters)
        _, our_gradients = forward_and_gradients(sharded, inputs, parameters)
    assert torch.equal(inputs, given)
    for ours, plain in zip(our_gradients, gradients, strict=True):
        assert relative_error(ours, plain) < 1e-5


def test_only_the_gradients_asked_for_are_computed():
    net, inputs = network(), images(20)
    trained = [net[3].weight, net[5].bias]
    for parameter in net.parameters():
        parameter.requires_grad_(any(parameter is t for t in trained))
    plain = torch.autograd.grad(net(inputs.clone()).square().sum(), trained)
    with shard_threads():
        run_in_shards(net, inputs, trained).square().sum().backward()
    assert [p.grad is not None for p in net.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    assert inputs.grad is None
    assert all(relative_error(p.grad, g) < 1e-5 for p, g in zip(trained, plain, strict=True))


def test_a_parameter_without_influence_has_no_gradient():
    net, unused = network(), torch.ones(4, requires_grad=True)
    with shard_threads():
        run_in_shards(net, images(20), [*net.parameters(), unused]).sum().backward()
    assert unused.grad is None


def test_a_parameter_that_some_images_use_has_their_gradient():
    first, some = (torch.ones(1, requires_grad=True) for _ in range(2))
    inputs = torch.arange(1.0, 25)[:, None]
    with shard_threads():
        run_in_shards(
            lambda x: x * (first + some) if x.max() > 8 else x * first, inputs, [first, some]
        ).sum().backward()
    assert first.grad == inputs.sum()
    assert some.grad == inputs[8:].sum()


# autograd gives both the same tensor, which must not be summed twice
@pytest.mark.parametrize("n_images", [8, 24, 30])
def test_parameters_that_share_a_gradient(n_images):
    first, second = (torch.full((5,), value, requires_grad=True) for value in (1.0, 2.0))
    inputs = torch.rand(n_images, 5, generator=torch.Generator().manual_seed(0))
    with shard_threads():
        run_in_shards(lambda x: x * (first + second), inputs, [first, second]).sum().backward()
    torch.testing.assert_close(first.grad, inputs.sum(0))
    torch.testing.assert_close(second.grad, inputs.sum(0))
    first.grad += 1
    torch.testing.assert_close(second.grad, inputs.sum(0))


def test_the_bits_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    results = []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            net = network()
            parameters = list(net.parameters())
            with shard_threads():
                sharded = partial(run_in_shards, net, parameters=parameters)
                results.append(forward_and_gradients(sharded, images(37, 15), parameters))
    finally:
        torch.set_num_threads(before)
    for output, gradients in results[1:]:
        assert torch.equal(output, results[0][0])
        for one, several in zip(results[0][1], gradients, strict=True):
            assert torch.equal(one, several)


def test_it_works_without_a_block_of_threads():
    net, inputs = network(), images(20)
    parameters = list(net.parameters())
    with shard_threads():
        expected = run_in_shards(net, inputs, parameters)
    assert torch.equal(run_in_shards(net, inputs, parameters), expected)


def test_shards_run_side_by_side_with_one_thread_each(n_threads):
    meeting = threading.Barrier(n_threads, timeout=10)

    def meet(number):
        meeting.wait()
        return number, torch.get_num_threads(), threading.get_ident()

    with shard_threads():
        results = list(map_in_threads(meet, range(2 * n_threads)))
    assert [number for number, _, _ in results] == list(range(2 * n_threads))
    assert {n for _, n, _ in results} == {1}
    assert len({thread for _, _, thread in results}) == n_threads
    assert torch.get_num_threads() == n_threads


def test_results_come_in_order_however_long_they_take(n_threads):
    def wait(number, other):
        time.sleep(0.002 * (7 - number))
        return number, other

    expected = [(i, str(i)) for i in range(7)]
    with shard_threads():
        assert list(map_in_threads(wait, range(7), [str(i) for i in range(7)])) == expected
    assert list(map_in_threads(wait, range(7), [str(i) for i in range(7)])) == expected


def test_few_results_wait_to_be_used(n_threads):
    started = []
    with shard_threads():
        for used, _ in enumerate(map_in_threads(started.append, range(40))):
            time.sleep(0.001)
            assert len(started) <= used + 2 + n_threads
    assert sorted(started) == list(range(40))


def test_a_block_within_a_block_uses_the_same_threads(n_threads):
    def ident(_):
        time.sleep(0.001)
        return threading.get_ident()

    with shard_threads():
        outer = set(map_in_threads(ident, range(20)))
        with shard_threads():
            assert set(map_in_threads(ident, range(20))) <= outer | {threading.get_ident()}
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        assert set(map_in_threads(ident, range(20))) <= outer
    assert torch.get_num_threads() == n_threads


def test_shards_within_a_shard_are_run_by_its_thread(n_threads):
    def nested(_):
        return threading.get_ident(), set(map_in_threads(lambda _: threading.get_ident(), range(3)))

    with shard_threads():
        for thread, inner in map_in_threads(nested, range(4)):
            assert inner == {thread}


class Failing(nn.Module):
    """Fails in one shard, forward or backward."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        if self.where == "forward" and x[0, 0] == SHARD_SIZE:
            raise ArithmeticError("forward of the second shard")
        output = x * self.weight
        if self.where == "backward":
            output.register_hook(self.fail)
        return output

    def fail(self, gradient):
        raise ArithmeticError("backward of a shard")


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_error_in_a_shard_reaches_the_caller_and_the_threads_are_given_back(n_threads, where):
    net = Failing(where)
    inputs = torch.arange(24.0).view(24, 1)

    def run():
        with shard_threads():
            run_in_shards(net, inputs, [net.weight]).sum().backward()

    with pytest.raises(ArithmeticError, match=f"{where} of "):
        run()
    assert torch.get_num_threads() == n_threads
    net.where = "nowhere"
    run()
    assert net.weight.grad == inputs.sum()


def test_after_an_error_no_further_shard_is_begun(n_threads):
    begun = []

    def fail(number):
        begun.append(number)
        raise KeyError(number)

    with pytest.raises(KeyError, match="0"), shard_threads():
        list(map_in_threads(fail, range(100)))
    assert len(begun) <= n_threads + 1


def test_gradients_are_recorded_in_shards_and_only_there():
    net, inputs = network(), images(10)
    with shard_threads(), torch.no_grad():
        output = run_in_shards(net, inputs, list(net.parameters()))
    assert not output.requires_grad
    with shard_threads():
        assert run_in_shards(net, inputs, list(net.parameters())).requires_grad


@pytest.mark.parametrize("n_images", range(1, SHARD_SIZE + 1))
def test_a_shard_is_filled_with_its_first_image(n_images):
    inputs = images(n_images, 4)
    padded = pad_to_shard(inputs)
    assert padded.shape == (SHARD_SIZE, 3, 4, 4)
    assert torch.equal(padded[:n_images], inputs)
    assert all(torch.equal(image, inputs[0]) for image in padded[n_images:])


@pytest.mark.parametrize(
    ("n_images", "shards"), [(1, [1]), (3, [3]), (64, [64]), (92, [46, 46]), (129, [43, 43, 43])]
)
def test_many_weights_are_trained_in_large_shards(monkeypatch, n_images, shards, n_threads):
    net, inputs = network(), images(n_images)
    parameters = list(net.parameters())
    expected = forward_and_gradients(net, inputs.clone(), parameters)
    monkeypatch.setattr(_shards, "MANY_WEIGHTS", sum(p.numel() for p in parameters) - 1)
    sizes = []
    with shard_threads():

        def run(shard):
            sizes.append(len(shard))
            return net(shard)

        sharded = partial(run_in_shards, run, parameters=parameters)
        found = forward_and_gradients(sharded, inputs, parameters)
    assert sizes == shards
    for ours, plain in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        assert relative_error(ours, plain) < 1e-4


# each returns, as a gradient, memory that something else holds
@pytest.mark.parametrize("n_images", [8, 24])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x + w,
        lambda x, w: x * w.sum(0),
        lambda x, w: torch.cat([x, w], dim=1),
        lambda x, w: w.view(8, 5) + x,
    ],
    ids=["as it is", "sum", "part", "view"],
)
def test_gradients_in_memory_of_others_are_not_added_to(n_images, function):
    weight = torch.ones(8, 5, requires_grad=True)
    inputs = images(n_images, 2).flatten(1)[:, :5]
    output = run_in_shards(lambda shard: function(shard, weight), inputs, [weight])
    received = torch.rand(output.shape, generator=torch.Generator().manual_seed(1))
    before = received.clone()
    output.backward(received)
    assert torch.equal(received, before)
    plain = torch.ones(8, 5, requires_grad=True)
    torch.cat([function(shard, plain) for shard in inputs.split(8)]).backward(received)
    torch.testing.assert_close(weight.grad, plain.grad)
