"""
Responses to images, from the files of common packages
======================================================

The Natural Scenes Dataset, GLMsingle, THINGS-EEG2, MNE and nilearn each store responses in their
own way. Small files of the same form, with simulated responses, become
:class:`~sklearn_rdm.ResponsePatterns` here.
"""

# %%
# Natural Scenes Dataset: images
# ------------------------------
# `All images are in one HDF5 dataset <https://naturalscenesdataset.org>`_, ``imgBrick``. They stay
# on disk.

import tempfile
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat, savemat

from sklearn_rdm import LazyImages, RDMDisplay, ResponsePatterns
from sklearn_rdm.datasets import make_rdm_regression

data = make_rdm_regression(n_images=12, image_size=64, random_state=0)
rng = np.random.default_rng(0)
responses = data.images.reshape(12, -1) @ rng.normal(size=(64 * 64 * 3, 24)) / 1000
folder = Path(tempfile.mkdtemp())
with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
    file["imgBrick"] = data.images

images = LazyImages(h5py.File(folder / "nsd_stimuli.hdf5")["imgBrick"])
print(images)

# %%
# Natural Scenes Dataset: responses
# ---------------------------------
# `Betas <https://cvnlab.slite.page/p/6CusMRYfk0/Functional-data-NSD>`_ are one HDF5 file for each
# session: 300 times the percent signal change, on MATLAB's axes x, y, z, trial, which Python reads
# in reverse. ``nsd_expdesign.mat`` says which image a trial showed, counted from 1. Here a session
# has 12 trials.

ordering = np.r_[0:9, 0:3, 9:12, 3:12]  # images of the trials of two sessions
betas = 300 * (responses[ordering] + rng.normal(0, 3, (24, 24)))
with h5py.File(folder / "betas_session01.hdf5", "w") as file:
    file["betas"] = betas[:12].astype(np.int16).reshape(12, 2, 3, 4)
subjects = np.tile(np.arange(1, 13), (8, 1))
design = {"subjectim": subjects, "masterordering": ordering + 1}
savemat(folder / "nsd_expdesign.mat", design)

# %%
# Take the mean over the trials of each image. A row of NaN is an image that the subject has not
# seen: the last three, until the second session.

roi = np.ones((4, 3, 2), dtype=bool)  # nibabel.load("nsdgeneral.nii.gz").get_fdata() > 0
with h5py.File(folder / "betas_session01.hdf5") as file:
    trials = file["betas"][:][:, roi.T] / 300  # (n_trials, n_voxels)
design = loadmat(folder / "nsd_expdesign.mat")
subject = 1
rows = design["subjectim"][subject - 1] - 1  # rows of imgBrick
image_of = rows[design["masterordering"].ravel() - 1][: len(trials)]

patterns = np.full((len(images), roi.sum()), np.nan)
for image in np.unique(image_of):
    patterns[image] = trials[image_of == image].mean(axis=0)
nsd = ResponsePatterns(patterns)
print(nsd)

# %%
# GLMsingle
# ---------
# `Its output <https://github.com/cvnlab/GLMsingle>`_ has the trials of ``betasmd`` on the last
# axis; their order is in ``DESIGNINFO.npy``. Both are pickled dictionaries,
# ``np.load(path, allow_pickle=True).item()``: open only files that you trust. MATLAB's version
# writes HDF5: ``modelmd``, its axes reversed, and an order counted from 1. Repeats allow crossnobis
# distances, which noise does not bias.

order = np.tile(np.arange(12), 3)
betasmd = (responses[order] + rng.normal(0, 3, (36, 24))).T.reshape(4, 3, 2, 36)

trials = betasmd.reshape(-1, len(order)).T
repeats = np.stack([trials[order == image] for image in range(12)], axis=1)
glmsingle = ResponsePatterns(repeats, "crossnobis")
print(glmsingle)

# %%
# THINGS-EEG2
# -----------
# The dictionary's `preprocessed_eeg_data <https://github.com/gifale95/eeg_encoding>`_ is images x
# repetitions x channels x times.

eeg = responses[:, None, :17, None] * np.hanning(12)[1:-1] + rng.normal(0, 3, (12, 4, 17, 10))

things = ResponsePatterns(eeg.swapaxes(0, 1), layout="run image channel time", time_average=True)
print(things)

# %%
# MNE and nilearn
# ---------------
# Average `MNE's epochs <https://mne.tools/stable/generated/mne.Epochs.html>`_ of each image,
# ``epochs.get_data()[epochs.events[:, 2] == image].mean(axis=0)``, and stack the means. What
# nilearn's ``NiftiMasker(...).fit_transform(betas)`` returns is ready to use. So are arrays of
# neurons; give ``layout="run image channel"`` with ``(n_repeats, n_images, n_neurons)``.

# %%
# The distances
# -------------
# A model computes distances when it needs them. Here are all of them, to look at. Pairs are grey if
# the subject has not seen one of the images.

_ = RDMDisplay(
    np.concatenate([nsd.to_rdms(), glmsingle.to_rdms(), things.to_rdms()]),
    names=["NSD", "GLMsingle", "THINGS-EEG2"],
    image_groups=[name.split("_")[0] for name in data.image_names],
).plot(scale="rank")
