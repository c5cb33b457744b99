"""Every public function and estimator takes images and patterns where it takes pairs.

What takes pairs is found by its signature, so that a new function cannot be forgotten.
"""

import inspect

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_rdm
from sklearn_rdm import (
    FixedRSARegressor,
    ImagePairs,
    LayerWeightedRSARegressor,
    LinearTwinRSARegressor,
    ResponsePatterns,
    SiameseRDMRegressor,
    metrics,
    model_selection,
    preprocessing,
)
from tests.networks import PLAIN, TinyNetwork, make_data
from tests.public_names import public_paths, resolve

N_IMAGES, HIDDEN = 18, 7  # the image that no subject has seen
FOLDS = list(KFold(3, shuffle=True, random_state=0).split(np.zeros(N_IMAGES)))
METHODS = ("fit", "partial_fit", "score", "from_estimator", "from_predictions", "split", "__call__")
DRAW = {"random_state": 0}
NET = {**PLAIN, "backbone": TinyNetwork, "layer": "relu3", "image_size": 48, "max_epochs": 1}
FIXED = FixedRSARegressor("cosine")
LEARNED = LayerWeightedRSARegressor([12, 8])


class Problem:
    """The same data as images and patterns, and as pairs and dissimilarities."""

    def __init__(self, of_images, photographs=False, seen=None):
        rng = np.random.default_rng(0)
        features = rng.standard_normal((N_IMAGES, 20))
        patterns = [features @ rng.random((20, p)) + rng.random((N_IMAGES, p)) for p in (8, 5, 6)]
        if seen is not None:
            patterns[0][seen] = np.nan
            for each in patterns:
                each[HIDDEN] = np.nan
        images = make_data(N_IMAGES).images if photographs else features
        self.X, self.y = images, ResponsePatterns(patterns)
        self.pairs, self.dissim = self.y.to_pairs(images)
        rdm = rng.random((N_IMAGES, N_IMAGES))
        self.rdm = rdm + rdm.T
        self.other = np.cos(5 * self.rdm)
        self.hidden = [] if seen is None else [HIDDEN]
        self.cv, self.given_pairs = FOLDS, {}
        if not of_images:
            self.X, self.y, of_pairs = self.pairs, self.dissim, tuple(self.pairs.index.T)
            self.rdm, self.other = self.rdm[of_pairs], self.other[of_pairs]
            self.cv = [tuple(self.rows_among(part) for part in fold) for fold in FOLDS]
            self.given_pairs = {"pairs": self.pairs}
        self.folds = [test for _, test in self.cv]

    def rows_among(self, images):
        return np.flatnonzero(np.isin(self.pairs.index, images).all(axis=1))


def fit_and_score(model):
    """What a model learns from some images and says of others."""

    def run(p):
        train, test = p.cv[0]
        fitted = model(p) if callable(model) else model
        fitted.fit(p.X[train], p.y[train])
        return fitted.score(p.X[test], p.y[test]), fitted.transform(p.pairs.images)

    return run


def of_scorer(scorer):
    return lambda p: cross_validate(LEARNED, p.X, p.y, cv=p.cv, scoring=scorer)["test_score"]


def of_score(score, needs_pairs=False):
    return lambda p: score(p.y, p.rdm, **(p.given_pairs if needs_pairs else {}))


def of_splitter(splitter):
    def run(p):
        if isinstance(p.X, ImagePairs):  # whose images each split holds
            return [
                np.unique(p.pairs.index[rows]) for split in splitter.split(p.X) for rows in split
            ]
        return [np.setdiff1d(rows, p.hidden) for s in splitter.split(p.X, p.y) for rows in s]

    return run


def table(result):
    return result.to_frame().select_dtypes("number").to_numpy()


def network(**params):
    return SiameseRDMRegressor(**NET | {"batch_size": 6, "random_state": 0} | params)


def draw(display):
    pytest.importorskip("matplotlib").use("agg")
    return [display(), __import__("matplotlib.pyplot").pyplot.close("all")][0]


def of_report(p):
    pytest.importorskip("matplotlib")
    train, test = p.cv[0]
    fitted = LEARNED.fit(p.X[train], p.y[train])
    return str(sklearn_rdm.report(fitted, p.X[test], p.y[test], n_draws=19))


def of_layers(p):
    pytest.importorskip("pandas")
    options = {"n_permutations": 9, "image_size": 48, "weights": None, **DRAW}
    alone = sklearn_rdm.score_layers(TinyNetwork, ["relu1", "relu2"], p.X, p.y, **options)
    areas = {"a": p.y, "b": p.y}
    both = sklearn_rdm.score_layers(TinyNetwork, ["relu1", "relu2"], p.X, areas, **options)
    return [each.select_dtypes("number").to_numpy() for each in (alone, both)]


def of_layer_epoch(p):
    search = sklearn_rdm.LayerEpochSearchCV(network(), layers=["relu2", "relu3"], cv=p.cv)
    return search.fit(p.X, p.y).scores_


