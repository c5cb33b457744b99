"""Estimators of dissimilarities without a network to train: fixed, weighted, linear, combined."""

from sklearn_rdm._models._calibrated import CalibratedRDMRegressor
from sklearn_rdm._models._ensemble import EnsembleRDMRegressor
from sklearn_rdm._models._feature_reweighting import FeatureReweightedRSARegressor
from sklearn_rdm._models._linear_twin import LinearTwinRSARegressor
from sklearn_rdm._models._odd_one_out import OddOneOutAlignment
from sklearn_rdm._models._rsa import (
    FixedRSARegressor,
    LayerWeightedRSARegressor,
)
from sklearn_rdm._models._voting import VotingRDMRegressor

__all__ = [
    "CalibratedRDMRegressor",
    "FeatureReweightedRSARegressor",
    "FixedRSARegressor",
    "LayerWeightedRSARegressor",
    "LinearTwinRSARegressor",
    "EnsembleRDMRegressor",
    "VotingRDMRegressor",
    "OddOneOutAlignment",
]
