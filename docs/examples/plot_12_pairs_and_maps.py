"""
Images, pairs and a matrix
==========================

Everything in this package starts from images and a dissimilarity for pairs of them. Handwritten
digits stand in for photographs here, and the Euclidean distance of their pixels for a measurement
in the brain, so that the whole path can be seen in a second.
"""

# %%
# From matrices to pairs
# ----------------------
# Thirty digits, three "subjects" who share a signal and add their own noise.

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits

from sklearn_rdm import ImagePairs, RDMDisplay, RDMEmbeddingDisplay

digits = load_digits(n_class=4)
order = np.argsort(digits.target[:30], kind="stable")
images = np.repeat(digits.images[order, :, :, None] / 16, 3, axis=3)
labels = np.array([f"digit {label}" for label in digits.target[order]])

rng = np.random.default_rng(0)
signal = pdist(images.reshape(30, -1))
rdms = np.stack([signal + rng.normal(0, 1, signal.shape) for _ in range(3)])
rdms = np.maximum(rdms, 0)

pairs, dissim = ImagePairs.from_rdms(images, rdms, image_groups=labels)
print(pairs, dissim.shape, sep="\n")

# %%
# Pairs slice as an array does, by position or by mask, and all slices share one array of images.
# Here are the pairs among the first ten images.

first_ten = pairs[(pairs.index < 10).all(axis=1)]
print(first_ten, first_ten.images is pairs.images, sep="\n")

# %%
# Looking at the matrix
# ---------------------
# The observed matrix beside a "prediction", here the noise-free signal. Their units differ in real
# data, which is why ranks are shown. The diagonal is grey: nothing was measured there.

_ = RDMDisplay.from_predictions(pairs, dissim, signal)

# %%
# The same dissimilarities as a map: images are close if they are alike.

_ = RDMEmbeddingDisplay.from_rdm(
    pairs.to_rdms(dissim).mean(axis=0), images=1 - images, image_groups=labels
)
