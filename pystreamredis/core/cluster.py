"""A cluster: which node owns which slot, and over which connections streams are read.

XREAD takes streams of one hash slot only, at the node that owns it, and names the owner only
when it is asked at the wrong place. So all knowledge comes from replies:

- an answer shows that the node owns the slot;
- ``MOVED`` names the new owner; ``ASK`` and ``TRYAGAIN`` mean that the slot is migrating, and
  the old owner is asked again, since the new one answers nobody yet that does not say ASKING;
- where a node does not answer, other known nodes are asked, whatever they know.

Moving means to read on elsewhere from the same ID. Redirections are followed in silence, ever
slower while one follows the other, until they have gone on for too long.

A slot gets a connection of its own, over which reads block. The slots beyond the limit share
one connection for each node, and are read there in turns.
"""

from __future__ import annotations

from ..escaping import escape
from ..exceptions import ConnectionError
from .assignment import Assignment, add_jitter, pauses_of
from .slots import by_slot, is_slot_error, moved_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..options import ConnectionOptions, RetryDelay
    from ..protocol.values import ServerError
    from .assignment import Key
    from .readahead import Request
    from .stream import StreamState
    from .topology import Upstream

# Slots that get a connection of their own. Many systems let a process open 1,024 files, some
# only 256.
_OWN_CONNECTIONS = 128
# Redirections and failures in a row, without an answer, after which the caller is told.
_TRIES = 12
# Seconds that a slot may be migrating before others wait no longer for what it may hold, and
# before that is reported.
_HOLDS_BACK = 1.0
_PATIENCE = 10.0
# Seconds before a slot is asked for again: while it is migrating, and after failures.
_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
# Milliseconds in which more failures of a node are not reported, where `block` is shorter.
_QUIET = 1000


class Share:
    """The streams to read over one connection.

    Attributes:
        key: Slot and address; no slot where several share the connection.
        options: The address of the node.
        streams: The streams.
        not_before: Time before which to connect or read there, in seconds.
        held_apart: Those of slots that others do not wait for any longer.
    """

    def __init__(self, key: Key, options: ConnectionOptions) -> None:
        self.key = key
        self.options = options
        self.streams: list[StreamState] = []
        self.not_before: float = 0.0
        self.held_apart: list[list[StreamState]] = []


