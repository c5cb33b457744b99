"""Calibrated predictions: against the definition, with networks, folds and fitted estimators."""

import pickle

import numpy as np
import pytest
from scipy.stats import linregress
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FixedRSARegressor,
    ImagePairs,
)
from sklearn_rdm.metrics import rdm_spearman_score
from sklearn_rdm.model_selection import ImageKFold, cross_val_rdm
from sklearn_rdm.preprocessing import SubjectPooling
from tests.networks import make_data, tiny_net


def make_problem(n_images=12, n_subjects=3):
    rng = np.random.default_rng(0)
    features = rng.gamma(1.0, size=(n_images, 5))
    dissim = rng.gamma(2.0, size=(n_images * (n_images - 1) // 2, n_subjects))
    return ImagePairs(features, np.column_stack(np.triu_indices(n_images, 1))), dissim


@pytest.mark.parametrize("pooling", ["mean", "zscore", "rank", SubjectPooling("mean")])
def test_mean_and_spread_of_the_training_pairs_are_the_targets(pooling):
    pairs, dissim = make_problem()
    model = CalibratedRDMRegressor(FixedRSARegressor(), subject_pooling=pooling)
    predicted = model.fit(pairs, dissim).predict(pairs)
    method = SubjectPooling(pooling) if isinstance(pooling, str) else pooling
    target = clone(method).fit_transform(dissim)
    assert predicted.mean() == pytest.approx(target.mean())
    assert predicted.std() == pytest.approx(target.std())


def test_new_pairs_are_on_the_line_of_the_training_pairs():
    pairs, dissim = make_problem()
    few = np.flatnonzero((pairs.index < 8).all(axis=1))
    model = CalibratedRDMRegressor(FixedRSARegressor()).fit(pairs[few], dissim[few])
    plain = FixedRSARegressor().fit(pairs[few], dissim[few]).predict(pairs)
    line = linregress(plain, model.predict(pairs))
    assert (line.slope, line.intercept) == pytest.approx((model.scale_, model.shift_))
    assert line.rvalue == pytest.approx(1)
    some = pairs[[3, 60]]  # not: of what is asked for together
    np.testing.assert_allclose(model.predict(some), model.predict(pairs)[[3, 60]])


def test_the_matrix_holds_the_predictions():
    pairs, dissim = make_problem()
    model = CalibratedRDMRegressor(FixedRSARegressor()).fit(pairs, dissim)
    rdm = model.transform(pairs)
    np.testing.assert_allclose(rdm[tuple(pairs.index.T)], model.predict(pairs))
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diag(rdm), 0)
    assert model.score(pairs, dissim) == rdm_spearman_score(dissim, model.predict(pairs))


def test_equal_predictions_become_the_mean():
    pairs, dissim = make_problem()
    equal = ImagePairs(np.eye(12), pairs.index)  # all distances are equal
    model = CalibratedRDMRegressor(FixedRSARegressor("sqeuclidean"), subject_pooling="mean")
    predicted = model.fit(equal, dissim).predict(equal)
    np.testing.assert_allclose(predicted, dissim.mean())
    assert model.scale_ == 0


def test_pairs_that_only_a_left_out_subject_has_do_not_count():
    pairs, dissim = make_problem()
    dissim[0] = np.nan
    dissim[:, 2] = np.nan
    dissim[0, 2] = 100  # this subject's only pair: left out of the pooled target
    with pytest.warns(UserWarning, match="left out"):
        model = CalibratedRDMRegressor(FixedRSARegressor()).fit(pairs, dissim)
    rest = CalibratedRDMRegressor(FixedRSARegressor()).fit(pairs[1:], dissim[1:, :2])
    assert (model.scale_, model.shift_) == pytest.approx((rest.scale_, rest.shift_))


def test_a_fitted_network_is_kept():
    data = make_data(6)
    pairs, dissim = ImagePairs.from_rdms(data.images, data.rdms)
    net = tiny_net(max_epochs=1).fit(pairs, dissim)
    before = net.predict(pairs)
    model = CalibratedRDMRegressor(FrozenEstimator(net)).fit(pairs, dissim)
    assert model.estimator_.estimator is net
    np.testing.assert_array_equal(net.predict(pairs), before)
    np.testing.assert_allclose(
        model.predict(pairs), model.shift_ + model.scale_ * before, rtol=1e-5
    )
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(pairs), model.predict(pairs))


def test_folds_of_different_scale_are_joined_in_order():
    """Each fold's network multiplies distances by a number of its own."""
    pairs, _ = make_problem(15)
    dissim = FixedRSARegressor().fit(pairs, np.arange(len(pairs))).predict(pairs)
    folds = list(ImageKFold(3).split(pairs))
    plain, calibrated = [], []
    for number, (train, test) in enumerate(folds):
        model = Scaled(10.0**number)
        plain.append(model.fit(pairs[train], dissim[train]).predict(pairs[test]))
        wrapped = CalibratedRDMRegressor(model, subject_pooling="mean")
        calibrated.append(wrapped.fit(pairs[train], dissim[train]).predict(pairs[test]))
    observed = np.concatenate([dissim[test] for _, test in folds])
    assert rdm_spearman_score(observed, np.concatenate(plain)) < 0.9
    np.testing.assert_allclose(np.concatenate(calibrated), observed)


class Scaled(FixedRSARegressor):
    def __init__(self, factor=1.0, metric="correlation"):
        super().__init__(metric)
        self.factor = factor

    def _distances(self, features, index):
        return self.factor * super()._distances(features, index)


def test_in_searches_ensembles_and_cross_validation():
    pairs, dissim = make_problem()
    model = CalibratedRDMRegressor(FixedRSARegressor())
    assert is_regressor(model)
    search = GridSearchCV(model, {"estimator__metric": ["cosine", "euclidean"]}, cv=ImageKFold(3))
    assert search.fit(pairs, dissim).predict(pairs).shape == (len(pairs),)
    ensemble = EnsembleRDMRegressor(model, cv=3).fit(pairs, dissim)
    assert ensemble.transform(pairs).shape == (12, 12)
    held_out = cross_val_rdm(model, pairs, dissim, cv=ImageKFold(3)).dissim
    assert np.isfinite(held_out).sum() == 3 * 6  # the pairs within 3 folds of 4 images


def test_errors():
    pairs, dissim = make_problem()
    with pytest.raises(NotFittedError):
        CalibratedRDMRegressor(FixedRSARegressor()).predict(pairs)
    with pytest.raises(ValueError, match="subject_pooling must be one of"):
        CalibratedRDMRegressor(FixedRSARegressor(), subject_pooling=3).fit(pairs, dissim)
    model = CalibratedRDMRegressor(FixedRSARegressor()).fit(pairs, dissim)
    fitted = dict(vars(model))
    with pytest.raises(ValueError, match="no such"):
        model.set_params(estimator__metric="no such").fit(pairs, dissim)
    assert vars(model)["estimator_"] is fitted["estimator_"]


def test_transforms_only_if_the_estimator_does():
    assert hasattr(CalibratedRDMRegressor(FixedRSARegressor()), "transform")
    assert not hasattr(CalibratedRDMRegressor(DummyRegressor()), "transform")
