"""Several layers that are trained together, against the formula written out."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional

from sklearn_rdm import ImagePairs, LayerEpochDisplay, LayerEpochSearchCV, SiameseRDMRegressor
from sklearn_rdm.callbacks import WeightAveraging
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from tests.networks import (
    TinyNetwork,
    make_pairs,
    on_backgrounds,
    on_one_thread,
    plain_state,
    record_fit,
    same_bits,
    tiny_net,
    weights,
)

LOG_WEIGHT = "read_outs.0.log_weight"
LAYERS = ["relu1", "relu2", "relu3"]
FOLDS = ImageKFold(2, shuffle=True, random_state=0)


def joined_net(layer=LAYERS, **params):
    return tiny_net(**{"layer": layer, "lr": 0.01} | params)


# The formula


def plain_network(state):
    """The whole network, its layers called one by one; batch statistics as they are."""
    network = TinyNetwork().eval()
    network.load_state_dict(plain_state(state), strict=False)
    return network.double()


def plain_layers(network, images, spatial_pooling=None):
    """Activations of the three rectifiers, (n_images, n_features) of each."""
    x = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    first = functional.relu(network.bn1(network.conv1(x)))
    second = functional.relu(network.bn2(network.conv2(first)))
    maps = [first, second, functional.relu(network.conv3(second))]
    if spatial_pooling is not None:
        maps = [functional.adaptive_avg_pool2d(each, spatial_pooling) for each in maps]
    return [each.flatten(1) for each in maps]


def minus_blank(network, images, colours, spatial_pooling=None):
    """As plain_layers, minus the activations of a uniform image of each image's own colour."""
    found = plain_layers(network, images, spatial_pooling)
    if colours is None:
        return found
    blank = np.broadcast_to(255 * colours[:, None, None, :], images.shape)
    blanks = plain_layers(network, blank, spatial_pooling)
    return [some - blank for some, blank in zip(found, blanks, strict=True)]


def plain_distances(layers, shares, noise):
    """1 - sum of shares times covariances, over the root of the same sums of both images."""
    products = 0
    for some, share in zip(layers, shares, strict=True):
        centred = some - some.mean(dim=1, keepdim=True)
        products = products + share * centred @ centred.T
    lengths = (products.diagonal() + noise).sqrt()
    return 1 - products / torch.outer(lengths, lengths)


def mean_squares(layers):
    return torch.stack(
        [((some - some.mean(1, keepdim=True)) ** 2).sum(1).mean() for some in layers]
    )


COLOURS = {
    None: lambda pairs: None,
    "white": lambda pairs: np.ones((len(pairs.images), 3)),
    "background": lambda pairs: pairs.background,
}


@pytest.mark.parametrize("reference", COLOURS)
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"spatial_pooling": 3},
        {"noise_ratio": 0.8},
        {"noise_ratio": 0.8, "batching": "pairs", "batch_size": 7},
        {"freeze_up_to": "relu1"},
        {"freeze_up_to": "relu3"},  # the weights of the layers are trained alone
        {"freeze_from": "conv2"},
        {"module__freeze_batch_norm": False},
    ],
    ids=str,
)
def test_predictions_are_the_formula(reference, params):
    pairs, y = make_pairs(10)
    pairs = on_backgrounds(pairs)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    net = joined_net(reference=reference, train_split=split, max_epochs=2, **params)
    before = weights(clone(net).initialize())
    net.fit(pairs, y)
    pooling, colours = params.get("spatial_pooling"), COLOURS[reference](pairs)
    with torch.no_grad():
        fresh = minus_blank(plain_network(before), pairs.images, colours, pooling)
        layers = minus_blank(plain_network(net), pairs.images, colours, pooling)
    seen = pairs[next(split.split(pairs, y))[0]].used_images
    assert 0 < len(seen) < 10
    squares = mean_squares([some[seen] for some in fresh])
    learned = net.layer_weights_
    assert (learned > 0).all()
    assert (learned != 1).all()
    shares = torch.from_numpy(learned) ** 2 / (3 * squares)
    rdm = plain_distances(layers, shares, params.get("noise_ratio", 0.0)).numpy()
    np.fill_diagonal(rdm, 0)
    np.testing.assert_allclose(net.transform(pairs), rdm, atol=3e-5)
    np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=3e-5)


