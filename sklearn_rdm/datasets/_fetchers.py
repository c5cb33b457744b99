"""Images with measured dissimilarities, from files that are there or are downloaded."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.utils import Bunch

from sklearn_rdm._pairs._extras import import_optional
from sklearn_rdm._pairs._images import check_size, read_images
from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.io._mat import as_square, read_mat

__all__ = ["fetch_algonauts2019", "fetch_kriegeskorte92"]

ALGONAUTS_TARGETS = {
    "fmri_evc": ("target_fmri.mat", "EVC_RDMs"),
    "fmri_it": ("target_fmri.mat", "IT_RDMs"),
    "meg_early": ("target_meg.mat", "MEG_RDMs_early"),
    "meg_late": ("target_meg.mat", "MEG_RDMs_late"),
}
ALGONAUTS_SETS = {92: "white", 118: "grey"}  # the display around the images
ALGONAUTS_DESCRIPTION = """The Algonauts Project 2019, training set of {n_images} images, target \
{target}.

Correlation distances (1 - Pearson r) between the responses of 15 people to each pair of images:
fMRI of early visual cortex (fmri_evc) and inferior temporal cortex (fmri_it), MEG sensors around
the peaks of the early (meg_early) and late (meg_late) visual response, 20 time points each. The
92 images show objects on a plain background, the 118 objects in natural scenes.

Cichy, Roig, Andonian, Dwivedi, Lahner, Lascelles, Mohsenzadeh, Ramakrishnan and Oliva (2019). The
Algonauts Project: A Platform for Communication between the Sciences of Biological and Artificial
Intelligence. arXiv:1905.05675. http://algonauts.csail.mit.edu/2019/"""

RSATOOLBOX_URL = "https://raw.githubusercontent.com/rsagroup/rsatoolbox"
KRIEGESKORTE_FILES = {  # commit of rsatoolbox's repository, SHA-256
    "Kriegeskorte_Neuron2008_supplementalData.mat": (
        "9ac4b5cdcb702c02481cabba33c551d187d50b6c",
        "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
    ),
    "92_brainRDMs.mat": (
        "a019e37ee631456aa99425efb33cb4e26e9ea181",
        "1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
    ),
    "92_behavRDMs.mat": (
        "8ee4a8f6b55f788acbee29521916f5f38f2926be",
        "7a8e118c144c3840adeeeef6ea0706a0be2b3e80df719af15fbb56fc62562f5f",
    ),
}
KRIEGESKORTE_STIMULI = "Kriegeskorte_Neuron2008_supplementalData.mat"
# File, struct array, entries taken (axes of one entry are squeezed).
KRIEGESKORTE_TARGETS: dict[str, tuple[str, str, Any]] = {
    "human_it": ("92_brainRDMs.mat", "RDMs", np.s_[0]),
    "human_it_group": (KRIEGESKORTE_STIMULI, "RDMs_mIT_hIT_fig1", np.s_[0, 1:]),
    "monkey_it": (KRIEGESKORTE_STIMULI, "RDMs_mIT_hIT_fig1", np.s_[0, :1]),
    "behaviour": ("92_behavRDMs.mat", "rdms_behav_92", np.s_[0]),
}
KRIEGESKORTE_DESCRIPTION = """92 images of objects and dissimilarities of human and monkey \
responses, target {target}.

human_it: correlation distances (1 - Pearson r) between fMRI patterns of human inferior temporal
cortex, 4 people, 2 sessions each; human_it_group: their mean, as in figure 1 of the paper;
monkey_it: correlation distances between responses of 674 neurons of inferior temporal cortex of
two monkeys, pooled; behaviour: distances in 16 people's arrangements of the images by similarity.
The images show isolated objects on a grey background.

Kriegeskorte, Mur, Ruff, Kiani, Bodurka, Esteky, Tanaka and Bandettini (2008). Matching Categorical
Object Representations in Inferior Temporal Cortex of Man and Monkey. Neuron 60(6):1126-1141.
doi:10.1016/j.neuron.2008.10.043. The judgements: Mur, Meys, Bodurka, Goebel, Bandettini and
Kriegeskorte (2013). Human Object-Similarity Judgments Reflect and Transcend the Primate-IT Object
Representation. Frontiers in Psychology 4:128. Files from https://github.com/rsagroup/rsatoolbox."""


