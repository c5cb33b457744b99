import numpy as np
import pytest

from sklearn_rdm.datasets import make_odd_one_out


@pytest.mark.parametrize("anchored", [False, True])
def test_choices_follow_their_probabilities(anchored):
    data = make_odd_one_out(10, 6, 20_000, anchored=anchored, random_state=0)
    np.testing.assert_allclose(data.probabilities.sum(axis=1), 1)
    counts = np.eye(3)[data.choices]
    excess = (counts - data.probabilities).mean(axis=0)
    assert np.abs(excess).max() < 4 * 0.5 / np.sqrt(20_000)
    hits = (data.probabilities.argmax(axis=1) == data.choices).mean()
    assert hits == pytest.approx(data.best_accuracy, abs=4 * 0.5 / np.sqrt(20_000))
    assert data.triplets.anchored is anchored
    assert set(data.choices) == ({1, 2} if anchored else {0, 1, 2})


def test_the_same_seed_gives_the_same_data():
    first, second = (make_odd_one_out(random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.choices, second.choices)
    np.testing.assert_array_equal(first.triplets.index, second.triplets.index)


@pytest.mark.parametrize("sizes", [(2, 5, 5), (5, 1, 5), (5, 5, 0)])
def test_too_small_sizes_raise_an_error(sizes):
    with pytest.raises(ValueError, match="give 3 images, 2 features and 1 triplet or more"):
        make_odd_one_out(*sizes)
