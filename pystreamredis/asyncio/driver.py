"""The shell for asyncio: one connection, one clock, and the follower's orders.

It connects, sends, waits and receives; what to send and what an answer means is all
said by the follower. Whatever came is given to the follower by the task that wants
messages, between two awaits: so wherever that task is cancelled, nothing is half done.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from ..exceptions import RedisError
from ..handover import Batch
from ..log import tell
from .link import Link, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from ..follower import Follower
    from ..starts import Name, Start, StreamsArgument


class Driver:
    """Does for a follower what it cannot do itself.

    One task uses it at a time; `close` may be called from any on the same event loop.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._link: Link | None = None
        # Goes on where a task that waited for it was cancelled: else one that is cancelled
        # again and again would never get a connection.
        self._connecting: asyncio.Task[Link | OSError] | None = None
        # What the task that uses it waits for.
        self._news: asyncio.Future[None] | None = None
        self._is_busy = False
        self._is_closed = False

    async def establish(self) -> None:
        """Connect, log in, and fix "now".

        Raises:
            RedisError: That cannot be, and failures are to be raised.
        """
        await self._exclusively(self._establish())

    async def add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> None:
        """Follow more streams, and establish for them; if that fails, none is added.

        Raises:
            ValueError, TypeError, RedisError: As `Follower.add` and `establish`.
        """
        await self._exclusively(self._add(streams, named_streams))

    def discard(self, names: Iterable[Name]) -> None:
        """Drop streams."""
        self._see_that_nobody_uses_it()
        self._follower.discard(names)

    async def next_batch(self) -> Batch:
        """Wait for what is to be handed over next; nothing in it is the end.

        Raises:
            RedisError: What went wrong, if it is to be raised; the next call goes on.
        """
        return await self._exclusively(self._next_batch())

    async def close(self) -> None:
        """End what is under way in whichever task, and free the connection."""
        self._is_closed = True
        self._wake()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
            is_made = not connecting.cancelled() and connecting.exception() is None
            if is_made and isinstance(made := connecting.result(), Link):
                self._link = made
        link = self._link
        self._disconnect()
        if link is not None:
            await link.ended()

    def _see_that_nobody_uses_it(self) -> None:
        if self._is_busy:
            raise RuntimeError("another task is iterating, expected one at a time")

    async def _exclusively(self, work: Coroutine[None, None, Batch]) -> Batch:
        try:
            self._see_that_nobody_uses_it()
        except RuntimeError:
            work.close()
            raise
        self._is_busy = True
        try:
            return await work
        except (RedisError, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            # It may have come amid the follower's work: what was half done is done again.
            self._follower.rewind()
            self._disconnect()
            raise
        finally:
            self._is_busy = False
            tell(self._follower.conversation.notices)

    async def _establish(self) -> Batch:
        while self._follower.is_establishing() and not self._is_closed:
            await self._exchange()
        return self._follower.batch

    async def _add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> Batch:
        follower, conversation = self._follower, self._follower.conversation
        added = follower.add(streams, named_streams)
        # A failure that was not told yet is another matter, and stays for later.
        pending, conversation.failure = conversation.failure, None
        try:
            # Anew, since the server is not to be asked while it still works on a read.
            self._abandon()
            await self._establish()
        except BaseException:
            follower.discard(added)
            self._abandon()
            conversation.failure = pending
            raise
        conversation.failure = conversation.failure or pending
        return follower.batch

    async def _next_batch(self) -> Batch:
        follower = self._follower
        follower.begin_wait(monotonic())
        while not self._is_closed:
            batch = follower.step(monotonic())
            if batch is not None:
                self._flush()
                return batch
            await self._exchange()
        return Batch.of([])

    async def _exchange(self) -> None:
        """Connect, or wait, send and receive: one step nearer to an answer."""
        follower = self._follower
        if self._link is not None:
            await self._communicate(self._link)
        elif follower.may_connect(monotonic()):
            await self._connect()
        else:
            await self._wait(follower.wake_at())
        if not follower.conversation.is_open:
            self._disconnect()
        tell(follower.conversation.notices)

    async def _connect(self) -> None:
        conversation = self._follower.conversation
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._make_link())
            self._connecting.add_done_callback(lambda _: self._wake())
        if not self._connecting.done():
            await self._wait(None)
        connecting = self._connecting
        if connecting is None or not connecting.done():
            return
        self._connecting = None
        made = connecting.result()
        if isinstance(made, OSError):
            conversation.not_opened(monotonic(), made)
            return
        self._link = made
        self._follower.opened(monotonic())

    async def _make_link(self) -> Link | OSError:
        conversation, loop = self._follower.conversation, asyncio.get_running_loop()
        try:
            # A callable host may take its time.
            options = await loop.run_in_executor(None, conversation.options.located)
        except OSError as error:
            return error
        conversation.options = options
        return await connect(options, self._wake)

    async def _communicate(self, link: Link) -> None:
        conversation = self._follower.conversation
        self._flush()
        if not link.has_news:
            await self._wait(self._follower.wake_at())
        if not (link.has_news or self._is_closed):
            # Nor has the event loop seen anything: some look at clocks before sockets.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if self._is_closed:
            return
        if data := link.receive():
            conversation.received(data, monotonic())
            self._flush()
            conversation.process()
        elif link.is_lost:
            conversation.closed(monotonic(), link.error)
        else:
            self._follower.woke(monotonic())

    async def _wait(self, until: float | None) -> None:
        """Wait until there are news, or until some time of the clock."""
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        timer = until if until is None else loop.call_later(until - monotonic(), self._wake)
        try:
            await self._news
        finally:
            self._news = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _flush(self) -> None:
        if self._link is not None:
            self._link.send(self._follower.conversation.take_outgoing(monotonic()))

    def _abandon(self) -> None:
        self._follower.conversation.abandon()
        self._disconnect()

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()
