import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_rdm import (
    CalibratedRDMRegressor,
    EnsembleRDMRegressor,
    FeatureReweightedRSARegressor,
    FixedRSARegressor,
    ImagePairs,
    LayerActivations,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    VotingRDMRegressor,
)
from sklearn_rdm.metrics import make_rdm_scorer, rdm_spearman_score, rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, ImageLeakWarning, image_train_test_split
from sklearn_rdm.preprocessing import PerImage
from tests.networks import make_pairs, tiny_net


def make_problem(n_images=15):
    rng = np.random.default_rng(0)
    return ImagePairs.from_rdms(
        rng.random((n_images, 12)), rng.random((2, n_images * (n_images - 1) // 2))
    )


PAIRWISE = KFold(3, shuffle=True, random_state=0)
MODELS = {
    "fixed": FixedRSARegressor(),
    "layers": LayerWeightedRSARegressor([6, 6]),
    "features": FeatureReweightedRSARegressor(alphas=10),
    "twin": LinearTwinRSARegressor(n_components=3, max_iter=2, alpha=1.0),
    "calibrated": CalibratedRDMRegressor(FixedRSARegressor()),
    "ensemble": EnsembleRDMRegressor(FixedRSARegressor(), cv=3),
    "voting": VotingRDMRegressor([("fixed", FixedRSARegressor())]),
    "pipeline": make_pipeline(PerImage(StandardScaler()), FixedRSARegressor()),
    "search": GridSearchCV(FixedRSARegressor(), {"metric": ["cosine"]}, cv=ImageKFold(3)),
}


@pytest.fixture(autouse=True)
def no_other_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        yield


@pytest.mark.parametrize("scoring", [None, rdm_spearman_scorer])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_folds_of_pairs_are_told(model, scoring):
    pairs, y = make_problem()
    with pytest.warns(ImageLeakWarning, match="trained on.*ImageKFold"):
        cross_val_score(clone(model), pairs, y, cv=PAIRWISE, scoring=scoring)


@pytest.mark.parametrize("scoring", [None, rdm_spearman_scorer, "neg_mean_absolute_error"])
def test_they_are_told_once_a_fold_whatever_the_scorer(scoring):
    pairs, y = make_problem()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cross_val_score(FixedRSARegressor(), pairs, y[:, 0], cv=PAIRWISE, scoring=scoring)
    assert [each.category for each in told] == [ImageLeakWarning] * 3


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_folds_of_images_and_training_scores_are_right(model):
    pairs, y = make_problem()
    cv = ImageKFold(3, test_pairs="both")
    scores = cross_validate(
        clone(model), pairs, y, cv=cv, scoring=rdm_spearman_scorer, return_train_score=True
    )
    assert np.isfinite(scores["train_score"]).all()
    assert np.isfinite(clone(model).fit(pairs, y).score(pairs, y))  # warnings are errors here


def test_one_held_out_image_a_pair_is_no_leak():
    pairs, y = make_problem(12)
    scores = cross_val_score(FixedRSARegressor(), pairs, y, cv=ImageKFold(3, test_pairs="any"))
    assert np.isfinite(scores).all()


def test_other_subjects_of_the_same_pairs_are_no_leak():
    pairs, y = make_problem()
    model = FixedRSARegressor().fit(pairs, y[:, 0])
    assert np.isfinite([model.score(pairs, y[:, 1]), model.score(pairs[::2], y[::2, 1])]).all()


def test_a_split_of_pairs_is_told():
    pairs, y = make_problem()
    train, test, y_train, y_test = train_test_split(pairs, y, random_state=0)
    model = FixedRSARegressor().fit(train, y_train)
    with pytest.warns(ImageLeakWarning):
        model.score(test, y_test)
    model.predict(test)  # to fill gaps is no test
    train, test, y_train, y_test = image_train_test_split(pairs, y, test_size=3, random_state=0)
    FixedRSARegressor().fit(train, y_train).score(test, y_test)


def test_the_order_within_a_pair_has_no_meaning():
    pairs, y = make_problem()
    turned = ImagePairs(pairs.images, pairs.index[:, ::-1])
    model = FixedRSARegressor().fit(pairs, y)
    assert model.score(turned, y) == pytest.approx(model.score(pairs, y))


def test_pairs_of_arrays_are_known_by_content():
    pairs, y = make_problem()
    X = pairs.images[pairs.index]
    with pytest.warns(ImageLeakWarning):
        cross_val_score(FixedRSARegressor(), X, y[:, 0], cv=3, scoring=rdm_spearman_scorer)
    FixedRSARegressor().fit(X, y).score(X, y)


def test_held_out_predictions_without_a_scorer_are_told():
    pairs, y = make_problem()
    stack = StackingRegressor([("fixed", FixedRSARegressor())], LinearRegression(), cv=3)
    with pytest.warns(ImageLeakWarning):
        stack.fit(pairs, y[:, 0])


def test_a_network_and_its_activations_are_told():
    pairs, y = make_pairs(8)
    with pytest.warns(ImageLeakWarning):
        cross_val_score(tiny_net(), pairs, y, cv=2)
    fixed = make_pipeline(
        LayerActivations("alexnet", "conv1", weights=None, image_size=64, random_state=0),
        FixedRSARegressor(),
    )
    with pytest.warns(ImageLeakWarning):
        cross_val_score(fixed, pairs, y, cv=2, scoring=rdm_spearman_scorer)
    tiny_net().fit(pairs, y).score(pairs, y)


def test_it_can_be_meant():
    pairs, y = make_problem()
    quiet = make_rdm_scorer(rdm_spearman_score, warns_of_leaks=False)
    assert len(cross_val_score(FixedRSARegressor(), pairs, y, cv=3, scoring=quiet)) == 3


def test_a_loaded_model_knows_no_images():
    pairs, y = make_problem()
    model = pickle.loads(pickle.dumps(FixedRSARegressor().fit(pairs[:60], y[:60])))
    model.score(pairs[60:], y[60:])
    assert model._training_pairs_.index.size == 0
