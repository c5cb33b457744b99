"""
A network of your own, and one of timm
======================================

``backbone`` takes anything that makes a network when it is called: a class, a function, or a
``functools.partial``. A layer is named by its module.
"""

# %%
# A class of your own
# -------------------
# Give the class, not an object: each fold must start from a network that no other fold has trained.

from functools import partial

import timm
import torch
from torch import nn

from sklearn_rdm import ImagePairs, RDMScoresDisplay, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression
from sklearn_rdm.metrics import noise_ceiling, rdm_spearman_score
from sklearn_rdm.model_selection import image_train_test_split


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.late = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.late(self.early(images)).mean((2, 3))


# %%
# Images and simulated subjects
# -----------------------------

data = make_rdm_regression(n_images=36, n_subjects=8, image_size=64, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
train, test, train_dissim, test_dissim = image_train_test_split(
    pairs, dissim, test_size=0.3, random_state=0
)

# %%
# Fit them
# --------
# Both begin with random weights here. ``partial(timm.create_model, "resnet18", pretrained=True)``
# downloads pretrained ones.

factories = {
    "own class": (SmallNet, "late"),
    "timm's ResNet-18": (partial(timm.create_model, "resnet18"), "layer2"),
}
scores, names = [], []
for name, (backbone, layer) in factories.items():
    for epochs in (0, 8):
        network = SiameseRDMRegressor(
            backbone, layer, weights=None, image_size=64, max_epochs=epochs, random_state=0
        )
        predicted = network.fit(train, train_dissim).predict(test)
        scores.append(rdm_spearman_score(test_dissim, predicted, subject_average=False))
        names.append(f"{name},\n{'tuned' if epochs else 'random'}")

# %%
# Scores of held-out images
# -------------------------

_ = RDMScoresDisplay(scores, names=names, noise_ceiling=noise_ceiling(test_dissim)).plot()
