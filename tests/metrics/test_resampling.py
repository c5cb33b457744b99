import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import pdist

from sklearn_rdm import ImagePairs
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    make_rdm_scorer,
    noise_ceiling,
    rdm_bootstrap,
    rdm_permutation_test,
    rdm_spearman_score,
)
from sklearn_rdm.metrics._resampling import DrawnScores, draw_images, resample

N_IMAGES = 8
PAIRS = np.column_stack(np.triu_indices(N_IMAGES, 1))
FOLDS = [np.flatnonzero((fold == PAIRS % 2).all(axis=1)) for fold in (0, 1)]


def simulate(times=None):
    rng = np.random.default_rng(0)
    features = rng.random((N_IMAGES, 3))
    y = np.array([pdist(features + rng.random((N_IMAGES, 3))) for _ in range(3)]).T
    if times:
        y = y[:, :, np.newaxis] + 0.3 * rng.random((*y.shape, times))
    return y, np.array([pdist(features), rng.random(len(PAIRS))]).T


def draws():
    return draw_images([np.arange(N_IMAGES)], np.random.RandomState(0), 6)


@pytest.mark.parametrize("times", [None, 3])
@pytest.mark.parametrize("scoring", ["spearman", "pearson", "kendall_tau_a", "whitened_pearson"])
def test_the_others_are_the_lower_noise_ceiling_of_each_fold(scoring, times):
    y, predicted = simulate(times)
    score = DrawnScores(scoring, y, predicted, PAIRS, FOLDS, with_ceiling=True)
    once = np.ones((1, N_IMAGES), dtype=int)
    scores = score(once)[0]
    assert scores.shape == score.shape == (3, 2, 3)
    for fold, rows in enumerate(FOLDS):
        lower = noise_ceiling(y[rows], scoring=scoring, pairs=PAIRS[rows])[0]
        assert scores[2, fold].mean() == pytest.approx(lower)


def test_the_fast_way_is_the_way_of_score_functions():
    y, predicted = simulate()
    fast, slow = (
        DrawnScores(scoring, y, predicted, PAIRS, FOLDS)(draws())
        for scoring in ("spearman", make_rdm_scorer(rdm_spearman_score))
    )
    assert_allclose(fast, slow, atol=1e-12)


def test_each_image_is_left_out_once():
    y, predicted = simulate()
    score = DrawnScores("pearson", y, predicted, PAIRS, [np.arange(len(PAIRS))])
    scores = resample(score, PAIRS, 0, random_state=0, n_jobs=None, verbose=0)
    for image in range(N_IMAGES):
        rest = (image != PAIRS).all(axis=1)
        expected = [np.corrcoef(y[rest, s], predicted[rest, 0])[0, 1] for s in range(3)]
        assert_allclose(scores.left_out[image, 0, 0], expected)
    assert scores.drawn.shape == (0, 2, 1, 3)


def test_images_are_drawn_within_their_set():
    counts = draw_images([np.arange(3), np.arange(3, 8)], np.random.RandomState(0), 50)
    assert_array_equal(counts[:, :3].sum(axis=1), 3)
    assert_array_equal(counts.sum(axis=1), 8)
    assert len(np.unique(counts, axis=0)) > 40


@pytest.mark.parametrize(
    "draw",
    [
        lambda pairs, y, p: rdm_permutation_test(pairs, y, p, n_permutations=99).null_distribution,
        lambda pairs, y, p: rdm_bootstrap(pairs, y, p, over="images").to_frame(),
        lambda pairs, y, p: rdm_bootstrap(pairs, y, p, method="percentile").to_frame(),
        lambda pairs, y, p: compare_rdm_scores(
            pairs, y, {"a": p, "b": p[::-1]}, over="images"
        ).to_frame(),
    ],
)
def test_what_is_drawn_is_the_same_twice_by_default(draw):
    rng = np.random.default_rng(0)
    pairs = ImagePairs(np.arange(12.0)[:, None])
    y, predicted = rng.random((len(pairs), 4)), rng.random(len(pairs))
    first, second = (pd.DataFrame(draw(pairs, y, predicted)) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
