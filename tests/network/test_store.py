import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from joblib import Memory, Parallel, delayed

import sklearn_rdm
from sklearn_rdm import ImagePairs
from sklearn_rdm._network import _store
from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._frozen import store_key
from sklearn_rdm._network._store import DIGEST_SIZE, RECORD_SIZE, ActivationStore, StoredRows
from sklearn_rdm._network._trunk import Trunk
from tests.networks import Small, assert_close, by_hand, features_of, make_images


def stores(folder):
    return sorted((Path(folder) / "sklearn_rdm").iterdir())


def n_stored(store):
    """Stored images, whose records must be of different images."""
    records = (store / "records").read_bytes()
    assert len(records) % RECORD_SIZE == 0
    starts = range(0, len(records), RECORD_SIZE)
    distinct = {records[i : i + DIGEST_SIZE] for i in starts}
    assert len(distinct) == len(starts)
    return len(distinct)


def open_store(memory, images, compute=None):
    """A store of twice the images, and the arguments of its ``rows``."""
    store = ActivationStore(memory, "key", lambda: np.ones(3, np.float32))
    digests = [image.tobytes()[:DIGEST_SIZE] for image in images]
    return store, (range(len(images)), digests, compute or (lambda rows: 2 * images[list(rows)]))


def fresh_process(monkeypatch):
    """Forget what this process has looked at."""
    monkeypatch.setattr(_store, "_seen", set())
    monkeypatch.setattr(_store, "_current", set())


def test_what_is_kept_is_not_computed_again(tmp_path, computed):
    images = make_images(30)
    expected = features_of().fit_transform(images)
    computed.clear()
    activations = features_of(memory=str(tmp_path))
    assert np.array_equal(activations.fit_transform(images[:20]), expected[:20])
    assert computed == [20]
    assert np.array_equal(activations.fit_transform(images[:20]), expected[:20])
    assert computed == [20]
    other = features_of(memory=Memory(str(tmp_path), verbose=0))
    assert np.array_equal(other.fit_transform(images[10:]), expected[10:])  # ten are new
    assert computed == [20, 10]
    assert np.array_equal(other.transform(images[::-3]), expected[::-3])
    assert computed == [20, 10]
    (store,) = stores(tmp_path)
    assert n_stored(store) == 30


def test_images_are_found_by_content_under_any_row(tmp_path, computed):
    images = make_images(12)
    activations = features_of(memory=str(tmp_path)).fit(None)
    first = activations.transform(ImagePairs(images, [[0, 1], [1, 5]]))
    assert computed == [3]
    moved = np.concatenate([make_images(4, seed=9), images[5:6], images[:2]])
    again = activations.transform(ImagePairs(moved, [[5, 6], [6, 4]]))
    assert computed == [3]
    assert np.array_equal(again.images[again.index], first.images[first.index])
    doubled = activations.transform(np.concatenate([images, images]))
    assert computed == [3, 9]  # equal images once
    assert np.array_equal(doubled[:12], doubled[12:])
    as_float = activations.transform(images[:2] / 255)
    assert computed == [3, 9, 2]  # resized as floats, they may differ
    assert_close(as_float, by_hand(images[:2] / 255))


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"layer": "first"},
        {"layer": ["second", "first"]},
        {"image_size": 20},
        {"image_size": (24, 25)},
        {"backbone": partial(Small, stride=1)},
    ],
    ids=str,
)
def test_other_networks_layers_and_preprocessing_are_kept_apart(tmp_path, computed, change):
    images = make_images(5)
    features_of(memory=str(tmp_path)).fit_transform(images)
    computed.clear()
    kept = features_of(memory=str(tmp_path), **change).fit_transform(images)
    assert computed == [5]
    assert len(stores(tmp_path)) == 2
    assert np.array_equal(kept, features_of(**change).fit_transform(images))


