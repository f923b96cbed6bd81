"""Watching sockets on Windows: without `select.poll`, and for an event loop that cannot."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from threading import Event, Thread

from .connection import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

# Ms between two looks at whether the event loop was closed without a word.
_PATIENCE = 10_000


class SelectPoll:
    """A replacement for `select.poll`, which Windows lacks.

    One thread may register descriptors while another one polls: it then learns of them when it
    polls again.
    """

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, fd: int, events: int) -> None:
        """Watch a descriptor.

        Raises:
            OSError: `select` takes no more descriptors.
        """
        before = self._events.get(fd)
        self._events[fd] = events
        try:
            self.poll(0)
        except ValueError as error:
            del self._events[fd]
            if before is not None:
                self._events[fd] = before
            raise OSError(f"this system cannot watch so many sockets: {error}") from error

    def unregister(self, fd: int) -> None:
        """Stop watching a descriptor."""
        self._events.pop(fd, None)

    def poll(self, ms: float) -> list[tuple[int, int]]:
        """Wait until descriptors are ready, for some ms."""
        watched = list(self._events.items())
        read = [fd for fd, events in watched if events & READ]
        write = [fd for fd, events in watched if events & WRITE]
        # A connection that fails is an exceptional one on Windows.
        ready = select.select(read, write, write, ms / 1000)
        return [(fd, 0) for fd in dict.fromkeys(fd for fds in ready for fd in fds)]


class ThreadPoll:
    """Watches sockets in a daemon thread. All methods are for the thread of the event loop.

    Args:
        loop: The event loop.
        notify: Is called in the event loop with each socket that is ready, over and over for as
            long as it is watched.

    Raises:
        OSError: No descriptor, or no thread, is left.
    """

    def __init__(self, loop: AbstractEventLoop, notify: Callable[[socket.socket], object]) -> None:
        self._loop = loop
        self._notify = notify
        self._poll = SelectPoll()
        self._watched: dict[int, socket.socket] = {}
        self._is_closed = False
        # Set once the event loop has handled what the thread found.
        self._handled = Event()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._poll.register(self._woken.fileno(), READ)
        try:
            Thread(target=self._work, name="pystreamredis sockets", daemon=True).start()
        except RuntimeError as error:
            self._free()
            raise OSError(f"no thread to watch sockets: {error}") from error

    def watch(self, sock: socket.socket, fd: int, events: int) -> None:
        """Watch a socket from now on.

        Raises:
            OSError: Too many sockets are watched.
        """
        self._poll.register(fd, events)
        self._watched[fd] = sock
        self._interrupt()

    def forget(self, fd: int) -> None:
        """Stop watching a socket."""
        self._poll.unregister(fd)
        self._watched.pop(fd, None)
        self._interrupt()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._handled.set()
        self._interrupt()

    def _interrupt(self) -> None:
        with suppress(OSError):  # full of bytes that interrupt, or closed
            self._wake.send(b"\0")

    def _work(self) -> None:
        """Wait for sockets, again and again; the thread does nothing else."""
        woken = self._woken.fileno()
        while not self._is_closed and not self._loop.is_closed():
            try:
                ready = self._poll.poll(_PATIENCE)
            except (OSError, ValueError):
                continue  # a socket was closed that was watched a moment ago
            with suppress(OSError):
                self._woken.recv(4096)
            found = [(fd, self._watched.get(fd)) for fd, _ in ready if fd != woken]
            if found:
                self._handled.clear()
                if self._is_closed:
                    break
                try:
                    self._loop.call_soon_threadsafe(self._handle, found)
                except RuntimeError:
                    break  # the loop was closed meanwhile
                self._handled.wait(_PATIENCE / 1000)
        self._free()

    def _handle(self, found: list[tuple[int, socket.socket | None]]) -> None:
        try:
            for fd, sock in found:
                # A descriptor may have been closed and used again since.
                if sock is not None and self._watched.get(fd) is sock:
                    self._notify(sock)
        finally:
            self._handled.set()

    def _free(self) -> None:
        self._wake.close()
        self._woken.close()