def fetch_algonauts2019(
    image_set: int = 92,
    target: str = "fmri_evc",
    *,
    data_home: Any = None,
    image_size: Any = None,
    average_time: bool = True,
) -> Bunch:
    """Load a training set of the Algonauts Project 2019 challenge.

    The challenge has no stable download address: the files must be put by hand, under their
    official names, into ``<data_home>/algonauts2019/Training_Data/92_Image_Set`` (or
    ``118_Image_Set``). If they are missing, the error says where to get them.

    Parameters
    ----------
    image_set : {92, 118}, default=92
        92 objects on a plain background, or 118 objects in natural scenes.
    target : {"fmri_evc", "fmri_it", "meg_early", "meg_late"}, default="fmri_evc"
        Early visual or inferior temporal cortex in fMRI, early or late response in MEG.
    data_home : path, default=None
        None means the environment variable ``SKLEARN_RDM_DATA``, else the user's cache.
    image_size : int or (height, width), default=None
        What images are resized to, in pixels; None keeps 175 x 175 (92) or 300 x 300 (118).
    average_time : bool, default=True
        Whether MEG matrices are averaged over their 20 time points. False keeps the time courses,
        which the challenge scores. Copies of the data exist that are averaged already: False
        then raises an error, as it does for fMRI.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``images``: uint8 ndarray of shape (n_images, height, width, 3);
        - ``rdms``: float64 ndarray of shape (15, n_images, n_images), one matrix per subject,
          1 - Pearson r (0 to 2), row ``i`` = image ``i``; ``(15, 20, n_images, n_images)`` if
          ``average_time`` is False;
        - ``background``: "white" (92) or "grey" (118), the colour of the display around the images;
        - ``image_groups``: int ndarray of shape (n_images,) or None, from ``categories.csv``
          (columns ``image``, ``category``) beside the images, not part of the official download;
        - ``image_names``, ``subjects``: lists of str;
        - ``description``: str, where the data come from and what to cite.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ImportError
        If the official MATLAB v7.3 files are there but h5py is not (extra ``data``).
    ValueError
        If ``image_set`` or ``target`` is unknown, or a file does not hold what it should.

    See Also
    --------
    make_rdm_regression : Needs no files; the truth is known.
    fetch_kriegeskorte92 : Downloads itself; fewer subjects.

    References
    ----------
    Cichy, R. M. et al. (2019). The Algonauts Project: A Platform for Communication between the
    Sciences of Biological and Artificial Intelligence. arXiv:1905.05675.

    Examples
    --------
    >>> from sklearn_rdm.datasets import fetch_algonauts2019
    >>> fetch_algonauts2019(target="fmri_v1")
    Traceback (most recent call last):
    ValueError: target must be one of ['fmri_evc', ..., 'meg_late'], got 'fmri_v1'.
    """
    check_option("image_set", image_set, ALGONAUTS_SETS)
    check_option("target", target, ALGONAUTS_TARGETS)
    folder = _data_home(data_home, "algonauts2019") / f"Training_Data/{image_set}_Image_Set"
    file, variable = ALGONAUTS_TARGETS[target]
    width = len(str(image_set))
    names = [f"image_{number:0{width}d}.jpg" for number in range(1, image_set + 1)]
    paths = [folder / f"{image_set}images" / name for name in names]
    missing = [path for path in [folder / file, *paths] if not path.is_file()]
    if missing:
        how = ALGONAUTS_BY_HAND.format(n=image_set, folder=folder)
        raise FileNotFoundError(f"{str(missing[0])!r} does not exist." + how)
    rdms = _read_subjects(folder / file, variable, image_set, average_time)
    return Bunch(
        images=read_images(paths, image_size),
        rdms=rdms,
        background=ALGONAUTS_SETS[image_set],
        image_groups=_read_categories(folder / "categories.csv", names),
        image_names=names,
        subjects=[f"subject {number}" for number in range(1, len(rdms) + 1)],
        description=ALGONAUTS_DESCRIPTION.format(n_images=image_set, target=target),
    )


