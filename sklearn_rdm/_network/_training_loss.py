"""The loss of a mini-batch, and what is said where it cannot be computed."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetRegressor
from torch import Tensor

from sklearn_rdm._network._batches import PairBatch
from sklearn_rdm._network._untrained import departure
from sklearn_rdm._network._weighted_loss import weighted_loss

__all__ = ["TrainingLoss", "name_constant"]


class TrainingLoss(NeuralNetRegressor):
    """skorch's loss, of pairs that may have weights and an untrained network to stay near."""

    pretrained_penalty: float

    def get_loss(
        self, y_pred: Tensor, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Compute the loss, and stop before a loss that is not finite spoils the weights.

        Parameters
        ----------
        y_pred : Tensor of shape (n_pairs,)
            Predictions.
        y_true : Tensor or ndarray of shape (n_pairs,)
            Pooled dissimilarities.
        X : mini-batch, default=None
            Where the pairs are; a loss that looks at the images of each pair needs it.
        training : bool, default=False
            Ignored.

        Returns
        -------
        loss : Tensor of shape ()
            What ``criterion`` makes of them.

        Raises
        ------
        ValueError
            If the loss is not finite, if an image has constant activations, if dissimilarities are
            missing, or if ``criterion`` needs ``X``.
        """
        loss = self._loss_of_targets(y_pred, y_true, X, training)
        if training and X is not None and X.untrained is not None:
            loss = loss + self.pretrained_penalty * departure(y_pred, X)
        if not torch.isfinite(loss):
            self._raise_not_finite(X, loss, y_true)
        return loss

    def _loss_of_targets(self, y_pred: Tensor, y_true: Any, X: Any, training: bool) -> Any:
        """What the criterion makes of predictions and targets."""
        y_true = torch.as_tensor(y_true).to(y_pred.device, non_blocking=True)
        more = self._index_if_needed(y_pred, X)
        if X is not None and X.weights is not None:
            weights = X.weights.to(y_pred.device, non_blocking=True)
            return weighted_loss(self.criterion_, weights, y_pred, y_true, *more)
        if more:
            return self.criterion_(y_pred, y_true, *more)
        return super().get_loss(y_pred, y_true, X=X, training=training)

    def _index_if_needed(self, y_pred: Tensor, X: Any) -> list[Tensor]:
        """The images of each pair, for a criterion that looks at them."""
        if not getattr(self.criterion_, "needs_index", False):
            return []
        if X is None:
            raise ValueError(
                f"{type(self.criterion_).__name__} needs the images of each pair: give the "
                "mini-batch as X."
            )
        return [X.index.to(y_pred.device, non_blocking=True)]

    def _raise_not_finite(self, batch: PairBatch | None, loss: Tensor, y_true: Tensor) -> None:
        if torch.isnan(torch.as_tensor(y_true)).any():
            raise ValueError("the pairs have no dissimilarities: give y to get_dataset.")
        if batch is not None:
            self._raise_constant(batch)
        raise ValueError(
            f"the loss became {loss.item()} in epoch {len(self.history)}: training diverged. Use "
            f"a lower lr than {self.lr}."
        )

    def _raise_constant(self, batch: PairBatch) -> None:
        """Raise an error if an image of a mini-batch has constant activations."""
        with torch.no_grad():
            features = self.module_.features(batch.to(self.device))
        read_out = self.module_.read_out
        finite = torch.isfinite(features).all(dim=1)
        constant = finite & torch.isnan(read_out.normalise(features)[:, 0])
        if constant.any():
            image = batch.images[int(constant.int().argmax())]
            raise ValueError(name_constant(image, read_out.name))


def name_constant(image: int, layer: str) -> str:
    return (
        f"image {image} has constant activations at layer {layer!r}, so that its correlation with "
        "other images is not defined. Leave the image out if it is blank; otherwise read out "
        "another layer, or train with a lower lr."
    )
