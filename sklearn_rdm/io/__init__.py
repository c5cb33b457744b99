"""Dissimilarity matrices to and from the files and tables that labs keep them in.

Every reader returns a :class:`~sklearn.utils.Bunch` with ``rdms``, ``image_names`` and
``subjects``: row ``i`` of the matrices is image ``image_names[i]``, which makes a wrong order
visible instead of silent.
"""

from sklearn_rdm.io._long_tables import from_long_table, to_long_table
from sklearn_rdm.io._matrices import read_rdms, write_rdms
from sklearn_rdm.io._rsatoolbox import from_rsatoolbox, to_rsatoolbox

__all__ = [
    "from_long_table",
    "from_rsatoolbox",
    "read_rdms",
    "to_long_table",
    "to_rsatoolbox",
    "write_rdms",
]
