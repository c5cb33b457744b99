import copy
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, Freezer, LRScheduler, Unfreezer
from torch.optim import lr_scheduler

from sklearn_rdm import ResponsePatterns
from sklearn_rdm._network import _checkpoint, _state_file
from sklearn_rdm._network._state_file import read_header
from sklearn_rdm.callbacks import WeightAveraging
from sklearn_rdm.model_selection import ImageShuffleSplit
from tests.interrupted import N_EPOCHS, Cut, Switch, make_net
from tests.networks import make_pairs, same_bits, tiny_net, weights

ROOT = Path(__file__).parents[2]
VALIDATED = {"train_split": ImageShuffleSplit(1, test_size=0.4, random_state=0)}


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "SHARE", float("inf"))
    Switch.cut_before, Switch.n_trained = None, 0


def cut_fit(folder, before=4, **params):
    """A fit that is cut off; the file of its checkpoint."""
    Switch.cut_before = before
    with pytest.raises(Cut):
        make_net(folder, **params).fit(*make_pairs(12))
    Switch.cut_before, Switch.n_trained = None, 0
    (file,) = Path(folder).iterdir()
    return file


def learned(net):
    """Everything that a fit leaves, but times."""
    rows = [{k: v for k, v in row.items() if k != "dur"} for row in net.history_]
    return {
        "optimizer": repr(net.optimizer_.state_dict()),
        "history": repr(rows),
        "random": repr(net.rng_.get_state()),
        "pooling": repr(vars(net.subject_pooling_)),
        "trained": [name for name, p in net.module_.named_parameters() if p.requires_grad],
        "training": net.module_.training,
        "network options": repr(net.network_options_),
    }


def assert_same_fit(net, other):
    pairs, dissim = make_pairs(12)
    assert same_bits(net, other)
    assert learned(net) == learned(other)
    np.testing.assert_array_equal(net.predict(pairs), other.predict(pairs))
    for each in (net, other):
        each.partial_fit(pairs, dissim, epochs=2)
    assert same_bits(net, other)
    assert learned(net) == learned(other)


def by_epoch(policy, **options):
    return ("schedule", LRScheduler(policy, **options))


DETERMINED = {
    "images": {},
    "pairs": {"batching": "pairs", "batch_size": 7},
    "dropout": {"module__dropout": True},
    "batch statistics": {"module__freeze_batch_norm": False},
    "mean, noise, layers": {"reference": "mean", "noise_ratio": 1.0, "layer": ["relu2", "relu3"]},
    "frozen": {"freeze_up_to": "relu2"},
    "near the untrained": {"pretrained_penalty": 3.0},
    "adam": {"optimizer": torch.optim.AdamW, "lr": 0.01, "optimizer__weight_decay": 0.1},
    "random state": {"random_state": np.random.RandomState(3)},
    "processes": {"iterator_train__num_workers": 1},
    "pooling": {"subject_pooling": "rank"},
    "step": {"callbacks": [by_epoch(lr_scheduler.MultiStepLR, milestones=[2, 5])]},
    "by batch": {
        "callbacks": [
            by_epoch(lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=99, step_every="batch")
        ]
    },
    "cyclic": {
        "callbacks": [by_epoch(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_every="batch")]
    },
    "plateau": {
        "callbacks": [
            by_epoch(lr_scheduler.ReduceLROnPlateau, monitor="train_loss", patience=0, threshold=1)
        ]
    },
    "lambda": {"callbacks": [by_epoch(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.9**epoch)]},
    "averaging": {"callbacks": [WeightAveraging(4)]},
    "early stopping": {
        "callbacks": [EarlyStopping("valid_loss", patience=5, threshold=0.5)],
        "max_epochs": 9,
        **VALIDATED,
    },
    "best epoch": {
        "callbacks": [EarlyStopping("valid_loss", patience=5, threshold=0.5, load_best=True)],
        "max_epochs": 9,
        **VALIDATED,
    },
    "unfreezing": {"callbacks": [Freezer("*conv3*", at=2), Unfreezer("*conv3*", at=6)]},
}


