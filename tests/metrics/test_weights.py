"""Weights of pairs in scores, ceilings and scorers: whole numbers are repeats."""

import numpy as np
import pytest
import sklearn
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from sklearn.utils.fixes import parse_version

from sklearn_rdm import FixedRSARegressor, ImagePairs, ResponsePatterns
from sklearn_rdm.metrics import (
    get_rdm_scorer,
    noise_ceiling,
    noise_normalized_r2_score,
    rdm_spearman_scorer,
)
from sklearn_rdm.metrics._measures import MEASURES
from sklearn_rdm.metrics._scores import SCORES
from sklearn_rdm.model_selection import ImageKFold

INDEX = np.column_stack(np.triu_indices(7, 1))
COUNTS = np.array([1, 2, 3, 0, 1, 5, 1] * 3)
ROWS = np.repeat(np.arange(21), COUNTS)
SCALE_FREE = ("cosine", "pearson", "spearman")


@pytest.fixture(params=[False, True], ids=["complete", "with gaps"])
def data(request):
    rng = np.random.default_rng(0)
    observed = rng.integers(0, 9, (21, 4)).astype(float)
    if request.param:
        observed[rng.random(observed.shape) < 0.2] = np.nan
        observed[:, 0] = rng.random(21)
    return observed, rng.integers(0, 5, 21) + observed[:, 0]


def with_pairs(name, rows):
    return {"pairs": INDEX[rows]} if MEASURES[name].needs_pairs else {}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_with_whole_weights_is_that_of_repeated_pairs(name, data):
    observed, predicted = data
    weighted = SCORES[name](
        observed,
        predicted,
        sample_weight=COUNTS,
        subject_average=False,
        **with_pairs(name, slice(None)),
    )
    repeated = SCORES[name](
        observed[ROWS], predicted[ROWS], subject_average=False, **with_pairs(name, ROWS)
    )
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_equal_weights_change_nothing(name, data):
    observed, predicted = data
    options = with_pairs(name, slice(None))
    expected = SCORES[name](observed, predicted, **options)
    weighted = SCORES[name](observed, predicted, sample_weight=np.ones(21), **options)
    assert weighted == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_the_unit_of_weights_does_not_matter(name, data):
    observed, predicted = data
    scores = [SCORES[name](observed, predicted, sample_weight=COUNTS * f) for f in (1, 0.013)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_weighted_pearson_and_spearman_equal_numpys_covariance():
    rng = np.random.default_rng(1)
    x, y, weights = rng.random((3, 30))
    for name, (a, b) in {
        "pearson": (x, y),
        "spearman": (mid_ranks(x, weights), mid_ranks(y, weights)),
    }.items():
        cov = np.cov(a, b, aweights=weights)
        expected = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
        assert SCORES[name](x, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)


def mid_ranks(values, weights):
    below = (weights * (values[None] < values[:, None])).sum(axis=1)
    return below + (weights * (values[None] == values[:, None])).sum(axis=1) / 2


def test_the_whitened_score_divides_a_pairs_own_noise_by_its_weight(data):
    observed, predicted = data
    rows = ~np.isnan(observed[:, 1])
    y, p, index = observed[rows, 1], predicted[rows], INDEX[rows]
    weights = np.random.default_rng(2).random(rows.sum()) + 0.1
    shared = (index[:, :, None, None] == index.T[None, None]).sum(axis=(1, 2))
    precision = np.linalg.inv(shared + np.diag(2 / weights))
    expected = y @ precision @ p / np.sqrt((y @ precision @ y) * (p @ precision @ p))
    score = SCORES["whitened_cosine"](y, p, sample_weight=weights, pairs=index)
    assert score == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("scoring", SCORES)
@pytest.mark.parametrize("pooling", ["auto", "mean"])
def test_a_ceiling_with_whole_weights_is_that_of_repeated_pairs(scoring, pooling, data):
    from sklearn_rdm.metrics import NoiseCeilingConvention

    observed, _ = data
    convention = NoiseCeilingConvention(scoring=scoring, pooling=pooling)
    weighted = noise_ceiling(observed, convention=convention, sample_weight=COUNTS, pairs=INDEX)
    repeated = noise_ceiling(observed[ROWS], convention=convention, pairs=INDEX[ROWS])
    np.testing.assert_allclose(weighted, repeated, rtol=1e-10)


def test_a_ceiling_of_folds_and_a_normalised_score_take_weights(data):
    observed, predicted = data
    folds = [np.arange(11), np.arange(11, 21)]
    repeated_folds = [np.flatnonzero(np.isin(ROWS, fold)) for fold in folds]
    np.testing.assert_allclose(
        noise_ceiling(observed, sample_weight=COUNTS, folds=folds),
        noise_ceiling(observed[ROWS], folds=repeated_folds),
    )
    weighted = noise_normalized_r2_score(observed, predicted, sample_weight=COUNTS)
    assert weighted == pytest.approx(noise_normalized_r2_score(observed[ROWS], predicted[ROWS]))


@pytest.mark.parametrize("name", ["rho_a", "kendall_tau_a"])
def test_scores_that_count_comparisons_need_whole_weights(name, data):
    with pytest.raises(ValueError, match=r"whole numbers .* got 0\.5\. Use Spearman"):
        SCORES[name](*data, sample_weight=np.full(21, 0.5))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(20), r"shape \(21,\), one weight per pair for all subjects, got \(20,\)"),
        (np.ones((21, 4)), r"got \(21, 4\)"),
        ([-1.0] + [1.0] * 20, "pair 0 is -1.0"),
        ([1.0] * 20 + [np.nan], "pair 20 is nan"),
        (np.zeros(21), "0 for all pairs"),
        ([1j] * 21, "must be real numbers"),
    ],
)
def test_wrong_weights_raise_an_error(weights, message, data):
    with pytest.raises((ValueError, TypeError), match=message):
        SCORES["pearson"](*data, sample_weight=weights)


