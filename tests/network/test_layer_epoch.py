"""The search over layers and epochs, against networks that are trained one by one."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerEpochDisplay,
    LayerEpochSearchCV,
)
from sklearn_rdm._network._image_reader import ImageReader
from sklearn_rdm.callbacks import WeightAveraging
from sklearn_rdm.metrics import rdm_spearman_score, rdm_whitened_pearson_scorer
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from tests.networks import OneChannel, make_data, make_pairs, on_backgrounds, same_bits, tiny_net

LAYERS = ["relu1", "relu2", "relu3", "fc"]
FOLDS = ImageKFold(2, shuffle=True, random_state=0)
ONE_SPLIT = ImageShuffleSplit(1, test_size=4, random_state=0)


def surface_one_by_one(net, layers, folds, pairs, y):
    """Every cell by a training of its own."""
    scores = np.empty((len(folds), len(layers), net.max_epochs))
    for k, (train, test) in enumerate(folds):
        for row, layer in enumerate(layers):
            for column in range(net.max_epochs):
                one = clone(net).set_params(read_out=layer, max_epochs=column + 1)
                predicted = one.fit(pairs[train], y[train]).predict(pairs[test])
                scores[k, row, column] = rdm_spearman_score(y[test], predicted)
    return scores


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"freeze_up_to": "relu1", "reference": "background"},
        {"noise_ratio": 1.0},
        {"callbacks": [WeightAveraging(2)]},
        {"callbacks": "disable"},
    ],
)
def test_the_surface_equals_trainings_one_by_one(params, n_jobs):
    pairs, y = make_pairs(12)
    pairs = on_backgrounds(pairs)
    net, layers = tiny_net(max_epochs=3, **params), LAYERS[1:]
    search = LayerEpochSearchCV(net, layers, cv=FOLDS, n_jobs=n_jobs).fit(pairs, y)
    expected = surface_one_by_one(net, layers, list(FOLDS.split(pairs)), pairs, y)
    np.testing.assert_allclose(search.scores_, expected, atol=1e-6)
    np.testing.assert_allclose(search.mean_scores_, expected.mean(0), atol=1e-6)
    row, column = layers.index(search.best_layer_), search.best_epoch_ - 1
    assert search.mean_scores_[row, column] == search.mean_scores_.max() == search.best_score_


def test_the_chosen_layer_and_epoch_are_trained_on_all_pairs():
    pairs, y = make_pairs(12)
    net = tiny_net(max_epochs=3)
    search = LayerEpochSearchCV(net, LAYERS, cv=FOLDS).fit(pairs, y)
    alone = clone(net).set_params(read_out=search.best_layer_, max_epochs=search.best_epoch_)
    alone.fit(pairs, y)
    assert same_bits(search.best_estimator_, alone)
    assert np.array_equal(search.predict(pairs), alone.predict(pairs))
    assert np.array_equal(search.transform(pairs.images), alone.transform(pairs.images))
    assert np.array_equal(search.embed(pairs.images), alone.embed(pairs.images))
    assert search.score(pairs, y) == alone.score(pairs, y)


@pytest.mark.parametrize("callbacks", [None, [WeightAveraging(2)]])
def test_one_split_keeps_the_weights_of_the_best_epoch(callbacks):
    pairs, y = make_pairs(12)
    net = tiny_net(max_epochs=4, callbacks=callbacks)
    search = LayerEpochSearchCV(net, LAYERS, cv=ONE_SPLIT, refit=False).fit(pairs, y)
    train, test = next(ONE_SPLIT.split(pairs, y))
    alone = clone(net).set_params(max_epochs=search.best_epoch_, read_out=search.best_layer_)
    alone.fit(pairs[train], y[train])
    np.testing.assert_array_equal(search.predict(pairs), alone.predict(pairs))
    assert search.score(pairs[test], y[test]) == pytest.approx(search.best_score_)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(pairs), alone.predict(pairs))
    assert len(pickle.dumps(search.best_estimator_)) < pairs.images.nbytes + 200_000
    clone(search.best_estimator_).fit(pairs, y)


def test_training_goes_on_from_the_kept_weights():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), LAYERS, cv=ONE_SPLIT, refit=False)
    kept = search.fit(pairs, y).best_estimator_
    assert kept.partial_fit(pairs, y).predict(pairs).shape == (66,)
    assert kept.read_out == search.best_layer_


def test_several_splits_without_refit_keep_no_network():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(tiny_net(), LAYERS, cv=FOLDS, refit=False).fit(pairs, y)
    assert search.scores_.shape == (2, 4, 1)
    with pytest.raises(AttributeError, match="no attribute 'predict'") as error:
        search.predict(pairs)
    assert "use refit=True" in str(error.value.__cause__)


def test_frozen_candidates_have_one_score_for_all_epochs_that_of_the_fixed_network():
    pairs, y = make_pairs(12)
    net = tiny_net(max_epochs=3, freeze_up_to="relu1")
    search = LayerEpochSearchCV(net, ["relu1", "relu3"], cv=FOLDS).fit(pairs, y)
    assert np.ptp(search.scores_[:, 0], axis=1).max() == 0
    assert np.ptp(search.scores_[:, 1], axis=1).min() > 0
    fixed = LayerActivations(net.backbone, "relu1", image_size=48)
    seed = net.initialize().module_.state_dict()
    features = fixed.fit(pairs.images)
    features.trunk_.load_state_dict(
        {k.removeprefix("trunk."): v for k, v in seed.items()}, strict=False
    )
    for k, (_, test) in enumerate(FOLDS.split(pairs)):
        by_hand = FixedRSARegressor().fit(*[ImagePairs(features.transform(pairs.images)), y])
        predicted = by_hand.predict(ImagePairs(features.transform(pairs.images), pairs[test].index))
        score = rdm_spearman_score(y[test], predicted)
        assert search.scores_[k, 0, 0] == pytest.approx(score, abs=1e-6)


def test_a_surface_without_a_defined_score_is_refused():
    rng = np.random.default_rng(0)
    images = rng.random((9, 48, 48, 3))
    pairs, y = ImagePairs.from_rdms(images, rng.random(36))
    images[0] = 0.5  # a constant map for this network
    net = tiny_net(backbone=OneChannel, layer="conv")
    held_out = [
        (np.flatnonzero((pairs.index > 2).all(1)), np.flatnonzero((pairs.index < 3).all(1)))
    ]
    with pytest.raises(ValueError, match="no score of the layers"):
        LayerEpochSearchCV(net, ["conv"], cv=held_out).fit(pairs, y)


def test_it_is_searched_and_cross_validated_like_any_estimator():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(tiny_net(), ["relu2", "relu3"], cv=FOLDS)
    grid = GridSearchCV(search, {"estimator__lr": [0.01, 0.1]}, cv=FOLDS).fit(pairs, y)
    assert grid.best_estimator_.best_layer_ in ("relu2", "relu3")
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_a_scorer_may_need_the_pairs():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(
        tiny_net(), ["relu2"], cv=ONE_SPLIT, scoring="rdm_whitened_pearson", refit=False
    ).fit(pairs, y)
    _, test = next(ONE_SPLIT.split(pairs, y))
    expected = rdm_whitened_pearson_scorer(search.best_estimator_, pairs[test], y[test])
    assert search.best_score_ == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (LayerEpochSearchCV(FixedRSARegressor(), ["relu1"]), TypeError, "SiameseRDMRegressor"),
        (LayerEpochSearchCV(tiny_net(), []), ValueError, "at least one layer"),
        (LayerEpochSearchCV(tiny_net(), ["relu1", "relu1"]), ValueError, "each once"),
        (LayerEpochSearchCV(tiny_net(), ["relu9"], cv=2), ValueError, "no layer 'relu9'"),
        (LayerEpochSearchCV(tiny_net(), ["relu1"], scoring="r2"), ValueError, "not an RDM scorer"),
    ],
)
def test_what_cannot_be_searched_is_refused(search, error, message):
    with pytest.raises(error, match=message):
        search.fit(*make_pairs(12))


def test_the_display_shows_the_surface_and_the_choice():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), LAYERS, cv=FOLDS).fit(pairs, y)
    display = LayerEpochDisplay.from_estimator(search, score_name="Spearman's r")
    assert np.array_equal(display.im_.get_array(), search.mean_scores_)
    assert f"{search.best_layer_}, epoch {search.best_epoch_}" in display.ax_.get_title()


def test_images_of_test_folds_are_never_trained_on():
    data = make_data(12)
    pairs, y = ImagePairs.from_rdms(data.images, data.rdms)
    leaking = [(np.arange(60), np.arange(50, 66))]
    with pytest.raises(ValueError, match="holds out pairs, not images"):
        LayerEpochSearchCV(tiny_net(), ["relu1"], cv=leaking).fit(pairs, y)


class StopAfter(Callback):
    """Ends the training of a fold in an epoch that its first image says."""

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        if len(net.history) == 2 + int(dataset_train.kept.images.min() > 0):
            raise KeyboardInterrupt


def test_epochs_that_some_fold_did_not_reach_are_not_chosen():
    pairs, y = make_pairs(12)
    net = tiny_net(max_epochs=3, callbacks=[StopAfter()])
    search = LayerEpochSearchCV(net, LAYERS, cv=ImageKFold(3), refit=False).fit(pairs, y)
    n_epochs = np.isfinite(search.scores_).sum(axis=2)
    assert (n_epochs == [[3], [2], [2]]).all()
    assert np.isnan(search.mean_scores_[:, 2:]).all()
    assert search.best_epoch_ <= 2


def test_no_epoch_is_refused():
    with pytest.raises(ValueError, match="max_epochs of the estimator must be at least 1, got 0"):
        LayerEpochSearchCV(tiny_net(max_epochs=0), LAYERS).fit(*make_pairs(12))


def test_a_layer_that_is_constant_in_one_fold_is_not_chosen(monkeypatch):
    pairs, y = make_pairs(12)
    predict = ImageReader.predict_all

    def constant_in_one_fold(reader, held_out):
        dissim = predict(reader, held_out)
        dissim[1] = np.nan if 0 in held_out.index else 0.9 * y_of(held_out)
        return dissim

    def y_of(held_out):
        rows = [np.flatnonzero((pairs.index == pair).all(axis=1))[0] for pair in held_out.index]
        return y[rows].mean(axis=1)

    monkeypatch.setattr(ImageReader, "predict_all", constant_in_one_fold)
    net = tiny_net(max_epochs=2)
    search = LayerEpochSearchCV(net, LAYERS, cv=ImageKFold(3), refit=False).fit(pairs, y)
    assert np.isnan(search.scores_[0, 0]).all()
    assert (search.scores_[1:, 0] > 0.5).all()
    assert np.isnan(search.mean_scores_[0]).all()
    assert search.best_layer_ != LAYERS[0]


def test_the_kept_network_is_what_its_parameters_say(tmp_path):
    pairs, y = make_pairs(12)
    net = tiny_net(max_epochs=2, noise_ratio=0.5)
    search = LayerEpochSearchCV(net, LAYERS, cv=ONE_SPLIT, refit=False).fit(pairs, y)
    kept = search.best_estimator_
    assert "module__candidates" not in kept.get_params()
    kept.save_params(f_params=tmp_path / "kept.pt")
    loaded = clone(kept).initialize()
    loaded.load_params(f_params=tmp_path / "kept.pt")
    np.testing.assert_array_equal(loaded.predict(pairs), kept.predict(pairs))


def test_other_parameters_are_chosen_with_the_layer_and_the_epoch():
    pairs, y = make_pairs(12)
    net, cv = tiny_net(max_epochs=2), ImageKFold(3)
    grid = [{"freeze_up_to": ["relu1"], "lr": [0.1, 0.3]}, {"layer": ["relu2"]}]
    search = LayerEpochSearchCV(net, LAYERS, param_grid=grid, cv=cv).fit(pairs, y)
    assert search.cv_results_["scores"].shape == (3, 3, len(LAYERS), 2)
    alone = [
        LayerEpochSearchCV(clone(net).set_params(**params), LAYERS, cv=cv).fit(pairs, y)
        for params in search.cv_results_["params"]
    ]
    for scores, one in zip(search.cv_results_["scores"], alone, strict=True):
        np.testing.assert_array_equal(scores, one.scores_)
    best = max(alone, key=lambda one: one.best_score_)
    assert search.best_params_ == search.cv_results_["params"][alone.index(best)]
    assert (search.best_layer_, search.best_epoch_) == (best.best_layer_, best.best_epoch_)
    np.testing.assert_array_equal(search.predict(pairs), best.predict(pairs))


def test_the_kept_network_has_the_chosen_parameters():
    pairs, y = make_pairs(12)
    grid = {"lr": [0.1, 1e-6]}
    search = LayerEpochSearchCV(
        tiny_net(max_epochs=2), LAYERS, param_grid=grid, cv=ONE_SPLIT, refit=False
    ).fit(pairs, y)
    alone = LayerEpochSearchCV(
        tiny_net(max_epochs=2, **search.best_params_), LAYERS, cv=ONE_SPLIT, refit=False
    ).fit(pairs, y)
    assert search.best_estimator_.lr == search.best_params_["lr"]
    np.testing.assert_array_equal(search.predict(pairs), alone.predict(pairs))


def test_depth_and_epoch_are_chosen_together():
    pairs, y = make_pairs(12)
    net, cv = tiny_net(max_epochs=2), ImageKFold(3)
    grid = {"layer": ["relu1", "relu3"]}
    search = LayerEpochSearchCV(net, param_grid=grid, cv=cv).fit(pairs, y)
    alone = [
        LayerEpochSearchCV(clone(net).set_params(layer=layer), [layer], cv=cv).fit(pairs, y)
        for layer in grid["layer"]
    ]
    for scores, one in zip(search.cv_results_["scores"], alone, strict=True):
        np.testing.assert_array_equal(scores, one.scores_)
    best = max(alone, key=lambda one: one.best_score_)
    assert search.best_layer_ == search.best_params_["layer"] == best.best_layer_
    np.testing.assert_array_equal(search.predict(pairs), best.predict(pairs))
    display = LayerEpochDisplay.from_estimator(search)
    assert list(display.layers) == [search.best_layer_]


def test_whole_weights_equal_repeated_pairs():
    pairs, y = make_pairs(12)
    weights = np.random.default_rng(0).integers(1, 4, len(y))
    weights[5] = 0
    rows = np.repeat(np.arange(len(y)), weights)
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), ["relu2", "relu3"], cv=FOLDS)
    weighted = clone(search).fit(pairs, y, sample_weight=weights)
    repeated = clone(search).fit(pairs[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, atol=1e-5)
    np.testing.assert_allclose(weighted.predict(pairs), repeated.predict(pairs), atol=1e-5)
    assert np.abs(weighted.scores_ - clone(search).fit(pairs, y).scores_).max() > 1e-3
    with pytest.raises(ValueError, match="one weight per pair"):
        search.fit(pairs, y, sample_weight=weights[:-1])


def test_without_a_defined_score_no_epoch_of_one_split_is_kept():
    pairs, y = make_pairs(12)
    search = LayerEpochSearchCV(tiny_net(), LAYERS, cv=ONE_SPLIT, refit=False)
    with pytest.raises(ValueError, match="no score of the layers"):
        search.set_params(scoring=lambda *_: np.nan).fit(pairs, y)
    assert not hasattr(search, "best_estimator_")
