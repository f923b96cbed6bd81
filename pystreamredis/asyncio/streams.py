"""`Streams` and `Redis` for asyncio: what callers see."""

from __future__ import annotations

from .. import awaited, construction
from ..core.reader import Reader
from ..io.event_loop import Driver


class Streams(awaited.Streams):
    """An asynchronous iterator over the messages of many streams, merged and sorted by ID.

    Options, messages, order and errors are those of `pystreamredis.Streams`; calls that
    wait are awaited, and `StopAsyncIteration` takes the place of `StopIteration`.

    The constructor checks its arguments and connects to nothing, since it cannot wait.
    "Now" is fixed for the streams that start now when the first of these is
    through: ``await Streams.connect(...)``, ``async with``, or the first message that is
    asked for.

    A task that is cancelled while it waits for a message loses none, and the next one to
    ask goes on. One task waits at a time, on one event loop; `aclose` may be called from
    any task of it.
    """

    _reader_class = Reader

    def _begin(self) -> None:
        self._driver = Driver(self._reader)


class Redis(construction.Redis):
    """A server's address and credentials, like `pystreamredis.Redis`.

    The `Streams` that `streams` returns are not connected yet, as after their constructor.
    """

    _streams_class = Streams


StrictRedis = Redis
