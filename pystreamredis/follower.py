"""What `next()` is to do: the core that every kind of `Streams` shares, without I/O.

The shell around it makes connections, moves bytes and waits; the follower says what
for. One round of `next()` that finds no message in hand is::

    follower.begin_wait(now)
    while (batch := follower.step(now)) is None:
        connect where follower.may_connect(now, part); send; wait until follower.wake_at(); receive

A batch with nothing in it ends the iteration.

There may be several servers (`Source`), and several conversations with each, each with its own
streams (`parts`). Then

- every stream is of exactly one part, and read over its connection alone;
- a message is handed over when no stream of any part can hold an older one;
- where there are several servers, a part whose failure was told holds nobody back until
  it is answered again: its streams come when they come, in order each, and those of the
  others go on;
- nothing is over before every part has found nothing for as long as the caller waits,
  while one that is out surfaces by the failure of each new attempt.

Most parts only wait for a message to come, which nothing is to be done about. So a message
costs no more among many parts: only those that are `stirred` are looked at.
"""

from __future__ import annotations

from functools import partial
from math import ceil, inf
from operator import attrgetter

from .exceptions import ConnectionError
from .handover import NOTHING, Batch, Item
from .hold import Hold
from .merge import next_batch, release
from .source import Source
from .starts import read_streams_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .cursors import Cursor
    from .exceptions import RedisError
    from .options import ConnectionOptions, ReadOptions
    from .protocol.messages import Message
    from .session import Request
    from .source import Part
    from .starts import Followed, Start, StreamsArgument

_place = attrgetter("place")

# How long one XREAD blocks at most, in ms: a peer that is dead is found out no later
# than this and socket_timeout.
_SLICE = 30_000
# How long one may block, in ms, that leaves streams out.
_SHORT = 20
# How long to wait before connecting again where `block` says for ever, in ms.
_PAUSE = 1000


