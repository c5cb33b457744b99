import copy
import functools
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from skorch.callbacks import EpochScoring, LRScheduler
from torch import nn
from torchvision.transforms import InterpolationMode

from sklearn_rdm import ImagePairs, ResponsePatterns
from sklearn_rdm._network._description import (
    describe,
    describe_pairs,
    differences,
)
from sklearn_rdm.callbacks import WeightAveraging
from sklearn_rdm.metrics import rdm_spearman_scorer
from sklearn_rdm.model_selection import ImageKFold, ImageShuffleSplit
from sklearn_rdm.preprocessing import SubjectPooling
from tests.networks import Small, TinyNetwork, make_pairs

ROOT = Path(__file__).parents[2]


def scaled(factor):
    return lambda x: factor * x


class Loss(nn.MSELoss):
    factor = 1

    def forward(self, y_pred, y_true):
        return super().forward(y_pred, y_true) * self.factor


class OtherLoss(Loss):
    factor = 2


OtherLoss.__qualname__ = Loss.__qualname__


class Slots:
    __slots__ = ()


def unfinished():
    """A function that reads a name which has no value yet."""

    def read():
        return later

    if not callable(read):
        later = 1
    return read


def make_patterns(n_images, seen=None):
    return ResponsePatterns(np.random.default_rng(0).random((n_images, 4)), seen=seen)


# All differ, the neighbours in one thing
DIFFERENT = [
    None,
    0,
    1,
    1.5,
    "1",
    b"1",
    True,
    [1, 2],
    [2, 1],
    {"a": 1},
    {"a": 2},
    {1, 2},
    np.arange(3),
    np.arange(3.0),
    np.arange(3.0)[:, None],
    np.arange(4.0),
    torch.arange(3.0),
    torch.arange(3.0).bfloat16(),
    np.array([0, "a"], dtype=object),
    Small,
    TinyNetwork,
    functools.partial(Small, stride=1),
    functools.partial(Small, stride=2),
    Loss,
    OtherLoss,
    scaled(2),
    scaled(3),
    lambda x: x + 1,
    lambda x: x + 2,
    torch.optim.SGD,
    np.mean,
    len,
    zlib.crc32,
    zlib.adler32,
    np.random.RandomState(0),
    np.random.RandomState(1),
    np.random.default_rng(0),
    ImageKFold(3),
    ImageKFold(4),
    ImageShuffleSplit(1, random_state=0),
    SubjectPooling("rank"),
    SubjectPooling("mean"),
    WeightAveraging(2),
    WeightAveraging(3),
    LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2),
    LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=3),
    EpochScoring(rdm_spearman_scorer),
    Path("a"),
    torch.device("cpu"),
    nn.Linear(2, 2),
    ImageKFold(3).split,
    ImageKFold(4).split,
    unfinished(),
    InterpolationMode.BILINEAR,
    InterpolationMode.BICUBIC,
    ImagePairs(np.eye(3)),
    ImagePairs(np.eye(3))[:2],
    ImagePairs(np.eye(4)),
    make_patterns(3),
    make_patterns(4),
    make_patterns(4)[1:],
    make_patterns(3, seen=[[True, True, False]]),
]


def test_different_values_have_different_descriptions_and_equal_ones_the_same():
    texts = [describe(value) for value in DIFFERENT]
    assert len(set(texts)) == len(texts)
    for value, text in zip(DIFFERENT, texts, strict=True):
        assert describe(copy.deepcopy(value)) == text
        assert len(text) <= 160


def test_numbers_are_told_by_their_value():
    assert describe(np.float64(0.1)) == describe(0.1) == "0.1"
    assert describe(np.int64(3)) == "3"
    assert describe(np.asfortranarray(np.eye(3))) == describe(np.eye(3))


def test_what_a_callback_has_learned_does_not_count():
    callback = WeightAveraging(2)
    before = describe(callback)
    callback.learned_, callback.n_seen = 3, 4
    assert describe(callback) == before


def test_an_object_may_hold_itself():
    values = [1]
    values.append(values)
    assert describe(values) == "[1, itself]"


def described():
    pairs, dissim = make_pairs()
    values = [Loss, scaled(2), functools.partial(Small, stride=1), {"b", "a", "c"}, dissim]
    return [describe(value) for value in values] + list(describe_pairs(pairs).values())


def described_here(values):
    return [describe(value) for value in values]


def test_other_processes_describe_alike(monkeypatch):
    values = [Loss, scaled(2), functools.partial(Small, stride=1), {"b", "a", "c"}, np.eye(200)]
    here = described_here(values)
    there = Parallel(n_jobs=2, max_nbytes=1000)(delayed(described_here)(values) for _ in range(2))
    assert there == [here, here]
    code = "from tests.network.test_description import *; print(described())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=100,
        ).stdout
        for seed in "12"
    ]
    assert runs[0] == runs[1] != ""


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (Slots(), TypeError, "shows its address in memory, but no content"),
        (ImageShuffleSplit(1), ValueError, "ImageShuffleSplit has random_state=None"),
        ({"a": [ImageKFold(3, shuffle=True)]}, ValueError, "ImageKFold has random_state=None"),
    ],
)
def test_what_is_never_the_same_again_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        describe(value)


def test_pairs_are_told_by_what_is_used():
    pairs, _ = make_pairs()
    used = pairs[:3]
    images = pairs.images.copy()
    images[[k for k in range(len(images)) if k not in used.used_images]] = 0
    assert describe_pairs(ImagePairs(images, used.index)) == describe_pairs(used)
    images[used.used_images[0], 0, 0] ^= 1
    changed = describe_pairs(ImagePairs(images, used.index))
    assert [name for name in changed if changed[name] != describe_pairs(used)[name]] == ["images"]
    on_white = ImagePairs(pairs.images, used.index, background="white")
    assert [
        line.split()[0] for line in differences(describe_pairs(used), describe_pairs(on_white))
    ] == ["background"]
    swapped = ImagePairs(pairs.images, used.index[::-1])
    assert describe_pairs(swapped)["pairs"] != describe_pairs(used)["pairs"]


def test_differences_are_named_with_both_values():
    there, here = {"lr": "0.1", "a": "1", "old": "x"}, {"lr": "0.2", "a": "1", "new": "y"}
    assert differences(there, here) == [
        "lr (0.1 there, 0.2 here)",
        "new (none there, y here)",
        "old (x there, none here)",
    ]


def test_images_of_arrays_of_pairs_are_told_by_their_content():
    """Their digests are there already: images that are equal were found by them."""
    pairs, _ = make_pairs()
    given = pairs.images[pairs.index]
    read = ImagePairs.from_arrays(given)
    assert read.digests is not None
    same = ImagePairs(read.images, read.index)
    assert describe_pairs(read) == describe_pairs(same)
    given[0, 0, 0, 0] ^= 1
    changed = describe_pairs(ImagePairs.from_arrays(given))
    assert changed["images"] != describe_pairs(read)["images"]
