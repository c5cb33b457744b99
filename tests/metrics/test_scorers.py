import copy
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

import sklearn_rdm.metrics as metrics
from sklearn_rdm import ImagePairs
from sklearn_rdm.metrics import (
    get_rdm_scorer,
    noise_normalized_r2_score,
    rdm_cosine_score,
    rdm_whitened_cosine_score,
)
from sklearn_rdm.metrics._scorers import _score_each
from sklearn_rdm.model_selection import ImageKFold
from tests.metrics.averager import Averager
from tests.simulated import all_pairs, simulate_times

NAMES = [
    "cosine",
    "kendall_tau_a",
    "pearson",
    "rho_a",
    "spearman",
    "whitened_cosine",
    "whitened_pearson",
]


def score_of(name):
    return getattr(metrics, f"rdm_{name}_score")


@pytest.mark.parametrize("name", [*NAMES, "noise_normalized_r2"])
def test_scorers_equal_the_score_of_the_predictions(name, problem):
    pairs, dissim = problem
    pairs, dissim = pairs[::2], dissim[::2] + np.random.default_rng(0).random((33, 2))
    model = Averager(offset=0.1)
    scorer = get_rdm_scorer(name)
    function = getattr(metrics, scorer.score_func.__name__)
    options = {"pairs": pairs} if "whitened" in name else {}
    expected = function(dissim, model.predict(pairs), **options)
    assert scorer(model, pairs, dissim) == pytest.approx(expected)
    assert pickle.loads(pickle.dumps(scorer))(model, pairs, dissim) == pytest.approx(expected)
    prefix = "" if name == "noise_normalized_r2" else "rdm_"
    assert getattr(metrics, f"{prefix}{name}_scorer")(model, pairs, dissim) == expected
    with config_context(enable_metadata_routing=True):
        assert scorer(model, pairs, dissim) == pytest.approx(expected)


def test_scorers_choose_in_a_parallel_search(problem):
    pairs, dissim = problem
    search = GridSearchCV(
        Averager(),
        {"offset": [0.5, 0.0]},
        scoring={name: get_rdm_scorer(name) for name in ["spearman", "whitened_pearson"]},
        refit="whitened_pearson",
        cv=KFold(2),
        n_jobs=2,
    )
    search.fit(pairs, dissim)
    assert search.best_params_ == {"offset": 0.0}


def test_scorer_names_and_options(problem):
    assert get_rdm_scorer("rdm_cosine").score_func is rdm_cosine_score
    assert get_rdm_scorer(len) is len
    with pytest.raises(ValueError, match=r"'sperman' is not an RDM scorer.*'spearman'"):
        get_rdm_scorer("sperman")
    with pytest.raises(ValueError, match="None is not an RDM scorer"):
        get_rdm_scorer(None)
    before = copy.deepcopy(metrics.rdm_whitened_cosine_scorer.params)
    variances = np.linspace(1, 3, 12)
    scorer = get_rdm_scorer("whitened_cosine", pattern_covariance=variances)
    assert metrics.rdm_whitened_cosine_scorer.params == before == {}
    pairs, dissim = problem
    assert scorer(Averager(), pairs[5:], dissim[5:]) == pytest.approx(
        rdm_whitened_cosine_score(
            dissim[5:],
            Averager().predict(pairs[5:]),
            pairs=pairs[5:],
            pattern_covariance=variances,
        )
    )


@pytest.mark.parametrize("name", [*NAMES, "noise_normalized_r2"])
def test_scorers_take_time_courses(name):
    y_true, y_pred = simulate_times(n_images=12)
    features = np.random.default_rng(0).random((12, 3))
    pairs = ImagePairs(features, all_pairs(12))
    scores = cross_validate(
        Averager(), pairs, y_true, cv=ImageKFold(3), scoring=get_rdm_scorer(name)
    )["test_score"]
    assert np.isfinite(scores).all()
    train, test = next(ImageKFold(3).split(pairs))
    predicted = Averager().fit(pairs[train], y_true[train]).predict(pairs[test])
    function = noise_normalized_r2_score if name == "noise_normalized_r2" else score_of(name)
    options = {"pairs": pairs[test]} if "whitened" in name else {}
    assert scores[0] == pytest.approx(function(y_true[test], predicted, **options))


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e155, 1e300])
@pytest.mark.parametrize("name", [*NAMES])
def test_scores_do_not_depend_on_the_unit(name, unit):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.random((15, 3)), rng.random(15)
    function = getattr(metrics, f"rdm_{name}_score")
    expected = function(y_true, y_pred)
    assert function(unit * y_true, y_pred) == pytest.approx(expected, rel=1e-12)
    assert function(y_true, unit * y_pred) == pytest.approx(expected, rel=1e-12)
    ceiling = metrics.noise_ceiling(y_true, scoring=name)
    assert metrics.noise_ceiling(unit * y_true, scoring=name) == pytest.approx(ceiling, rel=1e-9)


def test_a_function_of_ones_own_does_not_score_a_prediction_of_nothing(problem):
    def score(y_true, y_pred, *, subject_average=True):
        errors = -np.abs(y_true - y_pred[:, np.newaxis]).mean(axis=0)
        return errors.mean() if subject_average else errors

    pairs, dissim = problem
    observed = dissim.reshape(len(pairs), -1)
    predicted = np.column_stack([observed[:, 0] + 0.5, np.full(len(pairs), np.nan)])
    scores = _score_each(score, False, observed, predicted, pairs.index)
    np.testing.assert_allclose(scores[0], score(observed, predicted[:, 0], subject_average=False))
    assert np.isnan(scores[1]).all()