@pytest.mark.parametrize("noise_ratio", [0.0, 0.6])
@pytest.mark.parametrize("freeze_up_to", [None, "relu1", "relu3"])
@on_one_thread
def test_gradients_are_those_of_the_formula(freeze_up_to, noise_ratio):
    pairs, y = make_pairs(10)
    net = joined_net(
        freeze_up_to=freeze_up_to, reference="white", noise_ratio=noise_ratio, max_epochs=2
    )
    recorder = record_fit(net, pairs, y)
    white = np.ones((10, 3))
    fresh = minus_blank(plain_network(recorder.initial_), pairs.images, white)
    squares = mean_squares(fresh).detach()
    assert len(recorder.steps_) == 6
    for step in recorder.steps_:
        network = plain_network(step["weights"])
        log_weight = step["weights"][LOG_WEIGHT].requires_grad_()
        shares = torch.exp(10 * log_weight) ** 2 / (3 * squares)
        layers = minus_blank(network, pairs.images, white)
        distances = plain_distances(layers, shares, noise_ratio)[tuple(step["index"].T)]
        loss = ((distances - step["target"]) ** 2).mean()
        loss.backward()
        assert step["loss"] == pytest.approx(loss.item(), rel=1e-4)
        expected = {f"trunk.network.{k}": p.grad for k, p in network.named_parameters()}
        expected[LOG_WEIGHT] = log_weight.grad
        trained = {name for name, p in net.module_.named_parameters() if p.requires_grad}
        assert LOG_WEIGHT in trained
        largest = max(expected[name].norm() for name in trained)
        for name in trained:
            difference = (step["gradients"][name] - expected[name]).norm()
            assert difference < 3e-4 * max(expected[name].norm(), 0.01 * largest), name


def test_all_layers_have_the_same_share_before_training():
    pairs, y = make_pairs(10)
    net = joined_net(reference="white", lr=0.0).fit(pairs, y)
    np.testing.assert_array_equal(net.layer_weights_, np.ones(3, dtype=np.float32))
    sizes = [some.shape[1] for some in plain_layers(plain_network(net), pairs.images[:1])]
    parts = np.split(net.embed(pairs.images), np.cumsum(sizes)[:-1], axis=1)
    for part in parts:
        np.testing.assert_allclose((part**2).sum(axis=1).mean(), 1 / 3, rtol=1e-4)
        np.testing.assert_allclose(part.mean(axis=1), 0, atol=1e-6)


def test_the_order_of_layers_does_not_matter():
    pairs, y = make_pairs()
    forwards, backwards = (
        joined_net(layers, max_epochs=2).fit(pairs, y) for layers in (LAYERS, LAYERS[::-1])
    )
    np.testing.assert_allclose(forwards.predict(pairs), backwards.predict(pairs), atol=1e-5)
    np.testing.assert_allclose(forwards.layer_weights_, backwards.layer_weights_[::-1], rtol=1e-4)


def test_one_layer_in_a_list_is_this_layer():
    pairs, y = make_pairs()
    alone = joined_net("relu2").fit(pairs, y)
    assert same_bits(joined_net(["relu2"]).fit(pairs, y), alone)
    np.testing.assert_array_equal(alone.layer_weights_, [1])
    with pytest.raises(NotFittedError):
        tiny_net().layer_weights_  # noqa: B018


@pytest.mark.parametrize(
    ("name", "first", "channels", "sides"),
    [("alexnet", "conv1", (64, 192), (4, 3)), ("vgg16", "conv1_2", (64, 128), (4, 4))],
)
def test_layers_may_have_the_names_of_the_papers(name, first, channels, sides):
    pairs, y = make_pairs(6, 64)
    net = SiameseRDMRegressor(
        name,
        (first, "pool2"),
        weights=None,
        image_size=64,
        spatial_pooling=4,
        freeze_up_to=first,
        max_epochs=1,
        random_state=0,
    ).fit(pairs, y)
    assert net.predict(pairs).shape == (15,)
    n_features = sum(n * side**2 for n, side in zip(channels, sides, strict=True))
    assert net.embed(pairs.images).shape == (6, n_features)


