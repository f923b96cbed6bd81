"""`Streams` for shells that are awaited: the base that asyncio's and trio's share."""

from __future__ import annotations

from . import construction
from .core.delivery import EMPTY
from .secret import conceal_keywords, conceal_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from .core.delivery import Batch
    from .io.tasks import TaskDriver
    from .starts import Start, StreamsArgument


class Batches(construction.Batches):
    """The lists of messages of `Streams.batches`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        streams: Streams = self._streams
        for messages in streams._reader.batch.take(self._n):
            return messages
        for messages in (await streams._next_batch()).take(self._n):
            return messages
        raise StopAsyncIteration


class Streams(construction.Streams):
    """An asynchronous iterator over the messages of many streams, merged and sorted by ID."""

    _driver: TaskDriver | None = None
    _batches_class = Batches
    _awaits = True

    @classmethod
    async def connect(cls, /, *args: Any, **options: Any) -> Self:
        """Make one as the constructor does, and connect: "now" is now.

        Raises:
            ValueError, TypeError: A bad option or start value.
            ConnectionError: The server cannot be reached, unless
                `raise_connection_exceptions` is False.
            ResponseError: The server refuses for good.
        """
        # Reports with local variables show what a frame has.
        args = (*map(conceal_url, args[:1]), *args[1:])
        conceal_keywords(options)
        return await cls(*args, **options).__aenter__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for message in self._reader.batch.iterator:
            return message
        for message in (await self._next_batch()).iterator:
            return message
        raise StopAsyncIteration

    async def _next_batch(self) -> Batch:
        """Wait for the batch after the one that is used up; it is empty at the end."""
        driver = self._driver
        if driver is None:
            return EMPTY
        batch = await driver.run(driver.next_batch)
        if self._driver is None:
            batch.take_back()
        return batch

    async def __aenter__(self) -> Self:
        if self._driver is None:
            return self
        try:
            await self._driver.run(self._driver.establish)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def add(self, /, streams: StreamsArgument | None = None, **named_streams: Start) -> None:
        """Follow more streams, also while another task waits; see `pystreamredis.Streams.add`."""
        self._check_added(streams, named_streams)
        if self._driver is None:
            self._reader.add(streams, named_streams)
        else:
            await self._driver.change(self._driver.add(streams, named_streams))

    async def aclose(self) -> None:
        """End the iteration, also one that waits in another task, and disconnect.

        `positions` stay readable.
        """
        driver, self._driver = self._driver, None
        if driver is not None:
            self._reader.batch.take_back()
            driver.close()
