"""What `next()` is to do: the core that every kind of `Streams` shares, without I/O.

The shell around it makes connections, moves bytes and waits; the follower says what
for. One round of `next()` that finds no message in hand is::

    follower.begin_wait(now)
    while (batch := follower.step(now)) is None:
        connect if follower.may_connect(now); send; wait until follower.wake_at(); receive

A batch with nothing in it ends the iteration.
"""

from __future__ import annotations

from math import ceil

from .cursors import Cursor
from .exceptions import ConnectionError
from .handover import Batch, Item
from .hold import Hold
from .merge import release
from .session import Conversation
from .starts import read_start, read_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .exceptions import RedisError
    from .options import ConnectionOptions, ReadOptions
    from .session import Request
    from .starts import Name, Start, StreamsArgument

# How long one XREAD blocks at most, in ms: a peer that is dead is found out no later
# than this and socket_timeout.
_SLICE = 30_000
# How long to wait before connecting again where `block` says for ever, in ms.
_PAUSE = 1000


class Follower:
    """Several streams, followed over one conversation.

    Attributes:
        conversation: What is said to the server.
        batch: What is being handed over to the caller.
    """

    def __init__(
        self, options: ConnectionOptions, reading: ReadOptions, keywords: Iterable[str]
    ) -> None:
        self._options = options
        self._reading = reading
        # What may have been meant where the name of an unknown stream is given.
        self._keywords = keywords
        self._cursors: list[Cursor] = []
        self.conversation = Conversation(options, reading, self._cursors)
        self.batch: Batch = Batch([], {})
        self._handed: dict[Name, bytes | str] = {}
        self._hold = Hold(reading.hold)
        self._began = 0.0
        self._retry_at = 0.0
        # Whether the caller was given a failure, after which it waits before the next try.
        self._has_returned_failure = False
        # The last read that was sent while the caller waits.
        self._asked: Request | None = None
        # The last read that found nothing, and when it was answered.
        self._found_nothing: tuple[Request, float] | None = None
        # Whether other streams are followed than at the last read.
        self._has_discarded = False

    def __repr__(self) -> str:
        return f"of {len(self._cursors)} streams at {self.conversation.options.address}"

    # Which streams, from where.

    def add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> list[Name]:
        """Follow more streams; return their names.

        Raises:
            ValueError, TypeError: A stream is followed already, or a name or a start
                cannot be; then none is added.
        """
        known = {cursor.key: cursor.name for cursor in self._cursors}
        cursors = []
        for name, start in read_streams(streams, named_streams):
            key = self._options.encode(name)
            if key in known:
                raise ValueError(f"stream {name!r} is given twice, first as {known[key]!r}")
            known[key] = name
            cursors.append(Cursor(name, key, read_start(name, start, self._keywords)))
        self._cursors.extend(cursors)
        return [cursor.name for cursor in cursors]

    def discard(self, names: Iterable[Name]) -> None:
        """Drop streams, and their messages that were not handed over."""
        keys = {self._options.encode(name) for name in names}
        dropped = {cursor.name for cursor in self._cursors if cursor.key in keys}
        self._cursors[:] = [cursor for cursor in self._cursors if cursor.key not in keys]
        # Those that it has held back may be handed over now.
        self._has_discarded = True
        rest = self.batch.withdraw()
        self._install(Batch.of([message for message in rest if message[0] not in dropped]))
        for name in dropped:
            self._handed.pop(name, None)

    @property
    def positions(self) -> dict[Name, bytes | str | None]:
        """For each stream the ID of the last message handed over, or its start."""
        self.batch.settle(self._handed)
        return {cursor.name: self._position(cursor) for cursor in self._cursors}

    def _position(self, cursor: Cursor) -> bytes | str | None:
        handed = self._handed.get(cursor.name)
        if handed is not None or cursor.start is None:
            return handed
        return cursor.start.decode() if self._options.decode_responses else cursor.start

    # What the shell asks.

    def begin_wait(self, now: float) -> None:
        """The caller asks for a message, and none is in hand."""
        # The messages handed over need not be held while the next ones come in.
        self._install(Batch([], {}))
        self._began = now
        self._asked = None
        if self._has_returned_failure:
            self._has_returned_failure = False
            self._retry_at = now + self._pause() / 1000

    def step(self, now: float) -> Batch | None:
        """Say what to hand over; None if something has to be sent or received first.

        Raises:
            RedisError: What went wrong, if it is to be raised.
            ValueError: No streams are left.
        """
        conversation = self.conversation
        # Bytes may have come with those before that only now can be understood.
        conversation.process()
        if (batch := self._release(now)).messages:
            # The next read is on its way while the caller works through this batch.
            if conversation.is_idle and not conversation.look_back(now):
                conversation.ask(now, self._block_ahead())
            return self._install(batch)
        if conversation.failure is not None:
            return self._hand_over_failure(conversation.failure)
        if not self._cursors:
            raise ValueError("no streams are followed any more, expected one at least: add() some")
        if not conversation.is_idle:
            return None
        if self._is_over():
            return self._hand_over_timeout()
        if not conversation.look_back(now):
            self._asked = conversation.ask(now, self._block_from(now))
        return None

    def is_establishing(self) -> bool:
        """Whether the conversation is still to be made ready.

        Raises:
            RedisError: It cannot be, and that is to be raised.
        """
        failure = self.conversation.failure
        if failure is None:
            return not self.conversation.is_ready
        if self._is_to_be_raised(failure):
            self.conversation.failure = None
            raise failure
        return False

    def may_connect(self, now: float) -> bool:
        """Whether a connection is to be made now."""
        return not self.conversation.is_open and now >= self._retry_at

    def opened(self, now: float) -> None:
        """A connection was made. A wait counts from here: messages may be there at once."""
        self._began = now
        self.conversation.opened(now)

    def wake_at(self) -> float | None:
        """Until when to wait for bytes, or for another try to connect."""
        if not self.conversation.is_open:
            return self._retry_at
        times = [self.conversation.silent_at, self._hold.due_at]
        return min([time for time in times if time is not None], default=None)

    def woke(self, now: float) -> None:
        """Nothing came until then."""
        silent_at = self.conversation.silent_at
        if silent_at is not None and now >= silent_at:
            self.conversation.fell_silent(now)

    def rewind(self) -> None:
        """Forget what was not handed over: it will be read again.

        For an interruption at any point, after which nothing else is certain.
        """
        self._install(Batch([], {}))
        self.conversation.abandon()
        for cursor in self._cursors:
            cursor.waiting = []
            cursor.complete = False
            position = self._position(cursor)
            if position is not None:
                cursor.fetched = position if isinstance(position, bytes) else position.encode()

    # What happens inside.

    def _install(self, batch: Batch) -> Batch:
        self.batch.settle(self._handed)
        self.batch = batch
        return batch

    def _release(self, now: float) -> Batch:
        """Take out what may be handed over since the last read was answered, or held for long."""
        answered, self.conversation.answered = self.conversation.answered, None
        if answered is not None:
            self._hold.arrived(self._cursors, now)
        elif self._hold.due_at is None and not self._has_discarded:
            return Batch([], {})
        self._has_discarded = False
        # What is held is handed over before a failure is.
        limit = None if self.conversation.failure else self._hold.limit(now)
        batch = release(self._cursors, limit)
        if answered is None or batch.messages or self._hold.due_at is not None:
            return batch
        if len(answered.asked) == len(self._cursors):
            self._found_nothing = answered, now
        return batch

    def _hand_over_failure(self, failure: RedisError) -> Batch:
        self.conversation.failure = None
        if self._is_to_be_raised(failure):
            raise failure
        self._has_returned_failure = True
        return self._install(Item(failure))

    def _is_to_be_raised(self, failure: RedisError) -> bool:
        return self._reading.raise_connection_exceptions or not isinstance(failure, ConnectionError)

    def _hand_over_timeout(self) -> Batch:
        if not self._reading.stop_on_timeout:
            return self._install(Batch([], {}))
        return self._install(Item(self._reading.timeout_response))

    def _is_over(self) -> bool:
        """Whether a read has found nothing for all of the time that the caller would wait."""
        if self._found_nothing is None or self._reading.block == 0 or self._hold.due_at is not None:
            return False
        request, answered = self._found_nothing
        if self._reading.block is None:
            return request is self._asked
        return answered >= self._began + self._reading.block / 1000

    def _block_from(self, now: float) -> int | None:
        """How long a read may block while the caller waits, in ms."""
        block = self._reading.block
        until = self._began + (block or 0) / 1000
        if self._hold.due_at is not None:
            # Nothing is over before what is held was handed over.
            until = max(until, self._hold.due_at)
        elif not block:
            return self._block_ahead()
        return min(_SLICE, max(1, ceil((until - now) * 1000)))

    def _block_ahead(self) -> int | None:
        """How long a read may block that is sent ahead, in ms."""
        block = self._reading.block
        return block if block is None else min(block or _SLICE, _SLICE)

    def _pause(self) -> int:
        block = self._reading.block
        return 0 if block is None else block or _PAUSE
