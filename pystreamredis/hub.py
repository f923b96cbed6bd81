"""`Hub` for threads: many followers, each a `Streams`, over a few connections."""

from __future__ import annotations

from contextlib import suppress
from threading import RLock, Thread

from . import following
from .io.blocking import Driver, Poller
from .io.engine import Engine
from .streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from .construction import Servers
    from .core.delivery import Batch
    from .core.reader import Reader
    from .io.blocking import Called
    from .io.connection import Connection
    from .io.engine import Steps


class Hub(following.Hub):
    """Shares a few connections among many followers, each with positions of its own.

    ::

        hub = Hub("localhost", 6379)
        with hub.follow({"run:42": last_event_id}) as messages:
            for name, index, data in messages:
                ...

    See `pystreamredis.asyncio.Hub`. A daemon thread reads, from the first follower on to the last
    one's end; followers may be used from any threads.

    Args:
        host: Like every other argument but these, a connection option of `Streams`.
        connections: Largest number of connections over which the streams are spread, 1 to
            1,000; None for one for each hundred of them, and at most a hundred. Followers that
            are behind have one more.
        max_bytes: Memory for replies that are being read, in bytes, about; at least 1,024.
    """

    _pump: SharedDriver | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all followers, and disconnect."""
        for messages in list(self._followers):
            messages.close()

    def _share(self, servers: Servers, connections: int | None, max_bytes: int) -> None:
        super()._share(servers, connections, max_bytes)
        # Held by whoever works on what followers and the reader share, but not while it waits.
        self._lock = RLock()

    def _start(self) -> None:
        """Have a thread read, if none does. Called with the lock."""
        if self._pump is None:
            poller = SharedPoller(self._lock)
            self._pump = pump = SharedDriver(self._core.reader, poller, self._lock)
            self._core.bell = poller.nudge
            Thread(target=self._read, args=(pump,), name="pystreamredis hub", daemon=True).start()

    def _read(self, pump: SharedDriver) -> None:
        while True:
            try:
                pump.run(pump.next_batch)
            except Exception as error:  # noqa: BLE001 - nobody else would ever learn of it
                with self._lock:
                    self._fail(error)
            with self._lock:
                if not self._core.followers:
                    self._core.bell = bool
                    self._core.reader.rewind()
                    self._pump = None
                    break
        pump.close()


class SharedPoller(Poller):
    """A poller that frees the lock of a hub while it waits."""

    def __init__(self, lock: Any) -> None:
        super().__init__()
        self._lock = lock

    def wait(self, timeout: float | None) -> list[Connection]:
        """Wait until sockets are ready, or for the hub; return the owners of sockets."""
        self._lock.release()
        try:
            return super().wait(timeout)
        finally:
            self._lock.acquire()

    def look_up(self, function: Callable[[], Any], owner: Connection) -> Called:
        """Have what may block called by the owner, while others go on."""

        def call() -> Any:
            self._lock.release()
            try:
                return function()
            finally:
                self._lock.acquire()

        return super().look_up(call, owner)


class SharedDriver(Driver):
    """Runs the operations of a hub's reader, or of a follower, for one thread at a time."""

    def __init__(self, reader: Reader, poller: SharedPoller, lock: Any) -> None:
        super().__init__(reader, poller)
        self._lock = lock

    def run(self, operation: Callable[[], Steps], *, is_change: bool = False) -> Batch:
        """Run an operation of the engine to its end, with the lock of the hub."""
        if self._forks != Engine.forks:
            return super().run(
                operation, is_change=is_change
            )  # raises, without a lock that may be taken
        try:
            self._lock.acquire()
            return super().run(operation, is_change=is_change)
        finally:
            # An interruption may have come before it was taken.
            with suppress(RuntimeError):
                self._lock.release()

    def _tidy_up(self) -> None:
        with self._lock:
            super()._tidy_up()

    def _may_try_again(self, *, is_change: bool) -> bool:
        self._lock.release()
        try:
            return super()._may_try_again(is_change=is_change)
        finally:
            self._lock.acquire()


class FollowerDriver(SharedDriver):
    """Runs the operations of one follower."""

    def __init__(self, hub: Hub, reader: Reader, poller: SharedPoller) -> None:
        super().__init__(reader, poller, hub._lock)
        self._hub = hub

    def run(self, operation: Callable[[], Steps], *, is_change: bool = False) -> Batch:
        """Run an operation of the engine to its end, while the hub reads."""
        follower: Any = self._reader
        if not self.is_closed and self._forks == Engine.forks:
            with self._hub._lock:
                self._hub._core.join(follower)
                self._hub._start()
        return super().run(operation, is_change=is_change)

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

    @property
    def _reader_class(self) -> Any:
        return self._hub._make_follower

    def _begin(self) -> None:
        poller = SharedPoller(self._hub._lock)
        self._reader.bell = poller.nudge
        self._driver = driver = FollowerDriver(self._hub, self._reader, poller)
        try:
            driver.run(driver.establish)
        except BaseException:
            self.close()
            raise


Hub._followed_class = Followed
