import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from sklearn_rdm import ResponsePatterns, SiameseOddOneOutClassifier
from sklearn_rdm.losses import CorrelationLoss
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from tests.network.test_odd_one_out import make_choices
from tests.networks import TinyNetwork, make_data, make_pairs, record_fit, same_bits, tiny_net

STRENGTH = 3.0
OPTIONS = {
    "plain": {},
    "frozen, noise, white reference": {
        "freeze_up_to": "relu1",
        "noise_ratio": 0.5,
        "reference": "white",
    },
    "mean reference": {"reference": "mean"},
    "two layers": {"layer": ["relu2", "relu3"], "batching": "pairs"},
    "read out elsewhere": {"read_out": "relu2", "module__dropout": True},
}


def untrained_dissimilarities(options, pairs, y):
    before = {k: v for k, v in options.items() if k != "read_out"}
    return pairs.to_rdms(tiny_net(**before | {"max_epochs": 0}).fit(pairs, y).predict(pairs))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("criterion", [nn.MSELoss, CorrelationLoss])
def test_the_penalty_is_its_definition_in_each_step(name, criterion):
    options = OPTIONS[name] | {"criterion": criterion}
    pairs, y = make_pairs()
    before = untrained_dissimilarities(options, pairs, y)
    net = tiny_net(**options, pretrained_penalty=STRENGTH, max_epochs=3)
    recorder = record_fit(net, pairs, y)
    penalties = []
    for step in recorder.steps_:
        change = step["y_pred"] - torch.tensor(before[tuple(step["index"].T)], dtype=torch.float32)
        penalties.append(STRENGTH * change.square().mean().item())
        expected = criterion()(step["y_pred"], step["target"]).item() + penalties[-1]
        assert step["loss"] == pytest.approx(expected, abs=1e-5)
    if not options.get("module__dropout"):
        assert penalties[0] < 1e-8
    assert penalties[-1] > 1e-5


def test_gradients_include_that_of_the_penalty():
    pairs, y = make_pairs()
    before = untrained_dissimilarities({}, pairs, y)
    net = tiny_net(pretrained_penalty=STRENGTH, max_epochs=2, batch_size=8)
    step = record_fit(net, pairs, y).steps_[1]
    other = tiny_net(batch_size=8).fit(pairs, y)  # one step, along which the penalty is 0
    for name, value in other.module_.state_dict().items():
        assert name == "settled" or torch.allclose(value, step["weights"][name], atol=1e-5)
    other.module_.load_state_dict(step["weights"], strict=False)
    other.module_.train()
    dataset, _ = other.get_split_datasets(pairs, y)
    batch, target = dataset.__getitems__(range(len(pairs)))
    predicted = other.module_(batch)
    change = predicted - torch.tensor(before[tuple(pairs.index.T)], dtype=torch.float32)
    loss = nn.functional.mse_loss(predicted, target) + STRENGTH * change.square().mean()
    parameters = {n: p for n, p in other.module_.named_parameters() if p.requires_grad}
    for name, gradient in zip(
        parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True
    ):
        np.testing.assert_allclose(
            step["gradients"][name], gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max()
        )


def test_no_penalty_is_the_same_training():
    pairs, y = make_pairs()
    assert same_bits(tiny_net().fit(pairs, y), tiny_net(pretrained_penalty=0).fit(pairs, y))
    assert not same_bits(tiny_net().fit(pairs, y), tiny_net(pretrained_penalty=1).fit(pairs, y))


def test_the_stronger_it_is_the_nearer_training_stays():
    pairs, y = make_pairs()
    before = tiny_net(max_epochs=0).fit(pairs, y).predict(pairs)
    moved = []
    options = {"optimizer": torch.optim.AdamW, "lr": 1e-3, "criterion": CorrelationLoss}
    for strength in (0, 1, 100):
        net = tiny_net(pretrained_penalty=strength, max_epochs=20, **options).fit(pairs, y)
        moved.append(np.square(net.predict(pairs) - before).mean())
    assert moved[0] > 5 * moved[1] > 20 * moved[2]


def test_training_goes_on_near_the_network_that_was_untrained():
    pairs, y = make_pairs()
    net = tiny_net(pretrained_penalty=STRENGTH, optimizer=torch.optim.AdamW, lr=1e-3)
    whole = clone(net).set_params(max_epochs=3).fit(pairs, y)
    assert same_bits(whole, net.fit(pairs, y).partial_fit(pairs, y, epochs=2))


def test_whole_weights_equal_repeated_pairs():
    pairs, y = make_pairs()
    y = y[:, 0]  # nothing is pooled
    counts = np.random.default_rng(0).integers(0, 3, len(y))
    counts[:7] = 1  # all images are used
    rows = np.repeat(np.arange(len(counts)), counts)
    net = tiny_net(pretrained_penalty=STRENGTH, batch_size=8, max_epochs=3)
    weighted = clone(net).fit(pairs, y, sample_weight=counts)
    repeated = clone(net).fit(pairs[rows], y[rows])
    np.testing.assert_allclose(weighted.predict(pairs), repeated.predict(pairs), atol=1e-5)


def test_patterns_are_trained_as_their_dissimilarities_are():
    images = make_data().images
    patterns = ResponsePatterns([np.random.default_rng(0).normal(size=(8, 20))])
    net = tiny_net(pretrained_penalty=STRENGTH, max_epochs=2, subject_pooling="mean")
    of_patterns = clone(net).fit(images, patterns)
    of_pairs = clone(net).fit(*patterns.to_pairs(images))
    np.testing.assert_allclose(of_patterns.transform(images), of_pairs.transform(images), atol=1e-5)


@pytest.mark.parametrize("anchored", [False, True])
def test_choices_too(anchored):
    triplets, choices = make_choices(anchored=anchored)
    net = SiameseOddOneOutClassifier(
        TinyNetwork, "relu3", image_size=48, max_epochs=2, random_state=0, batching="triplets"
    )
    before = clone(net).set_params(max_epochs=0).fit(triplets, choices).transform(triplets)
    net.set_params(pretrained_penalty=STRENGTH)
    for step in record_fit(net, triplets, choices).steps_:
        known = np.tile(triplets.possible, len(step["target"]))
        change = step["y_pred"].reshape(-1) - torch.tensor(before[tuple(step["index"].T)])
        loss = net.criterion_(-step["y_pred"], step["target"])
        expected = loss + STRENGTH * change[known].square().mean()
        assert step["loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_validation_is_without_it_and_searches_choose_its_strength():
    pairs, y = make_pairs(12)
    split = ImageShuffleSplit(1, test_size=0.4, random_state=0)
    net = tiny_net(train_split=split, lr=0, pretrained_penalty=1e3, noise_ratio=1.0)
    plain = clone(net).set_params(pretrained_penalty=0.0).fit(pairs, y)
    assert net.fit(pairs, y).history_[-1, "valid_loss"] == plain.history_[-1, "valid_loss"]
    search = GridSearchCV(tiny_net(), {"pretrained_penalty": [0.0, 10.0]}, cv=ImageKFold(3))
    search.fit(pairs, y)
    assert set(search.best_params_) == {"pretrained_penalty"}


@pytest.mark.parametrize("strength", [-1, np.inf, np.nan])
def test_a_strength_that_is_none_raises_an_error(strength):
    pairs, y = make_pairs()
    with pytest.raises(ValueError, match="pretrained_penalty must be finite and 0 or more"):
        tiny_net(pretrained_penalty=strength).fit(pairs, y)
