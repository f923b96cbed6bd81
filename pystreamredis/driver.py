"""The shell for programs that block: sockets, one clock, and the follower's orders.

It waits for all connections at once, and has each connect, send and receive when its
time has come; what to send and what an answer means is all said by the follower.
"""

from __future__ import annotations

from time import monotonic

from . import forks
from .exceptions import RedisError
from .handover import Batch
from .line import Line
from .log import tell
from .waiting import SLICE, Waiter, Woken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .follower import Follower
    from .source import Part
    from .starts import Followed, Start, StreamsArgument


class Driver:
    """Does for a follower what it cannot do itself.

    One thread uses it at a time; `close` may be called from any.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._waiter = Waiter()
        # One for each part, of which there may come others with time.
        self._parts: list[Part] = []
        self._lines: dict[Part, Line] = {}
        # That of the only part.
        self._only_line: Line | None = None
        # Over which something has come last: they may have more that no wait tells of.
        self._ready: list[Line] = []
        # Taken away by the thread that uses it. No signal can come between that and a `try`, as
        # it can after each call, and in Python 3.14 on the way into `with lock`.
        self._is_free = True
        # Whether an interruption was not tidied up after, since another has come amid that.
        self._is_torn = False
        self._is_closed = False
        self._generation = forks.generation

    def establish(self) -> None:
        """Connect, log in, and fix "now".

        Raises:
            RedisError: That cannot be, and failures are to be raised.
        """
        self._exclusively(self._establish)

    def add(self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]) -> None:
        """Follow more streams, and establish for them; if that fails, none is added.

        Raises:
            ValueError, TypeError, RedisError: As `Follower.add` and `establish`.
        """
        self._exclusively(lambda: self._add(streams, named_streams))

    def discard(self, names: Iterable[Followed]) -> None:
        """Drop streams."""
        self._exclusively(lambda: self._discard(names))

    def next_batch(self) -> Batch:
        """Wait for what is to be handed over next; nothing in it is the end.

        Raises:
            RedisError: What went wrong, if it is to be raised; the next call goes on.
        """
        return self._exclusively(self._next_batch)

    def close(self) -> None:
        """End what is under way in whichever thread, and free the connection."""
        if not self._is_closed:
            self._is_closed = True
            if self._generation == forks.generation:  # else it would be the parent who is woken
                self._waiter.wake()
            self._dispose()

    def _exclusively(self, work: Callable[[], Batch]) -> Batch:
        if self._generation != forks.generation:
            raise RuntimeError(
                "its connections are another process's, which has forked: "
                "expected Streams(streams=positions) anew in each process"
            )
        try:
            del self._is_free
        except AttributeError:
            if self._is_closed:  # by a thread that has it for a moment
                return Batch.of([])
            raise RuntimeError("another thread is iterating, expected one at a time") from None
        try:
            return Batch.of([]) if self._is_closed else self._safely(work)
        finally:
            self._is_free = True
            if self._is_closed:
                self._dispose()

    def _safely(self, work: Callable[[], Batch]) -> Batch:
        try:
            if self._is_torn:
                self._tidy_up()
            return work()
        except RedisError:
            raise
        except Woken:
            return Batch.of([])
        except BaseException:
            # An interruption can come anywhere: what was half done is done again.
            self._is_torn = True
            self._tidy_up()
            raise
        finally:
            self._tell()

    def _establish(self, names: Iterable[Followed] | None = None) -> Batch:
        while self._follower.is_establishing(names) and not self._is_closed:
            self._exchange()
        return self._follower.batch

    def _add(self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]) -> Batch:
        follower = self._follower
        added = follower.add(streams, named_streams)
        # A failure that was not told yet is another matter, and stays for later.
        pending = follower.take_failures(added)
        try:
            # Anew, since a server is not to be asked while it still works on a read.
            for part in follower.parts_of(added):
                part.conversation.abandon()
            self._establish(added)
        except BaseException:
            follower.discard(added)
            raise
        finally:
            follower.put_back(pending)
        return follower.batch

    def _discard(self, names: Iterable[Followed]) -> Batch:
        self._follower.discard(names)
        return self._follower.batch

    def _next_batch(self) -> Batch:
        follower = self._follower
        follower.begin_wait(monotonic())
        while not self._is_closed:
            batch = follower.step(monotonic())
            if batch is not None:
                self._flush()
                return batch
            self._exchange()
        return Batch.of([])

    def _exchange(self) -> None:
        """Connect, or wait, send and receive: one step nearer to an answer."""
        now = monotonic()
        line = self._only_line if self._parts is self._follower.parts else None
        if line is not None:
            line.flush()
            wake_at = self._follower.wake_at()
            if line.can_wait and (wake_at is None or wake_at - now >= SLICE):
                # That saves the system a call for each message.
                line.wait_and_respond()
                self._tell()
                return
        busy = [line for line in self._stirred_lines() if line.has_work]
        if not sum(line.attend(now) for line in busy):
            self._wait_and_respond(busy, now)
        self._tell()

    def _wait_and_respond(self, busy: list[Line], now: float) -> None:
        wake_at = self._follower.wake_at()
        self._ready = self._wait(busy, wake_at, now)
        for line in self._ready:
            line.respond()
        if not self._ready or (wake_at is not None and wake_at <= monotonic()):
            self._follower.woke(monotonic())

    def _wait(self, busy: list[Line], wake_at: float | None, now: float) -> list[Line]:
        """Wait for what is due next; return the lines that something has come over."""
        pending = [line for line in self._ready if line.has_pending]
        if pending:
            ready = self._waiter.wait(0)
            return ready + [line for line in pending if line not in ready]
        times = [line.deadline for line in busy if line.deadline is not None]
        if wake_at is not None:
            times.append(wake_at)
        return self._waiter.wait(min(times) - now if times else None)

    def _stirred_lines(self) -> list[Line]:
        """List those for which there may be something to do."""
        if self._parts is not self._follower.parts:
            self._match_lines()
        return [self._lines[part] for part in self._follower.stirred]

    def _match_lines(self) -> None:
        """Have a line for each part."""
        follower = self._follower
        for part in self._lines.keys() - follower.parts:
            self._lines[part].close()
            tell(part.conversation.notices)
            del self._lines[part]
        for part in follower.parts:
            if part not in self._lines:
                self._lines[part] = Line(follower, part, self._waiter)
        self._parts = follower.parts
        self._only_line = self._lines[self._parts[0]] if len(self._parts) == 1 else None

    def _flush(self) -> None:
        for part in self._follower.stirred:
            if part.conversation.outgoing:
                self._lines[part].flush()

    def _tell(self) -> None:
        for part in self._follower.stirred:
            if part.conversation.notices:
                tell(part.conversation.notices)

    def _disconnect(self) -> None:
        for line in self._lines.values():
            line.close()

    def _tidy_up(self) -> None:
        self._follower.rewind()
        self._disconnect()
        self._is_torn = False

    def _dispose(self) -> None:
        """Free everything, unless a thread is at work: then it does so on its way out."""
        if self._generation != forks.generation:
            self._is_free = True  # a thread that was at work is not in the child
        try:
            del self._is_free
        except AttributeError:
            return
        try:
            # First: in a child of a fork, what the selector forgets its parent's would forget.
            self._waiter.close()
            self._disconnect()
        finally:
            self._is_free = True
