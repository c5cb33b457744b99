"""All layers in one pass score as they do one by one."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sklearn_rdm import FixedRSARegressor, ImagePairs, LayerActivations, score_layers
from sklearn_rdm.metrics import noise_ceiling, rdm_pearson_score, rdm_spearman_score
from tests.networks import TinyNetwork, make_data

pandas = pytest.importorskip("pandas")
LAYERS = ["relu3", "relu1", "fc"]
NETWORK = {"image_size": 48, "random_state": 0}


@pytest.fixture(scope="module")
def pairs_and_dissim():
    data = make_data(8, 48)
    return ImagePairs.from_rdms(data.images, data.rdms, background="grey")


@pytest.mark.parametrize(
    ("scoring", "score"), [("spearman", rdm_spearman_score), ("rdm_pearson", rdm_pearson_score)]
)
def test_equals_a_loop_over_layers_and_targets(pairs_and_dissim, scoring, score):
    pairs, dissim = pairs_and_dissim
    targets = {"all": dissim, "first": dissim[:, 0]}
    table = score_layers(
        TinyNetwork, LAYERS, pairs, targets, scoring=scoring, n_permutations=10, **NETWORK
    )
    assert table["target"].tolist() == ["all"] * 3 + ["first"] * 3
    assert table["layer"].tolist() == LAYERS * 2
    expected = [
        score(
            y,
            make_pipeline(LayerActivations(TinyNetwork, layer, **NETWORK), FixedRSARegressor())
            .fit(pairs)
            .predict(pairs),
        )
        for y in targets.values()
        for layer in LAYERS
    ]
    np.testing.assert_allclose(table["score"], expected, rtol=1e-5)
    bounds = noise_ceiling(dissim, scoring=scoring)
    np.testing.assert_array_equal(table.loc[0, ["ceiling_lower", "ceiling_upper"]], bounds)
    assert table.loc[3:, ["ceiling_lower", "ceiling_upper"]].isna().all(axis=None)


def test_images_pass_the_network_once(pairs_and_dissim, monkeypatch):
    pairs, dissim = pairs_and_dissim
    rows = []
    run = LayerActivations._run
    monkeypatch.setattr(
        LayerActivations, "_run", lambda self, x, shard: rows.append(len(x)) or run(self, x, shard)
    )
    score_layers(
        TinyNetwork, LAYERS, pairs, {"a": dissim, "b": dissim}, n_permutations=0, **NETWORK
    )
    once = LayerActivations(TinyNetwork, "relu3", **NETWORK)
    n_before = len(rows)
    once.fit_transform(pairs)
    assert n_before == len(rows) - n_before


def test_chance_is_a_quantile_of_shuffled_images(pairs_and_dissim):
    pairs, dissim = pairs_and_dissim
    given = (TinyNetwork, ["relu3"], pairs, dissim)
    table = score_layers(*given, n_permutations=100, **NETWORK)
    assert -0.2 < table["chance"][0] < 0.8
    again = score_layers(*given, n_permutations=100, **NETWORK)
    assert again["chance"][0] == table["chance"][0]
    assert np.isnan(score_layers(*given, n_permutations=0, **NETWORK)["chance"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": []}, "at least one layer, each once"),
        ({"layers": ["fc", "fc"]}, "at least one layer, each once"),
        ({"layers": ["no_layer"]}, "no layer 'no_layer'"),
        ({"dissim": {}}, "dissim is empty"),
        ({"dissim": np.ones(3)}, "one row per pair"),
        ({"scoring": "no_score"}, "is not an RDM scorer"),
        ({"metric": "no_metric"}, "no_metric"),
    ],
)
def test_wrong_input_raises(pairs_and_dissim, change, message):
    pairs, dissim = pairs_and_dissim
    given = {"layers": LAYERS, "pairs": pairs, "dissim": dissim} | change
    with pytest.raises(ValueError, match=message):
        score_layers(TinyNetwork, **given, **NETWORK)
