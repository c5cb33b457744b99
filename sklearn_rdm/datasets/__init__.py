"""Images with measured dissimilarities, and simulated ones whose truth is known.

Every function returns a :class:`~sklearn.utils.Bunch` with ``images``, ``rdms``,
``image_groups`` and ``description``, which :meth:`sklearn_rdm.ImagePairs.from_rdms` takes.
Measured data lie below ``data_home``: the argument, else the environment variable
``SKLEARN_RDM_DATA``, else ``$XDG_CACHE_HOME/sklearn_rdm``, else ``~/.cache/sklearn_rdm``.
"""

from sklearn_rdm.datasets._fetchers import (
    fetch_algonauts2019,
    fetch_kriegeskorte92,
)
from sklearn_rdm.datasets._odd_one_out import make_odd_one_out
from sklearn_rdm.datasets._simulated import make_rdm_regression

__all__ = [
    "fetch_algonauts2019",
    "fetch_kriegeskorte92",
    "make_odd_one_out",
    "make_rdm_regression",
]
