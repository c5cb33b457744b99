"""Simulated choices of the odd one out, whose probabilities are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.utils import Bunch, check_random_state

from sklearn_rdm._pairs import ImageTriplets

__all__ = ["make_odd_one_out"]


def make_odd_one_out(
    n_images: int = 50,
    n_features: int = 20,
    n_triplets: int = 5000,
    *,
    scale: float = 2.0,
    anchored: bool = False,
    random_state: Any = None,
) -> Bunch:
    """Simulate choices of the odd one out among images with known features.

    Features ``x`` are normal. The simulated person sees ``z = W x``, with a diagonal ``W`` that
    weighs one half of the features by ``scale`` and leaves out the other, and leaves two images
    together with the softmax probabilities of the three dot products of ``z``, over the root of
    the number of features.

    Parameters
    ----------
    n_images : int, default=50
        Number of images, 3 or more.
    n_features : int, default=20
        Features of each image, 2 or more.
    n_triplets : int, default=5000
        Number of triplets, drawn with replacement.
    scale : float, default=2.0
        Weight of the features that matter: the larger, the more reliable are the choices.
    anchored : bool, default=False
        Whether the first image is a reference, which is never the odd one out.
    random_state : int, RandomState or None, default=None
        The same int gives the same data.

    Returns
    -------
    data : Bunch
        ``triplets`` (ImageTriplets, with ``images`` the features), ``choices``, shape
        (n_triplets,), ``probabilities`` of the three choices, shape (n_triplets, 3), ``weights``,
        the diagonal of ``W``, shape (n_features,), ``best_accuracy``, which no model can be
        expected to exceed on these triplets, and ``description``.

    Raises
    ------
    ValueError
        If there are fewer than 3 images or 2 features, or no triplet.

    See Also
    --------
    make_rdm_regression : Simulated subjects' dissimilarities of photographs.

    Examples
    --------
    >>> from sklearn_rdm.datasets import make_odd_one_out
    >>> data = make_odd_one_out(n_images=10, n_triplets=100, random_state=0)
    >>> data.triplets
    ImageTriplets(100 triplets of 10 images, images: float64 (10, 20))
    >>> data.choices.shape
    (100,)
    """
    if n_images < 3 or n_features < 2 or n_triplets < 1:
        raise ValueError(
            "give 3 images, 2 features and 1 triplet or more, got "
            f"n_images={n_images}, n_features={n_features}, n_triplets={n_triplets}."
        )
    rng = check_random_state(random_state)
    features = rng.normal(size=(n_images, n_features))
    weights = np.where(np.arange(n_features) < n_features // 2, scale, 0.0)
    index = rng.random((n_triplets, n_images)).argsort(axis=1)[:, :3]
    triplets = ImageTriplets(features, index, anchored=anchored)
    similarity = (features * weights**2) @ features.T / np.sqrt(n_features)
    of_triplet = similarity[tuple(np.moveaxis(triplets.pair_index, -1, 0))]
    probabilities = softmax(np.where(triplets.possible, of_triplet, -np.inf), axis=1)
    drawn = probabilities.cumsum(axis=1) < rng.random((n_triplets, 1))
    return Bunch(
        triplets=triplets,
        choices=np.minimum(drawn.sum(axis=1), 2),
        probabilities=probabilities,
        weights=weights,
        best_accuracy=float(probabilities.max(axis=1).mean()),
        description=f"{n_triplets} simulated choices among {n_images} images.",
    )
