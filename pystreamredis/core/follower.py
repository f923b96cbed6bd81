"""One follower of a hub: what it is delivered next, and which of its streams it has read.

A follower reads nothing itself. The hub passes entries on to its copies of streams, and rings
its bell whenever something has changed. What is delivered, and when a wait is over, follows the
same rules as for a reader with connections of its own.
"""

from __future__ import annotations

from math import inf
from operator import attrgetter

from ..exceptions import ConnectionError
from ..protocol.ids import ZERO, number_of
from ..starts import parse_streams_at
from .assignment import pauses_of
from .delivery import EMPTY, Batch, Item, Wait
from .hold import Hold
from .merge import Queue, release
from .topology import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, ClassVar

    from ..exceptions import RedisError
    from ..options import ReadOptions
    from ..protocol.messages import Message
    from ..starts import Followed, Name, Start, StreamsArgument
    from .assignment import Assignment
    from .events import Log
    from .hub import Feed, Hub
    from .stream import StreamState

_place_of = attrgetter("place")


class Copy:
    """One stream of one follower.

    Attributes:
        follower: The follower.
        source: The caller's name for the server; None for the only one.
        name: The stream's name in messages.
        feed_name: The name that is the same for all followers.
        key: The stream's name on the wire.
        start: The ID after which it is followed; None while it is not pinned yet.
        from_end: The number of entries before "now" at which to pin the start.
        last_id: The ID of the last entry received; before the first entry, the start.
        pending: Received entries that were not released for delivery, in ID order.
        caught_up: True if the server had no more entries at the last read.
        place: Rank of the stream among equal IDs.
        feed: The feed that passes entries on; None while the stream is not read.
        read_at: Turn of the hub in which the last completed read of it was sent.
        was_lost: True from a failure to the next answer.
        gaps: Number of gaps that were reported.
        reported_gap: Kind of the gap that was reported since the last entry, if any.
    """

    __slots__ = (
        "caught_up",
        "feed",
        "feed_name",
        "follower",
        "from_end",
        "gaps",
        "key",
        "last_id",
        "name",
        "pending",
        "place",
        "read_at",
        "reported_gap",
        "source",
        "start",
        "was_lost",
    )

    def __init__(self, follower: Follower, source: str | None, stream: StreamState) -> None:
        self.follower: Follower = follower
        self.source: str | None = source
        self.name: Followed = stream.name
        self.key: bytes = stream.key
        self.feed_name: Followed = stream.key if source is None else (source, stream.key)
        self.start: bytes | None = stream.start
        self.from_end: int = stream.from_end
        self.last_id: bytes = stream.last_id
        self.pending: list[Message] = []
        self.caught_up: bool = False
        self.place: int = 0
        self.feed: Feed | None = None
        self.read_at: int = -1
        self.was_lost: bool = False
        self.gaps: int = 0
        self.reported_gap: str | None = None

    def __repr__(self) -> str:
        return f"<Copy {self.name!r} at {self.last_id!r}, {len(self.pending)} pending>"

    @property
    def own_name(self) -> Name:
        """The name of the stream where it is."""
        return self.name[1] if isinstance(self.name, tuple) else self.name

    def accept(self, run: list[Message], after: bytes | None) -> bool:
        """Make entries pending that are new, as many as there is room for.

        Args:
            run: Entries of the stream, in order, all that there are after an ID.
            after: That ID. The last one received is not before it.

        Returns:
            True if there was room for all of them.
        """
        if self.last_id != after:
            bound = number_of(self.last_id)
            run = [entry for entry in run if number_of(entry[1]) > bound]
        room = self.follower.count - len(self.pending)
        is_whole = len(run) <= room
        if not is_whole:
            run = run[: max(0, room)]
        if run:
            # Lists are shared between followers, and never changed in place.
            self.pending = self.pending + run if self.pending else run
            self.last_id = run[-1][1]
            self.reported_gap = None
        return is_whole

    def restart(self, last_id: bytes) -> None:
        """Read the stream again after an ID, and forget what is pending."""
        self.last_id = last_id
        self.pending = []
        self.caught_up = False


