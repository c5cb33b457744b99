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
    OddOneOutAlignment,
)
from ._network import (
    LayerActivations,
    LayerEpochSearchCV,
    SiameseRDMRegressor,
    make_agrawal2019,
)
from ._pairs import ImagePairs, ImageTriplets, ResponsePatterns, read_images
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
    "ImageTriplets",
    "LayerActivations",
    "LayerEpochDisplay",
    "LayerEpochSearchCV",
    "LayerWeightedRSARegressor",
    "LinearTwinRSARegressor",
    "OddOneOutAlignment",
    "RDMDisplay",
    "RDMEmbeddingDisplay",
    "RDMScoresDisplay",
    "ResponsePatterns",
    "SiameseRDMRegressor",
    "callbacks",
    "datasets",
    "io",
    "losses",
    "make_agrawal2019",
    "metrics",
    "model_selection",
    "preprocessing",
    "read_images",
    "show_versions",
]