def of_activations(p):
    layers = sklearn_rdm.LayerActivations(TinyNetwork, "relu1", weights=None, image_size=48, **DRAW)
    grid = {"layeractivations__layers": ["relu1", "relu2"]}
    search = GridSearchCV(
        make_pipeline(layers, FIXED), grid, cv=p.cv, scoring=metrics.rdm_pearson_scorer
    )
    return search.fit(p.X, p.y).cv_results_["mean_test_score"]


def of_variance_partition(p):
    models = {"a": p.rdm, "b": p.other}
    return metrics.rdm_variance_partition(p.y, models, folds=p.folds).shares


def of_epochs(p):
    return network().partial_fit(p.X, p.y).transform(p.pairs.images)


PHOTOGRAPHS = {"SiameseRDMRegressor", "LayerEpochSearchCV", "LayerActivations", "score_layers"}
SCORES = [name for name in metrics.__all__ if name.endswith("_score") and "choice" not in name]
SCORERS = [name for name in metrics.__all__ if name.endswith("_scorer") and name[:3] == "rdm"]
TAKE = {
    **{f"metrics.{name}": of_score(getattr(metrics, name), "whitened" in name) for name in SCORES},
    **{f"metrics.{name}": of_scorer(getattr(metrics, name)) for name in SCORERS},
    "metrics.noise_normalized_r2_scorer": of_scorer(metrics.noise_normalized_r2_scorer),
    "metrics.rdm_partial_score": lambda p: metrics.rdm_partial_score(
        p.y, p.rdm, p.other, folds=p.folds
    ),
    "metrics.rdm_variance_partition": of_variance_partition,
    "metrics.noise_ceiling": lambda p: metrics.noise_ceiling(p.y, folds=p.folds),
    "metrics.rdm_permutation_test": lambda p: (
        metrics.rdm_permutation_test(
            p.X, p.y, p.rdm, folds=p.folds, n_permutations=9, **DRAW
        ).null_distribution
    ),
    "metrics.rdm_bootstrap": lambda p: table(
        metrics.rdm_bootstrap(p.X, p.y, p.rdm, n_resamples=9, **DRAW)
    ),
    "metrics.compare_rdm_scores": lambda p: table(
        metrics.compare_rdm_scores(p.X, p.y, {"a": p.rdm, "b": p.other}, n_resamples=9, **DRAW)
    ),
    "metrics.rdm_ceiling_report": lambda p: table(
        metrics.rdm_ceiling_report(p.X, p.y, p.rdm, folds=p.folds)
    ),
    "metrics.rdm_sampling_error": lambda p: metrics.rdm_sampling_error(p.X, p.y, p.rdm, n_groups=3),
    "model_selection.cross_val_rdm": lambda p: (
        model_selection.cross_val_rdm(LEARNED, p.X, p.y, cv=p.cv).rdm
    ),
    "model_selection.cross_val_subjects_score": lambda p: model_selection.cross_val_subjects_score(
        LEARNED, p.X, p.y, cv=p.cv, subject_cv=3
    ),
    "model_selection.SubjectHoldOutRDMRegressor": fit_and_score(
        model_selection.SubjectHoldOutRDMRegressor(LEARNED, [1])
    ),
    "model_selection.cross_val_permutation_test": lambda p: (
        model_selection.cross_val_permutation_test(
            LEARNED, p.X, p.y, cv=p.cv, n_permutations=4, **DRAW
        ).null_distribution
    ),
    "model_selection.cross_val_bootstrap": lambda p: (
        model_selection.cross_val_bootstrap(
            LEARNED, p.X, p.y, n_folds=2, n_resamples=4, **DRAW
        ).bootstrap_scores
    ),
    "model_selection.pairs_report": lambda p: (
        model_selection.pairs_report(p.cv, p.X, p.y).n_test_by_subject
    ),
    "model_selection.ImageKFold": of_splitter(model_selection.ImageKFold(3)),
    "model_selection.RepeatedImageKFold": of_splitter(
        model_selection.RepeatedImageKFold(n_splits=2, n_repeats=2, **DRAW)
    ),
    "model_selection.ImageShuffleSplit": of_splitter(
        model_selection.ImageShuffleSplit(2, test_size=0.3, **DRAW)
    ),
    "FixedRSARegressor": fit_and_score(FixedRSARegressor("cosine", noise_ratio=0.5)),
    "LayerWeightedRSARegressor": fit_and_score(LayerWeightedRSARegressor([12, 8], n_components=3)),
    "FeatureReweightedRSARegressor": fit_and_score(
        lambda p: sklearn_rdm.FeatureReweightedRSARegressor(
            alphas=[1, 10],
            cv=KFold(3) if isinstance(p.y, ResponsePatterns) else inner(p),
        )
    ),
    "LinearTwinRSARegressor": fit_and_score(LinearTwinRSARegressor(3, alpha=np.inf)),
    "CalibratedRDMRegressor": fit_and_score(
        sklearn_rdm.CalibratedRDMRegressor(
            make_pipeline(preprocessing.PerImage(StandardScaler()), FIXED)
        )
    ),
    "EnsembleRDMRegressor": fit_and_score(
        lambda p: sklearn_rdm.EnsembleRDMRegressor(
            LEARNED, cv=KFold(3) if isinstance(p.y, ResponsePatterns) else inner(p)
        )
    ),
    "VotingRDMRegressor": fit_and_score(
        sklearn_rdm.VotingRDMRegressor([("a", FIXED), ("b", LEARNED)], weights=[1, 2])
    ),
    "preprocessing.PerImage": fit_and_score(
        make_pipeline(preprocessing.PerImage(StandardScaler()), FIXED)
    ),
    "SiameseRDMRegressor": of_epochs,
    "LayerEpochSearchCV": of_layer_epoch,
    "LayerActivations": of_activations,
    "score_layers": of_layers,
    "report": of_report,
    "RDMDisplay": lambda p: draw(
        lambda: [
            sklearn_rdm.RDMDisplay.from_predictions(p.X, p.y, p.rdm).rdms,
            sklearn_rdm.RDMDisplay.from_estimator(LEARNED.fit(p.X, p.y), p.X, p.y).rdms,
        ]
    ),
}