@pytest.mark.parametrize("params", DETERMINED.values(), ids=DETERMINED.keys())
def test_a_fit_that_was_cut_off_ends_with_the_bits_of_an_undisturbed_one(tmp_path, params):
    pairs, dissim = make_pairs(12)
    whole = make_net(**params).fit(pairs, dissim)
    n_epochs = len(whole.history_)
    unfinished = cut_fit(tmp_path, **params)
    assert read_header(unfinished)["epoch"] == 4
    resumed = make_net(tmp_path, **params).fit(pairs, dissim)
    assert Switch.n_trained == n_epochs - 4
    assert [path.suffix for path in tmp_path.iterdir()] == [".fitted"]
    Switch.n_trained = 0
    again = make_net(tmp_path, **params).fit(pairs, dissim)
    assert Switch.n_trained == 0
    assert_same_fit(whole, resumed)
    assert_same_fit(make_net(**params).fit(pairs, dissim), again)


def test_a_fit_may_be_cut_off_again_and_again(tmp_path):
    for epoch in range(1, N_EPOCHS):
        cut_fit(tmp_path, before=epoch)
    resumed = make_net(tmp_path).fit(*make_pairs(12))
    assert Switch.n_trained == 1
    assert_same_fit(make_net().fit(*make_pairs(12)), resumed)


def test_memory_and_verbose_are_another_way_to_the_same_fit(tmp_path):
    cut_fit(tmp_path / "kept", freeze_up_to="relu2")
    resumed = make_net(tmp_path / "kept", freeze_up_to="relu2", memory=str(tmp_path / "memory"))
    resumed.fit(*make_pairs(12))
    assert Switch.n_trained == 2
    assert_same_fit(make_net(freeze_up_to="relu2").fit(*make_pairs(12)), resumed)


class Noisy(Callback):
    """Draws from the random numbers of the process, which random_state does not seed."""

    def on_epoch_begin(self, net, **kwargs):
        with torch.no_grad():
            net.module_.trunk.network.conv3.bias += np.random.rand()  # noqa: NPY002
            net.module_.trunk.network.conv3.bias += random.random()


def seed_process(seed):
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def random_states_of_process():
    return repr((np.random.get_state(), random.getstate()))  # noqa: NPY002


def test_random_numbers_of_the_process_are_put_back_where_training_uses_them(tmp_path):
    noisy = {"callbacks": [("noise", Noisy())]}
    seed_process(5)
    whole = make_net(**noisy).fit(*make_pairs(12))
    seed_process(5)
    cut_fit(tmp_path, **noisy)
    seed_process(6)
    assert same_bits(whole, make_net(tmp_path, **noisy).fit(*make_pairs(12)))


def test_else_random_numbers_of_the_process_are_left_alone(tmp_path):
    cut_fit(tmp_path)
    seed_process(6)
    before = random_states_of_process()
    make_net(tmp_path).fit(*make_pairs(12))
    assert random_states_of_process() == before


