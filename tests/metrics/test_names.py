import pytest

from sklearn_rdm.metrics._names import name_models


def test_vectors_or_a_dict():
    assert name_models(([1], [2]), None) == (["model 0", "model 1"], [[1], [2]])
    assert name_models(([1], [2]), ["a", "b"]) == (["a", "b"], [[1], [2]])
    assert name_models(({"a": [1], 2: [2]},), None) == (["a", "2"], [[1], [2]])


def test_names_that_do_not_fit():
    for names in (["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="names must be one per model and all different"):
            name_models(([1], [2]), names)
    with pytest.raises(ValueError, match="there is no model"):
        name_models((), None)
