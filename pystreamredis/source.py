"""One server, or one cluster: its streams, and the parts over which they are read."""

from __future__ import annotations

from .cursors import Cursor
from .placement import Placement
from .session import Conversation
from .spreading import connections_for, spread
from .starts import read_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .exceptions import RedisError
    from .handover import Handed
    from .options import ConnectionOptions, ReadOptions
    from .placement import Key, Share
    from .session import Request
    from .starts import Followed, Name, Start

# For how long more failures of a node are no news where `block` is shorter, in ms.
_QUIET = 1000


class Part:
    """One conversation, and how things stand with it.

    Attributes:
        source: The server or cluster that it is of.
        conversation: What is said to its server, about its streams.
        retry_at: When to connect again at the earliest.
        is_connecting: Whether a connection is being made; whoever makes it takes note, and
            looks again before each wait.
        is_out: Whether its failure was told, and it was not answered since.
        has_to_pause: Whether to wait before the next try, once the caller asks again.
        asked: The last read that was sent while the caller waits.
        found_nothing: The last read that found nothing, and when it was answered.
        unsettled: Those of its streams that have a part in the merge; None where that is to
            be looked up.
        key: What of a cluster is read over it; None for all of one server's.
        away: Streams that hold back none but their own group, though it is not out.
    """

    __slots__ = (
        "asked",
        "away",
        "conversation",
        "found_nothing",
        "has_to_pause",
        "is_connecting",
        "is_out",
        "key",
        "retry_at",
        "source",
        "unsettled",
    )

    def __init__(self, source: Source, conversation: Conversation, key: Key | None = None) -> None:
        self.source = source
        self.conversation = conversation
        self.key = key
        self.away: list[list[Cursor]] = []
        self.retry_at = 0.0
        self.is_connecting = False
        self.is_out = False
        self.has_to_pause = False
        self.asked: Request | None = None
        self.found_nothing: tuple[Request, float] | None = None
        self.unsettled: list[Cursor] | None = None

    def find_unsettled(self) -> list[Cursor]:
        """List those of its streams that have a part in the merge."""
        if self.unsettled is None:
            self.unsettled = self.conversation.find_unsettled()
        return self.unsettled

    @property
    def server(self) -> object:
        """What keeps an order of its own: connections to one server do, each to a cluster."""
        if self.source.is_cluster:
            return self
        return self.source, self.conversation.options.address

    @property
    def has_streams(self) -> bool:
        """Whether any stream is read over it."""
        return bool(self.conversation.cursors)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be done about it, and it matters to no other, before an answer."""
        if not self.conversation.is_settled:
            return False
        # Those that were unsettled may be so no more.
        if any(c.waiting or not c.complete for c in self.find_unsettled()):
            return False
        self.unsettled = []
        return True

    @property
    def wake_at(self) -> float | None:
        """Until when to wait for its bytes, or before the next try to connect."""
        if self.conversation.is_open:
            # Nothing is on its way while it rests.
            return self.conversation.silent_at or self.conversation.rests_until or None
        # While a connection is made, or if there is nothing to read over it, for ever.
        return None if self.is_connecting or not self.has_streams else self.retry_at


class Source:
    """A server, which turns out to be a cluster once it redirects.

    Attributes:
        name: What the caller calls it; None for the only one.
        options: Where it is, and how to log in.
        cursors: Its streams.
        parts: Over which connections they are read; each stream over one.
        is_cluster: Whether it is a cluster.
        failures: What is to be told, but is no failure of a part, until someone takes it out.
    """

    def __init__(self, name: str | None, options: ConnectionOptions, reading: ReadOptions) -> None:
        self.name = name
        self.options = options
        self.cursors: list[Cursor] = []
        self.is_cluster = False
        self.failures: list[RedisError] = []
        self._reading = reading
        self._placement = Placement(options, reading.connections)
        self.parts = [self._new_part()]

    def new_cursors(
        self, streams: Iterable[tuple[Name, Start]], keywords: Iterable[str]
    ) -> list[Cursor]:
        """Make what is needed to read streams, which are not read yet.

        Raises:
            ValueError, TypeError: A stream is read already, or a name or a start cannot be.
        """
        known = {cursor.key: cursor.name for cursor in self.cursors}
        cursors = []
        for name, start in streams:
            key = self.options.encode(name)
            full_name = name if self.name is None else (self.name, name)
            if key in known:
                raise ValueError(f"stream {full_name!r} is given twice, first as {known[key]!r}")
            known[key] = full_name
            cursors.append(Cursor(full_name, key, read_start(name, start, keywords)))
        return cursors

    def add(self, cursors: list[Cursor]) -> None:
        """Read more streams."""
        self.cursors += cursors
        if self.is_cluster:
            self.arrange()
            return
        more = connections_for(len(self.cursors), self._reading.connections) - len(self.parts)
        self.parts = self.parts + [self._new_part() for _ in range(more)]
        spread(cursors, [part.conversation.cursors for part in self.parts])

    def discard(self, names: Iterable[Followed]) -> set[Followed]:
        """Read streams no more, which may be called by their own names; return their full ones."""
        own = [_own(name) for name in names if self._is_here(name)]
        keys = set(map(self.options.encode, own))
        dropped = {cursor.name for cursor in self.cursors if cursor.key in keys}
        self.cursors = [cursor for cursor in self.cursors if cursor.key not in keys]
        if self.is_cluster:
            # Others may get the connection of those that have no streams left.
            self.arrange()
            return dropped
        for part in self.parts:
            cursors = part.conversation.cursors
            cursors[:] = [cursor for cursor in cursors if cursor.key not in keys]
        self.parts = [part for part in self.parts if part.has_streams] or self.parts[:1]
        return dropped

    def positions(self, handed: Handed) -> dict[Name, bytes | str | None]:
        """For each stream the ID of the last message handed over, or its start."""
        return {_own(c.name): self._position(c, handed) for c in self.cursors}

    def rewind(self, handed: Handed) -> None:
        """Read all streams anew from their positions, over connections that are new as well."""
        for cursor in self.cursors:
            cursor.waiting = []
            cursor.complete = False
            position = self._position(cursor, handed)
            if position is not None:
                cursor.fetched = position if isinstance(position, bytes) else position.encode()
        for part in self.parts:
            part.conversation.abandon()
        if self.is_cluster:
            self._arrange([])

    def _is_here(self, name: Followed) -> bool:
        """Whether a stream may be one of this source."""
        return not isinstance(name, tuple) or name[0] == self.name

    def _position(self, cursor: Cursor, handed: Handed) -> bytes | str | None:
        position = handed.get(cursor.name)
        if position is not None or cursor.start is None:
            return position
        return cursor.start.decode() if self.options.decode_responses else cursor.start

    # Where streams of a cluster are.

    def redirect(self) -> None:
        """Read streams elsewhere, which servers have said not to serve."""
        self.is_cluster = True
        for part in self.parts:
            conversation = part.conversation
            redirections, conversation.redirections = conversation.redirections, []
            for error, cursors in redirections:
                self.failures += self._placement.redirected(
                    error, cursors, conversation.options, conversation.told_at
                )
        self.arrange()

    def answered(self, part: Part, request: Request) -> bool:
        """A node of a cluster has answered; return whether parts are to be arranged anew."""
        return self._placement.answered(request.asked, part.conversation.options)

    def failed(self, part: Part) -> bool:
        """A node of a cluster has failed: ask elsewhere for what it has.

        Returns:
            Whether that is to be told: that a node is gone is told once, not for each part.
        """
        conversation = part.conversation
        block = self._reading.block
        is_news = self._placement.failed(
            conversation.cursors,
            conversation.options,
            conversation.told_at,
            0.0 if block is None else max(block, _QUIET) / 1000,
        )
        part.is_out = True
        conversation.failure = None
        self.arrange()
        return is_news

    def _new_part(self) -> Part:
        return Part(self, Conversation(self.options, self._reading, []))

    def arrange(self) -> None:
        """Have each stream read where it lives; parts that stay what they are go on."""
        self._arrange(self.parts)

    def _arrange(self, parts: list[Part]) -> None:
        old = {part.key: part for part in parts}
        shares = self._placement.shares(self.cursors)
        arranged = [self._part_for(share, old.get(share.key)) for share in shares]
        gone = set(parts) - set(arranged)
        failures = [part.conversation.failure for part in gone]
        self.failures += [failure for failure in failures if failure is not None]
        self.parts = arranged or [self._new_part()]

    def _part_for(self, share: Share, part: Part | None) -> Part:
        if part is None or part.conversation.is_blocked_for(share.cursors):
            conversation = Conversation(
                share.options, self._reading, share.cursors, is_divided=True
            )
            part = Part(self, conversation, share.key)
        elif part.conversation.cursors != share.cursors:
            part.conversation.follow(share.cursors)
        if part.conversation.is_open:
            part.conversation.rest_until(share.not_before)
        part.retry_at = max(part.retry_at, share.not_before)
        part.away = share.away
        return part


def _own(name: Followed) -> Name:
    """What a stream is called where it is."""
    return name[1] if isinstance(name, tuple) else name
