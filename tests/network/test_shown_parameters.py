"""Parameters that an estimator shows: its own, and those of skorch that were given."""

import pickle

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_rdm import SiameseRDMRegressor
from tests.networks import make_pairs, tiny_net


def test_what_differs_from_the_defaults_is_shown():
    net = SiameseRDMRegressor("vgg16", "conv4", lr=0.01, module__dropout=True)
    shown = "SiameseRDMRegressor(backbone='vgg16', layer='conv4', lr=0.01, module__dropout=True)"
    assert " ".join(repr(net).split()) == shown
    assert " ".join(repr(clone(net)).split()) == shown
    search = GridSearchCV(net, {"lr": [0.1, 0.2]})
    assert shown in " ".join(repr(search).split())
    assert repr(SiameseRDMRegressor()) == "SiameseRDMRegressor()"


def test_a_fitted_net_is_shown_as_before():
    net = tiny_net(max_epochs=1)
    before = repr(net)
    assert repr(net.fit(*make_pairs())) == before


def test_pages_show_no_inner_parameters_of_skorch():
    page = SiameseRDMRegressor("vgg16", module__dropout=True)._repr_html_()
    assert "vgg16" in page
    assert not [name for name in ("_params_to_validate", "compile", "iterator_") if name in page]


def test_parameters_that_only_skorch_names_are_kept_if_given():
    net = clone(SiameseRDMRegressor(iterator_train__num_workers=2, warm_start=True))
    assert net.iterator_train__num_workers == 2
    assert net.warm_start
    assert net.get_params()["iterator_train__num_workers"] == 2


def test_parameters_survive_get_set_and_clone():
    net = tiny_net(memory="folder", reference="grey", optimizer__momentum=0.9, freeze_up_to="conv1")
    params = _own(clone(net).get_params())
    assert params == _own(net.get_params())
    named = {
        "backbone",
        "layer",
        "weights",
        "freeze_up_to",
        "freeze_from",
        "image_size",
        "reference",
    }
    named |= {"batching", "batch_size", "criterion", "optimizer", "lr", "max_epochs", "memory"}
    named |= {"subject_pooling", "train_split", "precision", "random_state", "device", "verbose"}
    assert named <= params.keys()
    assert params["optimizer__momentum"] == 0.9
    other = SiameseRDMRegressor().set_params(**{name: params[name] for name in named})
    assert {name: other.get_params()[name] for name in named} == {n: params[n] for n in named}


def _own(params):
    return {name: value for name, value in params.items() if not name.startswith("callbacks")}


def test_another_process_knows_the_same_parameters():
    net = tiny_net(backbone="alexnet")
    assert pickle.loads(pickle.dumps(net)).get_params().keys() == net.get_params().keys()
