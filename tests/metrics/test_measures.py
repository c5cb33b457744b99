import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import rankdata

from sklearn_rdm.metrics._measures import rank_columns


@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_ranks_equal_scipy(decimals):
    columns = np.random.default_rng(0).standard_normal((200, 5)).round(decimals)
    assert_array_equal(rank_columns(columns), rankdata(columns, axis=0))
    assert_array_equal(rank_columns(np.asfortranarray(columns)), rankdata(columns, axis=0))
