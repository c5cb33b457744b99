"""Losses over the pairs of a mini-batch, beside torch's own ``MSELoss``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_rdm._pairs._rounding import SUM_EPSILONS

__all__ = [
    "CorrelationLoss",
    "CosineLoss",
    "RankLoss",
    "ScaledMSELoss",
    "WhitenedCorrelationLoss",
    "WhitenedCosineLoss",
]

RANK_BLOCK = 512  # pairs compared with all others at a time; 14 MB per matrix for 118 images


class CorrelationLoss(nn.Module):
    """One minus the Pearson correlation of predicted and observed dissimilarities of a batch.

    ``1 - r(y_pred, y_true)`` over the pairs of the mini-batch, from 0 to 2. Unlike the squared
    error it asks for the pattern of dissimilarities only, which is what representational
    similarity analysis scores, and not for their mean and scale, which depend on the measurement.
    Needs mini-batches of several pairs: ``batching="images"``.

    See Also
    --------
    torch.nn.MSELoss : The paper's loss, for targets on the scale of correlation distances.
    WhitenedCorrelationLoss : Counts what pairs that share an image have in common only once.
    CosineLoss : When the zero of the dissimilarities has a meaning.
    ScaledMSELoss : Equally free of scale and offset, in the units of the target.
    RankLoss : When only the order of the dissimilarities is to be trusted.

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

    any_unit = True

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
            0 (same pattern) to 2 (opposite); 1, without gradient, where the predicted or the
            observed ones of the batch are all equal.
        """
        predicted, observed = _to_unit_scale(y_pred), _to_unit_scale(y_true)
        return 1 - nn.functional.cosine_similarity(_centred(predicted), _centred(observed), dim=0)


class CosineLoss(nn.Module):
    """One minus the cosine of predicted and observed dissimilarities of a batch.

    ``1 - sum(y_pred * y_true) / (|y_pred| |y_true|)`` over the pairs of the mini-batch, from 0
    (proportional) to 1 for dissimilarities that are not negative, to 2 for those that are, such
    as crossvalidated distances. Free of scale as :class:`CorrelationLoss`, but not of offset: for
    distances whose zero means "not different". Correlation distances that are all about 1 are
    nearly proportional to anything: their cosine says little. Needs mini-batches of several pairs:
    ``batching="images"``.

    See Also
    --------
    CorrelationLoss : When the zero of the dissimilarities means nothing, as after z-scoring.
    WhitenedCosineLoss : Counts what pairs that share an image have in common only once.
    sklearn_rdm.metrics.rdm_cosine_score : The score that it optimises.

    Notes
    -----
    One pair, or predictions or targets that are all 0, have no gradient.

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

    any_unit = True

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
            0 (proportional) to 2 (opposite); 1 where all predicted or all observed ones are 0.
        """
        return 1 - _unit(_to_unit_scale(y_pred)) @ _unit(_to_unit_scale(y_true))


class WhitenedCorrelationLoss(nn.Module):
    """One minus the whitened Pearson correlation of predicted and observed dissimilarities.

    ``1 - y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)`` over the pairs of the mini-batch, with ``y`` and
    ``p`` the observed and predicted dissimilarities less their means and ``V`` the covariance of
    noise of estimated squared distances [1]_: up to a factor 4 for a pair with itself, 1 for two
    pairs that share an image, 0 for others. Unlike :class:`CorrelationLoss` it does not count again
    with each of its pairs what is due to one image. From 0 to 2, free of scale and offset. Needs
    mini-batches of several pairs that share images: ``batching="images"``.

    Attributes
    ----------
    needs_index : bool
        True: :class:`SiameseRDMRegressor` calls it with the images of each pair as well.
    any_unit : bool
        True: :class:`SiameseRDMRegressor` divides the target by a power of two near its largest
        value, so that float32 holds targets in any unit.

    See Also
    --------
    CorrelationLoss : Needs the dissimilarities only; the same for the pairs of 3 images.
    WhitenedCosineLoss : When the zero of the dissimilarities has a meaning.
    sklearn_rdm.metrics.rdm_whitened_pearson_score : The score that it optimises, ``corr_cov`` in
        rsatoolbox; also with a covariance between the images.

    Notes
    -----
    With ``B = 1`` where a pair has an image, ``V = B B' + 2 I``, and
    ``y' V^-1 p = (y - B s(y))' (p - B s(p)) / 2 + s(y)' s(p)`` with ``s(y)`` the ridge regression
    of ``y`` on ``B`` with penalty 2: a solve as large as the number of images, for any set of
    pairs, also of several image sets.

    References
    ----------
    .. [1] J. Diedrichsen, E. Berlot, M. Mur, H. H. Schuett, M. Shahbazi, N. Kriegeskorte (2021).
       "Comparing representational geometries using whitened unbiased-distance-matrix similarity".
       Neurons, Behavior, Data analysis, and Theory 5(3).

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import WhitenedCorrelationLoss
    >>> index = torch.tensor([[0, 1], [0, 2], [1, 3], [2, 3]])
    >>> observed = torch.tensor([1.0, 2.0, 3.0, 5.0])
    >>> WhitenedCorrelationLoss()(0.1 * observed + 0.5, observed, index).round(decimals=3).abs()
    tensor(0.)
    >>> predicted = torch.tensor([1.0, 2.0, 4.0, 4.0])
    >>> WhitenedCorrelationLoss()(predicted, observed, index).round(decimals=3)
    tensor(0.1810)
    """

    needs_index = True
    any_unit = True

    def __init__(self) -> None:
        super().__init__()

    def forward(self, y_pred: Tensor, y_true: Tensor, index: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.
        index : Tensor of int64, shape (n_pairs, 2)
            The two images of each pair, in any numbering.

        Returns
        -------
        loss : Tensor of shape ()
            0 (same pattern) to 2 (opposite); 1, without gradient, where the predicted or the
            observed ones of the batch are all equal.

        Raises
        ------
        ValueError
            If ``index`` has another shape.
        """
        predicted, observed = _to_unit_scale(y_pred), _to_unit_scale(y_true)
        return _whitened_cosine_loss(_centred(predicted), _centred(observed), index)


