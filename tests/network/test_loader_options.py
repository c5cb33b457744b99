import pytest

from sklearn_rdm._network._loader_options import loader_options
from tests.networks import make_pairs, record_fit, same_bits, tiny_net


def test_other_options_are_passed_on():
    given = {"num_workers": 0, "batch_size": 7, "shuffle": True}
    found = loader_options("iterator_train", given, training=True, of_pairs=False)
    assert found == ({"num_workers": 0}, False)


@pytest.mark.parametrize("n_images", [7, 8])  # 21 and 28 pairs
def test_pairs_left_over_wait_for_another_epoch(n_images):
    pairs, y = make_pairs(n_images)
    params = {"batching": "pairs", "batch_size": 7 if n_images == 7 else 10, "max_epochs": 3}
    steps = record_fit(tiny_net(iterator_train__drop_last=True, **params), pairs, y).steps_
    all_steps = record_fit(tiny_net(**params), pairs, y).steps_
    whole = [len(s["target"]) for s in all_steps if len(s["target"]) == params["batch_size"]]
    assert [len(step["target"]) for step in steps] == whole
    assert (len(steps) == len(all_steps)) == (n_images == 7)


def test_off_is_as_not_given():
    pairs, y = make_pairs()
    net = tiny_net(iterator_train__drop_last=False, iterator_valid__shuffle=False).fit(pairs, y)
    assert same_bits(net, tiny_net().fit(pairs, y))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"iterator_train__drop_last": True}, "Set batching='pairs'"),
        ({"iterator_valid__drop_last": True}, "all pairs are validated"),
        ({"iterator_train__sampler": [1]}, "iterator_train__sampler cannot be set"),
        ({"iterator_train__shuffle": False}, "pairs are drawn at random"),
        ({"iterator_valid__shuffle": True}, "pairs are read in their order"),
        (
            {"iterator_train__drop_last": True, "batching": "pairs", "batch_size": 48},
            "28 pairs do not fill a mini-batch of 48",
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:You set iterator_valid__shuffle")
def test_what_would_change_which_pairs_are_read(params, message):
    pairs, y = make_pairs()
    with pytest.raises(ValueError, match=message):
        tiny_net(**params).fit(pairs, y).forward(pairs)
