import pickle

import pytest

from sklearn_rdm.metrics._results import InferenceResult


def result(n_rows=2):
    rows = [{"model": f"m{i}", "dof": 12.34, "pvalue": 10.0**-i} for i in range(n_rows)]
    return InferenceResult(records=rows, score=0.5)


def test_prints_a_small_table():
    lines = repr(result()).splitlines()
    assert lines[0].split() == ["model", "dof", "pvalue"]
    assert lines[2].split() == ["m1", "12.3", "0.100"]
    assert len({len(line) for line in lines}) == 1
    assert repr(result(8)).splitlines()[-1].split()[-1] == "<0.001"
    assert repr(result(150)).splitlines()[-1] == "... 110 more rows: see to_frame()"


def test_becomes_a_frame():
    pytest.importorskip("pandas")
    frame = result().to_frame()
    assert list(frame.columns) == ["model", "dof", "pvalue"]
    assert frame.pvalue[1] == 0.1


def test_survives_pickling():
    copy = pickle.loads(pickle.dumps(result()))
    assert copy.score == 0.5
    assert repr(copy) == repr(result())
