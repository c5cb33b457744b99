"""Scores of images that are left out or drawn several times: what variances are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sklearn_rdm._pairs._dissimilarities import average, average_times, with_times
from sklearn_rdm.metrics._draws import BATCH_SIZE, members_of_sets, repeat_pairs, run_batches
from sklearn_rdm.metrics._measures import score_columns, score_draws
from sklearn_rdm.metrics._noise_ceiling import pool_others
from sklearn_rdm.metrics._scorers import as_pairs_scorer


@dataclass(frozen=True)
class Replicates:
    """What one number, a score or a difference of two, would be on other draws of the images.

    Attributes
    ----------
    full : ndarray of shape (n_subjects,)
        As the data are; NaN if a fold has no score.
    left_out : ndarray of shape (n_images, n_subjects)
        Without one image.
    drawn : ndarray of shape (n_draws, n_subjects)
        With images drawn with replacement; no row if none were drawn.
    image_set : ndarray of shape (n_images,)
        Which set each image is in; images are drawn within their set.
    """

    full: np.ndarray
    left_out: np.ndarray
    drawn: np.ndarray
    image_set: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of all models, by fold and subject: the last axes are models, folds, subjects."""

    full: np.ndarray
    left_out: np.ndarray
    drawn: np.ndarray
    image_set: np.ndarray

    def contrast(self, model: int, other: int | None = None) -> Replicates:
        """Replicates of one model's score, or of its difference from another one's.

        A fold or a subject without a score of either is left out of a draw for both. Without a
        score of one fold, the data as they are, or without an image, have none.
        """

        def means(scores: np.ndarray, all_folds: bool) -> np.ndarray:
            each = scores[:, model] - (0 if other is None else scores[:, other])
            over_folds = average(np.swapaxes(each, 1, 2))
            if all_folds:
                over_folds[np.isnan(average(each)).any(axis=1)] = np.nan
            return over_folds

        return Replicates(
            means(self.full[np.newaxis], True)[0],
            means(self.left_out, True),
            means(self.drawn, False),
            self.image_set,
        )


class DrawnScores:
    """Score all models on images that were drawn so many times.

    Parameters
    ----------
    scoring : str or scorer
        What scores.
    observed, predicted, index, folds
        As :func:`check_inputs` gives them.
    with_ceiling : bool
        Whether the other subjects, pooled over the pairs of each fold, are scored as a last model.
    """

    def __init__(
        self,
        scoring: Any,
        observed: np.ndarray,
        predicted: np.ndarray,
        index: np.ndarray,
        folds: list[np.ndarray],
        with_ceiling: bool = False,
    ) -> None:
        scorer = as_pairs_scorer(scoring)
        self.columns, self.measure = scorer.columns_for(observed), scorer.measure
        self.index = [index[fold] for fold in folds]
        self.observed = [observed[fold] for fold in folds]
        self.predicted = [predicted[fold] for fold in folds]
        self.others = None
        if with_ceiling and self.measure is not None and observed.shape[1] > 1:
            self.others = [self._pool(y) for y in self.observed]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of models, the other subjects among them, of folds, and of subjects."""
        n_models = self.predicted[0].shape[1] + (self.others is not None)
        return n_models, len(self.index), self.observed[0].shape[1]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Scores (n_draws, n_models, n_folds, n_subjects) of draws (n_draws, n_images)."""
        return np.stack([self._score_fold(fold, counts) for fold in range(len(self.index))], 2)

    def _score_fold(self, fold: int, counts: np.ndarray) -> np.ndarray:
        models = self._score(fold, counts, self.observed[fold], self.predicted[fold])
        if self.others is None:
            return models
        observed = self.observed[fold]
        courses = with_times(observed)
        others = [
            [
                self._score(fold, counts, courses[:, [subject], time], pooled[:, [time]])
                for time in range(courses.shape[2])
            ]
            for subject, pooled in enumerate(self.others[fold])
        ]
        by_subject = average(np.moveaxis(np.array(others)[..., 0, 0], 1, 2))  # subjects, draws
        return np.concatenate([models, by_subject.T[:, np.newaxis]], axis=1)

    def _pool(self, observed: np.ndarray) -> list[np.ndarray]:
        """For each subject, the others' mean (n_pairs, n_times)."""
        assert self.measure is not None
        courses = with_times(observed)
        by_time = [pool_others(y, self.measure.pooling) for y in np.moveaxis(courses, 2, 0)]
        return [np.hstack(pooled) for pooled in zip(*by_time, strict=True)]

    def _score(
        self, fold: int, counts: np.ndarray, observed: np.ndarray, predicted: np.ndarray
    ) -> np.ndarray:
        """Scores (n_draws, n_predictions, n_subjects) of some predictions of a fold."""
        known = ~np.isnan(predicted).any(axis=1)
        observed, predicted = observed[known], predicted[known]
        index = self.index[fold][known]
        if self.measure is not None and self.measure.in_draws is not None:
            first, second = index.T
            weights = np.ascontiguousarray((counts[:, first] * counts[:, second]).T, dtype=float)
            scores = score_draws(self.measure, observed, predicted, weights)
            return average(scores) if scores.ndim == 4 else scores  # over time points
        return np.stack([self._repeat(observed, predicted, index, drawn) for drawn in counts])

    def _repeat(
        self, observed: np.ndarray, predicted: np.ndarray, index: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        rows, copies = repeat_pairs(index, counts)
        if len(rows) == 0:
            return np.full((predicted.shape[1], observed.shape[1]), np.nan)
        if self.measure is not None:
            return average_times(
                score_columns(self.measure, observed[rows], predicted[rows], copies)
            )
        return self.columns(observed[rows], predicted[rows], copies)


def resample(score: DrawnScores, index: np.ndarray, n_draws: int, **drawing: Any) -> Scores:
    """Scores of all images, without each of them, and of ``n_draws`` draws."""
    sets = members_of_sets(index)
    n_images = index.max() + 1
    once = np.ones((1, n_images), dtype=int)
    drawn = np.zeros((0, *score.shape))
    if n_draws:
        drawn = run_batches(partial(_score_drawn, score, sets), n_draws, **drawing)
    image_set = np.empty(n_images, dtype=int)
    for number, members in enumerate(sets):
        image_set[members] = number
    return Scores(score(once)[0], _leave_out(score, n_images), drawn, image_set)


def _leave_out(score: DrawnScores, n_images: int) -> np.ndarray:
    """Scores without each image; some images at a time, as each takes a weight per pair."""
    scores = []
    for start in range(0, n_images, BATCH_SIZE):
        images = np.arange(start, min(start + BATCH_SIZE, n_images))
        counts = np.ones((len(images), n_images), dtype=int)
        counts[np.arange(len(images)), images] = 0
        scores.append(score(counts))
    return np.concatenate(scores)


def draw_images(sets: list[np.ndarray], rng: np.random.RandomState, n_draws: int) -> np.ndarray:
    """How often each image is drawn, (n_draws, n_images), with replacement within its set."""
    counts = np.zeros((n_draws, sum(map(len, sets))), dtype=int)
    for members in sets:
        counts[:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), n_draws
        )
    return counts


def _score_drawn(score: DrawnScores, sets: list[np.ndarray], seed: int, n_draws: int) -> np.ndarray:
    return score(draw_images(sets, np.random.RandomState(seed), n_draws))
