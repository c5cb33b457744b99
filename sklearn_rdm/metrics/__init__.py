"""Scores of predicted dissimilarities, their noise ceiling, chance level and uncertainty.

All scores are ``f(y_true, y_pred, *, ...)`` over pairs of images, signed, and the mean over
subjects; each has a ready scorer for ``scoring=`` in scikit-learn's tools. Time courses, ``y_true``
of shape ``(n_pairs, n_subjects, n_times)``, are scored at each time point; a subject's score is the
mean over its time points. Gaps follow one rule: a pair for which a subject has no value (NaN in
``y_true``) is left out for this subject (and time point) only; a prediction may not be NaN.
"""

from sklearn_rdm.metrics._bootstrap import rdm_bootstrap
from sklearn_rdm.metrics._by_fold import rdm_ceiling_report
from sklearn_rdm.metrics._choices import (
    choice_accuracy_ceiling,
    choice_accuracy_score,
    choice_accuracy_scorer,
)
from sklearn_rdm.metrics._comparison import compare_fold_scores, compare_rdm_scores
from sklearn_rdm.metrics._conventions import NoiseCeilingConvention
from sklearn_rdm.metrics._noise_ceiling import noise_ceiling
from sklearn_rdm.metrics._normalized import noise_normalized_r2_score
from sklearn_rdm.metrics._partition import rdm_partial_score, rdm_variance_partition
from sklearn_rdm.metrics._permutation import rdm_permutation_test
from sklearn_rdm.metrics._sampling import rdm_sampling_error
from sklearn_rdm.metrics._scorers import (
    get_rdm_scorer,
    make_rdm_scorer,
    noise_normalized_r2_scorer,
    rdm_cosine_scorer,
    rdm_kendall_tau_a_scorer,
    rdm_pearson_scorer,
    rdm_rho_a_scorer,
    rdm_spearman_scorer,
    rdm_whitened_cosine_scorer,
    rdm_whitened_pearson_scorer,
)
from sklearn_rdm.metrics._scores import (
    rdm_cosine_score,
    rdm_kendall_tau_a_score,
    rdm_pearson_score,
    rdm_rho_a_score,
    rdm_spearman_score,
    rdm_whitened_cosine_score,
    rdm_whitened_pearson_score,
)

__all__ = [
    "NoiseCeilingConvention",
    "choice_accuracy_ceiling",
    "choice_accuracy_score",
    "choice_accuracy_scorer",
    "compare_fold_scores",
    "compare_rdm_scores",
    "get_rdm_scorer",
    "make_rdm_scorer",
    "noise_ceiling",
    "noise_normalized_r2_score",
    "noise_normalized_r2_scorer",
    "rdm_bootstrap",
    "rdm_ceiling_report",
    "rdm_cosine_score",
    "rdm_cosine_scorer",
    "rdm_kendall_tau_a_score",
    "rdm_kendall_tau_a_scorer",
    "rdm_partial_score",
    "rdm_pearson_score",
    "rdm_pearson_scorer",
    "rdm_permutation_test",
    "rdm_rho_a_score",
    "rdm_rho_a_scorer",
    "rdm_sampling_error",
    "rdm_spearman_score",
    "rdm_spearman_scorer",
    "rdm_variance_partition",
    "rdm_whitened_cosine_score",
    "rdm_whitened_cosine_scorer",
    "rdm_whitened_pearson_score",
    "rdm_whitened_pearson_scorer",
]
