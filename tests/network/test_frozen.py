import numpy as np
import pytest
import torch

from sklearn_rdm._network import _frozen
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._forward import Photographs
from sklearn_rdm._network._frozen import keep_frozen
from sklearn_rdm._network._trunk import Trunk
from tests.networks import SIZE, Small, assert_close, by_hand, make_images


def keep(trunk, images, rows, preprocessing, memory=None):
    photographs = Photographs(images, preprocessing)
    return keep_frozen(trunk, photographs, rows, memory=memory, device="cpu")


def frozen(freeze_up_to, layer="head"):
    backbone = load_backbone(Small, None, image_size=SIZE, random_state=0)
    return Trunk(backbone, [layer], freeze_up_to=freeze_up_to), backbone.preprocessing


@pytest.mark.parametrize("freeze_up_to", [None, "first", "second"])
@pytest.mark.parametrize("memory", [True, False])
def test_kept_inputs_of_the_suffix_give_the_whole_networks_result(tmp_path, freeze_up_to, memory):
    images, rows = make_images(20), np.array([3, 4, 9, 11, 12, 13, 15, 16, 19])
    trunk, preprocessing = frozen(freeze_up_to)
    for _ in range(2):
        photographs = Photographs(images, preprocessing)
        kept = keep_frozen(
            trunk, photographs, rows, memory=str(tmp_path) if memory else None, device="cpu"
        )
        assert np.array_equal(kept.images, rows)
        kept = kept.load(rows).numpy()
        assert (
            kept.shape[1:]
            == {
                None: (3, SIZE, SIZE),
                "first": (4, 10, 10),
                "second": (6, 8, 8),
            }[freeze_up_to]
        )
        with torch.no_grad():
            assert_close(
                trunk.suffix(torch.from_numpy(kept))[0].numpy(), by_hand(images, "head")[rows]
            )
    assert (tmp_path / "sklearn_rdm").exists() == (memory and freeze_up_to is not None)


def test_candidates_and_folds_share_the_activations_of_a_frozen_prefix(tmp_path, computed):
    images = make_images(20)
    for layer in ("head", "pool", "second"):
        for rows in (np.arange(15), np.arange(5, 20)):
            trunk, preprocessing = frozen("relu", layer)
            keep(trunk, images, rows, preprocessing, str(tmp_path))
    assert computed == [15, 5]
    keep(*frozen("first")[:1], images, rows, preprocessing, str(tmp_path))
    assert computed == [15, 5, 15]  # another cut
    assert len([*(tmp_path / "sklearn_rdm").iterdir()]) == 2


def test_photographs_over_the_budget_are_decoded_each_time(monkeypatch):
    images, rows = make_images(20), np.array([4, 9, 11])
    trunk, preprocessing = frozen(None)
    expected = keep(trunk, images, rows, preprocessing).load(rows)
    monkeypatch.setattr(_frozen, "MEMORY_BUDGET", 1000)
    kept = keep(trunk, images, rows, preprocessing)
    assert not isinstance(kept.values, np.ndarray)
    assert torch.equal(kept.load(rows), expected)
    assert torch.equal(kept.load(rows[[2, 0]]), expected[[2, 0]])
