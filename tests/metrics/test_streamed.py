"""Scores block by block against the scores of all pairs at once."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from sklearn_rdm import (
    FixedRSARegressor,
    ResponsePatterns,
)
from sklearn_rdm.metrics import _rank_bins, _streamed, _strips, get_rdm_scorer
from sklearn_rdm.metrics._measures import MEASURES
from sklearn_rdm.metrics._streamed import STREAMED
from sklearn_rdm.metrics._strips import open_distances
from sklearn_rdm.model_selection import ImageKFold

N_IMAGES = 60


@pytest.fixture
def streaming(monkeypatch):
    """Take any set for a large one, cut it into many blocks, and give each value a bin."""
    monkeypatch.setattr(_rank_bins, "N_BINS", 4096)
    monkeypatch.setattr(_strips, "BLOCK", 7 * N_IMAGES)
    monkeypatch.setattr(_streamed, "COLUMNS", 2)

    def switch(on):
        monkeypatch.setattr(_strips, "ALL_PAIRS", 0 if on else 2**24)

    return switch


def make_data(metric="correlation", n_times=None, seen=None):
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((N_IMAGES, 6))
    features = hidden @ rng.standard_normal((6, 30)) + rng.standard_normal((N_IMAGES, 30))
    shape = (3, N_IMAGES, 20) if metric == "crossnobis" else (N_IMAGES, 20)
    patterns = [
        (hidden @ rng.standard_normal((6, 20)))[..., *[None] * bool(n_times)]
        + rng.standard_normal((*shape, *[n_times] * bool(n_times)))
        for _ in range(3)
    ]
    return features, ResponsePatterns(patterns, metric, seen=seen)


def both_ways(streaming, name, model, features, y):
    scorer = get_rdm_scorer(name)
    streaming(False)
    expected = scorer(model, features, y)
    streaming(True)
    return scorer(model, features, y), expected


@pytest.mark.parametrize("name", [name for name in MEASURES if MEASURES[name] in STREAMED])
@pytest.mark.parametrize("metric", ["correlation", "crossnobis", "euclidean"])
@pytest.mark.parametrize("n_times", [None, 3])
def test_blocks_give_the_score_of_all_pairs(streaming, name, metric, n_times):
    features, y = make_data(metric, n_times)
    model = FixedRSARegressor().fit(features, y)
    score, expected = both_ways(streaming, name, model, features, y)
    assert score == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "cosine", "spearman", "rho_a"])
def test_subjects_who_saw_other_images(streaming, name):
    seen = np.random.default_rng(1).random((3, N_IMAGES)) < 0.6
    seen[1, :20] = False
    features, y = make_data(seen=seen)
    model = FixedRSARegressor("cosine").fit(features, y)
    score, expected = both_ways(streaming, name, model, features, y)
    assert score == pytest.approx(expected, abs=1e-12)


def test_whitened_scores_need_all_images(streaming):
    features, y = make_data(seen=np.arange(3 * N_IMAGES).reshape(3, -1) > 0)
    model = FixedRSARegressor().fit(features, y)
    streaming(True)
    with pytest.raises(
        ValueError, match="of each subject to all of them, and a subject has not seen all"
    ):
        get_rdm_scorer("whitened_pearson")(model, features, y)


def test_ties_are_counted_as_ties(streaming):
    features, y = make_data()
    features = (features[:, :3] > 0).astype(float)
    model = FixedRSARegressor("hamming").fit(features, y)
    score, expected = both_ways(streaming, "spearman", model, features, y)
    assert score == pytest.approx(expected, abs=1e-12)


def test_bins_cost_less_than_a_hundred_thousandth(streaming, monkeypatch):
    """Many more pairs than bins."""
    monkeypatch.setattr(_rank_bins, "N_BINS", 512)
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((700, 5))
    features = hidden + 0.5 * rng.standard_normal(hidden.shape)
    y = ResponsePatterns(hidden, "euclidean")
    model = FixedRSARegressor("euclidean").fit(features, y)
    score, expected = both_ways(streaming, "spearman", model, features, y)
    assert score == pytest.approx(expected, abs=1e-5)


def test_cross_validation_of_images_streams(streaming):
    features, y = make_data()
    scoring = {"r": get_rdm_scorer("pearson"), "tau": get_rdm_scorer("kendall_tau_a")}
    results = []
    for on in (False, True):
        streaming(on)
        results.append(
            cross_validate(FixedRSARegressor(), features, y, cv=KFold(3), scoring=scoring)
        )
    for name in ("test_r", "test_tau"):
        np.testing.assert_allclose(results[1][name], results[0][name], atol=1e-12)


def test_predictions_that_are_not_finite(streaming):
    features, y = make_data()
    model = FixedRSARegressor("sqeuclidean").fit(features, y)
    streaming(True)
    with pytest.raises(ValueError, match="diverged"), np.errstate(over="ignore"):
        model.score(features * 1e200, y)


def test_constant_predictions_have_no_score(streaming):
    features, y = make_data()
    model = FixedRSARegressor("euclidean").fit(features, y)
    streaming(True)
    with pytest.warns(UserWarning, match="not defined"):
        assert np.isnan(model.score(np.ones_like(features), y))


def test_a_search_opens_the_distances_of_what_it_chose():
    features, y = make_data()
    grid = {"metric": ["euclidean", "cosine"]}
    search = GridSearchCV(FixedRSARegressor(), grid, cv=ImageKFold(2))
    pairs, dissim = y.to_pairs(features)
    search.fit(pairs, dissim)
    ours, theirs = (open_distances(model, features) for model in (search, search.best_estimator_))
    rows, columns = slice(0, 7), np.arange(8, 20)
    np.testing.assert_array_equal(ours(rows, columns), theirs(rows, columns))


def test_blocks_below_the_diagonal_are_not_predicted():
    class Counting:
        n_pairs = 0

        def predict(self, pairs):
            self.n_pairs += len(pairs)
            return np.ones(len(pairs))

    model = Counting()
    distances = open_distances(model, np.zeros((20, 2)))
    np.testing.assert_array_equal(distances(slice(10, 20), np.arange(10)), np.zeros((10, 10)))
    assert model.n_pairs == 0
    np.testing.assert_array_equal(distances(slice(0, 5), np.arange(5)), np.triu(np.ones((5, 5)), 1))
    assert model.n_pairs == 10


def test_noise_is_that_of_the_images_that_were_seen(streaming):
    features, y = make_data(seen=np.arange(N_IMAGES) != 4)
    features[4] *= 100
    noise = []
    for on in (False, True):
        streaming(on)
        noise.append(FixedRSARegressor(noise_ratio=0.5).fit(features, y).noise_)
    assert noise[0] == pytest.approx(noise[1], rel=1e-12)
