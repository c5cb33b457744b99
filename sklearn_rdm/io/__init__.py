"""Dissimilarity matrices to and from the files and tables that labs keep them in.

Every reader returns a :class:`~sklearn.utils.Bunch` with ``rdms``, ``image_names`` and
``subjects``: row ``i`` of the matrices is image ``image_names[i]``, which makes a wrong order
visible instead of silent.
"""

from sklearn_rdm.io._tables import (
    from_long_table,
    from_rsatoolbox,
    read_rdms,
    to_long_table,
    to_rsatoolbox,
    write_rdms,
)

__all__ = [
    "from_long_table",
    "from_rsatoolbox",
    "read_rdms",
    "to_long_table",
    "to_rsatoolbox",
    "write_rdms",
]
