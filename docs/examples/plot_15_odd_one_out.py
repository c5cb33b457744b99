"""
Choices of the odd one out
==========================

People saw three images at a time and chose the one that fits least. Fixed features, features that
are aligned with the choices, and a tuned network predict the choices among new images.
"""

# %%
# 3,000 simulated trials: of three images, the closest two by the true dissimilarities are left
# together, with some noise. The odd one out stands last, as in the files of THINGS.

import numpy as np
from sklearn.model_selection import cross_val_score

from sklearn_rdm import (
    ImageTriplets,
    LayerActivations,
    OddOneOutAlignment,
    RDMScoresDisplay,
    SiameseOddOneOutClassifier,
)
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import choice_accuracy_ceiling
from sklearn_rdm.model_selection import ImageKFold
from sklearn_rdm.preprocessing import choices_to_rdm

data = make_rdm_regression(n_images=30, image_size=64, random_state=0)
rng = np.random.default_rng(0)
shown = [rng.permutation(30)[:3] for _ in range(600)] * 5
trials = []
for i, j, k in shown:
    couples = [(i, j, k), (i, k, j), (j, k, i)]
    distances = [data.true_rdm[a, b] for a, b, _ in couples] + rng.normal(0, 0.1, 3)
    trials.append(couples[np.argmin(distances)])

# %%
# Fit and score
# -------------
# A sample is a triplet. Folds hold out images: a test triplet has three that were not trained on.

triplets, choices = ImageTriplets.from_odd_one_out(data.images, trials)
print(triplets)

where = {"image_size": 64, "random_state": 0}
features = LayerActivations("efficientnet_lite0", "block4", **where).fit_transform(data.images)
of_features = ImageTriplets(features, triplets.index)
models = {
    "fixed": (OddOneOutAlignment(alpha=1e3), of_features),
    "aligned": (OddOneOutAlignment(alpha=0.01, max_iter=10_000), of_features),
    "tuned": (
        SiameseOddOneOutClassifier("efficientnet_lite0", "block4", max_epochs=10, **where),
        triplets,
    ),
}
cv = ImageKFold(2, shuffle=True, random_state=0)
scores = [cross_val_score(model, X, choices, cv=cv) for model, X in models.values()]

# %%
# How well people predict each other
# ----------------------------------
# Trials that repeat give the ceiling. Chance is a third. Where triplets hardly share images, tune
# with ``batching="triplets"``.

ceiling = choice_accuracy_ceiling(triplets, choices)
display = RDMScoresDisplay(scores, names=list(models), noise_ceiling=ceiling, null=1 / 3)
_ = display.plot(score_name="share of choices predicted", point_name="one fold")

# %%
# Many choices as a matrix
# ------------------------
# The matrix can be used as any other, with the numbers of judgements as weights of its pairs.

rdm, counts = choices_to_rdm(triplets, choices, return_counts=True)
print(rdm.shape, counts.sum())
