from collections import Counter, OrderedDict, deque, namedtuple

import numpy as np
import pytest
import torch

from sklearn_rdm._network._state_file import (
    DamagedFileError,
    NotPlainError,
    pack,
    read_header,
    read_state,
    write_state,
)

VALUES = {
    "plain": [1, 2.5, float("inf"), None, True, "x"],
    "tuple": (1, np.float64(3.0), np.float32(0.1), np.int64(2), np.bool_(True)),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "texts": np.array(["a", "bc"]),
    "no rows": np.empty((0, 3), dtype=np.uint16),
    "counter": Counter([1, 1, 2]),
    "ordered": OrderedDict(a=torch.tensor(3.0)),
    "deque": deque([torch.ones(2), torch.zeros(2)], maxlen=3),
    "sets": [{1, 2}, frozenset("ab")],
    3: torch.arange(16.0).reshape(4, 4)[:, 1],
    "bfloat16": torch.ones(3, dtype=torch.bfloat16),
    "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
}


def assert_equal(value, expected):
    assert type(value) is type(expected)
    if isinstance(value, dict):
        assert list(value) == list(expected)
        value, expected = list(value.values()), list(expected.values())
    if isinstance(value, list | tuple | deque):
        assert len(value) == len(expected)
        assert getattr(value, "maxlen", None) == getattr(expected, "maxlen", None)
        for one, other in zip(value, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(value, torch.Tensor):
        assert torch.equal(value, expected)
        assert value.dtype == expected.dtype
        assert value.stride() == expected.contiguous().stride() or value.dim() == 4
    elif isinstance(value, np.ndarray):
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == expected.dtype
    else:
        assert value == expected


def write(path, value=None):
    write_state(path, {"epoch": 3}, pack(VALUES if value is None else value))
    return path


def test_values_come_back_as_they_were(tmp_path):
    header, values = read_state(write(tmp_path / "x"), "cpu")
    assert header == read_header(tmp_path / "x") == {"epoch": 3}
    assert_equal(values, VALUES)


def test_the_part_of_a_tensor_that_is_looked_at_is_written(tmp_path):
    large = torch.zeros(100_000)
    assert write(tmp_path / "x", {"view": large[:10]}).stat().st_size < 5000


@pytest.mark.parametrize("step", [7])
def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path, step):
    content = write(tmp_path / "x").read_bytes()
    for place in range(0, len(content), step):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "x").write_bytes(changed)
        with pytest.raises(DamagedFileError):
            read_state(tmp_path / "x", "cpu")
        (tmp_path / "x").write_bytes(content[:place])
        with pytest.raises(DamagedFileError):
            read_state(tmp_path / "x", "cpu")


@pytest.mark.parametrize(
    "content",
    [b"", b"text\n", b"\x80\x02", b"sklearn_rdm state 1\n[1]\n", b"sklearn_rdm state 1\n{\n"],
)
def test_other_files_have_no_header(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_header(tmp_path / "x")


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value", [object(), print, Point(1, 2), b"bytes", np.array([print]), {"a": [torch.nn.ReLU()]}]
)
def test_anything_else_is_refused_by_its_type(value):
    with pytest.raises(NotPlainError, match="^a "):
        pack(value)


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path, monkeypatch):
    before = write(tmp_path / "x").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "x", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == before
