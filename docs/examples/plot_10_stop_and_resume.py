"""
Stop a training and go on later
===============================

A long training can be cut into parts. The weights in the end are those of one long training, bit by
bit.
"""

# %%
# Train, save, stop
# -----------------
# Write to another name first: a file that is being replaced is lost if the process is killed.

import os
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=24, n_subjects=4, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
folder = Path(tempfile.mkdtemp())


def save(network):
    joblib.dump(network, folder / "network.part")
    os.replace(folder / "network.part", folder / "network.joblib")


parts = SiameseRDMRegressor(
    "efficientnet_lite0", "block4", image_size=96, max_epochs=4, random_state=0
)
save(parts.fit(pairs, dissim))

# %%
# Later, or elsewhere: go on
# --------------------------
# ``partial_fit`` trains ``max_epochs`` more epochs.

resumed = joblib.load(folder / "network.joblib")
save(resumed.partial_fit(pairs, dissim))

# %%
# The same as without a stop
# --------------------------

at_once = clone(parts).set_params(max_epochs=8).fit(pairs, dissim)
print("equal:", np.array_equal(at_once.predict(pairs), resumed.predict(pairs)))

losses = resumed.history_[:, "train_loss"]
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
epochs = at_once.history_[:, "epoch"]
ax.plot(epochs, at_once.history_[:, "train_loss"], color="0.75", lw=8, label="without a stop")
ax.plot(epochs[:4], losses[:4], "o-", color="#0072B2", label="first part")
ax.plot(epochs[4:], losses[4:], "s-", color="#D55E00", label="resumed")
ax.set(xlabel="epoch", ylabel="training loss", title="Stopped after four epochs, resumed")
_ = ax.legend()
