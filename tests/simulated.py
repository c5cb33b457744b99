"""Pairs, and simulated measurements of them, that several tests share."""

import numpy as np
from scipy.spatial.distance import pdist

from sklearn_rdm import ImagePairs


def all_pairs(n_images):
    return np.column_stack(np.triu_indices(n_images, 1))


def simulate(n_images=12, n_subjects=5, noise=0.5, seed=0):
    """Pairs, the dissimilarities of noisy subjects, and those without noise."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_images, 4))
    noisy = features + noise * rng.standard_normal((n_subjects, n_images, 4))
    return all_pairs(n_images), np.array([pdist(x) for x in noisy]).T, pdist(features)


def make_problem(rng, n_images, n_features, n_subjects=None):
    """Pairs of feature vectors, a third of which make the dissimilarities."""
    features = rng.gamma(1.0, size=(n_images, n_features))
    index = all_pairs(n_images)
    latent = pdist(features[:, : max(1, n_features // 3)], "sqeuclidean")
    shape = (len(index),) if n_subjects is None else (len(index), n_subjects)
    y = (latent if n_subjects is None else latent[:, None]) + rng.normal(0, 0.3, shape)
    return ImagePairs(features, index), y
