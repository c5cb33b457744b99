"""One minus a correlation, or a cosine, of predicted and observed dissimilarities."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_rdm.losses._pair_loss import PairLoss
from sklearn_rdm.losses._weighted import centred, to_unit_scale, unit, weigh

__all__ = ["CorrelationLoss", "CosineLoss"]


class CorrelationLoss(PairLoss):
    """One minus the Pearson correlation of predicted and observed dissimilarities of a batch.

    ``1 - r(y_pred, y_true)`` over the pairs of the mini-batch, from 0 (same pattern) to 2
    (opposite). Unlike the squared error, it compares the pattern of dissimilarities only, as
    representational similarity analysis does, and not their mean and scale, which depend on the
    measurement.
    Needs mini-batches of several pairs: ``batching="images"``.

    See Also
    --------
    torch.nn.MSELoss : The paper's loss, for targets on the scale of correlation distances.
    WhitenedCorrelationLoss : Counts what pairs that share an image have in common only once.
    CosineLoss : When the zero of the dissimilarities has a meaning.
    ScaledMSELoss : Equally free of scale and offset, in the units of the target.
    RankLoss : When only the order of the dissimilarities is to be trusted.

    Notes
    -----
    The loss is 1, without gradient, where the predicted or the observed dissimilarities of the
    batch are all equal.

    References
    ----------
    .. [1] N. Kriegeskorte, M. Mur, P. Bandettini (2008). "Representational similarity analysis -
       connecting the branches of systems neuroscience". Front. Syst. Neurosci. 2:4. (The comparison
       of matrices by correlation, here as a loss.)

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import CorrelationLoss
    >>> observed = torch.tensor([0.0, 1.0, 2.0])
    >>> CorrelationLoss()(0.1 * observed + 0.5, observed).round(decimals=3).abs()
    tensor(0.)
    """

    any_zero = True

    def _loss(self, y_pred: Tensor, y_true: Tensor, weights: Tensor | None) -> Tensor:
        predicted, observed = (
            weigh(centred(to_unit_scale(values), weights), weights) for values in (y_pred, y_true)
        )
        return 1 - nn.functional.cosine_similarity(predicted, observed, dim=0)


class CosineLoss(PairLoss):
    """One minus the cosine of predicted and observed dissimilarities of a batch.

    ``1 - sum(y_pred * y_true) / (|y_pred| |y_true|)`` over the pairs of the mini-batch, from 0
    (proportional) to 1, or to 2 (opposite) if some are negative, as crossvalidated distances may
    be. Like :class:`CorrelationLoss` it does not depend on the scale, but it depends on the zero:
    use it for distances whose zero means "not different". Correlation distances that are all about
    1 are nearly proportional to each other: their cosine says little. Needs mini-batches of several
    pairs: ``batching="images"``.

    See Also
    --------
    CorrelationLoss : When the zero of the dissimilarities means nothing, as after z-scoring.
    WhitenedCosineLoss : Counts what pairs that share an image have in common only once.
    sklearn_rdm.metrics.rdm_cosine_score : The score that it optimises.

    Notes
    -----
    One pair, or predictions or targets that are all 0, have no gradient. The loss is 1 where all
    predictions or all targets are 0.

    References
    ----------
    .. [1] A. Walther, H. Nili, N. Ejaz, A. Alink, N. Kriegeskorte, J. Diedrichsen (2016).
       "Reliability of dissimilarity measures for multi-voxel pattern analysis". NeuroImage
       137:188-200.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import CosineLoss
    >>> observed = torch.tensor([3.0, 4.0])
    >>> CosineLoss()(torch.tensor([1.0, 0.0]), observed).round(decimals=3)
    tensor(0.4000)
    """

    def _loss(self, y_pred: Tensor, y_true: Tensor, weights: Tensor | None) -> Tensor:
        predicted, observed = (
            unit(weigh(to_unit_scale(values), weights)) for values in (y_pred, y_true)
        )
        return 1 - predicted @ observed
