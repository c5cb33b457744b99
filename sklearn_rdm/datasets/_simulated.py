"""Simulated subjects looking at real photographs: everything about them is known."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata
from sklearn.datasets import load_sample_images
from sklearn.utils import Bunch, check_random_state, check_scalar

MAX_IMAGES = 200  # more crops of two photographs would repeat each other
REGIONS = {  # left and right borders, in pixels, of the parts of each photograph
    "china": [(0, 160), (160, 320), (320, 480), (480, 640)],
    "flower": [(60, 205), (205, 350), (350, 495), (495, 640)],
}
SIDES = (72, 145)  # pixels of a crop
N_CANDIDATES = 12
MIN_CONTRAST = 12  # standard deviation of luminance in 0..255 below which a crop is plain sky
FEATURE_PIXELS = 64  # features are computed at this size, whatever the size of the images
GRID = 4
Box = tuple[int, int, int, int]  # left, top, right, bottom
BORDER = 16  # mirrored, so that the edge of an image is no contour
CYCLES_PER_IMAGE = (4, 12)
ORIENTATIONS = (0, 45, 90, 135)  # degrees of the direction in which luminance changes
N_CEILING_SUBJECTS = 100
# Mean and standard deviation over crops of both photographs (fixed, so that the features of an
# image do not depend on the other images), and the weight that makes the ground truth.
CHANNELS = {
    "luminance": (0.391, 0.256, 0.2),
    "red-green": (-0.011, 0.188, 1.0),
    "blue-yellow": (-0.05, 0.167, 1.0),
    "coarse 0": (0.024, 0.026, 1.0),
    "coarse 45": (0.021, 0.021, 0.2),
    "coarse 90": (0.031, 0.031, 0.2),
    "coarse 135": (0.022, 0.023, 0.2),
    "fine 0": (0.018, 0.021, 1.0),
    "fine 45": (0.015, 0.016, 0.2),
    "fine 90": (0.02, 0.022, 0.2),
    "fine 135": (0.016, 0.016, 0.2),
}


def make_rdm_regression(
    n_images: int = 48,
    n_subjects: int = 8,
    *,
    image_size: int = 128,
    noise: float = 2.0,
    random_state: Any = None,
) -> Bunch:
    r"""Make dissimilarities of simulated subjects who look at real photographs.

    The images are crops of the two photographs that scikit-learn ships, at many positions and
    scales. The truth is a reweighted feature map of the image: at 64 x 64 pixels, luminance
    :math:`(R + G + B) / 3`, red-green :math:`R - G`, blue-yellow :math:`B - (R + G) / 2`, and the
    amplitude of log-Gabor filters on luminance at 4 and 12 cycles per image and 0, 45, 90 and 135
    degrees, each averaged in 4 x 4 cells and standardised with constants: 11 x 16 = 176 features
    :math:`\phi`. The true dissimilarity is the correlation distance of the weighted features,

    .. math:: d_{ij} = 1 - r(w \phi_i, w \phi_j),

    with weight 1 for the two colours and the two filters of vertical contours (0 degrees), 0.2
    for all else. Pretrained networks know these features but weigh them otherwise: fine-tuning
    can learn from some images what holds for others. A subject's matrix is the correlation
    distance of the weighted features plus Gaussian noise of its own, thus a valid one.

    Parameters
    ----------
    n_images : int, default=48
        From 3 to 200.
    n_subjects : int, default=8
        At least 1.
    image_size : int, default=128
        Height and width of the images in pixels, at least 16.
    noise : float, default=2.0
        Standard deviation of a subject's noise, in units of that of the weighted features.
    random_state : int, RandomState instance or None, default=None
        Chooses the crops and draws the noise.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``images``: uint8 ndarray of shape (n_images, image_size, image_size, 3);
        - ``rdms``: float64 ndarray of shape (n_subjects, n_images, n_images), correlation
          distances, 0 to 2;
        - ``true_rdm``: float64 ndarray of shape (n_images, n_images), what the subjects share,
          without noise;
        - ``image_groups``: ndarray of str, shape (n_images,), which of 8 regions a crop is from:
          4 upright strips of each photograph, which do not overlap. Crops of one strip may: hold
          out whole groups to share no pixel;
        - ``image_names``, ``subjects``: lists of str; a crop's name is its photograph and its
          left, top and side in pixels;
        - ``features``, ``feature_weights``, ``feature_names``: the map :math:`\phi`, ndarray of
          shape (n_images, 176); :math:`w`, ndarray of shape (176,); and a list of str;
        - ``noise_ceiling``: Bunch of float, mean Spearman correlations over all pairs of images.
          ``expected``: of the true matrix with a new subject, over 100 more simulated subjects:
          what the perfect model scores on average. ``observed``: of the true matrix with these
          subjects. ``upper``: of the subjects with their own mean, which no matrix can exceed by
          much and which a user computes without knowing the truth; NaN for one subject;
        - ``description``: str, where the data come from and what to cite.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    See Also
    --------
    fetch_algonauts2019 : Measured data; truth and noise are unknown there.

    Notes
    -----
    Everything but the images is simulated: scores say whether a method works, nothing about
    brains.

    Examples
    --------
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=12, n_subjects=3, random_state=0)
    >>> data.images.shape, data.rdms.shape
    ((12, 128, 128, 3), (3, 12, 12))
    >>> data.image_groups[:3].tolist()
    ['china 1', 'flower 1', 'china 2']
    """
    check_scalar(n_images, "n_images", Integral, min_val=3, max_val=MAX_IMAGES)
    check_scalar(n_subjects, "n_subjects", Integral, min_val=1)
    check_scalar(image_size, "image_size", Integral, min_val=16)
    check_scalar(noise, "noise", Real, min_val=0)
    rng = check_random_state(random_state)
    images, names, groups = _crop_photographs(n_images, image_size, rng)
    features = image_features(images)
    weights = np.repeat([weight for *_, weight in CHANNELS.values()], GRID**2)
    weighted = features * weights
    subjects = np.stack([_simulate_subject(weighted, noise, rng) for _ in range(n_subjects)])
    truth = pdist(weighted, "correlation")
    fresh = np.stack([_simulate_subject(weighted, noise, rng) for _ in range(N_CEILING_SUBJECTS)])
    return Bunch(
        images=images,
        rdms=np.stack([squareform(subject) for subject in subjects]),
        true_rdm=squareform(truth),
        image_groups=groups,
        image_names=names,
        subjects=[f"simulated {i}" for i in range(1, n_subjects + 1)],
        features=features,
        feature_weights=weights,
        feature_names=[f"{c} cell {i}" for c in CHANNELS for i in range(GRID**2)],
        noise_ceiling=Bunch(
            expected=_mean_spearman(fresh, truth),
            observed=_mean_spearman(subjects, truth),
            upper=_mean_spearman(subjects, subjects.mean(0)) if n_subjects > 1 else np.nan,
        ),
        description=DESCRIPTION.format(n_images=n_images, n_subjects=n_subjects, noise=noise),
    )


DESCRIPTION = """Simulated dissimilarities of {n_subjects} subjects over {n_images} photographs.