# With the rest of the estimator


def test_training_lowers_the_loss():
    pairs, y = make_pairs(10)
    frozen = joined_net(freeze_up_to="relu3", max_epochs=30, batch_size=-1).fit(pairs, y)
    losses = frozen.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    assert all(later <= before + 1e-7 for before, later in zip(losses, losses[1:], strict=False))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_same_seed_same_bits_with_memory_and_any_number_of_threads(n_threads, tmp_path):
    pairs, y = make_pairs(20)
    params = {"freeze_up_to": "relu1", "batch_size": 20, "reference": "white", "noise_ratio": 1.0}
    expected = joined_net(**params).fit(pairs, y)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        net = joined_net(memory=str(tmp_path), **params).fit(pairs, y)
        again = joined_net(memory=str(tmp_path), **params).fit(pairs, y)
    finally:
        torch.set_num_threads(before)
    assert same_bits(net, expected)
    assert same_bits(again, expected)
    np.testing.assert_array_equal(net.predict(pairs), expected.predict(pairs))


def test_partial_fits_are_one_longer_fit():
    pairs, y = make_pairs()
    longer = joined_net(max_epochs=3, noise_ratio=1.0).fit(pairs, y)
    parts = joined_net(max_epochs=1, noise_ratio=1.0)
    for _ in range(3):
        parts.partial_fit(pairs, y)
    assert same_bits(parts, longer)


def test_saved_and_pickled_networks_predict_the_same(tmp_path):
    pairs, y = make_pairs()
    net = joined_net(noise_ratio=1.0).fit(pairs, y)
    net.save_params(f_params=tmp_path / "net.pt")
    loaded = joined_net(noise_ratio=1.0).initialize()
    loaded.load_params(f_params=tmp_path / "net.pt")
    for other in (loaded, pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.predict(pairs), net.predict(pairs))
        np.testing.assert_array_equal(other.layer_weights_, net.layer_weights_)


