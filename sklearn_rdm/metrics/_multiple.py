"""p-values corrected for the number of tests."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control


def holm(pvalues: np.ndarray) -> np.ndarray:
    """Holm's p-values, which control the probability of any false rejection.

    In ascending order, ``max_{j <= i} min(1, (m - j + 1) p_j)`` for ``m`` tests.
    """
    pvalues = np.asarray(pvalues, dtype=float)
    order = np.argsort(pvalues)
    steps = np.arange(len(pvalues), 0, -1) * pvalues[order]
    corrected = np.empty(len(pvalues))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def benjamini_hochberg(pvalues: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's p-values, which control the share of false rejections."""
    return false_discovery_control(pvalues) if len(pvalues) else np.zeros(0)


def correct(records: list[dict]) -> list[dict]:
    """Add both corrections to the rows of one family of tests."""
    pvalues = np.array([row["pvalue"] for row in records], dtype=float)
    both = zip(holm(pvalues), benjamini_hochberg(pvalues), strict=True)
    return [
        {**row, "pvalue_holm": float(by_holm), "pvalue_bh": float(by_bh)}
        for row, (by_holm, by_bh) in zip(records, both, strict=True)
    ]
