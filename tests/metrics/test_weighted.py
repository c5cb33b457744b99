import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import rankdata

from sklearn_rdm.metrics._draws import repeat_pairs
from sklearn_rdm.metrics._measures import MEASURES, score_columns, score_draws
from sklearn_rdm.metrics._weighted import weighted_ranks

N_IMAGES = 8
PAIRS = np.column_stack(np.triu_indices(N_IMAGES, 1))
FAST = [name for name, measure in MEASURES.items() if measure.in_draws is not None]


def draw_counts(seed=0):
    """Some draws, all images once, two images only, one only, three only."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(N_IMAGES, np.full(N_IMAGES, 1 / N_IMAGES), 20)
    few = np.zeros((3, N_IMAGES), dtype=int)
    few[0, [0, 1]], few[1, 5], few[2, [1, 2, 6]] = 4, 8, [1, 1, 6]
    return np.concatenate([counts, np.ones((1, N_IMAGES), dtype=int), few])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("kind", ["smooth", "ties", "missing", "times", "shifted"])
def test_weights_are_repeated_pairs(name, kind):
    rng = np.random.default_rng(1)
    observed = rng.random((len(PAIRS), 3, 2) if kind == "times" else (len(PAIRS), 4))
    predicted = rng.random((len(PAIRS), 2))
    if kind == "ties":
        observed, predicted = np.round(3 * observed), np.round(2 * predicted)
    if kind == "missing":
        observed[[0, 3, 4], 1] = observed[10:, 2] = np.nan
    if kind == "shifted":
        observed, predicted = 1e6 + observed, 1e-200 * predicted
    counts = draw_counts()
    weights = (counts[:, PAIRS[:, 0]] * counts[:, PAIRS[:, 1]]).T.astype(float)
    ours = score_draws(MEASURES[name], observed, predicted, weights)
    for drawn, scores in zip(counts, ours, strict=True):
        rows, copies = repeat_pairs(PAIRS, drawn)
        expected = np.full(scores.shape, np.nan)
        if len(rows):
            expected = score_columns(MEASURES[name], observed[rows], predicted[rows], copies)
        assert_allclose(scores, expected, atol=1e-9 if kind == "shifted" else 1e-13)


def test_ranks_are_those_of_repeated_values():
    rng = np.random.default_rng(0)
    column = rng.integers(0, 6, 15).astype(float)
    weights = rng.integers(0, 3, (15, 4))
    ours = weighted_ranks(column, weights.astype(float))
    for draw in range(4):
        repeated = np.repeat(np.arange(15), weights[:, draw])
        expected = rankdata(column[repeated]) - (len(repeated) + 1) / 2
        assert_allclose(ours[repeated, draw], expected, atol=0)
