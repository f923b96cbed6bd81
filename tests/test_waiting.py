"""`pystreamredis.waiting`: waits end by readiness, by time, or from another thread."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest

from pystreamredis.waiting import READ, WRITE, Waiter, Woken
from tests.waits import forget_all, wait_for

# Longer than any wait here may take, so that a wait that is not ended fails the test.
LONG = 60.0


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    with closing(Waiter()) as waiter:
        yield waiter
        forget_all(waiter)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_wait_ends_when_bytes_can_be_read(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    assert wait_for(waiter, ours, READ, LONG)


def test_a_wait_ends_when_the_peer_has_closed(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.close()
    assert wait_for(waiter, ours, READ, LONG)


def test_a_wait_without_anything_to_read_lasts_as_long_as_it_was_told_to(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    began = monotonic()
    assert not wait_for(waiter, ours, READ, 0.05)
    assert 0.045 <= monotonic() - began < LONG


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0, -1e9])
def test_a_wait_whose_time_is_over_looks_once(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket], timeout: float
) -> None:
    ours, theirs = pair
    assert not wait_for(waiter, ours, READ, timeout)
    theirs.send(b"x")
    assert wait_for(waiter, ours, READ, timeout)


@pytest.mark.parametrize("timeout", [0.01, 0.1])
def test_what_came_while_the_process_was_stopped_is_seen(
    waiter: Waiter,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
) -> None:
    """A wait whose time ran out meanwhile ends without a look."""
    ours, theirs = pair
    select = waiter._selector.select

    def stopped_amid(seconds: float) -> list[Any]:
        if seconds:
            sleep(0.2)
            theirs.send(b"x")
            return []
        return select(seconds)

    monkeypatch.setattr(waiter._selector, "select", stopped_amid)
    assert wait_for(waiter, ours, READ, timeout)


def test_a_wait_for_the_time_alone_sees_no_socket(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    assert wait_for(waiter, ours, READ, LONG)
    assert not wait_for(waiter, None, 0, 0.01)


def test_what_is_waited_for_may_change_between_two_waits(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    assert not wait_for(waiter, ours, READ, 0)
    assert wait_for(waiter, ours, WRITE, LONG)
    assert wait_for(waiter, ours, READ | WRITE, LONG)
    assert not wait_for(waiter, ours, READ, 0)


def test_another_socket_may_be_waited_for_after_the_first(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    assert wait_for(waiter, ours, READ, LONG)
    assert not wait_for(waiter, theirs, READ, 0)
    assert wait_for(waiter, ours, READ, LONG)


def test_of_several_sockets_the_owners_of_those_that_are_ready_are_returned(
    waiter: Waiter,
) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    try:
        for number, (ours, _) in enumerate(pairs):
            waiter.watch(ours, READ, number)
        assert waiter.wait(0) == []
        pairs[1][1].send(b"x")
        pairs[3][1].close()
        assert sorted(waiter.wait(LONG)) == [1, 3]
        waiter.forget(pairs[1][0])
        waiter.forget(pairs[1][0])
        assert waiter.wait(LONG) == [3]
        waiter.watch(pairs[4][0], READ | WRITE, 4)
        assert sorted(waiter.wait(LONG)) == [3, 4]
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()


def test_a_socket_that_was_forgotten_may_be_closed_and_its_number_used_again(
    waiter: Waiter,
) -> None:
    """A descriptor that stays registered would hide the next connection's bytes."""
    for _ in range(3):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert not wait_for(waiter, ours, READ, 0)
            theirs.send(b"x")
            assert wait_for(waiter, ours, READ, LONG)
            forget_all(waiter)


def test_another_thread_ends_a_wait_that_has_no_end(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Contract 4.4: a wait can be ended at any time, from another thread."""
    ours, _ = pair
    timer = threading.Timer(0.05, waiter.wake)
    timer.start()
    began = monotonic()
    with pytest.raises(Woken):
        wait_for(waiter, ours, READ, LONG)
    assert monotonic() - began < LONG
    timer.join(LONG)


def test_a_wake_ends_the_waits_that_come_after_it_too(waiter: Waiter) -> None:
    waiter.wake()
    for _ in range(2):
        with pytest.raises(Woken):
            wait_for(waiter, None, 0, LONG)


def test_a_wake_comes_before_what_is_ready(
    waiter: Waiter, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    waiter.wake()
    with pytest.raises(Woken):
        wait_for(waiter, ours, READ, LONG)


def test_waking_never_blocks_and_never_fails(waiter: Waiter) -> None:
    """Contract 4.4: it is called by signal handlers, and after the end as well."""
    for _ in range(100_000):  # more than a socket's buffer takes
        waiter.wake()
    waiter.close()
    waiter.wake()


def test_closing_frees_every_descriptor() -> None:
    waiter = Waiter()
    sockets = [waiter._wake, waiter._woken]
    waiter.close()
    assert [sock.fileno() for sock in sockets] == [-1, -1]
    waiter.close()


class Selector:
    """A selector on a clock of its own: nothing is ever ready, and the time passes at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def select(self, timeout: float) -> list[Any]:
        self.waits.append(timeout)
        self.now += timeout
        return []


@pytest.fixture
def selector(monkeypatch: pytest.MonkeyPatch, waiter: Waiter) -> Iterator[Selector]:
    selector = Selector()
    with monkeypatch.context() as patched:
        patched.setattr(waiter, "_selector", selector)
        patched.setattr("pystreamredis.waiting.monotonic", lambda: selector.now)
        yield selector


@pytest.mark.parametrize("timeout", [0.0, 0.01, 0.05, 0.06, 1.0, 35.0, 200_000.0])
def test_a_wait_lasts_as_long_as_it_was_told_to_in_slices(
    waiter: Waiter, selector: Selector, timeout: float
) -> None:
    assert not wait_for(waiter, None, 0, timeout)
    assert selector.now == pytest.approx(timeout)
    assert max(selector.waits) <= 0.05


def test_a_thread_that_handles_no_signals_is_not_woken_for_them(
    waiter: Waiter, selector: Selector
) -> None:
    thread = threading.Thread(target=waiter.wait, args=(200_000.0,))
    thread.start()
    thread.join(LONG)
    assert selector.now == pytest.approx(200_000.0)
    assert len(selector.waits) <= 5


@pytest.mark.skipif(os.name != "posix", reason="there is no raise() to call")
def test_a_signal_right_before_the_system_waits_is_handled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, waiter: Waiter
) -> None:
    """Contract 4.4: nothing ends that wait, since the signal has been noted already."""
    interrupt = partial(ctypes.CDLL(None)["raise"], signal.SIGINT)

    class Late:
        def select(self, timeout: float) -> list[Any]:
            wait = partial(select.select, [], [], [], timeout)
            # From C, where no handler is run between the two.
            list(map(partial.__call__, (interrupt, wait)))
            return []

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = monotonic()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(waiter, "_selector", Late())
            with pytest.raises(KeyboardInterrupt):
                wait_for(waiter, None, 0, LONG)
    finally:
        signal.signal(signal.SIGINT, before)
    assert monotonic() - began < LONG
