"""scikit-learn's estimator checks, for every estimator of the package.

Its own checks give ``fit`` a matrix of samples and features, which none of ours takes: tags say
so (``two_d_array=False``), and ``check_estimator`` then runs next to nothing. Here are the checks
that need no data, as they are, and twins of the others on pairs of images, named after them.
"""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from joblib import hash as content_hash
from numpydoc.docscrape import ClassDoc
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from skorch import NeuralNetRegressor
from torch import nn

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerEpochSearchCV,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    OddOneOutAlignment,
    SiameseOddOneOutClassifier,
    SiameseRDMRegressor,
    VotingRDMRegressor,
)
from sklearn_rdm._pairs._dissimilarities import average_times
from sklearn_rdm.model_selection import SubjectHoldOutRDMRegressor
from sklearn_rdm.preprocessing import PerImage, SubjectPooling
from tests.networks import TinyNetwork, make_data, tiny_net
from tests.public_names import public_paths, resolve

FEATURES = np.random.default_rng(0).gamma(1.0, size=(8, 12))
ESTIMATORS = {
    "FixedRSARegressor": FixedRSARegressor(),
    "LayerWeightedRSARegressor": LayerWeightedRSARegressor([5, 7], fit_intercept=True),
    "LayerWeightedRSARegressor, components": LayerWeightedRSARegressor([5, 7], n_components=2),
    "FeatureReweightedRSARegressor": FeatureReweightedRSARegressor(random_state=0),
    "FeatureReweightedRSARegressor, each": FeatureReweightedRSARegressor(
        "sqeuclidean", penalty="fractional", subject_pooling=None, random_state=0
    ),
    "LinearTwinRSARegressor": LinearTwinRSARegressor(3),
    "SubjectHoldOutRDMRegressor": SubjectHoldOutRDMRegressor(FixedRSARegressor(), 2),
    "EnsembleRDMRegressor": EnsembleRDMRegressor(FixedRSARegressor(), cv=2),
    "CalibratedRDMRegressor": CalibratedRDMRegressor(FixedRSARegressor()),
    "VotingRDMRegressor": VotingRDMRegressor([("fixed", FixedRSARegressor())]),
    "LayerEpochSearchCV": LayerEpochSearchCV(tiny_net(), ["relu2", "relu3"], cv=2),
    "PerImage": PerImage(StandardScaler()),
    "LayerActivations": LayerActivations(TinyNetwork, "relu2", image_size=48, random_state=0),
    "SiameseRDMRegressor": tiny_net(),
    "SiameseRDMRegressor, frozen": tiny_net(
        freeze_up_to="relu1", batching="pairs", reference="white", module__dropout=True
    ),
}
SEE_PHOTOGRAPHS = (LayerActivations, LayerEpochSearchCV, SiameseRDMRegressor)
LEARN_FROM_PAIRS_ALONE = (PerImage, LayerActivations)  # they ignore y
# On dissimilarities, and on triplets.
NOT_ON_PAIRS = {SubjectPooling, OddOneOutAlignment, SiameseOddOneOutClassifier}


def make_problem(estimator):
    """Pairs and dissimilarities that an estimator can be fitted on, new objects each time."""
    data = make_data(8)
    images = data.images if isinstance(estimator, SEE_PHOTOGRAPHS) else FEATURES
    return ImagePairs.from_rdms(images.copy(), data.rdms)


def outputs(estimator, pairs):
    """What a fitted estimator says about pairs, one row per pair."""
    if hasattr(estimator, "predict"):
        return estimator.predict(pairs)
    transformed = estimator.transform(pairs)
    return transformed.images[transformed.index]


def own_verbs(estimator):
    return [v for v in ("predict", "transform", "embed", "score") if hasattr(estimator, v)]


def assert_same(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **{"rtol": 1e-6, "atol": 5e-6} | tolerance)


def test_no_estimator_is_forgotten():
    classes = [resolve(path) for path in public_paths()]
    estimators = {c for c in classes if inspect.isclass(c) and issubclass(c, BaseEstimator)}
    assert estimators - {type(e) for e in ESTIMATORS.values()} == NOT_ON_PAIRS


