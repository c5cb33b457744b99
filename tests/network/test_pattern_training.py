"""Training on patterns against training on all their pairs."""

import h5py
import numpy as np
import pytest
from sklearn.model_selection import KFold, ShuffleSplit, cross_val_score

from sklearn_rdm import LazyImages, ResponsePatterns
from sklearn_rdm._network import _batch_orders
from sklearn_rdm._pairs._pair_index import image_sets, sets_of_seen
from sklearn_rdm.losses import CorrelationLoss
from sklearn_rdm.metrics import _rank_bins, _strips
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.preprocessing import SubjectPooling
from sklearn_rdm.preprocessing._pattern_pooling import pool_patterns, target_of_patterns
from tests.networks import make_data, same_bits, tiny_net

N_IMAGES = 24


def make_patterns(seen=None, **params):
    rng = np.random.default_rng(0)
    shapes = [(N_IMAGES, 8), (N_IMAGES, 5), (N_IMAGES, 7)]
    return ResponsePatterns([rng.random(shape) for shape in shapes], seen=seen, **params)


def overlapping():
    seen = np.zeros((3, N_IMAGES), dtype=bool)
    seen[0, :12] = seen[1, 8:18] = seen[2, 18:23] = True  # two sets, one image in none
    return seen


def both_ways(y, **params):
    images = make_data(N_IMAGES).images
    return (
        tiny_net(**params).fit(images, y),
        tiny_net(**params).fit(*y.to_pairs(images)),
    )


