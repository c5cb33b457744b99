"""Images and response patterns in place of pairs and dissimilarities."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import KFold

from sklearn_rdm import ResponsePatterns
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    noise_ceiling,
    rdm_bootstrap,
    rdm_permutation_test,
)

IMAGES = np.random.default_rng(2).random((12, 3))
DRAW = {"random_state": 0}


def make_patterns(unseen=False):
    rng = np.random.default_rng(0)
    patterns = [rng.random((12, 8)), rng.random((12, 5)), rng.random((12, 6))]
    if unseen:
        for each in patterns:
            each[[3, 7]] = np.nan
        patterns[0][5] = np.nan
    return ResponsePatterns(patterns)


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("folds", [None, [np.arange(6), np.arange(6, 12)]])
def test_the_same_as_of_their_pairs(unseen, folds):
    patterns = make_patterns(unseen)
    pairs, dissim = patterns.to_pairs(IMAGES)
    rdm = np.random.default_rng(1).random((12, 12))
    rdm += rdm.T
    predicted = rdm[tuple(pairs.index.T)]
    rows = None
    if folds is not None:
        rows = [np.flatnonzero(np.isin(pairs.index, fold).all(axis=1)) for fold in folds]
    for y_pred in (rdm, predicted):
        ours = rdm_permutation_test(IMAGES, patterns, y_pred, folds=folds, n_permutations=9, **DRAW)
        theirs = rdm_permutation_test(
            pairs, dissim, predicted, folds=rows, n_permutations=9, **DRAW
        )
        assert_array_equal(ours.null_distribution, theirs.null_distribution)
        ours = rdm_bootstrap(IMAGES, patterns, y_pred, folds=folds, n_resamples=9, **DRAW)
        theirs = rdm_bootstrap(pairs, dissim, predicted, folds=rows, n_resamples=9, **DRAW)
        assert_array_equal(ours.bootstrap_distribution, theirs.bootstrap_distribution)
        ours = compare_rdm_scores(IMAGES, patterns, {"a": y_pred}, folds=folds, n_resamples=9)
        theirs = compare_rdm_scores(pairs, dissim, {"a": predicted}, folds=rows, n_resamples=9)
        assert ours.scores == theirs.scores
    assert noise_ceiling(patterns, folds=folds) == noise_ceiling(dissim, folds=rows)
    whitened = {"scoring": "whitened_pearson"}
    assert noise_ceiling(patterns, **whitened) == noise_ceiling(dissim, pairs=pairs, **whitened)


def test_splits_of_images_are_folds():
    folds = [test for _, test in KFold(2).split(IMAGES)]
    result = rdm_bootstrap(
        IMAGES,
        make_patterns(),
        np.random.default_rng(1).random((12, 12)),
        folds=folds,
        n_resamples=9,
        **DRAW,
    )
    assert result.fold_scores.shape == (2,)


def test_rows_of_pairs_are_no_rows_of_images():
    with pytest.raises(ValueError, match="fold 0 has rows outside 0 to 11"):
        noise_ceiling(make_patterns(), folds=[np.arange(20)])
