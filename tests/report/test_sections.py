"""What a report says of the data and of the model."""

import pickle
import re

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerEpochSearchCV, report
from sklearn_rdm.metrics import rdm_pearson_scorer, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold
from tests.networks import tiny_net
from tests.report.reader import Page

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")


def test_tells_held_out_images_from_trained_ones(whole_page, search, held_out):
    train, test, y_train, y = held_out
    assert "none of these was seen in training" in whole_page.html
    seen = report(search, train, y_train, n_draws=20).html
    assert "WARNING: 8 of them are scored here" in seen
    loaded = pickle.loads(pickle.dumps(search))
    unknown = report(loaded, test, y, n_draws=20).html
    assert "does not say which images" in unknown
    told = report(loaded, test, y, n_draws=20, train=train).html
    assert "none of these was seen in training" in told
    headings = [re.search("<h1>(.*)</h1>", html)[1] for html in (seen, unknown, told)]
    assert headings == [f"Dissimilarities of {kind}images" for kind in ("", "", "held-out ")]


def test_other_models_are_reported(held_out):
    """Of one subject, of features instead of photographs, of a search over layers and epochs."""
    train, test, y_train, y = held_out
    search = LayerEpochSearchCV(tiny_net(max_epochs=2), ["relu1", "relu3"], cv=2)
    page = report(search.fit(train, y_train), test, y, n_draws=20)
    assert "by layer and epoch" in page.html
    features = ImagePairs(np.random.default_rng(0).random((7, 4)))
    model = make_pipeline(FixedRSARegressor()).fit(features)
    page = report(model, features, np.arange(21.0), n_draws=20)
    assert "No noise ceiling" in page.html
    assert "Training" not in Page(page.html).text


def test_a_search_by_several_scores_names_its_choice_without_a_table(held_out):
    train, test, y_train, y = held_out
    scoring = {"rho": rdm_spearman_scorer, "r": rdm_pearson_scorer}
    search = GridSearchCV(
        tiny_net(), {"lr": [0.01, 0.1]}, cv=ImageKFold(2), scoring=scoring, refit="r"
    ).fit(train, y_train)
    text = Page(report(search, test, y, n_draws=20).html).text
    assert f"mean score over folds {search.best_score_:.3f}" in " ".join(text.split())
