"""
MEG: a score at every time point
================================

A model is fitted to the mean over time, and scored at each time point. So you see when an early and
when a late layer is like the brain.
"""

# %%
# A matrix for each subject and time point, ``(n_subjects, n_times, n, n)``: the simulated response
# is strongest at 140 ms.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score

data = make_rdm_regression(n_images=30, n_subjects=6, image_size=96, random_state=0)
times = np.arange(0, 400, 20)  # ms
strength = np.exp(-(((times - 140) / 80) ** 2))
rng = np.random.default_rng(0)
noise = rng.normal(0, 0.15, (6, len(times), 30, 30))
noise = (noise + noise.swapaxes(2, 3)) / 2
rdms = data.rdms[:, None] * strength[:, None, None] + noise + 1
pairs, dissim = ImagePairs.from_rdms(data.images, rdms * (1 - np.eye(30)))
print(dissim.shape)

# %%
# Two layers over time
# --------------------

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.fill_between(
    times, *noise_ceiling(dissim, time_average=False), color="0.85", label="noise ceiling"
)
for layer, color, dash in [("block4", "#0072B2", "-"), ("block14", "#D55E00", "--")]:
    features = LayerActivations("efficientnet_lite0", layer, image_size=96)
    predicted = make_pipeline(features, FixedRSARegressor()).fit(pairs, dissim).predict(pairs)
    score = rdm_spearman_score(dissim, predicted, time_average=False)
    ax.plot(times, score, color=color, ls=dash, lw=2.5, label=layer)
ax.axhline(0, color="k", lw=0.8)
ax.set(xlabel="time (ms)", ylabel="Spearman's r", title="An early and a late layer, simulated MEG")
_ = ax.legend()
