import numpy as np
import pytest

from sklearn_rdm import ImageTriplets
from sklearn_rdm.datasets import make_odd_one_out
from sklearn_rdm.preprocessing import choices_to_rdm


@pytest.mark.parametrize("anchored", [False, True])
def test_a_matrix_holds_how_often_images_were_parted(anchored):
    data = make_odd_one_out(8, 3, 60, anchored=anchored, random_state=0)
    judged, together = np.zeros((2, 8, 8))
    for images, odd in zip(data.triplets.index, data.choices, strict=True):
        for place in [1, 2] if anchored else [0, 1, 2]:
            i, j = np.delete(images, place)
            judged[[i, j], [j, i]] += 1
            together[[i, j], [j, i]] += place == odd
    with np.errstate(invalid="ignore"):
        expected = 1 - together / judged
    np.fill_diagonal(expected, 0)
    rdm, counts = choices_to_rdm(data.triplets, data.choices, return_counts=True)
    np.testing.assert_allclose(rdm, expected)
    np.testing.assert_array_equal(counts, judged)


def test_many_choices_give_the_known_probabilities():
    data = make_odd_one_out(5, 3, 40_000, random_state=0)
    exact = choices_to_rdm(
        data.triplets[np.repeat(np.arange(40_000), 3)],
        np.tile([0, 1, 2], 40_000),
        sample_weight=data.probabilities.ravel(),
    )
    rdm = choices_to_rdm(data.triplets, data.choices)
    assert np.abs(rdm - exact).max() < 4 * 0.5 / np.sqrt(40_000 * 3 / 10)  # 4 standard errors


def test_pairs_never_judged_are_nan():
    rdm = choices_to_rdm(ImageTriplets(np.zeros((4, 2)), [[0, 1, 2]]), [1])
    np.testing.assert_array_equal(np.isnan(rdm), [[0, 0, 0, 1]] * 3 + [[1, 1, 1, 0]])


def test_weights_are_repeats():
    data = make_odd_one_out(6, 3, 50, random_state=1)
    counts = np.random.default_rng(0).integers(0, 4, 50)
    rows = np.repeat(np.arange(50), counts)
    np.testing.assert_allclose(
        choices_to_rdm(data.triplets, data.choices, sample_weight=counts),
        choices_to_rdm(data.triplets[rows], data.choices[rows]),
    )
