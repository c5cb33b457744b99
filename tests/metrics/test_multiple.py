import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_rdm.metrics._multiple import benjamini_hochberg, correct, holm


def step_down(pvalues):
    """Smallest level at which Holm's procedure rejects each, found by running it."""
    levels = np.full(len(pvalues), 1.0)
    for alpha in sorted({min(1, k * p) for p in pvalues for k in range(1, len(pvalues) + 1)})[::-1]:
        for rank, test in enumerate(np.argsort(pvalues)):
            if pvalues[test] > alpha / (len(pvalues) - rank) + 1e-15:
                break
            levels[test] = min(levels[test], alpha)
    return levels


@pytest.mark.parametrize("n_tests", [1, 2, 7])
@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_procedure_rejects(n_tests, seed):
    pvalues = np.random.default_rng(seed).random(n_tests) ** 3
    if seed == 0:
        pvalues[-1] = pvalues[0]
    assert_allclose(holm(pvalues), step_down(pvalues), atol=1e-12)


def test_worked_examples():
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(
        benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005])), [0.02, 0.04, 0.04, 0.02]
    )


def test_no_test_needs_no_correction():
    assert correct([]) == []
