"""The choices by which published noise ceilings differ, by the names of who published them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sklearn_rdm._pairs._options import check_option
from sklearn_rdm.metrics._measures import Measure, get_measure

__all__ = ["CONVENTIONS", "POOLINGS", "NoiseCeilingConvention", "get_convention"]

POOLINGS = ("auto", "mean", "rank", "rms", "zscore")


@dataclass(frozen=True)
class NoiseCeilingConvention:
    """The choices by which published noise ceilings differ.

    Parameters
    ----------
    scoring : str, default="spearman"
        Score of the pooled subjects for each subject, a name of :func:`get_rdm_scorer`.
    pooling : {"auto", "mean", "rank", "zscore", "rms"}, default="auto"
        How subjects are averaged: as they are, as ranks (of one range), z-scored, divided by
        their root mean square. "auto" is what suits the score: ranks for rank correlations,
        z-scores for Pearson, root mean square for cosine.
    squared : bool, default=False
        Whether the score is squared for each subject, after the mean over its time points and
        before the mean over subjects.
    bound : {"lower", "upper"}, default="lower"
        Which bound normalises a score: other subjects against each subject, or all of them.
    aggregation : {"ratio_of_means", "mean_of_ratios"}, default="mean_of_ratios"
        For several targets: mean score over mean ceiling, or the mean of normalised scores.

    Raises
    ------
    ValueError
        If a choice is unknown.

    See Also
    --------
    noise_ceiling : Uses a convention, a published one by its name.

    References
    ----------
    .. [1] Nili, H. et al. A toolbox for representational similarity analysis. PLOS Comput. Biol.
       10, e1003553 (2014). The two bounds, and pooling of ranks for rank correlations.
    .. [2] Cichy, R. M. et al. The Algonauts Project: a platform for communication between the
       sciences of biological and artificial intelligence. arXiv:1905.05675 (2019). Pooling as they
       are, squares, and the ratio of means.

    Examples
    --------
    >>> from sklearn_rdm.metrics import NoiseCeilingConvention, noise_ceiling
    >>> mine = NoiseCeilingConvention(scoring="pearson", pooling="mean")
    >>> lower, upper = noise_ceiling([[1, 2], [2, 1], [3, 3]], convention=mine)
    >>> round(lower, 3), round(upper, 3)
    (0.5, 0.866)
    """

    scoring: str = "spearman"
    pooling: str = "auto"
    squared: bool = False
    bound: str = "lower"
    aggregation: str = "mean_of_ratios"

    def __post_init__(self) -> None:
        get_measure(self.scoring)
        for field, known in {
            "pooling": POOLINGS,
            "bound": ("lower", "upper"),
            "aggregation": ("mean_of_ratios", "ratio_of_means"),
        }.items():
            check_option(field, getattr(self, field), known)

    @property
    def measure(self) -> Measure:
        """What compares a subject with the pooled subjects."""
        return get_measure(self.scoring)

    @property
    def needs_pairs(self) -> bool:
        """Whether it must be known which images each pair compares."""
        return self.measure.needs_pairs

    @property
    def resolved_pooling(self) -> str:
        """How subjects are averaged, "auto" replaced by what suits the score."""
        return self.measure.pooling if self.pooling == "auto" else self.pooling


CONVENTIONS = {
    "algonauts2019": NoiseCeilingConvention(
        pooling="mean", squared=True, bound="upper", aggregation="ratio_of_means"
    ),
    "brain-score": NoiseCeilingConvention(pooling="mean", bound="upper"),
    "net2brain": NoiseCeilingConvention(pooling="mean", squared=True),
    "rsatoolbox": NoiseCeilingConvention(),
}


def get_convention(
    convention: str | NoiseCeilingConvention, scoring: str | None = None
) -> NoiseCeilingConvention:
    """Choices of a named convention, or those given, with another score if one is given."""
    if isinstance(convention, NoiseCeilingConvention):
        choices = convention
    elif isinstance(convention, str) and convention in CONVENTIONS:
        choices = CONVENTIONS[convention]
    else:
        raise ValueError(
            f"convention must be one of {sorted(CONVENTIONS)} or a NoiseCeilingConvention, got "
            f"{convention!r}."
        )
    return choices if scoring is None else replace(choices, scoring=scoring)