# scikit-learn's own checks, where they need no data

DATA_FREE = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]
SKORCH_FAILS = {
    "check_no_attributes_set_in_init": "skorch sets history_, initialized_ and virtual_params_",
}


def _data_free_cases():
    one_each = {type(e): e for e in [*ESTIMATORS.values(), SubjectPooling()]}
    for estimator in one_each.values():
        for check in DATA_FREE:
            name = type(estimator).__name__
            fails = isinstance(estimator, NeuralNetRegressor) and check in SKORCH_FAILS
            marks = pytest.mark.xfail(reason=SKORCH_FAILS[check]) if fails else ()
            yield pytest.param(estimator, check, marks=marks, id=f"{check}-{name}")


@pytest.mark.filterwarnings("ignore:TypeError occurred during set_params:UserWarning")
@pytest.mark.filterwarnings("ignore:Estimator's parameters changed:UserWarning")
@pytest.mark.parametrize(("estimator", "check"), [*_data_free_cases()])
def test_sklearn_check_without_data(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_tags_ask_for_no_matrix(estimator):
    tags = get_tags(estimator)
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.pairwise
    assert is_regressor(estimator) == hasattr(estimator, "predict")
    needs_targets = not isinstance(estimator, (*LEARN_FROM_PAIRS_ALONE, FixedRSARegressor))
    assert tags.target_tags.required == needs_targets


# Twins of the checks that need data


def check_fit_returns_self(estimator, pairs, y):
    assert estimator.fit(pairs, y) is estimator


def check_fit_idempotent(estimator, pairs, y):
    first = outputs(estimator.fit(pairs, y), pairs)
    np.testing.assert_array_equal(outputs(estimator.fit(pairs, y), pairs), first)


def check_fit_forgets(estimator, pairs, y):
    """Nothing of an earlier fit on other data is left."""
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    few = (pairs.index < 6).all(axis=1)
    estimator.fit(pairs[few], y[few] ** 2).fit(pairs, y)
    np.testing.assert_array_equal(outputs(estimator, pairs), expected)


def check_estimators_overwrite_params(estimator, pairs, y):
    before = {k: content_hash(repr(v)) for k, v in _named(estimator).items()}
    estimator.fit(pairs, y)
    outputs(estimator, pairs)
    assert {k: content_hash(repr(v)) for k, v in _named(estimator).items()} == before


def _named(estimator):
    return {
        k: v
        for k, v in estimator.get_params(deep=False).items()
        if not k.startswith(("callbacks", "_"))
    }


def check_dont_overwrite_parameters(estimator, pairs, y):
    """``fit`` adds only attributes that start or end with an underscore."""
    before = set(vars(estimator))
    estimator.fit(pairs, y)
    added = set(vars(estimator)) - before
    assert {name for name in added if not (name.startswith("_") or name.endswith("_"))} == set()


def check_dict_unchanged(estimator, pairs, y):
    estimator.fit(pairs, y)
    before = {name: _fingerprint(value) for name, value in vars(estimator).items()}
    outputs(estimator, pairs)
    if hasattr(estimator, "score"):
        estimator.score(pairs, y)
    estimator.transform(pairs)
    assert {name: _fingerprint(value) for name, value in vars(estimator).items()} == before


def _fingerprint(value):
    if isinstance(value, nn.Module):
        return content_hash({k: v.numpy() for k, v in value.state_dict().items()})
    return content_hash(repr(value))


def check_estimators_pickle(estimator, pairs, y):
    estimator.fit(pairs, y)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(outputs(copy, pairs), outputs(estimator, pairs))
    unfitted = pickle.loads(pickle.dumps(clone(estimator)))
    np.testing.assert_array_equal(outputs(unfitted.fit(pairs, y), pairs), outputs(copy, pairs))


def check_methods_sample_order_invariance(estimator, pairs, y):
    estimator.fit(pairs, y)
    order = np.random.default_rng(0).permutation(len(pairs))
    expected = outputs(estimator, pairs)[order]
    assert_same(outputs(estimator, pairs[order]), expected)
    if hasattr(estimator, "score"):
        assert estimator.score(pairs[order], y[order]) == pytest.approx(estimator.score(pairs, y))


def check_methods_subset_invariance(estimator, pairs, y):
    estimator.fit(pairs, y)
    together = outputs(estimator, pairs)
    alone = [outputs(estimator, pairs[i : i + 1]) for i in range(len(pairs))]
    assert_same(np.concatenate(alone), together)


def check_pair_order_invariance(estimator, pairs, y):
    """The two images of a pair have no order."""
    flipped = ImagePairs(pairs.images, pairs.index[:, ::-1])
    estimator.fit(pairs, y)
    expected = outputs(estimator, pairs)
    expected = expected if expected.ndim == 1 else expected[:, ::-1]
    assert_same(outputs(estimator, flipped), expected)


def check_estimators_unfitted(estimator, pairs, y):
    for verb in own_verbs(estimator):
        arguments = (pairs, y) if verb == "score" else (pairs,)
        with pytest.raises(NotFittedError, match=type(estimator).__name__):
            getattr(estimator, verb)(*arguments)


def check_clone_is_unfitted(estimator, pairs, y):
    copy = clone(estimator.fit(pairs, y))
    assert _named(copy).keys() == _named(estimator).keys()
    check_estimators_unfitted(copy, pairs, y)
    np.testing.assert_array_equal(outputs(copy.fit(pairs, y), pairs), outputs(estimator, pairs))


def check_set_params_then_fit(estimator, pairs, y):
    """Parameters given later count as if given at once."""
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    blank = type(estimator).__new__(type(estimator))
    required = {
        p.name: getattr(estimator, p.name)
        for p in inspect.signature(type(estimator)).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    }
    blank.__init__(**required)
    blank.set_params(**_named(estimator))
    np.testing.assert_array_equal(outputs(blank.fit(pairs, y), pairs), expected)


def check_estimators_nan_inf(estimator, pairs, y):
    for value, match in ((np.nan, "pair 3"), (np.inf, "pair 3 is infinite")):
        bad = y.copy()
        bad[3] = value
        with pytest.raises(ValueError, match=match):
            estimator.fit(pairs, bad)
        with pytest.raises(ValueError, match=match):
            estimator.fit(pairs, bad[:, 0])


def check_missing_subjects_are_allowed(estimator, pairs, y):
    y[[0, 5], 0] = y[3, 1] = np.nan
    assert np.isfinite(outputs(estimator.fit(pairs, y), pairs)).all()


def check_absent_subjects_are_allowed(estimator, pairs, y):
    """A subject with one pair or none is left out, and with it the pair that only it has."""
    y[1:, 0] = np.nan
    y[0, 1:] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"subjects \[0\] .* are left out", UserWarning)
        warnings.filterwarnings("ignore", r".*for 1 of 3 subject\(s\)", UndefinedMetricWarning)
        expected = outputs(clone(estimator).fit(pairs[1:], y[1:]), pairs)
        assert np.isfinite(expected).all()
        assert_same(outputs(estimator.fit(pairs, y), pairs), expected)


