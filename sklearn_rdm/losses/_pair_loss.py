"""What all losses of pairs take and say."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

__all__ = ["PairLoss"]


class PairLoss(nn.Module):
    """A loss of the dissimilarities of a mini-batch, whose pairs may have weights.

    ``SiameseRDMRegressor`` divides the target by a power of two near its largest value if
    ``any_unit`` is set, so that float32 holds targets in any unit; if ``any_zero`` is set as well,
    it first moves targets to zero that vary little beside their size.
    """

    any_unit, any_zero = True, False

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, y_pred: Tensor, y_true: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.
        sample_weight : Tensor of shape (n_pairs,), default=None
            How much each pair counts, above 0: a weight of 2 is a pair given twice. None: all
            alike.

        Returns
        -------
        loss : Tensor of shape ()
            In the range that the class states.
        """
        return self._loss(y_pred, y_true, sample_weight)

    @abstractmethod
    def _loss(self, y_pred: Tensor, y_true: Tensor, weights: Tensor | None) -> Tensor:
        """What the class computes."""
