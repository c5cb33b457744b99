import numpy as np
import pytest
from scipy import stats

from sklearn_rdm.metrics._intervals import Estimate, _percentile_pvalue


def test_p_is_that_of_t():
    estimate = Estimate(0.2, 0.1, 0, 0.4, 7.5, np.zeros(0))
    assert estimate.pvalue() == pytest.approx(2 * stats.t.sf(2, 7.5))
    assert estimate.pvalue(one_sided=True) == pytest.approx(stats.t.sf(2, 7.5))
    below = estimate._replace(value=-0.2)
    assert below.pvalue() == estimate.pvalue()
    assert below.pvalue(one_sided=True) == pytest.approx(1 - estimate.pvalue(one_sided=True))


def test_p_without_variance_or_score():
    same = Estimate(0.0, 0.0, 0, 0, 4, np.zeros(3))
    assert (same.pvalue(), same.pvalue(one_sided=True)) == (1, 0.5)
    assert same._replace(value=0.1).pvalue() == 0
    assert same._replace(value=np.nan).pvalue() == 1
    assert same._replace(value=0.1, standard_error=np.nan).pvalue() == 1


def test_p_of_percentiles_counts_what_is_contrary_or_unknown():
    samples = np.array([0.1, 0.2, -0.1, 0.3, np.nan, 0.4, 0.5, 0.6, 0.7])
    assert _percentile_pvalue(samples, one_sided=True) == pytest.approx(3 / 10)
    assert _percentile_pvalue(samples, one_sided=False) == pytest.approx(6 / 10)
    assert _percentile_pvalue(np.zeros(9), one_sided=False) == 1