def test_weights_of_layers_are_averaged_with_the_others():
    pairs, y = make_pairs()
    single = [joined_net(max_epochs=n).fit(pairs, y) for n in (1, 2)]
    averaged = joined_net(max_epochs=2, callbacks=[WeightAveraging(2)]).fit(pairs, y)
    expected = np.mean([np.log(net.layer_weights_) for net in single], axis=0)
    np.testing.assert_allclose(np.log(averaged.layer_weights_), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("read_out", ["relu2", "fc"])
def test_one_layer_may_be_read_out_of_a_network_trained_by_several(read_out):
    pairs, y = make_pairs()
    net = joined_net(read_out=read_out, max_epochs=2).fit(pairs, y)
    trained = weights(joined_net(max_epochs=2).fit(pairs, y))
    ours = weights(net)
    assert all(torch.equal(ours[name], trained[name]) for name in trained)
    rdm = 1 - np.corrcoef(net.embed(pairs.images).astype(float))
    np.testing.assert_allclose(net.predict(pairs), rdm[tuple(pairs.index.T)], atol=1e-5)


def test_the_trained_layers_may_be_named_as_read_out():
    pairs, y = make_pairs()
    named = joined_net(read_out=tuple(LAYERS)).fit(pairs, y)
    np.testing.assert_array_equal(named.predict(pairs), joined_net().fit(pairs, y).predict(pairs))


@pytest.mark.parametrize("noise_ratio", [0.0, 1.0])
def test_layer_epoch_search_scores_them_together_and_one_by_one(noise_ratio):
    pairs, y = make_pairs(12)
    net = joined_net(LAYERS[1:], max_epochs=2, noise_ratio=noise_ratio)
    candidates = ["relu2", LAYERS[1:], "relu3"]
    search = LayerEpochSearchCV(net, candidates, cv=FOLDS).fit(pairs, y)
    for k, (train, test) in enumerate(FOLDS.split(pairs)):
        for row, layer in enumerate(candidates):
            for n_epochs in (1, 2):
                one = clone(net).set_params(read_out=layer, max_epochs=n_epochs)
                predicted = one.fit(pairs[train], y[train]).predict(pairs[test])
                score = rdm_spearman_score(y[test], predicted)
                assert search.scores_[k, row, n_epochs - 1] == pytest.approx(score, abs=1e-6)
    only = LayerEpochSearchCV(net, [LAYERS[1:]], cv=FOLDS).fit(pairs, y)
    assert only.best_layer_ == LAYERS[1:]
    alone = clone(net).set_params(max_epochs=only.best_epoch_).fit(pairs, y)
    np.testing.assert_array_equal(only.predict(pairs), alone.predict(pairs))
    display = LayerEpochDisplay.from_estimator(only)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["relu2 + relu3"]


def test_layer_epoch_search_keeps_the_network_of_one_split():
    pairs, y = make_pairs(12)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    net = joined_net(LAYERS[1:], max_epochs=2)
    search = LayerEpochSearchCV(net, [LAYERS[1:]], cv=split, refit=False).fit(pairs, y)
    train, _ = next(split.split(pairs, y))
    alone = clone(net).set_params(max_epochs=search.best_epoch_).fit(pairs[train], y[train])
    np.testing.assert_array_equal(search.predict(pairs), alone.predict(pairs))


def test_grid_search_compares_one_layer_with_several():
    pairs, y = make_pairs(12)
    grid = {"layer": ["relu2", ("relu1", "relu2"), ["relu2", "relu3"]]}
    search = GridSearchCV(tiny_net(), grid, cv=ImageKFold(2), error_score="raise").fit(pairs, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 3
    assert list(search.cv_results_["param_layer"]) == grid["layer"]


# What is refused


class Dead(nn.Module):
    """A layer that answers nothing, behind one that does."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, stride=4)
        self.conv2 = nn.Conv2d(4, 4, 3)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return self.conv2(self.conv1(x))


REFUSED = {
    "twice": ({"layer": ["relu1", "relu1"]}, r"names a layer twice: \['relu1', 'relu1'\]"),
    "unknown": ({"layer": ["relu1", "relu9"]}, "has no layer 'relu9'. Did you mean"),
    "none": ({"layer": []}, r"layer must be None, the name of a layer, or .* got \[\]"),
    "kind": ({"layer": ["relu1", None]}, "layer must be None, .* or names of several"),
    "number": ({"layer": 3}, "layer must be None, the name of a layer, or .* got 3"),
    "read_out": (
        {"layer": LAYERS, "read_out": ["relu1", "relu2"]},
        r"only the layers that are trained together, \['relu1', 'relu2', 'relu3'\] here",
    ),
    "nothing to train": (
        {"layer": ["relu1"], "freeze_up_to": "relu1"},
        "nothing is left to train",
    ),
    "constant": (
        {"backbone": Dead, "layer": ["conv1", "conv2"]},
        "layer 'conv2' is constant for all training images",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_layers_leave_the_net_as_it_was(name):
    params, match = REFUSED[name]
    pairs, y = make_pairs()
    with pytest.raises(ValueError, match=match):
        tiny_net(**params).fit(pairs, y)
    net = tiny_net().fit(pairs, y)
    fitted = weights(net)
    good = {key: getattr(net, key) for key in params}
    net.set_params(**params)
    with pytest.raises(ValueError, match=match):
        net.fit(pairs, y)
    net.set_params(**good)
    assert same_bits(net, fitted)


def test_an_image_that_is_constant_in_all_layers_is_named():
    pairs, y = make_pairs(10)
    net = joined_net(["relu1", "relu2"], reference="white").fit(pairs, y)
    white = pairs.images.copy()
    white[3] = 255
    with pytest.raises(ValueError, match=r"image 3 has constant activations at layer 'relu1 \+ re"):
        net.predict(ImagePairs(white, pairs.index))
    with pytest.raises(ValueError, match=r"image 3 has constant activations at layer 'relu1 \+ re"):
        joined_net(["relu1", "relu2"], reference="white").fit(ImagePairs(white, pairs.index), y)
