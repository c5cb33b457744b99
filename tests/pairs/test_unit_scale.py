import numpy as np
import pytest

from sklearn_rdm._pairs._unit_scale import exponents_of, to_unit_scale


@pytest.mark.parametrize("unit", [1e-310, 1e-170, 1.0, 1e155, 1e308])
def test_columns_are_scaled_exactly_by_powers_of_two(unit):
    columns = np.array([[0.3, -1.0], [np.nan, 0.5], [-0.7, 0.2]]) * [unit, 1.0]
    scaled = to_unit_scale(columns)
    largest = np.nanmax(np.abs(scaled), axis=0)
    assert ((largest >= 0.5) & (largest <= 1)).all()
    exponents = exponents_of(np.nanmax(np.abs(columns), axis=0))
    np.testing.assert_array_equal(np.ldexp(scaled, exponents), columns)
    np.testing.assert_array_equal(to_unit_scale(columns[:, 0]), scaled[:, 0])


def test_zeros_and_nothing_stay():
    np.testing.assert_array_equal(to_unit_scale(np.zeros((2, 1))), np.zeros((2, 1)))
    assert exponents_of(np.array([np.nan, 4.0])).tolist() == [0, 3]
    assert to_unit_scale(np.empty((0, 3))).shape == (0, 3)
