import re

import numpy as np
import pytest
from sklearn.utils.parallel import delayed

from sklearn_rdm import EnsembleRDMRegressor, ImagePairs, LinearTwinRSARegressor
from sklearn_rdm._pairs._progress import collect, counted, one_of, showing_progress
from sklearn_rdm.metrics import rdm_bootstrap, rdm_permutation_test
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm, cross_val_subjects_score


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("verbose", [0, 1])
def test_results_are_in_order(capsys, n_jobs, verbose):
    calls = (delayed(pow)(i, 2) for i in range(5))
    options = {"total": 5, "n_jobs": n_jobs, "verbose": verbose, "desc": "squares"}
    results = collect(calls, **options, note=lambda done: f"last {done[-1]}")
    assert results == [0, 1, 4, 9, 16]
    err = capsys.readouterr().err
    assert ("5/5" in err and "last 16" in err) if verbose else err == ""


def test_counts_only_where_it_is_shown(capsys):
    list(counted(range(3), total=3, desc="a"))
    assert capsys.readouterr().err == ""
    with showing_progress(1):
        list(counted(range(3), total=3, desc="a"))
    assert "/3" in capsys.readouterr().err
    list(counted(range(3), total=3, desc="a"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("n_parts", [1, 3])
def test_parts_of_what_is_counted_show_no_bars_of_their_own(capsys, n_parts):
    with showing_progress(1):
        for _ in counted(range(n_parts), total=n_parts, desc="parts"):
            with one_of(n_parts):
                list(counted(range(5), total=5, desc="inner"))
    err = capsys.readouterr().err
    assert ("inner" in err) == (n_parts == 1)
    assert ("parts" in err) == (n_parts > 1)


def make_calls():
    rng = np.random.default_rng(0)
    pairs = ImagePairs(rng.random((9, 4)))
    y, predicted = rng.random((len(pairs), 3)), rng.random(len(pairs))
    model, cv = LinearTwinRSARegressor(n_components=2), ImageKFold(3)
    return {
        "permutation": lambda **v: (
            rdm_permutation_test(pairs, y, predicted, n_permutations=64, random_state=0, **v).pvalue
        ),
        "bootstrap": lambda **v: (
            rdm_bootstrap(pairs, y, predicted, n_resamples=64, random_state=0, **v).standard_error
        ),
        "cross_val_rdm": lambda **v: cross_val_rdm(model, pairs, y, cv=cv, **v).rdm,
        "subjects": lambda **v: cross_val_subjects_score(model, pairs, y, cv=cv, subject_cv=3, **v),
        "ensemble": lambda **v: EnsembleRDMRegressor(model, cv=3, **v).fit(pairs, y).predict(pairs),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("name", make_calls())
def test_verbose_means_a_bar_and_changes_nothing(capsys, name):
    call = make_calls()[name]
    silent = call()
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(call(verbose=1), silent)
    shown = capsys.readouterr()
    done, total = re.findall(r"(\d+)/(\d+)", shown.err)[-1]
    assert done == total
    assert shown.out == ""
