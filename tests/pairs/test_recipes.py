"""Objects of nilearn and MNE become patterns; the guide has the recipes without these tools."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns

N_IMAGES = 6


def test_volumes_of_nilearns_masker(tmp_path):
    nibabel, maskers = pytest.importorskip("nibabel"), pytest.importorskip("nilearn.maskers")
    rng = np.random.default_rng(0)
    volumes, mask = rng.random((4, 5, 3, N_IMAGES)), rng.random((4, 5, 3)) > 0.4
    for name, values in {"betas": volumes, "mask": mask.astype(np.uint8)}.items():
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
    masker = maskers.NiftiMasker(str(tmp_path / "mask.nii.gz"), standardize=None)
    voxels = masker.fit_transform(str(tmp_path / "betas.nii.gz"))
    found = ResponsePatterns(voxels).to_rdms()[0]
    np.testing.assert_allclose(found, 1 - np.corrcoef(volumes[mask].T), atol=1e-5)


def test_epochs_of_mne():
    mne = pytest.importorskip("mne")
    rng = np.random.default_rng(0)
    image = np.tile(np.arange(N_IMAGES), 3)
    events = np.column_stack([np.arange(len(image)), np.zeros(len(image), int), image])
    info = mne.create_info(7, 100.0, "eeg")
    data = rng.standard_normal((len(image), 7, 4))
    epochs = mne.EpochsArray(data, info, events, verbose=False)
    of_image = epochs.events[:, 2]
    evoked = [epochs.get_data()[of_image == i].mean(axis=0) for i in range(N_IMAGES)]
    found = ResponsePatterns(np.stack(evoked)).to_rdms()
    assert found.shape == (1, 4, N_IMAGES, N_IMAGES)
    for time in range(4):
        means = [data[i::N_IMAGES, :, time].mean(axis=0) for i in range(N_IMAGES)]
        np.testing.assert_allclose(found[0, time], 1 - np.corrcoef(means), atol=1e-12)
