"""
Your own images and ratings: a folder and a table
=================================================

You have a folder of images and a CSV file in which five raters judged pairs of them. Read both,
look at the ratings, and ask how well a network that nobody tuned predicts them.
"""

# %%
# First, such files are written: 24 images, and a row for nine of ten judgements. The raters are
# simulated; replace this block by your own folder.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sklearn_rdm.datasets import make_rdm_regression

folder = Path(tempfile.mkdtemp())
data = make_rdm_regression(n_images=24, n_subjects=5, image_size=96, random_state=0)
for name, image in zip(data.image_names, data.images, strict=True):
    Image.fromarray(image).save(folder / f"{name}.png")

names, (one, two) = np.array(data.image_names), np.triu_indices(24, 1)
judged = {"image_1": names[one], "image_2": names[two]}
tables = [
    pd.DataFrame({**judged, "rater": f"rater {i}", "rating": rdm[one, two].round(2)})
    for i, rdm in enumerate(data.rdms, start=1)
]
pd.concat(tables).sample(frac=0.9, random_state=0).to_csv(folder / "ratings.csv", index=False)

# %%
# Read them
# ---------
# The names in the table say which row belongs to which file. A missing judgement becomes NaN.

from sklearn_rdm import ImagePairs, RDMDisplay, read_images
from sklearn_rdm.io import from_long_table

files = sorted(folder.glob("*.png"))
ratings = from_long_table(
    folder / "ratings.csv",
    dissimilarity="rating",
    subject="rater",
    image_names=[file.stem for file in files],
)
pairs, dissim = ImagePairs.from_rdms(read_images(files, size=96), ratings.rdms)
print(pairs, f"{len(ratings.subjects)} raters", f"{np.isnan(dissim).mean():.0%} missing", sep="\n")

# %%
# Look at them
# ------------
# Grey cells were not judged by this rater.

display = RDMDisplay(ratings.rdms[:3], names=ratings.subjects[:3])
_ = display.plot(label="rating").figure_.suptitle("What three of the raters said")

# %%
# How well does a network predict them?
# -------------------------------------
# The score is the mean over raters of Spearman's correlation. The noise ceiling says what the best
# prediction of these raters could reach.

from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, LayerActivations
from sklearn_rdm.metrics import noise_ceiling

layer = LayerActivations("efficientnet_lite0", "block4", image_size=96)
model = make_pipeline(layer, FixedRSARegressor()).fit(pairs, dissim)
lower, upper = noise_ceiling(dissim)
print(f"score {model.score(pairs, dissim):.2f}, noise ceiling {lower:.2f} to {upper:.2f}")
