"""Methods that a wrapper has if the wrapped estimator has them: before and after fitting."""

from types import SimpleNamespace

import pytest

from sklearn_rdm._pairs._delegation import wrapped_has

WITH = SimpleNamespace(transform=len)
WITHOUT = SimpleNamespace()


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [
        (SimpleNamespace(estimator=WITH), True),
        (SimpleNamespace(estimator=WITHOUT), False),
        (SimpleNamespace(estimator=WITHOUT, estimator_=WITH), True),
        (SimpleNamespace(estimator=WITH, estimator_=WITHOUT), False),
    ],
)
def test_the_fitted_estimator_is_asked_if_there_is_one(wrapper, expected):
    assert wrapped_has("transform")(wrapper) is expected
