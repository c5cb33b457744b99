"""
Is the tuned network better than the fixed one?
===============================================

Predict every fold of held-out images with both, test the difference by a bootstrap over images, and
draw both beside the noise ceiling.
"""

# %%
# Two models, the same folds
# --------------------------
# The baseline is the same layer of the same network, not trained.

import numpy as np
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    RDMScoresDisplay,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import (
    compare_rdm_scores,
    noise_ceiling,
    rdm_bootstrap,
    rdm_spearman_score,
)
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
where = {"backbone": "efficientnet_lite0", "image_size": 96}
models = {
    "fixed": make_pipeline(LayerActivations(layers="block6", **where), FixedRSARegressor()),
    "tuned": SiameseRDMRegressor(layer="block6", max_epochs=6, random_state=0, **where),
}
cv = ImageKFold(4, shuffle=True, random_state=0)
held_out = {name: cross_val_rdm(model, pairs, dissim, cv=cv) for name, model in models.items()}

# %%
# The difference
# --------------
# ``over="images"``: does it hold for new images? Each fold is scored by itself, as each has a
# network of its own.

folds = held_out["tuned"].test_indices
asked = {"over": "images", "folds": folds, "n_resamples": 500, "random_state": 0}
compared = compare_rdm_scores(
    pairs, dissim, held_out["tuned"].dissim, held_out["fixed"].dissim, **asked
)
low, high = compared.confidence_interval
print(f"tuned - fixed = {compared.difference:.3f}, 95% interval {low:.3f} to {high:.3f}")
print(f"p = {compared.pvalue:.3f}")

# %%
# The figure
# ----------

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
display = RDMScoresDisplay(
    scores, names=list(models), errors=intervals, noise_ceiling=noise_ceiling(dissim, folds=folds)
).plot()
_ = display.figure_.suptitle("Is the tuned network better?")