class Follower:
    """Several streams of a hub, with positions of their own.

    Args:
        hub: The hub.
        reading: How to read.

    Attributes:
        block: The option of this name.
        batch: The messages that are being delivered.
        bell: The function that wakes whoever waits for this follower.
        active, assignments, log: What the engine finds in a reader with connections: nothing.
    """

    active: ClassVar[dict[Assignment, None]] = {}
    assignments: ClassVar[list[Assignment]] = []
    log: ClassVar[list[Log]] = []

    def __init__(self, hub: Hub, reading: ReadOptions) -> None:
        self.block: int | None = reading.block
        self.batch: Batch = EMPTY
        self.bell: Callable[[], object] = bool
        self._hub = hub
        self._reading = reading
        self._copies: dict[Followed, Copy] = {}
        # The copies that the merge has to look at.
        self._unsettled: dict[Copy, None] = {}
        self._queue = Queue()
        self._wait = Wait(reading.block)
        self._hold = Hold(reading.hold) if isinstance(reading.hold, int) and reading.hold else None
        # The failure to report, and the copies concerned.
        self._failure: tuple[RedisError, list[Copy]] | None = None
        # Copies that are not read before the time of the next try.
        self._lost: dict[Copy, None] = {}
        self._retry_at = 0.0
        self._pauses: Iterator[float] | None = None
        # The turn of the hub in which the caller began to wait, and the time of the last step.
        self._since = 0
        self._now = 0.0

    def __repr__(self) -> str:
        names = [repr(copy.name) for copy in self._copies.values()]
        more = f" and {len(names) - 3} more" * (len(names) > 3)
        addresses = dict.fromkeys(upstream.options.address for upstream in self._hub.live.values())
        return f"of {', '.join(names[:3]) or 'no streams'}{more} at {', '.join(addresses)}"

    @property
    def count(self) -> int:
        """The most entries of each stream that are pending."""
        return self._reading.count

    @property
    def restarts(self) -> bool:
        """True if a stream that has begun again is read from its start."""
        return self._reading.on_rewind == "restart"

    # The set of streams.

    def add(
        self,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
        added: list[Followed] | None = None,
    ) -> None:
        """Follow more streams; arguments and errors are those of `Reader.add`."""
        come: list[Copy] = []
        given = parse_streams_at(self._hub.live, streams, named_streams)
        for source, pairs in given.items():
            options = self._hub.live[source].options
            upstream: Any = Upstream(source, options, self._reading)
            upstream.streams = [copy for copy in self._copies.values() if copy.source == source]
            come += [Copy(self, source, state) for state in upstream.make_streams(pairs)]
        if added is not None:
            added += [copy.name for copy in come]
        place = max(map(_place_of, self._copies.values()), default=0)
        for rank, copy in enumerate(come, place + 1):
            copy.place = rank
            self._copies[copy.feed_name] = copy
            self._unsettled[copy] = None
        self.bell()

    def discard(self, names: Iterable[Followed]) -> None:
        """Drop streams, and their messages that were not delivered."""
        dropped: set[Followed] = set()
        for name in names:
            own = name[1] if isinstance(name, tuple) else name
            for source, upstream in self._hub.live.items():
                if isinstance(name, tuple) and name[0] != source:
                    continue
                key = upstream.options.encode(own)
                copy = self._copies.pop(key if source is None else (source, key), None)
                if copy is not None:
                    self._forget(copy)
                    dropped.add(copy.name)
        if not dropped:
            return
        self._queue.discard(dropped)
        rest = self.batch.take_back()
        self._install(Batch.of([message for message in rest if message[0] not in dropped]))
        for gone in dropped:
            self._queue.delivered.pop(gone, None)
        self.bell()

    def _forget(self, copy: Copy) -> None:
        self._hub.drop(copy)
        self._unsettled.pop(copy, None)
        self._lost.pop(copy, None)

    @property
    def positions(self) -> dict[Any, Any]:
        """The ID of the last message of each stream that was delivered, or its start."""
        # The batch goes first: another thread may move both on meanwhile, in this order.
        current, delivered = self.batch.delivered(), self._queue.delivered
        found: dict[str | None, dict[Name, bytes | str | None]] = {at: {} for at in self._hub.live}
        for copy in list(self._copies.values()):
            at = current.get(copy.name) or delivered.get(copy.name)
            found[copy.source][copy.own_name] = at or self._shown(copy, copy.start)
        if None in found:
            return found[None]
        return found

    def _shown(self, copy: Copy, entry_id: bytes | None) -> bytes | str | None:
        if entry_id is None or not self._hub.live[copy.source].options.decode_responses:
            return entry_id
        return entry_id.decode()

    @property
    def caught_up(self) -> bool:
        """True if the last reads found no more than what was delivered since."""
        if self._queue.runs or self._queue.rest or not self.batch.is_over:
            return False
        return all(copy.caught_up and not copy.pending for copy in list(self._copies.values()))

    @property
    def complete_until(self) -> int | None:
        """Raise: it is known with ``hold="exact"`` only."""
        raise ValueError('complete_until is known with hold="exact" only')

    def stats(self, now: float) -> dict[str, Any]:
        """Return figures about the reading so far, for any thread."""
        before, batch = self._queue.counted
        copies, positions = list(self._copies.values()), self.positions
        streams = {}
        for copy in copies:
            of_source = positions if copy.source is None else positions[copy.source]
            at, last = of_source[copy.own_name], None if copy.start is None else copy.last_id
            lag = 0 if at is None else (number_of(copy.last_id) >> 64) - (number_of(at) >> 64)
            streams[copy.name] = {
                "position": at,
                "last": self._shown(copy, last),
                "lag_ms": max(0, lag),
            }
        return {
            "connected": all(copy.read_at >= 0 and not copy.was_lost for copy in copies),
            "delivered": before + batch.count,
            "gaps": sum(copy.gaps for copy in copies),
            "late": 0,
            "streams": streams,
            **self._hub.reader.figures(now),
        }

    # Questions of the engine, which has no connections here.

    @property
    def has_streams(self) -> bool:
        """True if any streams are followed."""
        return bool(self._copies)

    def assignments_of(self, names: Iterable[Followed] | None) -> list[Assignment]:  # noqa: ARG002
        """List no assignments: these are the hub's."""
        return []

    def join(self, names: list[Followed], *, is_done: bool) -> None:
        """Do nothing: streams are added over connections that others share."""

    def read_ahead(self, *, is_allowed: bool) -> None:
        """Do nothing: the hub decides what is read."""

    def is_establishing(self, now: float, names: Iterable[Followed] | None = None) -> bool:
        """Return True if streams are still to be connected, or "now" is to be pinned.

        Args:
            now: Time, in seconds of the caller's clock.
            names: The streams; None for all.

        Raises:
            RedisError: That failed, and failures are to be raised.
        """
        self._now = now
        wanted = None if names is None else set(names)
        copies = [c for c in self._copies.values() if wanted is None or c.name in wanted]
        missing = [copy for copy in copies if not self._hub.is_established(copy)]
        if self._failure is not None and not set(self._failure[1]).isdisjoint(missing):
            if not self._is_raised(self._failure[0]):
                return False
            raise self._take_failure()
        for copy in missing:
            self._hub.enqueue(copy)
        self._watch(missing)
        return bool(missing)

    def begin_wait(self, now: float) -> None:
        """Take note that the caller asks for a message, and the batch has none left."""
        if self.batch is not EMPTY:
            self._install(EMPTY)
        self._wait.begin(now)
        self._since = self._hub.turn
        if self._retry_at == inf:
            # Not kept where the caller's iterator of pauses raises an exception.
            pauses, self._pauses = self._pauses or self._new_pauses(), None
            self._retry_at = now + next(pauses)
            self._pauses = pauses

    def _new_pauses(self) -> Iterator[float]:
        return pauses_of(self._reading.block, self._reading.retry_delay)

    def step(self, now: float) -> Batch | None:
        """Return the next batch; None if something has to be read first.

        Raises:
            RedisError: A failure, if failures are to be raised.
        """
        self._now = now
        if self._queue.runs or self._queue.rest:
            return self._install(self._queue.next_batch())
        batch = self._release(now) if self._unsettled else None
        if batch is not None:
            return self._install(batch)
        if self._failure is not None:
            return self.report(self._take_failure())
        if now >= self._wait.ends_at and self._is_over(now):
            if not self._reading.stop_on_timeout:
                return self._install(EMPTY)
            return self._install(Item(self._reading.timeout_response, in_batches=[]))
        if self._lost and now >= self._retry_at:
            self._lost.clear()
        self._ask()
        return None

    def wake_at(self) -> float | None:
        """Return the time until which to wait for the hub; None for ever."""
        held_until = None if self._hold is None else self._hold.due_at
        times = [self._wait.ends_at, self._retry_at if self._lost else inf, held_until or inf]
        earliest = min([time for time in times if time > self._now], default=inf)
        return None if earliest == inf else earliest

    def woke(self, now: float) -> None:
        """Take note that the hub had nothing to report until `wake_at`."""

    def report(self, error: RedisError) -> Batch:
        """Raise a failure, or return it as what is delivered next."""
        if self._is_raised(error):
            raise error
        return self._install(Item(error, in_batches=error))

    def _ask(self) -> None:
        """Have the hub read what the caller waits for, or will wait for next."""
        if self.block is None:
            asked = [copy for copy in self._copies.values() if copy.read_at <= self._since]
        else:
            asked = [copy for copy in self._unsettled if not copy.caught_up]
        for copy in asked:
            if not copy.pending and copy not in self._lost:
                self._hub.enqueue(copy)

    def _is_over(self, now: float) -> bool:
        """Return True if the streams have had nothing for as long as the caller would wait."""
        if self._hold is not None and self._hold.is_holding:
            return False
        copies: Iterable[Copy] = self._copies.values()
        if self.block is not None:
            is_over = all(self._hub.is_read_live(copy, now) for copy in copies)
        else:
            copies = [copy for copy in copies if not copy.was_lost]
            is_over = bool(copies) and all(copy.read_at > self._since for copy in copies)
        if not is_over:
            self._watch(copies)
        return is_over

    def _watch(self, copies: Iterable[Copy]) -> None:
        """Be woken by the next step; while copies wait for their turn, its begin is enough."""
        if any(copy.feed is not None for copy in copies):
            self._hub.watching[self] = None

    # Reports of the hub.

    def note(self, copy: Copy) -> None:
        """Take note that entries of a stream were received, or that there are none."""
        copy.was_lost = False
        self._unsettled[copy] = None
        self._pauses = None
        self.bell()

    def fail(self, error: RedisError, copies: list[Copy]) -> None:
        """Take note of a failure. One at a time is reported, after messages."""
        for copy in copies:
            copy.was_lost = True
            self._unsettled[copy] = None
            if copy.feed is None:
                self._lost[copy] = None
        if self._failure is None:
            self._failure = error, copies
        self.bell()

    def rewind(self) -> None:
        """Forget what was not delivered: it will be read again."""
        self._install(EMPTY)
        self._queue.runs, self._queue.rest = [], []
        for copy in self._copies.values():
            self._hub.drop(copy)
            at = self._queue.delivered.get(copy.name) or copy.start or ZERO
            copy.restart(at if isinstance(at, bytes) else at.encode())
            self._unsettled[copy] = None

    def leave(self) -> None:
        """Have the hub read nothing more for this follower."""
        for copy in self._copies.values():
            self._hub.drop(copy)
        self._hub.leave(self)

    # Deliveries.

    def _take_failure(self) -> RedisError:
        failure, self._failure = self._failure, None
        assert failure is not None  # noqa: S101 - asked for where there is one
        # A caller that goes on at once would see nothing but failures of this one.
        others_go_on = any(map(self._hub.is_apart, failure[1])) and any(
            not copy.was_lost for copy in self._copies.values()
        )
        if not self._is_raised(failure[0]) or others_go_on:
            self._retry_at = inf
        return failure[0]

    def _is_raised(self, error: RedisError) -> bool:
        return self._reading.raise_connection_exceptions or not isinstance(error, ConnectionError)

    def _install(self, batch: Batch) -> Batch:
        # In this order, so that no other thread sees positions go back.
        queue = self._queue
        if self.batch is not EMPTY:
            queue.delivered.update(self.batch.delivered())
            queue.counted = queue.counted[0] + self.batch.count, batch
        else:
            queue.counted = queue.counted[0], batch
        self.batch = batch
        return batch

    def _release(self, now: float) -> Batch | None:
        if self._hold is None and len(self._unsettled) == 1:
            # Live messages mostly come alone.
            (copy,) = self._unsettled
            if copy.caught_up and copy.pending and not self._queue.has_unmade:
                run, copy.pending = copy.pending, []
                self._unsettled.clear()
                self._queue.runs = [self._make(copy, run)]
                return self._queue.next_batch()
        unsettled = [copy for copy in self._unsettled if copy.pending or not copy.caught_up]
        unsettled.sort(key=_place_of)
        self._unsettled = dict.fromkeys(unsettled)
        limit = None
        if self._hold is not None:
            # It looks at a few attributes only, and whether any read was completed.
            hold: Any = self._hold
            hold.arrived([True], unsettled, now)
            limit = hold.limit([], now)
        if self._failure is not None:
            limit = None  # messages that are held back are delivered before a failure is
        lost: dict[object, list[Copy]] = {}
        for copy in unsettled:
            if copy.was_lost and self._hub.is_apart(copy):
                lost.setdefault(self._hub.group_of(copy), []).append(copy)
        known = [copy for copy in unsettled if not (copy.was_lost and self._hub.is_apart(copy))]
        runs = release(known, limit, lost.values())
        if not runs:
            return None
        self._queue.runs = [self._make(self._copies[run[0][0]], run) for run in runs]
        # The next reads are on their way while the caller works through this batch.
        self._ask()
        return self._queue.next_batch()

    def _make(self, copy: Copy, run: list[Message]) -> list[Message]:
        """Make messages of entries of one stream, which all followers share."""
        factory = self._hub.factory(copy.source, self._reading.fields)
        unmade: list[Message] = []
        if len(run) == 1:
            made = [factory.make_safely(copy.name, run[0][1], run[0][2], unmade)]
        else:
            ids, entries = [entry[1] for entry in run], [entry[2] for entry in run]
            made = factory.make_each(copy.name, ids, entries, unmade)
        if unmade:
            self._queue.has_unmade = True
        return made
