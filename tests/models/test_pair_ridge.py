import numpy as np
import pytest

from sklearn_rdm._models._pair_ridge import fit_path, predict_path
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.simulated import make_problem


@pytest.mark.parametrize("penalty", ["ridge", "fractional", "nonnegative"])
@pytest.mark.parametrize("n_features", [10, 120])
def test_held_out_predictions_are_those_of_the_fitted_weights(n_features, penalty, rng):
    """They take a short cut past the weights where pairs are fewer than features."""
    pairs, y = make_problem(rng, 15, n_features, 2)
    y[:9, 1] = np.nan
    train, test = next(ImageShuffleSplit(1, test_size=0.3, random_state=0).split(pairs))
    model = {"metric": "dot", "penalty": penalty}
    known, alphas = (pairs.images, pairs.index[train], y[train]), np.array([[0.1], [0.7]])
    path = fit_path(*known, alphas, **model)
    first, second = pairs.images[pairs.index[test].T]
    columns = -first * second
    expected = np.tensordot(columns, path.coef, 1) - path.offset
    predicted = predict_path(*known, alphas, pairs.index[test], **model)
    np.testing.assert_allclose(predicted, expected, atol=1e-8 * np.abs(expected).max())


def test_a_target_that_is_constant_has_no_positive_weights(rng):
    pairs, y = make_problem(rng, 9, 5, 2)
    y[:, 1] = 3.0
    known = pairs.images, pairs.index, y
    path = fit_path(*known, np.full((1, 2), 0.1), metric="dot", penalty="nonnegative")
    assert (path.coef[..., 0] > 0).any()
    np.testing.assert_array_equal(path.coef[..., 1], 0)
