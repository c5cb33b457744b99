"""The twin network's life inside scikit-learn and skorch: searches, folds, callbacks, files."""

import pickle

import numpy as np
import pytest
import torch
from joblib import Memory
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import get_tags
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)

from sklearn_rdm import (
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from sklearn_rdm._network._forward import Photographs
from sklearn_rdm.losses import CorrelationLoss
from sklearn_rdm.metrics import (
    rdm_pearson_scorer,
    rdm_spearman_score,
    rdm_spearman_scorer,
    rdm_whitened_cosine_scorer,
    rdm_whitened_pearson_scorer,
)
from sklearn_rdm.model_selection import (
    ImageKFold,
    ImageShuffleSplit,
    cross_val_rdm,
    image_train_test_split,
)
from sklearn_rdm.preprocessing import PerImage
from tests.networks import (
    TinyNetwork,
    changed,
    make_data,
    make_pairs,
    record_fit,
    same_bits,
    tiny_net,
    weights,
)

FOLDS = ImageKFold(3, shuffle=True, random_state=0)
INNER = ImageShuffleSplit(1, test_size=3, random_state=0)


@pytest.fixture
def pairs():
    return make_pairs(12)[0]


@pytest.fixture
def y():
    return make_pairs(12)[1].copy()


@pytest.fixture
def memory(tmp_path):
    return str(tmp_path / "memory")


# No held-out image or target has a say


def poison(pairs, y, rows):
    """Replace every image and every dissimilarity that the pairs in ``rows`` do not hold."""
    images = pairs.images.copy()
    unseen = np.setdiff1d(np.arange(len(images)), pairs.index[rows])
    images[unseen] = np.random.default_rng(1).integers(0, 256, images[unseen].shape)
    poisoned = y.copy()
    poisoned[np.setdiff1d(np.arange(len(y)), rows)] = 1e9
    return ImagePairs(images, pairs.index), poisoned


@pytest.mark.parametrize(("pooling", "reference"), [("zscore", None), ("rank", "mean")])
@pytest.mark.parametrize("inner", ["no validation", "early stopping"])
@pytest.mark.parametrize("keep", [False, True])
def test_held_out_images_and_targets_cannot_leak(pooling, reference, inner, keep, memory):
    pairs, y = make_pairs(18)
    net = tiny_net(subject_pooling=pooling, reference=reference, freeze_up_to="relu1", max_epochs=2)
    net.set_params(memory=memory if keep else None)
    if inner == "early stopping":
        stop = EarlyStopping(patience=1, load_best=True, sink=_silent)
        net.set_params(train_split=INNER, max_epochs=8, lr=0.5, callbacks=[stop])
    clean = cross_validate(net, pairs, y, cv=FOLDS, return_estimator=True, return_indices=True)
    for fitted, rows, tested in zip(
        clean["estimator"], clean["indices"]["train"], clean["indices"]["test"], strict=True
    ):
        bad_pairs, bad_y = poison(pairs, y, rows)
        assert (bad_pairs.images != pairs.images).any(axis=(1, 2, 3)).sum() == 6
        again = clone(net).fit(bad_pairs[rows], bad_y[rows])
        assert same_bits(again, fitted)
        np.testing.assert_array_equal(again.predict(pairs[tested]), fitted.predict(pairs[tested]))
        # The poison works: one poisoned pair among the training pairs changes the weights.
        leaky = np.append(rows, tested[0])
        assert not same_bits(clone(net).fit(bad_pairs[leaky], bad_y[leaky]), fitted)


def _silent(text):
    pass


@pytest.mark.parametrize("batching", ["images", "pairs"])
def test_inner_validation_is_held_out_by_image(batching, pairs, y):
    class Spy(Callback):
        def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
            self.rows_ = [np.asarray(part.indices) for part in (dataset_train, dataset_valid)]

        def on_batch_begin(self, net, batch, training, **kwargs):
            images = self.images_[training] if hasattr(self, "images_") else None
            if images is None:
                self.images_ = {True: set(), False: set()}
                images = self.images_[training]
            images.update(batch[0].images)

    spy = Spy()
    params = {"batching": batching, "train_split": INNER, "max_epochs": 2}
    net = tiny_net(**params, callbacks=[spy]).fit(pairs, y)
    train, valid = spy.rows_
    for rows, expected in zip(spy.rows_, next(INNER.split(pairs)), strict=True):
        np.testing.assert_array_equal(rows, expected)
    assert not set(pairs.index[train].ravel()) & set(pairs.index[valid].ravel())
    assert spy.images_[False] == set(pairs.index[valid].ravel())
    assert spy.images_[True] == set(pairs.index[train].ravel())
    assert len(spy.images_[False]) == 3

    bad_pairs, bad_y = poison(pairs, y, train)
    again = tiny_net(**params).fit(bad_pairs, bad_y)
    assert same_bits(again, net)
    np.testing.assert_array_equal(again.subject_pooling_.mean_, y[train].mean(axis=0))
    assert again.history[-1, "valid_loss"] != net.history[-1, "valid_loss"]


def test_net_without_inner_split_is_trained_on_the_training_pairs_alone(pairs, y):
    train, _ = next(INNER.split(pairs))
    alone = tiny_net(max_epochs=2).fit(pairs[train], y[train])
    assert same_bits(tiny_net(max_epochs=2, train_split=INNER).fit(pairs, y), alone)


# Searches


def test_grid_search_forwards_every_image_through_a_frozen_prefix_once(
    pairs, y, memory, monkeypatch
):
    forwarded = []
    load = Photographs.load
    monkeypatch.setattr(
        Photographs, "load", lambda self, rows: forwarded.extend(rows) or load(self, rows)
    )
    grid = {"freeze_up_to": ["relu1", "relu2"], "lr": [0.01, 0.1]}
    search = GridSearchCV(tiny_net(memory=memory), grid, cv=FOLDS, scoring=rdm_spearman_scorer)
    search.fit(pairs, y)
    assert sorted(forwarded) == sorted([*range(12)] * 2)
    search.predict(pairs)
    clone(search).fit(pairs, y)
    assert len(forwarded) == 24
    two_new = np.concatenate([pairs.images, 255 - pairs.images[:2]])
    search.predict(ImagePairs(two_new, [[0, 12], [13, 5], [12, 1]]))
    assert len(forwarded) == 26

    forwarded.clear()
    plain = clone(search).set_params(estimator__memory=None).fit(pairs, y)
    assert len(forwarded) > 100
    for key in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(plain.cv_results_[key], search.cv_results_[key])
    assert same_bits(plain.best_estimator_, search.best_estimator_)


def test_workers_give_the_same_bits(pairs, y, memory):
    net = tiny_net(memory=memory, freeze_up_to="relu1", max_epochs=2)
    kept = {"scoring": rdm_spearman_scorer, "cv": FOLDS, "return_estimator": True}
    here = cross_validate(clone(net).set_params(memory=None), pairs, y, **kept)
    there = cross_validate(net, pairs, y, n_jobs=2, **kept)
    for one, other in zip(here["estimator"], there["estimator"], strict=True):
        assert same_bits(one, other)
    np.testing.assert_array_equal(here["test_score"], there["test_score"])

    grid = {"freeze_up_to": [None, "relu1"], "lr": [0.01, 0.1]}
    scoring = {"rho": rdm_spearman_scorer, "r": rdm_pearson_scorer}
    searches = [
        GridSearchCV(net, grid, cv=FOLDS, scoring=scoring, refit="rho", n_jobs=n_jobs)
        for n_jobs in (None, 2)
    ]
    for search in searches:
        search.fit(pairs, y)
    first, second = searches
    for key in ("mean_test_rho", "mean_test_r"):
        np.testing.assert_array_equal(first.cv_results_[key], second.cv_results_[key])
    assert same_bits(first.best_estimator_, second.best_estimator_)
    rdm = second.transform(make_data(5).images)
    assert rdm.shape == (5, 5)
    np.testing.assert_array_equal(rdm, first.best_estimator_.transform(make_data(5).images))
    assert second.score(pairs, y) == rdm_spearman_score(y, second.predict(pairs))


def test_memory_may_be_a_joblib_memory(pairs, y, tmp_path):
    memory = Memory(tmp_path, verbose=0)
    net = clone(tiny_net(memory=memory, freeze_up_to="relu1")).fit(pairs, y)
    assert same_bits(net, tiny_net(freeze_up_to="relu1").fit(pairs, y))
    assert any(tmp_path.rglob("activations*"))


def test_halving_search_over_epochs(pairs, y):
    search = HalvingGridSearchCV(
        tiny_net(),
        {"lr": [0.01, 0.1, 1.0]},
        resource="max_epochs",
        min_resources=1,
        max_resources=4,
        factor=2,
        cv=FOLDS,
        scoring=rdm_spearman_scorer,
        error_score="raise",
    ).fit(pairs, y)
    assert search.n_resources_ == [1, 2]
    assert len(search.best_estimator_.history) == search.best_params_["max_epochs"] == 2
    assert search.transform(pairs.images).shape == (12, 12)


def test_failing_candidates_are_left_out_with_their_error(pairs, y):
    grid = {"freeze_up_to": [None, "relu3"]}
    search = GridSearchCV(tiny_net(), grid, cv=FOLDS, error_score=-2.0)
    with pytest.warns(FitFailedWarning, match="nothing is left to train"):
        search.fit(pairs, y)
    assert search.best_params_ == {"freeze_up_to": None}


def test_network_and_baselines_compete_in_one_search(pairs, y):
    layer = LayerActivations(TinyNetwork, "relu3", image_size=48, random_state=0)
    scaler = PerImage(StandardScaler())
    baseline = Pipeline([("layer", layer), ("scaler", scaler), ("rsa", FixedRSARegressor())])
    grid = [
        {"model": [tiny_net()], "model__lr": [0.01, 0.1]},
        {
            "model": [baseline],
            "model__rsa": [
                FixedRSARegressor("cosine"),
                LayerWeightedRSARegressor(n_components=3),
                FeatureReweightedRSARegressor(alphas=10),
                LinearTwinRSARegressor(3),
            ],
        },
    ]
    search = GridSearchCV(
        Pipeline([("model", baseline)]), grid, cv=FOLDS, scoring=rdm_spearman_scorer
    ).fit(pairs, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(pairs.images).shape == (12, 12)
    alone = cross_val_score(tiny_net(lr=0.1), pairs, y, cv=FOLDS, scoring=rdm_spearman_scorer)
    assert search.cv_results_["mean_test_score"][1] == alone.mean()


@pytest.mark.parametrize("scoring", [None, rdm_spearman_scorer, rdm_whitened_cosine_scorer])
def test_scorers_see_held_out_pairs(pairs, y, scoring):
    result = cross_validate(
        tiny_net(), pairs, y, cv=FOLDS, scoring=scoring, return_estimator=True, return_indices=True
    )
    for score, net, rows in zip(
        result["test_score"], result["estimator"], result["indices"]["test"], strict=True
    ):
        own = (
            net.score(pairs[rows], y[rows])
            if scoring is None
            else scoring(net, pairs[rows], y[rows])
        )
        assert score == own
    if scoring is None:
        expected = cross_val_score(tiny_net(), pairs, y, cv=FOLDS, scoring=rdm_spearman_scorer)
        np.testing.assert_array_equal(result["test_score"], expected)


def test_end_of_a_pipeline(pairs, y):
    pipeline = make_pipeline(tiny_net()).fit(pairs, y)
    net = tiny_net().fit(pairs, y)
    np.testing.assert_array_equal(pipeline.predict(pairs), net.predict(pairs))
    np.testing.assert_array_equal(pipeline.transform(pairs.images), net.transform(pairs.images))
    assert pipeline.score(pairs, y) == net.score(pairs, y)
    search = GridSearchCV(pipeline, {"siameserdmregressor__lr": [0.01, 0.1]}, cv=FOLDS)
    assert search.fit(pairs, y).transform(pairs.images).shape == (12, 12)


def test_transformed_targets(pairs, y):
    target = 5 + 3 * y.mean(axis=1)
    scaled = TransformedTargetRegressor(tiny_net(), transformer=MinMaxScaler()).fit(pairs, target)
    low, high = target.min(), target.max()
    net = tiny_net().fit(pairs, (target - low) / (high - low))
    np.testing.assert_allclose(
        scaled.predict(pairs), low + (high - low) * net.predict(pairs), rtol=1e-5
    )
    squared = TransformedTargetRegressor(tiny_net(), func=np.square, inverse_func=np.sqrt)
    expected = np.sqrt(tiny_net().fit(pairs, target**2).predict(pairs))
    np.testing.assert_allclose(squared.fit(pairs, target).predict(pairs), expected, rtol=1e-6)


def test_cross_validated_rdm_is_what_the_folds_predict(pairs, y):
    result = cross_val_rdm(tiny_net(), pairs, y, cv=FOLDS)
    train, test = next(FOLDS.split(pairs))
    net = tiny_net().fit(pairs[train], y[train])
    i, j = pairs.index[test].T
    np.testing.assert_array_equal(result.rdm[i, j], net.predict(pairs[test]))


def test_splits_of_pairs_keep_images_in_one_array(pairs, y):
    train, test, y_train, y_test = train_test_split(pairs, y, random_state=0)
    assert train.images is pairs.images
    train, test, y_train, y_test = image_train_test_split(pairs, y, test_size=4, random_state=0)[:4]
    net = tiny_net().fit(train, y_train)
    assert np.isfinite(net.score(test, y_test))


# As a scikit-learn estimator


def _own(params):
    return {name: value for name, value in params.items() if not name.startswith("callbacks")}


def test_fitting_adds_no_parameters(pairs, y):
    net = tiny_net(train_split=INNER)
    before = _own(net.get_params())
    net.fit(pairs, y).predict(pairs)
    assert _own(net.get_params()) == before
    assert not hasattr(clone(net), "module_")


def test_parameters_may_be_set_between_fits(pairs, y):
    net = tiny_net().fit(pairs, y)
    net.set_params(lr=0.05, batching="pairs", batch_size=7, freeze_up_to="relu1")
    again = tiny_net(lr=0.05, batching="pairs", batch_size=7, freeze_up_to="relu1").fit(pairs, y)
    assert same_bits(net.fit(pairs, y), again)


def test_learning_rate_of_a_fitted_net_is_used_by_partial_fit(pairs, y):
    net = tiny_net().fit(pairs, y)
    fitted = weights(net)
    net.set_params(lr=0.0).partial_fit(pairs, y)
    assert same_bits(net, fitted)
    net.set_params(lr=0.1).partial_fit(pairs, y)
    assert not same_bits(net, fitted)


@pytest.mark.parametrize("reference", [None, "white", "mean"])
def test_fitted_net_survives_pickling(pairs, y, reference):
    net = tiny_net(reference=reference, freeze_up_to="relu1").fit(pairs, y)
    copy = pickle.loads(pickle.dumps(net))
    assert same_bits(copy, net)
    np.testing.assert_array_equal(copy.predict(pairs), net.predict(pairs))
    np.testing.assert_array_equal(copy.transform(pairs.images), net.transform(pairs.images))
    assert copy.history == net.history
    assert same_bits(copy.partial_fit(pairs, y), net.partial_fit(pairs, y))
    assert not same_bits(copy, pickle.loads(pickle.dumps(tiny_net().fit(pairs, y))))


@pytest.mark.parametrize("fitted", [False, True])
def test_html_and_text_representation(pairs, y, fitted):
    net = tiny_net()
    if fitted:
        net.fit(pairs, y)
    assert "SiameseRDMRegressor" in net._repr_html_()
    assert "SiameseRDMRegressor" in repr(net)
    assert "SiameseRDMRegressor" in make_pipeline(net)._repr_html_()


def test_tags_are_those_of_a_regressor_of_pairs():
    tags = get_tags(tiny_net())
    assert is_regressor(tiny_net())
    assert tags.target_tags.required
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.pairwise


# As a skorch net


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("on_train", [True, False])
def test_epoch_scoring(pairs, y, use_caching, on_train):
    scoring = EpochScoring(
        rdm_spearman_scorer,
        name="rho",
        lower_is_better=False,
        use_caching=use_caching,
        on_train=on_train,
    )
    net = tiny_net(train_split=INNER, callbacks=[scoring], max_epochs=3).fit(pairs, y)
    train, valid = next(INNER.split(pairs))
    rows = train if on_train else valid
    if on_train and use_caching:  # as skorch says: predictions made while the weights changed
        assert np.isfinite(net.history[:, "rho"]).all()
        return
    target = net.subject_pooling_.transform(y)[rows]
    expected = rdm_spearman_score(target, net.predict(pairs[rows]))
    assert net.history[-1, "rho"] == pytest.approx(expected, abs=1e-6)
    assert len(set(net.history[:, "rho"])) > 1


@pytest.mark.parametrize("on_train", [True, False])
def test_epoch_scoring_by_a_whitened_score(pairs, y, on_train):
    def fit(**params):
        scoring = EpochScoring(
            rdm_whitened_pearson_scorer, lower_is_better=False, on_train=on_train, **params
        )
        return tiny_net(train_split=INNER, callbacks=[scoring], max_epochs=2).fit(pairs, y)

    net = fit(use_caching=False)
    train, valid = next(INNER.split(pairs))
    rows = train if on_train else valid
    target = net.subject_pooling_.transform(y)[rows]
    expected = rdm_whitened_pearson_scorer(net, pairs[rows], target)
    assert net.history[-1, "rdm_whitened_pearson_score"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(TypeError, match="In skorch's EpochScoring, set use_caching=False"):
        fit()


@pytest.mark.parametrize("use_caching", [True, False])
def test_epoch_scoring_by_the_net_itself(pairs, y, use_caching):
    scoring = EpochScoring(None, name="rho", lower_is_better=False, use_caching=use_caching)
    net = tiny_net(train_split=INNER, callbacks=[scoring]).fit(pairs, y)
    _, valid = next(INNER.split(pairs))
    target = net.subject_pooling_.transform(y)[valid]
    assert net.history[-1, "rho"] == pytest.approx(net.score(pairs[valid], target), abs=1e-6)


def test_scoring_during_training_does_not_change_it(pairs, y):
    quiet = tiny_net(max_epochs=3, module__dropout=True, train_split=INNER).fit(pairs, y)
    scorings = [
        ("cached", EpochScoring(rdm_spearman_scorer, name="a", lower_is_better=False)),
        (
            "fresh",
            EpochScoring(rdm_pearson_scorer, name="b", lower_is_better=False, use_caching=False),
        ),
    ]
    scored = clone(quiet).set_params(callbacks=scorings).fit(pairs, y)
    assert same_bits(scored, quiet)


def test_early_stopping_keeps_the_best_weights(pairs, y):
    stop = EarlyStopping(patience=2, load_best=True, sink=_silent)
    net = tiny_net(max_epochs=40, lr=1.0, train_split=INNER, callbacks=[stop]).fit(pairs, y)
    losses = net.history[:, "valid_loss"]
    assert len(losses) < 40
    train, valid = next(INNER.split(pairs))
    target = net.subject_pooling_.transform(y)[valid]
    loss = np.mean((net.predict(pairs[valid]) - target) ** 2)
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_checkpoint_of_the_best_epoch(pairs, y, tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path, load_best=True)
    net = tiny_net(max_epochs=6, lr=1.0, train_split=INNER, callbacks=[checkpoint]).fit(pairs, y)
    best = int(np.argmin(net.history[:, "valid_loss"])) + 1
    assert same_bits(net, tiny_net(max_epochs=best, lr=1.0, train_split=INNER).fit(pairs, y))
    other = tiny_net(random_state=5).initialize()
    other.load_params(checkpoint=checkpoint)
    assert same_bits(other, net)


def test_training_goes_on_from_a_checkpoint(pairs, y, tmp_path):
    params = {"optimizer": torch.optim.Adam, "lr": 1e-3}
    whole = tiny_net(**params, max_epochs=2).fit(pairs, y)
    checkpoint = TrainEndCheckpoint(dirname=tmp_path)
    half = tiny_net(**params, callbacks=[checkpoint], max_epochs=1).fit(pairs, y)
    goes_on = tiny_net(**params, max_epochs=1, random_state=3).initialize()
    goes_on.load_params(checkpoint=checkpoint.checkpoint_)
    assert same_bits(goes_on, half)
    goes_on.rng_ = half.rng_
    assert same_bits(goes_on.partial_fit(pairs, y), whole)


def test_learning_rate_schedule(pairs, y):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    net = tiny_net(max_epochs=3, callbacks=[schedule]).fit(pairs, y)
    np.testing.assert_allclose(net.history[:, "event_lr"], [0.1, 0.01, 0.001])
    assert not same_bits(net, tiny_net(max_epochs=3).fit(pairs, y))


def test_progress_bar_and_printed_epochs(pairs, y, capsys):
    bar = ProgressBar("count", detect_notebook=False)
    tiny_net(max_epochs=2, callbacks=[bar]).fit(pairs, y)
    assert "/3 [" in capsys.readouterr().err
    tiny_net(max_epochs=2, verbose=1).fit(pairs, y)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    assert len(printed.strip().splitlines()) == 4
    tiny_net(max_epochs=2).fit(pairs, y)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "weight decay"])
def test_optimizers(pairs, y, optimizer):
    params = {
        "momentum": {"optimizer__momentum": 0.9},
        "adam": {"optimizer": torch.optim.Adam, "lr": 1e-3},
        "weight decay": {"optimizer__weight_decay": 0.1},
    }[optimizer]
    net = tiny_net(batch_size=-1, freeze_up_to="bn1", max_epochs=3, **params)
    recorder = record_fit(net, pairs, y)
    # The same steps by torch alone, on the gradients that were recorded.
    names = [name for name, p in net.module_.named_parameters() if p.requires_grad]
    own = [recorder.initial_[name].clone().requires_grad_() for name in names]
    options = {k.removeprefix("optimizer__"): v for k, v in params.items() if "__" in k}
    stepper = net.optimizer(own, lr=net.lr, **options)
    for step in recorder.steps_:
        for parameter, name in zip(own, names, strict=True):
            parameter.grad = step["gradients"][name].clone()
        stepper.step()
    trained = weights(net)
    for parameter, name in zip(own, names, strict=True):
        torch.testing.assert_close(parameter.detach(), trained[name], rtol=1e-5, atol=1e-7)
    assert changed(recorder.initial_, trained) == set(names)


def test_learning_rates_of_single_layers(pairs, y):
    groups = [("trunk.network.conv1.*", {"lr": 0.0}), ("trunk.network.bn1.*", {"lr": 0.0})]
    net = tiny_net(optimizer__param_groups=groups)
    recorder = record_fit(net, pairs, y)
    moved = changed(recorder.initial_, weights(net))
    assert moved
    assert not any("conv1" in name or "bn1" in name for name in moved)


def test_correlation_loss_trains(pairs, y):
    params = {"optimizer": torch.optim.Adam, "lr": 1e-3, "max_epochs": 6, "batch_size": -1}
    net = tiny_net(criterion=CorrelationLoss, **params).fit(pairs, y)
    assert net.history[-1, "train_loss"] < 0.7 * net.history[0, "train_loss"]
    # Free of scale: the unit of the targets does not matter.
    once = clone(net).set_params(max_epochs=1)
    same = clone(once).fit(pairs, y.mean(axis=1)).predict(pairs)
    other = clone(once).fit(pairs, 1000 * y.mean(axis=1)).predict(pairs)
    np.testing.assert_allclose(other, same, atol=1e-4)


@pytest.mark.parametrize("reference", [None, "grey", "mean"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_saved_parameters(pairs, y, tmp_path, reference, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    files = {"f_params": tmp_path / f"params.{suffix}", "use_safetensors": suffix != "pt"}
    net = tiny_net(reference=reference, freeze_up_to="relu1").fit(pairs, y)
    net.save_params(**files)
    other = tiny_net(reference=reference, freeze_up_to="relu1", random_state=9).initialize()
    assert not same_bits(other, net)
    other.load_params(**files)
    assert same_bits(other, net)
    np.testing.assert_array_equal(other.predict(pairs), net.predict(pairs))
    np.testing.assert_array_equal(other.transform(pairs.images), net.transform(pairs.images))


def test_saved_optimizer_and_history(pairs, y, tmp_path):
    files = {
        "f_params": tmp_path / "params.pt",
        "f_optimizer": tmp_path / "optimizer.pt",
        "f_history": tmp_path / "history.json",
    }
    net = tiny_net(optimizer__momentum=0.9, max_epochs=2).fit(pairs, y)
    net.save_params(**files)
    other = tiny_net(optimizer__momentum=0.9, max_epochs=2, random_state=9).initialize()
    other.load_params(**files)
    assert other.history == net.history
    other.rng_ = net.rng_
    longer = tiny_net(optimizer__momentum=0.9, max_epochs=4).fit(pairs, y)
    assert same_bits(other.partial_fit(pairs, y), longer)


def test_module_parameters_and_iterator_parameters(pairs, y):
    net = tiny_net(module__layer="relu2", iterator_train__batch_size=3).fit(pairs, y)
    assert net.module_.trunk.layers == ("relu2",)
    assert net.history[-1, "train_batch_count"] == 4
    net.set_params(module__layer="relu1").fit(pairs, y)
    assert net.module_.trunk.layers == ("relu1",)


def test_callbacks_may_be_disabled(pairs, y):
    net = tiny_net(callbacks="disable").fit(pairs, y)
    assert same_bits(net, tiny_net().fit(pairs, y))


def test_memory_mapped_images_are_not_copied(tmp_path, pairs, y):
    np.save(tmp_path / "images.npy", pairs.images)
    mapped = ImagePairs(np.load(tmp_path / "images.npy", mmap_mode="r"), pairs.index)
    net = tiny_net().fit(mapped, y)
    assert same_bits(net, tiny_net().fit(pairs, y))
    np.testing.assert_array_equal(net.predict(mapped), net.predict(pairs))
    np.testing.assert_array_equal(net.transform(mapped.images), net.transform(pairs.images))
