"""Noise ceilings strip by strip against those of all pairs at once."""

import numpy as np
import pytest

from sklearn_rdm import ResponsePatterns
from sklearn_rdm.datasets import fetch_algonauts2019
from sklearn_rdm.metrics import NoiseCeilingConvention, _rank_bins, _strips, noise_ceiling
from sklearn_rdm.metrics._conventions import POOLINGS
from sklearn_rdm.metrics._measures import MEASURES
from sklearn_rdm.metrics._streamed import STREAMED

N_IMAGES = 64  # a power of two: means of whole numbers are exact
NAMES = [name for name, measure in MEASURES.items() if measure in STREAMED]


@pytest.fixture
def streaming(monkeypatch):
    """Take any set for a large one, cut it into many strips, and give each value a bin."""
    monkeypatch.setattr(_rank_bins, "N_BINS", 4096)
    monkeypatch.setattr(_strips, "BLOCK", 20 * N_IMAGES)

    def switch(on):
        monkeypatch.setattr(_strips, "ALL_PAIRS", 0 if on else 2**24)

    return switch


def make_patterns(n_subjects=4, n_times=None, metric="correlation", n_images=N_IMAGES):
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n_images, 6))
    runs = (3,) if metric == "crossnobis" else ()
    times = (n_times,) if n_times else ()
    return [
        (hidden @ rng.standard_normal((6, 20)))[..., *[None] * len(times)]
        + 3 * rng.standard_normal((*runs, n_images, 20, *times))
        for _ in range(n_subjects)
    ]


def both_ways(streaming, y, **options):
    found = []
    for on in (False, True):
        streaming(on)
        found.append(noise_ceiling(y, **options))
    return found


def agree(streaming, y, tolerance=1e-10, **options):
    expected, found = both_ways(streaming, y, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("scoring", NAMES)
@pytest.mark.parametrize("metric", ["correlation", "crossnobis", "euclidean"])
def test_strips_give_the_ceiling_of_all_pairs(streaming, scoring, metric):
    y = ResponsePatterns(make_patterns(metric=metric), metric)
    agree(streaming, y, scoring=scoring)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("scoring", ["pearson", "cosine", "spearman"])
def test_every_pooling(streaming, scoring, pooling):
    y = ResponsePatterns(make_patterns())
    agree(streaming, y, convention=NoiseCeilingConvention(scoring, pooling, squared=True))


@pytest.mark.parametrize("scoring", ["pearson", "cosine", "spearman", "rho_a"])
@pytest.mark.parametrize("n_subjects", [2, 5])
def test_subjects_who_saw_other_images(streaming, scoring, n_subjects):
    seen = np.random.default_rng(1).random((n_subjects, N_IMAGES)) < 0.7
    seen[1, :15] = False
    agree(streaming, ResponsePatterns(make_patterns(n_subjects), seen=seen), scoring=scoring)


def test_a_subject_who_saw_nothing_that_others_saw(streaming):
    seen = np.ones((3, N_IMAGES), dtype=bool)
    seen[0, 5:], seen[1:, :5] = False, False
    y = ResponsePatterns(make_patterns(3), seen=seen)
    for on in (False, True):
        streaming(on)
        with pytest.warns(UserWarning, match="not defined"):
            found = noise_ceiling(y)
        np.testing.assert_allclose(found, noise_ceiling(y[5:]._of_subjects([1, 2])), atol=1e-10)


def test_time_points_and_folds(streaming):
    y = ResponsePatterns(make_patterns(n_times=3))
    agree(streaming, y)
    agree(streaming, y, time_average=False, scoring="pearson")
    folds = [np.arange(20), np.arange(20, 64)]
    agree(streaming, y, folds=folds)


def test_what_has_no_ceiling_raises_the_same_error(streaming):
    alone = ResponsePatterns(make_patterns(1))
    apart = ResponsePatterns(make_patterns(2), seen=np.arange(64) // 32 == [[0], [1]])
    for on in (False, True):
        streaming(on)
        with pytest.raises(ValueError, match="a noise ceiling needs two or more subjects"):
            noise_ceiling(alone)
        with pytest.raises(ValueError, match="2 or more pairs in common"):
            noise_ceiling(apart)
        with pytest.raises(ValueError, match="time_average=False needs"):
            noise_ceiling(alone, time_average=False)
        with pytest.raises(ValueError, match="one weight per pair"):
            noise_ceiling(alone, sample_weight=np.ones(2016))


def test_whitened_ceilings_need_all_images(streaming):
    y = ResponsePatterns(make_patterns(2), seen=np.arange(128).reshape(2, 64) > 0)
    streaming(True)
    agree(streaming, y, scoring="whitened_pearson")  # of the 63 that both have seen
    y = ResponsePatterns(make_patterns(3), seen=np.arange(192).reshape(3, 64) > 0)
    streaming(True)
    with pytest.raises(ValueError, match="a subject has not seen all"):
        noise_ceiling(y, scoring="whitened_pearson")


def test_ties_are_counted_as_ties(streaming):
    y = ResponsePatterns([np.round(2 * x[:, :4]) for x in make_patterns()], "euclidean")
    agree(streaming, y)


def test_bins_cost_less_than_a_hundred_thousandth(streaming, monkeypatch):
    monkeypatch.setattr(_rank_bins, "N_BINS", 512)
    y = ResponsePatterns(make_patterns(3, n_images=700))
    agree(streaming, y, tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["pearson", "cosine", "whitened_pearson", "spearman"])
def test_118_images_of_real_data(streaming, monkeypatch, data_home, scoring):
    """Rows of the measured matrices as patterns; their pairs are more than the bins of ranks."""
    monkeypatch.setattr(_rank_bins, "N_BINS", 512)
    rdms = fetch_algonauts2019(image_set=118, data_home=data_home).rdms
    tolerance = 1e-5 if scoring == "spearman" else 1e-10
    agree(streaming, ResponsePatterns(list(rdms), "euclidean"), tolerance, scoring=scoring)
