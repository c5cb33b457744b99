from functools import partial

import timm

from sklearn_rdm import SiameseRDMRegressor
from sklearn_rdm.metrics import rdm_spearman_score

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
