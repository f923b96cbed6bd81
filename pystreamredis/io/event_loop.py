"""The shell for asyncio: a poller for its event loops."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic

from ..options import is_async
from .connection import READ, WRITE
from .tasks import LookUp, TaskDriver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from typing import Any, ClassVar

    from ..core.reader import Reader
    from .connection import Connection
    from .thread_poll import ThreadPoll


async def _await(function: Callable[[], Awaitable[object]]) -> object:
    try:
        return await function()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Not the cancellation of the task that waits for messages.
        raise OSError("it was cancelled") from error


class Poller:
    """Watches sockets on an event loop.

    While nobody waits, what comes is received up to a limit. Beyond it a socket is not watched
    until somebody waits again, or the event loop would report it over and over.
    """

    def __init__(self) -> None:
        # By socket: its descriptor, what it is watched for, and its owner.
        self._watched: dict[socket.socket, tuple[int, int, Connection]] = {}
        # Sockets that the event loop does not watch at present.
        self._idle: dict[socket.socket, None] = {}
        self._ready: dict[Connection, None] = {}
        self._news: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        # The event loop that watches sockets, and the thread that does so instead, if it cannot.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ThreadPoll | None = None

    def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
        """Watch a socket for `READ`, `WRITE` or both from now on, for its owner."""
        known = self._watched.get(sock)
        if known is None or known[1] != events:
            self.forget(sock)
            self._watched[sock] = sock.fileno(), events, owner
            self._idle[sock] = None

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket, which is about to be closed."""
        known = self._watched.pop(sock, None)
        if known is not None:
            self._ready.pop(known[2], None)
            if sock in self._idle:
                del self._idle[sock]
            else:
                self._disarm(known[0], known[1])

    def look_up(
        self, function: Callable[[], Any], owner: Connection
    ) -> LookUp | asyncio.Task[object]:
        """Call what may block in a thread, or await it; the owner has to respond after that."""

        def notify() -> None:
            self._ready[owner] = None
            self.wake()

        if not is_async(function):
            loop = asyncio.get_running_loop()
            return LookUp(function, lambda: loop.call_soon_threadsafe(notify))

        def finish(task: asyncio.Task[object]) -> None:
            # An exception that nobody has looked at would be logged by asyncio.
            if not task.cancelled():
                task.exception()
            notify()

        task = asyncio.ensure_future(_await(function))
        task.add_done_callback(finish)
        return task

    def wake(self) -> None:
        """End the wait, if there is one."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def wait(self, timeout: float | None) -> list[Connection]:
        """Wait until sockets are ready, for some seconds or for ever; return their owners."""
        if self._idle:
            self._arm()
        if not self._ready:
            self._news = asyncio.get_running_loop().create_future()
            if timeout is not None and (time := monotonic() + timeout) < self._alarm_at:
                self._set_alarm(time)
            try:
                await self._news
            finally:
                self._news = None
            if not self._ready:
                # The event loop was busy, or looks at clocks before sockets.
                await _look_around()
        elif timeout == 0.0:
            # Something may be overdue, and have come since the event loop has looked.
            await _look_around()
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def reset(self) -> None:
        """Watch no socket any more."""
        for sock in list(self._watched):
            self.forget(sock)
        self._ready.clear()

    def close(self) -> None:
        """Free what it holds."""
        self._cancel_alarm()
        self.reset()
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def abandon(self) -> None:
        """Leave everything to the parent of this process, which has the same event loop."""
        self._watched.clear()
        self._idle.clear()

    def _arm(self) -> None:
        """Have the event loop watch the sockets that it does not watch at present."""
        self._loop = self._loop or asyncio.get_running_loop()
        for sock in list(self._idle):
            fd, events, owner = self._watched[sock]
            try:
                self._add(self._loop, sock, fd, events)
            except OSError as error:
                self._disarm(fd, events)
                self._ready[owner] = None
                owner.break_off(error)
            else:
                del self._idle[sock]

    def _add(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, fd: int, events: int
    ) -> None:
        if self._thread is None:
            try:
                if events & READ:
                    loop.add_reader(fd, self._is_ready, sock)
                if events & WRITE:
                    loop.add_writer(fd, self._is_ready, sock)
            except NotImplementedError:
                from .thread_poll import ThreadPoll

                self._thread = ThreadPoll(loop, self._is_ready)
            else:
                return
        self._thread.watch(sock, fd, events)

    def _disarm(self, fd: int, events: int) -> None:
        if self._thread is not None:
            self._thread.forget(fd)
        elif self._loop is not None:
            if events & READ:
                self._loop.remove_reader(fd)
            if events & WRITE:
                self._loop.remove_writer(fd)

    def _is_ready(self, sock: socket.socket) -> None:
        fd, events, owner = self._watched[sock]
        if events != READ or not owner.fetch():
            self._disarm(fd, events)
            self._idle[sock] = None
        self._ready[owner] = None
        self.wake()

    def _set_alarm(self, time: float) -> None:
        """End the wait at that time, whichever wait it is.

        An alarm outlives the wait that it was set for. To be woken by it in vain once in a
        while takes less than to set one for each message.
        """
        self._cancel_alarm()
        self._alarm_at = time
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(max(0.0, time - monotonic()), self._ring)

    def _ring(self) -> None:
        self._cancel_alarm()
        self.wake()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, inf


async def _look_around() -> None:
    """Have the event loop look at its sockets, and call whoever waits for them."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Driver(TaskDriver):
    """Runs the engine's operations for tasks of asyncio."""

    get_loop: ClassVar[staticmethod[[], Any]] = staticmethod(asyncio.get_running_loop)
    get_task: ClassVar[staticmethod[[], Any]] = staticmethod(asyncio.current_task)
    make_event: ClassVar[type[Any]] = asyncio.Event
    cancelled: ClassVar[type[BaseException]] = asyncio.CancelledError

    def __init__(self, reader: Reader, poller: Poller | None = None) -> None:
        super().__init__(reader, poller or Poller())
