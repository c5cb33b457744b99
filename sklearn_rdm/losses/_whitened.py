"""Correlations of dissimilarities that count once what pairs with a common image share."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from sklearn_rdm.losses._weighted import centred, to_unit_scale, unit

__all__ = ["WhitenedCorrelationLoss", "WhitenedCosineLoss"]


class _WhitenedLoss(nn.Module):
    """One minus the cosine of whitened dissimilarities, prepared as the subclasses say."""

    needs_index = True
    any_unit = True

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, y_pred: Tensor, y_true: Tensor, index: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        y_pred, y_true : Tensor of shape (n_pairs,)
            Predicted and observed dissimilarities.
        index : Tensor of int64, shape (n_pairs, 2)
            The two images of each pair, in any numbering.
        sample_weight : Tensor of shape (n_pairs,), default=None
            How much each pair counts, above 0. Noise that a pair has for itself, 2 in ``V``, is
            divided by its weight, as for the mean of that many trials. None: each pair 1.

        Returns
        -------
        loss : Tensor of shape ()
            In the range that the class states.

        Raises
        ------
        ValueError
            If ``index`` has another shape.
        """
        predicted, observed = (self._prepared(y, sample_weight) for y in (y_pred, y_true))
        return _whitened_cosine_loss(predicted, observed, index, sample_weight)

    @abstractmethod
    def _prepared(self, values: Tensor, weights: Tensor | None) -> Tensor:
        """Values in unit scale, with or without their mean."""


class WhitenedCorrelationLoss(_WhitenedLoss):
    """One minus the whitened Pearson correlation of predicted and observed dissimilarities.

    ``1 - y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)`` over the pairs of the mini-batch, with ``y`` and
    ``p`` the observed and predicted dissimilarities less their means and ``V`` the covariance of
    noise of estimated squared distances [1]_: up to a factor 4 for a pair with itself, 1 for two
    pairs that share an image, 0 for others. Unlike :class:`CorrelationLoss`, it does not count what
    is due to one image again with each of its pairs. From 0 (same pattern) to 2 (opposite); scale
    and offset do not matter. Needs
    mini-batches of several pairs that share images: ``batching="images"``.

    Attributes
    ----------
    needs_index : bool
        True: :class:`SiameseRDMRegressor` calls it with the images of each pair as well.
    any_unit : bool
        True: :class:`SiameseRDMRegressor` divides the target by a power of two near its largest
        value, so that float32 holds targets in any unit.
    any_zero : bool
        True: it first moves targets to zero that vary little beside their size.

    See Also
    --------
    CorrelationLoss : Needs the dissimilarities only; the same for the pairs of 3 images.
    WhitenedCosineLoss : When the zero of the dissimilarities has a meaning.
    sklearn_rdm.metrics.rdm_whitened_pearson_score : The score that it optimises, ``corr_cov`` in
        rsatoolbox; also with a covariance between the images.

    Notes
    -----
    The loss is 1, without gradient, where the predicted or the observed dissimilarities of the
    batch are all equal.

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

    any_zero = True

    def _prepared(self, values: Tensor, weights: Tensor | None) -> Tensor:
        return centred(to_unit_scale(values), weights)


class WhitenedCosineLoss(_WhitenedLoss):
    """One minus the whitened cosine of predicted and observed dissimilarities of a batch.

    As :class:`WhitenedCorrelationLoss`, of the dissimilarities as they are:
    ``1 - y' V^-1 p / sqrt(y' V^-1 y  p' V^-1 p)``. From 0 (proportional) to 2 (opposite); scale
    does not matter. For all pairs of some images it is one minus the linear centred kernel
    alignment (CKA) of the double-centred matrices [1]_. Needs mini-batches of several pairs that
    share images: ``batching="images"``.

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

    Notes
    -----
    The loss is 1 where all predicted or all observed dissimilarities of the batch are 0.

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

    def _prepared(self, values: Tensor, weights: Tensor | None) -> Tensor:  # noqa: ARG002
        return to_unit_scale(values)


def _whitened_cosine_loss(
    y_pred: Tensor, y_true: Tensor, index: Tensor, weights: Tensor | None
) -> Tensor:
    if index.shape != (len(y_pred), 2):
        raise ValueError(
            f"index must have shape ({len(y_pred)}, 2), the two images of each pair, got "
            f"{tuple(index.shape)}."
        )
    counts = torch.ones_like(y_pred) if weights is None else weights.to(y_pred.dtype)
    whitened = _whiten(torch.stack([y_pred, y_true], dim=1), index, counts)
    return 1 - unit(whitened[:, 0]) @ unit(whitened[:, 1])


def _whiten(columns: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    """Rows (n_pairs + n_images) whose products are those of ``2 V^-1``, without cancellation."""
    images, rows = index.unique(return_inverse=True)
    first, second = rows.T
    shared = columns.new_zeros(len(images), len(images))
    shared.index_put_((first, second), counts, accumulate=True)
    shared = shared + shared.T
    weighted = columns * counts[:, None]
    totals = columns.new_zeros(len(images), columns.shape[1])
    totals = totals.index_add(0, first, weighted).index_add(0, second, weighted)
    factor = torch.linalg.cholesky(shared + torch.diag(shared.sum(0) + 2))
    effects = torch.cholesky_solve(totals, factor)
    rest = (columns - effects[first] - effects[second]) * counts.sqrt()[:, None]
    return torch.cat([rest, 2**0.5 * effects])
