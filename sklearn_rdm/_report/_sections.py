"""The parts of a report, each from the model and the held-out pairs to one section."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sklearn_rdm._displays import (
    LayerEpochDisplay,
    RDMDisplay,
    TrainingCurveDisplay,
)
from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._dissimilarities import average, average_times
from sklearn_rdm._pairs._leaks import TrainingPairs, training_pairs
from sklearn_rdm._report._page import (
    Markup,
    Section,
    beside,
    figure,
    listing,
    paragraph,
    table,
    thumbnail,
)
from sklearn_rdm._versions import installed_versions

__all__ = ["choices", "data", "heading", "matrices", "method", "training"]

MOST_CANDIDATES, MOST_THUMBNAILS, WORST_PAIRS = 50, 40, 10


def heading(model: Any, pairs: ImagePairs, train: ImagePairs | None) -> str:
    """A title that says no more than is known."""
    n_seen = _count_seen(_known(model, train), pairs)
    return f"Dissimilarities of {'held-out ' if n_seen == 0 else ''}images"


def data(model: Any, pairs: ImagePairs, y: np.ndarray, train: ImagePairs | None) -> Section:
    """What was scored, and whether the model has seen it before."""
    used = pairs.used_images
    rows: list[list[Any]] = [
        ["Images", len(used)],
        ["Pairs", len(pairs)],
        ["Subjects", 1 if y.ndim == 1 else y.shape[1]],
        ["Time points", y.shape[2] if y.ndim == 3 else 1],
        ["Missing values", f"{np.isnan(y).mean():.1%}"],
        ["Shape of an image", " x ".join(map(str, pairs.images.shape[1:]))],
    ]
    if pairs.image_groups is not None:
        groups, sizes = np.unique(pairs.image_groups[used], return_counts=True)
        listed = ", ".join(f"{group} ({size})" for group, size in zip(groups, sizes, strict=True))
        rows.append(["Image groups", listed])
    seen = paragraph(_seen(_known(model, train), pairs))
    return Section("data", "Data", [table("The scored pairs", ["What", "Value"], rows), seen])


def choices(model: Any) -> Section | None:
    """What a search chose, from what, and by which folds."""
    if not hasattr(model, "cv_results_"):
        return None
    parts = [
        paragraph(
            f"Chosen by cross-validation, cv = {model.cv!r}: {_listed(model.best_params_)}; mean "
            f"score over folds {model.best_score_:.3f}. The best of several candidates scores too "
            "high for new images: report the score of images that took no part in the choice."
        )
    ]
    if hasattr(model, "best_layer_"):
        display = LayerEpochDisplay.from_estimator(model)
        alt = f"Mean score by layer and epoch; chosen {model.best_layer_}, {model.best_epoch_}"
        parts.append(figure(display.figure_, alt, "Mean score over folds, by layer and epoch."))
    elif "mean_test_score" in model.cv_results_:
        parts.append(_candidates(model.cv_results_))
    return Section("choices", "Folds and choices", parts)


def matrices(pairs: ImagePairs, y: np.ndarray, predicted: np.ndarray, names: list[str]) -> Section:
    """Both matrices, and the pairs that are predicted worst."""
    observed = average_times(y)
    observed = average(observed) if observed.ndim == 2 else observed
    used = pairs.used_images
    groups = None if pairs.image_groups is None else pairs.image_groups[used]
    order = np.arange(len(used)) if groups is None else np.argsort(groups, kind="stable")
    rows = used[order]
    labels = None if groups is None else groups[order]
    drawn = [
        _matrix(pairs, values, rows, name, labels)
        for name, values in (("observed", observed), ("predicted", predicted))
    ]
    return Section(
        "matrices", "Matrices", [beside(drawn), _worst(pairs, observed, predicted, names)]
    )


def training(model: Any) -> Section | None:
    """Losses by epoch, of models that have them."""
    net = getattr(model, "best_estimator_", model)
    if not getattr(net, "history_", None):
        return None
    display = TrainingCurveDisplay.from_estimator(net)
    last = net.history_[-1]
    alt = f"Loss of {len(net.history_)} epochs; training loss at the end {last['train_loss']:.4g}"
    return Section(
        "training", "Training", [figure(display.figure_, alt, "Loss of the final training.")]
    )


def method(model: Any, scoring: str, n_draws: int, random_state: Any) -> Section:
    """How the numbers were computed, with what."""
    final = getattr(model, "best_estimator_", model)
    return Section(
        "method",
        "How this was computed",
        [
            paragraph(
                f"Scores compare predicted dissimilarities with those of each subject ({scoring}), "
                f"then average over subjects. Intervals: over images, by {n_draws} samples. p "
                f"and chance: {n_draws} permutations of images, rows and columns together. Seed: "
                f"{random_state!r}. The noise ceiling compares each subject with the mean of the "
                "others (lower bound) and of all (upper bound)."
            ),
            listing(repr(final)),
            table("Versions", ["Package", "Version"], installed_versions().items()),
        ],
    )


def _known(model: Any, train: ImagePairs | None) -> TrainingPairs | None:
    return training_pairs(model) if train is None else TrainingPairs(train)


def _count_seen(known: TrainingPairs | None, pairs: ImagePairs) -> int | None:
    """Scored images that were trained on; None if that is not known."""
    if known is None or known.images() is not pairs.images:
        return None
    return int(np.isin(pairs.used_images, known.index).sum())


def _seen(known: TrainingPairs | None, pairs: ImagePairs) -> str:
    n_seen = _count_seen(known, pairs)
    if known is None or n_seen is None:
        return (
            "The model does not say which images it was fitted to: that these were held out is up "
            "to whoever made this page."
        )
    n_trained = f"The model was fitted to {len(known.index)} pairs of {len(np.unique(known.index))}"
    if n_seen:
        return f"{n_trained} images. WARNING: {n_seen} of them are scored here: not held out."
    return f"{n_trained} other images; none of these was seen in training."


def _listed(params: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in params.items()) or "no parameter"


def _candidates(results: dict[str, Any]) -> Markup:
    order = np.argsort(results["rank_test_score"], kind="stable")
    n_shown = min(len(order), MOST_CANDIDATES)
    rows = [
        [
            _listed(results["params"][row]),
            float(results["mean_test_score"][row]),
            float(results["std_test_score"][row]),
        ]
        for row in order[:n_shown]
    ]
    caption = f"The {n_shown} best of {len(order)} candidates, by their mean score over folds"
    return table(caption, ["Candidate", "Mean", "Standard deviation"], rows, chosen=0)


def _are_photographs(pairs: ImagePairs) -> bool:
    return pairs.images.ndim == 4 and pairs.images.shape[3] == 3


def _matrix(
    pairs: ImagePairs, values: np.ndarray, rows: np.ndarray, name: str, groups: np.ndarray | None
) -> Markup:
    rdm = pairs.to_rdms(values)[np.ix_(rows, rows)]
    display = RDMDisplay(rdm, image_groups=groups).plot(scale="rank")
    if _are_photographs(pairs) and len(rows) <= MOST_THUMBNAILS:
        _draw_thumbnails(display.axes_[0], pairs.images[rows])
    caption = f"{name.capitalize()} dissimilarities, as ranks."
    return figure(display.figure_, f"{caption} Matrix of {len(rows)} images", caption)


def _draw_thumbnails(ax: Any, images: np.ndarray) -> None:
    """Each image at the top of its column, over the matrix."""
    limits = ax.get_xlim(), ax.get_ylim()
    size = max(1.0, len(images) / 15)  # in cells; those that are wider take turns in rows
    for column, image in enumerate(images):
        top = -0.7 - size * (1 + column % int(np.ceil(size)))
        left = column - size / 2
        ax.imshow(image, extent=(left, left + size, top + size, top), clip_on=False, zorder=3)
    ax.set(xlim=limits[0], ylim=limits[1])


def _worst(
    pairs: ImagePairs, observed: np.ndarray, predicted: np.ndarray, names: list[str]
) -> Markup:
    known = np.flatnonzero(~np.isnan(observed + predicted))
    ranks = [(rankdata(v[known]) - 1) / max(len(known) - 1, 1) for v in (observed, predicted)]
    furthest = np.argsort(-np.abs(ranks[0] - ranks[1]), kind="stable")[:WORST_PAIRS]
    rows = [
        [
            *(_image_cell(pairs, image, names) for image in pairs.index[known[row]]),
            float(ranks[0][row]),
            float(ranks[1][row]),
        ]
        for row in furthest
    ]
    caption = "The pairs that are predicted worst; ranks from 0, most alike, to 1"
    return table(caption, ["Image", "Other image", "Observed rank", "Predicted rank"], rows)


def _image_cell(pairs: ImagePairs, image: int, names: list[str]) -> Any:
    if not _are_photographs(pairs):
        return names[image]
    return Markup(thumbnail(pairs.images[image], "") + escape(names[image]))
