"""Scores of a report are those of the package."""

import pytest

from sklearn_rdm import report
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
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
