import numpy as np
import pytest

from sklearn_rdm import ImageTriplets
from sklearn_rdm.metrics import choice_accuracy_ceiling, choice_accuracy_score


def test_accuracy_is_the_share_of_equal_choices():
    assert choice_accuracy_score([0, 1, 2, 2], [0, 1, 2, -1]) == 0.75
    assert choice_accuracy_score([0, 1], [0, 2], sample_weight=[3, 1]) == 0.75


@pytest.mark.parametrize("y_pred", [[0], [[0, 1]], []])
def test_other_shapes_raise_an_error(y_pred):
    with pytest.raises(ValueError, match="equal length"):
        choice_accuracy_score([0, 1], y_pred)


def plain_ceiling(names):
    """By loops, over the names of the odd ones out of trials of the same images."""
    upper, lower = [], []
    for trials in names:
        for number, own in enumerate(trials):
            upper.append(max(trials.count(n) for n in trials) / len(trials))
            others = trials[:number] + trials[number + 1 :]
            counts = {n: others.count(n) for n in others}
            best = [n for n in counts if counts[n] == max(counts.values())]
            lower.append((own in best) / len(best))
    return np.mean(lower), np.mean(upper)


@pytest.mark.parametrize("anchored", [False, True])
def test_ceiling_of_repeats_in_any_order(anchored):
    rng = np.random.default_rng(0)
    sets = [[0, 1, 2], [3, 5, 4], [1, 2, 6]]
    names, index, choices = [], [], []
    for images in sets:
        names.append([])
        for _ in range(9):
            order = np.r_[images[0], rng.permutation(images[1:])] if anchored else None
            order = rng.permutation(images) if order is None else order
            place = rng.choice([1, 2] if anchored else [0, 1, 2])
            index.append(order)
            choices.append(place)
            names[-1].append(order[place])
    index.append([7, 8, 9])  # judged once: tells nothing
    choices.append(1)
    triplets = ImageTriplets(np.zeros((10, 2)), index, anchored=anchored)
    np.testing.assert_allclose(choice_accuracy_ceiling(triplets, choices), plain_ceiling(names))


def test_a_reference_is_another_question_than_its_alternatives():
    triplets = ImageTriplets(np.zeros((3, 2)), [[0, 1, 2], [1, 0, 2]], anchored=True)
    with pytest.raises(ValueError, match="no three images were judged twice"):
        choice_accuracy_ceiling(triplets, [1, 2])


@pytest.mark.parametrize("missing", [np.ma.masked, np.nan, None])
def test_a_missing_choice_is_not_a_wrong_one(missing):
    for pair in (([0, missing, 2], [0, 1, 2]), ([0, 1, 2], [0, missing, 2])):
        with pytest.raises(ValueError, match="the choice of triplet 1 is missing"):
            choice_accuracy_score(*pair)


def test_text_is_no_choice():
    with pytest.raises(TypeError, match="choices must be real numbers"):
        choice_accuracy_score(["0", "1"], [0, 1])
