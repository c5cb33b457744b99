"""The class of scorers: scikit-learn's, with pairs."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold, cross_validate

import sklearn_rdm.metrics as metrics
from sklearn_rdm.metrics import get_rdm_scorer
from tests.metrics.averager import Averager
from tests.metrics.test_scorers import NAMES


def test_several_scorers_predict_once_a_fold(problem, tmp_path):
    pairs, dissim = problem
    scoring = {name: get_rdm_scorer(name) for name in [*NAMES, "noise_normalized_r2"]}
    results = cross_validate(Averager(folder=tmp_path), pairs, dissim, scoring=scoring, cv=KFold(3))
    assert len(list(tmp_path.iterdir())) == 3
    assert all(np.isfinite(results[f"test_{name}"]).all() for name in scoring)


def test_scorers_are_those_of_scikit_learn_with_pairs(problem):
    """The private class that they derive from does what its public face does."""
    pairs, dissim = problem
    model = Averager().fit(pairs, dissim)
    for name in ("spearman", "pearson", "cosine", "rho_a", "kendall_tau_a"):
        function = getattr(metrics, f"rdm_{name}_score")
        ours, theirs = get_rdm_scorer(name), make_scorer(function)
        assert isinstance(ours, type(theirs))
        assert ours(model, pairs, dissim) == theirs(model, pairs, dissim)
        scores = cross_validate(
            Averager(), pairs, dissim, cv=KFold(3), scoring={"ours": ours, "theirs": theirs}
        )
        np.testing.assert_array_equal(scores["test_ours"], scores["test_theirs"])
    assert repr(get_rdm_scorer("noise_normalized_r2", convention="net2brain")) == (
        "make_rdm_scorer(noise_normalized_r2_score, convention='net2brain')"
    )


def test_changed_parameters_leave_the_scorer_as_it_was():
    scorer = get_rdm_scorer("noise_normalized_r2")
    changed = scorer.with_params(convention="net2brain")
    assert changed.params == {"convention": "net2brain"}
    assert scorer.params == {}
    with config_context(enable_metadata_routing=True):
        asking = scorer.set_score_request(sample_weight=True)
        assert not scorer.get_metadata_routing().score.requests.get("sample_weight")
        assert asking.get_metadata_routing().score.requests["sample_weight"] is True


def test_weights_of_images_raise_an_error(problem):
    pairs, dissim = problem

    class Patterns:
        to_pairs = None

    with pytest.raises(ValueError, match="one weight per pair, but y holds response patterns"):
        get_rdm_scorer("spearman")(Averager(), pairs, Patterns(), sample_weight=np.ones(len(pairs)))


def test_a_dataset_whose_images_are_unknown_raises_an_error(problem):
    class Dataset:
        index = problem[0].index
        images = problem[0].images

        def __len__(self):
            return len(self.index)

    with pytest.raises(TypeError, match="given a Dataset instead of pairs"):
        get_rdm_scorer("whitened_cosine")(Averager(), Dataset(), problem[1])
