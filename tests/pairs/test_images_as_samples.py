"""Images and response patterns in place of pairs and dissimilarities."""

import numpy as np
import pytest
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CalibratedRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerEpochSearchCV,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    ResponsePatterns,
)
from sklearn_rdm.datasets import fetch_algonauts2019
from sklearn_rdm.metrics import rdm_spearman_scorer, rdm_whitened_pearson_scorer
from sklearn_rdm.model_selection import image_train_test_split, pairs_report
from tests.networks import TinyNetwork, make_data, same_bits, tiny_net

N_IMAGES = 12
FOLDS = list(KFold(3, shuffle=True, random_state=0).split(np.zeros(N_IMAGES)))


def make_patterns():
    rng = np.random.default_rng(0)
    return ResponsePatterns([rng.random((N_IMAGES, 8)), rng.random((N_IMAGES, 5))])


def pairs_of_folds(pairs):
    return [
        tuple(np.flatnonzero(np.isin(pairs.index, images).all(axis=1)) for images in fold)
        for fold in FOLDS
    ]


MODELS = {
    "fixed": FixedRSARegressor("cosine"),
    "layers": LayerWeightedRSARegressor([10, 10]),
    "features": FeatureReweightedRSARegressor(alphas=10),
    "twin": LinearTwinRSARegressor(n_components=3, alpha=np.inf),
    "calibrated": CalibratedRDMRegressor(FixedRSARegressor()),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_folds_of_images_score_as_folds_of_their_pairs(model):
    features, patterns = np.random.default_rng(1).random((N_IMAGES, 20)), make_patterns()
    pairs, dissim = patterns.to_pairs(features)
    scoring = {"rho": rdm_spearman_scorer, "r": rdm_whitened_pearson_scorer}
    ours = cross_validate(model, features, patterns, cv=FOLDS, scoring=scoring)
    theirs = cross_validate(model, pairs, dissim, cv=pairs_of_folds(pairs), scoring=scoring)
    for name in scoring:
        np.testing.assert_allclose(ours[f"test_{name}"], theirs[f"test_{name}"], atol=1e-12)
    np.testing.assert_allclose(
        cross_val_score(model, features, patterns, cv=FOLDS), ours["test_rho"], atol=1e-12
    )


def test_a_network_has_the_same_weights():
    images, patterns = make_data(N_IMAGES).images, make_patterns()
    net = tiny_net(max_epochs=2).fit(images, patterns)
    pairs, dissim = ImagePairs.from_rdms(images, patterns.to_rdms())
    assert same_bits(net, tiny_net(max_epochs=2).fit(pairs, dissim))
    assert net.score(images, patterns) == net.score(pairs, dissim)


def test_a_search_over_layers_of_a_network():
    images, patterns = make_data(N_IMAGES).images, make_patterns()
    search = GridSearchCV(
        make_pipeline(
            LayerActivations(TinyNetwork, weights=None, image_size=48, random_state=0),
            FixedRSARegressor(),
        ),
        {"layeractivations__layers": ["relu1", "relu2"]},
        cv=KFold(3),
        scoring=rdm_spearman_scorer,
    ).fit(images, patterns)
    pairs, dissim = patterns.to_pairs(images)
    expected = search.best_estimator_.predict(pairs)
    assert search.score(images, patterns) == rdm_spearman_scorer(search, pairs, dissim)
    assert search.transform(images)[tuple(pairs.index.T)] == pytest.approx(expected, abs=1e-6)


def test_as_many_images_as_patterns():
    with pytest.raises(ValueError, match="got 11 images and response patterns to 12"):
        FixedRSARegressor().fit(np.ones((11, 3)), make_patterns())
    pairs = ImagePairs(np.random.default_rng(0).random((N_IMAGES, 3)))
    with pytest.raises(TypeError, match="response patterns are given per image"):
        FixedRSARegressor().fit(pairs, make_patterns())


@pytest.mark.slow
def test_118_photographs_train_the_same_weights_both_ways(data_home):
    images = fetch_algonauts2019(image_set=118, data_home=data_home).images
    patterns = ResponsePatterns(np.random.default_rng(0).random((118, 30)))
    pairs, dissim = patterns.to_pairs(images)
    net, same = (tiny_net(batch_size=30, max_epochs=2) for _ in range(2))
    assert same_bits(net.fit(images, patterns), same.fit(pairs, dissim))
    assert net.score(images, patterns) == same.score(pairs, dissim)


def test_a_search_over_layers_and_epochs_holds_out_images():
    images, patterns = make_data(N_IMAGES).images, make_patterns()
    pairs, dissim = patterns.to_pairs(images)
    options = {"layers": ["relu2", "relu3"], "refit": False}
    net = tiny_net(max_epochs=2)
    ours = LayerEpochSearchCV(net, cv=FOLDS, **options).fit(images, patterns)
    theirs = LayerEpochSearchCV(net, cv=pairs_of_folds(pairs), **options).fit(pairs, dissim)
    np.testing.assert_array_equal(ours.scores_, theirs.scores_)
    np.testing.assert_array_equal(
        LayerEpochSearchCV(net, cv=KFold(3, shuffle=True, random_state=0), **options)
        .fit(images, patterns)
        .scores_,
        ours.scores_,
    )


def test_a_report_counts_the_pairs_of_splits_of_images():
    features, patterns = np.random.default_rng(1).random((N_IMAGES, 20)), make_patterns()
    pairs, dissim = patterns.to_pairs(features)
    ours = pairs_report(FOLDS, features, patterns)
    theirs = pairs_report(pairs_of_folds(pairs), pairs, dissim)
    assert ours.description == theirs.description
    np.testing.assert_array_equal(ours.n_test_by_subject, theirs.n_test_by_subject)
    assert ours.n_leaked.sum() == 0


def test_images_and_patterns_are_split_by_scikit_learn():
    features, patterns = np.random.default_rng(1).random((N_IMAGES, 20)), make_patterns()
    with pytest.raises(TypeError, match=r"use sklearn.model_selection.train_test_split\(images"):
        image_train_test_split(features, patterns)
    train, test, y_train, y_test = train_test_split(features, patterns, random_state=0)
    assert (len(y_train), len(y_test)) == (len(train), len(test)) == (9, 3)
    score = FixedRSARegressor().fit(train, y_train).score(test, y_test)
    assert -1 <= score <= 1


def test_so_many_pairs_that_they_fill_the_memory_are_told(monkeypatch):
    patterns = make_patterns()
    patterns.to_pairs(np.zeros((N_IMAGES, 1)))
    monkeypatch.setattr("sklearn_rdm._pairs._patterns.LARGE", 8 * 66)
    with pytest.warns(UserWarning, match="all 66 pairs of 12 images take 0.0 GB"):
        patterns.to_pairs(np.zeros((N_IMAGES, 1)))
