"""Scores of several models beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np

from sklearn_rdm._displays._drawing import legend_above, one_axes, pyplot
from sklearn_rdm._pairs._dissimilarities import as_real, average


class RDMScoresDisplay:
    """Bars of the models' scores, with every subject or fold, the noise ceiling and chance.

    Parameters
    ----------
    scores : array-like of shape (n_models, n_repeats) or (n_models,)
        One score per model and subject (or fold), or one per model; NaN where there is none. A bar
        is the mean of the others; a model without any has no bar.
    names : sequence of str
        The models' names.
    errors : array-like of shape (n_models, 2), default=None
        Lower and upper end of each bar's interval, in units of the score; both NaN if a model
        has none. None draws none.
    noise_ceiling : (float, float), default=None
        Lower and upper bound, drawn as a band.
    pvalues : array-like of shape (n_models, n_models), default=None
        Corrected p-values of all pairs of models, symmetric, NaN on the diagonal, such as
        ``pvalues_holm`` of :func:`~sklearn_rdm.metrics.compare_rdm_scores`: a grid under the bars
        shows which models differ. None draws none.
    null : float or array-like of shape (n_models,), default=None
        Score by chance, drawn as a line across all bars or one across each: the mean of a
        permutation null, ``expected_score``. For another value of the null, such as its 95th
        percentile, give ``null_name`` to :meth:`plot`, so that the legend says so.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    bars_ : matplotlib BarContainer
        The bars.
    points_ : matplotlib PathCollection or None
        The subjects or folds; None if ``scores`` has one score per model.
    errors_ : matplotlib ErrorbarContainer or None
        The intervals.
    ceiling_ : matplotlib Patch or None
        The band of the noise ceiling.
    null_ : matplotlib Line2D, LineCollection or None
        The line of ``null``.
    differences_ : matplotlib Axes or None
        The grid of the models that differ.
    figure_ : matplotlib Figure
        The figure that holds the axes.

    See Also
    --------
    LayerEpochDisplay : Scores of one network over its layers and epochs.

    References
    ----------
    Nili et al. (2014). A toolbox for representational similarity analysis. PLOS Computational
    Biology 10(4), e1003553.

    Examples
    --------
    >>> from sklearn_rdm import RDMScoresDisplay
    >>> scores = [[0.21, 0.25, 0.18], [0.34, 0.37, 0.29]]
    >>> display = RDMScoresDisplay(
    ...     scores, names=["fixed", "fine-tuned"], noise_ceiling=(0.4, 0.5), null=0.06
    ... )
    >>> len(display.plot(null_name="95th percentile of chance").bars_)
    2
    """

    def __init__(
        self,
        scores: Any,
        *,
        names: Sequence[str],
        errors: Any = None,
        noise_ceiling: tuple[float, float] | None = None,
        pvalues: Any = None,
        null: Any = None,
    ) -> None:
        self.scores = scores
        self.names = names
        self.errors = errors
        self.noise_ceiling = noise_ceiling
        self.pvalues = pvalues
        self.null = null

    @classmethod
    def from_comparison(
        cls, comparison: Any, *, correction: str = "holm", **options: Any
    ) -> RDMScoresDisplay:
        """Make a display of what :func:`~sklearn_rdm.metrics.compare_rdm_scores` returns.

        Parameters
        ----------
        comparison : InferenceResult
            Of one model or more: scores of subjects, names, intervals and p-values are taken.
        correction : {"holm", "bh", None}, default="holm"
            Which p-values are drawn: Holm's, Benjamini and Hochberg's, or those not corrected.
        **options : dict
            Other parameters of the class, such as ``noise_ceiling=(lower, upper)``.

        Returns
        -------
        display : RDMScoresDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If ``correction`` is unknown.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_rdm import RDMScoresDisplay
        >>> from sklearn_rdm.metrics import compare_rdm_scores
        >>> rng = np.random.default_rng(0)
        >>> pairs, model = np.column_stack(np.triu_indices(12, 1)), rng.random(66)
        >>> y_true = model[:, np.newaxis] + 0.3 * rng.random((66, 5))
        >>> models = {"model": model, "noise": rng.random(66)}
        >>> result = compare_rdm_scores(pairs, y_true, models, random_state=0)
        >>> display = RDMScoresDisplay.from_comparison(result).plot()
        >>> display.differences_ is not None
        True
        """
        if correction not in ("holm", "bh", None):
            raise ValueError(f"correction must be 'holm', 'bh' or None, got {correction!r}.")
        suffix = "" if correction is None else f"_{correction}"
        given = {
            "names": comparison.names,
            "errors": comparison.confidence_intervals,
            "pvalues": comparison[f"pvalues{suffix}"] if len(comparison.names) > 1 else None,
        }
        return cls(comparison.subject_scores, **{**given, **options})

    def plot(
        self,
        ax: Any = None,
        *,
        score_name: str = "Spearman's r",
        point_name: str = "one subject",
        error_name: str = "95 % interval",
        null_name: str = "chance",
        alpha: float = 0.05,
        bar_kwargs: dict[str, Any] | None = None,
    ) -> RDMScoresDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them if there are ``pvalues``, default=None
            Where to draw the bars, and the grid of differences under them; None makes a new figure.
        score_name : str, default="Spearman's r"
            Label of the axis of scores.
        point_name : str, default="one subject"
            What a dot is, for the legend.
        error_name : str, default="95 % interval"
            What ``errors`` are, for the legend.
        null_name : str, default="chance"
            What ``null`` is, for the legend: "chance" is right for the mean of a null.
        alpha : float, default=0.05
            Models differ if their ``pvalues`` are below.
        bar_kwargs : dict, default=None
            Passed to ``Axes.bar``.

        Returns
        -------
        display : RDMScoresDisplay
            This object.

        Raises
        ------
        ValueError
            If there are no names or one is not a string, or names, errors, ceiling or null do not
            match the scores.
        """
        scores, errors, null = self._checked()
        means = average(scores)
        at = np.arange(len(scores))
        self.ax_, self.differences_ = self._axes(ax, len(at))
        self.figure_ = self.ax_.figure
        style = {"width": 0.7, "color": "#8FB8D8", "edgecolor": "#28536F", "zorder": 2}
        self.bars_ = self.ax_.bar(at, means, **{**style, **(bar_kwargs or {})})
        self.points_ = _repeats(self.ax_, scores, point_name)
        self.errors_ = None
        if errors is not None:
            spans = np.abs(errors.T - means)
            self.errors_ = self.ax_.errorbar(
                at, means, spans, fmt="none", ecolor="k", capsize=4, lw=1.6, label=error_name
            )
        self.ceiling_ = self._draw_ceiling()
        self.null_ = self._draw_null(null, null_name)
        self.ax_.axhline(0, color="k", lw=0.8, zorder=3, clip_on=False)
        self.ax_.set(ylabel=score_name, xlim=(-0.6, len(at) - 0.4))
        _name_bars(self.ax_, list(self.names))
        if self.differences_ is not None:
            pvalues = as_real(self.pvalues, "pvalues")
            _draw_differences(self.ax_, self.differences_, list(self.names), means, pvalues, alpha)
        if self.ax_.get_legend_handles_labels()[0]:
            legend_above(self.ax_)
        return self

    def _axes(self, ax: Any, n_bars: int) -> tuple[Any, Any]:
        """Axes of the bars and of the grid of differences."""
        width = max(4.0, 1.2 + _bar_width(n_bars) * n_bars)
        if self.pvalues is None:
            return one_axes(ax, figsize=(width, 3.8)), None
        if ax is None:
            below = 0.3 + 0.22 * n_bars
            _, ax = pyplot().subplots(
                2,
                1,
                figsize=(width, 3.8 + below),
                height_ratios=[3.2, below],
                sharex=True,
                layout="constrained",
            )
        if np.size(ax) != 2:
            raise ValueError(
                "pvalues are drawn under the bars: give two matplotlib Axes, ax=(bars, grid), or "
                "None."
            )
        return tuple(ax)

    def _checked(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Scores as (n_models, n_repeats), errors as (n_models, 2), null as (n_models,)."""
        _check_names(self.names)
        scores = as_real(self.scores, "scores")
        scores = scores[:, None] if scores.ndim == 1 else scores
        if scores.ndim != 2 or len(scores) != len(self.names):
            raise ValueError(
                f"scores must have shape ({len(self.names)},) or ({len(self.names)}, n_repeats), "
                f"one row per name, got {np.shape(self.scores)}."
            )
        errors = None if self.errors is None else as_real(self.errors, "errors")
        if errors is not None and errors.shape != (len(scores), 2):
            raise ValueError(
                f"errors must hold a lower and an upper end per model, shape ({len(scores)}, 2), "
                f"got {errors.shape}."
            )
        if errors is not None:
            _check_intervals(errors, average(scores))
        if self.noise_ceiling is not None and np.shape(self.noise_ceiling) != (2,):
            raise ValueError(f"noise_ceiling must be (lower, upper), got {self.noise_ceiling!r}.")
        if self.pvalues is not None and np.shape(self.pvalues) != (len(scores),) * 2:
            raise ValueError(
                f"pvalues must have shape ({len(scores)}, {len(scores)}), one per pair of models, "
                f"got {np.shape(self.pvalues)}."
            )
        if self.null is None:
            return scores, errors, None
        if np.shape(self.null) not in ((), (len(scores),)):
            raise ValueError(
                f"null must be one number or one per model, shape ({len(scores)},), got "
                f"{np.shape(self.null)}."
            )
        return scores, errors, np.broadcast_to(np.asarray(self.null, dtype=float), len(scores))

    def _draw_ceiling(self) -> Any:
        if self.noise_ceiling is None:
            return None
        return self.ax_.axhspan(
            *self.noise_ceiling, color="0.8", lw=0, zorder=0, label="noise ceiling"
        )

    def _draw_null(self, null: np.ndarray | None, name: str) -> Any:
        if null is None:
            return None
        style = {"color": "#D55E00", "ls": "--", "lw": 1.4, "zorder": 5, "label": name}
        if np.ndim(self.null) == 0:
            return self.ax_.axhline(self.null, **style)
        at = np.arange(len(null))
        return self.ax_.hlines(null, at - 0.42, at + 0.42, **style)


def _check_names(names: Any) -> None:
    listed = np.iterable(names) and not isinstance(names, str)
    if not listed or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"names must be a list of strings, one per model, got {names!r}: give "
            "names=['fixed', 'fine-tuned'], or [str(name) for name in names]."
        )
    if len(names) == 0:
        raise ValueError("names is empty: give one name per model, and one row of scores each.")


def _check_intervals(errors: np.ndarray, means: np.ndarray) -> None:
    """Refuse intervals that do not enclose the mean; without a score, or both ends, is no fault."""
    half = np.isnan(errors[:, 0]) != np.isnan(errors[:, 1])
    outside = half | (errors[:, 0] > means) | (means > errors[:, 1])
    if outside.any():
        model = outside.argmax()
        raise ValueError(
            f"errors must enclose the mean score, but those of model {model} are "
            f"{errors[model].tolist()} and its mean is {means[model]:.6g}: give both ends, not "
            "half widths; two NaN draw no interval."
        )


def _repeats(ax: Any, scores: np.ndarray, name: str) -> Any:
    """One dot per repeat, the same repeat at the same place on every bar."""
    n_models, n_repeats = scores.shape
    if n_repeats == 1:
        return None
    across = np.linspace(-0.22, 0.22, n_repeats)
    at = np.arange(n_models)[:, None] + across
    return ax.scatter(
        at, scores, s=14, color="#28536F", edgecolor="w", lw=0.5, zorder=4, label=name
    )


def _bar_width(n_bars: int) -> float:
    """Inches of each bar, so that two are no gap apart and sixteen fit a page."""
    return float(np.clip(7.5 / n_bars, 0.5, 1.1))


def _draw_differences(
    ax: Any, grid: Any, names: list[str], means: np.ndarray, pvalues: np.ndarray, alpha: float
) -> None:
    """Draw a row a model: triangles up under bars that are better, down under worse ones."""
    row, column = np.nonzero(~np.eye(len(names), dtype=bool))
    differs = pvalues[row, column] < alpha
    better = means[column] > means[row]
    for marker, colour, chosen, label in [
        ("^", "#28536F", differs & better, f"better, p < {alpha:g}"),
        ("v", "#D55E00", differs & ~better, f"worse, p < {alpha:g}"),
        (".", "0.7", ~differs, "not shown to differ"),
    ]:
        style = {"marker": marker, "color": colour, "s": 14 if marker == "." else 34, "lw": 0}
        grid.scatter(column[chosen], row[chosen], **style)
        if chosen.any():
            ax.scatter([], [], label=label, **style)  # for the legend
    grid.set(ylim=(len(names) - 0.5, -0.5), ylabel="than")
    grid.set_yticks(range(len(names)), names)
    _name_bars(grid, names)
    grid.tick_params(axis="both", length=0)
    grid.spines["left"].set_visible(False)
    ax.tick_params(axis="x", labelbottom=False)


def _name_bars(ax: Any, names: list[str]) -> None:
    """Break names into lines that fit a bar; turn them where they would still overlap."""
    width = int(12 * _bar_width(len(names)))
    lines = ["\n".join(wrap(name, width, break_long_words=False)) for name in names]
    longest = max((len(line) for name in lines for line in name.split("\n")), default=0)
    turned = longest > width
    ax.set_xticks(range(len(names)), names if turned else lines)
    if turned:
        ax.tick_params(axis="x", labelrotation=30)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.tick_params(axis="x", length=0)
