"""
Save a tuned network, reload it, take its weights elsewhere
===========================================================

Four ways to keep a network: the whole estimator, its weights alone, and two modules for use without
this library.
"""

# %%
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=24, n_subjects=4, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
network = SiameseRDMRegressor(
    "efficientnet_lite0", "block4", image_size=96, max_epochs=4, random_state=0
)
network.fit(pairs, dissim)
rdm = network.transform(data.images)
folder = Path(tempfile.mkdtemp())

# %%
# The whole estimator
# -------------------
# All that it learned, with its settings. Such a file can run code when it is opened: open only your
# own.

joblib.dump(network, folder / "network.joblib")
whole = joblib.load(folder / "network.joblib").transform(data.images)

# %%
# The weights alone
# -----------------
# For an estimator with the same settings, on another machine or at another image size.

network.save_params(f_params=folder / "weights.pt")
other = clone(network).initialize()
other.load_params(f_params=folder / "weights.pt")
weights = other.transform(data.images)

# %%
# A plain module
# --------------
# The complete EfficientNet with tuned early blocks: what stands behind the read-out is as
# pretrained. Its state dict loads into any network of its kind, and holds no code.

module = network.export_network()
torch.save(module.state_dict(), folder / "plain.pt")
plain = SiameseRDMRegressor(
    "efficientnet_lite0", "block4", weights=folder / "plain.pt", image_size=96
)
from_module = plain.initialize().transform(data.images)

# %%
# From photographs to activations
# -------------------------------
# :meth:`~sklearn_rdm.SiameseRDMRegressor.export_embedding` includes the resizing, the scaling and
# what is subtracted. The file needs nothing but PyTorch, and takes any number of photographs of one
# size.

embedding = network.export_embedding()
photographs = torch.from_numpy(np.moveaxis(data.images, -1, 1).copy())
any_number = ({0: torch.export.Dim.DYNAMIC},)
program = torch.export.export(embedding, (photographs[:2],), dynamic_shapes=any_number)
torch.export.save(program, folder / "embedding.pt2")
activations = torch.export.load(folder / "embedding.pt2").module()(photographs)
exported = 1 - np.corrcoef(activations)

# %%
# For ONNX::
#
#     torch.onnx.export(embedding, (photographs[:2],), "embedding.onnx", dynamo=True,
#                       dynamic_shapes=any_number)

# %%
# All of them predict the same
# ----------------------------

predictions = {
    "reloaded": whole,
    "weights alone": weights,
    "plain module": from_module,
    "torch.export": exported,
}
figure, axes = plt.subplots(2, 2, figsize=(6, 5), layout="constrained", sharex=True, sharey=True)
for ax, (name, predicted) in zip(axes.flat, predictions.items(), strict=True):
    ax.plot(rdm.ravel(), predicted.ravel(), ".", ms=3, color="#0072B2")
    ax.set_title(f"{name}: differs by {abs(rdm - predicted).max():.2g}", fontsize="medium")
figure.supxlabel("dissimilarity, network in memory")
_ = figure.supylabel("dissimilarity, from a file")