class _SlotOwner:
    """The node where a slot is read.

    Attributes:
        options: The address of the node.
        is_known: True if it has answered for the slot, or was named by another node.
        tries: Number of redirections and failures since the last answer.
        not_before: Time before which to ask it again, in seconds.
        pauses: The caller's pauses before the next tries of the outage; None if there is none.
        moves_since: Time since when the slot is migrating; None if it is not.
        reported_at: Time when that was reported last.
        has_failed: True if a connection for the slot has failed since the last answer.
        is_down: True if others do not wait any longer for what the slot may hold: it has failed
            again, or is migrating for long.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.confirm()
        self.is_known = False

    def confirm(self) -> None:
        """Take note of an answer."""
        self.is_known = True
        self.tries = 0
        self.not_before = 0.0
        self.pauses: Iterator[float] | None = None
        self.moves_since: float | None = None
        self.reported_at = 0.0
        self.has_failed = False
        self.is_down = False

    def put_off(self, now: float) -> None:
        """Count one more try without an answer; the pause grows with each."""
        self.tries += 1
        if self.tries > 2:
            self.not_before = now + add_jitter(min(_LONGEST_PAUSE, _PAUSE * self.tries))

    def migrate(self, now: float) -> None:
        """Take note that the slot is migrating."""
        self.not_before = now + _PAUSE
        if self.moves_since is None:
            self.moves_since = self.reported_at = now
        self.is_down = self.is_down or now - self.moves_since >= _HOLDS_BACK

    def is_overdue(self, now: float) -> bool:
        """Return True if redirections have gone on for so long that it has to be reported."""
        if self.moves_since is not None and now - self.reported_at >= _PATIENCE:
            self.reported_at = now
            return True
        return bool(self.tries) and not self.tries % _TRIES


class SlotMap:
    """The owners of slots, as far as redirections and answers show them.

    Args:
        seed: The node that the caller has named.
        own_connections: The most slots with a connection of their own; None for a default.
        retry_delay: The option of this name.
    """

    def __init__(
        self,
        seed: ConnectionOptions,
        own_connections: int | None,
        retry_delay: RetryDelay | None = None,
    ) -> None:
        self._seed = seed
        self._retry_delay = retry_delay
        self._limit = _OWN_CONNECTIONS if own_connections is None else own_connections
        self._owners: dict[int, _SlotOwner] = {}
        self._own: set[int] = set()
        # Nodes that have answered, or were named by others.
        self._nodes: dict[str, ConnectionOptions] = {}
        # Times until which more failures at an address are not reported.
        self._quiet_until: dict[str, float] = {}

    def shares(self, streams: Iterable[StreamState]) -> list[Share]:
        """Divide streams among connections."""
        slots = by_slot(streams)
        self._owners = {s: self._owners.get(s) or _SlotOwner(self._seed) for s in slots}
        self._own &= slots.keys()
        shares: dict[Key, Share] = {}
        for slot, of_slot in slots.items():
            owner = self._owners[slot]
            if owner.is_known and len(self._own) < self._limit:
                self._own.add(slot)
            key = slot if slot in self._own else None, owner.options.address
            share = shares.setdefault(key, Share(key, owner.options))
            share.streams += of_slot
            share.not_before = max(share.not_before, owner.not_before)
            if owner.is_down:
                share.held_apart.append(of_slot)
        return list(shares.values())

    def answered(self, streams: Iterable[StreamState], at: ConnectionOptions) -> bool:
        """Take note that a node has answered a read; return True if that changes anything."""
        is_news = False
        for slot in by_slot(streams):
            owner = self._owners.get(slot)
            if owner and (owner.tries or not owner.is_known or owner.moves_since is not None):
                owner.confirm()
                self._remember(at)
                is_news = True
        return is_news

    def redirected(
        self, error: ServerError, streams: Iterable[StreamState], at: ConnectionOptions, now: float
    ) -> list[ConnectionError]:
        """Take note that a node has refused to read streams by a redirection.

        Returns:
            Failures to report: of slots for which that has gone on for too long.
        """
        at = at.at(at.host, at.port)
        failures = []
        for slot in by_slot(streams):
            owner = self._owners.setdefault(slot, _SlotOwner(at))
            if error.code == "CROSSSLOT":
                # Nothing is known yet but that each slot has to be asked for by itself.
                owner.options = at
            elif (moved := moved_to(error, at.host)) is not None:
                owner.put_off(now)
                try:
                    owner.options = at.redirected(*moved[1:])
                except ConnectionError as refused:
                    # The reader never leaves a unix socket, or address_remap has failed.
                    owner.not_before = now + _LONGEST_PAUSE
                    failures.append(refused.with_traceback(None))
                    continue
                owner.is_known = True
                self._remember(owner.options)
            else:
                owner.migrate(now)
            if owner.is_overdue(now):
                owner.is_down = True
                text = f"{at.address} refused XREAD of slot {slot} for long: {escape(error.text)}"
                failures.append(ConnectionError(text))
        return failures

    def failed(
        self, streams: Iterable[StreamState], at: ConnectionOptions, now: float, quiet: float
    ) -> bool:
        """Take note that the connection to a node failed over which streams were read.

        Returns:
            True if it has to be reported. More failures of that node have not for `quiet`
            seconds.
        """
        for slot in by_slot(streams):
            owner = self._owners.setdefault(slot, _SlotOwner(at))
            owner.put_off(now)
            if self._retry_delay is not None:
                # Not kept where the caller's iterator of pauses raises an exception.
                pauses, owner.pauses = owner.pauses or pauses_of(None, self._retry_delay), None
                owner.not_before = now + next(pauses)
                owner.pauses = pauses
            # Connections break. So nothing is delivered past the slot before another try.
            owner.is_down = owner.is_down or owner.has_failed
            owner.has_failed = True
            # Once more at the same node, then others are asked.
            if owner.tries > 1:
                owner.options = self._next(at)
                owner.is_known = False
        is_news = now >= self._quiet_until.get(at.address, now)
        if is_news:
            self._quiet_until = {to: t for to, t in self._quiet_until.items() if t > now}
            self._quiet_until[at.address] = now + quiet
        return is_news

    def is_down(self, streams: Iterable[StreamState]) -> bool:
        """Return True if others do not wait any longer for what these streams may hold."""
        return any(self._owners[slot].is_down for slot in by_slot(streams))

    def _next(self, at: ConnectionOptions) -> ConnectionOptions:
        """Return the node after this one, so that each has its turn, the seed too."""
        nodes = {self._seed.address: self._seed, **self._nodes}
        addresses = list(nodes)
        turn = addresses.index(at.address) + 1 if at.address in nodes else 0
        return nodes[addresses[turn % len(addresses)]]

    def _remember(self, node: ConnectionOptions) -> None:
        # No cluster has more nodes than are remembered.
        self._nodes = dict([*self._nodes.items(), (node.address, node)][-64:])


class Cluster:
    """The connections to the nodes of a cluster. Each slot is read over one of them.

    Args:
        upstream: The cluster.
        assignments: The connections that there are already.
    """

    def __init__(self, upstream: Upstream, assignments: list[Assignment]) -> None:
        self._upstream = upstream
        self._map = SlotMap(
            upstream.options, upstream.reading.connections, upstream.reading.retry_delay
        )
        self.assignments: list[Assignment] = assignments

    def assign(self, streams: list[StreamState]) -> None:
        """Have exactly these streams read, each where it lives; what stays the same goes on."""
        old = {assignment.key: assignment for assignment in self.assignments}
        shares = self._map.shares(streams)
        assignments = [self._for_share(share, old.get(share.key)) for share in shares]
        for gone in set(self.assignments).difference(assignments):
            gone.assign([])
            failure, gone.failure = gone.failure, None
            if failure is not None:
                self._upstream.failures.append(failure.error)
        if not assignments:
            assignments = [Assignment(self._upstream, self._upstream.options, (None, ""))]
        self.assignments = assignments

    def group(self, streams: list[StreamState]) -> list[list[StreamState]]:
        """Group streams so that one XREAD may name those of a group: by slot."""
        return list(by_slot(streams).values())

    def is_redirection(self, error: ServerError) -> bool:
        """Return True if an error only says that streams are read elsewhere, or later."""
        return is_slot_error(error)

    def answered(self, assignment: Assignment, request: Request) -> bool:
        """Take note of an answer; return True if streams have to be assigned again."""
        return self._map.answered(request.streams, assignment.options)

    def failed(self, assignment: Assignment, time: float) -> bool:
        """Take note of a failure: ask elsewhere; return True if the caller has to know."""
        block = self._upstream.reading.block
        quiet = 0.0 if block is None else max(block, _QUIET) / 1000
        is_news = self._map.failed(assignment.streams, assignment.options, time, quiet)
        assignment.is_down = self._map.is_down(assignment.streams)
        assignment.failure = None
        self.assign(self._upstream.streams)
        return is_news

    def redirected(
        self,
        error: ServerError,
        streams: Iterable[StreamState],
        at: ConnectionOptions,
        time: float,
    ) -> list[ConnectionError]:
        """Take note of a redirection; return the failures to report."""
        return self._map.redirected(error, streams, at, time)

    def _for_share(self, share: Share, assignment: Assignment | None) -> Assignment:
        session = None if assignment is None else assignment.session
        if session is not None and session.may_block and assignment is not None:
            known = set(assignment.streams)
            if not known.issuperset(share.streams):
                # The newcomers would have to wait for a read that may block.
                assignment = None
        if assignment is None:
            assignment = Assignment(self._upstream, share.options, share.key)
        if assignment.streams != share.streams:
            assignment.assign(share.streams)
        if assignment.session is not None and share.not_before:
            assignment.session.rest_until(share.not_before)
        assignment.retry_at = max(assignment.retry_at, share.not_before)
        assignment.held_apart = share.held_apart
        return assignment
