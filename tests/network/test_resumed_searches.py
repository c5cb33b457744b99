"""Searches that are killed: what was finished is not fitted again, on any backend."""

import copy
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import CalibratedRDMRegressor, LayerEpochSearchCV
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm
from tests.interrupted import EpochLog
from tests.networks import make_pairs, same_bits, tiny_net

ROOT = Path(__file__).parents[2]
N_EPOCHS, N_FOLDS, RATES = 3, 3, [0.1, 0.05]
N_FITS = N_FOLDS * len(RATES) + 1  # with the fit of the best on all pairs


def make_search(folder, kind="grid", n_jobs=None, **params):
    log = EpochLog(str(Path(folder) / "log"))
    params = {"checkpoint": str(Path(folder) / "kept"), "max_epochs": N_EPOCHS, **params}
    net = tiny_net(callbacks=[("log", log)], **params)
    cv = ImageKFold(N_FOLDS, shuffle=True, random_state=0)
    if kind == "layers":
        search = LayerEpochSearchCV(
            net, ["relu2", "relu3"], param_grid={"lr": RATES}, cv=cv, n_jobs=n_jobs
        )
    else:
        scoring = rdm_spearman_scorer
        search = GridSearchCV(
            net, {"lr": RATES}, cv=cv, scoring=scoring, n_jobs=n_jobs, error_score="raise"
        )
    return search, log


def results(search):
    if isinstance(search, LayerEpochSearchCV):
        return search.cv_results_["scores"]
    return np.array([search.cv_results_[f"split{i}_test_score"] for i in range(N_FOLDS)])


@functools.cache
def undisturbed(kind):
    search, _ = make_search("/nowhere", kind, checkpoint=None)
    return search.set_params(estimator__callbacks=None).fit(*make_pairs(12))


def kill_search(folder, kind, n_epochs, n_jobs=None):
    """Run a search in a process that is killed before one of its epochs."""
    (Path(folder) / "log.kill").write_text(str(n_epochs))
    code = (
        "import sys; from tests.network.test_resumed_searches import *\n"
        "search, log = make_search(sys.argv[1], sys.argv[2])\n"
        "search.fit(*make_pairs(12))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder), kind],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
    )
    assert ended.returncode == -signal.SIGKILL


def count_fits(folder):
    return len(list((Path(folder) / "kept").glob("*.fitted")))


def assert_goes_on(folder, kind, n_jobs=None):
    """The rerun has the scores and the weights of a search that nobody killed, for fewer epochs."""
    search, log = make_search(folder, kind, n_jobs)
    n_before, n_finished = log.count(), count_fits(folder)
    search.fit(*make_pairs(12))
    n_trained = log.count() - n_before
    np.testing.assert_array_equal(results(search), results(undisturbed(kind)))
    assert same_bits(search.best_estimator_, undisturbed(kind).best_estimator_)
    return n_trained, n_finished


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", ["grid", "layers"])
def test_a_killed_search_goes_on(tmp_path, kind):
    kill_search(tmp_path, kind, n_epochs=4 * N_EPOCHS + 2)  # in the fifth fit
    n_trained, n_finished = assert_goes_on(tmp_path, kind)
    assert n_finished == 4
    n_refit = len(undisturbed(kind).best_estimator_.history_)
    assert n_trained <= 2 * N_EPOCHS + n_refit
    assert n_trained >= N_EPOCHS + n_refit + 1
    again, _ = assert_goes_on(tmp_path, kind)
    assert again == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_workers_find_what_another_process_has_finished(tmp_path):
    kill_search(tmp_path, "grid", n_epochs=4 * N_EPOCHS + 2)
    n_trained, n_finished = assert_goes_on(tmp_path, "grid", n_jobs=2)
    assert n_finished == 4
    assert n_trained <= (N_FITS - 4) * N_EPOCHS
    assert count_fits(tmp_path) == N_FITS
    again, _ = assert_goes_on(tmp_path, "grid", n_jobs=2)
    assert again == 0


def test_workers_of_dask_find_it_too(tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster),
        parallel_config("dask"),
    ):
        first, _ = assert_goes_on(tmp_path, "grid")
        again, n_finished = assert_goes_on(tmp_path, "grid")
    assert (first, again, n_finished) == (N_FITS * N_EPOCHS, 0, N_FITS)
    serial, _ = assert_goes_on(tmp_path, "grid")
    assert serial == 0


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_held_out_predictions_are_not_fitted_again(tmp_path, n_jobs):
    pairs, dissim = make_pairs(12)
    net, log = make_search(tmp_path)[0].estimator, make_search(tmp_path)[1]
    cv = ImageKFold(N_FOLDS)
    plain = copy.deepcopy(net).set_params(checkpoint=None, callbacks=None)
    expected = cross_val_rdm(plain, pairs, dissim, cv=cv).rdm
    list_of_folds = list(cv.split(pairs))[:2]
    cross_val_rdm(net, pairs, dissim, cv=list_of_folds, n_jobs=n_jobs)  # as if killed here
    assert log.count() == 2 * N_EPOCHS
    found = cross_val_rdm(net, pairs, dissim, cv=cv, n_jobs=n_jobs).rdm
    assert log.count() == 3 * N_EPOCHS
    np.testing.assert_array_equal(found, expected)


def test_estimators_around_the_network_pass_it_on(tmp_path):
    pairs, dissim = make_pairs(12)
    net, log = make_search(tmp_path)[0].estimator, make_search(tmp_path)[1]
    first = CalibratedRDMRegressor(net).fit(pairs, dissim).predict(pairs)
    n_epochs = log.count()
    again = CalibratedRDMRegressor(net).fit(pairs, dissim).predict(pairs)
    np.testing.assert_array_equal(first, again)
    assert log.count() == n_epochs
