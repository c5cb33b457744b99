import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_rdm import LayerActivations
from sklearn_rdm.metrics import noise_ceiling, rdm_permutation_test, rdm_spearman_score

layers = [f"block{i}" for i in range(0, 16, 2)]
activations = LayerActivations("efficientnet_lite0", layers, image_size=112, spatial_pooling=4)
features = activations.fit_transform(data.images)
targets = {"subjects alike": alike, "subjects that differ": different}
rows = []
for name, dissim in targets.items():
    ceiling = noise_ceiling(dissim, convention="rsatoolbox", metric="spearman")
    for layer, columns in activations.layer_slices_.items():
        predicted = 1 - np.corrcoef(features[:, columns])[tuple(pairs.index.T)]
        score = rdm_spearman_score(dissim, predicted)
        null = rdm_permutation_test(pairs, dissim, predicted, random_state=0)
        rows.append((name, layer, score, *ceiling, np.percentile(null.null_distribution, 95)))
columns = ["target", "layer", "score", "lower", "upper", "chance"]
table = pd.DataFrame(rows, columns=columns)
figure, axes = plt.subplots(1, 2, sharey=True, layout="constrained")
for ax, (name, part) in zip(axes, table.groupby("target", sort=False), strict=True):
    ax.axhspan(part["lower"].iloc[0], part["upper"].iloc[0], color="0.8", label="noise ceiling")
    ax.plot(part["layer"], part["chance"], "--", label="95th percentile of chance")
    ax.plot(part["layer"], part["score"], "o-", label="layer")
    ax.tick_params("x", rotation=60)
    ax.set_title(name)
axes[0].set_ylabel("Spearman's r")
axes[0].legend()
