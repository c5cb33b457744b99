"""Mean and standard deviation over all pairs of images, in time and memory linear in images."""

from __future__ import annotations

import numpy as np

from sklearn_rdm._pairs._patterns import ResponsePatterns


def mean_and_scale(y: ResponsePatterns, subject: int) -> tuple[float, float]:
    """Mean and population standard deviation of a subject's dissimilarities, over all its pairs.

    With the signed features ``u`` centred, ``K_ij`` their signed products, ``k_i = K_ii`` and
    ``g = k - mean(k)``: ``mean = 2 sum(k) / (n - 1)``, and ``n (n - 1) var = 2 (n - 2) sum(g^2) +
    8 sum(g k) + 4 (sum_ij K_ij^2 - sum(k^2)) - 4 sum(k)^2 / (n (n - 1))``. Without centring, nearly
    equal patterns lose all digits. NaN for a subject with fewer than two images.
    """
    n_images, centre = _centre(y, subject)
    if n_images < 2:
        return np.nan, np.nan
    k, squared = _lengths_and_squared_gram(y, subject, centre)
    n_pairs = n_images * (n_images - 1)
    g, total = k - k.mean(), k.sum()
    spread = 2 * (n_images - 2) * (g @ g) + 8 * (g @ k) + 4 * (squared - k @ k)
    variance = (spread - 4 * total**2 / n_pairs) / n_pairs
    return 2 * total / (n_images - 1), float(np.sqrt(max(variance, 0)))


def _centre(y: ResponsePatterns, subject: int) -> tuple[int, np.ndarray]:
    """Number of images that the subject has seen, and the mean of their features."""
    n_images, centre = 0, np.zeros(1)
    for places, features in y.blocks(subject):
        if len(places):
            n_images += len(places)
            centre = centre + (features.values - centre).sum(axis=0) / n_images
    return n_images, centre


def _lengths_and_squared_gram(
    y: ResponsePatterns, subject: int, centre: np.ndarray
) -> tuple[np.ndarray, float]:
    """Signed squared lengths of the images, and the sum of the squares of all their products."""
    lengths, products = [], np.zeros((len(centre), len(centre)))
    signs = np.ones(len(centre))
    for _, features in y.blocks(subject):
        centred = features.values - centre
        signs[features.n_plus :] = -1
        lengths.append((centred**2) @ signs)
        products += centred.T @ centred
    # sum_ij (u_i' J u_j)^2 = sum of J C o C J, with C = U'U
    return np.concatenate(lengths), float(signs @ products**2 @ signs)
