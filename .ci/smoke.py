"""A short check of an installed copy: run with its Python, outside of the repository."""

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import sklearn_rdm
from sklearn_rdm import FixedRSARegressor, ImagePairs, SiameseRDMRegressor
from sklearn_rdm.io import read_rdms, write_rdms
from sklearn_rdm.metrics import noise_ceiling
from sklearn_rdm.model_selection import image_train_test_split

home = Path(sklearn_rdm.__file__).parent
assert "site-packages" in home.parts, f"imported from {home}, not from the installed copy"
assert sklearn_rdm.__version__ == version("sklearn-rdm")
assert (home / "py.typed").exists()

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (12, 64, 64, 3), np.uint8)
true = np.linalg.norm(rng.random((12, 1, 5)) - rng.random((1, 12, 5)), axis=-1)
true = true + true.T
np.fill_diagonal(true, 0)
noise = rng.random((3, 12, 12))
pairs, dissim = ImagePairs.from_rdms(images, (noise + noise.swapaxes(1, 2) + true) * (true > 0))
train, test, y_train, y_test = image_train_test_split(pairs, dissim, random_state=0)
small = {"weights": None, "image_size": 64, "max_epochs": 1, "random_state": 0}
network = SiameseRDMRegressor("alexnet", "conv2", **small).fit(train, y_train)
assert np.isfinite(network.score(test, y_test))
lower, upper = noise_ceiling(y_test)
assert lower <= upper

rdm = network.transform(images)
features, _ = ImagePairs.from_rdms(rng.random((12, 5)), rdm)
assert FixedRSARegressor().fit(features, dissim).predict(features).shape == (66,)
with tempfile.TemporaryDirectory() as folder:
    write_rdms(Path(folder) / "rdm.npz", rdm)
    assert np.array_equal(read_rdms(Path(folder) / "rdm.npz").rdms, rdm)
command = Path(sys.executable).parent / "sklearn-rdm"
listed = subprocess.run([command, "layers", "alexnet"], capture_output=True, text=True, check=True)
assert "conv5" in listed.stdout

sklearn_rdm.show_versions()
