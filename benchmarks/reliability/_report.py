"""The report that all folders of benchmarks share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from report import PACKAGES, RESULTS, is_fast, write_report

__all__ = ["PACKAGES", "RESULTS", "is_fast", "write_report"]
