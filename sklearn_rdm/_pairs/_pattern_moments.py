"""Mean and spread of the dissimilarities of all pairs of images, which are never formed."""

from __future__ import annotations

import numpy as np

from sklearn_rdm._pairs._patterns import ResponsePatterns

WIDEST = 4096  # features, of which the products of all couples are kept: 134 MB


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
    k, squares = _lengths(y, subject, centre), _squared_products(y, subject, centre)
    n_pairs = n_images * (n_images - 1)
    g, total = k - k.mean(), k.sum()
    spread = 2 * (n_images - 2) * (g @ g) + 8 * (g @ k) + 4 * (squares - k @ k)
    variance = (spread - 4 * total**2 / n_pairs) / n_pairs
    return 2 * total / (n_images - 1), float(np.sqrt(max(variance, 0)))


def _centre(y: ResponsePatterns, subject: int) -> tuple[int, np.ndarray]:
    """Number of images that the subject has seen, and the mean of their features."""
    n_images, centre = 0, np.zeros(1)
    for places, features in y._blocks(subject):
        if len(places):
            n_images += len(places)
            centre = centre + (features.values - centre).sum(axis=0) / n_images
    return n_images, centre


def _lengths(y: ResponsePatterns, subject: int, centre: np.ndarray) -> np.ndarray:
    """Signed squared lengths of the centred features."""
    lengths = []
    for _, features in y._blocks(subject):
        lengths.append((features.values - centre) ** 2 @ features.signs)
    return np.concatenate(lengths)


def _squared_products(y: ResponsePatterns, subject: int, centre: np.ndarray) -> float:
    """Sum of the squares of the signed products of all couples of images."""
    if len(centre) > WIDEST:
        return _squared_products_of_images(y, subject, centre)
    products = np.zeros((len(centre), len(centre)))
    signs = np.ones(len(centre))
    for _, features in y._blocks(subject):
        centred, signs = features.values - centre, features.signs
        products += centred.T @ centred
    # sum_ij (u_i' J u_j)^2 = sum of J C o C J, with C = U'U
    return float(signs @ products**2 @ signs)


def _squared_products_of_images(y: ResponsePatterns, subject: int, centre: np.ndarray) -> float:
    """The same where features are more than images, or too many: image by image, read again."""
    total = 0.0
    for places, features in y._blocks(subject):
        signed = (features.values - centre) * features.signs
        for others, other in y._blocks(subject):
            if len(places) and len(others) and others[0] >= places[0]:
                squares = float(((signed @ (other.values - centre).T) ** 2).sum())
                total += squares if others[0] == places[0] else 2 * squares
    return total
