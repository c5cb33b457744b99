"""
Choose what to train by cross-validation over images
====================================================

A grid search over what stays frozen and how fast the network learns. Folds split the *images*, so
that every score is one of new images. A bar shows the fits done, the time left and the best score
so far.
"""

# %%
# Hold out a quarter of the images for the final score.

import tempfile

from sklearn.model_selection import GridSearchCV

from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, image_train_test_split, search_progress

data = make_rdm_regression(n_images=40, n_subjects=8, image_size=96, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
train, test, train_dissim, test_dissim = image_train_test_split(
    pairs, dissim, test_size=0.25, random_state=0
)

# %%
# Search
# ------
# ``memory`` keeps what the frozen layers compute: each image passes them once for all folds and
# learning rates. What ``search_progress`` prints line by line here is one bar in a terminal or a
# notebook.

network = SiameseRDMRegressor(
    "efficientnet_lite0",
    "block6",
    image_size=96,
    max_epochs=5,
    memory=tempfile.mkdtemp(),
    random_state=0,
)
search = GridSearchCV(
    network,
    {"freeze_up_to": ["block2", "block4"], "lr": [0.0003, 0.001, 0.003]},
    cv=ImageKFold(3, shuffle=True, random_state=0),
    scoring=rdm_spearman_scorer,
)
with search_progress(search):
    search.fit(train, train_dissim)
print(search.best_params_)

# %%
# What was tried
# --------------
# Mean and standard deviation over the folds. The last bar was computed on images that took no part
# in the choice. Report that one.

import matplotlib.pyplot as plt

results = search.cv_results_
names = [f"{p['freeze_up_to']}, {p['lr']}" for p in results["params"]]
held_out = search.score(test, test_dissim)
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.barh(names, results["mean_test_score"], xerr=results["std_test_score"], color="#8FB8D8")
ax.barh("chosen, on new images", held_out, color="#0072B2")
ax.invert_yaxis()
_ = ax.set(
    xlabel="Spearman's r", ylabel="frozen up to, learning rate", title="Six candidates, three folds"
)
