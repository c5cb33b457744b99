"""
Layer and epoch together
========================

Which layer should be read, and after how many epochs? One training per fold answers both:
``LayerEpochSearchCV`` scores every layer on held-out images after every epoch.
"""

# %%
from sklearn_rdm import ImagePairs, LayerEpochDisplay, LayerEpochSearchCV, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.model_selection import ImageKFold

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=112, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
network = SiameseRDMRegressor(
    "efficientnet_lite0", "block6", image_size=112, spatial_pooling=4, max_epochs=8, random_state=0
)
layers = ["block2", "block3", "block4", "block5", "block6"]
search = LayerEpochSearchCV(network, layers, cv=ImageKFold(3, shuffle=True, random_state=0))
search.fit(pairs, dissim)

# %%
# The mean over folds; the framed cell was chosen. It is the best of forty: for a score to report,
# cross-validate the whole search, ``cross_val_score(search, pairs, dissim, cv=ImageKFold(5))``.

_ = LayerEpochDisplay.from_estimator(search)

# %%
# The search is a fitted model with the chosen layer and number of epochs.

print(search.best_layer_, search.best_epoch_, search.transform(data.images).shape)
