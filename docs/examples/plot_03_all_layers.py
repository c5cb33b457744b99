"""
Which layer is most like the brain?
===================================

Score every block of a pretrained network against several subjects, without training, and draw the
scores beside the noise ceiling. One forward pass gives all layers.
"""

# %%
# Images and (simulated) subjects
# -------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_rdm import ImagePairs, LayerActivations
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=112, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)

# %%
# All layers in one pass
# ----------------------
# ``LayerActivations`` puts the features of all layers side by side; ``layer_slices_`` says where
# each is.

layers = [f"block{i}" for i in range(0, 16, 2)]
activations = LayerActivations("efficientnet_lite0", layers, image_size=112, spatial_pooling=4)
features = activations.fit_transform(data.images)
scores = []
for columns in activations.layer_slices_.values():
    predicted = 1 - np.corrcoef(features[:, columns])[tuple(pairs.index.T)]
    scores.append(rdm_spearman_score(dissim, predicted, subject_average=False))
scores = np.array(scores)
print(f"best: {layers[scores.mean(axis=1).argmax()]}, r = {scores.mean(axis=1).max():.2f}")

# %%
# Scores and ceiling
# ------------------
# A grey line is one subject. The best of many layers looks better than it is: choose it on some
# images and report its score on others, as in :ref:`sphx_glr_auto_examples_plot_04_search.py`.

lower, upper = noise_ceiling(dissim)
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.axhspan(lower, upper, color="0.85", label="noise ceiling")
ax.plot(layers, scores, color="0.6", lw=0.8)
ax.plot(layers, scores.mean(axis=1), "o-", color="#0072B2", lw=2.5, label="mean of 8 subjects")
ax.axhline(0, color="k", lw=0.8)
ax.set(ylabel="Spearman's r", title="Which layer is most like the brain?")
_ = ax.legend(loc="lower left")
