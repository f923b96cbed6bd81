"""`Hub` for asyncio: many followers, each a `Streams`, over a few connections."""

from __future__ import annotations

import asyncio
from time import monotonic

from .. import following
from ..io.event_loop import Driver, Poller
from .streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ..core.delivery import Batch
    from ..core.reader import Reader
    from ..io.connection import Connection
    from ..io.engine import Steps


class Hub(following.Hub):
    """Shares a few connections among many followers, each with positions of its own.

    ::

        hub = Hub("localhost", 6379)
        async with hub.follow({"run:42": last_event_id}) as messages:
            async for name, index, data in messages:
                ...

    A stream that several follow is read once. A follower that is behind catches up by reads that do
    not block, over one more connection, and joins the others when it has read everything. One that
    is slow is put back to catching up: no queue grows, since the stream is the buffer.

    A task of its own reads, from the first follower on to the last one's end. All followers share
    its event loop.

    Args:
        host: Like every other argument but these, a connection option of `Streams`.
        connections: Largest number of connections over which the streams are spread, 1 to
            1,000; None for one for each hundred of them, and at most a hundred. Followers that
            are behind have one more.
        max_bytes: Memory for replies that are being read, in bytes, about; at least 1,024.
    """

    _pump: Driver | None = None
    _task: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all followers, and disconnect."""
        for messages in list(self._followers):
            await messages.aclose()
        if self._task is not None:
            await asyncio.wait([self._task])

    def _start(self) -> None:
        """Have a task read, if none does.

        Raises:
            RuntimeError: One does so on another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._pump is not None and self._loop is not loop:
            raise RuntimeError("this hub has followers on another event loop; make one on each")
        self._loop = loop
        if self._pump is None:
            poller = Poller()
            self._pump = pump = Driver(self._core.reader, poller)
            self._core.bell = poller.wake
            self._task = asyncio.ensure_future(self._read(pump))

    async def _read(self, pump: Driver) -> None:
        try:
            await pump.run(pump.next_batch)
        except Exception as error:  # noqa: BLE001 - nobody else would ever learn of it
            self._fail(error)
        finally:
            self._core.bell = bool
            self._core.reader.rewind()
            pump.close()
            self._pump = None


class Bell(Poller):
    """A wait without sockets, which the hub ends."""

    async def wait(self, timeout: float | None) -> list[Connection]:
        """Wait for some seconds or for ever."""
        self._news = asyncio.get_running_loop().create_future()
        if timeout is not None and (time := monotonic() + timeout) < self._alarm_at:
            self._set_alarm(time)
        try:
            await self._news
        finally:
            self._news = None
        return []


class FollowerDriver(Driver):
    """Runs the operations of one follower for one task at a time."""

    def __init__(self, hub: Hub, reader: Reader, bell: Bell) -> None:
        super().__init__(reader, bell)
        self._hub = hub

    async def run(self, operation: Callable[[], Steps], *, is_change: bool = False) -> Batch:
        """Run an operation of the engine to its end, while the hub reads."""
        follower: Any = self._reader
        if not self.is_closed:
            self._hub._core.join(follower)
            self._hub._start()
        return await super().run(operation, is_change=is_change)

    def close(self) -> None:
        """End what is under way, and leave the hub."""
        super().close()
        follower: Any = self._reader
        self._hub._core.depart(follower)
        self._hub._core.bell()


class Followed(Streams):
    """The messages of one follower of a hub."""

    _hub: Hub
    _reader: Any
    _driver: FollowerDriver | None = None

    @property
    def _reader_class(self) -> Any:
        return self._hub._make_follower

    def _begin(self) -> None:
        bell = Bell()
        self._reader.bell = bell.wake
        self._driver = FollowerDriver(self._hub, self._reader, bell)

    def __del__(self) -> None:
        if self._driver is not None:
            self._hub._core.depart(self._reader)  # perhaps in another thread


Hub._followed_class = Followed
