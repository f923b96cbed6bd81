"""Signals: the first one is recorded, a later one acts as in any program."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from pystreamredis.command.signals import REPEAT_WINDOW, Signals, can_write

LONG = 60.0


def send_soon(number: int) -> threading.Timer:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_recorded(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stopped: list[bool] = []
    with Signals(lambda: stopped.append(True)) as signals:
        assert signals.number is None
        os.kill(os.getpid(), number)
        assert signals.number == number
        assert stopped == [True]
    assert signal.getsignal(number) is before


def test_a_signal_ends_a_pause() -> None:
    with Signals(lambda: None) as signals:
        timer = send_soon(signal.SIGTERM)
        began = time.monotonic()
        signals.pause(LONG)
        assert signals.number == signal.SIGTERM
        assert time.monotonic() - began < LONG / 2
        signals.pause(LONG)
        assert time.monotonic() - began < LONG / 2
        timer.join()


def test_a_pause_is_over_without_a_signal() -> None:
    with Signals(lambda: None) as signals:
        signals.pause(0.01)
        assert signals.number is None


def test_a_signal_ends_the_wait_for_a_full_pipe() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while can_write(writing, 0.01):
        os.write(writing, bytes(4096))
    with Signals(lambda: None) as signals:
        timer = send_soon(signal.SIGTERM)
        assert not signals.wait(writing)
        assert signals.number == signal.SIGTERM
        os.read(reading, 65536)
        assert can_write(writing, LONG)
        # The signal ends the command even if there is room.
        assert not signals.wait(writing)
        timer.join()
    os.close(reading)
    os.close(writing)


def test_a_request_for_figures_is_met_while_a_pipe_is_full() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while can_write(writing, 0.01):
        os.write(writing, bytes(4096))
    with Signals(lambda: None) as signals:
        reported = threading.Event()
        signals.report = reported.set
        timer = send_soon(signal.SIGUSR1)

        has_read = threading.Event()

        def read() -> None:
            assert reported.wait(LONG)
            time.sleep(0.2)  # a wait that had ended by the signal would be noticed
            has_read.set()
            os.read(reading, 65536)

        reader = threading.Thread(target=read)
        reader.start()
        # It goes on waiting until the pipe is read.
        assert signals.wait(writing)
        assert has_read.is_set()
        reader.join()
        timer.join()
    os.close(reading)
    os.close(writing)


def test_a_request_for_figures_ends_no_pause() -> None:
    with Signals(lambda: None) as signals:
        began = time.monotonic()
        timer = send_soon(signal.SIGUSR1)
        signals.pause(0.5)
        assert time.monotonic() - began >= 0.5
        assert signals.number is None
        timer.join()


def test_an_empty_pipe_needs_no_wait() -> None:
    reading, writing = os.pipe()
    with Signals(lambda: None) as signals:
        assert signals.wait(writing)
    os.close(reading)
    os.close(writing)


def test_a_signal_that_is_sent_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timeout(1) does: to the program, and to the group that it is in."""
    clock = iter([100.0, 100.0 + REPEAT_WINDOW / 2])
    monkeypatch.setattr("pystreamredis.command.signals.monotonic", lambda: next(clock))
    stopped: list[bool] = []
    with Signals(lambda: stopped.append(True)) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.number == signal.SIGTERM
    assert stopped == [True]


def test_a_second_signal_later_acts_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.0 + REPEAT_WINDOW])
    monkeypatch.setattr("pystreamredis.command.signals.monotonic", lambda: next(clock))

    def interrupt_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with Signals(lambda: None) as signals, pytest.raises(KeyboardInterrupt):
        interrupt_twice()
    assert signals.number == signal.SIGINT


def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(lambda: None) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.number is None
    finally:
        signal.signal(signal.SIGHUP, before)
