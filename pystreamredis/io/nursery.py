"""The shell for trio: a poller that waits for each socket in a task of its own."""

from __future__ import annotations

from math import inf

import trio
from outcome import acapture
from trio.lowlevel import current_trio_token, spawn_system_task, wait_readable, wait_writable

from ..options import is_async
from .connection import READ, WRITE
from .tasks import LookUp, TaskDriver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from typing import Any, ClassVar

    from outcome import Outcome

    from ..core.reader import Reader
    from .connection import Connection


class Call:
    """A call of an async function in a task of its own, which outlives a wait."""

    def __init__(self, function: Callable[[], Awaitable[Any]], notify: Callable[[], None]) -> None:
        self._outcome: Outcome[Any] | None = None
        self._scope = trio.CancelScope()
        self.cancel: Callable[[], object] = self._scope.cancel

        async def work() -> None:
            with self._scope:
                self._outcome = await acapture(function)
            notify()

        spawn_system_task(work)

    def done(self) -> bool:
        """Return True if the call has ended."""
        return self._outcome is not None

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        assert self._outcome is not None  # noqa: S101 - asked for after done()
        return self._outcome.unwrap()


class Poller:
    """Watches sockets while a task waits for them."""

    def __init__(self) -> None:
        # By socket: what it is watched for, and its owner.
        self._watched: dict[socket.socket, tuple[int, Connection]] = {}
        self._ready: dict[Connection, None] = {}
        # The scope of the wait that is under way.
        self._scope: trio.CancelScope | None = None

    def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
        """Watch a socket for `READ`, `WRITE` or both from now on, for its owner."""
        self._watched[sock] = events, owner

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket, which is about to be closed."""
        known = self._watched.pop(sock, None)
        if known is not None:
            self._ready.pop(known[1], None)
            self.wake()

    def look_up(self, function: Callable[[], Any], owner: Connection) -> LookUp | Call:
        """Call what may block in a thread, or await it; the owner has to respond after that."""

        def notify() -> None:
            self._ready[owner] = None
            self.wake()

        if is_async(function):
            return Call(function, notify)
        token = current_trio_token()
        return LookUp(function, lambda: token.run_sync_soon(notify))

    def wake(self) -> None:
        """End the wait, if there is one."""
        if self._scope is not None:
            self._scope.cancel()

    async def wait(self, timeout: float | None) -> list[Connection]:
        """Wait until sockets are ready, for some seconds or for ever; return their owners."""
        if self._ready:
            timeout = 0.0
        deadline = inf if timeout is None else trio.current_time() + timeout
        try:
            with trio.CancelScope() as self._scope:
                await self._wait_for_any(self._scope, deadline)
        finally:
            self._scope = None
        ready = list(self._ready)
        self._ready.clear()
        return ready

    async def _wait_for_any(self, scope: trio.CancelScope, deadline: float) -> None:
        watched = [
            (wait, sock, owner)
            for sock, (events, owner) in self._watched.items()
            for event, wait in ((READ, wait_readable), (WRITE, wait_writable))
            if events & event
        ]
        if len(watched) == 1:
            scope.deadline = deadline
            await self._wait_for(*watched[0])
            return
        async with trio.open_nursery() as nursery:
            for arguments in watched:
                nursery.start_soon(self._wait_for, *arguments)
            # They wait from the next turn on, and a deadline must not come before that.
            await trio.lowlevel.checkpoint()
            scope.deadline = deadline
            await trio.sleep_forever()

    async def _wait_for(
        self,
        wait: Callable[[socket.socket], Awaitable[None]],
        sock: socket.socket,
        owner: Connection,
    ) -> None:
        if sock not in self._watched:  # any more; it may be closed
            return
        try:
            await wait(sock)
        except OSError as error:
            owner.break_off(error)
        self._ready[owner] = None
        self.wake()

    def reset(self) -> None:
        """Watch no socket any more."""
        self._watched.clear()
        self._ready.clear()

    def close(self) -> None:
        """Free what it holds."""
        self.wake()
        self.reset()

    def abandon(self) -> None:
        """Leave everything to the parent of this process, which has the same event loop."""
        self._scope = None
        self.reset()


class Driver(TaskDriver):
    """Runs the engine's operations for tasks of trio."""

    get_loop: ClassVar[staticmethod[[], Any]] = staticmethod(current_trio_token)
    get_task: ClassVar[staticmethod[[], Any]] = staticmethod(trio.lowlevel.current_task)
    make_event: ClassVar[type[Any]] = trio.Event
    cancelled: ClassVar[type[BaseException]] = trio.Cancelled

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader, Poller())