def test_whitening_takes_weights_or_a_covariance(data):
    options = {"pairs": INDEX, "pattern_covariance": np.eye(7)}
    with pytest.raises(ValueError, match="sample_weight or pattern_covariance, not both"):
        SCORES["whitened_cosine"](*data, sample_weight=np.ones(21), **options)


def test_scorers_take_weights_also_by_routing(data):
    observed = np.random.default_rng(4).random(data[0].shape)
    features = np.random.default_rng(3).normal(size=(7, 5))
    pairs, model = ImagePairs(features), FixedRSARegressor()
    model.fit(pairs)
    expected = SCORES["spearman"](observed, model.predict(pairs), sample_weight=COUNTS)
    assert rdm_spearman_scorer(model, pairs, observed, sample_weight=COUNTS) == expected
    assert model.score(pairs, observed, sample_weight=COUNTS) == expected
    cv = ImageKFold(2, shuffle=True, random_state=0)
    by_hand = [
        SCORES["spearman"](observed[test], model.predict(pairs[test]), sample_weight=COUNTS[test])
        for _, test in cv.split(pairs)
    ]
    with config_context(enable_metadata_routing=True):
        scorer = rdm_spearman_scorer.set_score_request(sample_weight=True)
        asking = clone(model).set_fit_request(sample_weight=True)
        found = cross_validate(
            asking, pairs, observed, cv=cv, scoring=scorer, params={"sample_weight": COUNTS}
        )
        np.testing.assert_allclose(found["test_score"], by_hand)
        assert scorer is not rdm_spearman_scorer


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="before 1.9, scikit-learn's own scorers drop weights that they did not request",
)
def test_a_scorer_that_did_not_ask_for_weights_raises_an_error():
    pairs = ImagePairs(np.random.default_rng(3).normal(size=(7, 5)))
    observed = np.random.default_rng(4).random(len(pairs))
    with config_context(enable_metadata_routing=True):
        asking = FixedRSARegressor().set_fit_request(sample_weight=True)
        with pytest.raises(ValueError, match="sample_weight.*not explicitly set"):
            cross_validate(
                asking,
                pairs,
                observed,
                cv=ImageKFold(2, shuffle=True, random_state=0),
                scoring=rdm_spearman_scorer,
                params={"sample_weight": COUNTS},
            )


def test_a_scorer_with_parameters_takes_weights():
    features = np.random.default_rng(3).normal(size=(7, 5))
    model, pairs = FixedRSARegressor().fit(ImagePairs(features)), ImagePairs(features)
    observed = np.random.default_rng(4).random((21, 3))
    scorer = get_rdm_scorer("noise_normalized_r2", convention="net2brain")
    expected = noise_normalized_r2_score(
        observed, model.predict(pairs), convention="net2brain", sample_weight=COUNTS
    )
    assert scorer(model, pairs, observed, sample_weight=COUNTS) == expected


def test_weights_of_images_raise_an_error_where_samples_are_images():
    patterns = ResponsePatterns(np.random.default_rng(0).normal(size=(7, 9)))
    images = np.random.default_rng(1).normal(size=(7, 5))
    model = FixedRSARegressor().fit(images, patterns)
    with pytest.raises(ValueError, match="one weight per pair, but y holds response patterns"):
        rdm_spearman_scorer(model, images, patterns, sample_weight=np.ones(7))


def test_ranks_with_weights_of_one_are_scipys_less_a_half():
    from sklearn_rdm.metrics._measures import rank_weighted

    columns = np.random.default_rng(0).integers(0, 5, (20, 3)).astype(float)
    np.testing.assert_array_equal(
        rank_weighted(columns, np.ones(20)), rankdata(columns, axis=0) - 0.5
    )
