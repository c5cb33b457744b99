import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import KFold

from sklearn_rdm import FixedRSARegressor, ImagePairs, ResponsePatterns
from sklearn_rdm.metrics import rdm_bootstrap, rdm_permutation_test, rdm_spearman_score
from sklearn_rdm.model_selection import (
    ImageKFold,
    cross_val_permutation_test,
    cross_val_rdm,
)
from sklearn_rdm.model_selection._permutation import _relabel
from tests.model_selection.refits import MODEL, Constant, simulate

CV = ImageKFold(3, shuffle=True, random_state=0)


def mean_score(pairs, dissim):
    held_out = cross_val_rdm(MODEL, pairs, dissim, cv=CV)
    folds = zip(held_out.test_indices, held_out.test_dissims, strict=True)
    return np.mean([rdm_spearman_score(dissim[rows], predicted) for rows, predicted in folds])


def test_the_null_is_that_of_relabelled_measurements():
    pairs, dissim, rdms = simulate()
    result = cross_val_permutation_test(
        MODEL, pairs, dissim, cv=CV, n_permutations=4, random_state=0
    )
    rng, expected = np.random.RandomState(0), []
    for _ in range(4):
        order = rng.permutation(18)
        shuffled = ImagePairs.from_rdms(pairs.images, rdms[:, order][:, :, order])[1]
        assert_allclose(_relabel(pairs, dissim, order), shuffled)
        expected.append(mean_score(pairs, shuffled))
    assert_allclose(result.null_distribution, expected)
    assert result.score == pytest.approx(mean_score(pairs, dissim))
    assert result.n_fits == 15


def test_refitting_tells_related_from_unrelated_features():
    options = {"cv": CV, "n_permutations": 19, "random_state": 0}
    assert cross_val_permutation_test(MODEL, *simulate()[:2], **options).pvalue == 0.05
    unrelated = cross_val_permutation_test(MODEL, *simulate(related=False)[:2], **options)
    assert unrelated.pvalue > 0.05
    assert repr(unrelated).split()[:3] == ["score", "expected_score", "pvalue"]


def test_a_model_without_parameters_needs_no_refitting():
    pairs, dissim, _ = simulate()
    model = FixedRSARegressor(metric="sqeuclidean")
    result = cross_val_permutation_test(model, pairs, dissim, cv=CV, n_permutations=1)
    held_out = cross_val_rdm(model, pairs, dissim, cv=CV)
    plain = rdm_permutation_test(
        pairs, dissim, held_out.dissim, folds=held_out.test_indices, n_permutations=1
    )
    assert_allclose(result.fold_scores, plain.fold_scores)


def test_sets_with_missing_pairs_cannot_be_relabelled():
    pairs, dissim, _ = simulate()
    with pytest.raises(ValueError, match="image set 0 has no measurement of 1 of its pairs"):
        cross_val_permutation_test(MODEL, pairs[1:], dissim[1:], cv=CV)


def test_images_and_response_patterns():
    rng = np.random.default_rng(0)
    features = rng.random((15, 8))
    patterns = ResponsePatterns([features + rng.random((15, 8)), features + rng.random((15, 8))])
    cv = KFold(3, shuffle=True, random_state=0)
    pairs, dissim = patterns.to_pairs(features)
    images = [test for _, test in cv.split(features)]
    splits = [
        tuple(np.flatnonzero(np.isin(pairs.index, part).all(axis=1)) for part in split)
        for split in cv.split(features)
    ]
    ours = cross_val_rdm(MODEL, features, patterns, cv=cv)
    theirs = cross_val_rdm(MODEL, pairs, dissim, cv=splits)
    assert_array_equal(ours.rdm, theirs.rdm)
    for fold in range(3):
        assert_array_equal(ours.test_indices[fold], images[fold])
    options = {"n_permutations": 3, "random_state": 0}
    ours_test = cross_val_permutation_test(MODEL, features, patterns, cv=cv, **options)
    their_test = cross_val_permutation_test(MODEL, pairs, dissim, cv=splits, **options)
    assert_array_equal(ours_test.null_distribution, their_test.null_distribution)
    draw = {"n_resamples": 9, "random_state": 0}
    by_image = rdm_bootstrap(features, patterns, ours.dissim, folds=ours.test_indices, **draw)
    by_pair = rdm_bootstrap(pairs, dissim, theirs.dissim, folds=theirs.test_indices, **draw)
    assert by_image.records == by_pair.records
    with pytest.raises(ValueError, match="give test_pairs='both'"):
        cross_val_rdm(MODEL, features, patterns, cv=ImageKFold(3, test_pairs="any"))


def test_no_permutation_is_no_test():
    pairs = ImagePairs(np.random.default_rng(0).random((9, 4)))
    with pytest.raises(ValueError, match="n_permutations must be at least 1, got 0"):
        cross_val_permutation_test(
            FixedRSARegressor(), pairs, np.arange(36.0), cv=3, n_permutations=0
        )


def test_constant_predictions_have_no_score():
    pairs, dissim, _ = simulate(12)
    with pytest.warns(UndefinedMetricWarning, match=r"none in 2 of 2 fold\(s\)"):
        result = cross_val_permutation_test(Constant(), pairs, dissim, cv=2, n_permutations=3)
    assert np.isnan(result.score)
    assert result.pvalue == 1