The images are crops of the photographs china.jpg and flower.jpg that scikit-learn ships (CC BY
2.0, from flickr.com/photos/danielbuechele and flickr.com/photos/vultilion). The dissimilarities
are SIMULATED: correlation distances of 176 weighted colour and oriented-energy features, each
subject with independent noise of {noise} times the features' standard deviation. No brain was
measured."""


def image_features(images: np.ndarray) -> np.ndarray:
    """Return the standardised feature map, (n_images, n_channels * 16), of uint8 images."""
    maps = _channel_maps(images)
    cell = FEATURE_PIXELS // GRID
    cells = maps.reshape(*maps.shape[:2], GRID, cell, GRID, cell).mean(axis=(3, 5))
    means, scales, _ = (np.reshape(c, (-1, 1, 1)) for c in zip(*CHANNELS.values(), strict=True))
    return ((cells - means) / scales).reshape(len(images), -1)


def _channel_maps(images: np.ndarray) -> np.ndarray:
    """Colours and oriented energy, (n_images, n_channels, 64, 64)."""
    size = (FEATURE_PIXELS, FEATURE_PIXELS)
    small = (Image.fromarray(image).resize(size, Image.Resampling.BOX) for image in images)
    red, green, blue = np.moveaxis(np.stack([np.asarray(i) for i in small]) / 255, -1, 0)
    luminance = (red + green + blue) / 3
    colours = [luminance, red - green, blue - (red + green) / 2]
    return np.stack([*colours, *_oriented_energy(luminance)], axis=1)


def _oriented_energy(luminance: np.ndarray) -> list[np.ndarray]:
    """Amplitude of log-Gabor quadrature pairs: one map per frequency and orientation."""
    padded = np.pad(luminance, [(0, 0), (BORDER, BORDER), (BORDER, BORDER)], mode="reflect")
    spectrum = np.fft.fft2(padded)
    frequencies = np.fft.fftfreq(padded.shape[-1]) * FEATURE_PIXELS
    fy, fx = np.meshgrid(frequencies, frequencies, indexing="ij")
    radius, angle = np.maximum(np.hypot(fx, fy), 1e-9), np.arctan2(fy, fx)
    inside = slice(BORDER, -BORDER)
    energy = []
    for cycles in CYCLES_PER_IMAGE:
        band = np.exp(-(np.log(radius / cycles) ** 2) / (2 * np.log(1.6) ** 2))
        for degrees in ORIENTATIONS:
            away = np.angle(np.exp(1j * (angle - np.deg2rad(degrees))))
            # Half of the frequency plane makes the response complex: even and odd part in one.
            half = band * np.exp(-(away**2) / (2 * np.deg2rad(22) ** 2))
            energy.append(2 * np.abs(np.fft.ifft2(spectrum * half))[:, inside, inside])
    return energy


def _simulate_subject(weighted: np.ndarray, noise: float, rng: Any) -> np.ndarray:
    own = noise * weighted.std() * rng.standard_normal(weighted.shape)
    return pdist(weighted + own, "correlation")


def _mean_spearman(subjects: np.ndarray, model: np.ndarray) -> float:
    """Mean correlation of the ranks of every subject's pairs with those of one matrix."""
    target = rankdata(model)
    return float(np.mean([np.corrcoef(rankdata(s), target)[0, 1] for s in subjects]))


