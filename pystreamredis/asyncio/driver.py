"""The shell for asyncio: connections, one clock, and the follower's orders.

It waits for all connections at once, and has each connect, send and receive when its
time has come; what to send and what an answer means is all said by the follower.
Whatever came is given to the follower by the task that wants messages, between two
awaits: so wherever that task is cancelled, nothing is half done.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic

from .. import forks
from ..exceptions import RedisError
from ..handover import Batch
from ..log import tell
from .line import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from ..follower import Follower
    from ..source import Part
    from ..starts import Followed, Start, StreamsArgument


class Driver:
    """Does for a follower what it cannot do itself.

    One task uses it at a time; `close` may be called from any on the same event loop.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        # One for each part, of which there may come others with time.
        self._parts: list[Part] = []
        self._lines: dict[Part, Line] = {}
        # Those that may have something to respond to, in the order in which it came.
        self._ready: dict[Line, None] = {}
        # On which event loop of which process it was first used.
        self._home: tuple[asyncio.AbstractEventLoop, int] | None = None
        # What the task that uses it waits for.
        self._news: asyncio.Future[None] | None = None
        # What ends that wait, and when.
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._is_busy = False
        # Whether an exception was not tidied up after, since another has come amid that.
        self._is_torn = False
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

    def discard(self, names: Iterable[Followed]) -> None:
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
        if self._home is not None and self._home[1] != forks.generation:
            return  # what the event loop forgets in a child of a fork, its parent's would forget
        self._cancel_alarm()
        self._end_wait()
        # Each is closed before any is waited for: that may be cancelled.
        await asyncio.gather(*[line.end() for line in self._lines.values()])

    def _see_that_nobody_uses_it(self) -> None:
        if self._is_busy:
            raise RuntimeError("another task is iterating, expected one at a time")

    def _see_that_it_is_at_home(self) -> None:
        here = asyncio.get_running_loop(), forks.generation
        self._home = self._home or here
        if self._home != here:
            raise RuntimeError(
                "its connections are another event loop's, or of a process which has forked: "
                "expected Streams(streams=positions) anew on each"
            )

    async def _exclusively(self, work: Coroutine[None, None, Batch]) -> Batch:
        try:
            self._see_that_it_is_at_home()
            self._see_that_nobody_uses_it()
        except RuntimeError:
            work.close()
            raise
        self._is_busy = True
        try:
            if self._is_torn:
                self._tidy_up()
            return await work
        except (RedisError, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            # It may have come amid the follower's work: what was half done is done again.
            self._is_torn = True
            self._tidy_up()
            raise
        finally:
            self._is_busy = False
            self._tell()

    async def _establish(self, names: Iterable[Followed] | None = None) -> Batch:
        while self._follower.is_establishing(names) and not self._is_closed:
            await self._exchange()
        return self._follower.batch

    async def _add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> Batch:
        follower = self._follower
        added = follower.add(streams, named_streams)
        # A failure that was not told yet is another matter, and stays for later.
        pending = follower.take_failures(added)
        try:
            # Anew, since a server is not to be asked while it still works on a read.
            self._abandon(added)
            await self._establish(added)
        except BaseException:
            self._abandon(added)
            follower.discard(added)
            raise
        finally:
            follower.put_back(pending)
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
        for line in self._stirred_lines():
            line.attend(monotonic())
        await self._communicate()
        self._tell()

    async def _communicate(self) -> None:
        wake_at = self._follower.wake_at()
        ready = self._find_ready()
        if not ready:
            await self._wait(wake_at)
            ready = self._find_ready()
        is_due = wake_at is not None and wake_at <= monotonic()
        if not self._is_closed and (is_due or not ready):
            # The event loop may not have seen all: it was busy, or looks at clocks before sockets.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ready = self._find_ready()
        if self._is_closed:
            return
        for line in ready:
            line.respond()
        if not ready or (wake_at is not None and wake_at <= monotonic()):
            self._follower.woke(monotonic())

    async def _wait(self, until: float | None) -> None:
        """Wait until there are news, until some time of the clock, or for less."""
        self._news = asyncio.get_running_loop().create_future()
        if until is not None and until < self._alarm_at:
            self._set_alarm(until)
        try:
            await self._news
        finally:
            self._news = None

    def _set_alarm(self, time: float) -> None:
        """End the wait at that time, whichever it is.

        An alarm outlives the wait that it was set for. To be woken by it in vain once in a
        while takes less than to set one for each message.
        """
        self._cancel_alarm()
        self._alarm_at = time
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(time - monotonic(), self._ring)

    def _ring(self) -> None:
        self._cancel_alarm()
        self._end_wait()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, inf

    def _wake(self, line: Line) -> None:
        self._ready[line] = None
        self._end_wait()

    def _end_wait(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _find_ready(self) -> list[Line]:
        """List those that have something to respond to; forget those that had."""
        if self._ready:
            self._ready = {line: None for line in self._ready if line.has_news}
        return list(self._ready)

    def _stirred_lines(self) -> list[Line]:
        """List those for which there may be something to do."""
        follower = self._follower
        if self._parts is not follower.parts:
            for part in self._lines.keys() - follower.parts:
                self._lines.pop(part).close()
                tell(part.conversation.notices)
            for part in follower.parts:
                if part not in self._lines:
                    self._lines[part] = Line(follower, part, self._wake)
            self._parts = follower.parts
        return [self._lines[part] for part in follower.stirred]

    def _flush(self) -> None:
        for part in self._follower.stirred:
            if part.conversation.outgoing:
                self._lines[part].flush()

    def _tell(self) -> None:
        for part in self._follower.stirred:
            if part.conversation.notices:
                tell(part.conversation.notices)

    def _abandon(self, names: Iterable[Followed]) -> None:
        for part in self._follower.parts_of(names):
            part.conversation.abandon()

    def _tidy_up(self) -> None:
        self._follower.rewind()
        self._disconnect()
        self._is_torn = False

    def _disconnect(self) -> None:
        for line in self._lines.values():
            line.close()
