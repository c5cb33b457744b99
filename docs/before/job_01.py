import numpy as np
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, RDMDisplay, read_images
from sklearn_rdm.io import read_long_table
from sklearn_rdm.metrics import noise_ceiling

files = sorted(folder.glob("*.png"))
ratings = read_long_table(
    folder / "ratings.csv",
    dissimilarity="rating",
    subject="rater",
    image_names=[file.stem for file in files],
)
pairs, dissim = ImagePairs.from_rdms(read_images(files, size=96), ratings.rdms)
print(pairs, f"{len(ratings.subjects)} raters", f"{np.isnan(dissim).mean():.0%} missing", sep="\n")
display = RDMDisplay(ratings.rdms[:3], names=ratings.subjects[:3])
_ = display.plot(label="rating").figure_.suptitle("What three of the raters said")
layer = LayerActivations("efficientnet_lite0", "block4", image_size=96)
model = make_pipeline(layer, FixedRSARegressor()).fit(pairs, dissim)
lower, upper = noise_ceiling(dissim, convention="rsatoolbox", metric="spearman")
print(f"score {model.score(pairs, dissim):.2f}, noise ceiling {lower:.2f} to {upper:.2f}")
