"""Ranks of bins against ranks of the values themselves."""

import numpy as np
import pytest
from scipy.stats import rankdata

from sklearn_rdm.metrics._rank_bins import CELLS, RankBins, mid_ranks

DRAW = {
    "uniform": lambda rng, n: rng.random(n),
    "normal": lambda rng, n: rng.standard_normal(n),
    "long tail": lambda rng, n: rng.standard_normal(n) ** 2 * np.exp(5 * rng.standard_normal(n)),
    "far away": lambda rng, n: 1e6 + rng.random(n),
    "few values": lambda rng, n: rng.integers(0, 12, n) / 7,
    "half of them equal": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
}


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_bins_ascend_with_the_values_and_are_of_about_equal_mass(draw):
    rng = np.random.default_rng(0)
    sample, values = draw(rng, 20_000), draw(rng, 50_000)
    bins = RankBins(sample, 1000)
    found = bins(values)
    order = values.argsort()
    assert (np.diff(found[order]) >= 0).all()
    assert 0 <= found.min() <= found.max() < len(bins)
    counts = np.bincount(found, minlength=len(bins))
    ranks = mid_ranks(counts)[found]
    exact = rankdata(values) - (len(values) + 1) / 2
    assert np.abs(ranks - exact).max() < 0.003 * len(values)
    assert np.corrcoef(ranks, exact)[0, 1] > 1 - 1e-5


def test_equal_values_share_a_bin_and_few_values_have_their_own():
    values = np.array([3.0, 1, 1, 2, 3])
    bins = RankBins(values, 10)
    np.testing.assert_array_equal(bins(values), [2, 0, 0, 1, 2])
    ranks = mid_ranks(np.bincount(bins(values)))[bins(values)]
    np.testing.assert_array_equal(ranks, rankdata(values) - 3)
    np.testing.assert_array_equal(bins(np.array([-9.0, 9])), [0, 2])


def test_the_table_gives_bins_of_the_search_but_for_a_cell():
    rng = np.random.default_rng(0)
    sample = rng.standard_normal(10_000)
    bins, values = RankBins(sample, 100), rng.standard_normal(10_000)
    assert bins.table is not None
    width = np.ptp(bins.edges) / CELLS
    low, high = (np.searchsorted(bins.edges, values + d, side="right") for d in (-width, width))
    assert ((low <= bins(values)) & (bins(values) <= high)).all()


def test_values_that_crowd_into_few_cells_are_searched():
    sample = np.append(np.random.default_rng(0).random(10_000) * 1e-9, np.linspace(0, 1e6, 200))
    assert RankBins(sample, 1000).table is None


def test_extreme_values_are_no_overflow():
    bins = RankBins(np.random.default_rng(0).random(5000), 100)
    with np.errstate(all="raise"):
        found = bins(np.array([-1e300, 1e300]))
    np.testing.assert_array_equal(found, [0, len(bins) - 1])


def test_nothing_has_no_rank():
    assert len(RankBins(np.zeros(0), 10)) == 1