def check_time_courses(estimator, pairs, y):
    """Fitted to means over time, scored at each time point."""
    noise = np.random.default_rng(0).random((*y.shape, 3))
    timed = y[:, :, np.newaxis] * (1 + noise)
    timed[3, 0] = timed[5, 1, 0] = np.nan
    expected = outputs(clone(estimator).fit(pairs, average_times(timed)), pairs)
    np.testing.assert_array_equal(outputs(estimator.fit(pairs, timed), pairs), expected)
    if hasattr(estimator, "score"):
        by_time = [estimator.score(pairs, timed[:, :, t]) for t in range(3)]
        assert estimator.score(pairs, timed) == pytest.approx(np.mean(by_time))


def check_images_nan_inf(estimator, pairs, y):
    for value in (np.nan, np.inf):
        images = pairs.images / pairs.images.max()
        images[2].flat[0] = value
        with pytest.raises(ValueError, match="image 2 holds NaN or infinity"):
            estimator.fit(ImagePairs(images, pairs.index), y)


def check_consistent_length(estimator, pairs, y):
    for bad in (y[:-1], y[:-1, 0], np.concatenate([y, y])):
        with pytest.raises(ValueError, match=rf"\(?{len(bad)}\b"):
            estimator.fit(pairs, bad)


def check_requires_y_none(estimator, pairs, y):
    with pytest.raises((ValueError, TypeError), match="required|dissimilarities"):
        estimator.fit(pairs, None)


