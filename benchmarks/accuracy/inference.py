"""Check intervals and tests by simulation: coverage, variance ratio and type-I error.

Images and subjects are drawn anew for every data set, so that the variance of a score is known.

    python benchmarks/accuracy/inference.py            # 20 minutes on one core
    python benchmarks/accuracy/inference.py --refit    # 8 minutes: tests of a cross-validation
    python benchmarks/accuracy/inference.py --fast     # writes nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import t as t_distribution

from sklearn_rdm import FeatureReweightedRSARegressor, ImagePairs
from sklearn_rdm._pairs._dissimilarities import average
from sklearn_rdm.metrics import rdm_permutation_test
from sklearn_rdm.metrics._resampling import DrawnScores, Scores, draw_images
from sklearn_rdm.metrics._variance import (
    Uncertainty,
    jackknife_uncertainty,
    schuett2023_uncertainty,
)
from sklearn_rdm.model_selection import ImageKFold, cross_val_permutation_test, cross_val_rdm

N_IMAGES, N_SUBJECTS = (20, 40, 92), (1, 5, 15, 40)
N_DIMENSIONS, SPREAD = 10, 0.15
PAIR_NOISE, MODEL_NOISE = 30.0, 1.2  # about 1.5 and 1 standard deviations between pairs
CHUNK = 64  # draws scored at once, so that they fit in the cache
NUMBERS = {  # model, and the one it is compared with
    "score, related": (0, None),
    "difference, related": (0, 1),
    "score, unrelated": (2, None),
    "difference, unrelated": (2, 3),
}
METHODS = {"jackknife": jackknife_uncertainty, "schuett2023": schuett2023_uncertainty}
COLUMNS = (
    "noise", "images", "subjects", "number", "true sd",
    *(f"{name}: {what}" for name in METHODS for what in ("ratio", "coverage")),
    "percentile: coverage", "permutation: rejected at .05",
)  # fmt: skip
TEXT = """
Spearman's correlation. *Ratio*: mean estimated variance over the variance of the score between
data sets. *Coverage*: share of 95 % intervals that hold the expected score; of differences and of
unrelated models the expected number is 0, and 1 less coverage is the type-I error at .05. Default:
`method="jackknife"`. Over images and subjects; of one subject, over images.

Simulated: images have {n_dimensions} independent normal features; subjects see a linear map of
them, each its own (sd {spread}), with noise. *patterns*: unit noise on each subject's features;
*pairs*: also independent noise on every pair, 1.5 times as large as dissimilarities differ between
pairs, and as large on the related models' predictions. Related models weight the features in
mirrored ways, so that they are equally good; unrelated ones are distances of other features (of
*pairs*, the second one is noise). {n_sims} data sets (92 images: {n_large}), {n_draws} draws each;
two standard errors of a coverage of .95 are {error:.3f} (92 images: {large_error:.3f}). Permutation
test: {n_permutations} permutations, first {n_tested} data sets, first unrelated model.

{n_missed} of {n_cells} cells of the default are outside a coverage of .93 to .98, or above a ratio
of 1.3.
"""
SUMMARY_COLUMNS = (
    "noise", "images", "jackknife: ratio", "jackknife: coverage", "schuett2023: ratio",
    "schuett2023: coverage", "percentile: coverage", "permutation: rejected at .05",
)  # fmt: skip
SUMMARY = """
Smallest to largest over 1, 5, 15 and 40 subjects, related and unrelated models, scores and
differences. *Ratio*: estimated over true variance. *Noise*: of each subject's patterns, or also of
single pairs.
"""

REFIT = """
Type-I error: 20 images, 5 subjects (*patterns*), predicted in five folds by feature-reweighted RSA
(penalty 1) on 5 features that have nothing to do with them. {n_sims} data sets, {n_permutations}
permutations each; two standard errors of .05 are {error:.3f}. The first test fits anew to each
permutation, 500 fits; the second shuffles the predictions, which share training images. Command:
`python benchmarks/accuracy/inference.py --refit`.
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--refit", action="store_true", help="tests of a cross-validation only")
    options = parser.parse_args(argv)
    fast, of_refit = options.fast, options.refit
    sizes = {"n_sims": 400, "n_large": 200, "n_draws": 200, "n_permutations": 99, "n_tested": 200}
    images, subjects = N_IMAGES, N_SUBJECTS
    if fast:
        sizes = dict.fromkeys(sizes, 20)
        images, subjects = (12,), (1, 4)
    if fast or of_refit:
        report_refit(sizes["n_tested"], sizes["n_permutations"], write=not fast)
    if of_refit:
        return
    rows = []
    for noise in ("patterns", "pairs"):
        for n_images in images:
            for n_subjects in subjects:
                rows += simulate_cell(noise, n_images, n_subjects, sizes)
                print(*rows[-len(NUMBERS) :], sep="\n", flush=True)
    if fast:
        return
    report(rows, sizes)


