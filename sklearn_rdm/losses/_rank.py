"""The order of dissimilarities as a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_rdm.losses._pair_loss import PairLoss

__all__ = ["RankLoss"]

RANK_BLOCK = 512  # pairs compared with all others at a time; 14 MB per matrix for 118 images


class RankLoss(PairLoss):
    """Pairwise logistic rank loss: of two dissimilarities, the larger should be predicted larger.

    The mean of ``log(1 + exp(scale * (y_pred[j] - y_pred[i]))) / scale`` over all ``(i, j)`` of
    the mini-batch with ``y_true[i] > y_true[j]`` [1]_. Only the order of the observed
    dissimilarities matters, not their values; ties are left out. The loss is 0 or more, without
    upper bound: near 0 for predictions in the same order and far apart, ``log(2) / scale`` for
    equal predictions. Two predictions in the wrong order cost about their difference. Needs
    mini-batches of many pairs: ``batching="images"``.

    Parameters
    ----------
    scale : float, default=20.0
        Steepness: differences of prediction well above ``1 / scale`` count as decided. A larger
        scale comes closer to counting wrong orders, a smaller one also pulls apart what is in the
        right order. 20 suits correlation distances, 0 to 2; the step size does not depend on it.

    Raises
    ------
    ValueError
        If ``scale`` is not positive and finite.

    See Also
    --------
    CorrelationLoss : When the differences of dissimilarities mean something, not just the order.
    sklearn_rdm.metrics.rdm_rho_a_score : A score of the order.

    Notes
    -----
    The loss is 0 where the observed dissimilarities of the batch are all equal.

    CoSENT [2]_ takes the logarithm of the sum of ``exp(scale * (y_pred[j] - y_pred[i]))`` in place
    of the mean of logistic losses, so that the worst comparisons dominate; of measured
    dissimilarities these are mostly noise, hence the mean.

    Exact, over all ``n_pairs^2 / 2`` comparisons, in blocks: memory grows with ``n_pairs``, time
    with its square. The 1,128 pairs of 48 images take some 20 ms a step, the 6,903 of 118 images
    less than a second, on one core.

    References
    ----------
    .. [1] C. Burges, T. Shaked, E. Renshaw, A. Lazier, M. Deeds, N. Hamilton, G. Hullender (2005).
       "Learning to rank using gradient descent". ICML.
    .. [2] X. Huang, H. Peng, D. Zou, Z. Liu, J. Li, K. Liu, J. Wu, J. Su, P. S. Yu (2024).
       "CoSENT: consistent sentence embedding via similarity ranking". IEEE/ACM Transactions on
       Audio, Speech and Language Processing 32:2800-2813.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import RankLoss
    >>> observed = torch.tensor([1.0, 2.0, 100.0])
    >>> RankLoss()(torch.tensor([0.0, 0.5, 1.0]), observed).round(decimals=3)
    tensor(0.)
    >>> RankLoss()(torch.tensor([1.0, 0.5, 0.0]), observed).round(decimals=3)
    tensor(0.6670)
    """

    any_zero = True

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be a positive, finite number, got {scale!r}.")
        self.scale = scale

    def _loss(self, y_pred: Tensor, y_true: Tensor, weights: Tensor | None) -> Tensor:
        counts = torch.ones_like(y_true) if weights is None else weights
        _, place = y_true.unique(return_inverse=True)
        tied = torch.zeros_like(counts).index_add(0, place, counts).square().sum()
        ordered = (counts.sum().square() - tied) / 2
        total = _RankLossSum.apply(y_pred, y_true, weights, self.scale)
        ordered = ordered + (y_true - y_true).sum()  # so that a missing value is not passed over
        return total / torch.where(place.any(), ordered, 1)


class _RankLossSum(torch.autograd.Function):
    """Logistic losses of all ordered pairs; their slopes are summed at once, not kept."""

    @staticmethod
    def forward(
        ctx: Any, y_pred: Tensor, y_true: Tensor, counts: Tensor | None, scale: float
    ) -> Tensor:
        total, gradient = y_pred.new_zeros(()), torch.zeros_like(y_pred)
        for start in range(0, len(y_pred), RANK_BLOCK):
            rows = slice(start, start + RANK_BLOCK)
            larger = y_true[rows, None] > y_true
            if counts is not None:
                larger = larger * counts[rows, None] * counts
            excess = y_pred - y_pred[rows, None]
            total += nn.functional.softplus(excess, beta=scale).mul_(larger).sum()
            slope = excess.mul_(scale).sigmoid_().mul_(larger)
            gradient += slope.sum(0)
            gradient[rows] -= slope.sum(1)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, total_gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return total_gradient * gradient, None, None, None
