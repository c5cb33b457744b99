"""Losses over the pairs, or triplets, of a mini-batch, beside torch's own ``MSELoss``.

Those of pairs take weights of pairs, ``sample_weight``; :class:`~sklearn_rdm.SiameseRDMRegressor`
hands on those that its ``fit`` is given.
"""

from sklearn_rdm.losses._correlation import CorrelationLoss, CosineLoss
from sklearn_rdm.losses._rank import RankLoss
from sklearn_rdm.losses._scaled import ScaledMSELoss
from sklearn_rdm.losses._triplets import OddOneOutLoss, TripletHingeLoss
from sklearn_rdm.losses._whitened import WhitenedCorrelationLoss, WhitenedCosineLoss

__all__ = [
    "CorrelationLoss",
    "CosineLoss",
    "OddOneOutLoss",
    "RankLoss",
    "ScaledMSELoss",
    "TripletHingeLoss",
    "WhitenedCorrelationLoss",
    "WhitenedCosineLoss",
]
