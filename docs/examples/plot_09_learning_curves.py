"""
Learning curves and early stopping
==================================

Compute the loss of validation images after every epoch, stop when it no longer falls, and go back
to the best epoch. Then see why: training goes on improving what it was trained on.
"""

# %%
# A split of the images inside ``fit``
# ------------------------------------
# ``train_split`` is an image-wise splitter. ``EarlyStopping`` is skorch's; ``EpochProgressBar``
# shows the epochs with both losses.

from skorch.callbacks import EarlyStopping

from sklearn_rdm import ImagePairs, SiameseRDMRegressor, TrainingCurveDisplay
from sklearn_rdm.callbacks import EpochProgressBar
from sklearn_rdm.datasets import make_rdm_regression
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
    callbacks=[EarlyStopping(patience=6, load_best=True), EpochProgressBar()],
    random_state=0,
).fit(pairs, dissim)

# %%
# The curves
# ----------
# The dotted line marks the epoch whose weights were kept.

display = TrainingCurveDisplay.from_estimator(network, score_name="1 - r with the mean subject")
_ = display.ax_.set_title("Learning curves, early stopping")

# %%
# The validation images chose the epoch, so their score is too good to be reported. Inside a
# cross-validation, the split is made within the training images of each fold.
