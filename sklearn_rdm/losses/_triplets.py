"""Losses of choices among three images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["OddOneOutLoss", "TripletHingeLoss"]


class OddOneOutLoss(nn.Module):
    """Negative log likelihood of choices of the odd one out, by a softmax over three similarities.

    The two images that are left together are the most similar pair, with probability
    ``exp(s_chosen / T) / sum_k exp(s_k / T)``, where ``s_k`` is the similarity of the two images
    beside image ``k`` [1]_ [2]_. The mean of its negative logarithm is the loss, from 0; log(3)
    for equal similarities, log(2) if the first image is a reference.

    Parameters
    ----------
    temperature : float, default=1.0
        ``T``. The publications take 1 for dot products. Correlations need a smaller one, as they
        span 2 at most: 0.1, say.

    Raises
    ------
    ValueError
        If ``temperature`` is not positive and finite.

    See Also
    --------
    TripletHingeLoss : Compares distances, without probabilities.

    Notes
    -----
    A constant that is added to all similarities changes nothing, so that negative dissimilarities
    serve as well: ``-d``. Dot products and negative squared distances differ, unless all images
    have vectors of one length.

    References
    ----------
    .. [1] C. Y. Zheng, F. Pereira, C. I. Baker, M. N. Hebart (2019). "Revealing interpretable
       object representations from human behavior". ICLR.
    .. [2] L. Muttenthaler, L. Linhardt, J. Dippel, R. A. Vandermeulen, K. Hermann, A. K. Lampinen,
       S. Kornblith (2023). "Improving neural network representations using human similarity
       judgments". NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import OddOneOutLoss
    >>> similarities = torch.tensor([[0.1, 0.2, 2.0], [0.0, 0.0, 0.0]])
    >>> OddOneOutLoss()(similarities, torch.tensor([2, 0])).round(decimals=3)
    tensor(0.6860)
    """

    of_triplets = True
    of_similarities = True

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be positive and finite, got {temperature!r}.")
        self.temperature = temperature

    def forward(
        self, similarities: Tensor, choices: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        similarities : Tensor of shape (n_triplets, 3)
            Similarity of the two images beside each image of a triplet; ``-inf`` for an image that
            cannot be the odd one out, such as a reference.
        choices : Tensor of int64, shape (n_triplets,)
            Place of the odd one out.
        sample_weight : Tensor of shape (n_triplets,), default=None
            How much each triplet counts. None: all alike.

        Returns
        -------
        loss : Tensor of shape ()
            0 or more.
        """
        single = nn.functional.cross_entropy(
            similarities / self.temperature, choices, reduction="none"
        )
        return _mean(single, sample_weight)


class TripletHingeLoss(nn.Module):
    """Hinge loss of odd-one-out choices: the pair left together should be closer by a margin.

    ``max(0, margin + d_chosen - d_k)``, the mean over triplets and over the pairs ``k`` that were
    not left together, with ``d_k`` the dissimilarity of the two images beside image ``k`` [1]_.
    From 0, without upper bound, in the units of the dissimilarities.

    Parameters
    ----------
    margin : float, default=0.05
        0 or more. 0.05 is the published one for cosine distances [1]_.

    Raises
    ------
    ValueError
        If ``margin`` is negative or not finite.

    See Also
    --------
    OddOneOutLoss : Has probabilities, and a gradient also where the order is right.

    References
    ----------
    .. [1] S. Fu, N. Tamir, S. Sundaram, L. Chai, R. Zhang, T. Dekel, P. Isola (2023). "DreamSim:
       learning new dimensions of human visual similarity using synthetic data". NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rdm.losses import TripletHingeLoss
    >>> dissimilarities = torch.tensor([[0.9, 0.5, 0.48]])
    >>> TripletHingeLoss(margin=0.1)(dissimilarities, torch.tensor([2])).round(decimals=3)
    tensor(0.0400)
    """

    of_triplets = True

    def __init__(self, margin: float = 0.05) -> None:
        super().__init__()
        if not 0 <= margin < float("inf"):
            raise ValueError(f"margin must be 0 or more and finite, got {margin!r}.")
        self.margin = margin

    def forward(
        self, dissimilarities: Tensor, choices: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        dissimilarities : Tensor of shape (n_triplets, 3)
            Dissimilarity of the two images beside each image of a triplet; ``inf`` for an image
            that cannot be the odd one out, such as a reference.
        choices : Tensor of int64, shape (n_triplets,)
            Place of the odd one out.
        sample_weight : Tensor of shape (n_triplets,), default=None
            How much each triplet counts. None: all alike.

        Returns
        -------
        loss : Tensor of shape ()
            0 or more.
        """
        chosen = dissimilarities.gather(1, choices[:, None])
        other = torch.isfinite(dissimilarities)
        other = other.scatter(1, choices[:, None], torch.zeros_like(other[:, :1]))
        excess = (self.margin + chosen - torch.where(other, dissimilarities, 0)).clamp(min=0)
        return _mean((excess * other).sum(dim=1) / other.sum(dim=1), sample_weight)


def _mean(single: Tensor, weights: Tensor | None) -> Tensor:
    return single.mean() if weights is None else (weights * single).sum() / weights.sum()
