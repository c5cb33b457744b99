"""Numbers brought near 1 by powers of two, which is exact: squares neither overflow nor vanish."""

from __future__ import annotations

import numpy as np

__all__ = ["exponents_of", "to_unit_scale"]


def exponents_of(largest: np.ndarray) -> np.ndarray:
    """Of the powers of two above the largest magnitudes: 0 for NaN."""
    return np.asarray(np.frexp(np.nan_to_num(largest))[1])


def to_unit_scale(columns: np.ndarray) -> np.ndarray:
    """Columns times a power of two each, NaN left out."""
    largest = np.fmax.reduce(np.abs(columns), axis=0, initial=0)
    return np.asarray(np.ldexp(columns, -exponents_of(largest)))
