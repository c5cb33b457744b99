"""
Is the tuned network better than the fixed one?
===============================================

Predict held-out images with both, test whether the difference holds for new images, and draw both
beside the noise ceiling.
"""

# %%
# Two models, the same folds
# --------------------------
# The baseline is the same layer of the same network, not trained.

from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    RDMScoresDisplay,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import compare_rdm_scores, noise_ceiling
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
# ``over="images"`` asks whether it holds for new images. Each fold is scored separately, as each
# has its own network.

folds = held_out["tuned"].test_indices
predictions = {name: predicted.dissim for name, predicted in held_out.items()}
compared = compare_rdm_scores(
    pairs, dissim, predictions, over="images", folds=folds, n_resamples=500, random_state=0
)
print(compared)

# %%
# The figure
# ----------
# The triangles below the bars say which model is better, or worse, than which.

ceiling = noise_ceiling(dissim, folds=folds)
display = RDMScoresDisplay.from_comparison(compared, noise_ceiling=ceiling).plot()
_ = display.figure_.suptitle("Is the tuned network better?")
