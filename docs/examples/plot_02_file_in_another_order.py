"""
A file whose images are in another order
========================================

rsatoolbox, MATLAB and Meadows files name their images. Ask for the order of *your* image files, and
the rows come in that order. A matrix in the wrong order raises no error anywhere: it only scores
near zero.
"""

# %%
# A file from rsatoolbox, with its 20 images shuffled.

import tempfile
from pathlib import Path

import numpy as np

from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.io import read_rdms, write_rdms

data = make_rdm_regression(n_images=20, n_subjects=4, image_size=64, random_state=0)
order = np.random.default_rng(0).permutation(20)
path = Path(tempfile.mkdtemp()) / "brain.h5"
write_rdms(
    path,
    data.rdms[:, order][:, :, order],
    image_names=[data.image_names[i] for i in order],
    subjects=data.subjects,
)

# %%
# Read it twice: as it is, and in the order of the images.

as_stored = read_rdms(path)
matched = read_rdms(path, image_names=data.image_names)
print("first in the file: ", as_stored.image_names[:3])
print("first as asked for:", matched.image_names[:3])

# %%
# The same network, scored on both
# --------------------------------

from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, RDMDisplay

layer = LayerActivations("efficientnet_lite0", "block4", image_size=64)
model = make_pipeline(layer, FixedRSARegressor())
for name, rdms in [("order of the file", as_stored.rdms), ("order of the images", matched.rdms)]:
    pairs, dissim = ImagePairs.from_rdms(data.images, rdms)
    print(f"{name}: r = {model.fit(pairs, dissim).score(pairs, dissim):.2f}")

# %%
# Only in the right order do images of one photograph stand together.

_ = RDMDisplay(
    [as_stored.rdms.mean(axis=0), matched.rdms.mean(axis=0)],
    names=["order of the file", "order of the images"],
    image_groups=[name.split("_")[0] for name in data.image_names],
).plot(scale="rank")