def check_too_few_images(estimator, pairs, y):
    with pytest.raises(ValueError, match="at least 3 images"):
        estimator.fit(pairs[:1], y[:1])


def check_constant_targets(estimator, pairs, y):
    with pytest.raises(ValueError, match="equal"):
        estimator.fit(pairs, np.full_like(y, 0.5))


def check_readonly_memmap_input(estimator, pairs, y, folder):
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    for name, array in (("images", pairs.images), ("y", y), ("index", pairs.index)):
        np.save(folder / f"{name}.npy", array)
    images, mapped_y, index = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "y", "index")
    )
    mapped = ImagePairs(images, index)
    assert isinstance(mapped.images, np.memmap)
    estimator.fit(mapped, mapped_y)
    np.testing.assert_array_equal(outputs(estimator, mapped), expected)
    assert_same(estimator.transform(mapped.images), estimator.transform(pairs.images))


def check_input_is_not_overwritten(estimator, pairs, y):
    before = pairs.images.copy(), pairs.index.copy(), y.copy()
    estimator.fit(pairs, y)
    outputs(estimator, pairs)
    estimator.transform(pairs.images)
    if hasattr(estimator, "score"):
        estimator.score(pairs, y)
    for now, then in zip((pairs.images, pairs.index, y), before, strict=True):
        np.testing.assert_array_equal(now, then)


def check_f_contiguous_array_estimator(estimator, pairs, y):
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    fortran = ImagePairs(np.asfortranarray(pairs.images), pairs.index)
    estimator.fit(fortran, np.asfortranarray(y))
    assert_same(outputs(estimator, fortran), expected)


def check_fit2d_1sample(estimator, pairs, y):
    """One subject as a column works, and so do lists."""
    column = outputs(clone(estimator).fit(pairs, y[:, :1]), pairs)
    assert np.isfinite(column).all()
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    np.testing.assert_array_equal(outputs(estimator.fit(pairs, y.tolist()), pairs), expected)


def check_pairs_as_arrays(estimator, pairs, y):
    expected = outputs(clone(estimator).fit(pairs, y), pairs)
    arrays = pairs.images[pairs.index]
    assert_same(outputs(estimator.fit(arrays, y), pairs), expected)
    if hasattr(estimator, "predict"):
        assert_same(estimator.predict(arrays), expected)


def check_n_features_in_after_fitting(estimator, pairs, y):
    estimator.fit(pairs, y)
    wrong = pairs.images[:, :-1] if pairs.images.ndim == 2 else pairs.images[..., :1]
    bad = ImagePairs(wrong, pairs.index)
    for verb in own_verbs(estimator):
        arguments = (bad, y) if verb == "score" else (bad,)
        with pytest.raises(ValueError, match="features|RGB"):
            getattr(estimator, verb)(*arguments)


def check_regressors_predict_and_transform(estimator, pairs, y):
    estimator.fit(pairs, y)
    predicted = estimator.predict(pairs)
    assert predicted.shape == (len(pairs),)
    assert predicted.dtype.kind == "f"
    rdm = estimator.transform(pairs.images)
    assert rdm.shape == (8, 8)
    np.testing.assert_array_equal(rdm, rdm.T)
    np.testing.assert_array_equal(np.diagonal(rdm), 0)
    assert_same(rdm[tuple(pairs.index.T)], predicted)
    assert_same(estimator.transform(pairs), rdm)
    assert -1 <= estimator.score(pairs, y) <= 1
    assert isinstance(estimator.score(pairs, y), float)


