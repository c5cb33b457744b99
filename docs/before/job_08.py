import numpy as np

from sklearn_rdm import RDMScoresDisplay
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    noise_ceiling,
    rdm_bootstrap,
    rdm_spearman_score,
)

folds = held_out["tuned"].test_indices
asked = {"over": "images", "folds": folds, "n_resamples": 500, "random_state": 0}
compared = compare_rdm_scores(
    pairs, dissim, held_out["tuned"].dissim, held_out["fixed"].dissim, **asked
)
low, high = compared.confidence_interval
print(f"tuned - fixed = {compared.difference:.3f}, 95% interval {low:.3f} to {high:.3f}")
print(f"p = {compared.pvalue:.3f}")
predictions = [held_out[name].dissim for name in models]
scores = [
    np.mean(
        [rdm_spearman_score(dissim[f], predicted[f], subject_average=False) for f in folds], axis=0
    )
    for predicted in predictions
]
intervals = [
    rdm_bootstrap(pairs, dissim, predicted, **asked).confidence_interval
    for predicted in predictions
]
ceiling = noise_ceiling(dissim, convention="rsatoolbox", metric="spearman", folds=folds)
display = RDMScoresDisplay(
    scores, names=list(models), errors=intervals, noise_ceiling=ceiling
).plot()
_ = display.figure_.suptitle("Is the tuned network better?")