def _crop_photographs(n_images: int, size: int, rng: Any) -> tuple[np.ndarray, list, np.ndarray]:
    """Crops of the photographs and regions in turn, each far from those before it."""
    photos = dict(zip(REGIONS, load_sample_images().images, strict=True))
    images: list[np.ndarray] = []
    boxes: list[Box] = []
    groups: list[tuple[str, int]] = []
    for row in range(n_images):
        name = list(REGIONS)[row % 2]
        region = row // 2 % len(REGIONS[name])
        photo = photos[name]
        others = [box for box, group in zip(boxes, groups, strict=True) if group[0] == name]
        box = _choose_box(photo, REGIONS[name][region], others, rng)
        # crop() first: resize(box=...) would also read pixels next to the box.
        crop = Image.fromarray(photo).crop(box).resize((size, size), Image.Resampling.BICUBIC)
        images.append(np.asarray(crop))
        boxes.append(box)
        groups.append((name, region + 1))
    labels = [f"{name} {region}" for name, region in groups]
    names = [f"{n}_{b[0]}_{b[1]}_{b[2] - b[0]}" for (n, _), b in zip(groups, boxes, strict=True)]
    return np.stack(images), names, np.array(labels)


def _choose_box(photo: np.ndarray, region: Any, others: list, rng: Any) -> Box:
    """Of some random squares in a region, the one that is not plain and overlaps least."""
    boxes = [_draw_box(photo.shape[0], region, rng) for _ in range(N_CANDIDATES)]

    def cost(box: Box) -> tuple[bool, float]:
        left, top, right, bottom = box
        contrast = photo[top:bottom, left:right].mean(axis=-1).std()
        return contrast < MIN_CONTRAST, max((_overlap(box, o) for o in others), default=0)

    return min(boxes, key=cost)


def _draw_box(height: int, region: tuple[int, int], rng: Any) -> Box:
    side = int(np.exp(rng.uniform(*np.log(SIDES))))
    left = int(rng.randint(region[0], region[1] - side + 1))
    top = int(rng.randint(height - side + 1))
    return left, top, left + side, top + side


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes share, of the area that they cover."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) ** 2 + (b[2] - b[0]) ** 2 - shared)
