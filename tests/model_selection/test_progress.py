"""One bar for a search: every fit is counted once, and the search is left as it was."""

import pickle
import re

import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV

from sklearn_rdm import ImagePairs, LinearTwinRSARegressor
from sklearn_rdm.metrics import rdm_pearson_scorer, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, search_progress

GRID = {"alpha": [0.1, 1, 10], "n_components": [2, 3]}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.random((12, 5)))
    return pairs, rng.random(len(pairs))


def make_search(kind=GridSearchCV, **params):
    defaults = {"cv": ImageKFold(3), "scoring": rdm_spearman_scorer}
    return kind(LinearTwinRSARegressor(), GRID, **defaults | params)


def last_state(err):
    """Fits done, their number, and the best score, as the finished bar shows them."""
    done, total, best = re.findall(r"(\d+)/(\d+) \[.*best (-?[\d.]+)\]", err.split("\r")[-1])[-1]
    return int(done), int(total), float(best)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("return_train_score", [False, True])
def test_counts_fits_and_tells_the_best_score(data, capsys, n_jobs, return_train_score):
    search = make_search(n_jobs=n_jobs, return_train_score=return_train_score)
    with search_progress(search):
        search.fit(*data)
    done, total, best = last_state(capsys.readouterr().err)
    assert done == total == 18
    assert best == pytest.approx(search.best_score_, abs=1e-3)


def test_search_is_the_same_as_without_a_bar(data, capsys):
    watched, plain = make_search(), make_search().fit(*data)
    with search_progress(watched) as yielded:
        watched.fit(*data)
    assert yielded is watched
    assert watched.scoring is rdm_spearman_scorer
    assert watched.scorer_ is rdm_spearman_scorer
    mean, expected = (s.cv_results_["mean_test_score"] for s in (watched, plain))
    np.testing.assert_array_equal(mean, expected)
    assert pickle.loads(pickle.dumps(watched)).best_params_ == plain.best_params_


def test_random_search_and_several_scores(data, capsys):
    scoring = {"rho": rdm_spearman_scorer, "r": rdm_pearson_scorer}
    search = make_search(RandomizedSearchCV, n_iter=4, random_state=0, scoring=scoring, refit="r")
    with search_progress(search):
        search.fit(*data)
    done, total, best = last_state(capsys.readouterr().err)
    assert done == total == 12
    assert best == pytest.approx(search.best_score_, abs=1e-3)
    assert search.scorer_ == scoring
    assert search.scoring is scoring


def test_unknown_number_of_fits(data, capsys):
    """Halving chooses as it goes; a generator of splits is not used up by the bar."""
    pairs, dissim = data
    search = make_search(HalvingGridSearchCV, resource="max_iter", max_resources=100)
    search.param_grid = {"alpha": [0.1, 1]}
    with search_progress(search):
        search.fit(pairs, dissim)
    assert "fit" in capsys.readouterr().err
    search = make_search(cv=ImageKFold(3).split(pairs))
    with search_progress(search):
        search.fit(pairs, dissim)
    assert search.n_splits_ == 3


def test_silent(data, capsys):
    with search_progress(make_search(), verbose=0) as search:
        search.fit(*data)
    assert capsys.readouterr().err == ""


def test_search_that_fails_is_put_back(data, capsys):
    search = make_search()
    with pytest.raises(ValueError, match="3"), search_progress(search):
        search.fit(data[0], data[1][:3])
    assert search.scoring is rdm_spearman_scorer


def test_a_number_of_folds_and_a_search_that_is_never_fitted(data, capsys):
    search = make_search(cv=4)
    with search_progress(search):
        assert search.scoring.score_func is rdm_spearman_scorer.score_func
        assert not hasattr(search.scoring, "no_attribute_of_a_scorer")
    assert "0/24" in capsys.readouterr().err
    assert search.scoring is rdm_spearman_scorer
    assert not hasattr(search, "scorer_")
