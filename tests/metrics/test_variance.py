import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist

from sklearn_rdm.metrics import rdm_bootstrap, rdm_spearman_score
from sklearn_rdm.metrics._resampling import DrawnScores, Replicates, Scores
from sklearn_rdm.metrics._variance import (
    dual_variance,
    jackknife_uncertainty,
    schuett2023_uncertainty,
)

N_IMAGES, N_SUBJECTS = 9, 4
PAIRS = np.column_stack(np.triu_indices(N_IMAGES, 1))


def simulate(seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((N_IMAGES, 4))
    noisy = features + rng.standard_normal((N_SUBJECTS, N_IMAGES, 4))
    models = [pdist(features), pdist(features[:, :2])]
    return np.array([pdist(x) for x in noisy]).T, np.array(models).T


def test_the_published_formula_and_its_clips_are_those_of_rsatoolbox():
    theirs = pytest.importorskip("rsatoolbox.util.inference_util")._dual_bootstrap
    rng = np.random.default_rng(0)
    clipped = 0
    for _ in range(200):
        both, subjects, images = variances = rng.random(3) * [2, 1, 1]
        ours = dual_variance(both, subjects, images, 5, 20)
        assert ours == pytest.approx(theirs(variances, n_rdm=5, n_pattern=20), abs=1e-15)
        clipped += ours == both
    assert 0 < clipped < 200


def test_scores_and_variances_are_those_of_rsatoolbox_on_the_same_draws(monkeypatch):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    evaluate = pytest.importorskip("rsatoolbox.inference.evaluate")
    dissim, predicted = simulate()
    draws, sample = [], evaluate.bootstrap_sample

    def record(*args, **kwargs):
        drawn = sample(*args, **kwargs)
        draws.append(drawn[1:])
        return drawn

    monkeypatch.setattr(evaluate, "bootstrap_sample", record)
    np.random.seed(0)  # noqa: NPY002
    models = [rsatoolbox.model.ModelFixed(str(i), y) for i, y in enumerate(predicted.T)]
    result = evaluate.eval_dual_bootstrap(
        models, rsatoolbox.rdm.RDMs(dissim.T), method="spearman", N=60
    )
    theirs = result.evaluations[:, :, 0, 0]  # draws, models, (both, subjects, images)
    assert np.isfinite(theirs).all()
    images = np.array([np.bincount(each, minlength=N_IMAGES) for _, each in draws])
    subjects = np.array([np.bincount(each, minlength=N_SUBJECTS) for each, _ in draws])
    score = DrawnScores("spearman", dissim, predicted, PAIRS, [np.arange(len(PAIRS))])
    full, drawn = (score(x)[:, :, 0] for x in (np.ones((1, N_IMAGES), dtype=int), images))
    assert_allclose(theirs[..., 2], drawn.mean(axis=2), atol=1e-12)
    shares = subjects[:, np.newaxis] / N_SUBJECTS
    assert_allclose(theirs[..., 1], np.sum(full * shares, axis=2), atol=1e-12)
    assert_allclose(theirs[..., 0], np.sum(drawn * shares, axis=2), atol=1e-12)

    def variance(contrast):
        both, of_subjects, of_images = (
            np.var(x @ contrast, ddof=1) for x in theirs.transpose(2, 0, 1)
        )
        return dual_variance(both, of_subjects, of_images, N_SUBJECTS, N_IMAGES)

    assert_allclose(result.model_var, [variance([1, 0]), variance([0, 1])], atol=1e-15)
    assert_allclose(result.diff_var, [variance([1, -1])], atol=1e-15)
    assert result.dof == min(N_SUBJECTS, N_IMAGES) - 1


def test_variances_over_subjects_are_the_expectation_over_their_draws():
    rng = np.random.default_rng(0)
    full, drawn = rng.standard_normal(N_SUBJECTS), rng.standard_normal((50, N_SUBJECTS))
    replicates = Replicates(full, np.zeros((N_IMAGES, N_SUBJECTS)), drawn, np.zeros(N_IMAGES, int))
    subjects = rng.multinomial(N_SUBJECTS, np.full(N_SUBJECTS, 1 / N_SUBJECTS), 20_000) / N_SUBJECTS
    both, of_subjects = np.var(drawn @ subjects.T) * 50 / 49, np.var(subjects @ full)
    of_images = drawn.mean(axis=1).var(ddof=1)
    expected = dual_variance(both, of_subjects, of_images, N_SUBJECTS, N_IMAGES)
    variance, dof = schuett2023_uncertainty(replicates, "both")
    assert variance == pytest.approx(expected, rel=0.05)
    assert dof == N_SUBJECTS - 1


def test_the_jackknife_is_that_of_crossed_subjects_and_images():
    dissim, predicted = simulate()
    predicted = predicted[:, 0]

    def scores(rows):
        return rdm_spearman_score(dissim[rows], predicted[rows], subject_average=False)

    full = scores(np.arange(len(PAIRS)))
    without = np.array([scores(~(image == PAIRS).any(axis=1)) for image in range(N_IMAGES)])

    def jackknife(values):
        return (N_IMAGES - 1) / N_IMAGES * np.sum((values - values.mean()) ** 2)

    of_subjects = full.var(ddof=1) / N_SUBJECTS
    own = sum(jackknife(without[:, s] - without.mean(axis=1)) for s in range(N_SUBJECTS))
    rest = jackknife(without.mean(axis=1)) - own / (N_SUBJECTS * (N_SUBJECTS - 1))
    rest = max(rest, 0)
    result = rdm_bootstrap(PAIRS, dissim, predicted, n_resamples=5)
    assert result.standard_error == pytest.approx(np.sqrt(of_subjects + rest))
    spread = of_subjects**2 / (N_SUBJECTS - 1) + rest**2 / (N_IMAGES - 1)
    assert result.dof == pytest.approx((of_subjects + rest) ** 2 / spread)


def test_the_noise_of_single_pairs_counts_once_over_images():
    rng = np.random.default_rng(0)
    n_images = 40
    pairs = np.column_stack(np.triu_indices(n_images, 1))
    ratios = {"jackknife": [], "t-test": []}
    for _ in range(30):
        noise, other = rng.standard_normal((2, len(pairs)))
        for method, values in ratios.items():
            result = rdm_bootstrap(
                pairs,
                noise,
                other,
                over="images",
                method=method,
                scoring="pearson",
                n_resamples=400,
            )
            values.append(result.standard_error**2 * len(pairs))  # 1: of independent pairs
    assert 0.75 < np.mean(ratios["jackknife"]) < 1.3
    assert 1.8 < np.mean(ratios["t-test"]) < 2.4


def test_images_of_two_sets_are_left_out_within_their_set():
    left_out = np.array([1.0, 3, 2, 10, 14, 12, 12])[:, np.newaxis]
    image_set = np.array([0, 0, 0, 1, 1, 1, 1])
    replicates = Replicates(np.ones(1), left_out, np.zeros((3, 1)), image_set)
    variance, dof = jackknife_uncertainty(replicates, "images")
    of_sets = 2 / 3 * 2 + 3 / 4 * 8
    assert variance == pytest.approx(2 * of_sets)  # nothing drawn varies
    assert dof == 5


def test_what_a_sample_cannot_score_of_one_model_is_left_out_of_both():
    drawn = np.array([[[[np.nan], [0.2]], [[0.9], [0.3]]]])  # draws, models, folds, subjects
    scores = Scores(np.zeros((2, 2, 1)), np.zeros((3, 2, 2, 1)), drawn, np.zeros(3, int))
    assert_allclose(scores.contrast(0, 1).drawn, [[-0.1]])
    assert_allclose(scores.contrast(1).drawn, [[0.6]])
