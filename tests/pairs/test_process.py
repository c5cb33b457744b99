import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sklearn_rdm._pairs._process import ONE_AT_A_TIME

ROOT = Path(__file__).parents[2]
HAS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

# What a child does is told by its exit status; a parent that waits in vain kills it.
FORKED = """
import os, signal, sys, threading, time
from sklearn_rdm._pairs._process import ONE_AT_A_TIME


def in_child(work, seconds):
    child = os.fork()
    if child == 0:
        os._exit(work())
    for _ in range(int(seconds * 20)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


def take_it_twice():
    with ONE_AT_A_TIME, ONE_AT_A_TIME:
        return 7

"""

HELD_BY_ANOTHER_THREAD = """
held, enough = threading.Event(), threading.Event()


def hold():
    with ONE_AT_A_TIME:
        held.set()
        enough.wait()


thread = threading.Thread(target=hold)
thread.start()
held.wait()
assert in_child(take_it_twice, 10) == 7
enough.set()
thread.join()
assert take_it_twice() == 7  # the parent's lock was left alone
"""

HELD_BY_THE_FORKING_THREAD = """
def leave_the_block():
    with ONE_AT_A_TIME:
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    other = threading.Thread(target=take_it_twice)  # it was released
    other.start()
    other.join(10)
    os._exit(3 if other.is_alive() else 9)


assert leave_the_block() == 9
"""

FITTED_BY_ANOTHER_THREAD = """
import numpy as np
from skorch.callbacks import Callback
from tests.networks import make_pairs, tiny_net

begun, enough = threading.Event(), threading.Event()


class Waits(Callback):
    def on_batch_begin(self, net, **kwargs):
        begun.set()
        enough.wait()


def fit():
    return tiny_net(max_epochs=2).fit(*make_pairs()).predict(make_pairs()[0])


def fit_in_child():
    return 7 if np.array_equal(fit(), expected) else 1


expected = fit()
thread = threading.Thread(
    target=lambda: tiny_net(callbacks=[("waits", Waits())]).fit(*make_pairs())
)
thread.start()
begun.wait()
statuses = [in_child(fit_in_child, 30) for _ in range(2)]
enough.set()
thread.join()
assert statuses == [7, 7], statuses
assert fit_in_child() == 7
"""

FORKED_WITHIN_A_FIT = """
import numpy as np
from skorch.callbacks import Callback
from tests.networks import make_pairs, tiny_net

statuses = []


def fit_in_child():
    return 7 if np.array_equal(tiny_net().fit(*make_pairs()).predict(make_pairs()[0]), one) else 1


class Forks(Callback):
    def on_epoch_end(self, net, **kwargs):
        statuses.append(in_child(fit_in_child, 30))


one = tiny_net().fit(*make_pairs()).predict(make_pairs()[0])
forked = tiny_net(callbacks=[("forks", Forks())]).fit(*make_pairs())
assert statuses == [7], statuses
assert np.array_equal(forked.predict(make_pairs()[0]), one)
"""


@HAS_FORK
@pytest.mark.parametrize(
    "code",
    [
        HELD_BY_ANOTHER_THREAD,
        HELD_BY_THE_FORKING_THREAD,
        FITTED_BY_ANOTHER_THREAD,
        FORKED_WITHIN_A_FIT,
    ],
    ids=["held", "held by itself", "fitted", "within a fit"],
)
def test_a_forked_child_does_not_wait_for_threads_that_it_has_not(code):
    ended = subprocess.run(
        [sys.executable, "-c", FORKED + code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr


def test_one_thread_at_a_time():
    order = []

    def enter(name):
        with ONE_AT_A_TIME, ONE_AT_A_TIME:
            order.append(name)
            time.sleep(0.02)
            order.append(name)

    threads = [threading.Thread(target=enter, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == ["a", "b", "c", "d"]
