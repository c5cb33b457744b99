"""Fine-tune pretrained CNNs on measured dissimilarities, the scikit-learn way.

The flow of data, left to right: images -> pairs (:class:`ImagePairs`) -> network
(:class:`SiameseRDMRegressor`) -> dissimilarities -> score (:mod:`sklearn_rdm.metrics`).
"""

from sklearn_rdm._pairs import ImagePairs, read_images

__all__ = ["ImagePairs", "read_images"]
