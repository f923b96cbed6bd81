"""The shell for asyncio: a poller whose waits are awaited.

Whatever was received is given to the reader by the task that wants messages, between two
awaits. So wherever that task is cancelled, nothing is half done.
"""

from __future__ import annotations

import asyncio
from math import inf
from threading import Thread
from time import monotonic

from ..core.delivery import EMPTY
from ..exceptions import RedisError
from ..options import is_async
from .connection import READ, WRITE
from .engine import Engine, Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any

    from ..core.delivery import Batch
    from ..core.reader import Reader
    from ..starts import Followed
    from .connection import Connection
    from .engine import Steps
    from .thread_poll import ThreadPoll


class LookUp:
    """A call in a thread of its own: the threads of the event loop may all be busy."""

    def __init__(self, function: Callable[[], Any], notify: Callable[[], None]) -> None:
        self._outcome: Callable[[], Any] | None = None
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                outcome = _raising(error)
            else:
                outcome = lambda: value  # noqa: E731
            self._outcome = outcome
            try:
                loop.call_soon_threadsafe(notify)
            except RuntimeError:
                pass  # the loop was closed meanwhile

        try:
            Thread(target=work, name="pystreamredis look-up", daemon=True).start()
        except RuntimeError as error:
            raise OSError(f"no thread for a look-up: {error}") from error

    def done(self) -> bool:
        """Return True if the call has ended."""
        return self._outcome is not None

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        assert self._outcome is not None  # noqa: S101 - asked for after done()
        return self._outcome()

    def cancel(self) -> None:
        """Do nothing: no thread can be ended."""


def _raising(error: BaseException) -> Callable[[], Any]:
    def outcome() -> Any:
        raise error

    return outcome


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
            return LookUp(function, notify)

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


class Driver(Engine):
    """Runs the engine's operations for one task at a time; any task may call `close`."""

    _poller: Poller

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader, Poller())
        # The event loop, and the process, in which it was first used.
        self._home: tuple[asyncio.AbstractEventLoop, int] | None = None
        # The task that is at work.
        self._task: asyncio.Task[Any] | None = None
        # True while it changes the streams: then others wait for their turn.
        self._is_changing = False
        # Set once a change was made, or the turn of other tasks has come.
        self._news: asyncio.Future[None] | None = None
        # True if an exception was not tidied up after, since another one came amid that.
        self._is_torn = False

    async def run(self, operation: Callable[..., Steps], *arguments: Any) -> Batch:
        """Run an operation of the engine to its end.

        Raises:
            RuntimeError: Another task is at it, or another event loop or process.
            RedisError, ValueError, TypeError: As the operation.
        """
        here = asyncio.get_running_loop(), Engine.forks
        self._home = self._home or here
        if self._home != here:
            raise RuntimeError(
                "these connections belong to another event loop, or to the parent of this "
                "process; make a new Streams(streams=positions) on each"
            )
        while self._task is not None:
            if not self._is_changing or self._task is asyncio.current_task():
                raise RuntimeError("another task is iterating, expected one at a time")
            await self._wait_for_news()
        if self.is_closed:
            return EMPTY
        steps = operation(*arguments)
        self._task = asyncio.current_task()
        self._is_changing = operation == self.carry_out
        try:
            if self._is_torn:
                self._tidy_up()
            timeout = next(steps)
            while True:
                timeout = steps.send(await self._poller.wait(timeout))
        except StopIteration as done:
            batch: Batch = done.value
            return batch
        except (RedisError, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            # It may have come amid the reader's work: what was half done is done again.
            self._is_torn = True
            self._tidy_up()
            raise
        finally:
            # The next task may go on, even where another exception comes amid this.
            try:
                steps.close()
                self.write_log()
            finally:
                self._is_changing = False
                self._task = None
                self._notify()

    async def change(self, operation: Callable[..., Steps], *arguments: Any) -> None:
        """Run an operation that changes the streams, also while another task waits.

        Raises:
            RuntimeError: It is called amid the work of this very task, by `fields`, say.
            RedisError, ValueError, TypeError: As the operation.
        """
        self._refuse_itself()
        order = Order(lambda: operation(*arguments), self._notify)
        try:
            self._orders.append(order)
            while not (order.is_done or self.is_closed):
                if self._task is None:
                    await self.run(self.carry_out)
                    continue
                self._poller.wake()
                await self._wait_for_news()
        finally:
            if not order.is_done and order in self._orders:
                self._orders.remove(order)
        if order.error is not None:
            raise order.error

    def drop(self, names: Iterable[Followed]) -> None:
        """Drop streams, also while another task waits."""
        self._refuse_itself()
        self._reader.discard(names)
        if self._home is not None and self._home[1] == Engine.forks:
            self.end_unused()
        self._poller.wake()

    def close(self) -> None:
        """End what is under way in whichever task, and free the connections."""
        self.is_closed = True
        if self._home is None:
            return
        if self._home[1] != Engine.forks:
            # The parent's event loop is the same: it would stop watching its sockets, too.
            self._poller.abandon()
            self.disconnect()
            return
        self._poller.wake()
        self.disconnect()
        self._poller.close()

    def _refuse_itself(self) -> None:
        if self._task is not None and self._task is asyncio.current_task():
            raise RuntimeError("streams cannot be added or dropped amid a call of anext()")

    async def _wait_for_news(self) -> None:
        self._news = self._news or asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _notify(self) -> None:
        """Wake tasks that wait for a change, or for their turn."""
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def _tidy_up(self) -> None:
        self._reader.rewind()
        self.disconnect()
        self._poller.reset()
        self._is_torn = False
