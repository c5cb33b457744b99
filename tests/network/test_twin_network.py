"""The twin network as a module: its forward pass by hand, read-outs, and what it refuses."""

import numpy as np
import pytest
import torch

from sklearn_rdm._network._batches import PairBatch
from sklearn_rdm._network._twin_network import TwinNetwork
from tests.networks import Small, by_hand, make_images

PARAMS = {"weights": None, "image_size": 24, "random_state": 0}


def make_batch(network, images):
    index = torch.tensor(np.column_stack(np.triu_indices(len(images), 1)))
    inputs = network.trunk.prefix(network.preprocessing(images))
    return PairBatch(inputs, index, np.arange(len(images)))


@pytest.mark.parametrize("layer", ["first", "second", "pool", "head"])
def test_it_predicts_one_minus_the_correlation_of_activations(layer):
    images = make_images(5)
    network = TwinNetwork(Small, layer, **PARAMS).eval()
    with torch.no_grad():
        predicted = network(make_batch(network, images)).numpy()
    expected = 1 - np.corrcoef(by_hand(images, layer))[np.triu_indices(5, 1)]
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


def test_training_reads_the_trained_layer_and_evaluation_the_other():
    images = make_images(4)
    network = TwinNetwork(Small, "second", read_out="head", **PARAMS)
    batch = make_batch(network, images)
    trained = network.train()(batch).detach().numpy()
    predicted = network.eval()(batch).detach().numpy()
    upper = np.triu_indices(4, 1)
    np.testing.assert_allclose(trained, 1 - np.corrcoef(by_hand(images))[upper], atol=1e-5)
    np.testing.assert_allclose(
        predicted, 1 - np.corrcoef(by_hand(images, "head"))[upper], atol=1e-5
    )
    assert network.read_out_of("head") is network.predicting
    assert network.read_out_of("second") is network.trained


def test_one_read_out_for_layers_that_are_named_twice():
    network = TwinNetwork(
        Small, "second", read_out="second", candidates=["pool", "second"], **PARAMS
    )
    assert len(network.all_read_outs) == 2
    assert network.predicting is network.trained


def test_layer_features_lie_side_by_side():
    images = make_images(3)
    network = TwinNetwork(Small, "second", candidates=["pool"], **PARAMS).eval()
    inputs = network.trunk.prefix(network.preprocessing(images))
    with torch.no_grad():
        features = network.layer_features(inputs).numpy()
    expected = np.hstack([by_hand(images, layer) for layer in network.trunk.layers])
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_what_another_network_learned_is_taken_over():
    options = {**PARAMS, "spatial_pooling": 1}
    other = TwinNetwork(Small, ("first", "second"), candidates=["head"], **options)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    network = TwinNetwork(Small, ("first", "second"), read_out="head", **options)
    network.take_over(other, "head")
    ours, theirs = network.trunk.state_dict(), other.trunk.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.trained.parameters(), other.trained.parameters(), strict=True)
    )


def test_auto_is_settled_once():
    network = TwinNetwork(Small, "second", reference="auto", **PARAMS)
    assert (network.is_settled, network.reference) == (False, "auto")
    network.settled.fill_(2)
    assert (network.is_settled, network.reference) == (True, "background")
    network.settled.fill_(1)
    assert network.reference is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layer": "second", "precision": "int8"}, "precision must be one of"),
        ({"layer": ("second", "second")}, "names a layer twice"),
        ({"layer": "second", "read_out": ("first", "pool")}, "only the layers that are trained"),
        ({"layer": "third"}, "no layer 'third'"),
        ({"layer": "second", "noise_ratio": -1}, "noise_ratio must be a number"),
    ],
)
def test_what_cannot_be_built_raises_an_error(params, message):
    with pytest.raises(ValueError, match=message):
        TwinNetwork(Small, **PARAMS | params)
