"""Fine-tune pretrained CNNs on measured dissimilarities, the scikit-learn way.

The flow of data, left to right: images -> pairs (:class:`ImagePairs`) -> network
(:class:`SiameseRDMRegressor`) -> dissimilarities -> score (:mod:`sklearn_rdm.metrics`).
"""

from sklearn_rdm._activations import LayerActivations
from sklearn_rdm._pairs import ImagePairs, read_images
from sklearn_rdm._siamese import SiameseRDMRegressor, TwinNetwork
from sklearn_rdm.preprocessing import PerImage

__all__ = [
    "ImagePairs",
    "LayerActivations",
    "PerImage",
    "SiameseRDMRegressor",
    "TwinNetwork",
    "read_images",
]
