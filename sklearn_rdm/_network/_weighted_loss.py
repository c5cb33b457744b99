"""The loss of pairs that do not all count alike, by any criterion that can tell them apart."""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any

from torch import Tensor, nn


def check_takes_weights(criterion: Any) -> None:
    """Refuse weights of pairs where the criterion would not see them."""
    if _names_weights(criterion) or _reduction(criterion) in ("mean", "sum"):
        return
    raise ValueError(
        f"sample_weight was given, but criterion={criterion!r} cannot weight pairs: it has neither "
        "a parameter sample_weight in forward nor reduction='mean' or 'sum'. Leave sample_weight "
        "out, or use a loss of sklearn_rdm.losses or torch.nn.MSELoss."
    )


def weighted_loss(
    criterion: Any, weights: Tensor, y_pred: Tensor, y_true: Tensor, *more: Any
) -> Any:
    """Give the criterion the weights, or take the weighted mean (or sum) of its single losses."""
    if _names_weights(criterion):
        return criterion(y_pred, y_true, *more, sample_weight=weights)
    single = copy.copy(criterion)
    single.reduction = "none"
    total = (weights * single(y_pred, y_true, *more)).sum()
    return total if criterion.reduction == "sum" else total / weights.sum()


def _names_weights(criterion: Any) -> bool:
    forward = criterion.forward if isinstance(criterion, nn.Module) else criterion
    return "sample_weight" in signature(forward).parameters


def _reduction(criterion: Any) -> Any:
    return getattr(criterion, "reduction", None)
