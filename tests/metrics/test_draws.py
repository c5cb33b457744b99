import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_rdm.metrics import (
    rdm_permutation_test,
    rdm_whitened_pearson_score,
)
from sklearn_rdm.metrics._draws import check_inputs, members_of_sets, repeat_pairs
from tests.simulated import all_pairs, simulate


def test_images_stay_in_their_set():
    first, y_first, _ = simulate(n_images=6)
    second, y_second, _ = simulate(n_images=7, seed=1)
    pairs = np.concatenate([first, second + 6])
    y_true = np.concatenate([y_first, y_second])
    # Only the level differs between the sets: shuffling within them changes nothing.
    y_pred = np.repeat([0.0, 1.0], [len(first), len(second)])
    result = rdm_permutation_test(pairs, y_true, y_pred, n_permutations=20, random_state=0)
    assert_allclose(result.null_distribution, result.score)
    assert result.pvalue == 1
    assert [len(members) for members in members_of_sets(pairs)] == [6, 7]


def test_resampled_pairs_are_those_of_all_copies():
    counts = np.array([2, 0, 3, 1])
    index = all_pairs(4)
    rows, copies = repeat_pairs(index, counts)
    labels = np.repeat(np.arange(4), counts)
    expected = [(i, j) for i, j in all_pairs(6) if labels[i] != labels[j]]
    assert sorted(map(tuple, copies)) == expected
    assert_array_equal(np.sort(labels[copies], axis=1), index[rows])
    rows, copies = repeat_pairs(index, np.ones(4, dtype=int))
    assert_array_equal(copies, index)


def test_whitening_treats_copies_of_an_image_as_images():
    pairs, y_true, y_pred = simulate(n_images=5)
    rows, copies = repeat_pairs(pairs, np.array([2, 1, 1, 1, 0]))
    score = rdm_whitened_pearson_score(y_true[rows], y_pred[rows], pairs=copies)
    contrasts = np.zeros((len(rows), 5))
    contrasts[range(len(rows)), copies[:, 0]] = 1
    contrasts[range(len(rows)), copies[:, 1]] = -1
    whitening = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    x = y_pred[rows] - y_pred[rows].mean()
    y = y_true[rows] - y_true[rows].mean(axis=0)
    norms = np.sqrt(x @ whitening @ x * np.einsum("ps,pq,qs->s", y, whitening, y))
    assert score == pytest.approx(np.mean(x @ whitening @ y / norms))


def test_predictions_of_another_length_are_named_and_not_cut():
    pairs, y_true, y_pred = simulate()
    with pytest.raises(ValueError, match="66"):
        check_inputs(pairs, y_true, [y_pred[:-1]], [np.arange(10), np.arange(20, 30)])
