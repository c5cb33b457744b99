"""Losses over the pairs of a mini-batch, beside torch's own ``MSELoss``."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["CorrelationLoss"]


class CorrelationLoss(nn.Module):
    """One minus the Pearson correlation of predicted and observed dissimilarities of a batch.

    ``1 - r(y_pred, y_true)`` over the pairs of the mini-batch, from 0 to 2. Unlike the squared
    error it asks for the pattern of dissimilarities only, which is what representational
    similarity analysis scores, and not for their mean and scale, which depend on the measurement.
    Needs mini-batches of several pairs: ``batching="images"``.

    See Also
    --------
    torch.nn.MSELoss : The paper's loss, for targets on the scale of correlation distances.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm import CorrelationLoss
    >>> observed = torch.tensor([0.0, 1.0, 2.0])
    >>> CorrelationLoss()(0.1 * observed + 0.5, observed).round(decimals=3).abs()
    tensor(0.)
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.

        Returns
        -------
        loss : Tensor of shape ()
            0 (same pattern) to 2 (opposite); 1 where the observed ones of the batch are all equal.
        """
        predicted = y_pred - y_pred.mean()
        observed = y_true - y_true.mean()
        return 1 - nn.functional.cosine_similarity(predicted, observed, dim=0)