def inner(p):
    """The folds of three of the training pairs of the first fold, over their images."""
    images = FOLDS[0][0]
    index = p.pairs.index[p.cv[0][0]]
    return [
        tuple(np.flatnonzero(np.isin(index, images[part]).all(axis=1)) for part in fold)
        for fold in KFold(3).split(images)
    ]


REFUSE = {
    **{
        f"model_selection.{name}": (
            lambda p, name=name: list(getattr(model_selection, name)().split(p.X, p.y)),
            "image_groups",
        )
        for name in ("GroupImageKFold", "LeaveOneGroupOfImagesOut", "StratifiedImageKFold")
    },
    "model_selection.image_train_test_split": (
        lambda p: model_selection.image_train_test_split(p.X, p.y),
        "sklearn.model_selection.train_test_split",
    ),
    "OddOneOutAlignment": (
        lambda p: sklearn_rdm.OddOneOutAlignment().fit(p.X, p.y),
        "ImageTriplets",
    ),
    "SiameseOddOneOutClassifier": (
        lambda p: sklearn_rdm.SiameseOddOneOutClassifier(TinyNetwork, weights=None).fit(p.X, p.y),
        "ImageTriplets",
    ),
    "preprocessing.SubjectPooling": (
        lambda p: preprocessing.SubjectPooling().fit(p.y),
        r"patterns\.dissimilarities\(\)",
    ),
}
OF_TRIPLETS = {"metrics.choice_accuracy_score", "metrics.choice_accuracy_scorer"}


def takes_pairs(path):
    """Whether a public object has a call with pairs or images and what was measured."""
    named = resolve(path)
    calls = [named, *(getattr(named, method, None) for method in METHODS)]
    return any(_has_pairs_and_target(call) for call in calls if callable(call))


def _has_pairs_and_target(call):
    try:
        names = set(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names & {"y_true", "dissim"}) or "y" in names or {"estimator", "X"} <= names


def test_no_public_function_is_forgotten():
    known = {*TAKE, *REFUSE, *OF_TRIPLETS}
    found = {path.removeprefix("sklearn_rdm.") for path in public_paths() if takes_pairs(path)}
    assert found - known == set()
    assert all(callable(resolve(f"sklearn_rdm.{name}")) for name in known)


@pytest.mark.parametrize("name", TAKE)
def test_images_and_patterns_give_what_their_pairs_give(name):
    photographs = name in PHOTOGRAPHS
    ours, theirs = (TAKE[name](Problem(each, photographs)) for each in (True, False))
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    "name", [n for n in TAKE if n != "model_selection.cross_val_permutation_test"]
)
def test_images_that_some_or_all_have_not_seen(name):
    photographs = name in PHOTOGRAPHS
    hidden = [2, 12]
    ours, theirs = (TAKE[name](Problem(each, photographs, hidden)) for each in (True, False))
    assert_same(ours, theirs)


def assert_same(ours, theirs):
    if isinstance(ours, str):
        assert ours == theirs
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert not np.isnan(ours).all()
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", REFUSE)
def test_where_they_have_no_meaning_one_error_says_what_to_do(name):
    call, match = REFUSE[name]
    with pytest.raises((TypeError, ValueError), match=match):
        call(Problem(True))


def test_scorers_of_scikit_learn_say_what_to_use():
    p = Problem(True)
    with pytest.raises(ValueError, match="take scorers of this package, .* rdm_spearman_scorer"):
        cross_validate(FIXED, p.X, p.y, cv=3, scoring="r2", error_score="raise")
