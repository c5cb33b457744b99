from . import (
    callbacks,
    datasets,
    io,
    losses,
    metrics,
    model_selection,
    preprocessing,
)
from ._displays import (
    LayerEpochDisplay,
    RDMDisplay,
    RDMEmbeddingDisplay,
    RDMScoresDisplay,
)
from ._models import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
)
from ._network import (
    LayerActivations,
    LayerEpochSearchCV,
    SiameseRDMRegressor,
    list_layers,
    make_agrawal2019,
)
from ._pairs import ImagePairs, ResponsePatterns, read_images
from ._versions import show_versions
from .losses import CorrelationLoss

__version__: str

__all__ = [
    "CalibratedRDMRegressor",
    "CorrelationLoss",
    "EnsembleRDMRegressor",
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
    "RDMScoresDisplay",
    "ResponsePatterns",
    "SiameseRDMRegressor",
    "callbacks",
    "datasets",
    "io",
    "list_layers",
    "losses",
    "make_agrawal2019",
    "metrics",
    "model_selection",
    "preprocessing",
    "read_images",
    "show_versions",
]
