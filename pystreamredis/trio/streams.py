"""`Streams` and `Redis` for trio: what callers see."""

from __future__ import annotations

from .. import awaited, construction
from ..core.reader import Reader
from ..io.nursery import Driver


class Streams(awaited.Streams):
    """An asynchronous iterator over the messages of many streams, merged and sorted by ID.

    It is like `pystreamredis.asyncio.Streams`, for tasks of trio. One that is cancelled while it
    waits for a message loses none, and the next one to ask goes on. One task waits at a time,
    within one `trio.run`; `aclose` may be called from any task of it.
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
