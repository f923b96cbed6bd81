"""A stand-in for `Streams`, for tests of the programs that use it: no server, no connection."""

from __future__ import annotations

from collections import deque
from itertools import chain
from threading import Condition

from .exceptions import ConnectionError
from .protocol.ids import id_of, number_of
from .starts import check_names, parse_start, parse_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, Self

    from .starts import Followed, Start, StreamsArgument


class Timeout:
    """The type of `TIMEOUT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TIMEOUT"


TIMEOUT = Timeout()
"""An item of `Recorded`: a wait that ends without a message."""


class _History:
    """All messages that were recorded.

    Attributes:
        messages: The messages of each stream, by its name.
    """

    def __init__(self) -> None:
        self.messages: dict[Any, list[tuple[Any, Any, Any]]] = {}

    def add(self, item: Any) -> None:
        """Check an item, and keep it if it is a message."""
        if isinstance(item, (Exception, Timeout)):
            return
        if not (isinstance(item, tuple) and len(item) == 3):
            raise TypeError(
                f"{item!r} is neither a message (name, id, data) nor an exception nor TIMEOUT"
            )
        name, entry_id, _ = item
        last = self.last(name)
        if number_of(entry_id) <= number_of(last):
            raise ValueError(
                f"stream {name!r}: {entry_id!r} comes after {last!r}, but IDs of a stream grow"
            )
        self.messages.setdefault(name, []).append(item)

    def last(self, name: Any, before: int = 0) -> Any:
        """Return the ID of the last message of a stream, or of one before it."""
        messages = self.messages.get(name, [])
        return messages[-1 - before][1] if len(messages) > before else b"0-0"

    def as_recorded(self, entry_id: bytes | str) -> bytes | str:
        """Return an ID as bytes or text, as those of the messages are."""
        for messages in self.messages.values():
            if isinstance(messages[0][1], str):
                return id_of(number_of(entry_id)).decode()
            break
        return id_of(number_of(entry_id))


class Recorded:
    """Delivers recorded messages as `Streams` does, by ``for`` and by ``async for``.

    ::

        streams = Recorded([
            ("Stream0", b"1529416095111-4", {b"index": b"21"}),
            ConnectionError("the server went down"),
            TIMEOUT,
            ("Stream0", b"1530403200000-9", {b"index": b"22"}),
        ])

    Messages are delivered in the order in which they are given. After the last one every wait is
    a timeout; it comes at once unless `block` is given. Nothing waits after a failure.

    Args:
        items: Messages, failures and timeouts. A failure is an exception, raised when its turn
            comes; a `ConnectionError` is returned if `raise_connection_exceptions` is False.
        streams: Streams to follow, as `Streams` takes them, so a program can resume from
            positions; by default all streams from their beginning.
        block: Longest wait for an item that another thread records, in ms; 0 for ever.
        stop_on_timeout: As with `Streams`: False ends the iteration.
        timeout_response: The value that is returned for a timeout otherwise.
        raise_connection_exceptions: Raise a `ConnectionError`; otherwise it is returned.
        named_streams: Streams and their start values.

    Raises:
        ValueError, TypeError: As `Streams`, or an item that is none.
    """

    def __init__(
        self,
        items: Iterable[Any] = (),
        streams: StreamsArgument | None = None,
        *,
        block: int | None = None,
        stop_on_timeout: bool = False,
        timeout_response: object = None,
        raise_connection_exceptions: bool = True,
        **named_streams: Start,
    ) -> None:
        self._block = block
        self._goes_on = stop_on_timeout
        self._timeout_response = timeout_response
        self._raises = raise_connection_exceptions
        self._is_closed = False
        self._changed = Condition()
        # Functions that wake the tasks which wait.
        self._wakers: list[Callable[[], object]] = []
        self._history = _History()
        self._due: deque[Any] = deque()
        self._positions: dict[Any, bytes | str] = {}
        self._delivered = self._outages = 0
        self._follows_all = streams is None and not named_streams
        if self._follows_all:
            self.record(*items)
            return
        # First the messages, among which the starts are found.
        items = list(items)
        for item in items:
            self._history.add(item)
        self._follow(streams, named_streams)
        self._due.extend(item for item in items if self._is_wanted(item))

    @property
    def positions(self) -> dict[Any, Any]:
        """For each stream the ID of the last message that was delivered, or its start."""
        return dict(self._positions)

    @property
    def caught_up(self) -> bool:
        """True if no recorded message is left."""
        return not any(isinstance(item, tuple) for item in self._due)

    def stats(self) -> dict[str, Any]:
        """Return figures as `Streams.stats` does; an outage is a `ConnectionError`."""
        streams = {}
        for name, position in list(self._positions.items()):
            last = max(self._history.last(name), position, key=number_of)
            streams[name] = {
                "position": position,
                "last": last,
                "lag_ms": (number_of(last) >> 64) - (number_of(position) >> 64),
            }
        return {
            "connected": not self._is_closed,
            "outages": self._outages,
            "answered": 0.0,
            "delivered": self._delivered,
            "gaps": 0,
            "late": 0,
            "streams": streams,
        }

    def record(self, *items: Any) -> None:
        """Add items to deliver, from any thread; it ends a wait for them.

        Raises:
            ValueError: The ID of a message is not after those of its stream.
            TypeError: An item is no message, failure or timeout.
        """
        with self._changed:
            for item in items:
                is_new = isinstance(item, tuple) and item[0] not in self._history.messages
                self._history.add(item)
                if self._follows_all and is_new:
                    self._positions.setdefault(item[0], self._history.as_recorded(b"0-0"))
                if self._is_wanted(item):
                    self._due.append(item)
            self._notify()

    def add(
        self, /, streams: StreamsArgument | None = None, **named_streams: Start
    ) -> _AddedAlready:
        """Follow more streams; what is recorded of them after their start comes next.

        Returns:
            An object that may be awaited, as with `pystreamredis.asyncio`.

        Raises:
            ValueError, TypeError: A bad name or start value, or a stream that is followed already.
        """
        with self._changed:
            added = self._follow(streams, named_streams)
            messages = self._history.messages
            recorded = chain.from_iterable(messages.get(name, ()) for name in added)
            earlier = sorted(filter(self._is_wanted, recorded), key=lambda m: number_of(m[1]))
            self._due.extendleft(reversed(earlier))
            self._notify()
        return _AddedAlready()

    def discard(self, *names: Followed) -> None:
        """Drop streams, with their messages that were not delivered yet."""
        check_names(names)
        with self._changed:
            for name in names:
                self._positions.pop(name, None)
            self._due = deque(item for item in self._due if self._is_wanted(item))

    def batches(self, n: int) -> _Batches:
        """Iterate over lists of 1 to `n` messages; ``[]`` is a timeout that goes on."""
        if n < 1:
            raise ValueError(f"n is {n}, but must be at least 1")
        return _Batches(self, n)

    def close(self) -> None:
        """End the iteration, also one that waits elsewhere."""
        with self._changed:
            self._is_closed = True
            self._notify()

    async def aclose(self) -> None:
        """End the iteration, also one that waits elsewhere."""
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        found = self._wait(1)
        if found is None:
            raise StopIteration
        return self._only(found)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        found = await self._wait_in_task(1)
        if found is None:
            raise StopAsyncIteration
        return self._only(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # Which items are delivered.

    def _follow(self, streams: StreamsArgument | None, named: dict[str, Start]) -> set[Any]:
        added: dict[Any, bytes | str] = {}
        for name, start in parse_streams(streams, named):
            if name in self._positions or name in added:
                raise ValueError(f"stream {name!r} is given twice, or followed already")
            found = parse_start(name, start)
            if isinstance(found, int):
                found = self._history.last(name, found)
            added[name] = self._history.as_recorded(found)
        self._positions |= added
        return set(added)

    def _is_wanted(self, item: Any) -> bool:
        if not isinstance(item, tuple):
            return True
        position = self._positions.get(item[0])
        return position is not None and number_of(item[1]) > number_of(position)

    # Waiting.

    def _wait(self, most: int) -> list[Any] | ConnectionError | None:
        """Take up to so many messages; ``[]`` for a timeout, or a failure; None at the end."""
        with self._changed:
            if self._block is not None:
                seconds = self._block / 1000 if self._block else None
                self._changed.wait_for(lambda: self._due or self._is_closed, seconds)
            return self._take(most)

    async def _wait_in_task(self, most: int) -> list[Any] | ConnectionError | None:
        import asyncio

        loop = asyncio.get_running_loop()
        seconds = self._block / 1000 if self._block else None
        deadline = None if seconds is None else loop.time() + seconds
        while True:
            with self._changed:
                left = None if deadline is None else deadline - loop.time()
                is_over = self._block is None or (left is not None and left <= 0)
                if self._due or self._is_closed or is_over:
                    return self._take(most)
                recorded: Future[None] = loop.create_future()
                self._wakers.append(lambda: loop.call_soon_threadsafe(_wake, recorded))  # noqa: B023
            await asyncio.wait([recorded], timeout=left)

    def _notify(self) -> None:
        self._changed.notify_all()
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    def _take(self, most: int) -> list[Any] | ConnectionError | None:
        due = self._due
        if self._is_closed:
            return None
        if not due or isinstance(due[0], Timeout):
            if due:
                due.popleft()
            return [] if self._goes_on else None
        if isinstance(due[0], Exception):
            error = due.popleft()
            self._outages += isinstance(error, ConnectionError)
            if isinstance(error, ConnectionError) and not self._raises:
                return error
            raise error
        found: list[Any] = []
        while due and len(found) < most and isinstance(due[0], tuple):
            found.append(due.popleft())
            self._positions[found[-1][0]] = found[-1][1]
            self._delivered += 1
        return found

    def _only(self, found: list[Any] | ConnectionError) -> Any:
        if isinstance(found, ConnectionError):
            return found
        return found[0] if found else self._timeout_response


class _Batches:
    def __init__(self, recorded: Recorded, n: int) -> None:
        self._recorded = recorded
        self._n = n

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        found = self._recorded._wait(self._n)
        if found is None:
            raise StopIteration
        return found

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        found = await self._recorded._wait_in_task(self._n)
        if found is None:
            raise StopAsyncIteration
        return found


class _AddedAlready:
    def __await__(self) -> Generator[None, None, None]:
        return
        yield


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
