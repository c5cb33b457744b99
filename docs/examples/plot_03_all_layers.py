"""
Which layer is most like the brain?
===================================

Score the layers of a pretrained network against two groups of subjects, without training, beside
the noise ceiling and chance. Each image passes the network once for all layers and targets.
"""

# %%
# Images and (simulated) subjects
# -------------------------------
# Two targets: subjects agree well on the first, and less on the second.

from sklearn_rdm import ImagePairs, LayerScoresDisplay, score_layers
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=112, random_state=0)
noisy = make_rdm_regression(n_images=40, n_subjects=8, image_size=112, noise=3, random_state=0)
pairs, alike = ImagePairs.from_rdms(data.images, data.rdms)
_, different = ImagePairs.from_rdms(data.images, noisy.rdms)

# %%
# Score all layers
# ----------------

table = score_layers(
    "efficientnet_lite0",
    [f"block{i}" for i in range(0, 16, 2)],
    pairs,
    {"subjects alike": alike, "subjects that differ": different},
    image_size=112,
    spatial_pooling=4,
    random_state=0,
)
_ = LayerScoresDisplay(table).plot()

# %%
# The table is a DataFrame. The best of many layers looks better than it is: choose it on some
# images and report its score on others, as in :ref:`sphx_glr_auto_examples_plot_04_search.py`.

print(table.sort_values("score").groupby("target").tail(1).round(2).to_string(index=False))
