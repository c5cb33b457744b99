"""Vectors of dissimilarities brought to one scale, centred and weighted, without loss of digits."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_rdm._pairs._rounding import SUM_EPSILONS


def to_unit_scale(values: Tensor) -> Tensor:
    """Values times a power of two, which is exact, so that squares neither overflow nor vanish."""
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return torch.ldexp(values, -exponent(values))


def exponent(values: Tensor) -> Tensor:
    """Of the power of two at or above the largest magnitude, within those of float32."""
    return torch.frexp(values.detach().abs().max()).exponent.clamp(-126, 126)


def unit(values: Tensor) -> Tensor:
    """Scale to length 1; zeros stay zeros, with a finite gradient."""
    length = values.norm()
    return values / torch.where(length > 0, length, 1)


def weigh(values: Tensor, weights: Tensor | None) -> Tensor:
    """Values whose products are the weighted ones."""
    return values if weights is None else values * weights.sqrt()


def centred(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Subtract the mean; values that are equal up to rounding become zeros without gradient."""
    mean = values.mean() if weights is None else (weights * values).sum() / weights.sum()
    around = values - mean
    noise = SUM_EPSILONS * torch.finfo(values.dtype).eps * values.norm()
    return torch.where(around.norm() <= noise, 0, around)  # what is NaN stays so
