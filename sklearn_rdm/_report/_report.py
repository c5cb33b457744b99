"""The report of a fitted search or model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_rdm._pairs._image_pairs import check_fit_pairs
from sklearn_rdm._pairs._whole_files import whole_file
from sklearn_rdm._report._page import Section, page
from sklearn_rdm._report._scores import compute_scores
from sklearn_rdm._report._sections import choices, data, heading, matrices, method, training

__all__ = ["RDMReport", "report"]


class RDMReport:
    """A page of HTML that needs no other file and no network; :func:`report` makes it.

    A notebook shows it as the value of a cell; ``print`` shows the scores alone.

    Parameters
    ----------
    html : str
        The whole document.
    summary : str
        The scores as text.

    See Also
    --------
    report : Makes the report of a fitted model.

    Examples
    --------
    >>> from sklearn_rdm import RDMReport
    >>> page = RDMReport("<!DOCTYPE html><title>A report</title>", "this model  0.31")
    >>> page
    this model  0.31
    """

    def __init__(self, html: str, summary: str) -> None:
        self.html = html
        self.summary = summary

    def save_as_html(self, path: Any) -> None:
        """Write the page to a file.

        Parameters
        ----------
        path : path
            The file; one of this name is replaced once the new one is whole.
        """
        with whole_file(Path(os.fspath(path))) as partial:
            Path(partial).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="Report" srcdoc="{escape(self.html)}" width="100%" height="600" '
            'style="border: 1px solid #ccc"></iframe>'
        )

    def __repr__(self) -> str:
        return self.summary


def report(
    model: Any,
    X: Any,
    y: Any,
    *,
    train: Any = None,
    baselines: Mapping[str, Any] | None = None,
    image_names: Sequence[str] | None = None,
    scoring: str = "spearman",
    n_draws: int = 1000,
    random_state: Any = 0,
    title: str | None = None,
) -> RDMReport:
    """Report a fitted search or model on one page.

    The page shows the data, the folds and what they chose, the scores of held-out pairs beside
    the noise ceiling and chance, the observed and predicted matrices with their images, the pairs
    that are predicted worst, the curves of training, and versions.

    Parameters
    ----------
    model : estimator
        Fitted: anything that predicts pairs, such as :class:`SiameseRDMRegressor`, a pipeline, or a
        search over one.
    X : ImagePairs, or array-like of shape (n_pairs, 2, ...)
        Held-out pairs. The page says so if the model was fitted to their images.
    y : array-like of shape (n_pairs,), (n_pairs, n_subjects) or (n_pairs, n_subjects, n_times)
        Their measured dissimilarities; NaN where a subject has no value.
    train : ImagePairs, default=None
        The pairs that the model was fitted to, with the same ``images``. None asks the model, which
        does not know them any more once it was loaded from a file.
    baselines : dict of str to estimator, default=None
        Other fitted models to compare with, by name.
    image_names : sequence of str, default=None
        A name for each image of ``X.images``; None numbers them.
    scoring : str, default="spearman"
        A name of :func:`sklearn_rdm.metrics.get_rdm_scorer`.
    n_draws : int, default=1000
        Permutations for chance, and resamples for intervals.
    random_state : int, RandomState or None, default=0
        Seed of these.
    title : str, default=None
        Title of the page. None: "Dissimilarities of held-out images", or "of images" if the model
        was fitted to some of them, or does not say.

    Returns
    -------
    report : RDMReport
        ``report.save_as_html(path)`` writes it.

    Raises
    ------
    ValueError
        If the pairs or dissimilarities are none that can be scored, or the names are fewer or more
        than the images.
    ImportError
        If matplotlib is not installed.

    See Also
    --------
    RDMScoresDisplay : The figure of scores alone.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, report
    >>> from sklearn_rdm.datasets import make_rdm_regression
    >>> data = make_rdm_regression(n_images=8, image_size=64, random_state=0)
    >>> pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    >>> features = LayerActivations("alexnet", "conv1", weights=None, random_state=0)
    >>> model = make_pipeline(features, FixedRSARegressor()).fit(pairs)
    >>> page = report(model, pairs, dissim, image_names=data.image_names, n_draws=20)
    >>> "data:image/png" in page.html
    True
    """
    pairs, dissim = check_fit_pairs(X, y)
    names = _checked_names(image_names, len(pairs.images))
    models = {"this model": model, **(baselines or {})}
    predictions = {name: np.asarray(m.predict(pairs), float) for name, m in models.items()}
    scores = compute_scores(pairs, dissim, predictions, scoring, n_draws, random_state)
    sections: list[Section | None] = [
        scores.section(),
        data(model, pairs, dissim, train),
        choices(model),
        matrices(pairs, dissim, predictions["this model"], names),
        training(model),
        method(model, scoring, n_draws, random_state),
    ]
    title = heading(model, pairs, train) if title is None else title
    html = page(title, [section for section in sections if section is not None])
    return RDMReport(html, str(scores))


def _checked_names(names: Any, n_images: int) -> list[str]:
    if names is None:
        return [f"image {row}" for row in range(n_images)]
    if len(names) != n_images:
        raise ValueError(f"image_names must name each of the {n_images} images, got {len(names)}.")
    return list(map(str, names))
