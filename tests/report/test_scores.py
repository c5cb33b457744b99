"""Scores of a report are those of the package."""

import numpy as np
import pytest

from sklearn_rdm import FixedRSARegressor, ImagePairs, report
from sklearn_rdm.metrics import noise_ceiling, rdm_permutation_test, rdm_spearman_score
from tests.networks import tiny_net
from tests.report.reader import Page

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")


def test_scores_and_choices_are_those_of_the_package(whole_page, search, held_out):
    _, test, _, y = held_out
    text = Page(whole_page.html).text
    score = rdm_spearman_score(y, search.predict(test))
    lower, upper = noise_ceiling(y)
    assert f"{score:.3f}" in text
    assert f"Noise ceiling: {lower:.3f} to {upper:.3f}" in text
    assert f"lr = {search.best_params_['lr']}" in text
    assert f"{search.best_score_:.3f}" in text
    assert f"{score:.3f}" in repr(whole_page)


def test_baselines_stand_beside_the_model(search, held_out):
    train, test, _, y = held_out
    other = tiny_net(max_epochs=1).fit(train, held_out[2])
    page = report(search, test, y, baselines={"other": other}, n_draws=20)
    assert f"{rdm_spearman_score(y, other.predict(test)):.3f}" in Page(page.html).text


class Constant:
    def predict(self, X):
        return np.ones(len(X))


def test_a_constant_prediction_has_no_score_and_no_chance():
    pairs = ImagePairs(np.random.default_rng(0).random((6, 4)))
    page = report(Constant(), pairs, np.random.default_rng(1).random((15, 2)), n_draws=5)
    assert "this model  nan  (nan to nan, p = 1.000)" in repr(page)
    assert "images shuffled: this model: nan" in Page(page.html).text


def test_permutations_without_a_score_do_not_hide_chance():
    """Of few pairs, images in other places may have none of them."""
    pairs = ImagePairs(np.random.default_rng(0).random((8, 4)))[[0, 1, 5, 9, 20, 24]]
    y = np.random.default_rng(1).random((6, 2))
    model = FixedRSARegressor().fit(pairs)
    null = rdm_permutation_test(pairs, y, model.predict(pairs), n_permutations=50).null_distribution
    assert 0 < np.isnan(null).sum() < 50
    chance = np.nanquantile(null, 0.95)
    text = Page(report(model, pairs, y, n_draws=50).html).text
    assert f"images shuffled: this model: {chance:.3f}" in text


def test_a_share_of_the_ceiling_has_no_ceiling_of_its_own():
    pairs = ImagePairs(np.random.default_rng(0).random((6, 4)))
    y = np.random.default_rng(1).random((15, 2))
    model = FixedRSARegressor().fit(pairs)
    page = report(model, pairs, y, n_draws=5, scoring="noise_normalized_r2")
    assert "and a score that is not a share of it" in repr(page)
