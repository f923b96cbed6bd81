"""One reader for many followers: which stream is read when, and to whom its entries go.

Each stream that is followed has at most one live feed, a stream of a reader like any other, over
connections whose reads block. All followers that have read everything share it. Whoever is behind
catches up over one more connection, by reads in turn that do not block, each after the position of
one follower; others that are further ahead take their part of the reply, too.

A follower joins the live feed when its position meets that of the feed (`_join`)::

    behind:  after 5 -> 6 7 8 -> nothing more
    live:                          9 -> 10 -> ...

Nothing is lost there: what the live feed has passed on since that read was sent is kept beside the
feed of the turn. And nothing comes twice, since a copy takes in only what is after its last ID. A
follower that is slow leaves the live feed once its copy is full, and catches up later: so the
stream at the server is the only queue that grows.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from math import inf

from ..exceptions import ResponseError
from ..options import ReadOptions
from ..protocol.ids import ZERO, is_later
from ..protocol.messages import MessageFactory
from .delivery import EMPTY
from .events import Log, Phase
from .reader import Reader
from .stream import StreamState
from .topology import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ..exceptions import RedisError
    from ..options import ConnectionOptions
    from ..protocol.messages import Message
    from ..starts import Followed
    from .assignment import Assignment
    from .delivery import Batch
    from .events import Event
    from .follower import Copy, Follower

# The most streams that one turn reads, and entries of a live feed that are kept meanwhile.
_MOST_STREAMS = 100
_MOST_MISSED = 100
# The longest that one read blocks, and the shortest, in ms, for each connection: where followers
# wait for less, many connections would be asked all the time.
_SLICE, _SHORT = 20_000, 10


def _flatten(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return list(chain.from_iterable(pairs))


class Feed(StreamState):
    """A stream that is read for followers.

    Attributes:
        copies: The copies of followers that it passes entries on to.
        reached: The ID up to which entries were passed on; None before the start is pinned.
        missed: For a feed of a turn, the entries that the live feed of the stream has passed on
            meanwhile; None if these are too many.
    """

    __slots__ = ("copies", "missed", "reached")

    def __init__(self, copy: Copy) -> None:
        start = copy.from_end if copy.start is None else copy.last_id
        super().__init__(copy.feed_name, copy.key, start)
        self.reported_gap: str | None = copy.reported_gap
        self.copies: dict[Copy, None] = {}
        self.reached: bytes | None = self.start
        self.missed: list[Message] | None = []

    def add(self, copy: Copy) -> None:
        """Pass entries on to one more copy."""
        self.copies[copy] = None
        copy.feed = self

    def pin(self) -> None:
        """Have copies start where the feed was pinned."""
        if self.reached is None and self.start is not None:
            self.reached = self.start
            for copy in self.copies:
                copy.start = copy.last_id = self.start


class Hub:
    """The followers, and the feeds that they need.

    Args:
        servers: The addresses of the servers, and how to log in, by the caller's name for
            each of them, or None for the only one.
        connections: The most connections to each; None for a default by the number of streams.
        max_bytes: The most bytes of all replies that are read at once.

    Attributes:
        live: The servers, with the live feeds.
        behind: The servers, with the feeds of the current turn.
        followers: The followers that have asked for anything.
        watching: Followers to wake after the next step.
        turn: Number of the current step.
        departed: Followers that leave before the next step.
        bell: The function that wakes whoever runs the reader.
        reader: The reader of all feeds.
    """

    def __init__(
        self,
        servers: Mapping[str | None, ConnectionOptions],
        connections: int | None,
        max_bytes: int,
    ) -> None:
        reading = ReadOptions(block=0, connections=connections, max_bytes=max_bytes)
        # With `hold`, no read is sent ahead: the next one is the turn of others.
        in_turn = ReadOptions(block=None, connections=1, hold=1, max_bytes=max_bytes)
        self.live: dict[str | None, Upstream] = {
            name: Upstream(name, at, reading) for name, at in servers.items()
        }
        self.behind: dict[str | None, Upstream] = {
            name: Upstream(name, at, in_turn) for name, at in servers.items()
        }
        for upstream in (*self.live.values(), *self.behind.values()):
            upstream.factory = MessageFactory(_flatten)
            upstream.outages = self.live[upstream.name].outages
        self.followers: dict[Follower, None] = {}
        self.watching: dict[Follower, None] = {}
        self.departed: deque[Follower] = deque()
        self.turn = 0
        self.bell: Callable[[], object] = bool
        # Feeds by their names: live ones, and those of the current turn.
        self._feeds: dict[Followed, Feed] = {}
        self._turns: dict[Followed, Feed] = {}
        # Live feeds that are new, or have lost their followers; and those with more entries.
        self._changed: dict[Feed, None] = {}
        self._uneven: dict[Feed, None] = {}
        # For each server, the copies that wait for their turn, by key.
        self._queues: dict[str | None, dict[bytes, dict[Copy, None]]] = {at: {} for at in servers}
        # Numbers of followers by their `block`, and the factories of messages.
        self._blocks: dict[int | None, int] = {}
        self._factories: dict[str | None, MessageFactory] = {}
        self.reader: SharedReader = SharedReader(self, reading)

    # Questions and orders of followers.

    def factory(self, source: str | None, fields: Callable[..., Any]) -> MessageFactory:
        """Return the factory of messages with such data."""
        if fields is dict and source in self._factories:
            return self._factories[source]
        options = self.live[source].options
        encoding = options.encoding if options.decode_responses else None
        factory = MessageFactory(fields, encoding, options.encoding_errors)
        if fields is dict:
            self._factories[source] = factory
        return factory

    def is_apart(self, copy: Copy) -> bool:
        """Return True if a stream holds back no others while its server is down."""
        return len(self.live) > 1 or self.behind[copy.source].is_cluster

    def group_of(self, copy: Copy) -> object:
        """Return the key of what keeps an order of its own while it is down."""
        return copy if self.behind[copy.source].is_cluster else copy.source

    def is_established(self, copy: Copy) -> bool:
        """Return True if a stream is connected, and its start is known."""
        if copy.read_at >= 0:
            return True
        session = None if copy.feed is None else copy.feed.session
        return copy.start is not None and session is not None and session.is_ready

    def is_read_live(self, copy: Copy, now: float) -> bool:
        """Return True if a stream is read live, and no reply is late."""
        feed = copy.feed
        if feed is None or not copy.caught_up or self._feeds.get(feed.name) is not feed:
            return False
        session = feed.session
        return session is not None and session.is_ready and not session.is_late(now)

    def enqueue(self, copy: Copy) -> None:
        """Read a stream for a follower in one of the next turns, unless it is read already."""
        queue = self._queues[copy.source].setdefault(copy.key, {})
        if copy.feed is None and copy not in queue:
            queue[copy] = None
            self.bell()

    def drop(self, copy: Copy) -> None:
        """Read a stream no more for a follower."""
        self._queues[copy.source].get(copy.key, {}).pop(copy, None)
        feed, copy.feed = copy.feed, None
        if feed is not None:
            feed.copies.pop(copy, None)
            if not feed.copies and self._feeds.get(feed.name) is feed:
                self._changed[feed] = None

    def join(self, follower: Follower) -> None:
        """Take note of a follower that will ask for streams."""
        if follower not in self.followers:
            self.followers[follower] = None
            self._blocks[follower.block] = self._blocks.get(follower.block, 0) + 1

    def depart(self, follower: Follower) -> None:
        """Have a follower leave before the next step; for any thread."""
        if follower in self.followers:
            self.departed.append(follower)

    def leave(self, follower: Follower) -> None:
        """Forget a follower that has dropped its streams."""
        self.watching.pop(follower, None)
        if self.followers.pop(follower, self) is None:
            self._blocks[follower.block] -= 1
            if not self._blocks[follower.block]:
                del self._blocks[follower.block]

    # Steps of the reader.

    def change_live(self) -> None:
        """Have exactly the streams read live that have followers."""
        changed: dict[Upstream, None] = {}
        for feed in self._changed:
            if not feed.copies and self._feeds.get(feed.name) is feed:
                del self._feeds[feed.name]
                self._uneven.pop(feed, None)
            changed[self.live[_source_of(feed)]] = None
        self._changed.clear()
        for upstream in changed:
            feeds = self._feeds.values()
            self.reader.read(upstream, [f for f in feeds if self.live[_source_of(f)] is upstream])

    @property
    def has_turns(self) -> bool:
        """True if any feeds are to be read for those behind."""
        return bool(self._turns)

    def take_turns(self) -> None:
        """Have the next streams read for those behind, where no such read is on its way."""
        for source, upstream in self.behind.items():
            queues = self._queues[source]
            if not queues and not self._turns:
                continue
            if not upstream.is_cluster and _is_reading(upstream):
                continue
            waiting = [f for f in upstream.streams if isinstance(f, Feed) and f.copies]
            keys = {feed.key for feed in waiting}
            fresh: list[Feed] = []
            for key in list(queues):
                if len(keys) >= _MOST_STREAMS:
                    break
                if key not in keys:
                    queue = queues.pop(key)
                    if queue:
                        keys.add(key)
                        fresh.append(self._begin_turn(queue))
                    if queue:
                        queues[key] = queue  # once all others had their turn
            # Feeds without followers are read no more with those that wait.
            if fresh or (waiting and len(waiting) < len(upstream.streams)):
                self.reader.read(upstream, [*waiting, *fresh])

    def _begin_turn(self, queue: dict[Copy, None]) -> Feed:
        """Make a feed for the first of a queue, and for others that are further ahead."""
        first = next(iter(queue))
        feed = Feed(first)
        feed.was_read = first.was_lost  # the stream may have been trimmed or rewound meanwhile
        for copy in list(queue):
            if copy.start is None or first.start is None:
                is_served = copy.start is first.start and copy.from_end == first.from_end
            else:
                is_served = not is_later(first.last_id, copy.last_id)
            if is_served:
                del queue[copy]
                feed.add(copy)
                copy.follower.bell()
        self._turns[feed.name] = feed
        return feed

    def pass_on(self, feed: Feed) -> None:
        """Pass received entries on to followers."""
        feed.pin()
        run, feed.pending = feed.pending, []
        after, feed.reached = feed.reached, feed.last_id
        is_live = self._feeds.get(feed.name) is feed
        if is_live:
            if not feed.caught_up:
                self._uneven[feed] = None
            turn = self._turns.get(feed.name)
            if turn is not None and turn.missed is not None:
                turn.missed = turn.missed + run if len(turn.missed) < _MOST_MISSED else None
        for copy in list(feed.copies):
            is_whole = copy.accept(run, after)
            copy.caught_up = is_live and is_whole and feed.caught_up
            if is_live and not is_whole:
                self.drop(copy)
            copy.follower.note(copy)

    def end_turn(self, feed: Feed, sent_at: int) -> None:
        """Take note that the read of a feed for those behind was answered.

        Args:
            feed: The feed.
            sent_at: Turn in which the read was sent.
        """
        feed.pin()
        if self._turns.get(feed.name) is feed:
            del self._turns[feed.name]
        copies, feed.copies = feed.copies, {}
        for copy in copies:
            copy.feed, copy.read_at = None, sent_at
            if feed.caught_up and not is_later(feed.last_id, copy.last_id):
                self._join(copy, feed)
            elif not copy.pending:
                self.enqueue(copy)
            copy.follower.note(copy)

    def _join(self, copy: Copy, turn: Feed) -> None:
        """Join the live feed, after a read that has found nothing more."""
        if copy.follower.block is None:
            copy.caught_up = True  # it is read whenever the caller asks
            return
        if turn.missed is None:
            self.enqueue(copy)
            return
        if not copy.accept(turn.missed, None):
            return
        copy.caught_up = True
        live = self._feeds.get(copy.feed_name)
        if live is None or is_later(live.reached or ZERO, copy.last_id):
            # Either is new, or another follower has begun at an ID that is yet to come.
            others: Iterable[Copy] = ()
            if live is not None:
                others, live.copies = live.copies, {}
                self._uneven.pop(live, None)
            self._feeds[copy.feed_name] = live = Feed(copy)
            live.caught_up = True
            self._changed[live] = None
            for other in others:
                live.add(other)
        live.add(copy)

    def settle(self) -> None:
        """Take note of live feeds that turned out to have no more entries."""
        for feed in [feed for feed in self._uneven if feed.caught_up]:
            del self._uneven[feed]
            for copy in feed.copies:
                copy.caught_up = True
                copy.follower.note(copy)

    def fail(self, error: RedisError, assignment: Assignment, streams: list[StreamState]) -> None:
        """Report a failure to the followers concerned.

        They leave their feeds, and are read again once they ask; in a cluster, other nodes are
        asked at once.
        """
        upstream, at_fault = assignment.upstream, getattr(error, "stream", None)
        feeds = [f for f in streams if isinstance(f, Feed) and at_fault in (None, f.name)]
        for feed in feeds:
            if self._turns.get(feed.name) is feed and not upstream.is_cluster:
                del self._turns[feed.name]
        copies = [copy for feed in feeds for copy in feed.copies]
        if at_fault is None and upstream is self.behind[upstream.name] and not upstream.is_cluster:
            copies += [copy for queue in self._queues[upstream.name].values() for copy in queue]
        concerned: dict[Follower, list[Copy]] = {}
        for copy in copies:
            if at_fault is not None or not upstream.is_cluster:
                self.drop(copy)
                copy.caught_up = False
            concerned.setdefault(copy.follower, []).append(copy)
        for follower, of_follower in concerned.items():
            if at_fault is not None and upstream is self.live[upstream.name]:
                follower.note(of_follower[0])  # its next turn says so
            else:
                follower.fail(_own(error, of_follower[0]), of_follower)

    def fail_all(self, error: RedisError) -> None:
        """Report a failure to all followers."""
        for follower in list(self.followers):
            follower.fail(_own(error, None), [])

    def note_gaps(self, streams: list[StreamState]) -> None:
        """Take note of streams that were found to be trimmed, or to have begun again."""
        for feed in streams:
            if not isinstance(feed, Feed) or not feed.gaps:
                continue
            feed.gaps = 0
            for copy in list(feed.copies):
                copy.gaps += 1
                copy.reported_gap = feed.reported_gap
                if feed.reported_gap == "rewound" and copy.follower.restarts and not copy.pending:
                    self.drop(copy)
                    copy.start = ZERO
                    copy.restart(ZERO)
                    copy.follower.note(copy)

    def block(self, connections: int) -> int:
        """Return how long a live read may block, in ms: no longer than a follower waits."""
        shortest = min((block for block in self._blocks if block), default=_SLICE)
        return min(_SLICE, max(shortest, _SHORT * connections))

    def end_step(self) -> None:
        """Wake followers that wait for whatever happens."""
        watching, self.watching = self.watching, {}
        for follower in watching:
            follower.bell()

    def rewind(self) -> None:
        """Forget all feeds, and what was not delivered: everything is read again."""
        for follower in self.followers:
            follower.rewind()
        for feeds in (self._feeds, self._turns, self._changed, self._uneven):
            feeds.clear()
        for upstream in (*self.live.values(), *self.behind.values()):
            upstream.streams = []


class SharedReader(Reader):
    """Reads the feeds of a hub. It delivers nothing itself."""

    def __init__(self, hub: Hub, reading: ReadOptions) -> None:
        super().__init__({}, reading)
        self._hub = hub
        upstreams = [*hub.live.values(), *hub.behind.values()]
        self._upstreams = {str(at): upstream for at, upstream in enumerate(upstreams)}
        self._look_over()

    def figures(self, now: float) -> dict[str, Any]:
        """Return figures about the connections."""
        answered_at = self._answered_at
        return {
            "outages": self._outages,
            "answered": None if answered_at is None else max(0.0, now - answered_at),
        }

    def read(self, upstream: Upstream, feeds: list[Feed]) -> None:
        """Read exactly these feeds at a server."""
        upstream.streams = [*feeds]
        upstream.topology.assign(upstream.streams)
        for assignment in upstream.topology.assignments:
            if assignment.retry_at == inf:
                assignment.retry_at = 0.0
        self._look_over()

    def begin_wait(self, now: float) -> None:
        """Nobody asks for messages here."""

    def step(self, now: float) -> Batch | None:
        """Pass on what has come, and ask for more; an empty batch if there are no followers."""
        hub = self._hub
        while hub.departed:
            hub.departed.popleft().leave()
        if not hub.followers:
            return EMPTY
        hub.turn += 1
        self._park()
        self._take_events(now)
        for assignment in self.active:
            for stream in assignment.find_unsettled():
                if stream.pending and isinstance(stream, Feed):
                    hub.pass_on(stream)
        completed, self._completed = self._completed, []
        for assignment, request in completed:
            if _is_behind(assignment):
                for stream in request.streams:
                    if isinstance(stream, Feed):
                        hub.end_turn(stream, request.wait)
        hub.settle()
        self._report_failures()
        hub.change_live()
        hub.take_turns()
        self._ask(now)
        hub.end_step()
        return None

    def rewind(self) -> None:
        """Forget all feeds, and what is on its way."""
        self._hub.rewind()
        super().rewind()

    def _report_failures(self) -> None:
        for assignment in list(self.active):
            failure, streams = assignment.failure, assignment.streams
            if failure is not None and self._is_news(assignment, failure):
                assignment.failure = None
                if not assignment.upstream.is_cluster:
                    assignment.retry_at = inf  # until a follower asks
                self._hub.fail(failure.error, assignment, streams)
        failures, self._failures = self._failures, []
        for error in failures:
            self._hub.fail_all(error)

    def _ask(self, now: float) -> None:
        hub, block = self._hub, self._hub.block(len(self.assignments))
        for assignment in self.active:
            session = assignment.session
            if session is None or session.phase is not Phase.IDLE:
                continue
            if not _is_behind(assignment):
                session.ask(now, self._limit_block(assignment, block), hub.turn)
            if not (_is_behind(assignment) and hub.has_turns):
                continue
            feeds = [feed for feed in assignment.streams if isinstance(feed, Feed)]
            counts = [copy.follower.count for feed in feeds for copy in feed.copies]
            if counts:
                size, most = assignment.history.read_size, max(counts)
                size.count = most if size.count == size.most else min(size.count, most)
                size.most = most
                session.ask(now, None, hub.turn)

    def _look_over(self) -> None:
        super()._look_over()
        self.has_streams = True  # the reader works until the last follower leaves

    def _handle(self, assignment: Assignment, event: Event) -> None:
        super()._handle(assignment, event)
        if isinstance(event, Log):
            self._hub.note_gaps(assignment.streams)


def _source_of(feed: Feed) -> str | None:
    return feed.name[0] if isinstance(feed.name, tuple) else None


def _is_behind(assignment: Assignment) -> bool:
    return assignment.upstream.reading.block is None


def _is_reading(upstream: Upstream) -> bool:
    sessions = [assignment.session for assignment in upstream.topology.assignments]
    return any(session is not None and session.phase is Phase.READING for session in sessions)


def _own(error: RedisError, copy: Copy | None) -> RedisError:
    """Make an exception of a follower's own, with the name that it knows the stream by."""
    own = type(error).__new__(type(error), *error.args)
    vars(own).update(vars(error))
    own.__cause__ = error.__cause__
    at_fault = getattr(error, "stream", None)
    if isinstance(own, ResponseError) and copy is not None and at_fault is not None:
        own.args = (str(error).replace(repr(at_fault), repr(copy.name), 1),)
        own.stream = copy.name
    return own
