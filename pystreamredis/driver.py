"""The shell for programs that block: one socket, one clock, and the follower's orders.

It connects, sends, waits and receives; what to send and what an answer means is all
said by the follower.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic

from .exceptions import RedisError
from .handover import Batch
from .log import tell
from .transport import Transport, connect
from .waiting import Waiter, Woken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .follower import Follower
    from .starts import Name, Start, StreamsArgument


class Driver:
    """Does for a follower what it cannot do itself.

    One thread uses it at a time; `close` may be called from any.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._transport: Transport | None = None
        self._waiter = Waiter()
        # Held by the thread that uses it.
        self._busy = Lock()
        self._is_closed = False

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

    def discard(self, names: Iterable[Name]) -> None:
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
            self._waiter.wake()
            self._dispose()

    def _exclusively(self, work: Callable[[], Batch]) -> Batch:
        if self._is_closed:
            return Batch.of([])
        if self._busy.locked():
            raise RuntimeError("another thread is iterating, expected one at a time")
        try:
            # No signal can come between this and its end, as it can in acquire and release.
            with self._busy:
                return self._safely(work)
        finally:
            if self._is_closed:
                self._dispose()

    def _safely(self, work: Callable[[], Batch]) -> Batch:
        try:
            return work()
        except RedisError:
            raise
        except Woken:
            return Batch.of([])
        except BaseException:
            # An interruption can come anywhere: what was half done is done again.
            self._follower.rewind()
            self._disconnect()
            raise
        finally:
            tell(self._follower.conversation.notices)

    def _establish(self) -> Batch:
        while self._follower.is_establishing() and not self._is_closed:
            self._exchange()
        return self._follower.batch

    def _add(self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]) -> Batch:
        follower, conversation = self._follower, self._follower.conversation
        added = follower.add(streams, named_streams)
        # A failure that was not told yet is another matter, and stays for later.
        pending, conversation.failure = conversation.failure, None
        try:
            # Anew, since the server is not to be asked while it still works on a read.
            conversation.abandon()
            self._disconnect()
            self._establish()
        except BaseException:
            follower.discard(added)
            conversation.failure = pending
            raise
        conversation.failure = conversation.failure or pending
        return follower.batch

    def _discard(self, names: Iterable[Name]) -> Batch:
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
        follower, now = self._follower, monotonic()
        if self._transport is not None:
            self._communicate(self._transport, now)
        elif follower.conversation.is_open:
            # An interruption has come between the connection's end and its note.
            follower.conversation.abandon()
        elif follower.may_connect(now):
            self._connect()
        else:
            wake_at = follower.wake_at()
            self._waiter.wait(None, 0, None if wake_at is None else wake_at - now)
        if not follower.conversation.is_open:
            self._disconnect()
        tell(follower.conversation.notices)

    def _connect(self) -> None:
        conversation = self._follower.conversation
        try:
            conversation.options = conversation.options.located()
            self._transport = connect(conversation.options, self._waiter.wait)
        except OSError as error:
            conversation.not_opened(monotonic(), error)
        else:
            self._follower.opened(monotonic())

    def _communicate(self, transport: Transport, now: float) -> None:
        conversation = self._follower.conversation
        self._flush()
        wake_at = self._follower.wake_at()
        timeout = None if wake_at is None else wake_at - now
        if not (
            transport.has_pending() or self._waiter.wait(transport.sock, transport.events, timeout)
        ):
            self._follower.woke(monotonic())
            return
        try:
            data = transport.receive()
        except OSError as error:
            conversation.closed(monotonic(), error)
            return
        if data:
            conversation.received(data, monotonic())
            self._flush()
            conversation.process()
        elif data is not None:
            conversation.closed(monotonic())

    def _flush(self) -> None:
        if self._transport is None:
            return
        try:
            self._transport.send(self._follower.conversation.take_outgoing(monotonic()))
        except OSError:
            # Its answers up to here are still to be read; what ends them says why.
            pass

    def _disconnect(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            self._waiter.forget()
            transport.close()

    def _dispose(self) -> None:
        """Free everything, unless a thread is at work: then it does so on its way out."""
        if self._busy.locked():
            return
        with self._busy:
            self._disconnect()
            self._waiter.close()
