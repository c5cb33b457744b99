"""What tests and intervals return: numbers by attribute, which print as a small table."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_rdm._pairs._extras import import_optional

MAX_ROWS = 40  # that are printed


class InferenceResult(Bunch):
    """Numbers by attribute; prints as a small table.

    ``records`` is the table, a list of dicts with one key a column.
    """

    def __repr__(self) -> str:
        shown = [{k: _as_text(k, v) for k, v in row.items()} for row in self.records[:MAX_ROWS]]
        columns = list(shown[0]) if shown else []
        widths = {name: max(len(name), *(len(row[name]) for row in shown)) for name in columns}
        lines = ["  ".join(name.rjust(widths[name]) for name in columns)]
        lines += ["  ".join(row[name].rjust(widths[name]) for name in columns) for row in shown]
        if len(self.records) > MAX_ROWS:
            lines.append(f"... {len(self.records) - MAX_ROWS} more rows: see to_frame()")
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row a score or comparison, unrounded.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return import_optional("pandas", "pandas").DataFrame(self.records)


def _as_text(column: str, value: Any) -> str:
    if not isinstance(value, float | np.floating):
        return str(value)
    if column.startswith("pvalue") and value < 0.001:
        return "<0.001"
    return f"{value:.1f}" if column == "dof" else f"{value:.3f}"
