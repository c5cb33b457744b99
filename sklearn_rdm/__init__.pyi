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
    LayerScoresDisplay,
    RDMDisplay,
    RDMEmbeddingDisplay,
    RDMScoresDisplay,
    TrainingCurveDisplay,
)
from ._models import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    OddOneOutAlignment,
    VotingRDMRegressor,
)
from ._network import (
    LayerActivations,
    LayerEpochSearchCV,
    SiameseOddOneOutClassifier,
    SiameseRDMRegressor,
    list_layers,
    make_agrawal2019,
    score_layers,
)
from ._pairs import ImagePairs, ImageTriplets, LazyImages, ResponsePatterns, read_images
from ._report import RDMReport, report
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
    "LayerScoresDisplay",
    "LayerWeightedRSARegressor",
    "LazyImages",
    "LinearTwinRSARegressor",
    "OddOneOutAlignment",
    "RDMDisplay",
    "RDMEmbeddingDisplay",
    "RDMReport",
    "RDMScoresDisplay",
    "ResponsePatterns",
    "SiameseOddOneOutClassifier",
    "SiameseRDMRegressor",
    "TrainingCurveDisplay",
    "VotingRDMRegressor",
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
    "report",
    "score_layers",
    "show_versions",
]
