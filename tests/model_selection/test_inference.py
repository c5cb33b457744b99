import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import KFold

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerWeightedRSARegressor, ResponsePatterns
from sklearn_rdm.metrics import rdm_bootstrap, rdm_permutation_test, rdm_spearman_score
from sklearn_rdm.model_selection import (
    ImageKFold,
    cross_val_bootstrap,
    cross_val_permutation_test,
    cross_val_rdm,
)
from sklearn_rdm.model_selection._inference import _fit, _relabel, without_assignments

CV = ImageKFold(3, shuffle=True, random_state=0)
MODEL = LayerWeightedRSARegressor([4, 4], metric="sqeuclidean")


def simulate(n_images=18, n_subjects=3, related=True, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.random((n_images, 8))
    source = features[:, :4] if related else rng.random((n_images, 4))
    seen = source + 0.2 * rng.random((n_subjects, n_images, 4))
    rdms = np.square(seen[:, :, None] - seen[:, None]).sum(axis=-1)
    return *ImagePairs.from_rdms(features, rdms), rdms


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


def test_the_variance_over_assignments_is_taken_out():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((40, 3, 2)) + 3 * rng.standard_normal((40, 1, 2))
    for kind in range(2):
        covariance = np.cov(scores[:, :, kind], rowvar=False)
        expected = covariance[np.triu_indices(3, 1)].mean()
        assert without_assignments(scores)[kind] == pytest.approx(expected)


def test_the_interval_of_a_refitted_model():
    pairs, dissim, _ = simulate(n_images=24)
    options = {"n_folds": 2, "n_resamples": 20}
    one, two, other = (
        cross_val_bootstrap(MODEL, pairs, dissim, random_state=seed, n_jobs=jobs, **options)
        for seed, jobs in [(0, None), (0, 2), (1, None)]
    )
    low, high = one.confidence_interval
    assert low < one.score < high
    assert one.dof == 2
    assert one.n_fits == 2 * 2 * (1 + 3 * 20)
    assert_array_equal(one.bootstrap_scores, two.bootstrap_scores)
    assert (one.bootstrap_scores != other.bootstrap_scores).any()
    single = cross_val_bootstrap(MODEL, pairs, dissim[:, 0], random_state=0, **options)
    assert single.dof == 23


class Memorizes(BaseEstimator):
    """Fails if it is asked for an image that it was fitted to."""

    def fit(self, X, y):
        self.seen_ = set(X.index.ravel().tolist())
        return self

    def predict(self, X):
        assert not self.seen_ & set(X.index.ravel().tolist())
        return X.index.sum(axis=1).astype(float)


def test_copies_of_an_image_are_in_one_fold():
    pairs, dissim, _ = simulate()
    draw = {"n_resamples": 8, "n_folds": 2, "random_state": 0}
    assert np.isfinite(cross_val_bootstrap(Memorizes(), pairs, dissim, **draw).score)


def test_too_few_samples_have_no_interval():
    pairs, dissim, _ = simulate()
    draw = {"n_resamples": 2, "n_folds": 2}
    with pytest.warns(UndefinedMetricWarning, match="there is no interval .* Take more n_resam"):
        results = [
            cross_val_bootstrap(Memorizes(), pairs, dissim, random_state=seed, **draw)
            for seed in range(4)
        ]
    assert any(np.isnan(result.standard_error) for result in results)
    assert not any(result.standard_error == 0 for result in results)


def test_too_few_images_or_samples_are_refused():
    pairs, dissim, _ = simulate(n_images=8)
    with pytest.raises(ValueError, match="8 images are too few for 3 folds"):
        cross_val_bootstrap(MODEL, pairs, dissim)
    for option in ({"n_folds": 1}, {"n_assignments": 1}, {"n_resamples": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be at least 2"):
            cross_val_bootstrap(MODEL, pairs, dissim, **option)
    pairs, dissim, _ = simulate(n_images=6)
    with pytest.raises(ValueError, match="of 5 samples have 6 distinct images"):
        cross_val_bootstrap(MODEL, pairs, dissim, n_folds=2, n_resamples=5, random_state=0)


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


class Constant(BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.ones(len(X))


def test_constant_predictions_have_no_score_and_no_interval():
    pairs, dissim, _ = simulate(12)
    with pytest.warns(UndefinedMetricWarning, match=r"none in 2 of 2 fold\(s\)"):
        result = cross_val_permutation_test(Constant(), pairs, dissim, cv=2, n_permutations=3)
    assert np.isnan(result.score)
    assert result.pvalue == 1
    with pytest.raises(ValueError, match="Constant predictions have no score"):
        cross_val_bootstrap(Constant(), pairs, dissim, n_folds=2, n_resamples=3)


@pytest.mark.filterwarnings("ignore:subjects .* left out:UserWarning")
@pytest.mark.filterwarnings("ignore:there is no interval:sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("model", [FixedRSARegressor(), MODEL])
@pytest.mark.parametrize("with_times", [False, True])
def test_subjects_that_saw_some_images_only_are_drawn(model, with_times):
    """Those that are drawn lack pairs that others have, or have copies of one pair alone."""
    pairs, dissim, _ = simulate(14, n_subjects=4)
    seen = np.random.default_rng(0).random((14, 4)) < 0.6
    dissim[~seen[pairs.index].all(axis=1)] = np.nan
    known = ~np.isnan(dissim).all(axis=1)
    pairs, dissim = pairs[known], dissim[known]
    y = np.stack([dissim, dissim**2], axis=2) if with_times else dissim
    result = cross_val_bootstrap(model, pairs, y, n_folds=2, n_resamples=8)
    scored = ~np.isnan(result.bootstrap_scores).any(axis=(1, 2))
    assert scored.sum() >= 3


def test_a_fit_reads_what_varies_of_subjects_that_have_the_pairs():
    pairs, dissim, _ = simulate(6)
    dissim[:, 0], dissim[:9, 1], dissim[9:, 2] = 1.0, np.nan, np.nan
    dissim[[3, 12], 1:] = np.nan
    known = np.delete(np.arange(15), [3, 12])
    expected = LayerWeightedRSARegressor([4, 4], subject_pooling="zscore")
    found = _fit(expected, pairs, dissim)
    expected.fit(pairs[known], dissim[known, 1:])
    assert_allclose(found.predict(pairs), expected.predict(pairs))
    assert _fit(expected, pairs, dissim[:, :1]) is None
