"""The twin network: backbones, read-outs, training, and the estimators around it. Needs torch."""

from sklearn_rdm._network._activations import LayerActivations
from sklearn_rdm._network._layer_epoch import LayerEpochSearchCV
from sklearn_rdm._network._layer_scores import score_layers
from sklearn_rdm._network._layer_table import list_layers
from sklearn_rdm._network._odd_one_out import SiameseOddOneOutClassifier
from sklearn_rdm._network._published import make_agrawal2019
from sklearn_rdm._network._siamese import SiameseRDMRegressor

__all__ = [
    "LayerActivations",
    "LayerEpochSearchCV",
    "SiameseOddOneOutClassifier",
    "SiameseRDMRegressor",
    "list_layers",
    "make_agrawal2019",
    "score_layers",
]