def report_refit(n_sims: int, n_permutations: int, write: bool) -> None:
    """Type-I error of permutation tests of a cross-validated model that knows nothing."""
    rng = np.random.RandomState(1)
    model, cv = FeatureReweightedRSARegressor("sqeuclidean", alphas=1.0), ImageKFold(5)
    options = {"n_permutations": n_permutations, "random_state": rng}
    refit, fixed = [], []
    for _ in range(n_sims):
        dissim, _ = draw_data("patterns", 20, 5, rng)
        pairs = ImagePairs(rng.standard_normal((20, N_DIMENSIONS // 2)))
        refit.append(cross_val_permutation_test(model, pairs, dissim, cv=cv, **options).pvalue)
        held_out = cross_val_rdm(model, pairs, dissim, cv=cv)
        by_fold = options | {"folds": held_out.test_indices}
        fixed.append(rdm_permutation_test(pairs, dissim, held_out.dissim, **by_fold).pvalue)
    tests = {"cross_val_permutation_test": refit, "rdm_permutation_test, not fitted anew": fixed}
    rows = [[name, float(np.mean(np.array(p) <= 0.05))] for name, p in tests.items()]
    print(rows)
    if write:
        from _report import write_report

        error = 2 * np.sqrt(0.05 * 0.95 / n_sims)
        text = REFIT.format(n_sims=n_sims, n_permutations=n_permutations, error=error)
        columns = ("test", "rejected at .05")
        write_report("inference", "Tests of a cross-validation", text, columns, rows, part="refit")


def report(rows: list[list], sizes: dict[str, int]) -> None:
    """Write the table of all cells, and its summary."""
    from _report import write_report

    text = TEXT.format(
        n_dimensions=N_DIMENSIONS,
        spread=SPREAD,
        error=2 * np.sqrt(0.95 * 0.05 / sizes["n_sims"]),
        large_error=2 * np.sqrt(0.95 * 0.05 / sizes["n_large"]),
        n_missed=sum(map(missed, rows)),
        n_cells=len(rows),
        **sizes,
    )
    write_report("inference", "Intervals and tests", text, COLUMNS, rows)
    summary = [
        [
            *key,
            *(
                span([row[column] for row in rows if tuple(row[:2]) == key])
                for column in range(5, 11)
            ),
        ]
        for key in dict.fromkeys(tuple(row[:2]) for row in rows)
    ]
    write_report(
        "inference",
        "Intervals and tests, in short",
        SUMMARY,
        SUMMARY_COLUMNS,
        summary,
        part="summary",
    )


def span(values: list) -> str:
    """Smallest to largest of the numbers among these."""
    numbers = [value for value in values if value != ""]
    return f"{min(numbers):.2f} to {max(numbers):.2f}"


def simulate_cell(noise: str, n_images: int, n_subjects: int, sizes: dict[str, int]) -> list[list]:
    """Rows of the table for one number of images and subjects."""
    over = "images" if n_subjects == 1 else "both"
    n_sims = sizes["n_large"] if n_images > 40 else sizes["n_sims"]
    rng = np.random.RandomState(1000 * n_images + n_subjects)
    draw = partial(draw_data, noise, n_images, n_subjects, rng)
    values, spans, estimates, rejected = [], [], [], []
    for simulation in range(n_sims):
        dissim, predicted = draw()
        pairs = np.column_stack(np.triu_indices(n_images, 1))
        scores = resample(pairs, dissim, predicted, sizes["n_draws"], rng)
        replicates = [scores.contrast(*models) for models in NUMBERS.values()]
        values.append([average(each.full) for each in replicates])
        estimates.append([[METHODS[m](each, over) for m in METHODS] for each in replicates])
        chosen = rng.randint(n_subjects, size=(sizes["n_draws"], n_subjects))
        spans.append(
            [
                np.quantile(np.take_along_axis(each.drawn, chosen, 1).mean(1), [0.025, 0.975])
                for each in replicates
            ]
        )
        if simulation < sizes["n_tested"]:
            n_permutations = sizes["n_permutations"]
            test = rdm_permutation_test(
                pairs, dissim, predicted[:, 2], n_permutations=n_permutations, random_state=rng
            )
            rejected.append(test.pvalue <= 0.05)
    return [
        [
            noise, n_images, n_subjects, name,
            *summarize(*map(np.array, zip(*each, strict=True)), 0.0 if number else None),
            float(np.mean(rejected)) if number == 2 else "",
        ]
        for number, (name, each) in enumerate(
            zip(NUMBERS, by_number(values, estimates, spans), strict=True)
        )
    ]  # fmt: skip


def draw_data(
    noise: str, n_images: int, n_subjects: int, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Dissimilarities (n_pairs, n_subjects) and predictions (n_pairs, 4) of new images."""
    # One subject is the same in every data set: there is no telling how others would differ.
    of_subjects = np.random.RandomState(7) if n_subjects == 1 else rng
    maps = of_subjects.standard_normal((n_subjects, N_DIMENSIONS, N_DIMENSIONS))
    features = rng.standard_normal((n_images, N_DIMENSIONS))
    seen = features @ (np.eye(N_DIMENSIONS) + SPREAD * maps)
    seen = seen + rng.standard_normal(seen.shape)
    dissim = np.array([pdist(each, "sqeuclidean") for each in seen]).T
    weights = np.repeat([1.5, 0.7], N_DIMENSIONS // 2)
    other = rng.standard_normal((2, n_images, N_DIMENSIONS // 2))
    models = [features * weights, features * weights[::-1], *other]
    predicted = np.array([pdist(each) for each in models]).T
    if noise == "pairs":
        # Of one size in all data sets: scaled to each one's spread, it would hide that this varies.
        dissim += PAIR_NOISE * rng.standard_normal(dissim.shape)
        predicted[:, :2] += MODEL_NOISE * rng.standard_normal((len(predicted), 2))
        predicted[:, 3] = rng.standard_normal(len(predicted))
    return dissim, predicted


def resample(
    pairs: np.ndarray,
    dissim: np.ndarray,
    predicted: np.ndarray,
    n_draws: int,
    rng: np.random.RandomState,
) -> Scores:
    """Scores as the public functions make them; they would draw anew for every method."""
    score = DrawnScores("spearman", dissim, predicted, pairs, [np.arange(len(pairs))])
    n_images = pairs.max() + 1
    once = np.ones((1, n_images), dtype=int)
    drawn = draw_images([np.arange(n_images)], rng, n_draws)
    counts = np.vstack([once, once - np.eye(n_images, dtype=int), drawn])
    scores = np.concatenate(
        [score(counts[start : start + CHUNK]) for start in range(0, len(counts), CHUNK)]
    )
    image_set = np.zeros(n_images, dtype=int)
    return Scores(scores[0], scores[1 : n_images + 1], scores[n_images + 1 :], image_set)


def by_number(values: list, estimates: list, spans: list) -> Iterator[list]:
    """For each number, its value, estimates and percentiles in every data set."""
    for number in range(len(NUMBERS)):
        yield [
            (value[number], estimate[number], span[number])
            for value, estimate, span in zip(values, estimates, spans, strict=True)
        ]


def summarize(
    values: np.ndarray, estimates: np.ndarray, spans: np.ndarray, truth: float | None
) -> list[float]:
    """True standard deviation, ratio and coverage of each method, coverage of percentiles."""
    truth = values.mean() if truth is None else truth
    summary = [float(values.std(ddof=1))]
    for method in range(len(METHODS)):
        variance, dof = Uncertainty(*estimates[:, method].T)
        half = t_distribution.isf(0.025, dof) * np.sqrt(variance)
        covered = np.mean(np.abs(values - truth) <= half)
        summary += [float(np.mean(variance) / values.var(ddof=1)), float(covered)]
    return [*summary, float(np.mean((spans[:, 0] <= truth) & (truth <= spans[:, 1])))]


def missed(row: list) -> bool:
    """Whether a row of the table misses the default's claim."""
    ratio, coverage = row[5:7]
    return ratio > 1.3 or not 0.93 <= coverage <= 0.98


if __name__ == "__main__":
    main()
