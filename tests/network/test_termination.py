import os
import signal
import threading

import pytest

from sklearn_rdm._network._termination import Termination

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def received():
    """Signals that the program's own handler has got."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("SIGTERM"))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_the_first_signal_waits_until_it_may_end_the_process(received):
    with Termination() as termination:
        assert not termination.is_asked
        signal.raise_signal(signal.SIGTERM)
        assert termination.is_asked
        assert received == []
        termination.end_if_asked()
        assert received == ["SIGTERM"]
        termination.end_if_asked()
    assert received == ["SIGTERM"]


def test_it_waits_no_longer_than_the_block(received):
    with Termination():
        signal.raise_signal(signal.SIGTERM)
    assert received == ["SIGTERM"]


def test_a_second_signal_does_not_wait(received):
    with Termination():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert received == ["SIGTERM"]


def test_the_handler_is_put_back(received):
    ours = signal.getsignal(signal.SIGTERM)
    for is_asked in (False, True):
        with Termination():
            assert signal.getsignal(signal.SIGTERM) is not ours
            if is_asked:
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is ours


def test_blocks_within_blocks(received):
    with Termination() as outer, Termination() as inner:
        signal.raise_signal(signal.SIGTERM)
        inner.end_if_asked()
        assert outer.is_asked
        assert received == []
    assert received == ["SIGTERM"]


def test_an_ignored_signal_stays_ignored(received):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Termination() as termination:
        signal.raise_signal(signal.SIGTERM)
        assert not termination.is_asked


def test_other_threads_leave_signals_alone(received):
    handlers = []

    def enter():
        with Termination():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    thread.join()
    assert handlers == [before]
