import functools
import pickle

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from skorch.callbacks import EpochScoring
from torch import nn

from sklearn_rdm import (
    ImagePairs,
    ImageTriplets,
    LayerEpochSearchCV,
    SiameseOddOneOutClassifier,
    SiameseRDMRegressor,
)
from sklearn_rdm.losses import OddOneOutLoss, TripletHingeLoss
from sklearn_rdm.metrics import choice_accuracy_scorer
from sklearn_rdm.model_selection import ImageKFold, ImageLeakWarning, ImageShuffleSplit
from sklearn_rdm.preprocessing import choices_to_rdm
from tests.networks import Recorder, TinyNetwork, record_fit, same_bits


def make_net(**params):
    defaults = {"image_size": 48, "max_epochs": 1, "random_state": 0, "lr": 0.01}
    return SiameseOddOneOutClassifier(TinyNetwork, "relu3", **defaults | params)


@functools.cache
def make_choices(n_images=12, n_triplets=150, anchored=False):
    """Two patterns are mixed in each image; a person looks at the weaker one only."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(2, 48, 48, 3))
    seen, unseen = rng.uniform(-1, 1, (2, n_images, 1, 1, 1))
    mixed = 128 + 25 * (seen * patterns[0] + 2 * unseen * patterns[1])
    images = np.uint8(np.clip(mixed, 0, 255))
    index = rng.random((n_triplets, n_images)).argsort(axis=1)[:, :3]
    triplets = ImageTriplets(images, index, anchored=anchored)
    similarity = -abs(seen.ravel()[:, None] - seen.ravel())[
        tuple(np.moveaxis(triplets.pair_index, -1, 0))
    ]
    choices = np.where(triplets.possible, similarity, -np.inf).argmax(axis=1)
    return triplets, choices


def distances(net, index):
    """By the definition, of one image at a time."""
    features = net.embed(make_choices()[0].images)
    return [1 - np.corrcoef(features[i], features[j])[0, 1] for i, j in index]


def naive_gradient(module, step, triplets, choices, criterion):
    """A loop over triplets, whose images are forwarded one by one."""
    module.train()
    parameters = module.trained_parameters()
    images = step["images"]
    losses = []
    for place, images_of in zip(choices, triplets, strict=True):
        rows = [int(np.flatnonzero(images == image)[0]) for image in images_of]
        z = [module._read(step["inputs"][row : row + 1])[0] for row in rows]
        z = [(x - x.mean()) / (x - x.mean()).norm() for x in z]
        d = torch.stack([1 - z[1] @ z[2], 1 - z[0] @ z[2], 1 - z[0] @ z[1]])
        if isinstance(criterion, OddOneOutLoss):
            losses.append(-torch.log_softmax(-d / criterion.temperature, 0)[place])
        else:
            others = [k for k in range(3) if k != place]
            losses.append(
                sum((criterion.margin + d[place] - d[k]).clamp(min=0) for k in others) / 2
            )
    return torch.autograd.grad(torch.stack(losses).mean(), parameters)


class Inputs(Recorder):
    def on_grad_computed(self, net, batch, named_parameters, **kwargs):
        super().on_grad_computed(net, batch, named_parameters, **kwargs)
        self.steps_[-1] |= {"inputs": batch[0].inputs, "triplets": batch[0]}


@pytest.mark.parametrize("criterion", [OddOneOutLoss, TripletHingeLoss])
@pytest.mark.parametrize("batching", ["images", "triplets"])
def test_gradients_are_those_of_a_loop_over_triplets(criterion, batching):
    triplets, choices = make_choices()
    recorder = Inputs()
    net = make_net(criterion=criterion, batching=batching, batch_size=7, callbacks=[recorder])
    net.fit(triplets, choices)
    step = recorder.steps_[0]
    assert len(step["images"]) == len(set(step["images"])) == len(step["inputs"])
    pairs = step["index"].reshape(-1, 3, 2)  # beside each of the three images
    of_batch = np.column_stack([pairs[:, 1, 0], pairs[:, 0, 0], pairs[:, 0, 1]])
    known = {tuple(t): c for t, c in zip(triplets.index.tolist(), choices, strict=True)}
    assert [known[tuple(t)] for t in of_batch.tolist()] == step["target"].tolist()
    untrained = make_net(criterion=criterion).initialize()
    assert same_bits(step["weights"], untrained)
    expected = naive_gradient(
        untrained.module_, step, of_batch, step["target"].tolist(), untrained.criterion_
    )
    names = [name for name, p in untrained.module_.named_parameters() if p.requires_grad]
    for name, gradient in zip(names, expected, strict=True):
        found = step["gradients"][name]
        np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max())


def test_batches_of_images_hold_all_their_triplets():
    triplets, choices = make_choices()
    recorder = record_fit(make_net(batch_size=6), triplets, choices)
    assert len(recorder.steps_) == 2
    for step in recorder.steps_:
        inside = np.isin(triplets.index, step["images"]).all(axis=1)
        assert len(step["target"]) == inside.sum()


@pytest.mark.parametrize("anchored", [False, True])
def test_choices_about_new_images_are_learned(anchored):
    triplets, choices = make_choices(36, 3000, anchored)
    train, test = next(ImageShuffleSplit(1, test_size=0.4, random_state=0).split(triplets))
    untrained, net = (
        make_net(max_epochs=30, lr=lr).fit(triplets[train], choices[train]) for lr in (1e-12, 3e-3)
    )
    before, after = (n.score(triplets[test], choices[test]) for n in (untrained, net))
    assert after > before + 0.1


def test_a_loss_that_is_made_already_has_probabilities_too():
    triplets, choices = make_choices()
    made = make_net(criterion=OddOneOutLoss(0.3)).fit(triplets, choices)
    named = make_net(criterion__temperature=0.3).fit(triplets, choices)
    np.testing.assert_array_equal(made.predict_proba(triplets), named.predict_proba(triplets))


@pytest.mark.parametrize("criterion", [OddOneOutLoss, TripletHingeLoss])
def test_what_is_predicted_is_the_image_beside_the_closest_pair(criterion):
    triplets, choices = make_choices()
    net = make_net(criterion=criterion).fit(triplets, choices)
    dissim = np.array([distances(net, pairs) for pairs in triplets.pair_index[:20]])
    np.testing.assert_array_equal(net.predict(triplets)[:20], dissim.argmin(axis=1))
    rdm = net.transform(triplets)
    np.testing.assert_allclose(rdm[tuple(triplets.pair_index[:20].T)].T, dissim, atol=1e-5)
    assert net.score(triplets, choices) == (net.predict(triplets) == choices).mean()
    assert hasattr(net, "predict_proba") == (criterion is OddOneOutLoss)
    if criterion is OddOneOutLoss:
        expected = softmax(-dissim / 0.1, axis=1)
        np.testing.assert_allclose(net.predict_proba(triplets)[:20], expected, atol=1e-4)


def test_a_reference_is_never_the_odd_one_out():
    triplets, choices = make_choices(anchored=True)
    net = make_net().fit(triplets, choices)
    assert set(net.predict(triplets)) == {1, 2}
    assert (net.predict_proba(triplets)[:, 0] == 0).all()
    assert net.predict(triplets[:0]).shape == (0,)


def test_equal_images_are_a_tie():
    triplets, choices = make_choices()
    net = make_net().fit(triplets, choices)
    same = ImageTriplets(triplets.images[[0, 0, 0, 1]], [[0, 1, 3], [0, 1, 2]])
    assert net.predict(same).tolist() == [2, -1]


def test_searches_hold_out_images():
    triplets, choices = make_choices()
    cv = ImageKFold(3, shuffle=True, random_state=0)
    grid = {"criterion__temperature": [0.05, 0.5], "batch_size": [6, 48]}
    search = GridSearchCV(make_net(), grid, cv=cv, scoring=choice_accuracy_scorer)
    search.fit(triplets, choices)
    assert search.predict(triplets).shape == choices.shape
    assert search.transform(triplets.images).shape == (12, 12)
    scores = cross_val_score(search.best_estimator_, triplets, choices, cv=cv)
    assert scores.mean() == pytest.approx(search.best_score_)
    for scoring in (None, choice_accuracy_scorer):
        with pytest.warns(ImageLeakWarning, match="triplets compare images that were trained on"):
            cross_val_score(make_net(), triplets, choices, cv=KFold(3), scoring=scoring)


def test_whole_weights_equal_repeated_triplets():
    triplets, choices = make_choices()
    counts = np.random.default_rng(0).integers(0, 3, len(choices))
    rows = np.repeat(np.arange(len(counts)), counts)
    net = make_net(batch_size=-1, optimizer=torch.optim.SGD)
    weighted = clone(net).fit(triplets, choices, sample_weight=counts)
    repeated = clone(net).fit(triplets[rows], choices[rows])
    np.testing.assert_allclose(
        weighted.transform(triplets.images), repeated.transform(triplets.images), atol=1e-5
    )
    score = weighted.score(triplets, choices, sample_weight=counts)
    assert score == pytest.approx(weighted.score(triplets[rows], choices[rows]))


def test_validation_holds_out_images_and_is_scored():
    triplets, choices = make_choices()
    split = ImageShuffleSplit(1, test_size=0.4, random_state=0)
    net = make_net(train_split=split, batching="triplets").fit(triplets, choices)
    _, valid = next(split.split(triplets))
    dissim = np.array([distances(net, pairs) for pairs in triplets.pair_index[valid]])
    loss = OddOneOutLoss(0.1)(torch.tensor(-dissim), torch.tensor(choices[valid]))
    assert net.history_[-1, "valid_loss"] == pytest.approx(loss.item(), abs=1e-4)
    with pytest.raises(ValueError, match="validates on the triplet of images"):
        make_net(train_split=KFold(3)).fit(triplets, choices)


@pytest.mark.parametrize(
    "options", [{}, {"freeze_up_to": "relu1", "noise_ratio": 0.5, "reference": "mean"}]
)
def test_the_same_seed_gives_the_same_bits_with_memory_and_checkpoint(options, tmp_path):
    triplets, choices = make_choices()
    plain = make_net(**options).fit(triplets, choices)
    kept = {"memory": str(tmp_path / "memory"), "checkpoint": tmp_path / "fits"}
    first, again = (make_net(**options, **kept).fit(triplets, choices) for _ in range(2))
    assert same_bits(plain, first)
    assert same_bits(first, again)
    turned = ImageTriplets(triplets.images, triplets.index, anchored=True)
    possible = choices > 0
    make_net(**options, **kept).fit(turned[possible], choices[possible])
    assert len(list((tmp_path / "fits").glob("*.fitted"))) == 2


def test_callbacks_score_held_out_choices():
    triplets, choices = make_choices()
    split = ImageShuffleSplit(1, test_size=0.4, random_state=0)
    scores = EpochScoring(choice_accuracy_scorer, name="valid_acc", lower_is_better=False)
    net = make_net(train_split=split, callbacks=[scores], max_epochs=2).fit(triplets, choices)
    _, valid = next(split.split(triplets))
    assert net.history_[-1, "valid_acc"] == net.score(triplets[valid], choices[valid])


def test_it_is_a_classifier_that_can_be_cloned_pickled_and_trained_on():
    triplets, choices = make_choices()
    net = make_net(criterion__temperature=0.3).fit(triplets, choices)
    assert is_classifier(net)
    assert clone(net).get_params(deep=False) == net.get_params(deep=False)
    assert repr(net).startswith("SiameseOddOneOutClassifier(backbone=")
    assert "criterion__temperature=0.3" in repr(net)
    assert "freeze_up_to" not in repr(net)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copied.predict(triplets), net.predict(triplets))
    net.partial_fit(triplets, choices)
    assert len(net.history_) == 2
    assert net.criterion_.temperature == 0.3
    assert make_net().initialize().criterion_.temperature == 0.1


def test_one_triplet_of_three_images_is_enough():
    triplets, _ = make_choices()
    one = triplets[3:4]
    net = make_net(max_epochs=30).fit(one, [1])
    assert net.predict(one).tolist() == [1]
    assert net.history_[-1, "train_loss"] < net.history_[0, "train_loss"]


def test_wrong_input_raises_an_error():
    triplets, choices = make_choices()
    net = make_net()
    for wrong in (choices[:-1], choices[:, None], np.full(len(choices), 3), choices - 1):
        with pytest.raises(ValueError, match="choice"):
            net.fit(triplets, wrong)
    with pytest.raises(TypeError, match="triplets must be ImageTriplets, got ImagePairs"):
        net.fit(ImagePairs(triplets.images), np.ones(66))
    for criterion in (nn.MSELoss, nn.CrossEntropyLoss):
        with pytest.raises(ValueError, match="criterion must be a loss of triplets"):
            make_net(criterion=criterion).fit(triplets, choices)
    with pytest.raises(ValueError, match=r"batching must be one of \['images', 'triplets'\]"):
        make_net(batching="pairs").fit(triplets, choices)
    with pytest.raises(ValueError, match="no measured triplet .* batching='triplets'"):
        make_net(batch_size=2).fit(triplets, choices)
    with pytest.raises(TypeError, match="choices must be whole numbers"):
        net.fit(triplets, choices.astype(str))
    with pytest.raises(TypeError, match=r"only sample_weight and epochs besides triplets"):
        net.fit(triplets, choices, epoch=3)
    with pytest.raises(ValueError, match="other triplets to validate on cannot be given"):
        make_net(train_split=lambda X, y: (X, None)).fit(triplets, choices)
    assert not net.initialized_


@pytest.mark.parametrize("estimator", [SiameseRDMRegressor, LayerEpochSearchCV])
def test_estimators_of_pairs_name_the_one_of_triplets(estimator):
    triplets, choices = make_choices()
    model = SiameseRDMRegressor(TinyNetwork, "relu3", image_size=48)
    if estimator is LayerEpochSearchCV:
        model = LayerEpochSearchCV(model, ["relu3"])
    with pytest.raises(TypeError, match="SiameseOddOneOutClassifier"):
        model.fit(triplets, choices)


def test_layers_are_not_searched_by_what_pairs_would_score():
    triplets, choices = make_choices()
    pairs, dissim = ImagePairs.from_rdms(triplets.images, choices_to_rdm(triplets, choices))
    with pytest.raises(TypeError, match="estimator must be a SiameseRDMRegressor"):
        LayerEpochSearchCV(make_net(), ["relu3"], cv=ImageKFold(3)).fit(pairs, dissim)
