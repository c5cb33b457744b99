"""
The main job: from images and brains to a predicted matrix
==========================================================

Fine-tune a pretrained network on the dissimilarities of some images, choose what to freeze and how
fast to learn by cross-validation over *images*, and predict the dissimilarities of images that were
never seen. Compare the score with that of the same network without training, and with the noise
ceiling.

With the environment variable ``SKLEARN_RDM_DATA`` pointing to the Algonauts 2019 data, these are 92
photographs and the fMRI responses of human inferior temporal cortex (15 subjects). Without it they
are crops of the photographs that scikit-learn ships, seen by simulated subjects.
"""

# %%
# Images, and what was measured
# -----------------------------
# Network, read-out layer and background colour are fixed beforehand here: late layers for a late
# area. What to freeze below the read-out and the learning rate are searched.

import os
import sys
import tempfile

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    RDMDisplay,
    RDMScoresDisplay,
    SiameseRDMRegressor,
)
from sklearn_rdm.datasets import fetch_algonauts2019, make_rdm_regression
from sklearn_rdm.metrics import (
    noise_ceiling,
    rdm_permutation_test,
    rdm_spearman_score,
    rdm_spearman_scorer,
)
from sklearn_rdm.model_selection import ImageKFold, image_train_test_split

CATEGORIES = {  # what the numbers in categories.csv stand for
    1: "objects, scenes",
    2: "plants, food",
    3: "animal heads",
    4: "animals",
    5: "monkey faces",
    6: "human bodies",
    7: "human faces",
    8: "body parts",
}

if "SKLEARN_RDM_DATA" in os.environ:
    name = "Algonauts 2019, 92 images, fMRI of inferior temporal cortex"
    data = fetch_algonauts2019(image_set=92, target="fmri_it")
    layer, freeze_up_to, background = "block14", ["block10", "block12"], data.background
    image_size = None  # as the weights were trained: 224
    if data.image_groups is not None:
        data.image_groups = [CATEGORIES[number] for number in data.image_groups]
else:
    name = "simulated subjects"
    data = make_rdm_regression(n_images=60, random_state=0)
    layer, freeze_up_to, background = "block7", ["block3", "block5"], None
    data.image_groups = [region.split()[0] for region in data.image_groups]  # the photograph
    image_size = 96

pairs, dissim = ImagePairs.from_rdms(
    data.images, data.rdms, image_groups=data.image_groups, background=background
)
print(f"Data: {name}\n{pairs}, {dissim.shape[1]} subjects")

# %%
# Hold out a quarter of the images
# --------------------------------
# Pairs of one training and one held-out image are left out.

train_pairs, test_pairs, train_dissim, test_dissim = image_train_test_split(
    pairs, dissim, test_size=0.25, random_state=0
)
print(f"train: {train_pairs}\ntest:  {test_pairs}")

# %%
# Search
# ------
# Five folds over the training images. ``memory`` keeps the activations of the frozen layers: every
# image passes them once for all folds and learning rates.

network = SiameseRDMRegressor(
    "efficientnet_lite0",
    layer,
    image_size=image_size,
    max_epochs=12,
    random_state=0,
)
with tempfile.TemporaryDirectory() as memory:
    search = GridSearchCV(
        network.set_params(memory=memory),
        {"freeze_up_to": freeze_up_to, "lr": [3e-4, 1e-3]},
        cv=ImageKFold(5, shuffle=True, random_state=0),
        scoring=rdm_spearman_scorer,
        verbose=3,
    )
    search.fit(train_pairs, train_dissim)
    finetuned = search.predict(test_pairs)
print(f"chosen: {search.best_params_}, r = {search.best_score_:.3f} on inner folds")

# %%
# Held-out scores
# ---------------
# Spearman's correlation with every subject; the baseline is the same layer, not trained. The dashed
# line is the 95th percentile of the scores by chance, those after shuffling images.

activations = LayerActivations("efficientnet_lite0", layer, image_size=image_size)
fixed = make_pipeline(activations, FixedRSARegressor())
baseline = fixed.fit(train_pairs, train_dissim).predict(test_pairs)
scores = [
    rdm_spearman_score(test_dissim, predicted, subject_average=False)
    for predicted in (baseline, finetuned)
]
ceiling = noise_ceiling(test_dissim)
null = rdm_permutation_test(test_pairs, test_dissim, finetuned, random_state=0)

print(f"fixed layer  r = {scores[0].mean():.3f}")
print(f"fine-tuned   r = {scores[1].mean():.3f}  (p = {null.pvalue:.3f}, images shuffled)")
print(f"noise ceiling    {ceiling[0]:.3f} to {ceiling[1]:.3f}")

# %%
# The grey band is the noise ceiling: what the best possible model of these subjects would reach.

figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(10, 3.6), width_ratios=[0.8, 1, 1], layout="constrained"
)
RDMScoresDisplay(
    scores,
    names=["fixed layer", "fine-tuned"],
    noise_ceiling=ceiling,
    null=float(sorted(null.null_distribution)[int(0.95 * len(null.null_distribution))]),
).plot(left, null_name="95th percentile of chance")
RDMDisplay.from_predictions(test_pairs, test_dissim, finetuned, ax=[middle, right])
_ = figure.suptitle(f"Held-out images: {name}")

# %%
# The fitted search predicts the matrix of any images, here of the first five of the data.

new = ImagePairs(data.images[:5], background=background)
print(search.transform(new).round(2))

# %%
# Run as a script, the figure goes to a file.

if "sphinx_gallery" not in sys.modules:
    figure.savefig("main_job.png", dpi=150)
    print("figure: main_job.png")
