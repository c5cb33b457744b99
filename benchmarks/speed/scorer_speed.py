"""Time the scorers on many subjects against a loop of scipy over the subjects.

15 subjects, 7,000 pairs: what a search does for every candidate in every fold. The scores are
asserted equal to 1e-12.

    python benchmarks/speed/scorer_speed.py            # seconds
    python benchmarks/speed/scorer_speed.py --fast     # writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _report import is_fast, write_report
from _timing import seconds
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.base import BaseEstimator, RegressorMixin

from sklearn_rdm.metrics import get_rdm_scorer

AT_LEAST = {"rdm_spearman": 3}
COLUMNS = ("scorer", "alternative", "its milliseconds", "ours", "ratio")
TEXT = """
Mean score of {n_subjects} subjects, {n_pairs:,} pairs, the scorer called with a model whose
predictions are ready; median of {rounds} interleaved rounds, scores equal to 1e-12. *Missing*:
each subject misses another tenth of the pairs. Predictions are ranked once for all subjects, and
columns by a vectorised sort. Kendall's tau is scipy's own function in both.
"""


class Ready(RegressorMixin, BaseEstimator):
    """A model whose predictions are known."""

    def __init__(self, predicted: np.ndarray) -> None:
        self.predicted = predicted

    def predict(self, X: Any) -> np.ndarray:  # noqa: ARG002
        """Return them."""
        return self.predicted

    def __sklearn_is_fitted__(self) -> bool:
        return True


def main() -> None:
    fast = is_fast(__doc__)
    n_pairs, n_subjects, rounds = (300, 3, 3) if fast else (7000, 15, 101)
    rng = np.random.default_rng(0)
    predicted = rng.standard_normal(n_pairs)
    dissim = predicted[:, np.newaxis] + 3 * rng.standard_normal((n_pairs, n_subjects))
    incomplete = np.where(rng.random(dissim.shape) < 0.1, np.nan, dissim)
    rows = [
        compare(name, function, kind, y, predicted, rounds)
        for name, function in [
            ("rdm_spearman", spearmanr),
            ("rdm_pearson", pearsonr),
            ("rdm_kendall_tau_a", kendalltau),
        ]
        for kind, y in [("", dissim), (", missing", incomplete)]
    ]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        for scorer, _, theirs, ours, _ in rows:
            assert theirs / ours >= AT_LEAST.get(scorer, 0), f"{scorer}: {theirs / ours:.1f} times"
        text = TEXT.format(n_subjects=n_subjects, n_pairs=n_pairs, rounds=rounds)
        write_report("scorer_speed", "Speed of scores", text, COLUMNS, rows)


def compare(
    name: str,
    function: Callable[..., Any],
    kind: str,
    y: np.ndarray,
    predicted: np.ndarray,
    rounds: int,
) -> list[Any]:
    """A row of the table, after checking that both give the same score."""
    scorer, model = get_rdm_scorer(name), Ready(predicted)

    def loop() -> float:
        return float(np.mean([score_one(function, column, predicted) for column in y.T]))

    def ours() -> float:
        return scorer(model, None, y)

    np.testing.assert_allclose(ours(), loop(), rtol=0, atol=1e-12)
    times = np.array([[seconds(loop), seconds(ours)] for _ in range(rounds)])
    theirs_taken, ours_taken = np.median(times, axis=0) * 1e3
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    alternative = f"a loop of scipy.stats.{function.__name__}"
    return [f"{name}{kind}", alternative, float(theirs_taken), float(ours_taken), f"{ratio:.1f}"]


def score_one(function: Callable[..., Any], observed: np.ndarray, predicted: np.ndarray) -> float:
    known = ~np.isnan(observed)
    return function(observed[known], predicted[known]).statistic


if __name__ == "__main__":
    main()