ALGONAUTS_BY_HAND = """ The Algonauts 2019 data have no stable download address: get the training \
set from the download page of http://algonauts.csail.mit.edu/2019/ and unpack it such that
    {folder}
holds {n}images/ (image_*.jpg), target_fmri.mat and target_meg.mat; choose another place with \
data_home= or the environment variable SKLEARN_RDM_DATA. sklearn_rdm.datasets.make_rdm_regression \
needs no files."""


def fetch_kriegeskorte92(
    target: str = "human_it",
    *,
    data_home: Any = None,
    image_size: Any = None,
    average_sessions: bool = True,
    download_if_missing: bool = True,
) -> Bunch:
    """Load the 92 images of Kriegeskorte et al. (2008), downloaded when first used.

    The files (5 MB) come from a fixed commit of rsatoolbox's repository, are checked by their
    SHA-256, and are kept in ``<data_home>/kriegeskorte2008``. Files that are there already are
    used without a network.

    Parameters
    ----------
    target : {"human_it", "human_it_group", "monkey_it", "behaviour"}, default="human_it"
        fMRI of 4 people, or their mean; neurons of two monkeys, pooled; similarity judgements of
        16 people.
    data_home : path, default=None
        None means the environment variable ``SKLEARN_RDM_DATA``, else the user's cache.
    image_size : int or (height, width), default=None
        What images are resized to (bicubic), in pixels; None keeps 175 x 175.
    average_sessions : bool, default=True
        Whether the two fMRI sessions of a person are averaged. Only "human_it" has them; False
        raises an error for the others.
    download_if_missing : bool, default=True
        False raises an error for a missing file.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``images``: uint8 ndarray of shape (92, height, width, 3);
        - ``rdms``: float64 ndarray of shape (n_subjects, 92, 92), 4, 1, 1 or 16 matrices;
          1 - Pearson r (0 to 2), for "behaviour" distances of at most about 0.03;
          ``(4, 2, 92, 92)`` if ``average_sessions`` is False;
        - ``image_groups``: ndarray of str, shape (92,), one of 6 categories: human or nonhuman
          bodypart or face, natural or artificial inanimate;
        - ``category_flags``: bool ndarray of shape (92, 12), and ``category_names``: list of str,
          the authors' 12 overlapping categories, such as "animate" or "monkeyape";
        - ``image_names``, ``subjects``: lists of str;
        - ``description``: str, where the data come from and what to cite.

    Raises
    ------
    OSError
        If a file is missing and may not, or cannot, be downloaded whole.
    ImportError
        If a file must be downloaded but pooch is not installed (extra ``data``).
    ValueError
        If ``target`` is unknown.

    See Also
    --------
    fetch_algonauts2019 : 15 subjects, early visual cortex and MEG for the same 92 objects, in
        the same order, on white instead of grey.

    References
    ----------
    Kriegeskorte, N. et al. (2008). Matching Categorical Object Representations in Inferior
    Temporal Cortex of Man and Monkey. Neuron 60(6):1126-1141.

    Examples
    --------
    >>> from sklearn_rdm.datasets import fetch_kriegeskorte92
    >>> fetch_kriegeskorte92("monkey_v4")
    Traceback (most recent call last):
    ValueError: target must be one of ['human_it', ..., 'behaviour'], got 'monkey_v4'.
    """
    check_option("target", target, KRIEGESKORTE_TARGETS)
    if target != "human_it" and not average_sessions:
        raise ValueError(f"target {target!r} has no sessions: leave average_sessions=True.")
    folder = _data_home(data_home, "kriegeskorte2008")
    file, variable, entries = KRIEGESKORTE_TARGETS[target]
    stimuli_path = _fetch_file(KRIEGESKORTE_STIMULI, folder, download_if_missing)
    stimuli = read_mat(stimuli_path)
    structs = read_mat(_fetch_file(file, folder, download_if_missing))[variable][entries]
    rdms = np.array([as_square(rdm.squeeze(), file) for rdm in structs["RDM"].ravel()])
    rdms = rdms.reshape(*structs.shape, *rdms.shape[1:])
    objects = stimuli["stimuli_92objs"][0]
    return Bunch(
        images=_resized(np.stack(list(objects["image"])), image_size),
        rdms=rdms.mean(axis=1) if rdms.ndim == 4 and average_sessions else rdms,
        image_groups=np.array([category.item() for category in objects["category"]]),
        category_flags=stimuli["categoryVectors"].astype(bool),
        category_names=[name.item() for name in stimuli["categoryLabels"][0]],
        image_names=[f"object_{number:02d}" for number in range(1, len(objects) + 1)],
        subjects=[_subject_name(struct) for struct in structs.reshape(len(structs), -1)[:, 0]],
        description=KRIEGESKORTE_DESCRIPTION.format(target=target),
    )


