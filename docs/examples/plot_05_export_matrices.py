"""
Predicted matrices for MATLAB and rsatoolbox
============================================

Tune a network, predict the dissimilarities of images that it has not seen, and write the matrix to
files that MATLAB, rsatoolbox and a spreadsheet open.
"""

# %%
# Tune on 30 images, predict 15 others.

import tempfile
from pathlib import Path

from sklearn_rdm import ImagePairs, RDMDisplay, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.io import read_rdms, write_rdms

data = make_rdm_regression(n_images=45, n_subjects=6, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images[:30], data.rdms[:, :30, :30])
network = SiameseRDMRegressor(
    "efficientnet_lite0", "block4", image_size=96, max_epochs=5, random_state=0
).fit(pairs, dissim)

new_images, names = data.images[30:], data.image_names[30:]
rdm = network.transform(new_images)
print(rdm.shape)

# %%
# Write
# -----
# The ending of the name chooses the format. Names of images go along.

folder = Path(tempfile.mkdtemp())
for ending in ("mat", "h5", "csv"):
    write_rdms(folder / f"predicted.{ending}", rdm, image_names=names)
print(*sorted(path.name for path in folder.iterdir()))

# %%
# In MATLAB, ``load predicted.mat`` gives ``rdms`` and ``image_names``. In rsatoolbox:

import rsatoolbox

theirs = rsatoolbox.rdm.load_rdm(str(folder / "predicted.h5"))
print(theirs.n_cond, "images:", *theirs.pattern_descriptors["image"][:3], "...")

# %%
# Read back, it is the same matrix.

again = read_rdms(folder / "predicted.mat", image_names=names)
print("largest difference:", abs(again.rdms - rdm).max())
_ = RDMDisplay(
    [data.true_rdm[30:, 30:], again.rdms],
    names=["truth, 15 new images", "predicted"],
    image_groups=[name.split("_")[0] for name in names],
).plot(scale="rank")
