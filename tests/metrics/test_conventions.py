import numpy as np
import pytest

from sklearn_rdm.metrics import NoiseCeilingConvention, noise_ceiling, rdm_spearman_score
from sklearn_rdm.metrics._conventions import CONVENTIONS, get_convention


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"scoring": "r2"}, r"scoring must be one of \['cosine'.*'r2'"),
        ({"scoring": rdm_spearman_score}, "scoring must be one of"),
        ({"pooling": "median"}, r"pooling must be one of .* got 'median'"),
        ({"bound": "both"}, "bound must be one of"),
        ({"aggregation": "sum"}, "aggregation must be one of"),
    ],
)
def test_unknown_choices_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        NoiseCeilingConvention(**choice)


def test_unknown_names_are_refused_where_they_are_used():
    y = np.random.default_rng(0).random((6, 2))
    with pytest.raises(ValueError, match=r"convention must be one of \['algonauts2019'.*'nili'"):
        noise_ceiling(y, convention="nili")
    with pytest.raises(ValueError, match="scoring must be one of"):
        noise_ceiling(y, scoring=rdm_spearman_score)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_score_that_is_given_takes_the_place_of_the_conventions(name):
    assert get_convention(name) is CONVENTIONS[name]
    changed = get_convention(CONVENTIONS[name], "cosine")
    assert (changed.scoring, changed.squared) == ("cosine", CONVENTIONS[name].squared)
    by_default = changed.pooling == "auto"
    assert changed.resolved_pooling == ("rms" if by_default else changed.pooling)
