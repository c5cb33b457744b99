"""Weights of pairs: how much each pair counts, as if it were repeated so many times."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import as_real
from sklearn_rdm._pairs._image_pairs import ImagePairs, check_fit_pairs


def check_weights(sample_weight: Any, n_pairs: int) -> np.ndarray | None:
    """Float64 (n_pairs,) of weights, 0 or more and not all 0; None if all pairs count alike."""
    if sample_weight is None:
        return None
    weights = as_real(sample_weight, "sample_weight")
    if weights.shape != (n_pairs,):
        raise ValueError(
            f"sample_weight must have shape ({n_pairs},), one weight per pair for all subjects, "
            f"got {weights.shape}."
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise ValueError(
            "sample_weight must be finite and 0 or more, but that of pair "
            f"{wrong.argmax()} is {weights[wrong.argmax()]}. Give 0 to leave a pair out."
        )
    if not weights.any():
        raise ValueError("sample_weight is 0 for all pairs: at least one must count.")
    return weights


def check_weighted_pairs(
    X: Any, y: Any, sample_weight: Any, *, keep_rows: bool = False
) -> tuple[ImagePairs, np.ndarray, np.ndarray | None]:
    """Check what is given to a ``fit``; pairs of weight 0 are left out, with their images.

    With ``keep_rows`` they are checked only, where a ``cv`` may give rows of all pairs.
    """
    check_samples_are_pairs(y, sample_weight)
    pairs, y = check_fit_pairs(X, y)
    weights = check_weights(sample_weight, len(pairs))
    if weights is None or weights.all():
        return pairs, y, weights
    some, y_some, of_some = keep_weighted(weights, pairs, y)
    some, y_some = check_fit_pairs(some, y_some)
    return (pairs, y, weights) if keep_rows else (some, y_some, of_some)


def check_samples_are_pairs(y: Any, sample_weight: Any) -> None:
    """Refuse weights where samples are images, whose pairs have none."""
    if sample_weight is not None and hasattr(y, "to_pairs"):
        raise ValueError(
            "sample_weight needs one weight per pair, but y holds response patterns, one per "
            "image. Give pairs and dissimilarities, y.to_pairs(images), and weights of these."
        )


def keep_weighted(weights: np.ndarray | None, *arrays: Any) -> tuple[Any, ...]:
    """Arrays, or None, without the pairs of weight 0, and last the weights of the others."""
    if weights is None or weights.all():
        return *arrays, weights
    counted = weights > 0
    return *(a if a is None else a[counted] for a in arrays), weights[counted]


def take_weights(weights: np.ndarray | None, rows: Any) -> np.ndarray | None:
    """Weights of some of the pairs, None if all count alike."""
    return None if weights is None else weights[rows]