def _data_home(data_home: Any, dataset: str) -> Path:
    if data_home is None:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        data_home = os.environ.get("SKLEARN_RDM_DATA") or Path(cache) / "sklearn_rdm"
    return Path(data_home).expanduser() / dataset


def _read_subjects(path: Path, variable: str, n_images: int, average_time: bool) -> np.ndarray:
    """Matrices of all subjects, (n_subjects, n, n), or (n_subjects, n_times, n, n)."""
    arrays = read_mat(path)
    if variable not in arrays:
        raise ValueError(f"{str(path)!r} has no variable {variable!r}, only {sorted(arrays)}.")
    rdms = as_square(arrays[variable], f"{variable} of {str(path)!r}")
    if rdms.ndim not in (3, 4) or rdms.shape[-1] != n_images:
        raise ValueError(
            f"{variable} of {str(path)!r} must have shape (n_subjects, {n_images}, {n_images}) or "
            f"(n_subjects, n_times, {n_images}, {n_images}), got {rdms.shape}."
        )
    if rdms.ndim == 3 and not average_time:
        raise ValueError(
            f"{variable} of {str(path)!r} has no time axis (shape {rdms.shape}): fMRI has none, "
            "and this MEG file is averaged already. Leave average_time=True."
        )
    return rdms.mean(axis=1) if rdms.ndim == 4 and average_time else rdms


def _read_categories(path: Path, names: list[str]) -> np.ndarray | None:
    """One label per image name, integers where all are; None if there is no such file."""
    if not path.is_file():
        return None
    with open(path, newline="") as file:
        labels = {row["image"]: row["category"] for row in csv.DictReader(file)}
    lacking = [name for name in names if name not in labels]
    if lacking:
        raise ValueError(f"{str(path)!r} has no category for {lacking[0]!r}.")
    groups = np.array([labels[name] for name in names])
    return groups.astype(int) if np.char.isdigit(groups).all() else groups


def _fetch_file(name: str, folder: Path, download_if_missing: bool) -> Path:
    """Path of a file whose SHA-256 is right, downloaded if it is not there."""
    path, (commit, digest) = folder / name, KRIEGESKORTE_FILES[name]
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
        return path
    if not download_if_missing:
        state = "is not the published file (SHA-256 differs)" if path.is_file() else "is missing"
        raise FileNotFoundError(f"{str(path)!r} {state}, and download_if_missing is False.")
    pooch = import_optional("pooch", "data")
    url = f"{RSATOOLBOX_URL}/{commit}/demos/92imageData/{name}"
    try:
        pooch.retrieve(url, known_hash=f"sha256:{digest}", fname=name, path=folder)
    except (OSError, ValueError) as error:  # no network; another content than the hash says
        raise OSError(
            f"{name} could not be downloaded from {url}: {error} Try again, or put this file into "
            f"{str(folder)!r} by hand. sklearn_rdm.datasets.make_rdm_regression needs no files."
        ) from error
    return path


def _subject_name(struct: Any) -> str:
    """Name of a matrix without its session: "hIT | BE | Session: 1" becomes "hIT | BE"."""
    return struct["name"].item().split(" | Session")[0]


def _resized(images: np.ndarray, image_size: Any) -> np.ndarray:
    size = check_size(image_size)
    if size is None:
        return images
    resized = (Image.fromarray(i).resize(size[::-1], Image.Resampling.BICUBIC) for i in images)
    return np.stack([np.asarray(image) for image in resized])