@pytest.mark.parametrize(
    "params",
    [
        {"batch_size": 7, "max_epochs": 3},
        {"batch_size": -1},
        {"subject_pooling": SubjectPooling("mean", subject_weight=[1, 2, 3])},
        {"criterion": CorrelationLoss, "freeze_up_to": "relu1"},
        {"reference": "mean", "noise_ratio": 0.5},
        {"module__dropout": True},
        {"train_split": ImageShuffleSplit(1, test_size=0.3, random_state=0), "max_epochs": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("seen", [None, overlapping()], ids=["all", "overlapping"])
def test_the_same_weights_as_on_all_pairs(params, seen):
    net, expected = both_ways(make_patterns(seen), **params)
    assert same_bits(net, expected)
    for name in ("train_loss", "valid_loss"):
        if name in expected.history[-1]:
            assert net.history[:, name] == expected.history[:, name]


def test_ranks_are_off_by_half_a_rank_at_most():
    """Dissimilarities of a mini-batch are rounded otherwise, which changes places among equals."""
    y = make_patterns()
    pairs, dissim = y.to_pairs(make_data(N_IMAGES).images)
    expected = SubjectPooling("rank").fit_transform(dissim)
    pooling, rng = pool_patterns("rank", y), np.random.default_rng(0)
    for rows in np.array_split(rng.permutation(len(pairs)), 20):
        found = target_of_patterns(pooling, y, pairs.index[rows])
        np.testing.assert_allclose(found, expected[rows], rtol=0, atol=0.5001 / len(pairs))


def test_a_subject_left_out_takes_its_pairs_along():
    seen = overlapping()
    seen[2] = False
    seen[2, [18, 19]] = True  # one pair
    with pytest.warns(UserWarning, match="fewer than two"):
        net, expected = both_ways(make_patterns(seen), batch_size=5, max_epochs=2)
    assert same_bits(net, expected)


def test_partial_fits_are_one_longer_fit():
    images, y = make_data(N_IMAGES).images, make_patterns()
    net = tiny_net(max_epochs=1).fit(images, y).partial_fit(images, y)
    assert same_bits(net, tiny_net(max_epochs=2).fit(images, y))


def test_scikit_learns_splitter_validates_on_images():
    images, y = make_data(N_IMAGES).images, make_patterns()
    split = ShuffleSplit(1, test_size=0.3, random_state=0)
    net = tiny_net(train_split=split).fit(images, y)
    assert np.isfinite(net.history[-1, "valid_loss"])
    train, _ = next(split.split(images))
    expected = tiny_net().fit(images[np.sort(train)], y[np.sort(train)])
    assert same_bits(net, expected)


def test_many_validation_images_are_validated_part_by_part(monkeypatch):
    monkeypatch.setattr(_batch_orders, "PAIRS_AT_ONCE", 10)
    images, y = make_data(N_IMAGES).images, make_patterns(overlapping())
    split = ImageShuffleSplit(1, test_size=0.5, random_state=0)
    assert np.isfinite(tiny_net(train_split=split).fit(images, y).history[-1, "valid_loss"])


def test_pairs_of_random_pairs_are_all_made():
    net, expected = both_ways(make_patterns(), batching="pairs")
    assert same_bits(net, expected)


@pytest.mark.parametrize("cv", [KFold(3), ImageKFold(3)], ids=["scikit-learn's", "ours"])
def test_cross_validation_holds_out_images(cv, monkeypatch):
    monkeypatch.setattr(_rank_bins, "N_BINS", 4096)
    images, y = make_data(N_IMAGES).images, make_patterns()
    expected = cross_val_score(tiny_net(), images, y, cv=cv)
    monkeypatch.setattr(_strips, "ALL_PAIRS", 0)
    found = cross_val_score(tiny_net(), images, y, cv=cv)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_of_all_pairs_is_made(monkeypatch):
    monkeypatch.setattr(ResponsePatterns, "to_pairs", None)
    monkeypatch.setattr(_strips, "ALL_PAIRS", 0)
    images, y = make_data(N_IMAGES).images, make_patterns()
    assert -1 <= tiny_net().fit(images, y).score(images, y) <= 1


def test_what_cannot_be_trained_on():
    images, y = make_data(N_IMAGES).images, make_patterns()
    with pytest.raises(ValueError, match="got 23 images and response patterns to 24"):
        tiny_net().fit(images[:-1], y)
    with pytest.raises(ValueError, match="got 2 images: at least 3"):
        tiny_net().fit(images[:2], y[:2])
    with pytest.raises(ValueError, match="no subject has seen two"):
        tiny_net().fit(images, make_patterns(np.eye(3, N_IMAGES, dtype=bool)))
    leaking = type(
        "Leaking", (), {"split": lambda self, X, y: [(np.arange(20), np.arange(19, 24))]}
    )
    with pytest.raises(ValueError, match="validates on image 19"):
        tiny_net(train_split=leaking()).fit(images, y)


@pytest.mark.parametrize("seed", range(5))
def test_sets_are_those_that_chains_of_seen_pairs_connect(seed):
    seen = np.random.default_rng(seed).random((4, 15)) < 0.15
    pairs = [pair for s in seen for pair in np.argwhere(np.triu(np.outer(s, s), 1))]
    number = image_sets(np.array(pairs)) if pairs else np.empty(0, dtype=int)
    used = np.unique(pairs)
    expected = [np.flatnonzero(number == n) for n in np.unique(number[used])] if pairs else []
    for found, images in zip(sets_of_seen(seen), expected, strict=True):
        np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("params", [{}, {"freeze_up_to": "relu1"}], ids=str)
def test_lazy_images_give_the_same_weights(params, tmp_path):
    images, y = make_data(N_IMAGES).images, make_patterns()
    with h5py.File(tmp_path / "images.hdf5", "w") as file:
        dataset = file.create_dataset("imgBrick", data=images)
        net = tiny_net(max_epochs=2, **params).fit(dataset, y)
        np.testing.assert_array_equal(net.transform(dataset), net.transform(images))
        scores = cross_val_score(tiny_net(**params), LazyImages(dataset), y, cv=KFold(3))
    assert same_bits(net, tiny_net(max_epochs=2, **params).fit(images, y))
    np.testing.assert_array_equal(
        scores, cross_val_score(tiny_net(**params), images, y, cv=KFold(3))
    )


def test_lazy_images_are_read_batch_by_batch(monkeypatch):
    images, y, read = make_data(N_IMAGES).images, make_patterns(), []
    reader = LazyImages._read
    monkeypatch.setattr(
        LazyImages, "_read", lambda self, rows: read.append(len(rows)) or reader(self, rows)
    )
    tiny_net(batch_size=4).fit(LazyImages(images), y)
    assert max(read) <= 8


def test_one_image_of_patterns_is_no_batch():
    net = tiny_net().fit(make_data(N_IMAGES).images, make_patterns())
    dataset = net.get_dataset(make_data(N_IMAGES).images, make_patterns())
    assert len(dataset) == N_IMAGES
    with pytest.raises(ValueError, match="one image makes no pair: take two or more"):
        dataset[3]


def test_validation_images_of_which_no_subject_saw_two():
    seen = np.zeros((3, N_IMAGES), dtype=bool)
    seen[0, :20], seen[1, 20], seen[2, 21] = True, True, True
    split = type("Split", (), {"split": lambda self, X, y: [(np.arange(20), np.arange(20, 22))]})
    with (
        pytest.warns(UserWarning, match="fewer than two"),
        pytest.raises(ValueError, match="no two validation images were seen by a subject that"),
    ):
        tiny_net(train_split=split()).fit(make_data(N_IMAGES).images, make_patterns(seen))
