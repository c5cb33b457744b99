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


def folds_of(pairs, n_folds=3):
    """Pairs of two images of the same fold; every n_folds-th image is in the same."""
    first, second = (pairs % n_folds).T
    return [np.flatnonzero((first == fold) & (second == fold)) for fold in range(n_folds)]


def constant_in_fold_0():
    pairs, y_true, y_pred = simulate(n_images=18, noise=0.3)
    folds = folds_of(pairs)
    failed = y_pred.copy()
    failed[folds[0]] = 1
    return pairs, y_true, y_pred, failed, folds


def simulate_times(n_images=7, n_subjects=3, n_times=4, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.random(n_images * (n_images - 1) // 2)
    noise = rng.standard_normal((len(signal), n_subjects, n_times))
    return signal[:, None, None] + np.linspace(0.1, 1, n_times) * noise, signal
