"""Time feature-reweighted RSA with its inner cross-validation against a plain loop of fracridge.

92 images, a fifth held out; the fraction is chosen among 20 by 25 inner splits of the others, each
of which holds out a fifth again. The alternative forms the matrix of pairs x features of every
split, standardises it and hands it to the registry package fracridge. Both are timed on one core
and on two: the alternative by the threads of its linear algebra, ours by fitting two inner splits
at the same time, in processes. The published analysis has 50 outer splits, which take the same
time each: here 5 are timed at 500 features and 1 at 5,000.

    python benchmarks/speed/feature_reweighting_speed.py            # some minutes
    python benchmarks/speed/feature_reweighting_speed.py --fast     # seconds, writes nothing
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _report import is_fast, write_report
from fracridge import fracridge
from joblib import parallel_config
from scipy.stats import pearsonr
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_rdm import FeatureReweightedRSARegressor, ImagePairs
from sklearn_rdm.model_selection import ImageShuffleSplit

FRACTIONS = np.linspace(0.05, 1, 20)
AT_LEAST = {500: 10, 5000: 5}  # the fastest of ours, against the fastest of the alternative
LOOPS = (
    ("fracridge, plain loop", 1),
    ("fracridge, plain loop", 2),
    ("FeatureReweightedRSARegressor", 1),
    ("FeatureReweightedRSARegressor(n_jobs=2)", 2),
)
COLUMNS = ("features", "loop", "cores", "seconds per outer split", "ratio")
TEXT = """
92 images, 25 inner splits, 20 fractions; the median of the outer splits that were timed (5 at 500
features, 1 at 5,000), one loop after the other on each. Two cores: of the plain loop, by the
threads of its linear algebra; of ours, two inner splits at a time, in processes
(`joblib.parallel_config("loky")`). *Ratio*: to the faster of the plain loops. All choose the same
fraction. For the penalties that fracridge reports, predictions are equal to 1e-4 of
their standard deviation; for the fractions to 2e-2, because fracridge interpolates penalties
between the points of a grid.
"""
Split = tuple[np.ndarray, np.ndarray]


def main() -> None:
    fast = is_fast(__doc__)
    n_images = 40 if fast else 92
    rows = []
    for n_features, n_outer in [(30, 1), (600, 1)] if fast else [(500, 5), (5000, 1)]:
        seconds = measure(n_images, n_features, n_outer, 4 if fast else 25)
        plain = seconds[:2].min(axis=0)  # whichever is faster
        ratios = np.median(plain / seconds, axis=1)
        for (loop, n_cores), taken, ratio in zip(LOOPS, seconds, ratios, strict=True):
            rows.append([n_features, loop, n_cores, float(np.median(taken)), f"{ratio:.1f}"])
        needed = 0 if fast else AT_LEAST[n_features]
        assert ratios.max() >= needed, f"{ratios.max():.1f} times, not {needed}, at {n_features}"
    for row in rows:
        print(dict(zip(COLUMNS, row, strict=True)))
    if not fast:
        title = "Feature-reweighted RSA: time of one outer split"
        write_report("feature_reweighting_speed", title, TEXT, COLUMNS, rows)


def measure(n_images: int, n_features: int, n_outer: int, n_inner: int) -> np.ndarray:
    """Seconds of every loop, (4, n_outer), after checking that they agree."""
    pairs, y = make_problem(n_images, n_features)
    fit_and_predict(pairs, y, (np.arange(9), np.arange(9, 12)), FRACTIONS)  # compiles
    with parallel_config("loky"):  # starts the workers
        FeatureReweightedRSARegressor(n_jobs=2).fit(*make_problem(10, 20))
    outer = ImageShuffleSplit(n_outer, test_size=0.2, random_state=0).split(pairs)
    splits = [(pairs, y, train, test) for train, test in outer]
    return np.transpose([time_outer_split(*split, n_inner) for split in splits])


def time_outer_split(
    pairs: ImagePairs, y: np.ndarray, train: np.ndarray, test: np.ndarray, n_inner: int
) -> list[float]:
    splitter = ImageShuffleSplit(n_inner, test_size=0.2, random_state=1)
    inner = list(splitter.split(pairs[train]))
    seconds = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            plain, (fraction, expected) = timed(lambda: plain_loop(pairs, y, train, test, inner))
        seconds.append(plain)
    for n_jobs in (1, 2):
        model = FeatureReweightedRSARegressor(
            penalty="fractional", alphas=FRACTIONS, cv=inner, n_jobs=n_jobs
        )
        with threadpool_limits(1), parallel_config("loky"):
            ours, _ = timed(partial(model.fit, pairs[train], y[train]))
        assert model.alpha_ == fraction, f"{model.alpha_} is chosen, not {fraction}"
        assert_close(model.predict(pairs[test]), expected, 2e-2)
        seconds.append(ours)
    assert_equal_penalties_agree(pairs, y, (train[inner[0][0]], train[inner[0][1]]))
    return seconds


def make_problem(n_images: int, n_features: int) -> tuple[ImagePairs, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.gamma(1.0, size=(n_images, n_features))
    index = np.column_stack(np.triu_indices(n_images, 1))
    first, second = features[index[:, 0], :20], features[index[:, 1], :20]
    y = ((first - second) ** 2).sum(axis=1) + rng.normal(0, 5, len(index))
    return ImagePairs(features, index), y


def plain_loop(
    pairs: ImagePairs, y: np.ndarray, train: np.ndarray, test: np.ndarray, inner: list[Split]
) -> tuple[float, np.ndarray]:
    """Return the fraction that the inner splits choose, and the predictions of the test pairs."""
    predicted, counts = np.zeros((len(train), len(FRACTIONS))), np.zeros(len(train))
    for inner_train, inner_test in inner:
        rows = train[inner_train], train[inner_test]
        predicted[inner_test] += fit_and_predict(pairs, y, rows, FRACTIONS)[0]
        counts[inner_test] += 1
    seen = counts > 0
    predicted = predicted[seen] / counts[seen, np.newaxis]
    scores = [pearsonr(y[train][seen], column).statistic for column in predicted.T]
    chosen = FRACTIONS[[np.argmax(scores)]]
    final = fit_and_predict(pairs, y, (train, test), chosen)[0]
    return float(chosen[0]), final[:, 0] + y[train].mean()


def fit_and_predict(
    pairs: ImagePairs, y: np.ndarray, split: Split, fractions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (n_test, n_fractions) relative to the mean target, and the penalties."""
    train, test = (columns_of(pairs[rows]) for rows in split)
    scaler = StandardScaler().fit(train)
    known = y[split[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # centred columns have a singular value of 0
        coef, penalties = fracridge(scaler.transform(train), known - known.mean(), fractions)
    return scaler.transform(test) @ coef, penalties[:, 0]


def columns_of(pairs: ImagePairs) -> np.ndarray:
    """The definition: one product of normalised features per pair and feature."""
    features = pairs.images - pairs.images.mean(axis=1, keepdims=True)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return -features[pairs.index[:, 0]] * features[pairs.index[:, 1]]


def assert_equal_penalties_agree(pairs: ImagePairs, y: np.ndarray, split: Split) -> None:
    train, test = split
    some = FRACTIONS[::6]
    expected, penalties = fit_and_predict(pairs, y, split, some)
    for column, penalty in zip(expected.T, penalties, strict=True):
        model = FeatureReweightedRSARegressor(alphas=penalty).fit(pairs[train], y[train])
        assert_close(model.predict(pairs[test]), column + y[train].mean(), 1e-4)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    error = np.abs(actual - expected).max() / expected.std()
    assert error < tolerance, f"predictions differ by {error:.1e} of their standard deviation"


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
