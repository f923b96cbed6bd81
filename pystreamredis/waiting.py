"""Waiting on sockets, in a way that another thread can end."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from math import inf
from threading import current_thread, main_thread
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


# The longest wait, in seconds, that every system takes.
_LONGEST = 86_400.0
# How late a signal may be handled, in seconds, that comes right before the system is asked
# to wait: nothing ends that wait, and Python runs no handler before it is over.
SLICE = 0.05


class Woken(Exception):
    """Another thread has called `Waiter.wake`."""


class Waiter:
    """A selector, with a pair of sockets of its own that wakes it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._woken, READ)
        self._watched: dict[socket.socket, int] = {}

    def wake(self) -> None:
        """End every wait from now on; for any thread, and for signal handlers."""
        try:
            self._wake.send(b"\0")
        except OSError:
            pass  # it is full of wakes already, or closed: there is no wait to end

    def watch(self, sock: socket.socket, events: int, owner: object = None) -> None:
        """Wait for `READ`, `WRITE` or both of a socket as well from now on, for its owner."""
        if self._watched.get(sock) == events:
            return
        # In such an order that an interruption at any point leaves no lie behind.
        self._watched[sock] = 0
        with suppress(KeyError):  # also of one that had its descriptor, and was not forgotten
            self._selector.unregister(sock)
        self._selector.register(sock, events, owner)
        self._watched[sock] = events

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket, which is about to be closed, or is already."""
        if sock not in self._watched:
            return
        with suppress(KeyError, ValueError, OSError):
            self._selector.unregister(sock)
        del self._watched[sock]

    def wait(self, timeout: float | None) -> list[Any]:
        """Wait until sockets are ready, for so many seconds or for ever; return their owners.

        Raises:
            Woken: The wait was ended from elsewhere.
        """
        ready = self._select(inf if timeout is None else timeout)
        if any(key.fileobj is self._woken for key, _ in ready):
            raise Woken
        return [key.data for key, _ in ready]

    def close(self) -> None:
        """Free what it holds."""
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _select(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in slices, between which signals are handled, where they are: in the main thread.

        `signal.set_wakeup_fd` would do without, but is the application's to set.
        """
        deadline = monotonic() + timeout
        ready = self._selector.select(max(0.0, min(timeout, SLICE)))
        if ready or timeout <= 0:
            return ready
        slice_ = SLICE if current_thread() is main_thread() else _LONGEST
        while not ready and (left := deadline - monotonic()) > 0:
            ready = self._selector.select(min(left, slice_))
        # A process that was stopped meanwhile has not looked since.
        return ready or self._selector.select(0)
