"""One server or one cluster: its streams, and the connections over which they are read.

The topology of an upstream is decided in one place. `Standalone` spreads streams over the
connections to one server; `Cluster` (in `cluster`) takes over as soon as a server redirects.
Both have the same methods: `assign`, `group`, `is_redirection`, `answered` and `failed`.
"""

from __future__ import annotations

from bisect import insort

from ..protocol.ids import number_of
from ..protocol.messages import MessageFactory
from ..starts import parse_start
from .assignment import Assignment, Outages
from .cluster import Cluster
from .events import Phase
from .slots import is_cluster_error
from .stream import StreamState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol, TypeAlias

    from ..exceptions import RedisError
    from ..options import ConnectionOptions, ReadOptions
    from ..protocol.values import ServerError
    from ..starts import Followed, Name, Start
    from .delivery import Delivered
    from .events import Redirected
    from .readahead import Request

    Positions: TypeAlias = dict[Name, bytes | str | None]

    class Topology(Protocol):
        """The connections of an upstream, and which streams each of them reads."""

        assignments: list[Assignment]

        def assign(self, streams: list[StreamState]) -> None:
            """Have exactly these streams read."""
            ...

        def group(self, streams: list[StreamState]) -> list[list[StreamState]]:
            """Group streams so that one XREAD may name those of a group."""
            ...

        def is_redirection(self, error: ServerError) -> bool:
            """Return True if an error only says that streams are read elsewhere, or later."""
            ...

        def answered(self, assignment: Assignment, request: Request) -> bool:
            """Take note of an answer; return True if streams have to be assigned again."""
            ...

        def failed(self, assignment: Assignment, time: float) -> bool:
            """Take note of a failure; return True if the caller has to know."""
            ...


# Streams per connection, and the most connections, unless the caller says otherwise. XREAD
# names all its streams each time, and servers look at each of them: so a message costs the
# more, the more streams share its connection. Measured, a hundred are best (growing.rst).
_STREAMS_EACH = 100
_MOST_CONNECTIONS = 100


class Standalone:
    """The connections to one server. Each stream is read over one of them.

    A stream that is added while all connections wait for replies gets a lane: one more
    connection, whose reads block for some ms only, so that more streams may come to it. As
    soon as another connection is answered, that one takes over the streams of the lane.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._lane: Assignment | None = None
        self.assignments: list[Assignment] = [Assignment(upstream, upstream.options, None)]

    def assign(self, streams: list[StreamState]) -> None:
        """Have exactly these streams read: new ones where the fewest streams are."""
        wanted, upstream = set(streams), self._upstream
        kept = [[s for s in a.streams if s in wanted] for a in self.assignments]
        used = [pair for pair in zip(self.assignments, kept, strict=True) if pair[1]]
        assignments, shares = [a for a, _ in used], [share for _, share in used]
        known = {stream for share in shares for stream in share}
        new = [stream for stream in streams if stream not in known]
        idle = [a for a in self.assignments if a not in assignments]
        for assignment in idle:
            assignment.is_lane = False
        if self._lane not in assignments:
            self._lane = None
        more = connections_for(len(streams), upstream.reading.connections) - len(assignments)
        for _ in range(min(more + (self._lane is not None), len(new))):
            reused = idle.pop(0) if idle else Assignment(upstream, upstream.options, None)
            assignments.append(reused)
            shares.append([])
        pairs = list(zip(assignments, shares, strict=True))
        free = [share for a, share in pairs if not (a.is_lane or _is_reading(a))]
        free = free or [share for a, share in pairs if a.is_lane]
        if new and not free:
            self._lane = Assignment(upstream, upstream.options, None)
            self._lane.is_lane = True
            assignments.append(self._lane)
            shares.append([])
            free = shares[-1:]
        spread(new, free)
        for gone in idle:
            gone.assign([])
        for assignment, share in zip(assignments, shares, strict=True):
            if assignment.streams != share:
                assignment.assign(share)
        self.assignments = assignments or idle[:1]

    def group(self, streams: list[StreamState]) -> list[list[StreamState]]:
        """Group streams so that one XREAD may name those of a group: all of them."""
        return [streams] if streams else []

    def is_redirection(self, error: ServerError) -> bool:
        """Return True if an error says that this is a cluster."""
        return is_cluster_error(error)

    def answered(self, assignment: Assignment, request: Request) -> bool:  # noqa: ARG002
        """Take note of an answer; return True if a lane's streams have to be assigned again."""
        lane = self._lane
        if lane is None or assignment is lane or _is_reading(assignment):
            return False
        if lane.session is None or not lane.session.is_ready:
            return False
        lane.assign([])
        self.assignments = [a for a in self.assignments if a is not lane]
        self._lane = None
        return True

    def failed(self, assignment: Assignment, time: float) -> bool:  # noqa: ARG002
        """Take note of a failure, which the caller has to know."""
        return True


