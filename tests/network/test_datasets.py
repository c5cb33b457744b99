"""skorch's verbs on pairs and on images with patterns, and validation sets of one's own."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import BatchScoring, EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.data import TensorDataset

from sklearn_rdm import ImagePairs, ResponsePatterns
from sklearn_rdm.losses import CorrelationLoss, WhitenedCosineLoss
from sklearn_rdm.metrics import rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.networks import OneChannel, make_data, make_pairs, on_backgrounds, same_bits, tiny_net

N_TRAINED = 9
ROUNDING = 5e-6  # of a correlation in float32


def make_sets():
    """Nine images to train on and six others of another array, three subjects each."""
    data = make_data(15)
    first, second = slice(0, N_TRAINED), slice(N_TRAINED, 15)
    return [
        ImagePairs.from_rdms(data.images[part].copy(), data.rdms[:, part, part])
        for part in (first, second)
    ]


def make_patterns(n_images, seed=0):
    rng = np.random.default_rng(seed)
    return ResponsePatterns([rng.random((n_images, n)) for n in (8, 5, 7)])


def fitted(**params):
    pairs, y = make_pairs()
    return tiny_net(**params).fit(pairs, y), pairs, y


# Predictions


@pytest.mark.parametrize(
    "params", [{}, {"read_out": "relu2"}, {"noise_ratio": 0.5}, {"freeze_up_to": "relu1"}], ids=str
)
def test_forward_gives_predictions_in_the_order_of_the_pairs(params):
    net, pairs, y = fitted(**params)
    some = pairs[np.random.default_rng(0).permutation(len(pairs))[:11]]
    expected = net.predict(some)
    for given in (some, Dataset(some, None), net.get_dataset(some), net.get_dataset(some, y[:11])):
        np.testing.assert_allclose(net.forward(given), expected, atol=ROUNDING)
    np.testing.assert_allclose(torch.cat(list(net.forward_iter(some))), expected, atol=ROUNDING)
    np.testing.assert_allclose(net.predict_proba(some), expected, atol=ROUNDING)


def test_forward_subtracts_references():
    pairs, y = make_pairs()
    pairs = on_backgrounds(pairs)
    net = tiny_net(reference="background").fit(pairs, y)
    np.testing.assert_allclose(net.forward(pairs), net.predict(pairs), atol=ROUNDING)


def test_forward_of_more_pairs_than_fit_a_mini_batch(monkeypatch):
    net, pairs, _ = fitted()
    monkeypatch.setattr("sklearn_rdm._network._batch_orders.PAIRS_AT_ONCE", 5)
    parts = list(net.forward_iter(pairs))
    assert [len(part) for part in parts] == [5] * 5 + [3]
    np.testing.assert_allclose(torch.cat(parts), net.predict(pairs), atol=ROUNDING)


def test_forward_in_training_mode_keeps_the_order_and_the_random_numbers():
    net, pairs, _ = fitted(read_out="relu2", batching="pairs")
    state = net.rng_.get_state()[1].copy()
    found = net.forward(pairs, training=True)
    assert found.requires_grad
    trained = clone(net).set_params(read_out=None).initialize()
    trained.module_.load_state_dict(net.module_.state_dict(), strict=False)
    np.testing.assert_allclose(found.detach(), trained.predict(pairs), atol=ROUNDING)
    assert np.array_equal(net.rng_.get_state()[1], state)


def test_forward_of_images_with_patterns_is_of_all_their_pairs():
    images, y = make_data().images, make_patterns(8)
    net = tiny_net().fit(images, y)
    expected = net.predict(ImagePairs(images))
    np.testing.assert_allclose(net.forward(Dataset(images, y)), expected, atol=ROUNDING)
    with pytest.raises(ValueError, match="pairs must be an ImagePairs"):
        net.forward(images)


@pytest.mark.parametrize("verb", ["forward", "predict_proba"])
def test_an_unfitted_net_predicts_nothing(verb):
    with pytest.raises(NotFittedError):
        getattr(tiny_net(), verb)(make_pairs()[0])


@pytest.mark.parametrize("training", [False, True])
def test_forward_names_an_image_of_constant_activations(training):
    pairs, y = make_pairs()
    net = tiny_net(backbone=OneChannel, layer="conv").fit(pairs, y)
    images = pairs.images.copy()
    images[3] = 77
    with pytest.raises(ValueError, match="image 3 has constant activations at layer 'conv'"):
        net.forward(ImagePairs(images), training=training)


def test_forward_takes_no_foreign_data():
    net, _, _ = fitted()
    with pytest.raises(ValueError, match="pairs must be an ImagePairs"):
        net.forward(TensorDataset(torch.zeros(3, 2)))


# Steps


def test_steps_on_a_mini_batch():
    net, pairs, y = fitted()
    target = net.subject_pooling_.transform(y)
    (batch,) = net.get_iterator(net.get_dataset(pairs, y))
    np.testing.assert_allclose(batch[1], target, rtol=1e-6)
    expected = net.predict(pairs)
    loss = np.mean((expected - target) ** 2)
    step = net.validation_step(batch)
    assert step["loss"].item() == pytest.approx(loss, rel=1e-4)
    for predicted in (step["y_pred"], net.evaluation_step(batch), net.infer(batch[0]).detach()):
        np.testing.assert_allclose(predicted, expected, atol=ROUNDING)
    assert net.get_loss(step["y_pred"], batch[1]).item() == pytest.approx(loss, rel=1e-4)
    assert net.get_loss(*step["y_pred"][None], batch[1], X=batch[0]) == step["loss"]
    before = net.predict(pairs)
    assert net.train_step(batch)["loss"].item() == pytest.approx(loss, rel=1e-4)
    assert not np.array_equal(net.predict(pairs), before)


def test_steps_on_images_with_patterns():
    images, y = make_data().images, make_patterns(8)
    net = tiny_net().fit(images, y)
    (batch,) = net.get_iterator(net.get_dataset(images, y))
    target = net.subject_pooling_.transform(y.dissimilarities())
    np.testing.assert_allclose(batch[1], target, rtol=1e-6)
    expected = np.mean((net.predict(ImagePairs(images)) - target) ** 2)
    assert net.validation_step(batch)["loss"].item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="one image makes no pair"):
        net.get_dataset(images, y)[0]


def test_steps_say_what_they_take():
    net, pairs, _ = fitted()
    (batch,) = net.get_iterator(net.get_dataset(pairs))
    np.testing.assert_allclose(net.evaluation_step(batch), net.predict(pairs), atol=ROUNDING)
    with pytest.raises(ValueError, match="the pairs have no dissimilarities"):
        net.validation_step(batch)
    with pytest.raises(TypeError, match=r"got a ImagePairs. To predict pairs, call predict"):
        net.infer(pairs)
    whitened = tiny_net(criterion=WhitenedCosineLoss).initialize()
    with pytest.raises(ValueError, match="WhitenedCosineLoss needs the images of each pair"):
        whitened.get_loss(torch.rand(3), torch.rand(3))
    with pytest.raises(ValueError, match="predict_nonlinearity"):
        tiny_net(predict_nonlinearity=torch.exp).fit(*make_pairs())


def test_data_of_fit_can_be_checked_and_a_net_be_trimmed():
    net, pairs, y = fitted()
    assert net.check_data(pairs, y) is None
    expected = net.predict(pairs)
    net.trim_for_prediction()
    assert np.array_equal(net.predict(pairs), expected)
    np.testing.assert_allclose(net.forward(pairs), expected, atol=ROUNDING)


# Validation sets of one's own


@pytest.mark.parametrize("criterion", [torch.nn.MSELoss, CorrelationLoss])
def test_validation_loss_is_that_of_the_given_pairs(criterion):
    (pairs, y), (valid, y_valid) = make_sets()
    split = predefined_split(Dataset(valid, y_valid))
    net = tiny_net(train_split=split, max_epochs=2, criterion=criterion).fit(pairs, y)
    assert same_bits(net, tiny_net(max_epochs=2, criterion=criterion).fit(pairs, y))
    target = net.subject_pooling_.transform(y_valid)  # as learned on the training pairs
    predicted = net.predict(valid)
    expected = {
        torch.nn.MSELoss: np.mean((predicted - target) ** 2),
        CorrelationLoss: 1 - np.corrcoef(predicted, target)[0, 1],
    }
    assert net.history[-1, "valid_loss"] == pytest.approx(expected[criterion], rel=1e-4)


def test_it_is_the_loss_of_a_split_with_the_same_images():
    pairs, y = make_pairs(12)
    split = ImageShuffleSplit(1, test_size=4, random_state=0)
    train, valid = next(split.split(pairs, y))
    one = tiny_net(train_split=split, max_epochs=2).fit(pairs, y)
    given = predefined_split(Dataset(pairs[valid], y[valid]))
    other = tiny_net(train_split=given, max_epochs=2).fit(pairs[train], y[train])
    assert same_bits(one, other)
    assert one.history[:, "valid_loss"] == other.history[:, "valid_loss"]


@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_validation_on_other_patterns(batching):
    images = make_data(15).images
    y, y_valid = make_patterns(N_TRAINED), make_patterns(6, seed=1)
    split = predefined_split(Dataset(images[N_TRAINED:], y_valid))
    net = tiny_net(train_split=split, batching=batching).fit(images[:N_TRAINED], y)
    target = net.subject_pooling_.transform(y_valid.dissimilarities())
    expected = np.mean((net.predict(ImagePairs(images[N_TRAINED:])) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_validation_pairs_beside_training_patterns():
    images, y = make_data(15).images, make_patterns(N_TRAINED)
    pairs, dissim = make_patterns(6, seed=1).to_pairs(images[N_TRAINED:])
    split = predefined_split(Dataset(pairs, dissim))
    net = tiny_net(train_split=split).fit(images[:N_TRAINED], y)
    expected = np.mean((net.predict(pairs) - net.subject_pooling_.transform(dissim)) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_function_may_give_the_validation_set_and_early_stopping_watch_it():
    (pairs, y), (valid, y_valid) = make_sets()
    stopping = EarlyStopping(patience=1, threshold=10.0, threshold_mode="abs")
    net = tiny_net(
        train_split=lambda given, _: (given, Dataset(valid, y_valid)),
        callbacks=[stopping],
        max_epochs=5,
    )
    assert len(net.fit(pairs, y).history) == 2


def test_validation_pairs_of_subjects_left_out_are_not_read():
    (pairs, y), (valid, y_valid) = make_sets()
    y[:, 0] = np.nan
    y_valid[:4, 1:] = np.nan
    split = predefined_split(Dataset(valid, y_valid))
    with pytest.warns(UserWarning, match="fewer than two"):
        net = tiny_net(train_split=split).fit(pairs, y)
    target = net.subject_pooling_.transform(y_valid)[4:]
    expected = np.mean((net.predict(valid[4:]) - target) ** 2)
    assert net.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-4)
    y_valid[:, 1:] = np.nan
    with (
        pytest.warns(UserWarning, match="fewer than two"),
        pytest.raises(ValueError, match="none of 15 pairs was measured"),
    ):
        tiny_net(train_split=predefined_split(Dataset(valid, y_valid))).fit(pairs, y)


@pytest.mark.parametrize("copied", [False, True])
def test_no_image_may_be_shared(copied):
    pairs, y = make_pairs()
    rows = np.flatnonzero((pairs.index < 5).all(axis=1))
    others = np.flatnonzero((pairs.index > 3).all(axis=1))
    valid = ImagePairs(pairs.images.copy(), pairs.index) if copied else pairs
    split = predefined_split(Dataset(valid[others], y[others]))
    with pytest.raises(ValueError, match=r"validates on 1 images .* the first is image 4 "):
        tiny_net(train_split=split).fit(pairs[rows], y[rows])
    weights = (pairs.index[rows] < 4).all(axis=1)  # image 4 is then not trained on
    tiny_net(train_split=split).fit(pairs[rows], y[rows], sample_weight=weights)


def test_images_with_patterns_may_not_be_shared_either():
    images = make_data(12).images
    split = predefined_split(Dataset(images[5:], make_patterns(7)))
    with pytest.raises(ValueError, match=r"validates on 1 images .* the first is image 0 "):
        tiny_net(train_split=split).fit(images[:6], make_patterns(6))


def of_wrong(kind, valid, y):
    return {
        "foreign": predefined_split(TensorDataset(torch.zeros(3))),
        "no targets": predefined_split(Dataset(valid, None)),
        "other subjects": predefined_split(Dataset(valid, y[:, :2])),
        "two images": predefined_split(Dataset(valid[:1], y[:1])),
        "cut": lambda given, _: (given[:3], Dataset(valid, y)),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("foreign", r"must give a skorch.dataset.Dataset\(pairs, dissim\).* got a TensorDataset"),
        ("no targets", "the data that train_split validates on: dissimilarities are required"),
        ("other subjects", "fitted on 3 subject"),
        ("two images", "the data that train_split validates on: 2 images make 1 pair"),
        ("cut", "must return what it was given and a dataset"),
    ],
)
def test_what_is_no_validation_set(kind, message):
    (pairs, y), (valid, y_valid) = make_sets()
    with pytest.raises((TypeError, ValueError), match=message):
        tiny_net(train_split=of_wrong(kind, valid, y_valid)).fit(pairs, y)


def test_a_checkpoint_tells_validation_sets_apart(tmp_path):
    (pairs, y), (valid, y_valid) = make_sets()
    for n_pairs in (15, 10, 15):
        split = predefined_split(Dataset(valid[:n_pairs], y_valid[:n_pairs]))
        tiny_net(train_split=split, checkpoint=tmp_path).fit(pairs, y)
    assert len(list(tmp_path.glob("*.fitted"))) == 2


# Scores of mini-batches


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        ("neg_mean_squared_error", lambda y, p: -np.mean((y - p) ** 2)),
        (rdm_spearman_scorer, rdm_spearman_score),
        (None, rdm_spearman_score),
    ],
    ids=["mse", "spearman", "own"],
)
def test_batch_scoring_of_validation_pairs(scoring, score, use_caching):
    (pairs, y), (valid, y_valid) = make_sets()
    callback = BatchScoring(scoring, name="score", use_caching=use_caching)
    split = predefined_split(Dataset(valid, y_valid))
    net = tiny_net(train_split=split, callbacks=[callback]).fit(pairs, y)
    expected = score(net.subject_pooling_.transform(y_valid), net.predict(valid))
    assert net.history[-1, "score"] == pytest.approx(expected, rel=1e-4)
    assert same_bits(net, tiny_net().fit(pairs, y))


@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_batch_scoring_of_training_pairs_is_weighted_by_their_number(batching):
    pairs, y = make_pairs()
    callback = BatchScoring("neg_mean_squared_error", name="score", on_train=True)
    params = {"batching": batching, "batch_size": 5, "max_epochs": 2}
    net = tiny_net(callbacks=[callback], **params).fit(pairs, y)
    np.testing.assert_allclose(
        np.negative(net.history[:, "score"]), net.history[:, "train_loss"], rtol=1e-5
    )


def test_batch_scoring_of_patterns():
    images, y = make_data(15).images, make_patterns(N_TRAINED)
    callback = BatchScoring("neg_mean_squared_error", name="score")
    y_valid = make_patterns(6, seed=1)
    split = predefined_split(Dataset(images[N_TRAINED:], y_valid))
    net = tiny_net(train_split=split, callbacks=[callback]).fit(images[:N_TRAINED], y)
    assert net.history[-1, "score"] == pytest.approx(-net.history[-1, "valid_loss"], rel=1e-5)


def test_a_dataset_of_skorch_is_what_it_holds():
    net, pairs, y = fitted()
    ours, theirs = net.get_dataset(pairs, y), net.get_dataset(Dataset(pairs, y))
    np.testing.assert_array_equal(ours.y, theirs.y)
    np.testing.assert_array_equal(np.asarray(ours.index), np.asarray(theirs.index))