KILLED = """
import os, signal, sys
import torch
from skorch.callbacks import Callback
from sklearn_rdm._network import _checkpoint
from tests.interrupted import make_net
from tests.networks import make_pairs

folder, when = sys.argv[1:]
_checkpoint.SHARE = float("inf")


class Kills(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if when == "training" and len(net.history) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "asked" and len(net.history) == 4:
            _checkpoint.SHARE = 0  # nothing is due
            os.kill(os.getpid(), signal.SIGTERM)
        if when == "asked twice" and len(net.history) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)


if when == "writing":
    save = torch.save

    def save_half(state, file):
        if len(net.history_) == 4:
            file.write(b"half of it")
            file.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(state, file)

    torch.save = save_half
net = make_net(folder)
net.initialize()
net.callbacks_.append(("kills", Kills()))
type(net).initialize_callbacks = lambda net: net
net.fit(*make_pairs(12))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("when", "by", "n_kept"),
    [
        ("training", signal.SIGKILL, 3),
        ("writing", signal.SIGKILL, 3),
        ("asked", signal.SIGTERM, 4),
        ("asked twice", signal.SIGTERM, 3),
    ],
)
def test_killed_processes(tmp_path, when, by, n_kept):
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), when],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
    )
    assert ended.returncode == -by
    resumed = make_net(tmp_path).fit(*make_pairs(12))
    assert Switch.n_trained == N_EPOCHS - n_kept
    assert_same_fit(make_net().fit(*make_pairs(12)), resumed)


def damage(file, how):
    content = bytearray(file.read_bytes())
    if how == "one bit":
        content[len(content) // 2] ^= 1
    if how == "in the header":
        content[40] ^= 1
    file.write_bytes(
        {"cut": content[:1000], "empty": b"", "other": b"a letter\n" * 99}.get(how, bytes(content))
    )
    if how == "folder":
        file.unlink()
        file.mkdir()


@pytest.mark.parametrize("which", [".training", ".fitted"])
@pytest.mark.parametrize("how", ["one bit", "in the header", "cut", "empty", "other", "folder"])
def test_a_damaged_checkpoint_is_warned_of_and_trained_anew(tmp_path, how, which):
    pairs, dissim = make_pairs(12)
    whole = make_net().fit(pairs, dissim)
    if which == ".fitted":
        make_net(tmp_path).fit(pairs, dissim)
        (file,) = tmp_path.iterdir()
    else:
        file = cut_fit(tmp_path)
    damage(file, how)
    Switch.n_trained = 0
    with pytest.warns(UserWarning, match=f"checkpoint .*{which}.* is not used") as caught:
        again = make_net(tmp_path).fit(pairs, dissim)
    assert Switch.n_trained == N_EPOCHS
    assert str(file) in str(caught[0].message)
    assert same_bits(whole, again)


class Shell:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


def test_nothing_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = cut_fit(tmp_path / "folder")
    _state_file.write_state(file, read_header(file), Shell())  # with a digest that is right
    with pytest.warns(UserWarning, match="is damaged and is not used"):
        again = make_net(tmp_path / "folder").fit(*make_pairs(12))
    assert not (tmp_path / "code_was_run").exists()
    assert same_bits(make_net().fit(*make_pairs(12)), again)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"lr": 0.2}, r"lr \(0.1 there, 0.2 here\)"),
        ({"max_epochs": 7}, r"max_epochs \(6 there, 7 here\)"),
        ({"module__dropout": True}, r"module__dropout \(none there, True here\)"),
        ({"random_state": 1}, r"random_state \(0 there, 1 here\)"),
        ({"callbacks": [WeightAveraging(2)]}, r"callbacks \(list \w+ there, list \w+ here\)"),
    ],
)
def test_another_call_begins_anew_and_is_told_what_differs(tmp_path, params, named):
    file = cut_fit(tmp_path)
    os.utime(file, (0, 0))  # before this process began
    _checkpoint._named.clear()
    with pytest.warns(UserWarning, match=f"beginning: no checkpoint .* differs in .*{named}"):
        other = make_net(tmp_path, **params).fit(*make_pairs(12))
    assert same_bits(make_net(**params).fit(*make_pairs(12)), other)
    assert file.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        make_net(tmp_path, lr=0.3).fit(*make_pairs(12))
        make_net(tmp_path).fit(*make_pairs(12))


def change_target(pairs, dissim):
    return pairs, dissim + np.eye(len(dissim))[:, :1] * 1e-9


def change_image(pairs, dissim):
    changed = copy.copy(pairs)
    changed.images = pairs.images.copy()
    changed.images[3, 0, 0] ^= 1
    return changed, dissim


def swap_pairs(pairs, dissim):
    order = np.r_[1, 0, 2 : len(pairs)]
    return pairs[order], dissim[order]


@pytest.mark.parametrize(
    ("change", "named"),
    [(change_target, "y"), (change_image, "images"), (swap_pairs, "pairs")],
)
def test_other_data_begin_anew(tmp_path, change, named):
    os.utime(cut_fit(tmp_path), (0, 0))
    _checkpoint._named.clear()
    data = change(*make_pairs(12))
    with pytest.warns(UserWarning, match=rf"differs in {named} \("):
        other = make_net(tmp_path).fit(*data)
    assert Switch.n_trained == N_EPOCHS
    assert same_bits(make_net().fit(*data), other)


def test_other_versions_begin_anew(tmp_path, monkeypatch):
    os.utime(cut_fit(tmp_path), (0, 0))
    _checkpoint._named.clear()
    now = _checkpoint.installed_versions()
    monkeypatch.setattr(_checkpoint, "installed_versions", lambda: {**now, "torch": "9.9"})
    with pytest.warns(UserWarning, match=r"differs in torch \(.* there, 9.9 here\)"):
        make_net(tmp_path).fit(*make_pairs(12))
    assert Switch.n_trained == N_EPOCHS


def test_a_renamed_checkpoint_is_refused_by_what_differs(tmp_path):
    file = cut_fit(tmp_path / "one")
    file.rename(tmp_path / "one" / cut_fit(tmp_path / "two", lr=0.2).name)
    with pytest.raises(ValueError, match=r"another call. They differ in lr \(0.1 there, 0.2 here"):
        make_net(tmp_path / "one", lr=0.2).fit(*make_pairs(12))


def test_other_weights_to_begin_with_are_another_call(tmp_path):
    pairs, dissim = make_pairs(12)
    file = tmp_path / "weights.pth"
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(tiny_net().backbone().state_dict(), file)
        make_net(tmp_path / "kept", weights=str(file)).fit(pairs, dissim)
        assert Switch.n_trained == (seed + 1) * N_EPOCHS


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"random_state": None}, ValueError, "checkpoint needs a random_state"),
        (
            {"train_split": ImageShuffleSplit(1, test_size=0.4)},
            ValueError,
            "cannot recognise train_split in .*: ImageShuffleSplit has random_state=None",
        ),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder, or None, got 3"),
        ({"checkpoint": __file__}, ValueError, "checkpoint must be a folder, but .* is a file"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_done(tmp_path, params, error, message):
    net = make_net(tmp_path).set_params(**params)
    with pytest.raises(error, match=message):
        net.fit(*make_pairs(12))
    assert not net.initialized_
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_does_not_end_the_training(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(UserWarning, match=r"epoch 1 was not written.*No space left.*goes on"):
        net = make_net(tmp_path).fit(*make_pairs(12))
    assert same_bits(make_net().fit(*make_pairs(12)), net)
    assert list(tmp_path.iterdir()) == []


def test_links_are_followed_and_permissions_kept(tmp_path):
    file = cut_fit(tmp_path / "link", before=2)
    (tmp_path / "disk").mkdir()
    moved = file.rename(tmp_path / "disk" / "moved")
    moved.chmod(0o640)
    file.symlink_to(moved)
    assert cut_fit(tmp_path / "link", before=4) == file
    assert file.is_symlink()
    assert read_header(moved)["epoch"] == 4
    assert moved.stat().st_mode & 0o777 == 0o640


def test_writing_takes_at_most_a_tenth_of_the_time(tmp_path, monkeypatch):
    clock = iter(np.cumsum([0, *[1, 1] * 50]))  # a second each of training and of writing
    monkeypatch.setattr(_checkpoint, "SHARE", 0.1)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    written = []
    monkeypatch.setattr(_checkpoint, "write_state", lambda path, header, _: written.append(header))
    make_net(tmp_path, max_epochs=30).fit(*make_pairs(12))
    epochs = [header["epoch"] for header in written]
    assert epochs[0] == 1
    assert len(epochs) <= 5


def test_partial_fit_and_warm_start_keep_nothing(tmp_path):
    pairs, dissim = make_pairs(12)
    make_net(tmp_path).partial_fit(pairs, dissim)
    assert list(tmp_path.iterdir()) == []
    warm = make_net(tmp_path, warm_start=True).fit(pairs, dissim)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    warm.fit(pairs, dissim)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]
    assert same_bits(warm, make_net().fit(pairs, dissim).partial_fit(pairs, dissim))


class Copies(Callback):
    def on_epoch_end(self, net, **kwargs):
        copied = pickle.loads(pickle.dumps(net))
        copied.set_params(callbacks=None)
        copied.initialize_callbacks().partial_fit(*make_pairs(12))
        assert not same_bits(net, copied)


def test_copies_of_a_net_in_training_do_not_write_to_its_checkpoint(tmp_path):
    cut_fit(tmp_path, callbacks=[("copies", Copies())], before=2)
    resumed = make_net(tmp_path, callbacks=[("copies", Copies())]).fit(*make_pairs(12))
    assert same_bits(make_net().fit(*make_pairs(12)), resumed)


def test_an_interrupted_fit_goes_on(tmp_path, monkeypatch):
    pairs, dissim = make_pairs(12)
    net = make_net(tmp_path)

    class Interrupts(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 4:
                raise KeyboardInterrupt

    net.initialize()
    net.callbacks_.append(("interrupts", Interrupts()))
    monkeypatch.setattr(type(net), "initialize_callbacks", lambda net: net)
    with pytest.warns(UserWarning, match="the same fit from its last checkpoint"):
        net.fit(pairs, dissim)
    assert [path.suffix for path in tmp_path.iterdir()] == [".training"]
    monkeypatch.undo()
    monkeypatch.setattr(_checkpoint, "SHARE", float("inf"))
    Switch.n_trained = 0
    assert same_bits(make_net().fit(pairs, dissim), make_net(tmp_path).fit(pairs, dissim))
    assert Switch.n_trained == N_EPOCHS + 3


def test_weights_that_stay_frozen_are_not_written(tmp_path):
    cut_fit(tmp_path / "all")
    cut_fit(tmp_path / "part", freeze_up_to="relu2", layer="relu3")
    sizes = [sum(f.stat().st_size for f in (tmp_path / n).iterdir()) for n in ("all", "part")]
    net = make_net(freeze_up_to="relu2").initialize()
    frozen = sum(p.numel() for p in net.module_.parameters() if not p.requires_grad)
    assert sizes[0] - sizes[1] > 4 * frozen
    assert len(weights(net)) > 0


# Images with response patterns


def make_patterns(change=None):
    rng = np.random.default_rng(0)
    arrays = [rng.random((12, n)) for n in (6, 9)]
    if change == "one response":
        arrays[1][7, 3] += 1e-3
    seen = np.ones((2, 12), dtype=bool)
    if change == "seen":
        seen[0, 5] = False
    metric = "euclidean" if change == "metric" else "correlation"
    return ResponsePatterns(arrays, metric, seen=seen)


@pytest.mark.parametrize("params", [{}, {"subject_pooling": "rank", "module__dropout": True}])
def test_training_on_patterns_goes_on(params, tmp_path):
    images, y = make_pairs(12)[0].images, make_patterns()
    whole = make_net(**params).fit(images, y)
    Switch.cut_before = 4
    with pytest.raises(Cut):
        make_net(tmp_path, **params).fit(images, y)
    Switch.cut_before, Switch.n_trained = None, 0
    net = make_net(tmp_path, **params).fit(images, y)
    assert Switch.n_trained == N_EPOCHS - 4
    assert same_bits(net, whole)
    assert learned(net) == learned(whole)
    Switch.n_trained = 0
    assert same_bits(make_net(tmp_path, **params).fit(images, y), whole)  # which is read
    assert Switch.n_trained == 0


def test_patterns_in_a_file_are_the_same_patterns(tmp_path):
    images, y = make_pairs(12)[0].images, make_patterns()
    make_net(tmp_path / "kept").fit(images, y)
    arrays = []
    for number, array in enumerate(y.patterns):
        np.save(tmp_path / f"{number}.npy", array)
        arrays.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    Switch.n_trained = 0
    make_net(tmp_path / "kept").fit(images, ResponsePatterns(arrays, seen=y.seen))
    assert Switch.n_trained == 0


@pytest.mark.parametrize("change", ["one response", "seen", "metric", "rows", "images"])
def test_other_patterns_begin_anew(change, tmp_path):
    images, y = make_pairs(12)[0].images, make_patterns()
    make_net(tmp_path).fit(images, y)
    other, other_images = make_patterns(change), images.copy()
    if change == "rows":
        other = y[[1, 0, *range(2, 12)]]
    if change == "images":
        other_images[3, 0, 0, 0] += 1
    Switch.n_trained = 0
    net = make_net(tmp_path).fit(other_images, other)
    assert Switch.n_trained == N_EPOCHS
    assert same_bits(net, make_net().fit(other_images, other))
    assert len(list(tmp_path.glob("*.fitted"))) == 2


def test_processes_that_find_different_checkpoints_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "are_all_equal", lambda value: False)
    with pytest.raises(ValueError, match="different checkpoints in .* processes of all machines"):
        make_net(tmp_path).fit(*make_pairs(12))


@pytest.mark.parametrize("content", [b"", b"text\n", b"sklearn_rdm state 1\n{}\n"])
def test_files_of_others_in_the_folder_are_left_alone(tmp_path, content):
    theirs = tmp_path / "theirs.training"
    theirs.write_bytes(content)
    os.utime(theirs, (0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_net(tmp_path).fit(*make_pairs(12))
    assert theirs.read_bytes() == content


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="may not write to the folder .*Give another one"):
        make_net(tmp_path).fit(*make_pairs(12))
