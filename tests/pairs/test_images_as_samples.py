"""Images and response patterns in place of pairs and dissimilarities."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    CalibratedRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    ResponsePatterns,
)
from sklearn_rdm.metrics import rdm_spearman_scorer, rdm_whitened_pearson_scorer
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
