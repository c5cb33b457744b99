"""The squared error of dissimilarities whose unit and zero mean nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_rdm.losses._pair_loss import PairLoss
from sklearn_rdm.losses._weighted import centred, exponent, to_unit_scale, weigh

__all__ = ["ScaledMSELoss"]


class ScaledMSELoss(PairLoss):
    """Squared error after the best scale and offset of the predictions of a batch.

    ``min over a >= 0 and b of mean((a * y_pred + b - y_true)^2)``, in squared units of the target.
    The least squares have a closed form: with means, covariance and (population) variances over
    the pairs of the mini-batch, ``a = max(cov(y_pred, y_true), 0) / var(y_pred)`` and
    ``b = mean(y_true) - a * mean(y_pred)``, so that the loss is
    ``var(y_true) * (1 - max(r, 0)^2)`` with Pearson's ``r``: from 0 (same pattern) to the variance
    of the target (no or a negative correlation). This is the squared error of the paper for targets
    in any unit: the network need not learn the scale of the measurement. (In ``fit`` the unit is a
    power of two near the largest target.) Batches in which dissimilarities vary more count more.
    Needs mini-batches of several pairs: ``batching="images"``.

    See Also
    --------
    CorrelationLoss : Weighs batches alike, and also learns from batches with a negative ``r``.
    torch.nn.MSELoss : When the scale of the prediction matters.

    Notes
    -----
    The scale cannot be negative: with it the opposite pattern would be as good. Where ``r`` is
    negative the best scale is 0, and such a batch, as one of one pair, has no gradient. Start from
    a layer whose distances correlate with the target, or use :class:`CorrelationLoss`. The
    gradient is proportional to the variance of the target: choose ``lr`` by its unit.

    References
    ----------
    .. [1] S.-M. Khaligh-Razavi, N. Kriegeskorte (2014). "Deep supervised, but not unsupervised,
       models may explain IT cortical representation". PLOS Computational Biology 10:e1003915
       (least squares with a scale that is not negative, there of the distances of layers).

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import ScaledMSELoss
    >>> observed = torch.tensor([10.0, 30.0, 20.0])
    >>> ScaledMSELoss()(observed / 50 + 0.3, observed).round(decimals=3)
    tensor(0.)
    >>> ScaledMSELoss()(torch.tensor([0.1, 0.2, 0.3]), observed).round(decimals=3)
    tensor(50.)
    """

    any_zero = True

    def _loss(self, y_pred: Tensor, y_true: Tensor, weights: Tensor | None) -> Tensor:
        predicted, observed = (
            weigh(centred(to_unit_scale(values), weights), weights) for values in (y_pred, y_true)
        )
        with torch.no_grad():  # at the best scale, a change of the scale does not change the loss
            power = predicted @ predicted
            scale = (predicted @ observed).clamp(min=0) / torch.where(power > 0, power, 1)
        total = len(y_true) if weights is None else weights.sum()
        loss = (scale * predicted - observed).square().sum() / total
        return torch.ldexp(loss, 2 * exponent(y_true))