@pytest.mark.parametrize("reference", ["white", None])
def test_the_reference_and_copies_of_the_network_share_what_is_kept(tmp_path, computed, reference):
    images = make_images(5)
    features_of(memory=str(tmp_path)).fit_transform(images)
    computed.clear()
    features_of(memory=str(tmp_path), reference=reference).fit_transform(images)
    assert computed == []
    assert len(stores(tmp_path)) == 1


def test_a_memory_may_be_a_path(tmp_path):
    images = make_images(3)
    kept = features_of(memory=tmp_path).fit_transform(images)
    assert len(stores(tmp_path)) == 1
    assert np.array_equal(kept, features_of().fit_transform(images))


def test_an_unusable_memory_is_refused():
    class Fake:
        def cache(self, function):
            return function

    with pytest.raises(TypeError, match="memory must be a folder or a joblib.Memory, got <"):
        features_of(memory=Fake()).fit_transform(make_images(2))


def test_weights_are_hashed_only_for_a_memory(monkeypatch, tmp_path):
    hashed = []
    monkeypatch.setattr(Trunk, "key", lambda _, part: hashed.append(part) or "key")
    features_of().fit_transform(make_images(2))
    features_of(memory=Memory(None)).fit_transform(make_images(2))
    assert hashed == []
    features_of(memory=str(tmp_path)).fit_transform(make_images(2))
    assert hashed == ["whole"]


def cut_short(path, n_bytes):
    path.write_bytes(path.read_bytes()[:-n_bytes])


# What a killed process, or a disk that lost its last writes, may leave
DAMAGES = {
    "half a record": (lambda store: cut_short(store / "records", 7), 1),
    "a record less": (lambda store: cut_short(store / "records", 20), 1),
    "no records": (lambda store: (store / "records").unlink(), 10),
    "empty records": (lambda store: (store / "records").write_bytes(b""), 10),
    "half a row of activations": (lambda s: cut_short(s / "activations.float32", 100), 1),
    "a row and a half less": (lambda s: cut_short(s / "activations.float32", 3000), 2),
    "no activations": (lambda store: (store / "activations.float32").unlink(), 10),
    "more activations than records": (
        lambda store: (store / "activations.float32").open("ab").write(b"x" * 5000),
        0,
    ),
    "half a shape": (lambda store: (store / "shape.json").write_text("[38"), 10),
    "no shape": (lambda store: (store / "shape.json").unlink(), 10),
    "an empty shape": (lambda store: (store / "shape.json").write_text("[0]"), 10),
    "no list of numbers": (lambda store: (store / "shape.json").write_text('{"a": 384}'), 10),
    "a shorter shape": (lambda store: (store / "shape.json").write_text("[2]"), 10),
    "a longer shape": (lambda store: (store / "shape.json").write_text("[385]"), 10),
    "nothing but a lock": (lambda s: [f.unlink() for f in s.iterdir() if f.name != "lock"], 10),
}


