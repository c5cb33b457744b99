"""The class of all scorers of this package.

It derives from scikit-learn's private class of scorers: scikit-learn predicts once a fold for
several scorers, but only if they are of that class, and gives a public one, ``make_scorer``, only
targets and predictions. ``tests/metrics/test_scorer.py`` holds it against ``make_scorer``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics._scorer import _Scorer

from sklearn_rdm._pairs import ImagePairs
from sklearn_rdm._pairs._image_pairs import as_pairs, of_pairs
from sklearn_rdm._pairs._leaks import warn_of_leak
from sklearn_rdm._pairs._weights import check_samples_are_pairs
from sklearn_rdm.metrics._measures import Measure
from sklearn_rdm.metrics._streamed import STREAMED, streamed_score
from sklearn_rdm.metrics._strips import is_large


class PairsScorer(_Scorer):
    """Scores an estimator's predictions of pairs: ``scorer(estimator, X, y)``.

    Parameters
    ----------
    score_func : callable
        ``score_func(y_true, y_pred, **params)``.
    columns : callable
        ``columns(observed, predictions, index, **params)``: one score a prediction and subject.
    needs_pairs : bool
        Whether ``score_func`` is given ``pairs=``.
    params : dict
        Keyword arguments of both.
    check_observed : callable, default=None
        Raises an error for targets that have no score.
    warns_of_leaks : bool, default=True
        Whether it warns of test pairs whose two images were trained on.
    measure : Measure, default=None
        What ``columns`` computes, where it is a measure and nothing else.
    part : dict, default=None
        ``n_pairs`` and ``random_state`` of the random part of the pairs of response patterns that
        is scored.
    """

    def __init__(
        self,
        score_func: Callable,
        columns: Callable[..., np.ndarray],
        *,
        needs_pairs: bool = False,
        params: dict[str, Any] | None = None,
        check_observed: Callable | None = None,
        warns_of_leaks: bool = True,
        measure: Measure | None = None,
        part: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(score_func, 1, params or {}, "predict")
        self.score_func, self.params = score_func, params or {}
        self.columns, self.needs_pairs = columns, needs_pairs
        self.check_observed, self.warns_of_leaks = check_observed, warns_of_leaks
        self.measure, self.part = measure, part or {}

    def with_params(self, **params: Any) -> PairsScorer:
        """The same with more keyword arguments."""
        changed = copy.copy(self)
        changed.params = changed._kwargs = self.params | params
        return changed

    def of_part(self, n_pairs: int, random_state: Any) -> PairsScorer:
        """The same of a random part of the pairs."""
        changed = copy.copy(self)
        changed.part = {"n_pairs": n_pairs, "random_state": random_state}
        return changed

    def set_score_request(self, **requests: Any) -> PairsScorer:
        """A scorer that asks for metadata, such as ``sample_weight=True``; this one stays."""
        return _Scorer.set_score_request(copy.copy(self), **requests)

    def columns_for(self, observed: np.ndarray) -> Callable[..., np.ndarray]:
        """A function of (observed, predictions, index), for these targets."""
        if self.part:
            raise ValueError(
                "scoring cannot draw pairs (n_pairs) here: draw them once, pairs, dissim = "
                "patterns.to_pairs(images, n_pairs=..., random_state=...), and give these."
            )
        if self.params.get("pattern_covariance") is not None:
            raise ValueError(
                "scoring cannot have a pattern_covariance here: its rows could not follow the "
                "images that are shuffled or drawn. Leave it out, for independent images."
            )
        if self.check_observed is not None:
            self.check_observed(observed)
        columns = self.columns
        params = {name: self.params[name] for name in self.params if name != "pattern_covariance"}
        return lambda observed, predicted, index: columns(observed, predicted, index, **params)

    def _score(
        self, method_caller: Callable, estimator: Any, X: Any, y_true: Any, **kwargs: Any
    ) -> float:
        check_samples_are_pairs(y_true, kwargs.get("sample_weight"))
        if self.part:
            X, y_true = self._draw(X, y_true)
        elif self.measure in STREAMED and not self.params and not kwargs and is_large(y_true):
            return streamed_score(self.measure, estimator, X, y_true)
        X, y_true = of_pairs(X, y_true)
        if self.warns_of_leaks:
            warn_of_leak(estimator, X)
        if self.needs_pairs:
            kwargs["pairs"] = _scored_index(X)
        return super()._score(method_caller, estimator, X, y_true, **kwargs)

    def _draw(self, X: Any, y_true: Any) -> tuple[Any, Any]:
        if not hasattr(y_true, "to_pairs"):
            raise TypeError(
                "n_pairs draws pairs of images with ResponsePatterns, but this scorer was given "
                "pairs: leave n_pairs out, or give fewer pairs."
            )
        return y_true.to_pairs(X, **self.part)

    def __repr__(self) -> str:
        given = self.params | self.part
        params = [f"{name}={value!r}" for name, value in given.items()]
        return f"make_rdm_scorer({', '.join([self.score_func.__name__, *params])})"


def _scored_index(X: Any) -> np.ndarray:
    """Images of the pairs that a scorer is given; a torch dataset has no order that is known."""
    if not (isinstance(X, ImagePairs | Sequence) or hasattr(X, "__array__")):
        raise TypeError(
            "this scorer must know which images each pair compares, and was given a "
            f"{type(X).__name__} instead of pairs. In skorch's EpochScoring, set use_caching=False."
        )
    return as_pairs(X).index
