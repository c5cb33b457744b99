import os
from pathlib import Path

import joblib

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=40, n_subjects=4, image_size=112, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
kept = Path("network.joblib")
if kept.exists():
    network = joblib.load(kept)
else:
    network = SiameseRDMRegressor(
        "efficientnet_lite0",
        "block6",
        image_size=112,
        max_epochs=1,
        random_state=0,
        verbose=1,
    ).initialize()
while len(getattr(network, "history_", [])) < 12:
    network.partial_fit(pairs, dissim)
    joblib.dump(network, "network.part")
    os.replace("network.part", kept)  # a file that is being written is lost in a kill
