"""Strips of all pairs: each pair once, with the values of the matrices."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import (
    CalibratedRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    ResponsePatterns,
)
from sklearn_rdm.metrics import _strips
from sklearn_rdm.metrics._strips import (
    Checked,
    ScoreStrips,
    Upper,
    is_large,
    open_distances,
    open_patterns,
)
from sklearn_rdm.preprocessing import PerImage

N_IMAGES = 60


def test_pairs_of_a_strip_are_taken_and_put_back():
    block = np.arange(15.0).reshape(3, 5)
    upper = Upper(3, 5)
    taken = upper.take(block)
    np.testing.assert_array_equal(taken, [1, 2, 7, 3, 4, 8, 9, 13, 14])
    np.testing.assert_array_equal(upper.put(taken), np.triu(block, 1))


@pytest.mark.parametrize("step", [1, 7, 59, 60])
def test_each_pair_is_in_one_strip(monkeypatch, step):
    monkeypatch.setattr(_strips, "BLOCK", step * N_IMAGES)
    rng = np.random.default_rng(0)
    rdm = rng.random((N_IMAGES, N_IMAGES))
    x = rng.standard_normal((3, N_IMAGES, 5))
    x[1, rng.random(N_IMAGES) < 0.5] = np.nan
    x[2] = np.nan
    x[2, [3, 50]] = rng.random((2, 5))
    y = ResponsePatterns(list(x), "euclidean")
    observed = open_patterns(y, [(subject, 0) for subject in range(3)])
    strips = ScoreStrips(lambda rows, columns: rdm[rows][:, columns], observed, N_IMAGES)
    found = [strip.columns for strip in strips]
    for subject, expected in enumerate(y.to_rdms()):
        known = np.triu(~np.isnan(expected), 1)
        measured, predicted = (
            np.concatenate([columns[subject][side] for columns in found]) for side in (0, 1)
        )
        order, same = predicted.argsort(), rdm[known].argsort()
        np.testing.assert_array_equal(predicted[order], rdm[known][same])
        np.testing.assert_allclose(measured[order], expected[known][same], atol=1e-12)
    assert not strips.is_complete
    assert [len(values) for values, _ in strips.sample()] == [len(y_) for y_ in _columns(found)]


def _columns(found):
    return [np.concatenate([columns[subject][0] for columns in found]) for subject in range(3)]


def test_sets_are_large_by_their_pairs_and_columns():
    small, large = (ResponsePatterns(np.random.default_rng(0).random((n, 2))) for n in (99, 5000))
    assert not is_large(small)
    assert is_large(large)
    assert not is_large(np.zeros((5000, 5000)))


@pytest.mark.parametrize(
    "model",
    [
        FixedRSARegressor("euclidean"),
        FixedRSARegressor("cosine", noise_ratio=0.5),
        FeatureReweightedRSARegressor(alphas=10),
        CalibratedRDMRegressor(FixedRSARegressor()),
        make_pipeline(PerImage(StandardScaler()), FixedRSARegressor()),
    ],
)
def test_any_estimator_opens_its_distances(model):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((N_IMAGES, 30))
    y = ResponsePatterns(features @ rng.random((30, 20)))
    model.fit(features, y)
    distances = open_distances(model, features)
    rows, columns = slice(3, 9), np.arange(20, 31)
    first, second = np.meshgrid(np.arange(60)[rows], columns, indexing="ij")
    expected = model.predict(ImagePairs(features, np.column_stack([first.ravel(), second.ravel()])))
    np.testing.assert_allclose(distances(rows, columns).ravel(), expected, atol=1e-12)


def test_predictions_must_be_finite():
    checked = Checked(lambda rows, columns: np.array([[0, np.nan]]))
    with pytest.raises(ValueError, match="NaN or infinite: the model diverged"):
        checked(slice(0, 1), slice(0, 2))
