"""
Learning curves and early stopping
==================================

Score validation images after every epoch, stop when the score no longer rises, and go back to the
best epoch. Then see why: training goes on improving what it was trained on.
"""

# %%
# A split of the images inside ``fit``
# ------------------------------------
# ``train_split`` is an image-wise splitter. ``EarlyStopping`` is skorch's.

import matplotlib.pyplot as plt
from skorch.callbacks import EarlyStopping, EpochScoring

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageShuffleSplit

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
network = SiameseRDMRegressor(
    "efficientnet_lite0",
    "block6",
    image_size=96,
    lr=0.002,
    max_epochs=30,
    train_split=ImageShuffleSplit(1, test_size=0.3, random_state=0),
    callbacks=[
        EpochScoring(rdm_spearman_scorer, lower_is_better=False, name="valid_r"),
        EarlyStopping("valid_r", lower_is_better=False, patience=6, load_best=True),
    ],
    random_state=0,
).fit(pairs, dissim)

# %%
# The curves
# ----------
# ``history_`` has a row for each epoch.

history = network.history_
epochs, validation = history[:, "epoch"], history[:, "valid_r"]
best = epochs[validation.index(max(validation))]
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(epochs, history[:, "train_loss"], color="#E69F00", label="loss, training images")
ax.plot(epochs, history[:, "valid_loss"], color="#0072B2", label="loss, validation images")
ax.axvline(best, color="k", ls="--", lw=1, label=f"chosen: epoch {best}")
ax.set(
    xlabel="epoch", ylabel="1 - r with the mean subject", title="Learning curves, early stopping"
)
_ = ax.legend()

# %%
# The validation images chose the epoch, so their score is too good to be reported. Inside a
# cross-validation, the split is made within the training images of each fold.
