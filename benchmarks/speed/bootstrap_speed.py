"""Time the interval over images and subjects against rsatoolbox's dual bootstrap.

The same data and number of draws. Equal results are asserted first: rsatoolbox's draws are
recorded, and ours gives the same scores on them, and so the same variances, to 1e-10.

    python benchmarks/speed/bootstrap_speed.py            # eight minutes
    python benchmarks/speed/bootstrap_speed.py --fast     # writes nothing
"""

from __future__ import annotations

import contextlib
import io
from typing import Any
from unittest import mock

import numpy as np
from _report import is_fast, write_report
from _timing import seconds
from rsatoolbox.inference import evaluate
from rsatoolbox.model import ModelFixed
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist

from sklearn_rdm.metrics import compare_rdm_scores
from sklearn_rdm.metrics._resampling import DrawnScores
from sklearn_rdm.metrics._variance import dual_variance

AT_LEAST = 20
COLUMNS = ("images", "subjects", "models", "method", "rsatoolbox, s", "ours, s", "ratio")
TEXT = """
Spearman's correlation, {n_draws} draws, one process; `compare_rdm_scores` against
`rsatoolbox.inference.eval_dual_bootstrap`; median of {rounds} interleaved rounds. Both give scores,
differences and the comparison with the lower noise ceiling. Scores on rsatoolbox's own draws are
equal to 1e-10, and so are the corrected variances.
"""


def main() -> None:
    fast = is_fast(__doc__)
    n_draws, rounds = (20, 1) if fast else (200, 3)
    sizes = [(12, 3, 2)] if fast else [(20, 5, 2), (40, 15, 2), (92, 15, 4)]
    rows = [row for size in sizes for row in compare(*size, n_draws, rounds)]
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        for row in rows:
            assert row[4] / row[5] >= AT_LEAST, row
        text = TEXT.format(n_draws=n_draws, rounds=rounds)
        write_report("bootstrap_speed", "Speed of the bootstrap", text, COLUMNS, rows)


def compare(
    n_images: int, n_subjects: int, n_models: int, n_draws: int, rounds: int
) -> list[list[Any]]:
    """Rows of the table, after checking that both give the same."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_images, 8))
    seen = features + rng.standard_normal((n_subjects, n_images, 8))
    dissim = np.array([pdist(each) for each in seen]).T
    predicted = np.array([pdist(features[:, : 2 + model]) for model in range(n_models)]).T
    check_equal(dissim, predicted, n_images)
    pairs = np.column_stack(np.triu_indices(n_images, 1))

    def ours(method: str) -> None:
        draw = {"n_resamples": n_draws, "random_state": 0}
        compare_rdm_scores(pairs, dissim, *predicted.T, method=method, **draw)

    rows = []
    for method in ("jackknife", "schuett2023"):
        times = np.array(
            [
                [seconds(lambda: theirs(dissim, predicted, n_draws)), seconds(lambda: ours(method))]  # noqa: B023
                for _ in range(rounds)
            ]
        )
        alternative, taken = (float(value) for value in np.median(times, axis=0))
        ratio = float(np.median(times[:, 0] / times[:, 1]))
        rows.append([n_images, n_subjects, n_models, method, alternative, taken, f"{ratio:.0f}"])
    return rows


def theirs(dissim: np.ndarray, predicted: np.ndarray, n_draws: int) -> Any:
    models = [ModelFixed(str(number), model) for number, model in enumerate(predicted.T)]
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return evaluate.eval_dual_bootstrap(models, RDMs(dissim.T), method="spearman", N=n_draws)


def check_equal(dissim: np.ndarray, predicted: np.ndarray, n_images: int) -> None:
    """Score rsatoolbox's draws as ours are scored, and compare scores and variances."""
    draws, sample = [], evaluate.bootstrap_sample

    def record(*args: Any, **kwargs: Any) -> Any:
        drawn = sample(*args, **kwargs)
        draws.append(drawn[1:])
        return drawn

    np.random.seed(0)  # noqa: NPY002
    with mock.patch.object(evaluate, "bootstrap_sample", record):
        result = theirs(dissim, predicted, 20)
    pairs = np.column_stack(np.triu_indices(n_images, 1))
    score = DrawnScores("spearman", dissim, predicted, pairs, [np.arange(len(pairs))])
    n_subjects = dissim.shape[1]
    images = np.array([np.bincount(each, minlength=n_images) for _, each in draws])
    shares = np.array([np.bincount(each, minlength=n_subjects) for each, _ in draws]) / n_subjects
    full, drawn = (score(x)[:, :, 0] for x in (np.ones((1, n_images), dtype=int), images))
    shares = shares[:, np.newaxis]
    ours = np.array([(drawn * shares).sum(2), (full * shares).sum(2), drawn.mean(2)])
    np.testing.assert_allclose(
        np.moveaxis(result.evaluations[:, :, 0, 0], 2, 0), ours, rtol=0, atol=1e-10
    )
    variances = [dual_variance(*each, n_subjects, n_images) for each in ours.var(axis=1, ddof=1).T]
    np.testing.assert_allclose(result.model_var, variances, rtol=1e-10, atol=0)


if __name__ == "__main__":
    main()
