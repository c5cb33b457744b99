"""A fitted model on one page: what was done, what came of it, and how sure that is."""

from sklearn_rdm._report._report import (
    RDMReport,
    report,
)

__all__ = ["RDMReport", "report"]