class Follower:
    """Several streams, followed over one or more conversations.

    Args:
        servers: Where they are, and how to log in; and what the caller calls each of them,
            or None for the only one.
        reading: How to read.
        keywords: What may have been meant where the name of an unknown stream is given.

    Attributes:
        parts: What is said to servers, and how that goes. Where parts come or go, it is another
            list.
        stirred: Those of them that are not settled: something has happened, or is to be done.
        batch: What is being handed over to the caller.
    """

    def __init__(
        self,
        servers: Mapping[str | None, ConnectionOptions],
        reading: ReadOptions,
        keywords: Iterable[str],
    ) -> None:
        self._sources = {name: Source(name, at, reading) for name, at in servers.items()}
        self._reading = reading
        self._keywords = keywords
        self._cursors: list[Cursor] = []
        self.parts: list[Part] = []
        self.stirred: dict[Part, None] = {}
        # From when on the first of the settled parts may have fallen silent.
        self._silent_from = inf
        self.batch: Batch = NOTHING
        # What is to be handed over after it.
        self._released: list[list[Message]] = []
        # What is to be told, but is no failure of a part.
        self._failures: list[RedisError] = []
        # How long a read may block that is sent ahead, in ms.
        block = reading.block
        self._block_ahead = block if block is None else min(block or _SLICE, _SLICE)
        self._handed: dict[Followed, bytes | str] = {}
        self._hold = Hold(reading.hold)
        self._began = 0.0
        self._places = 0
        # Whether messages may be free that were held back, though no read was answered.
        self._may_release = False
        self._look_over_sources()

    def __repr__(self) -> str:
        addresses = [part.conversation.options.address for part in self.parts]
        return f"of {len(self._cursors)} streams at {', '.join(dict.fromkeys(addresses))}"

    # Which streams, from where.

    def add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> list[Followed]:
        """Follow more streams; return their names.

        Raises:
            ValueError, TypeError: A stream is followed already, or a name or a start
                cannot be; then none is added.
        """
        given = read_streams_at(self._sources, streams, named_streams)
        fresh = [
            (source, source.new_cursors(given[name], self._keywords))
            for name, source in self._sources.items()
        ]
        added = [cursor for _, cursors in fresh for cursor in cursors]
        for cursor in added:
            self._places += 1
            cursor.place = self._places
        self._cursors += added
        for source, cursors in fresh:
            source.add(cursors)
        self._look_over_sources()
        return [cursor.name for cursor in added]

    def discard(self, names: Iterable[Followed]) -> None:
        """Drop streams, and their messages that were not handed over."""
        names = list(names)
        dropped: set[Followed] = set()
        for source in self._sources.values():
            dropped |= source.discard(names)
        self._cursors = [cursor for cursor in self._cursors if cursor.name not in dropped]
        self._look_over_sources()
        self._released = [run for run in self._released if run[0][0] not in dropped]
        rest = self.batch.withdraw()
        self._install(Batch.of([message for message in rest if message[0] not in dropped]))
        for name in dropped:
            self._handed.pop(name, None)

    @property
    def positions(self) -> dict[Any, Any]:
        """For each stream the ID of the last message handed over, or its start."""
        self.batch.settle(self._handed)
        found = {name: source.positions(self._handed) for name, source in self._sources.items()}
        return found.get(None, found)

    # What the shell asks.

    def begin_wait(self, now: float) -> None:
        """The caller asks for a message, and none is in hand."""
        # The messages handed over need not be held while the next ones come in.
        self._install(NOTHING)
        self._began = now
        for part in self.stirred:
            part.asked = None
            if part.has_to_pause:
                part.has_to_pause = False
                part.retry_at = now + self._pause() / 1000

    def step(self, now: float) -> Batch | None:
        """Say what to hand over; None if something has to be sent or received first.

        Raises:
            RedisError: What went wrong, if it is to be raised.
            ValueError: No streams are left.
        """
        if self._released:
            return self._install(next_batch(self._released))
        if self._is_quiet:
            return None
        if len(self.parts) > 1:
            self._settle()
        self._understand()
        self._redirect()
        batch = self._release(now)
        if batch is not None:
            # The next reads are on their way while the caller works through this batch.
            self._ask_ahead(now)
            return self._install(batch)
        for part in list(self.stirred):
            failure = part.conversation.failure
            if failure is not None and self._is_news(part, failure):
                return self._hand_over_failure(part, failure)
        if self._failures:
            return self._tell(self._failures.pop(0))
        if not self._cursors:
            raise ValueError("no streams are followed any more, expected one at least: add() some")
        if self._is_over(now):
            return self._hand_over_timeout()
        self._ask_for_caller(now)
        return None

    def parts_of(self, names: Iterable[Followed] | None) -> list[Part]:
        """List the parts that read any of these streams; None for all."""
        if names is None:
            return self.parts
        wanted = set(names)
        return [
            part
            for part in self.parts
            if any(cursor.name in wanted for cursor in part.conversation.cursors)
        ]

    def take_failures(self, names: Iterable[Followed]) -> list[tuple[Part, RedisError]]:
        """Take out what was not told yet of the parts that read these streams."""
        taken = []
        for part in self.parts_of(names):
            failure, part.conversation.failure = part.conversation.failure, None
            if failure is not None:
                taken.append((part, failure))
        return taken

    def put_back(self, failures: list[tuple[Part, RedisError]]) -> None:
        """Have failures told after all, unless there are others by now."""
        for part, failure in failures:
            part.conversation.failure = part.conversation.failure or failure
            part.conversation.stir()

    def is_establishing(self, names: Iterable[Followed] | None = None) -> bool:
        """Whether conversations are still to be made ready.

        Args:
            names: The streams that are to be read over them; None for all.

        Raises:
            RedisError: It cannot be, and that is to be raised.
        """
        names = None if names is None else list(names)
        self._redirect()
        for part in self.parts_of(names):
            failure = part.conversation.failure
            if failure is None or not self._is_to_be_raised(failure):
                continue
            if self._is_news(part, failure):
                part.conversation.failure = None
                raise failure
        if self._failures:
            if self._is_to_be_raised(self._failures[0]):
                raise self._failures.pop(0)
            return False
        parts = self.parts_of(names)
        for part in parts:
            part.conversation.welcome()
        return any(
            part.has_streams
            and part.conversation.failure is None
            and not part.conversation.is_ready
            for part in parts
        )

    def may_connect(self, now: float, part: Part) -> bool:
        """Whether a connection is to be made now for this part."""
        if part.is_connecting or part.conversation.is_open or not part.has_streams:
            return False
        return part.conversation.failure is None and now >= part.retry_at

    def opened(self, now: float, part: Part) -> None:
        """A connection was made. Where it is the only one, a wait counts from here."""
        if not any(other.conversation.is_open for other in self.parts):
            self._began = now
        part.conversation.opened(now)

    def wake_at(self) -> float | None:
        """Until when to wait for bytes, or for another try to connect."""
        earliest = self._silent_from
        for part in self.stirred:
            time = part.wake_at
            if time is not None and time < earliest and part.conversation.failure is None:
                earliest = time
        due_at = self._hold.due_at if self._reading.hold else None
        if due_at is not None and any(part.conversation.is_open for part in self.parts):
            earliest = min(earliest, due_at)
        return None if earliest == inf else earliest

    def woke(self, now: float) -> None:
        """Nothing came until then."""
        # What was known of the settled ones may be of reads that were answered since.
        self._look_at(self.parts)
        self._understand()
        for part in self.parts:
            silent_at = part.conversation.silent_at
            if silent_at is not None and now >= silent_at:
                part.conversation.fell_silent(now)
            if now >= part.conversation.rests_until:
                part.conversation.rests_until = 0.0

    def rewind(self) -> None:
        """Forget what was not handed over: it will be read again.

        For an interruption at any point, after which nothing else is certain.
        """
        self._install(NOTHING)
        self._released = []
        for source in self._sources.values():
            source.rewind(self._handed)
        self._look_over_sources()

    # What happens inside.

    @property
    def _is_quiet(self) -> bool:
        """Whether the only conversation waits for an answer, and nothing else is due."""
        if len(self.parts) > 1 or self._may_release or self._failures or not self._cursors:
            return False
        return not self._reading.hold and self.parts[0].conversation.is_settled

    def _understand(self) -> None:
        """Take in bytes that came with those before, and only now can be understood."""
        for part in self.stirred:
            if part.conversation.has_unread:
                part.conversation.process()

    def _look_over_sources(self) -> None:
        """Take note of what has become of the sources' parts."""
        parts = []
        for source in self._sources.values():
            parts += source.parts
            self._failures += source.failures
            source.failures = []
        self._look_at(self.parts if parts == self.parts else parts)
        # Others may be gone or away that have held messages back.
        self._may_release = True

    def _look_at(self, parts: list[Part]) -> None:
        """Have these parts, and look at each of them, whatever was known before."""
        # Another dict: those that are gone may still stir. No interruption comes in between.
        self.parts, self.stirred = parts, dict.fromkeys(parts)
        self._silent_from = inf
        for part in parts:
            part.unsettled = None
            part.conversation.stir = partial(self.stirred.setdefault, part)

    def _settle(self) -> None:
        """Look no more at parts which are settled."""
        if self._reading.block is None:
            # Each is asked whenever the caller asks.
            return
        for part in [part for part in self.stirred if part.is_settled]:
            del self.stirred[part]
            silent_at = part.conversation.silent_at
            self._silent_from = min(self._silent_from, inf if silent_at is None else silent_at)

    def _install(self, batch: Batch) -> Batch:
        self.batch.settle(self._handed)
        self.batch = batch
        return batch

    def _release(self, now: float) -> Batch | None:
        """Take out what may be handed over since the last read was answered, or held for long."""
        answered = self._take_answered()
        if answered:
            if self._reading.hold:
                self._hold.arrived(self._find_unsettled(self.stirred), now)
        elif self._hold.due_at is None and not self._may_release:
            return None
        self._may_release = False
        limit = self._hold.limit(now) if self._reading.hold else None
        # What is held is handed over before a failure is.
        if limit is not None and any(part.conversation.failure for part in self.stirred):
            limit = None
        self._released = self._merge(limit)
        if self._released:
            return next_batch(self._released)
        if self._hold.due_at is not None:
            return None
        for part, request in answered:
            cursors = part.conversation.cursors
            # What has come may wait for what other parts hold: then it was not nothing.
            is_all = len(request.asked) + request.put_off == len(cursors)
            if is_all and (len(self.parts) == 1 or not any(c.waiting for c in cursors)):
                part.found_nothing = request, now
        return None

    def _take_answered(self) -> list[tuple[Part, Request]]:
        """Take out the reads that were answered since the last time."""
        taken, settled = [], []
        for part in self.stirred:
            answered, part.conversation.answered = part.conversation.answered, None
            if answered is not None:
                part.is_out = part.is_out and not answered.asked
                part.unsettled = None
                taken.append((part, answered))
                if part.source.is_cluster and part.source.answered(part, answered):
                    settled.append(part.source)
        if settled:
            for source in dict.fromkeys(settled):
                source.arrange()
            self._look_over_sources()
        return taken

    def _merge(self, limit: int | None) -> list[list[Message]]:
        for part in self.stirred:
            if part.is_out or part.away:
                return self._merge_apart(limit)
        return release(self._find_unsettled(self.stirred), limit)

    def _merge_apart(self, limit: int | None) -> list[list[Message]]:
        """Do the same where some streams hold back no others."""
        out: dict[object, list[Part]] = {part.server: [] for part in self.stirred if part.is_out}
        there: list[Part] = []
        for part in self.stirred:
            out.get(part.server, there).append(part)
        apart = [self._find_unsettled(parts) for parts in out.values()]
        apart += [group for part in there for group in part.away]
        away = {cursor for group in apart for cursor in group}
        known = self._find_unsettled(there)
        return release([cursor for cursor in known if cursor not in away], limit, apart)

    def _find_unsettled(self, parts: Iterable[Part]) -> list[Cursor]:
        """List the streams of some parts that have a part in the merge, in their order."""
        found: list[Cursor] = []
        for part in parts:
            found += part.find_unsettled()
        found.sort(key=_place)
        return found

    def _ask_ahead(self, now: float) -> None:
        """Send the next reads ahead of time, wherever none is on its way."""
        for part in self.stirred:
            conversation = part.conversation
            if conversation.is_idle and conversation.cursors and not conversation.look_back(now):
                conversation.ask(now, self._block_for(part, self._block_ahead))

    def _ask_for_caller(self, now: float) -> None:
        """Send the next reads, wherever none is on its way, while the caller waits."""
        for part in self.stirred:
            conversation = part.conversation
            if not (conversation.is_idle and conversation.cursors):
                continue
            block = self._block_from(now)
            if self._has_found_nothing(part):
                # It is others that have not looked for long enough.
                if self._reading.block is None:
                    continue
                block = self._block_ahead
            if not conversation.look_back(now):
                part.asked = conversation.ask(now, self._block_for(part, block))

    def _block_for(self, part: Part, block: int | None) -> int | None:
        """How long this part's read may block, where others may wait for what it finds."""
        if block is None or len(self.parts) == 1:
            return block
        count = self._reading.count
        unsettled = part.find_unsettled()
        if any(not cursor.complete and len(cursor.waiting) < count for cursor in unsettled):
            return None
        # Those that are not asked now, since enough of them waits, may be free at any time.
        return min(block, _SHORT) if any(not cursor.complete for cursor in unsettled) else block

    def _hand_over_failure(self, part: Part, failure: RedisError) -> Batch:
        part.conversation.failure = None
        # Connections to one server keep the order that a single one would.
        part.is_out = part.source.is_cluster or self._has_several_servers()
        # What waited for this part's streams alone need not wait any longer.
        self._may_release = len(self.parts) > 1
        is_raised = self._is_to_be_raised(failure)
        # Else a caller that goes on at once would see nothing but failures of this one.
        others_go_on = part.is_out and any(other.conversation.is_open for other in self.parts)
        part.has_to_pause = not is_raised or (others_go_on and not part.conversation.is_open)
        if part.source.is_cluster:
            # Who asks elsewhere, or again, need not wait until the caller does.
            part.has_to_pause = False
        return self._tell(failure)

    def _tell(self, failure: RedisError) -> Batch:
        if self._is_to_be_raised(failure):
            raise failure
        return self._install(Item(failure))

    def _has_several_servers(self) -> bool:
        return len({part.server for part in self.parts}) > 1

    # What is different in a cluster.

    def _redirect(self) -> None:
        """Read streams elsewhere, which servers have said not to serve."""
        redirected: dict[Source, None] = {}
        for part in self.stirred:
            if part.conversation.redirections:
                redirected[part.source] = None
        for source in redirected:
            source.redirect()
        if redirected:
            self._look_over_sources()

    def _is_news(self, part: Part, failure: RedisError) -> bool:
        """Whether a failure is to be told."""
        if not (part.source.is_cluster and isinstance(failure, ConnectionError)):
            return True
        is_news = part.source.failed(part)
        self._look_over_sources()
        return is_news

    def _is_to_be_raised(self, failure: RedisError) -> bool:
        return self._reading.raise_connection_exceptions or not isinstance(failure, ConnectionError)

    def _hand_over_timeout(self) -> Batch:
        if not self._reading.stop_on_timeout:
            return self._install(NOTHING)
        return self._install(Item(self._reading.timeout_response))

    def _is_over(self, now: float) -> bool:
        """Whether reads have found nothing for all of the time that the caller would wait."""
        block = self._reading.block
        if block == 0 or now < self._began + (block or 0) / 1000:
            return False
        waited_for = [
            part for part in self.parts if part.has_streams and not (block is None and part.is_out)
        ]
        return bool(waited_for) and all(map(self._has_found_nothing, waited_for))

    def _has_found_nothing(self, part: Part) -> bool:
        """Whether this part has, for all of that time."""
        if part.found_nothing is None or self._reading.block == 0 or self._hold.due_at is not None:
            return False
        request, answered = part.found_nothing
        if self._reading.block is None:
            return request is part.asked
        return answered >= self._began + self._reading.block / 1000

    def _block_from(self, now: float) -> int | None:
        """How long a read may block while the caller waits, in ms."""
        block = self._reading.block
        until = self._began + (block or 0) / 1000
        if self._hold.due_at is not None:
            # Nothing is over before what is held was handed over.
            until = max(until, self._hold.due_at)
        elif not block:
            return self._block_ahead
        return min(_SLICE, max(1, ceil((until - now) * 1000)))

    def _pause(self) -> int:
        block = self._reading.block
        return 0 if block is None else block or _PAUSE