class WhitenedCosineLoss(nn.Module):
    """One minus the whitened cosine of predicted and observed dissimilarities of a batch.

    As :class:`WhitenedCorrelationLoss`, of the dissimilarities as they are:
    ``1 - y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)``. From 0 to 2, free of scale. For all pairs of
    some images it is one minus the linear centred kernel alignment (CKA) of the double-centred
    matrices [1]_. Needs mini-batches of several pairs that share images: ``batching="images"``.

    Attributes
    ----------
    needs_index : bool
        True: :class:`SiameseRDMRegressor` calls it with the images of each pair as well.
    any_unit : bool
        True: :class:`SiameseRDMRegressor` divides the target by a power of two near its largest
        value, so that float32 holds targets in any unit.

    See Also
    --------
    CosineLoss : Needs the dissimilarities only.
    WhitenedCorrelationLoss : When the zero of the dissimilarities means nothing.
    sklearn_rdm.metrics.rdm_whitened_cosine_score : The score that it optimises, ``cosine_cov`` in
        rsatoolbox; also with a covariance between the images.

    References
    ----------
    .. [1] J. Diedrichsen, E. Berlot, M. Mur, H. H. Schuett, M. Shahbazi, N. Kriegeskorte (2021).
       "Comparing representational geometries using whitened unbiased-distance-matrix similarity".
       Neurons, Behavior, Data analysis, and Theory 5(3).

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import WhitenedCosineLoss
    >>> index = torch.tensor([[0, 1], [0, 2], [1, 2]])
    >>> observed, predicted = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0])
    >>> WhitenedCosineLoss()(predicted, observed, index).round(decimals=3)
    tensor(0.0130)
    """

    needs_index = True
    any_unit = True

    def __init__(self) -> None:
        super().__init__()

    def forward(self, y_pred: Tensor, y_true: Tensor, index: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.
        index : Tensor of int64, shape (n_pairs, 2)
            The two images of each pair, in any numbering.

        Returns
        -------
        loss : Tensor of shape ()
            0 (proportional) to 2 (opposite); 1 where all predicted or all observed ones are 0.

        Raises
        ------
        ValueError
            If ``index`` has another shape.
        """
        return _whitened_cosine_loss(_to_unit_scale(y_pred), _to_unit_scale(y_true), index)


class ScaledMSELoss(nn.Module):
    """Squared error after the best scale and offset of the predictions of a batch.

    ``min over a >= 0 and b of mean((a * y_pred + b - y_true)^2)``, in squared units of the target.
    The least squares have a closed form: with means, covariance and (population) variances over
    the pairs of the mini-batch, ``a = max(cov(y_pred, y_true), 0) / var(y_pred)`` and
    ``b = mean(y_true) - a * mean(y_pred)``, so that the loss is
    ``var(y_true) * (1 - max(r, 0)^2)`` with Pearson's ``r``. The squared error of the paper,
    for targets in any unit: the network need not learn the scale of the measurement. (In ``fit``
    the unit is a power of two near the largest target.) Batches in
    which dissimilarities vary more count more. Needs mini-batches of several pairs:
    ``batching="images"``.

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

    any_unit = True

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
            0 (same pattern) to the variance of the observed ones (no or a negative correlation).
        """
        predicted, observed = _centred(_to_unit_scale(y_pred)), _centred(_to_unit_scale(y_true))
        with torch.no_grad():  # at the best scale, a change of the scale does not change the loss
            power = predicted @ predicted
            scale = (predicted @ observed).clamp(min=0) / torch.where(power > 0, power, 1)
        loss = (scale * predicted - observed).square().mean()
        return torch.ldexp(loss, 2 * _exponent(y_true))


class RankLoss(nn.Module):
    """Pairwise logistic rank loss: of two dissimilarities, the larger is to be predicted larger.

    The mean of ``log(1 + exp(scale * (y_pred[j] - y_pred[i]))) / scale`` over all ``(i, j)`` of
    the mini-batch with ``y_true[i] > y_true[j]`` [1]_. Only the order of the observed
    dissimilarities is read, never their values; ties are left out. From 0 (predicted in the same
    order, far apart), through ``log(2) / scale`` for equal predictions, without upper bound: a
    comparison in the wrong order costs about the difference of its two predictions. Needs
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

    any_unit = True

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be a positive, finite number, got {scale!r}.")
        self.scale = scale

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.

        Returns
        -------
        loss : Tensor of shape ()
            0 or more; 0 where the observed ones of the batch are all equal.
        """
        n_tied = y_true.unique(return_counts=True)[1].square().sum()
        n_ordered = (len(y_true) ** 2 - n_tied) // 2
        return _RankLossSum.apply(y_pred, y_true, self.scale) / n_ordered.clamp(min=1)


class _RankLossSum(torch.autograd.Function):
    """Logistic losses of all ordered pairs; their slopes are summed at once, not kept."""

    @staticmethod
    def forward(ctx: Any, y_pred: Tensor, y_true: Tensor, scale: float) -> Tensor:
        total, gradient = y_pred.new_zeros(()), torch.zeros_like(y_pred)
        for start in range(0, len(y_pred), RANK_BLOCK):
            rows = slice(start, start + RANK_BLOCK)
            larger = y_true[rows, None] > y_true
            excess = y_pred - y_pred[rows, None]
            total += nn.functional.softplus(excess, beta=scale).mul_(larger).sum()
            slope = excess.mul_(scale).sigmoid_().mul_(larger)
            gradient += slope.sum(0)
            gradient[rows] -= slope.sum(1)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, total_gradient: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return total_gradient * gradient, None, None


def _to_unit_scale(values: Tensor) -> Tensor:
    """Values times a power of two, which is exact, so that squares neither overflow nor vanish."""
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return torch.ldexp(values, -_exponent(values))


def _exponent(values: Tensor) -> Tensor:
    """Of the power of two at or above the largest magnitude, within those of float32."""
    return torch.frexp(values.detach().abs().max()).exponent.clamp(-126, 126)


def _whitened_cosine_loss(y_pred: Tensor, y_true: Tensor, index: Tensor) -> Tensor:
    if index.shape != (len(y_pred), 2):
        raise ValueError(
            f"index must have shape ({len(y_pred)}, 2), the two images of each pair, got "
            f"{tuple(index.shape)}."
        )
    whitened = _whiten(torch.stack([y_pred, y_true], dim=1), index)
    return 1 - _unit(whitened[:, 0]) @ _unit(whitened[:, 1])


def _whiten(columns: Tensor, index: Tensor) -> Tensor:
    """Rows (n_pairs + n_images) whose products are those of ``2 V^-1``, without cancellation."""
    images, rows = index.unique(return_inverse=True)
    first, second = rows.T
    shared = columns.new_zeros(len(images), len(images))
    shared.index_put_((first, second), columns.new_ones(()), accumulate=True)
    shared = shared + shared.T
    totals = columns.new_zeros(len(images), columns.shape[1])
    totals = totals.index_add(0, first, columns).index_add(0, second, columns)
    factor = torch.linalg.cholesky(shared + torch.diag(shared.sum(0) + 2))
    effects = torch.cholesky_solve(totals, factor)
    return torch.cat([columns - effects[first] - effects[second], 2**0.5 * effects])


def _unit(values: Tensor) -> Tensor:
    """Scale to length 1; zeros stay zeros, with a finite gradient."""
    length = values.norm()
    return values / torch.where(length > 0, length, 1)


def _centred(values: Tensor) -> Tensor:
    """Subtract the mean; values that are equal up to rounding become zeros without gradient."""
    centred = values - values.mean()
    noise = SUM_EPSILONS * torch.finfo(values.dtype).eps * values.norm()
    return torch.where(centred.norm() <= noise, 0, centred)  # what is NaN stays so
