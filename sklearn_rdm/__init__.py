"""Fine-tune pretrained CNNs on measured dissimilarities, the scikit-learn way.

The flow of data, left to right: images -> pairs (:class:`ImagePairs`) -> network
(:class:`SiameseRDMRegressor`) -> dissimilarities -> score (:mod:`sklearn_rdm.metrics`).
"""

from sklearn_rdm._activations import LayerActivations
from sklearn_rdm._calibrated import CalibratedRDMRegressor
from sklearn_rdm._callbacks import WeightAveraging
from sklearn_rdm._displays import (
    LayerEpochDisplay,
    RDMDisplay,
    RDMEmbeddingDisplay,
    RDMScoresDisplay,
)
from sklearn_rdm._ensemble import RDMEnsembleRegressor
from sklearn_rdm._feature_reweighting import FeatureReweightedRSARegressor
from sklearn_rdm._images import read_images
from sklearn_rdm._layer_epoch import LayerEpochSearchCV
from sklearn_rdm._linear_twin import LinearTwinRSARegressor
from sklearn_rdm._losses import (
    CorrelationLoss,
    CosineLoss,
    RankLoss,
    ScaledMSELoss,
    WhitenedCorrelationLoss,
    WhitenedCosineLoss,
)
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._published import make_agrawal2019
from sklearn_rdm._rsa import FixedRSARegressor, LayerWeightedRSARegressor
from sklearn_rdm._siamese import SiameseRDMRegressor

__all__ = [
    "CalibratedRDMRegressor",
    "CorrelationLoss",
    "CosineLoss",
    "FeatureReweightedRSARegressor",
    "FixedRSARegressor",
    "ImagePairs",
    "LayerActivations",
    "LayerEpochDisplay",
    "LayerEpochSearchCV",
    "LayerWeightedRSARegressor",
    "LinearTwinRSARegressor",
    "RDMDisplay",
    "RDMEmbeddingDisplay",
    "RDMEnsembleRegressor",
    "RDMScoresDisplay",
    "RankLoss",
    "ScaledMSELoss",
    "SiameseRDMRegressor",
    "WeightAveraging",
    "WhitenedCorrelationLoss",
    "WhitenedCosineLoss",
    "make_agrawal2019",
    "read_images",
]
