"""What is wanted of a training is looked at before anything is changed."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from tests.network.textbook import REFUSED
from tests.networks import make_pairs, same_bits, tiny_net, weights


@pytest.mark.parametrize("keyword", ["sample_weights", "epoch"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_keywords_that_would_do_nothing_are_refused(method, keyword):
    pairs, y = make_pairs()
    with pytest.raises(TypeError, match=rf"fit takes no \['{keyword}'\].*SubjectPooling"):
        getattr(tiny_net(), method)(pairs, y, **{keyword: np.ones(len(pairs))})


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("lr", "0.001", "lr must be a number, got '0.001'"),
        ("max_epochs", "10", "max_epochs must be a whole number, 0 or more, got '10'"),
        ("pretrained_penalty", "1", "pretrained_penalty must be finite and 0 or more, got '1'"),
        ("max_epochs", 1.5, "max_epochs must be a whole number"),
        ("criterion", "mse", "criterion must be a class, such as torch.nn.MSELoss, got 'mse'"),
        ("optimizer", "adam", "optimizer must be a class, such as torch.optim.Adam, got 'adam'"),
    ],
)
def test_text_in_the_place_of_numbers_and_classes_is_named(name, value, match):
    with pytest.raises((TypeError, ValueError), match=match):
        tiny_net(**{name: value}).fit(*make_pairs())


@pytest.mark.parametrize("name", REFUSED)
def test_refused_fit_leaves_the_net_as_it_was(name):
    params, spoil, error, match = REFUSED[name]
    pairs, y = make_pairs(8)
    spoiled = (pairs, y) if spoil is None else spoil(pairs, y)
    first = tiny_net(**params)
    with pytest.raises(error, match=match):
        first.fit(*spoiled)
    with pytest.raises(NotFittedError):
        first.predict(pairs)

    net = tiny_net(max_epochs=2, optimizer__momentum=0.9).fit(pairs, y)
    fitted, history, predicted = weights(net), list(net.history), net.predict(pairs)
    good = {key: getattr(net, key) for key in params}
    net.set_params(**params)
    with pytest.raises(error, match=match):
        net.fit(*spoiled)
    assert same_bits(net, fitted)
    assert list(net.history) == history
    net.set_params(**good)
    np.testing.assert_array_equal(net.predict(pairs), predicted)
    longer = tiny_net(max_epochs=4, optimizer__momentum=0.9).fit(pairs, y)
    assert same_bits(net.partial_fit(pairs, y), longer)


@pytest.mark.parametrize("name", [n for n, (params, *_) in REFUSED.items() if not params] + ["lr"])
@pytest.mark.parametrize("verb", ["partial_fit", "warm start"])
def test_refused_training_on_leaves_the_net_as_it_was(name, verb):
    params, spoil, error, match = REFUSED[name]
    pairs, y = make_pairs(8)
    net = tiny_net(optimizer__momentum=0.9, warm_start=verb == "warm start").fit(pairs, y)
    fitted = weights(net)
    train_on = net.partial_fit if verb == "partial_fit" else net.fit
    net.set_params(**params, max_epochs=3)
    with pytest.raises(error, match=match):
        train_on(*((pairs, y) if spoil is None else spoil(pairs, y)))
    assert same_bits(net, fitted)
    assert len(net.history) == 1
    net.set_params(lr=0.1, max_epochs=1)
    longer = tiny_net(max_epochs=2, optimizer__momentum=0.9).fit(pairs, y)
    assert same_bits(train_on(pairs, y), longer)