def check_transformers_give_pairs_for_pairs(estimator, pairs, y):
    transformed = estimator.fit(pairs).transform(pairs)
    assert isinstance(transformed, ImagePairs)
    assert len(transformed) == len(pairs)
    images = estimator.transform(pairs.images)
    assert isinstance(images, np.ndarray)
    assert images.shape[0] == 8
    assert_same(transformed.images[transformed.index], images[pairs.index])
    again = clone(estimator).fit_transform(pairs, y)
    np.testing.assert_array_equal(again.images, transformed.images)


def check_global_random_state_is_not_used(estimator, pairs, y):
    np.random.seed(3)  # noqa: NPY002
    first = outputs(clone(estimator).fit(pairs, y), pairs)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(4)  # noqa: NPY002
    np.testing.assert_array_equal(outputs(clone(estimator).fit(pairs, y), pairs), first)
    np.random.seed(3)  # noqa: NPY002
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def check_fitted_attributes_are_documented(estimator, pairs, y):
    estimator.fit(pairs, y)
    documented = {
        name.strip()
        for entry in ClassDoc(type(estimator))["Attributes"]
        for name in entry.name.split(",")
    }
    fitted = {n for n in vars(estimator) if n.endswith("_") and not n.startswith("_")}
    if isinstance(estimator, NeuralNetRegressor):  # skorch documents its own
        size = {"module__in_features": 1, "module__out_features": 1}
        fitted -= set(vars(NeuralNetRegressor(nn.Linear, **size).initialize())) - {"module_"}
    assert fitted - documented == set()
    assert documented - set(dir(estimator)) == set()


COMMON = [
    check_fit_returns_self,
    check_fit_idempotent,
    check_fit_forgets,
    check_estimators_overwrite_params,
    check_dont_overwrite_parameters,
    check_dict_unchanged,
    check_estimators_pickle,
    check_methods_sample_order_invariance,
    check_methods_subset_invariance,
    check_pair_order_invariance,
    check_estimators_unfitted,
    check_clone_is_unfitted,
    check_set_params_then_fit,
    check_estimators_nan_inf,
    check_missing_subjects_are_allowed,
    check_absent_subjects_are_allowed,
    check_time_courses,
    check_images_nan_inf,
    check_consistent_length,
    check_requires_y_none,
    check_too_few_images,
    check_constant_targets,
    check_readonly_memmap_input,
    check_input_is_not_overwritten,
    check_f_contiguous_array_estimator,
    check_fit2d_1sample,
    check_pairs_as_arrays,
    check_n_features_in_after_fitting,
    check_global_random_state_is_not_used,
    check_fitted_attributes_are_documented,
]
OF_TARGETS = {
    check_estimators_nan_inf,
    check_consistent_length,
    check_requires_y_none,
    check_too_few_images,
    check_constant_targets,
}
CANNOT = {
    (FixedRSARegressor, check_requires_y_none): "learns nothing, so that y may be left out",
    (SubjectHoldOutRDMRegressor, check_estimators_nan_inf): "drops pairs its subjects lack",
    (SubjectHoldOutRDMRegressor, check_fit2d_1sample): "holds out one of several subjects",
}


def _cases():
    for name, estimator in ESTIMATORS.items():
        regresses = hasattr(estimator, "predict")
        special = (
            check_regressors_predict_and_transform
            if regresses
            else check_transformers_give_pairs_for_pairs
        )
        for check in [*COMMON, special]:
            reason = CANNOT.get((type(estimator), check))
            if isinstance(estimator, LEARN_FROM_PAIRS_ALONE) and check in OF_TARGETS:
                reason = "learns from images alone, y is ignored"
            marks = pytest.mark.xfail(reason=reason) if reason else ()
            yield pytest.param(estimator, check, marks=marks, id=f"{check.__name__}-{name}")


@pytest.mark.parametrize(("estimator", "check"), [*_cases()])
def test_check_on_pairs(estimator, check, tmp_path):
    folder = {"folder": tmp_path} if "folder" in inspect.signature(check).parameters else {}
    check(clone(estimator), *make_problem(estimator), **folder)


def test_every_check_is_run():
    defined = {v for k, v in globals().items() if k.startswith("check_")}
    special = {check_regressors_predict_and_transform, check_transformers_give_pairs_for_pairs}
    assert defined == {*COMMON, *special}
