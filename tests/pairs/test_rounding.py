"""The bounds lie between rounding and the smallest differences that mean something."""

import numpy as np
import pytest

from sklearn_rdm._pairs._rounding import FLOAT32_SHARE, SUM_EPSILONS, TIE
from sklearn_rdm.metrics import rdm_spearman_score


@pytest.mark.parametrize("n_features", [3, 1_000, 300_000])
def test_a_constant_row_of_float32_is_constant_after_centring(n_features):
    for value in np.random.default_rng(0).uniform(0.1, 1e4, 20).astype(np.float32):
        row = np.full(n_features, value)
        spread = np.linalg.norm(row - row.mean())
        assert spread <= FLOAT32_SHARE * np.linalg.norm(row)
    varying = row.copy()
    varying[: n_features // 2] *= np.float32(1 + 1e-5)
    assert np.linalg.norm(varying - varying.mean()) > FLOAT32_SHARE * np.linalg.norm(varying)


@pytest.mark.parametrize("n_terms", [10, 10_000])
def test_terms_that_cancel_leave_less_than_the_bound(n_terms):
    rng = np.random.default_rng(0)
    terms = rng.normal(size=n_terms)
    left = np.concatenate([terms, -rng.permutation(terms)]).sum()
    assert abs(left) <= SUM_EPSILONS * np.finfo(float).eps * np.abs(terms).sum()


def test_the_order_of_pairs_changes_a_score_by_less_than_a_tie():
    rng = np.random.default_rng(0)
    y, predicted = rng.random(2_000), rng.random(2_000)
    score = rdm_spearman_score(y, predicted)
    for _ in range(10):
        order = rng.permutation(2_000)
        assert abs(rdm_spearman_score(y[order], predicted[order]) - score) < TIE
    one_swap = 12 / 2_000**3  # the least that another order of ranks changes
    assert one_swap > TIE
