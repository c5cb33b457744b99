"""
Figures of scores
=================

Displays draw numbers that were computed before. The numbers here are made up, to show what each
part of a figure means.
"""

# %%
# Models beside the noise ceiling
# -------------------------------
# A bar is the mean over subjects, a dot one subject: the same subject has the same place on every
# bar. The band spans the lower and the upper bound of the noise ceiling, the dashed line is chance.

import numpy as np

from sklearn_rdm import LayerEpochDisplay, RDMScoresDisplay

rng = np.random.default_rng(0)
means = np.array([0.16, 0.22, 0.31])
scores = means[:, None] + rng.normal(0, 0.05, 15) + rng.normal(0, 0.02, (3, 15))
half_width = 1.96 * scores.std(axis=1, ddof=1) / np.sqrt(15)
centre = scores.mean(axis=1)

_ = RDMScoresDisplay(
    scores,
    names=["fixed", "reweighted", "fine-tuned"],
    errors=np.column_stack([centre - half_width, centre + half_width]),
    noise_ceiling=(0.38, 0.46),
    null=0.03,
).plot()

# %%
# Which layer, after how many epochs
# ----------------------------------
# The score on validation folds of every candidate layer after every epoch, and the cell that was
# chosen on them.

epochs = np.arange(1, 21)
depth = np.array([0.10, 0.14, 0.19, 0.22, 0.20])[:, None]
surface = depth + 0.12 * (1 - np.exp(-epochs / 5)) - 0.004 * np.maximum(epochs - 12, 0)
surface += rng.normal(0, 0.006, surface.shape)
layers = ["conv1", "conv2", "conv3", "conv4", "conv5"]
row, column = np.unravel_index(surface.argmax(), surface.shape)

_ = LayerEpochDisplay(
    surface, layers=layers, epochs=epochs, chosen=(layers[row], epochs[column])
).plot(score_name="Spearman's r, validation folds")
