"""
Killed, and run again
=====================

A queue or a crash may kill a long training. With ``checkpoint=`` it saves its state in a folder.
Run the same script again: it continues where it was killed, and ends with the same weights, bit by
bit, as one that was not.
"""

# %%
# A script that trains
# --------------------
# It runs in a process of its own, which can be killed.

import subprocess
import sys
import tempfile
import time
from pathlib import Path

folder = Path(tempfile.mkdtemp())
script = """
from sklearn_rdm import ImagePairs, SiameseRDMRegressor
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=40, n_subjects=4, image_size=112, random_state=0)
pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
network = SiameseRDMRegressor(
    "efficientnet_lite0",
    "block6",
    image_size=112,
    max_epochs=12,
    checkpoint="kept",
    random_state=0,
    verbose=1,
).fit(pairs, dissim)
"""
_ = (folder / "train.py").write_text(script)

# %%
# The process is killed after four epochs.

log = folder / "log.txt"
with open(log, "w") as output:
    process = subprocess.Popen([sys.executable, "train.py"], cwd=folder, stdout=output)
    while process.poll() is None and len(log.read_text().splitlines()) < 6:
        time.sleep(0.02)
    process.kill()
print("killed:", process.wait() != 0)

# %%
# Run it again
# ------------
# The log lists the epochs that were trained. The last one before the kill was not saved yet, and is
# trained again.

import contextlib
import re

names = {}
with (
    open(log, "a") as output,
    contextlib.redirect_stdout(output),
    contextlib.redirect_stderr(output),
    contextlib.chdir(folder),
):
    exec(script, names)
print("epochs:", *re.findall(r"^ +(\d+) ", log.read_text(), re.MULTILINE))

# %%
# The same as without a kill
# --------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

resumed = names["network"].set_params(verbose=0)
undisturbed = clone(resumed).set_params(checkpoint=None)
undisturbed.fit(names["pairs"], names["dissim"])
equal = np.array_equal(undisturbed.predict(names["pairs"]), resumed.predict(names["pairs"]))
print("equal, bit by bit:", equal)

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for network, style, label in [
    (undisturbed, {"color": "0.75", "lw": 8}, "never killed"),
    (resumed, {"color": "#0072B2", "marker": "o"}, "killed and run again"),
]:
    ax.plot(network.history_[:, "epoch"], network.history_[:, "train_loss"], label=label, **style)
ax.axvline(4, color="k", ls="--", lw=1, label="killed")
ax.set(xlabel="epoch", ylabel="training loss", title="Killed in the middle, run again")
_ = ax.legend()
