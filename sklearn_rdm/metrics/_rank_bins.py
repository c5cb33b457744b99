"""Ranks of values that are never held together: counted in bins of about equal mass."""

from __future__ import annotations

import numpy as np

N_BINS = 512
CONTINUOUS = 0.99  # of the values differ, so that no cell joins others to many equal ones
CELLS = 2**16  # equal parts of the range, of which a table tells the bin: faster than a search


class RankBins:
    """Bins that begin at quantiles of a sample; equal values share a bin.

    Parameters
    ----------
    sample : ndarray
        Values of the same kind. If few of them differ, each has a bin of its own.
    n_bins : int
        How many bins at most.
    """

    def __init__(self, sample: np.ndarray, n_bins: int | None = None) -> None:
        n_bins = N_BINS if n_bins is None else n_bins
        ordered = np.sort(sample)
        values = ordered[np.diff(ordered, prepend=-np.inf) > 0]
        self.table: np.ndarray | None = None
        if len(values) <= n_bins:
            self.edges = (values[1:] + values[:-1]) / 2
        else:
            edges = ordered[np.arange(1, n_bins) * len(ordered) // n_bins]
            frequent = edges[1:][np.diff(edges) == 0]  # a bin for each alone
            self.edges = np.unique(np.append(edges, np.nextafter(frequent, np.inf)))
            if len(values) > CONTINUOUS * len(ordered):
                self._make_table(ordered)

    def __len__(self) -> int:
        return len(self.edges) + 1

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Bin of each value, counted from 0, ascending with the values."""
        if self.table is None:
            return np.searchsorted(self.edges, values, side="right")
        # Rounding, too, ascends with the values: each cell is an interval.
        cells = np.subtract(values, self.edges[0])
        cells *= self.cells_per_unit
        cells += 1
        np.clip(cells, 0, CELLS + 1, out=cells)
        return self.table[cells.astype(np.int32)]

    def _make_table(self, ordered: np.ndarray) -> None:
        """Bin of each cell, unless few cells hold most values, as of a long tail."""
        low, high = self.edges[[0, -1]]
        self.cells_per_unit = CELLS / (high - low)
        starts = low + np.arange(CELLS) / self.cells_per_unit
        inner = np.searchsorted(self.edges, starts, side="right")
        narrow = np.min_scalar_type(len(self.edges))  # a quarter of the time of wide numbers
        self.table = np.concatenate([[0], inner, [len(self.edges)]]).astype(narrow)
        begins = np.searchsorted(ordered, self.edges)
        exact = np.diff(begins, prepend=0, append=len(ordered))
        if np.bincount(self(ordered)).max() > 2 * exact.max():
            self.table = None


def mid_ranks(counts: np.ndarray) -> np.ndarray:
    """Mean rank of the values of each bin, less that of all values."""
    return np.cumsum(counts) - counts / 2 - counts.sum() / 2
