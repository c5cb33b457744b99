import numpy as np
import pytest
from scipy.spatial.distance import pdist

from sklearn_rdm.metrics import (
    noise_ceiling,
    noise_normalized_r2_score,
    rdm_ceiling_report,
    rdm_spearman_score,
)

PAIRS = np.column_stack(np.triu_indices(12, 1))
FOLDS = [np.flatnonzero((fold == PAIRS % 2).all(axis=1)) for fold in (0, 1)]


def simulate():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((12, 4))
    noisy = features + rng.standard_normal((4, 12, 4))
    return np.array([pdist(each) for each in noisy]).T, pdist(features)


def test_each_fold_beside_its_own_ceiling():
    y, predicted = simulate()
    report = rdm_ceiling_report(PAIRS, y, predicted, folds=FOLDS)
    for row, fold in zip(report.records, FOLDS, strict=False):
        lower, upper = noise_ceiling(y[fold])
        assert row["score"] == pytest.approx(rdm_spearman_score(y[fold], predicted[fold]))
        assert (row["other_subjects"], row["upper"]) == pytest.approx((lower, upper))
        assert row["share"] == pytest.approx(row["score"] / lower)
        assert (row["n_images"], row["n_pairs"]) == (6, 15)
    assert (report.other_subjects, report.upper) == pytest.approx(noise_ceiling(y, folds=FOLDS))
    assert report.share == pytest.approx(report.score / report.other_subjects)
    assert report.records[-1]["fold"] == "mean"


@pytest.mark.parametrize("times", [1, 3])
def test_a_published_convention(times):
    y, predicted = simulate()
    y = np.stack([y**power for power in range(1, times + 1)], axis=2)
    report = rdm_ceiling_report(PAIRS, y, predicted, convention="algonauts2019")
    assert report.share == pytest.approx(noise_normalized_r2_score(y, predicted))
    lower, upper = noise_ceiling(y, convention="algonauts2019")
    assert (report.other_subjects, report.upper) == pytest.approx((lower, upper))


def test_one_subject_has_no_ceiling():
    y, predicted = simulate()
    with pytest.raises(ValueError, match="needs two or more subjects"):
        rdm_ceiling_report(PAIRS, y[:, 0], predicted)