@pytest.mark.parametrize(("damage", "n_lost"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_gives_right_values_and_is_mended(tmp_path, computed, damage, n_lost):
    images = make_images(13)
    expected = features_of().fit_transform(images)
    assert expected.shape[1] == 384  # bytes of a row: 1536
    kept = features_of(memory=str(tmp_path))
    kept.fit_transform(images[:10])
    (store,) = stores(tmp_path)
    damage(store)
    computed.clear()
    assert np.array_equal(kept.transform(images[2:]), expected[2:])
    n_again = min(n_lost, 8)  # the first two images were not asked for
    assert computed == [3 + n_again]
    assert np.array_equal(kept.transform(images), expected)
    assert n_stored(store) == 13
    assert (store / "activations.float32").stat().st_size == 13 * 1536


KILLED = """
import os, signal, sys, time
import numpy as np
from pathlib import Path
from sklearn_rdm._network import _store as A

folder, images = Path(sys.argv[1]), np.load(sys.argv[2])
write_at = A._write_at
A.STORED_AT_ONCE = 3
digests = [image.tobytes()[:16] for image in images]

def compute(rows):
    return 2 * images[list(rows)].astype(np.float32)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_write(number, share):
    calls = []
    def write(path, position, content):
        calls.append(path)
        if len(calls) == number:
            write_at(path, position, bytes(content)[: int(share * len(bytes(content)))])
            die()
        write_at(path, position, content)
    A._write_at = write

def run(store, prepare):
    pid = os.fork()
    if pid == 0:
        prepare()
        store = A.ActivationStore(store, "key", lambda: np.ones(3, np.float32))
        store.rows(range(len(images)), digests, compute)
        os._exit(0)
    return pid

def wait(pid):
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

for name, prepare in {
    "shape": lambda: kill_in_write(1, 0.3),
    "first_row": lambda: kill_in_write(2, 0.5),
    "activations": lambda: kill_in_write(6, 0.5),
    "between": lambda: kill_in_write(6, 1),
    "records": lambda: kill_in_write(7, 0.6),
}.items():
    assert wait(run(folder / name, prepare)), name

def one_by_one():
    A.STORED_AT_ONCE = 1

kills = 0
for attempt in range(1, 9):  # from outside, wherever it is
    pid = run(folder / "anywhere", one_by_one)
    time.sleep(0.003 * attempt)
    os.kill(pid, signal.SIGKILL)
    kills += wait(pid)
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_process_was_killed_while_it_wrote_the_store_is_right(tmp_path):
    images = np.random.default_rng(0).random((60, 50)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    environment = {**os.environ, "PYTHONPATH": str(Path(sklearn_rdm.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "stores"), str(tmp_path / "images.npy")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1  # at least one was killed before its end
    left = {}
    for memory in sorted((tmp_path / "stores").iterdir()):
        again = []

        def compute(rows, again=again):
            again.extend(rows)
            return 2 * images[list(rows)]

        store, request = open_store(memory, images, compute)
        stored, places = store.rows(*request)
        assert np.array_equal(stored[places], 2 * images)
        assert n_stored(store.folder) == 60
        left[memory.name] = 60 - len(again)
    anywhere = left.pop("anywhere", 0)  # it may have been killed before it wrote anything
    # The shape, then for three images at a time two writes: of activations and of records
    assert left == {"shape": 0, "first_row": 0, "activations": 6, "between": 6, "records": 7}
    assert 0 <= anywhere <= 60


def transform_some(memory, images, rows):
    return features_of(memory=memory).fit_transform(images[rows])


def test_two_processes_at_once_compute_each_image_once(tmp_path, monkeypatch):
    images = make_images(60)
    expected = features_of().fit_transform(images)
    rows = [np.arange(40), np.arange(59, 19, -1), np.arange(0, 60, 2), np.arange(60)]
    results = Parallel(n_jobs=2)(
        delayed(transform_some)(str(tmp_path), images, some) for some in rows
    )
    for some, features in zip(rows, results, strict=True):
        assert np.array_equal(features, expected[some])
    (store,) = stores(tmp_path)
    assert n_stored(store) == 60
    assert (store / "activations.float32").stat().st_size == expected.nbytes


def test_large_sets_are_stored_piece_by_piece(tmp_path, computed, monkeypatch):
    monkeypatch.setattr(_store, "STORED_AT_ONCE", 16)
    images = make_images(40)
    features = features_of(memory=str(tmp_path)).fit_transform(images)
    assert computed == [16, 16, 8]
    assert np.array_equal(features, features_of().fit_transform(images))


def test_what_fails_midway_keeps_what_was_done(tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "STORED_AT_ONCE", 5)
    images = np.random.default_rng(0).random((20, 4)).astype(np.float32)

    def fail(rows):
        if 12 in rows:
            raise KeyboardInterrupt
        return 2 * images[list(rows)]

    store, request = open_store(tmp_path, images, fail)
    with pytest.raises(KeyboardInterrupt):
        store.rows(*request)
    assert n_stored(store.folder) == 10
    rest = []

    def compute(rows):
        rest.extend(rows)
        return 2 * images[list(rows)]

    store, request = open_store(tmp_path, images, compute)
    stored, places = store.rows(*request)
    assert rest == list(range(10, 20))
    assert np.array_equal(stored[places], 2 * images)


@pytest.mark.parametrize("where", [0, 700, 1500])
def test_a_damaged_row_is_computed_anew_with_one_warning(tmp_path, monkeypatch, where):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    store, request = open_store(tmp_path, images)
    store.rows(*request)
    with open(store.rows_file, "r+b") as file:
        file.seek(where)
        file.write(bytes(64))
    fresh_process(monkeypatch)
    again = []

    def compute(rows):
        again.extend(rows)
        return 2 * images[list(rows)]

    store, request = open_store(tmp_path, images, compute)
    with pytest.warns(UserWarning, match="1 rows .* damaged: they are computed anew") as caught:
        stored, places = store.rows(*request)
    assert len([w for w in caught if "damaged" in str(w.message)]) <= 2
    assert again == [where // 400]
    assert np.array_equal(stored[places], 2 * images)
    fresh_process(monkeypatch)
    store, request = open_store(tmp_path, images, compute)
    stored, places = store.rows(*request)
    assert again == [where // 400]
    assert np.array_equal(stored[places], 2 * images)


def test_a_network_whose_code_has_changed_is_computed_anew(tmp_path, monkeypatch):
    images = make_images(6)
    memory = str(tmp_path)
    features_of(memory=memory).fit_transform(images)
    fresh_process(monkeypatch)

    def forward(self, x):
        x = self.second(self.relu(self.first(x * 1.01)))
        return self.head(self.pool(x).flatten(1))

    monkeypatch.setattr(Small, "forward", forward)
    expected = features_of().fit_transform(images)
    monkeypatch.setattr(Trunk, "key", lambda *_: "as before")
    features_of(memory=memory).fit_transform(images)  # a store of this key
    monkeypatch.undo()
    fresh_process(monkeypatch)
    monkeypatch.setattr(Trunk, "key", lambda *_: "as before")
    with pytest.warns(UserWarning, match="code has changed"):
        found = features_of(memory=memory).fit_transform(images)
    assert np.array_equal(found, features_of().fit_transform(images))
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", bytes(200)])
def test_a_damaged_probe_costs_the_rows_and_nothing_else(tmp_path, monkeypatch, damage):
    images = make_images(4)
    expected = features_of(memory=tmp_path).fit_transform(images)
    (store,) = stores(tmp_path)
    (store / "probe.npy").write_bytes(damage)
    fresh_process(monkeypatch)
    assert np.array_equal(features_of(memory=tmp_path).fit_transform(images), expected)


def read_only(monkeypatch):
    """Root may write everywhere, so that modes alone show nothing here."""

    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(_store, "_write_at", refuse)
    monkeypatch.setattr(_store.FileLock, "acquire", refuse)


def test_a_store_that_is_complete_may_be_read_only(tmp_path, monkeypatch, recwarn):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    store, request = open_store(tmp_path, images)
    store.rows(*request)
    fresh_process(monkeypatch)
    read_only(monkeypatch)
    store, request = open_store(tmp_path, images)
    stored, places = store.rows(*request)
    assert np.array_equal(stored[places], 2 * images)
    assert not list(recwarn)


@pytest.mark.parametrize("n_stored_before", [0, 3])
def test_what_cannot_be_written_is_computed_with_one_warning(
    tmp_path, monkeypatch, n_stored_before
):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    if n_stored_before:
        store, request = open_store(tmp_path, images[:n_stored_before])
        store.rows(*request)
    fresh_process(monkeypatch)
    read_only(monkeypatch)
    store, request = open_store(tmp_path, images)
    with pytest.warns(UserWarning, match="cannot be saved in .*Read-only.*can write to") as caught:
        rows, places = store.rows(*request)
    assert len(caught) == 1
    assert np.array_equal(rows[places], 2 * images)


def test_a_file_in_the_place_of_the_folder_is_no_error(tmp_path):
    memory = tmp_path / "file"
    memory.write_text("not a folder")
    images = make_images(4)
    with pytest.warns(UserWarning, match="cannot be saved in"):
        found = features_of(memory=memory).fit_transform(images)
    assert np.array_equal(found, features_of().fit_transform(images))


def test_a_store_that_is_cut_short_while_it_is_read_raises_an_error(tmp_path):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    store, request = open_store(tmp_path, images)
    stored, places = store.rows(*request)
    assert isinstance(stored, StoredRows)
    cut_short(store.rows_file, 500)
    assert np.array_equal(stored[places[:3]], 2 * images[:3])
    with pytest.raises(OSError, match="activations.float32 was cut short while it was in use"):
        stored[places]


def test_who_holds_the_lock_is_named_and_not_waited_for_in_vain(tmp_path, monkeypatch):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    store, request = open_store(tmp_path, images)
    store.folder.mkdir(parents=True)
    monkeypatch.setattr(_store, "PATIENCE", 0.2)
    (store.folder / "holder").write_text("process 7 on lab")
    with _store.FileLock(store.folder / "lock"):  # held, and nothing is added
        other = _store.FileLock(store.folder / "lock", is_singleton=False)
        monkeypatch.setattr(_store, "FileLock", lambda _: other)
        with pytest.warns(UserWarning, match="process 7 on lab") as caught:
            rows, places = store.rows(*request)
    messages = [str(warning.message) for warning in caught]
    assert "waiting for process 7 on lab" in messages[0]
    assert "process 7 on lab has held the lock" in messages[1]
    assert np.array_equal(rows[places], 2 * images)


def test_a_process_that_goes_on_adding_rows_is_waited_for(tmp_path, monkeypatch):
    images = np.random.default_rng(0).random((5, 100)).astype(np.float32)
    store, request = open_store(tmp_path, images)
    store.folder.mkdir(parents=True)
    monkeypatch.setattr(_store, "PATIENCE", 0.7)
    locked = threading.Event()

    def add_slowly():
        with _store.FileLock(store.folder / "lock", is_singleton=False):
            locked.set()
            for n_bytes in range(25):
                store.rows_file.write_bytes(bytes(n_bytes))
                time.sleep(0.08)

    other = threading.Thread(target=add_slowly)
    other.start()
    locked.wait()
    with pytest.warns(UserWarning, match="waiting for another process") as caught:
        rows, places = store.rows(*request)
    other.join()
    assert len(caught) == 1
    assert isinstance(rows, StoredRows)  # they were added once it was this process's turn
    assert np.array_equal(rows[places], 2 * images)


def test_activations_of_a_gpu_are_kept_apart(tmp_path):
    trunk = Trunk(load_backbone(Small), ["second"])
    keys = {device: store_key(trunk, "whole", "", device) for device in ("cpu", "cuda", "cuda:1")}
    assert keys["cpu"] != keys["cuda"] == keys["cuda:1"]


def test_a_probe_of_another_shape_is_of_another_network(tmp_path, monkeypatch):
    images = make_images(4)
    expected = features_of(memory=tmp_path).fit_transform(images)
    (store,) = stores(tmp_path)
    np.save(store / "probe.npy", np.ones(3, np.float32))
    fresh_process(monkeypatch)
    with pytest.warns(UserWarning, match="code has changed"):
        found = features_of(memory=tmp_path).fit_transform(images)
    assert np.array_equal(found, expected)
    assert [n_stored(each) for each in stores(tmp_path)] == [4, 4]
