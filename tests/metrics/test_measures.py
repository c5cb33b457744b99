import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import rankdata

from sklearn_rdm.metrics import _measures, rdm_whitened_pearson_score
from sklearn_rdm.metrics._measures import MEASURES, rank_columns, score_draws


@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_ranks_equal_scipy(decimals):
    columns = np.random.default_rng(0).standard_normal((200, 5)).round(decimals)
    assert_array_equal(rank_columns(columns), rankdata(columns, axis=0))
    assert_array_equal(rank_columns(np.asfortranarray(columns)), rankdata(columns, axis=0))


def test_a_subject_with_fewer_pairs_than_a_correlation_needs_has_no_score():
    rng = np.random.default_rng(0)
    observed, predicted = rng.random((9, 2)), rng.random((9, 1))
    observed[1:, 1] = np.nan
    scores = score_draws(MEASURES["pearson"], observed, predicted, np.ones((9, 4)))
    assert np.isnan(scores[..., 1]).all()
    expected = np.corrcoef(observed[:, 0], predicted[:, 0])[0, 1]
    np.testing.assert_allclose(scores[..., 0], expected)


def test_whitening_that_does_not_converge_is_told(monkeypatch):
    monkeypatch.setattr(_measures, "CG_TOLERANCE", 0)  # which no step reaches
    rng = np.random.default_rng(0)
    index = np.column_stack(np.triu_indices(6, 1))[::2]
    covariance = np.diag(np.logspace(0, -8, 6))
    with pytest.raises(ValueError, match="nearly singular. Shrink it"):
        rdm_whitened_pearson_score(
            *rng.random((2, len(index))), pairs=index, pattern_covariance=covariance
        )