class Upstream:
    """A server, which turns out to be a cluster once it redirects.

    Attributes:
        name: The caller's name for it; None for the only one.
        options: The address of the server, and how to log in.
        reading: How to read.
        factory: The form of its messages.
        streams: Its streams, in the order in which they were given.
        topology: Its connections.
        failures: Failures to report that belong to no assignment any more.
        outages: The outages of its servers.
        may_read_ahead: True if reads may be sent before the reply to the last one was read.
    """

    def __init__(
        self,
        name: str | None,
        options: ConnectionOptions,
        reading: ReadOptions,
    ) -> None:
        self.name = name
        self.options = options
        self.reading = reading
        self.factory: MessageFactory = MessageFactory(
            reading.fields,
            options.encoding if options.decode_responses else None,
            options.encoding_errors,
        )
        self.streams: list[StreamState] = []
        self.outages: Outages = Outages()
        self.may_read_ahead: bool = True
        self.topology: Topology = Standalone(self)
        self.failures: list[RedisError] = []

    @property
    def is_cluster(self) -> bool:
        """True once a server has redirected."""
        return isinstance(self.topology, Cluster)

    @property
    def is_alone(self) -> bool:
        """True if there is one connection in all, so that no other one holds messages back."""
        return self.name is None and len(self.topology.assignments) == 1

    def make_streams(self, streams: Iterable[tuple[Name, Start]]) -> list[StreamState]:
        """Make the state of streams that are not followed yet.

        Raises:
            ValueError, TypeError: A stream is followed already, or a name or a start is not
                valid.
        """
        known = {stream.key: stream.name for stream in self.streams}
        made = []
        for name, start in streams:
            key = self.options.encode(name)
            full_name = name if self.name is None else (self.name, name)
            if key in known:
                raise ValueError(f"stream {full_name!r} is given twice, first as {known[key]!r}")
            known[key] = full_name
            made.append(StreamState(full_name, key, parse_start(name, start)))
        return made

    def add(self, streams: list[StreamState]) -> None:
        """Follow more streams."""
        self.streams = [*self.streams, *streams]
        self.topology.assign(self.streams)

    def discard(self, names: Iterable[Followed]) -> set[Followed]:
        """Drop streams, which may be called by their own names; return their full names."""
        own = [_own_name(name) for name in names if self._may_have(name)]
        keys = set(map(self.options.encode, own))
        dropped = [stream for stream in self.streams if stream.key in keys]
        if dropped:
            self.streams = [stream for stream in self.streams if stream.key not in keys]
            self.topology.assign(self.streams)
        for stream in dropped:
            stream.session = None
        return {stream.name for stream in dropped}

    def redirect(self, assignment: Assignment, event: Redirected) -> None:
        """Read streams elsewhere that a server has said not to serve."""
        if not isinstance(self.topology, Cluster):
            self.topology = Cluster(self, self.topology.assignments)
        at = assignment.options
        self.failures += self.topology.redirected(event.error, event.streams, at, event.time)
        self.topology.assign(self.streams)

    def positions(self, delivered: Delivered, current: Delivered) -> Positions:
        """Return the ID of each stream's last message that was delivered, or its start.

        Args:
            delivered: Positions at the beginning of the current batch.
            current: Positions that were reached in it. They go first: another thread may move
                both on meanwhile, in this order.
        """
        return {
            _own_name(stream.name): current.get(stream.name) or self._position(stream, delivered)
            for stream in self.streams
        }

    def figures_of(self, stream: StreamState, positions: Positions) -> dict[str, Any]:
        """Return figures about the reading of a stream, for `Streams.stats`."""
        position, last = positions.get(_own_name(stream.name)), None
        lag = 0
        if position is not None and stream.start is not None:
            lag = (number_of(stream.last_id) >> 64) - (number_of(position) >> 64)
            last = stream.last_id.decode() if isinstance(position, str) else stream.last_id
        return {"position": position, "last": last, "lag_ms": max(0, lag)}

    def rewind(self, delivered: Delivered) -> None:
        """Read all streams again from their positions."""
        for stream in self.streams:
            position = self._position(stream, delivered)
            if position is None:
                stream.restart(stream.last_id)
            else:
                stream.restart(position if isinstance(position, bytes) else position.encode())
        # The connections may have been amid a change of the streams.
        self.topology.assign(self.streams)

    def _may_have(self, name: Followed) -> bool:
        return not isinstance(name, tuple) or name[0] == self.name

    def _position(self, stream: StreamState, delivered: Delivered) -> bytes | str | None:
        position = delivered.get(stream.name)
        if position is not None or stream.start is None:
            return position
        return stream.start.decode() if self.options.decode_responses else stream.start


def _is_reading(assignment: Assignment) -> bool:
    return assignment.session is not None and assignment.session.phase is Phase.READING


def connections_for(streams: int, wanted: int | None) -> int:
    """Return the number of connections for so many streams; the caller may want a number."""
    most = min(_MOST_CONNECTIONS, -(-streams // _STREAMS_EACH)) if wanted is None else wanted
    return max(1, min(most, streams))


def spread(streams: Iterable[StreamState], shares: list[list[StreamState]]) -> None:
    """Add each stream to the share that is the smallest by then."""
    # Not by heapq, whose import would take a tenth of the memory of all imports.
    sizes = sorted((len(share), at) for at, share in enumerate(shares))
    for stream in streams:
        size, at = sizes.pop(0)
        shares[at].append(stream)
        insort(sizes, (size + 1, at))


def _own_name(name: Followed) -> Name:
    """Return the name that a stream has where it is."""
    return name[1] if isinstance(name, tuple) else name
